r"""Where to step: the ascent direction of an objective of the map.

The map of a network is its gradient g, so an objective D(g(x)) climbs along H v with v = dD/dg and H the
Hessian of the logit. A ReLU network has no Hessian. [ghorbani2019] puts softplus for ReLU and
differentiates twice; a central difference of two ordinary gradients of the network itself,

.. math:: H v \approx \frac{\nabla S(x + h \hat v) - \nabla S(x - h \hat v)}{2 h},

needs neither. For integrated gradients a few random points of the path stand for all of them.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from fragility import attribution, checks
from fragility.attribution.integrated import mean_gradient
from fragility.attribution.method import kernel_of
from fragility.attribution.pixel import normalised
from fragility.draws import stratified
from fragility.passes import Output, explain
from fragility.rules.convolutions import Frozen
from fragility.rules.gates import softplus
from fragility.rules.twin import Twin

# These maps are piecewise constant in the ReLUs' states: their derivative needs the smooth twin.
_NEEDS_TWIN = {attribution.gradient, attribution.gradient_x_input, attribution.integrated_gradients,
               attribution.smoothgrad, attribution.smoothgrad_squared, attribution.vargrad}


def objective_slope(drive: Callable[[Tensor], Tensor], maps: Tensor) -> Tensor:
    """v = dD/d(map), of the signed map's shape (n, c, h, w)."""
    with torch.enable_grad():
        maps = maps.detach().requires_grad_()
        return torch.autograd.grad(drive(normalised(maps)).sum(), maps)[0]


class FiniteDifference:
    """Hessian products by central differences of gradients; for gradient maps and integrated gradients.

    Parameters
    ----------
    points
        Random path points a step for integrated gradients, stratified, fresh each step.
    every
        Steps between two scorings on the full path of integrated gradients; the last step is always
        scored. Gradient maps are scored at every step, since that costs nothing more.
    precision
        None, or torch.bfloat16 or torch.float16: the direction's gradients under autocast, twice as fast
        where the processor has the arithmetic. Only signs of the direction count, so the attack is as
        strong; scores, labels and the maps they come from keep the precision of x.
    """

    def __init__(self, points: int = 2, every: int = 5, precision: torch.dtype | None = None):
        self.points, self.every = checks.whole("points", points, 1), checks.whole("every", every, 1)
        self.precision = checks.precision(precision)

    def prepare(self, method: Callable, epsilon: float, arguments: dict) -> None:
        if method not in (attribution.gradient, attribution.integrated_gradients):
            raise ValueError("curvature='finite-difference' covers method='gradient' and "
                             "'integrated_gradients', whose Jacobian is a Hessian; use 'double-backprop'.")
        # Wide enough to cross several kinks of the ReLUs, so that the difference sees their average. Measured on
        # SqueezeNet with photographs (best near 4/255 to 8/255) and a small network with digits (near epsilon).
        self.reach = max(4 / 255, epsilon / 2)
        self.is_path = method is attribution.integrated_gradients
        self.baseline = arguments.get("baseline", 0.0)

    def __call__(self, model, x: Tensor, output: Output, drive, maps: Tensor | None, generator) -> Tensor:
        with torch.autocast(x.device.type, self.precision, enabled=self.precision is not None):
            return self._slope(model, x, output, drive, maps, generator)

    def _slope(self, model, x: Tensor, output: Output, drive, maps: Tensor | None, generator) -> Tensor:
        """The direction itself, in the precision of the surrounding autocast."""
        if not self.is_path:
            return self._product(model, x, output, objective_slope(drive, maps))
        start = checks.baseline(self.baseline, x).expand_as(x)
        points = stratified(self.points, x, generator)
        mean = mean_gradient(model, x, output, start, points)
        slope = objective_slope(drive, (x - start) * mean)
        step = slope * mean
        for t in points:
            t = t[:, None, None, None]
            step += t * self._product(model, torch.lerp(start, x, t), output, slope * (x - start)) / len(points)
        return step

    def _product(self, model, x: Tensor, output: Output, v: Tensor) -> Tensor:
        """H v by two gradients, a step of max-norm `reach` to either side."""
        size = v.abs().amax((1, 2, 3), keepdim=True).clamp_min(torch.finfo(v.dtype).tiny)
        step = v * (self.reach / size)
        both = explain(model, torch.cat([x + step, x - step]), Output.join([output, output]))[0]
        ahead, behind = both.chunk(2)
        return (ahead - behind) * (size / (2 * self.reach))


class DoubleBackprop:
    """The exact derivative of the objective, as published; on the softplus twin where the map needs one.

    `beta` is the sharpness of softplus: larger is closer to ReLU, and has less curvature to follow.
    """

    every = 1

    def __init__(self, beta: float = 1.0):
        self.beta = checks.number("beta", beta, 0, exclusive=True)

    def prepare(self, method: Callable, epsilon: float, arguments: dict) -> None:
        self.kernel, self.arguments = kernel_of(method), arguments
        self.table = softplus(self.beta) if method in _NEEDS_TWIN else None

    def __call__(self, model, x: Tensor, output: Output, drive, maps, generator) -> Tensor:
        twin = model if self.table is None else Twin(model, self.table, strict=False)
        with torch.enable_grad(), Frozen():
            x = x.detach().requires_grad_()
            maps = self.kernel(twin, x, output, **self.arguments)
            if not maps.requires_grad:
                raise ValueError("The method's maps carry no derivative, so they cannot be attacked by "
                                 "double-backprop; a callable method must keep the autograd graph.")
            return torch.autograd.grad(drive(normalised(maps)).sum(), x)[0]


CURVATURES = {"finite-difference": FiniteDifference, "double-backprop": DoubleBackprop}
