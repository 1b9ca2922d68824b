"""The compensated twin of a model: the same function of images that are all shifted by a constant."""

import copy
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from fragility import checks, rules
from fragility.attribution.method import by_name
from fragility.metrics.invariance import Invariance
from fragility.metrics.invariance import invariance as compare
from fragility.passes import logits_of
from fragility.rules.operations import WEIGHTED, recognise


class _Rebias(TorchFunctionMode):
    """Gives the first weighted operation of a forward pass another bias; everything else is left alone."""

    def __init__(self, change: Tensor):
        super().__init__()
        self.change, self.done = change, False

    def __torch_function__(self, function, types, args=(), kwargs=None):
        call = None if self.done else recognise(function, args, kwargs or {})
        if call is None or call.name not in WEIGHTED:
            return function(*args, **(kwargs or {}))
        self.done = True
        z, weight, bias, *rest = call.arguments
        layer = WEIGHTED[call.name]
        if self.change.ndim > 1 and call.name not in ("conv2d", "linear"):     # torch's own take no map for a bias
            value = layer(z, weight, bias, *rest)
            return value - self.change
        if bias is not None and self.change.ndim > bias.ndim and call.name == "conv2d":
            bias = bias[:, None, None]
        return layer(z, weight, -self.change if bias is None else bias - self.change, *rest)


class Compensated(nn.Module):
    """A model f2 with f2(x + m) = f1(x); see :func:`compensate`."""

    def __init__(self, model, m):
        super().__init__()
        # A copy of m, so that the caller may change it later without changing the twin.
        self.model, self.m = model, m.detach().clone() if isinstance(m, Tensor) else m
        self.checked_sizes = set()      # sizes of images of which nothing goes around the first layer
        self.training = getattr(model, "training", False)

    def forward(self, x: Tensor) -> Tensor:
        with _Rebias(self.change(x)):
            return self.model(x)

    def change(self, x: Tensor) -> Tensor:
        """W * m of the current weights, which the first bias loses: (out,) if it is the same everywhere, or a map."""
        with rules.rules_suspended(), torch.inference_mode(False), torch.no_grad():
            shift = checks.shift(self.m, x)
            # Two images through the affine operations before the first layer: their difference is what becomes of m.
            shifted, unshifted = (rules.first_weighted(self.model, image) for image in (shift, torch.zeros_like(shift)))
            if tuple(x.shape[1:]) not in self.checked_sizes:
                rules.refuse_bypass(self.model, torch.zeros_like(shift))
                self.checked_sizes.add(tuple(x.shape[1:]))
            _, weight, _, *rest = shifted.arguments
            difference = (shifted.arguments[0] - unshifted.arguments[0]).detach()
            change = WEIGHTED[shifted.name](difference, weight, None, *rest).detach()
        if change.ndim == 2:
            return change[0]
        flat = change[0].flatten(0, -2).T if shifted.name == "linear" else change[0].flatten(1)
        return change[0] if checks.any_true(flat != flat[:, :1]) else flat[:, 0]


def compensate(model, m) -> Compensated:
    r"""The network 2 of [kindermans2019, section 2]: only the bias of the first layer differs.

    .. math:: f_2(x + m) = f_1(x), \qquad b_2 = b_1 - W * m

    The convolution of m has the model's own padding, stride and dilation; where the result differs from
    place to place (a shift that varies, or zero padding) the bias is untied into a map, so that the
    twin is exact at the borders, too. A normalisation before the first layer is taken into account.

    Parameters
    ----------
    model
        Callable from images to logits; neither converted nor changed.
    m
        The shift, the same for all images, in units of x: a number, or a tensor that broadcasts to (c, h, w).

    Returns
    -------
    Compensated
        A module that computes its bias from the model's weights at every call; m is copied.

    Raises
    ------
    ValueError
        At the first call: the model applies no convolution or linear layer to x, x reaches the first one by
        operations that are not affine, or x is also used elsewhere. A model that is not callable is a TypeError.
    """
    if not callable(model):
        raise TypeError(f"model must be callable on images, but it is a {type(model).__name__}.")
    return Compensated(model, m)


def agreement(model, twin, x: Tensor, m) -> Tensor:
    r"""Relative difference (n,) of the logits of a model at x and its twin at x + m.

    .. math:: \max |f_1(x) - f_2(x + m)| \,/\, \max |f_1(x)|

    Experiments refuse to compare maps where it is above 1e-4 in float32. Logits that agree do not make maps comparable
    by themselves: in float32, ReLUs that rounding switches on or off change a gradient by up to a hundredth. A verdict
    on maps needs float64, in which :func:`invariance` computes.
    """
    checks.images(x, spaces=True)
    first, second = logits_of(model, x), logits_of(twin, x + checks.shift(m, x))
    return (first - second).abs().amax(1) / first.abs().amax(1).clamp_min(torch.finfo(x.dtype).tiny)


def invariance(model: nn.Module, x: Tensor, m, *, method: str | Callable = "gradient", target=None,
               **options) -> Invariance:
    """How much a map changes when images are shifted and the network is not: :func:`fragility.metrics.invariance`.

    Computed in float64, on a copy of the model, so that any change is due to the method and not to rounding.

    Parameters
    ----------
    model
        A module in evaluation mode; a function has no precision to change.
    x, m
        Images (n, c, h, w), and the shift as for :func:`compensate`.
    method, target, options
        The method of the map, as a name or a callable; the class to explain, by default the one predicted for the
        unshifted images; and the options of the method.

    Raises
    ------
    ValueError
        As for :func:`compensate` and the method, and where the logits differ by more than 1e-9.
    """
    if not isinstance(model, nn.Module):
        raise TypeError(f"model must be a module, whose copy can be computed in float64, not a {type(model).__name__}.")
    model, x = copy.deepcopy(model).double(), checks.images(x, spaces=True).double()
    checks.model(model)
    twin, shifted = compensate(model, m), x + checks.shift(m, x)
    difference = agreement(model, twin, x, m)
    if checks.any_true(difference > 1e-9):
        raise ValueError(f"The shifted network differs by {difference.max():.2g} in its logits, so its maps cannot be "
                         "compared.")
    target = logits_of(model, x).argmax(1) if target is None else target
    function = by_name(method)
    return compare(function(model, x, target, **options), function(twin, shifted, target, **options))
