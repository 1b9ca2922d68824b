r"""Where to step: the ascent direction of a loss of the map.

The gradient map of a network is g = dS/dx, so a loss D(g(x)) climbs along H v with v = dD/dg and H the Hessian of the
logit. A ReLU network has no Hessian. [ghorbani2019] replaces ReLU by softplus and differentiates twice; a central
difference of two ordinary gradients of the network itself,

.. math:: H v \approx \frac{\nabla S(x + h \hat v) - \nabla S(x - h \hat v)}{2 h},

needs neither, and works wherever a gradient does. It serves every map that is made of gradients: for x * g the
derivative is v * g + H (v * x); for a path integral or a moment of noisy gradients, each step uses a few random points
in place of all.
"""

from collections.abc import Callable
from contextlib import nullcontext

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from fragility import checks
from fragility.attribution.integrated import mean_gradient
from fragility.attribution.method import MethodInfo
from fragility.attribution.pixel import normalised
from fragility.curvature import central_difference
from fragility.draws import normal_like, stratified
from fragility.passes import Targets, explain, lowered
from fragility.rules.convolutions import InputGradientOnly
from fragility.rules.gates import PIECEWISE, smooth_gates, smooth_rules
from fragility.rules.model import RuleModel

FINITE = ("gradient", "times-input", "path", "mean", "mean-square", "variance")     # forms with finite differences


def map_gradient(loss: Callable[[Tensor], Tensor], maps: Tensor) -> Tensor:
    """v = dD/d(map), of the signed map's shape (n, c, h, w)."""
    with torch.enable_grad():
        maps = maps.detach().requires_grad_()
        return torch.autograd.grad(loss(normalised(maps)).sum(), maps)[0]


class FiniteDifference:
    """Hessian products by central differences of gradients, for every map that is made of gradients.

    Parameters
    ----------
    points
        Number of random path points (integrated gradients) or noise draws (noise ensembles) per step, at least 1;
        they are drawn anew at each step.
    score_every
        Maps of paths and ensembles are scored in full once in so many steps and at the last one; other maps are scored
        at every step.
    precision
        None, or torch.bfloat16 or torch.float16: the gradients of the direction are computed under autocast, which is
        twice as fast where the processor supports that type. Only the signs of the direction count, so the attack is
        just as strong; scores, labels and the maps they come from keep the precision of x.
    """

    def __init__(self, points: int = 2, score_every: int = 5, precision: torch.dtype | None = None):
        self.points = checks.integer("points", points, 1)
        self.score_every = checks.integer("score_every", score_every, 1)
        self.precision = checks.precision(precision)

    def prepare(self, method: MethodInfo, epsilon: float, options: dict) -> None:
        form = method.form_of(options)
        if form is None or form not in FINITE:
            raise ValueError(f"curvature='finite-difference' covers maps that are made of gradients, and {method.name} "
                             "is none; use 'double-backprop'.")
        self.form, self.options = form, options
        # Wide enough to cross several kinks of the ReLUs, so that the difference sees their average. Measured on
        # SqueezeNet with photographs (best near 4/255 to 8/255) and a small network with digits (near epsilon).
        self.step = max(4 / 255, epsilon / 2)
        self.sampled = self.form not in ("gradient", "times-input")
        if not self.sampled:
            self.score_every = 1

    def draw(self, x: Tensor, generator) -> Tensor | None:
        """The random path points or noise of a step for the whole batch, (points, n, …); None for other maps."""
        if self.form == "path":
            return stratified(self.points, x, generator)
        return torch.stack([normal_like(x, generator) for _ in range(self.points)]) if self.sampled else None

    def __call__(self, model, x: Tensor, targets: Targets, loss, maps: Tensor | None, draws: Tensor | None) -> Tensor:
        with lowered(x.device, self.precision):
            return getattr(self, f"_{self.form.replace('-', '_')}")(model, x, targets, loss, maps, draws)

    def _product(self, model, x: Tensor, targets: Targets, v: Tensor) -> Tensor:
        return central_difference(model, x, v, targets, self.step)

    def _gradient(self, model, x, targets, loss, maps, draws) -> Tensor:
        return self._product(model, x, targets, map_gradient(loss, maps))

    def _times_input(self, model, x, targets, loss, maps, draws) -> Tensor:
        distance = x - checks.baseline(self.options.get("root", 0.0), x, name="root")
        v, gradient = map_gradient(loss, maps), explain(model, x, targets, len(x))[0]
        return v * gradient + self._product(model, x, targets, v * distance)

    def _path(self, model, x, targets, loss, maps, points) -> Tensor:
        start = checks.baseline(self.options.get("baseline", 0.0), x).expand_as(x)
        mean = mean_gradient(model, x, targets, start, points)
        v = map_gradient(loss, (x - start) * mean)
        direction = v * mean
        for t in points:
            t = t.view(-1, *[1] * (x.ndim - 1))
            direction += t * self._product(model, torch.lerp(start, x, t), targets, v * (x - start)) / len(points)
        return direction

    def _noisy(self, model, x: Tensor, targets: Targets, noise: Tensor) -> tuple[list[Tensor], Tensor]:
        """Noisy images and the gradient of each, (points, n, …)."""
        sigma, each = self.options.get("sigma", 0.15), tuple(range(1, x.ndim))
        sigma = sigma.to(x).view(-1, *[1] * (x.ndim - 1)) if isinstance(sigma, Tensor) else sigma
        scale = sigma * (x.amax(each, keepdim=True) - x.amin(each, keepdim=True))
        noisy = [x + scale * one for one in noise]
        return noisy, torch.stack([explain(model, one, targets, len(x))[0] for one in noisy])

    def _mean(self, model, x, targets, loss, maps, noise) -> Tensor:
        noisy, gradients = self._noisy(model, x, targets, noise)
        v = map_gradient(loss, gradients.mean(0))
        return sum((self._product(model, one, targets, v) for one in noisy), torch.zeros_like(x))

    def _mean_square(self, model, x, targets, loss, maps, noise) -> Tensor:
        noisy, gradients = self._noisy(model, x, targets, noise)
        v = map_gradient(loss, gradients.square().mean(0))
        return sum((self._product(model, one, targets, v * g) for one, g in zip(noisy, gradients)), torch.zeros_like(x))

    def _variance(self, model, x, targets, loss, maps, noise) -> Tensor:
        noisy, gradients = self._noisy(model, x, targets, noise)
        centred = gradients - gradients.mean(0)
        v = map_gradient(loss, centred.square().mean(0))
        return sum((self._product(model, one, targets, v * g) for one, g in zip(noisy, centred)), torch.zeros_like(x))


