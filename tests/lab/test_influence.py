"""Influence functions of a linear head: against loops, autograd and retraining; the gradient-sign attack on them."""

import functools

import numpy as np
import pytest
import scipy.stats
import torch
import torch.nn.functional as F
from torch import nn

from fragility import influence
from lab.chapters.influence import published_code
from tests.oracles import influence as oracle

# name -> (classes, loss)
HEADS = {"logistic": (2, "cross-entropy"), "softmax": (4, "cross-entropy"), "squared": (2, "squared")}
L2 = 0.02


def points(n=40, d=5, classes=2, seed=0, spread=1.0):
    """Overlapping clouds of features (n, d), one a class, and their labels."""
    generator = torch.Generator().manual_seed(seed)
    centers = spread * torch.randn(classes, d, generator=torch.Generator().manual_seed(99), dtype=torch.float64)
    labels = torch.arange(n) % classes
    return centers[labels] + torch.randn(n, d, generator=generator, dtype=torch.float64), labels


def head_of(kind, seed=3, d=5, l2=L2):
    """A head with arbitrary weights: derivatives must hold anywhere, not only at the optimum."""
    classes, loss = HEADS[kind]
    generator = torch.Generator().manual_seed(seed)
    weight = torch.randn(1 if classes == 2 else classes, d + 1, generator=generator, dtype=torch.float64)
    return influence.Head(weight, loss, l2)


def data_of(kind, n=40, seed=0, d=5):
    return points(n, d, HEADS[kind][0], seed)


def close(actual, expected, tolerance=1e-10):
    expected = torch.as_tensor(expected)
    scale = float(expected.abs().max())
    assert scale > 0, "nothing compares with anything"
    torch.testing.assert_close(actual, expected, rtol=tolerance, atol=tolerance * scale)


def autograd_loss(kind):
    """The loss of one point as torch has it: a function of (flat weight, features, label)."""
    classes, loss = HEADS[kind]

    def of(flat, f, label):
        z = flat.view(-1, len(f) + 1) @ torch.cat([f, f.new_ones(1)])
        if loss == "squared":
            return (torch.sigmoid(z[0]) - label) ** 2
        if classes == 2:
            return F.binary_cross_entropy_with_logits(z[0], label.to(z.dtype))
        return F.cross_entropy(z, label)
    return of


# ------------------------------------------------------------------------------------------ the head's fit
@pytest.mark.parametrize("kind", HEADS)
def test_a_fit_is_stationary(kind):
    for l2 in (1e-2, 1e-4, 1.0):
        features, labels = data_of(kind, 60)
        head = influence.fit_head(features, labels, loss=HEADS[kind][1], l2=l2)
        assert isinstance(head, influence.Head) and head.loss == HEADS[kind][1] and head.l2 == l2
        assert head.weight.shape == ((1 if HEADS[kind][0] == 2 else 4), 6) and head.weight.dtype == torch.float64
        assert not head.weight.requires_grad
        assert np.linalg.norm(oracle.slope(head.weight.numpy(), features.numpy(), labels.numpy(), head.loss, l2)) < 1e-8


@pytest.mark.parametrize("kind", ["logistic", "softmax"])
def test_a_fit_is_the_minimum(kind):
    features, labels = data_of(kind, 60)
    expected = oracle.fit(features.numpy(), labels.numpy(), HEADS[kind][0], L2)
    close(influence.fit_head(features, labels, l2=L2).weight, expected, 1e-6)


def test_defaults_of_the_fit():
    features, labels = data_of("logistic")
    head = influence.fit_head(features, labels)
    assert head.loss == "cross-entropy" and head.l2 == 1e-2
    assert torch.equal(head.weight, influence.fit_head(features, labels, loss="cross-entropy", l2=1e-2).weight)


def test_a_squared_fit_is_a_minimum_and_better_than_nothing():
    """The squared loss is not convex: at the least no direction goes down from a fit, and it is no worse than zero."""
    features, labels = data_of("squared", 60)
    head = influence.fit_head(features, labels, loss="squared", l2=1e-3)
    curvature = oracle.hessian(head.weight.numpy(), features.numpy(), labels.numpy(), "squared", 1e-3)
    assert np.linalg.eigvalsh(curvature).min() > 0
    value = influence.losses(head, features, labels).mean() + 1e-3 / 2 * head.weight.square().sum()
    assert value < 0.2 < 0.25                                       # 0.25 is what a zero weight gives


