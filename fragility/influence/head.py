r"""Influence of training examples on a prediction, for a linear head on frozen features.

The head is small enough for its exact Hessian H, so one factorisation in float64 answers for all pairs of
training and test examples [koh2017; ghorbani2019, section 2].
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from fragility import checks

LOSSES = ("cross-entropy", "squared")
_ITERATIONS, _FLAT = 500, 1e-9      # of the fit; a gradient of this length is zero


class Head(NamedTuple):
    """A fitted linear head. Two classes: the logistic logit of class 1; more: softmax."""

    weight: Tensor   #: (1, d + 1) or (classes, d + 1), float64; the bias is the last column.
    loss: str        #: "cross-entropy", or "squared" for the published code's (sigmoid - y)^2.
    l2: float        #: Weight of the penalty l2 / 2 ||weight||^2, bias included.


class _Derivatives(NamedTuple):
    """Loss of each example, its derivative in the logits (n, c), and its second derivative (n, c, c)."""

    loss: Tensor
    first: Tensor
    second: Tensor


def fit_head(features: Tensor, labels: Tensor, *, loss: str = "cross-entropy", l2: float = 1e-2) -> Head:
    r"""Fit a linear head by Newton's method in float64.

    .. math:: \min_\theta \frac1n \sum_i L(z_i, \theta) + \frac{\lambda}{2} \lVert\theta\rVert^2

    Parameters
    ----------
    features
        Finite floats (n, d).
    labels
        Classes (n,) int64, 0 to C - 1.
    loss
        "cross-entropy", or "squared" for two classes.
    l2
        The penalty lambda, above zero; it also bounds the condition of the Hessian.

    Raises
    ------
    ValueError
        Bad input, or no convergence.
    """
    checks.choice("loss", loss, LOSSES)
    checks.real("l2", l2, 0, exclusive=True)
    features, labels = _examples(features, labels)
    classes = int(labels.max()) + 1
    if classes < 2 or (loss == "squared" and classes > 2):
        raise ValueError(f"The {loss} loss needs {'two' if loss == 'squared' else 'at least two'} classes, but the "
                         f"labels have {classes}.")
    head = Head(features.new_zeros((1 if classes == 2 else classes), features.shape[1] + 1), loss, l2)
    for _ in range(_ITERATIONS):
        derivatives = _derivatives(head, features, labels)
        gradient = _mean_gradient(head, derivatives, features)
        if gradient.norm() < _FLAT:
            return head
        # Far from the minimum the squared loss can have negative curvature; its Gauss-Newton part never has.
        curvature = _assemble(head, _gauss_newton(head, derivatives, features), features)
        step = torch.linalg.solve(curvature, gradient.flatten()).view_as(head.weight)
        head = _line_search(head, step, gradient, features, labels)
    raise ValueError(f"The head did not converge in {_ITERATIONS} steps; raise l2 or scale the features.")


def _line_search(head: Head, step: Tensor, gradient: Tensor, features: Tensor, labels: Tensor) -> Head:
    """Halve the step until the objective falls; at the limit of precision, the step as it is."""
    value, length = _objective(head, features, labels), 1.0
    if (step * gradient).sum() < 1e-12 * value:     # what the step can gain is lost in rounding
        return head._replace(weight=head.weight - step)
    for _ in range(30):
        candidate = head._replace(weight=head.weight - length * step)
        if _objective(candidate, features, labels) <= value - 1e-4 * length * (step * gradient).sum():
            return candidate
        length /= 2
    return head._replace(weight=head.weight - step)


def logits(head: Head, features: Tensor) -> Tensor:
    """Logits (n, C) of features (n, d); with two classes the first column is zero."""
    scores = _scores(head, features)
    return torch.cat([torch.zeros_like(scores), scores], 1) if scores.shape[1] == 1 else scores


def losses(head: Head, features: Tensor, labels: Tensor) -> Tensor:
    """Loss (n,) of each example, without the penalty."""
    return _derivatives(head, *_examples(features, labels, head)).loss


def gradients(head: Head, features: Tensor, labels: Tensor) -> Tensor:
    """Gradient (n, p) of each example's loss in the weight, row by row; differentiable in the features."""
    features, labels = _examples(features, labels, head)
    first = _derivatives(head, features, labels).first
    return (first[:, :, None] * _extended(features)[:, None]).flatten(1)


def hessian(head: Head, features: Tensor, labels: Tensor) -> Tensor:
    """Exact Hessian (p, p) of the fitted objective: the mean loss and the penalty."""
    features, labels = _examples(features, labels, head)
    return _assemble(head, _derivatives(head, features, labels).second, features)


