"""The compensated twin of a model: the same function of images that are all shifted by a constant."""

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from fragility import checks, rules
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
        if bias is not None and self.change.ndim > bias.ndim and call.name == "conv2d":
            bias = bias[:, None, None]
        return WEIGHTED[call.name](z, weight, -self.change if bias is None else bias - self.change, *rest)


class Compensated(nn.Module):
    """A model f2 with f2(x + m) = f1(x); see :func:`compensate`."""

    def __init__(self, model, m):
        super().__init__()
        self.model, self.m, self.changes = model, m, {}
        self.training = getattr(model, "training", False)

    def forward(self, x: Tensor) -> Tensor:
        with _Rebias(self.change(x)):
            return self.model(x)

    def change(self, x: Tensor) -> Tensor:
        """What the first bias loses, W * m: (out,) where it is the same everywhere, else a map of its own."""
        place = (x.shape[1:], x.dtype, x.device)
        if place not in self.changes:
            with rules.aside(), torch.inference_mode(False), torch.no_grad():
                self.changes[place] = self._measure(x)
        return self.changes[place]

    def _measure(self, x: Tensor) -> Tensor:
        shift = checks.baseline(self.m, x, name="shift m")
        if len(shift) != 1:
            raise ValueError("m must be one shift for all images: a number or a tensor (c, h, w).")
        # Two images through the affine operations before the first layer: their difference is what m becomes there.
        moved, still = (rules.first_weighted(self.model, image) for image in (shift, torch.zeros_like(shift)))
        rules.refuse_bypass(self.model, torch.zeros_like(shift))
        _, weight, _, *rest = moved.arguments
        change = WEIGHTED[moved.name]((moved.arguments[0] - still.arguments[0]).detach(), weight, None, *rest)
        change = change.detach()
        if change.ndim == 2:
            return change[0]
        flat = change[0].flatten(1) if moved.name == "conv2d" else change[0].flatten(0, -2).T
        return flat[:, 0] if (flat == flat[:, :1]).all() else change[0]


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
        The shift, the same for all images: a number or a tensor (c, h, w), in units of x.

    Returns
    -------
    Compensated
        A module that builds its bias for each image size it meets.

    Raises
    ------
    ValueError
        At the first call: the first operation on x is no conv2d or linear layer, x comes there other than
        by affine operations, or x also goes elsewhere.
    """
    if not callable(model):
        raise TypeError(f"model must be callable on images, but it is a {type(model).__name__}.")
    return Compensated(model, m)


def agreement(model, twin, x: Tensor, m) -> Tensor:
    r"""Relative difference (n,) of the logits of a model at x and its twin at x + m.

    .. math:: \max |f_1(x) - f_2(x + m)| \,/\, \max |f_1(x)|

    Experiments refuse to compare maps where it is above 1e-4 in float32.
    """
    checks.images(x)
    first, second = logits_of(model, x), logits_of(twin, x + checks.baseline(m, x, name="shift m"))
    return (first - second).abs().amax(1) / first.abs().amax(1).clamp_min(torch.finfo(x.dtype).tiny)
