"""Memory layout: images go to a model with their channels last where that changes nothing but the time."""

from types import BuiltinMethodType, MethodType
from weakref import WeakKeyDictionary

import torch
from torch import Tensor

from fragility.checks import unwrapped
from fragility.rules.guard import EvalModeGuard

ALIKE = 1e-4     # largest difference of outputs in two layouts, as a share of the largest output: rounding, and no more


def fresh(model, x: Tensor) -> Tensor:
    """A copy of images for a model that may write into it, laid out with channels last where the model takes that."""
    if x.ndim == 4 and x.dtype != torch.float64 and _takes_channels_last(model, x):
        return channels_last(x)
    return x.clone(memory_format=torch.contiguous_format)


def channels_last(x: Tensor) -> Tensor:
    """A copy of images (n, c, h, w) with their channels last; of a single channel, too, where strides alone say so."""
    if x.shape[1] > 1:
        return x.clone(memory_format=torch.channels_last)
    return x.clone(memory_format=torch.contiguous_format).squeeze(1).unsqueeze(-1).movedim(-1, 1)


_TAKES_CHANNELS_LAST = WeakKeyDictionary()        # model -> {size of an image: whether it takes channels-last}


def _takes_channels_last(model, x: Tensor) -> bool:
    """Whether a model computes the same from images of that size in either layout: found once, on a whole first batch.

    Most models do not depend on the layout, but some view, stride or fold their input. Any error in this trial means
    no; so does a callable that cannot be a key of the cache.
    """
    if isinstance(model, (MethodType, BuiltinMethodType)):
        return False
    try:
        takes_channels_last = _TAKES_CHANNELS_LAST.setdefault(model, {})
    except TypeError:
        return False
    size = (*x.shape[1:], x.dtype)
    if size not in takes_channels_last:
        takes_channels_last[size] = _alike(model, x.detach())
    return takes_channels_last[size]


@torch.no_grad()
def _alike(model, x: Tensor) -> bool:
    try:
        with EvalModeGuard():
            one, other = (unwrapped(model(copy)) for copy in (x.clone(memory_format=torch.contiguous_format),
                                                            channels_last(x)))
        return one.shape == other.shape and bool((one - other).abs().max() <= ALIKE * one.abs().max())
    except Exception:       # of whatever kind: the pass that counts says what is wrong, in the plain layout
        return False