def influences(head: Head, features: Tensor, labels: Tensor, test_features: Tensor, test_labels: Tensor, *,
               damping: float = 0.0) -> Tensor:
    r"""Influence (n_test, n_train) of every training example on the loss of every test example.

    .. math:: I(z_i, z_t) = \nabla_\theta L(z_t)^\top (H + \delta)^{-1}\, \nabla_\theta L(z_i)

    Features (n_train, d), (n_test, d) and int64 labels (n_train,), (n_test,); `damping` is delta, at least 0. Where I
    is positive, the example helps: leaving it out would raise the test loss by about I / n. (The usual formula carries
    a minus sign; the code of [ghorbani2019] does not.)

    Raises ValueError for bad input, or where H + damping is not positive definite.
    """
    checks.real("damping", damping, 0)
    solved = torch.cholesky_solve(gradients(head, test_features, test_labels).mT,
                                  factor(hessian(head, features, labels), damping))
    return solved.mT @ gradients(head, features, labels).mT


def factor(curvature: Tensor, damping: float = 0.0) -> Tensor:
    """Cholesky factor of a Hessian with `damping` on its diagonal; ValueError where there is none."""
    lower, failed = torch.linalg.cholesky_ex(curvature + damping * torch.eye(len(curvature)).to(curvature))
    if failed:
        raise ValueError("The Hessian is not positive definite, so influences would be rounding noise; raise l2 or "
                         "damping.")
    return lower


def _scores(head: Head, features: Tensor) -> Tensor:
    if features.ndim != 2 or features.shape[1] + 1 != head.weight.shape[1]:
        raise ValueError(f"features must have the shape (n, {head.weight.shape[1] - 1}) that the head was fitted on, "
                         f"but they have {tuple(features.shape)}.")
    return _extended(features.to(head.weight)) @ head.weight.mT


def _derivatives(head: Head, features: Tensor, labels: Tensor) -> _Derivatives:
    scores = _scores(head, features)
    if scores.shape[1] > 1:
        p = scores.softmax(1)
        second = torch.diag_embed(p) - p[:, :, None] * p[:, None]
        return _Derivatives(F.cross_entropy(scores, labels, reduction="none"),
                      p - F.one_hot(labels, scores.shape[1]), second)
    y = labels.to(scores)[:, None]
    p = scores.sigmoid()
    steep = p * (1 - p)
    if head.loss == "cross-entropy":
        loss = F.binary_cross_entropy_with_logits(scores, y, reduction="none")
        return _Derivatives(loss.squeeze(1), p - y, steep[:, :, None])
    second = 2 * steep * (steep + (p - y) * (1 - 2 * p))
    return _Derivatives((p - y).square().squeeze(1), 2 * (p - y) * steep, second[:, :, None])


def _gauss_newton(head: Head, derivatives: _Derivatives, features: Tensor) -> Tensor:
    """Second derivatives that are never negative: those of the loss, without the term that holds the residual."""
    if head.loss == "cross-entropy":
        return derivatives.second
    p = _scores(head, features).sigmoid()
    return (2 * (p * (1 - p)).square())[:, :, None]


def _assemble(head: Head, second: Tensor, features: Tensor) -> Tensor:
    """(p, p) mean of second (x) f f^T, with the penalty on the diagonal."""
    extended, classes = _extended(features), second.shape[1]
    blocks = [torch.cat([(extended * second[:, a, b, None]).mT @ extended for b in range(classes)], 1)
              for a in range(classes)]
    return torch.cat(blocks) / len(features) + head.l2 * torch.eye(head.weight.numel()).to(head.weight)


def _mean_gradient(head: Head, derivatives: _Derivatives, features: Tensor) -> Tensor:
    return derivatives.first.mT @ _extended(features) / len(features) + head.l2 * head.weight


def _objective(head: Head, features: Tensor, labels: Tensor) -> Tensor:
    return _derivatives(head, features, labels).loss.mean() + head.l2 / 2 * head.weight.square().sum()


def _extended(features: Tensor) -> Tensor:
    return torch.cat([features, features.new_ones(len(features), 1)], 1)


def _examples(features: Tensor, labels: Tensor, head: Head | None = None) -> tuple[Tensor, Tensor]:
    """Features (n, d) in float64 and their labels, checked."""
    if not isinstance(features, Tensor) or features.ndim != 2 or not features.is_floating_point() \
            or 0 in features.shape:
        seen = f"{features.dtype} {tuple(features.shape)}" if isinstance(features, Tensor) else type(features).__name__
        raise ValueError(f"features must be floats of shape (n, d), not empty, but they are {seen}.")
    checks.finite(features, "features")
    if not isinstance(labels, Tensor) or labels.dtype != torch.int64 or labels.shape != features.shape[:1]:
        seen = f"{labels.dtype} {tuple(labels.shape)}" if isinstance(labels, Tensor) else type(labels).__name__
        raise ValueError(f"labels must be int64 of shape ({len(features)},), but they are {seen}.")
    classes = max(2, head.weight.shape[0]) if head is not None else None
    if checks.any_true(labels < 0) or (classes is not None and checks.any_true(labels >= classes)):
        top = "" if classes is None else f" and below {classes}"
        raise ValueError(f"labels must be at least 0{top}, but they span {labels.min()} to {labels.max()}.")
    return features.double(), labels.to(features.device)