class DoubleBackprop:
    """The derivative of the loss by differentiating twice: the published way, for any map that can be differentiated.

    Parameters
    ----------
    beta
        Sharpness of the smoothed functions, above zero: a larger one is closer to the network, but leaves less
        curvature to follow.
    smooth
        True: maps that are made of gradients, and those of a user's own method, are differentiated on the network's
        smooth twin, in which ReLUs and other piecewise linear functions are smoothed; methods with back-propagation
        rules are differentiated on the network itself, and only the derivatives of its ReLU gates are smoothed; maps
        that hold no gradient, such as occlusion, need no smoothing.
        False: nothing is smoothed, as for relevance methods in the published code.
    """

    score_every = 1

    def __init__(self, beta: float = 1.0, smooth: bool = True):
        self.beta, self.smooth = checks.real("beta", beta, 0, exclusive=True), smooth

    def prepare(self, method: MethodInfo, epsilon: float, options: dict) -> None:
        self.kernel, self.options, self.name = method.kernel, options, method.name
        self.draws_inside = "generator" in method.names
        self.on_smooth_twin = self.smooth and not method.has_rules and method.form_of(options) != "forward"
        self.gates = (lambda: smooth_gates(self.beta)) if self.smooth and method.has_rules else nullcontext

    def draw(self, x: Tensor, generator) -> None:
        """Nothing: a method that draws takes the attack's generator itself."""

    def __call__(self, model, x: Tensor, targets: Targets, loss, maps, draws) -> Tensor:
        if self.on_smooth_twin:
            model = RuleModel(model, smooth_rules(self.beta), strict=False, forbidden_nodes=PIECEWISE)
        # Fused attention has no second derivative; the same sum written out has.
        with torch.enable_grad(), InputGradientOnly(), sdpa_kernel(SDPBackend.MATH), self.gates():
            x = x.detach().requires_grad_()
            maps = self.kernel(model, x, targets, **self.options)
            if not maps.requires_grad:
                raise ValueError(f"The maps of {self.name} carry no derivative, so they cannot be attacked; a callable "
                                 "method must keep the autograd graph.")
            direction, = torch.autograd.grad(loss(normalised(maps)).sum(), x, allow_unused=True)
            return torch.zeros_like(x) if direction is None else direction


CURVATURES = {"finite-difference": FiniteDifference, "double-backprop": DoubleBackprop}
