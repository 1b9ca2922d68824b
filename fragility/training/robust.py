"""Training losses of robust networks: PGD [madry2018] and attribution regularisation [chen2019].

Each function here makes a loss (model, x, labels) -> scalar for :func:`~fragility.training.train`, so that every
network is trained in the same loop: first an attack on the batch, then the loss of what it found.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fragility import checks
from fragility.passes import batches, lowered, predict
from fragility.rules.convolutions import InputGradientOnly
from fragility.training.loop import Loss, as_float, check_examples


class Ball(NamedTuple):
    """Where an attack of the training searches, and how long.

    `epsilon` is the largest change of a value and `step_size` the length of a step, as shares of the range
    [0, 1]; `steps` their number. [chen2019] take 0.3, 0.01 and 40 for MNIST.
    """

    epsilon: float
    steps: int
    step_size: float

    def checked(self) -> "Ball":
        """The same ball; ValueError where a number is out of range."""
        checks.real("epsilon", self.epsilon, 0, 1, exclusive=True)
        checks.integer("steps", self.steps, 1)
        checks.real("step_size", self.step_size, 0, 1, exclusive=True)
        return self


def pgd(ball: Ball, generator: torch.Generator) -> Loss:
    r"""Cross-entropy of the worst image that is found in the ball, and of nothing else [madry2018].

    .. math:: \max_{\lVert x' - x \rVert_\infty \le \epsilon} \ell(x', y)

    `generator` draws the start in the ball. ValueError for a ball out of range.
    """
    return _robust(ball, generator, inner_objective=_cross_entropy, loss=_cross_entropy)


def ig_norm(ball: Ball, generator: torch.Generator, *, weight: float = 1.0, points: int = 50,
            attack_points: int = 10, precision: torch.dtype | None = None) -> Loss:
    r"""Cross-entropy plus the 1-norm of the largest attribution of its change to the pixels [chen2019].

    .. math:: \ell(x, y) + \lambda \max_{x'} \lVert \mathrm{IG}(x, x') \rVert_1

    `weight` is lambda; `points` and `attack_points` are those of :func:`loss_attribution` in the loss and in
    the attack before it; `precision`, torch.bfloat16 or torch.float16, computes both under autocast. Otherwise
    as :func:`pgd`.
    """
    checks.real("weight", weight, 0)
    _check(points, attack_points)

    def total(model, x, adversarial, labels):
        return _cross_entropy(model, x, x, labels) + weight * _attribution_norm(model, x, adversarial, labels, points)
    return _robust(ball, generator, inner_objective=lambda *batch: _attribution_norm(*batch, points=attack_points),
                   loss=total, precision=precision)


def ig_sum_norm(ball: Ball, generator: torch.Generator, *, beta: float = 0.1, points: int = 50,
                attack_points: int = 10, precision: torch.dtype | None = None) -> Loss:
    r"""Cross-entropy of the worst image plus the 1-norm of the attribution of its increase [chen2019].

    .. math:: \max_{x'} \bigl[ \ell(x', y) + \beta \lVert \mathrm{IG}(x, x') \rVert_1 \bigr]

    Since the attributions sum to l(x') - l(x), this is their regulariser with the size function sum + beta
    times the 1-norm; beta = 0 is :func:`pgd`. Other parameters as for :func:`ig_norm`.
    """
    checks.real("beta", beta, 0)
    _check(points, attack_points)

    def total(points: int):
        return lambda *batch: _cross_entropy(*batch) + beta * _attribution_norm(*batch, points=points)
    return _robust(ball, generator, inner_objective=total(attack_points), loss=total(points), precision=precision)


def loss_attribution(model: nn.Module, x: Tensor, adversarial: Tensor, labels: Tensor, points: int) -> Tensor:
    r"""Which pixels make the loss of x' differ from that of x: integrated gradients of the loss [chen2019].

    .. math:: \mathrm{IG}_i(x, x') = (x'_i - x_i) \frac1m \sum_{k=1}^{m}
              \frac{\partial \ell}{\partial x_i}\Bigl(x + \tfrac{k}{m} (x' - x)\Bigr)

    Images (n, c, h, w) and labels (n,) in, (n, c, h, w) out, differentiable in the weights, and in x' where it
    requires a gradient. The right Riemann sum is the published one. Unchecked, for losses; memory holds m n images.
    """
    shares = (torch.arange(points, dtype=x.dtype, device=x.device) + 1) / points
    path = torch.cat([torch.lerp(x, adversarial, share) for share in shares])
    if not path.requires_grad:
        path.requires_grad_()
    loss = F.cross_entropy(model(path), labels.repeat(points), reduction="sum")
    gradient, = torch.autograd.grad(loss, path, create_graph=True)
    return (adversarial - x) * gradient.view(points, *x.shape).mean(0)


def maximise_in_ball(model: nn.Module, x: Tensor, labels: Tensor, ball: Ball, generator: torch.Generator | None,
                     inner_objective: Callable[[nn.Module, Tensor, Tensor, Tensor], Tensor] | None = None) -> Tensor:
    """Images (n, c, h, w) in the ball around x that raise the inner objective, by sign steps from a random start.

    `inner_objective` (model, x, adversarial, labels) -> (n,) is what rises; None means the cross-entropy. The
    model runs in evaluation mode, and its own mode is restored afterwards. Unchecked, for losses.
    """
    inner_objective = inner_objective or _cross_entropy
    device = x.device if generator is None else generator.device
    start = torch.rand(x.shape, dtype=x.dtype, device=device, generator=generator).to(x.device)
    low, high = (x - ball.epsilon).clamp_min(0), (x + ball.epsilon).clamp_max(1)
    adversarial = torch.lerp(low, high, start)
    training = [part for part in model.modules() if part.training]       # a frozen batch norm is not among them
    model.eval()
    try:
        for _ in range(ball.steps):
            with torch.enable_grad(), InputGradientOnly():
                adversarial.requires_grad_()
                gradient, = torch.autograd.grad(inner_objective(model, x, adversarial, labels).sum(), adversarial)
            adversarial = torch.clamp(adversarial.detach() + ball.step_size * gradient.sign(), low, high)
    finally:
        for part in training:
            part.training = True
    return adversarial


def withstands(model: nn.Module, images: Tensor, labels: Tensor, ball: Ball, generator: torch.Generator) -> Tensor:
    """Whether each image (n, c, h, w), uint8 or floats in [0, 1], keeps its label (n,) under PGD, (n,) bool.

    PGD starts at random; like any attack, it gives an upper bound on the true robustness. Raises ValueError for
    a ball out of range, a model in training mode, and images and labels that do not fit.
    """
    check_examples(model, images, labels)
    ball.checked()
    device = next(model.parameters()).device
    x, labels = as_float(images).to(device), labels.to(device)
    adversarial = [maximise_in_ball(model, x[rows], labels[rows], ball, generator) for rows in batches(len(x), x, None)]
    return predict(model, torch.cat(adversarial)) == labels


def _robust(ball: Ball, generator: torch.Generator, inner_objective, loss,
            precision: torch.dtype | None = None) -> Loss:
    """The loss at the maximum of the inner objective that is found in the ball; what is found counts as a constant."""
    ball.checked()
    checks.precision(precision)

    def total(model: nn.Module, x: Tensor, labels: Tensor) -> Tensor:
        with lowered(x.device, precision):
            return loss(model, x, maximise_in_ball(model, x, labels, ball, generator, inner_objective), labels).mean()
    return total


def _cross_entropy(model: nn.Module, x: Tensor, adversarial: Tensor, labels: Tensor) -> Tensor:
    return F.cross_entropy(model(adversarial), labels, reduction="none")


def _attribution_norm(model: nn.Module, x: Tensor, adversarial: Tensor, labels: Tensor, points: int) -> Tensor:
    """1-norm (n,) of the attribution of the loss."""
    return loss_attribution(model, x, adversarial, labels, points).flatten(1).abs().sum(1)


def _check(points: int, attack_points: int) -> None:
    checks.integer("points", points, 1)
    checks.integer("attack_points", attack_points, 1)
