r"""The Hessian of the explained logit in the input: where maps change fastest.

A map's change is :math:`\nabla S(x + \delta) - \nabla S(x) \approx H \delta`, so the dominant eigenvector of H
is the direction in which a gradient map is most fragile [ghorbani2019, section 5]. A network of ReLUs has
H = 0 almost everywhere; its smooth twin has not.
"""

import warnings
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.autograd import forward_ad

from fragility import checks
from fragility.attribution.method import method
from fragility.draws import normal_like
from fragility.passes import Targets, batches, explain, predict
from fragility.rules.gates import PIECEWISE, smooth_rules
from fragility.rules.model import RuleModel

WAYS = ("forward-over-reverse", "finite-difference")


def smoothed(model, beta: float = 1.0) -> nn.Module:
    """The smooth twin of a model, whose ReLUs are log(1 + exp(beta z)) / beta; same weights, `beta` above zero."""
    rules = smooth_rules(checks.real("beta", beta, 0, exclusive=True))
    return RuleModel(model, rules, strict=False, forbidden_nodes=PIECEWISE)


def hessian_product(model, x: Tensor, v: Tensor, target=None, *, way: str = "forward-over-reverse",
                    step: float = 1e-3, chunk: int | None = None) -> Tensor:
    r"""Product H v of the Hessian of each image's explained logit with a direction v.

    .. math:: H v = \frac{\mathrm d}{\mathrm dt} \nabla S(x + t v), \qquad
              H v \approx \frac{\nabla S(x + h \hat v) - \nabla S(x - h \hat v)}{2 h / \lVert v \rVert_\infty}

    Parameters
    ----------
    model
        Callable from images to logits; see :func:`smoothed` for networks of ReLUs.
    x, v
        Images and directions (n, c, h, w).
    way
        "forward-over-reverse": exact, the derivative of the gradient along v. "finite-difference": the central
        difference of the gradients at a distance of max-norm `step`, in units of x, to either side.

    Returns
    -------
    Tensor
        (n, c, h, w), in logits per squared unit of x and unit of v.

    Notes
    -----
    Other parameters and errors as for :func:`~fragility.attribution.gradient`; ValueError also where v does not have
    the shape of x, for an unknown way, and for a step that is not above zero.
    """
    checks.choice("way", way, WAYS)
    checks.real("step", step, 0, exclusive=True)
    checks.images(v, name="v")
    if not isinstance(x, Tensor) or v.shape != x.shape:
        raise ValueError(f"v must have the shape of x, but it has {tuple(v.shape)}.")
    return _product(model, x, target, v=v, way=way, step=step, chunk=chunk)


@method
def _product(model, x: Tensor, targets, *, v: Tensor, way: str, step: float, chunk: int | None = None) -> Tensor:
    targets = targets.resolved(model, x, chunk)
    kernel = _exact if way == WAYS[0] else central_difference
    return torch.cat([kernel(model, x[rows].detach(), v[rows].detach(), targets[rows], step)
                      for rows in batches(len(x), x, chunk)])


def _exact(model, x: Tensor, v: Tensor, targets: Targets, step: float) -> Tensor:
    with warnings.catch_warnings(), torch.enable_grad(), forward_ad.dual_level():
        warnings.filterwarnings("ignore", "`torch.jit.script` is", FutureWarning)     # torch warns of itself
        moving = forward_ad.make_dual(x.requires_grad_(), v)
        tangent = forward_ad.unpack_dual(explain(model, moving, targets, len(x))[0]).tangent
        return torch.zeros_like(x) if tangent is None else tangent.detach()


def central_difference(model, x: Tensor, v: Tensor, targets: Targets, step: float) -> Tensor:
    """H v (n, c, h, w) by two gradients, a step of max-norm `step` along v to either side. Unchecked, for kernels."""
    size = v.abs().amax((1, 2, 3), keepdim=True).clamp_min(torch.finfo(v.dtype).tiny)
    offset = v * (step / size)
    ahead, behind = explain(model, torch.cat([x + offset, x - offset]), Targets.join([targets, targets]))[0].chunk(2)
    return (ahead - behind) * (size / (2 * step))


class Dominant(NamedTuple):
    """Eigenvector of largest absolute eigenvalue, image by image."""

    direction: Tensor    #: (n, c, h, w), of Euclidean length one.
    eigenvalue: Tensor   #: (n,), with its sign.


@torch.inference_mode(False)
def dominant_direction(model, x: Tensor, target=None, *, iterations: int = 30, way: str = "forward-over-reverse",
                       step: float = 1e-3, generator: torch.Generator | None = None,
                       chunk: int | None = None) -> Dominant:
    """Eigenvector of H of largest absolute eigenvalue, by power iteration.

    H is applied twice per iteration, so that eigenvalues of equal size and opposite sign cannot make it oscillate; the
    sign is determined at the end. Raises ValueError where H is zero, as it is for a network of ReLUs.

    Parameters
    ----------
    iterations
        Steps of two products each; the error shrinks by (second / first eigenvalue)^2 a step.
    generator
        For the random start; None takes torch's global one.

    Notes
    -----
    Other parameters as for :func:`hessian_product`.
    """
    checks.integer("iterations", iterations, 1)
    checks.model(model)
    checks.generator(generator)
    x = checks.for_autograd(checks.images(x))
    target = predict(model, x, chunk) if target is None else target

    def product(v):
        return hessian_product(model, x, v, target, way=way, step=step, chunk=chunk)

    v = _unit(normal_like(x, generator))
    for _ in range(iterations):
        product_twice = product(product(v))
        zero = product_twice.abs().amax((1, 2, 3)) == 0
        if checks.any_true(zero):
            raise ValueError(f"The Hessian is zero for {checks.image_list(zero)}; a network of ReLUs needs its smooth "
                             "twin, curvature.smoothed(model).")
        v = _unit(product_twice)
    image = product(v)
    size = _length(image)
    # v may mix the eigenvectors of +size and -size; each sum below holds only one, and the longer is more accurate.
    rising, falling = image + size * v, image - size * v
    upward = _length(rising) >= _length(falling)
    return Dominant(_unit(torch.where(upward, rising, falling)),
                    (torch.where(upward, 1.0, -1.0) * size).flatten())


def angle(a: Tensor, b: Tensor) -> Tensor:
    """Angle (n,) in degrees, 0 to 90, between the lines along a and b, both (n, …)."""
    if not isinstance(a, Tensor) or not isinstance(b, Tensor) or a.shape != b.shape or a.ndim < 2:
        raise ValueError("An angle needs two batches of directions of the same shape (n, …).")
    a, b = (checks.finite(side, name).flatten(1).double() for side, name in ((a, "a"), (b, "b")))
    sizes = a.norm(dim=1) * b.norm(dim=1)
    if checks.any_true(sizes == 0):
        raise ValueError(f"A direction that is zero everywhere has no angle: {checks.image_list(sizes == 0)}.")
    return torch.rad2deg(torch.arccos(((a * b).sum(1).abs() / sizes).clamp_max(1)))


def _length(v: Tensor) -> Tensor:
    return v.flatten(1).norm(dim=1)[:, None, None, None]


def _unit(v: Tensor) -> Tensor:
    return v / _length(v)
