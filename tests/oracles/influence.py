"""Slow twins of the influence functions of a linear head (Koh and Liang 2017), one training point at a time.

The head is its weight matrix alone: (1, d + 1) for two classes, else (C, d + 1), the bias in the last column.
With f the features and a one behind them, z = weight f. In NumPy float64; `sign_step` in torch, by autograd.
"""

import numpy as np
import torch
import torch.nn.functional as F


def extended(features):
    """Features (n, d) with a one behind each, for the bias."""
    return np.hstack([np.asarray(features, dtype=np.float64), np.ones((len(features), 1))])


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


def probabilities(z):
    """Softmax of the C scores."""
    powers = np.exp(z - z.max())
    return powers / powers.sum()


def loss(weight, f, label, kind):
    """-log p_label; or (sigmoid(z) - y)^2, the published code's."""
    z = weight @ f
    if kind == "squared":
        return (sigmoid(z[0]) - label) ** 2
    if len(weight) == 1:
        return np.logaddexp(0, -z[0] if label == 1 else z[0])
    return np.logaddexp.reduce(z) - z[label]


def gradient(weight, f, label, kind):
    """dL/dweight as a flat vector, row by row: (dL/dz) f^T."""
    z = weight @ f
    if kind == "squared":
        p = sigmoid(z[0])
        slope = np.array([2 * (p - label) * p * (1 - p)])
    elif len(weight) == 1:
        slope = np.array([sigmoid(z[0]) - label])
    else:
        slope = probabilities(z) - np.eye(len(weight))[label]
    return np.outer(slope, f).ravel()


def curvature(weight, f, label, kind):
    """d2L/dweight2 of one point: (d2L/dz2) kron (f f^T)."""
    z = weight @ f
    if kind == "squared":
        p = sigmoid(z[0])
        first, second = p * (1 - p), p * (1 - p) * (1 - 2 * p)
        bend = np.array([[2 * (first ** 2 + (p - label) * second)]])
    elif len(weight) == 1:
        p = sigmoid(z[0])
        bend = np.array([[p * (1 - p)]])
    else:
        p = probabilities(z)
        bend = np.diag(p) - np.outer(p, p)
    return np.kron(bend, np.outer(f, f))


def losses(weight, features, labels, kind):
    return np.array([loss(weight, f, y, kind) for f, y in zip(extended(features), labels)])


def gradients(weight, features, labels, kind):
    return np.stack([gradient(weight, f, y, kind) for f, y in zip(extended(features), labels)])


def hessian(weight, features, labels, kind, l2, shares=None):
    """sum_i share_i d2L_i + l2 I, by default with the share 1 / n each."""
    total = l2 * np.eye(weight.size)
    shares = np.full(len(features), 1 / len(features)) if shares is None else shares
    for f, y, share in zip(extended(features), labels, shares):
        total += share * curvature(weight, f, y, kind)
    return total


def slope(weight, features, labels, kind, l2, shares=None):
    """The gradient of sum_i share_i L_i + l2 / 2 |weight|^2, flat."""
    shares = np.full(len(features), 1 / len(features)) if shares is None else shares
    return shares @ gradients(weight, features, labels, kind) + l2 * weight.ravel()


def fit(features, labels, classes, l2, shares=None, start=None):
    """The minimum of sum_i share_i L_i + l2 / 2 |weight|^2 for the cross-entropy: Newton, step halved if it climbs."""
    shares = np.full(len(features), 1 / len(features)) if shares is None else shares
    weight = np.zeros((1 if classes == 2 else classes, features.shape[1] + 1)) if start is None else start

    def objective(at):
        return shares @ losses(at, features, labels, "cross-entropy") + l2 / 2 * (at ** 2).sum()

    for _ in range(100):
        down = slope(weight, features, labels, "cross-entropy", l2, shares)
        if np.linalg.norm(down) < 1e-11:
            return weight
        step = np.linalg.solve(hessian(weight, features, labels, "cross-entropy", l2, shares), down)
        size, ceiling = 1.0, objective(weight) + 1e-13
        while objective(weight - size * step.reshape(weight.shape)) > ceiling:
            size /= 2
        weight = weight - size * step.reshape(weight.shape)
    raise AssertionError("the slow twin did not converge")


def influences(weight, train, test, kind, l2, damping=0.0):
    """(n_test, n_train): g_test^T (H + damping I)^-1 g_train, with the inverse written out."""
    inverse = np.linalg.inv(hessian(weight, *train, kind, l2) + damping * np.eye(weight.size))
    table = np.zeros((len(test[0]), len(train[0])))
    for t, g_test in enumerate(gradients(weight, *test, kind)):
        for i, g_train in enumerate(gradients(weight, *train, kind)):
            table[t, i] = g_test @ inverse @ g_train
    return table


# ------------------------------------------------------------------------------ the gradient-sign attack
def torch_loss(flat, shape, f, label, kind):
    """The loss of one point with features f (d,), as a function of the flat weight."""
    z = flat.view(shape) @ torch.cat([f, f.new_ones(1)])
    if kind == "squared":
        return (torch.sigmoid(z[0]) - label) ** 2
    if shape[0] == 1:
        return F.binary_cross_entropy_with_logits(z[0], torch.tensor(float(label), dtype=z.dtype))
    return F.cross_entropy(z[None], torch.tensor([label]))


def torch_hessian(weight, features, labels, kind, l2):
    """The Hessian of the mean loss + l2 / 2 |weight|^2 by double differentiation."""
    def objective(flat):
        total = sum(torch_loss(flat, weight.shape, f, int(y), kind) for f, y in zip(features, labels))
        return total / len(features) + l2 / 2 * (flat ** 2).sum()
    return torch.autograd.functional.hessian(objective, weight.flatten())


def sign_step(extract, weight, train, kind, l2, image, epsilon, top):
    """(attacked image, gradient, label, the `top` most influential points) of one (c, h, w) image:
    x - epsilon sign(grad_x sum of their influences), clipped to [0, 1] (Ghorbani et al. 2019)."""
    features, labels = train
    flat = weight.flatten().clone().requires_grad_(True)

    def gradient_at(f, label, **options):
        return torch.autograd.grad(torch_loss(flat, weight.shape, f, label, kind), flat, **options)[0]

    with torch.enable_grad():
        inverse = torch.linalg.inv(torch_hessian(weight, features, labels, kind, l2))
        pulls = [inverse @ gradient_at(f, int(y)) for f, y in zip(features, labels)]
        leaf = image.clone().requires_grad_(True)
        f = extract(leaf[None])[0]
        z = weight @ torch.cat([f, f.new_ones(1)]).detach()
        label = int(z[0] > 0) if len(weight) == 1 else int(z.argmax())
        g_test = gradient_at(f, label, create_graph=True)
        chosen = sorted(range(len(pulls)), key=lambda i: -float(g_test.detach() @ pulls[i]))[:top]
        gradient = torch.autograd.grad(sum(g_test @ pulls[i] for i in chosen), leaf)[0]
    return (image - epsilon * gradient.sign()).clamp(0, 1), gradient, label, chosen