HARD = {
    "fewer points than weights": lambda: points(20, 60),
    "separable": lambda: points(40, 5, spread=20.0),
    "large features": lambda: (1000 * points()[0], points()[1]),
    "features far from zero": lambda: (100 + points()[0], points()[1]),
    "one feature alone": lambda: points(40, 1),
    "a constant feature": lambda: (torch.cat([points()[0], torch.zeros(40, 1).double()], 1), points()[1]),
    "unbalanced": lambda: (points()[0], (torch.arange(40) == 7).long()),
}


@pytest.mark.parametrize("name", HARD)
def test_hard_fits_are_stationary(name):
    features, labels = HARD[name]()
    weight = influence.fit_head(features, labels).weight.numpy()
    assert np.linalg.norm(oracle.slope(weight, features.numpy(), labels.numpy(), "cross-entropy", 1e-2)) < 1e-8


@pytest.mark.parametrize("name", ["fewer points than weights", "separable", "unbalanced"])
def test_hard_squared_fits_are_stationary(name):
    features, labels = HARD[name]()
    weight = influence.fit_head(features, labels, loss="squared").weight.numpy()
    assert np.linalg.norm(oracle.slope(weight, features.numpy(), labels.numpy(), "squared", 1e-2)) < 1e-8


def test_single_precision_features():
    features, labels = data_of("softmax")
    single = features.float()
    head = influence.fit_head(single, labels)
    assert head.weight.dtype == torch.float64
    close(head.weight, influence.fit_head(single.double(), labels).weight, 1e-7)
    table = influence.influences(head, single, labels, single[:3], labels[:3])
    close(table.double(), influence.influences(head, single.double(), labels, single[:3].double(), labels[:3]), 1e-5)


# --------------------------------------------------------------------------- losses, gradients and Hessian
def test_logits_of_two_classes_and_of_more():
    features, labels = data_of("softmax")
    extended = torch.cat([features, torch.ones(40, 1).double()], 1)
    head = head_of("softmax")
    close(influence.logits(head, features), extended @ head.weight.T)
    head = head_of("logistic")
    scores, z = influence.logits(head, features), extended @ head.weight[0]
    assert scores.shape == (40, 2)
    close(scores[:, 1] - scores[:, 0], z)
    close(scores.softmax(1)[:, 1], torch.sigmoid(z))


@pytest.mark.parametrize("kind", HEADS)
def test_losses_gradients_and_hessian_are_the_loop(kind):
    (features, labels), head = data_of(kind), head_of(kind)
    arguments = head.weight.numpy(), features.numpy(), labels.numpy(), head.loss
    close(influence.losses(head, features, labels), oracle.losses(*arguments))
    close(influence.gradients(head, features, labels), oracle.gradients(*arguments))
    close(influence.hessian(head, features, labels), oracle.hessian(*arguments, head.l2))


@pytest.mark.parametrize("kind", HEADS)
def test_losses_gradients_and_hessian_are_autograd(kind):
    (features, labels), head, loss = data_of(kind), head_of(kind), autograd_loss(kind)
    flat = head.weight.flatten()
    each = (None, 0, 0)
    close(influence.losses(head, features, labels), torch.func.vmap(loss, each)(flat, features, labels))
    close(influence.gradients(head, features, labels),
          torch.func.vmap(torch.func.grad(loss), each)(flat, features, labels))

    def objective(w):
        return torch.func.vmap(loss, each)(w, features, labels).mean() + L2 / 2 * w.square().sum()
    hessian = influence.hessian(head, features, labels)
    assert hessian.dtype == torch.float64 and hessian.shape == (flat.numel(),) * 2
    close(hessian, torch.autograd.functional.hessian(objective, flat))
    assert torch.equal(hessian, hessian.mT) or torch.allclose(hessian, hessian.mT, rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("kind", ["logistic", "softmax"])
def test_a_confident_head_overflows_nowhere(kind):
    (features, labels), head = data_of(kind), head_of(kind)
    sure = influence.Head(1000 * head.weight, head.loss, head.l2)
    scores = influence.logits(sure, features)
    expected = scores.logsumexp(1) - scores.gather(1, labels[:, None])[:, 0]
    assert expected.max() > 750                                     # exp of it is infinite
    close(influence.losses(sure, features, labels), expected)
    assert influence.gradients(sure, features, labels).isfinite().all()
    assert influence.hessian(sure, features, labels).isfinite().all()


def test_a_softmax_of_two_is_the_logistic_head():
    """Scores 0 and z: the gradient in the second row is the logistic one, in the first its opposite."""
    (features, labels), head = data_of("logistic"), head_of("logistic")
    both = np.vstack([np.zeros(6), head.weight.numpy()[0]])
    expected = oracle.gradients(both, features.numpy(), labels.numpy(), "cross-entropy")[:, 6:]
    close(influence.gradients(head, features, labels), expected)


# -------------------------------------------------------------------------------------------- influences
@pytest.mark.parametrize("damping", [0.0, 0.01, 3.0])
@pytest.mark.parametrize("kind", HEADS)
def test_influences_are_the_explicit_inverse(kind, damping):
    train, test = data_of(kind), data_of(kind, 7, seed=1)
    head = influence.fit_head(*train, loss=HEADS[kind][1], l2=L2)
    table = influence.influences(head, *train, *test, damping=damping)
    assert table.shape == (7, 40) and not table.requires_grad
    expected = oracle.influences(head.weight.numpy(), [one.numpy() for one in train], [one.numpy() for one in test],
                                 head.loss, head.l2, damping)
    close(table, expected, 1e-8)
    if damping == 0:
        assert torch.equal(table, influence.influences(head, *train, *test))


def test_strong_damping_leaves_the_gradients():
    train, test, head = data_of("softmax"), data_of("softmax", 7, seed=1), head_of("softmax")
    table = 1e9 * influence.influences(head, *train, *test, damping=1e9)
    close(table, influence.gradients(head, *test) @ influence.gradients(head, *train).mT, 1e-6)


def test_an_indefinite_hessian_is_refused_until_it_is_damped():
    """The squared loss off its minimum curves downwards somewhere."""
    train, head = data_of("squared"), head_of("squared", l2=0.0)
    arrays = [one.numpy() for one in train]
    lowest = np.linalg.eigvalsh(oracle.hessian(head.weight.numpy(), *arrays, "squared", 0.0)).min()
    assert lowest < -1e-4, "choose another seed"
    for damping in (0.0, -0.9 * lowest):
        with pytest.raises(ValueError, match="definite"):
            influence.influences(head, *train, *train, damping=damping)
    close(influence.influences(head, *train, *train, damping=-2 * lowest),
          oracle.influences(head.weight.numpy(), arrays, arrays, "squared", 0.0, -2 * lowest), 1e-7)


@pytest.mark.parametrize("kind", ["logistic", "softmax"])
def test_a_point_helps_itself(kind):
    train = data_of(kind)
    table = influence.influences(influence.fit_head(*train), *train, *train)
    assert (table.diagonal() > 0).all()
    close(table, table.mT, 1e-8)


def retrained_losses(head, train, test, shares):
    """Losses of the test points after an exact retraining with other shares of the training points."""
    (features, labels), classes = (one.numpy() for one in train), max(2, len(head.weight))
    weight = oracle.fit(features, labels, classes, head.l2, shares, head.weight.numpy())
    return oracle.losses(weight, test[0].numpy(), test[1].numpy(), head.loss)


@pytest.mark.parametrize("kind", ["logistic", "softmax"])
def test_influence_is_the_derivative_of_retraining(kind):
    """d loss(test) / d share of a training point = - influence, by a central difference of exact retrainings."""
    train, test = data_of(kind), data_of(kind, 6, seed=1)
    head = influence.fit_head(*train, l2=L2)
    table = influence.influences(head, *train, *test)
    for point in (0, 11, 33):
        shares, change = np.full(40, 1 / 40), 1e-4 * np.eye(40)[point]
        ahead, behind = (retrained_losses(head, train, test, shares + side * change) for side in (1, -1))
        close(-table[:, point], (ahead - behind) / 2e-4, 1e-5)


@pytest.mark.parametrize("kind", ["logistic", "softmax"])
def test_influence_over_n_is_leaving_one_out(kind):
    """To first order; the penalty is large enough that no point is retraining's only witness."""
    n, (train, test) = 60, (data_of(kind, 60), data_of(kind, 6, seed=1))
    head = influence.fit_head(*train, l2=0.3)
    predicted = (influence.influences(head, *train, *test) / n).numpy()
    without = [retrained_losses(head, train, test, (1 - np.eye(n)[point]) / n) for point in range(n)]
    measured = np.stack(without, 1) - influence.losses(head, *test).numpy()[:, None]
    for one, other in zip(predicted, measured):
        assert scipy.stats.spearmanr(one, other).statistic > 0.99
        assert np.abs(one - other).max() < 0.2 * np.abs(other).max()
        assert np.median(np.abs(one - other)) < 0.02 * np.abs(other).max()


# ----------------------------------------------------------------------------- the gradient-sign attack
class Extractor(nn.Module):
    """Smooth features (n, 5) of images (n, 2, 6, 6)."""

    def __init__(self):
        super().__init__()
        self.first, self.last = nn.Conv2d(2, 4, 3), nn.Linear(64, 5)

    def forward(self, x):
        return self.last(F.softplus(self.first(x), beta=3).flatten(1))


def scene(kind, dtype=torch.float64):
    """(extractor, head, train, images) with a head trained on the extractor's own features."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(5)
        extract = Extractor().to(dtype).eval()
    generator = torch.Generator().manual_seed(6)
    classes, loss = HEADS[kind]
    seen = torch.rand(24, 2, 6, 6, generator=generator, dtype=torch.float64).to(dtype)
    x = torch.rand(5, 2, 6, 6, generator=generator, dtype=torch.float64).to(dtype)
    with torch.no_grad():
        features = extract(seen)
    order = (features @ torch.randn(5, generator=generator, dtype=torch.float64).to(dtype)).argsort().argsort()
    labels = order * classes // 24
    labels[:3] = (labels[:3] + 1) % classes                         # some that no line gets right
    return extract, influence.fit_head(features, labels, loss=loss, l2=1e-2), (features, labels), x


@pytest.mark.parametrize("top", [1, 3, 24])
@pytest.mark.parametrize("kind", HEADS)
def test_the_attack_is_the_sign_of_autograd(kind, top):
    extract, head, train, x = scene(kind)
    for epsilon in (8 / 255, 0.5):
        attacked = influence.influence_sign(extract, head, train, x, epsilon=epsilon, top=top)
        assert attacked.shape == x.shape and attacked.dtype == x.dtype and not attacked.requires_grad
        for image, result in zip(x, attacked):
            expected, gradient, _, _ = oracle.sign_step(extract, head.weight, train, head.loss, head.l2, image,
                                                        epsilon, top)
            clear = gradient.abs() > 1e-9 * gradient.abs().max()
            assert clear.double().mean() > 0.9
            torch.testing.assert_close(result[clear], expected[clear], rtol=0, atol=1e-12)


@pytest.mark.parametrize("kind", HEADS)
def test_the_attack_lowers_the_top_influences(kind):
    """A small step: the summed influence of the clean image's top three falls, as much as its slope says."""
    extract, head, train, x = scene(kind)
    x = 0.1 + 0.8 * x                                               # away from where the clip would bite
    with torch.no_grad():
        clean = extract(x)
        labels = influence.logits(head, clean).argmax(1)
        table = influence.influences(head, *train, clean, labels)
        attacked = influence.influence_sign(extract, head, train, x, epsilon=1e-4)
        top = table.topk(3, 1).indices
        change = (influence.influences(head, *train, extract(attacked), labels) - table).gather(1, top).sum(1)
    slopes = [oracle.sign_step(extract, head.weight, train, head.loss, head.l2, image, 0.0, 3)[1].abs().sum()
              for image in x]
    assert (change < 0).all()
    torch.testing.assert_close(change, -1e-4 * torch.stack(slopes), rtol=0.02, atol=0)


def test_the_attack_takes_three_and_the_predicted_class():
    extract, head, train, x = scene("softmax")
    assert torch.equal(influence.influence_sign(extract, head, train, x, epsilon=0.1),
                       influence.influence_sign(extract, head, train, x, epsilon=0.1, top=3))
    with pytest.raises(ValueError, match="chunk"):
        influence.influence_sign(extract, head, train, x, epsilon=0.1, chunk=0)
    predicted = influence.logits(head, extract(x).detach()).argmax(1).tolist()
    assert len(set(predicted)) > 1, "choose another seed"
    for image, label in zip(x, predicted):
        assert oracle.sign_step(extract, head.weight, train, head.loss, head.l2, image, 0.1, 3)[2] == label


@pytest.mark.parametrize("kind", HEADS)
def test_the_attack_stays_in_the_ball_and_in_range(kind):
    extract, head, train, x = scene(kind)
    x = (3 * x - 1).clamp(0, 1)                                     # many values at the ends
    for epsilon in (1e-9, 8 / 255, 0.7):
        attacked = influence.influence_sign(extract, head, train, x, epsilon=epsilon)
        assert attacked.min() >= 0 and attacked.max() <= 1
        assert (attacked - x).abs().max() <= epsilon + 1e-15


def test_the_attack_is_a_batch_of_attacks():
    extract, head, train, x = scene("softmax")
    whole = influence.influence_sign(extract, head, train, x, epsilon=0.1)
    for i in range(len(x)):
        torch.testing.assert_close(influence.influence_sign(extract, head, train, x[i:i + 1], epsilon=0.1),
                                   whole[i:i + 1], rtol=0, atol=1e-12)
    for chunk in (1, 2):
        torch.testing.assert_close(influence.influence_sign(extract, head, train, x, epsilon=0.1, chunk=chunk), whole,
                                   rtol=0, atol=1e-12)


def test_the_attack_in_single_precision_and_without_gradients():
    extract, head, train, x = scene("logistic", torch.float32)
    attacked = influence.influence_sign(extract, head, train, x, epsilon=0.1)
    assert attacked.dtype == torch.float32
    with torch.no_grad():
        assert torch.equal(influence.influence_sign(extract, head, train, x, epsilon=0.1), attacked)
    double = influence.influence_sign(extract.double(), head, train, x.double(), epsilon=0.1)
    assert ((attacked - double).abs() < 1e-6).double().mean() > 0.97


def test_the_attack_leaves_everything_alone():
    extract, head, train, x = scene("softmax")
    copies = [one.clone() for one in (head.weight, *train, x)]
    influence.influence_sign(extract, head, train, x, epsilon=0.1)
    assert all(torch.equal(one, other) for one, other in zip(copies, (head.weight, *train, x)))
    assert all(one.grad is None and one.requires_grad for one in extract.parameters())
    assert not x.requires_grad and x.grad is None and torch.is_grad_enabled()


# ------------------------------------------------------------------------------------------------ refusals
FEATURES, LABELS = points()


def _nan():
    features = FEATURES.clone()
    features[4, 2] = float("nan")
    return features


BAD_POINTS = {
    "NaN": (_nan(), LABELS),
    "one axis": (FEATURES[0], LABELS),
    "images": (FEATURES.view(40, 5, 1, 1), LABELS),
    "integer features": (FEATURES.long(), LABELS),
    "no points": (FEATURES[:0], LABELS[:0]),
    "too few labels": (FEATURES, LABELS[:39]),
    "two axes of labels": (FEATURES, LABELS[:, None]),
    "float labels": (FEATURES, LABELS.double()),
    "negative label": (FEATURES, LABELS - 1),
}


@pytest.mark.parametrize("kind", BAD_POINTS)
def test_bad_points_are_refused(kind):
    bad, good, head = BAD_POINTS[kind], (FEATURES, LABELS), head_of("logistic")
    calls = [functools.partial(influence.fit_head, *bad)]
    calls += [functools.partial(part, head, *bad) for part in (influence.losses, influence.gradients,
                                                               influence.hessian)]
    calls += [functools.partial(influence.influences, head, *bad, *good),
              functools.partial(influence.influences, head, *good, *bad)]
    for call in calls:
        with pytest.raises(ValueError) as refusal:
            call()
        assert len(str(refusal.value)) >= 20


@pytest.mark.parametrize("kind", HEADS)
def test_what_does_not_fit_the_head_is_refused(kind):
    head, (features, labels) = head_of(kind), data_of(kind)
    beyond = labels.clone()
    beyond[3] = HEADS[kind][0]
    for part in (influence.losses, influence.gradients, influence.hessian):
        for bad in ((features, beyond), (features[:, :4], labels), (torch.cat([features, features], 1), labels)):
            with pytest.raises(ValueError):
                part(head, *bad)
    for bad in ((features, beyond), (features[:, :4], labels)):
        with pytest.raises(ValueError):
            influence.influences(head, features, labels, *bad)
        with pytest.raises(ValueError):
            influence.influences(head, *bad, features, labels)


def _bad_arguments():
    four, (extract, head, train, x) = points(classes=4), scene("logistic")
    fit, step = (functools.partial(influence.fit_head, FEATURES, LABELS),
                 functools.partial(influence.influence_sign, extract, head, train))
    table = functools.partial(influence.influences, head_of("logistic"), FEATURES, LABELS, FEATURES, LABELS)

    def through(other):
        return influence.influence_sign(other, head, train, x, epsilon=0.1)
    return {
        "unknown loss": lambda: fit(loss="hinge"),
        "squared loss of four classes": lambda: influence.fit_head(*four, loss="squared"),
        "one class": lambda: influence.fit_head(FEATURES, 0 * LABELS),
        "negative penalty": lambda: fit(l2=-1.0),
        "NaN penalty": lambda: fit(l2=float("nan")),
        "negative damping": lambda: table(damping=-1.0),
        "NaN damping": lambda: table(damping=float("nan")),
        "epsilon 0": lambda: step(x, epsilon=0),
        "NaN epsilon": lambda: step(x, epsilon=float("nan")),
        "outside [0, 1]": lambda: step(x + 1, epsilon=0.1),
        "no batch axis": lambda: step(x[0], epsilon=0.1),
        "NaN image": lambda: step(x * float("nan"), epsilon=0.1),
        "top 0": lambda: step(x, epsilon=0.1, top=0),
        "top above the training points": lambda: step(x, epsilon=0.1, top=25),
        "half a point": lambda: step(x, epsilon=0.1, top=1.5),
        "features too short": lambda: through(lambda images: extract(images)[:, :3]),
        "features without a graph": lambda: through(lambda images: extract(images).detach()),
        "extractor in training mode": lambda: through(Extractor().double().train()),
    }


@pytest.mark.parametrize("kind", _bad_arguments())
def test_bad_arguments_are_refused(kind):
    with pytest.raises(ValueError) as refusal:
        _bad_arguments()[kind]()
    assert len(str(refusal.value)) >= 20


# ------------------------------------------------------------------------------- the published code's choices


def test_the_published_fit_lowers_its_loss_and_is_repeatable():
    features, labels = points(n=1000, d=200)
    head = published_code.fit(features, labels)
    assert (head.loss, head.l2) == ("squared", 0.0)
    assert torch.equal(head.weight, published_code.fit(features, labels).weight)
    start = head._replace(weight=torch.zeros_like(head.weight))
    assert influence.losses(head, features, labels).mean() < 0.9 * influence.losses(start, features, labels).mean()


def test_published_influences_are_the_inverse_where_there_is_one_and_rounding_where_there_is_none():
    head = head_of("squared", l2=0.0)
    train, test = data_of("squared", n=60), data_of("squared", n=7, seed=5)
    expected = oracle.influences(head.weight.numpy(), [one.numpy() for one in train], [one.numpy() for one in test],
                                 "squared", 0.0, 0.0)
    close(published_code.influences(head, train, *test), expected, 1e-3)       # its Hessian is in float32
    assert published_code.spectrum(head, train)[0] == 6
    few = data_of("squared", n=4)      # more weights than examples
    rank, negative = published_code.spectrum(head, few)
    assert rank == 4 and 0 <= negative <= 4
    assert torch.isfinite(published_code.influences(head, few, *test)).all()
