"""Where the places of the image are in a model's tensors: a mode that follows the grid from call to call.

A convolution keeps rows and columns, `flatten(2).transpose(1, 2)` turns them into a line of tokens, and a class token
goes in front. A shape alone does not tell tokens from heads, nor a grid from a matrix of attention, so what is known of
one tensor is carried to the results of the calls that it goes into; where a call mixes the axes, it is lost.
"""

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from fragility.rules.guard import EvalModeGuard
from fragility.rules.operations import WEIGHTED, recognise, tensors_in

_RESHAPE = {"reshape", "view", "flatten", "unflatten", "reshape_as", "view_as", "_unsafe_view"}
_PERMUTE = {"permute", "transpose", "movedim", "moveaxis", "swapaxes", "swapdims", "t", "__get__"}
_SUM = {"add", "add_", "__add__", "__radd__", "__iadd__"}
_OF_GRIDS = {"max_pool", "batch_norm", *WEIGHTED} - {"linear"}
MOST_EXTRA = 16     # tokens in front of those of the image: a class token, one of distillation, registers


class Places(NamedTuple):
    """Where the grid lies in a tensor: on axes of its own, or as a line of tokens with `extra` ones in front."""

    axes: tuple[int, ...]       #: One for each direction of the image; of tokens, a single one.
    size: tuple[int, ...]       #: The grid: (h, w) of an image.
    extra: int = 0              #: Tokens in front that belong to no place.
    tokens: bool = False

    def features(self, tensor: Tensor) -> Tensor:
        """The tensor's values at each place, (n, channels, *size); further tokens are left out."""
        if self.tokens:
            tensor = tensor.narrow(self.axes[0], self.extra, math.prod(self.size)).unflatten(self.axes[0], self.size)
        axes = range(self.axes[0], self.axes[0] + len(self.size))
        return tensor.movedim(tuple(axes), tuple(range(-len(self.size), 0))).flatten(1, -len(self.size) - 1)


def places_of(tensor: Tensor) -> Places | None:
    """What a :class:`GridMode` has found out about a tensor."""
    return getattr(tensor, "places", None)


def grid_of_tokens(tokens: int, image: tuple[int, ...]) -> tuple[tuple[int, ...], int] | None:
    """The grid, in the shape of the image, that so many tokens make up: none or one of them is further, or None."""
    for extra in (0, 1):
        shrink = (math.prod(image) / max(1, tokens - extra)) ** (1 / len(image))
        size = tuple(max(1, round(side / shrink)) for side in image)
        if math.prod(size) == tokens - extra > 1:
            return size, extra
    return None


def upsampled(maps: Tensor, x: Tensor) -> Tensor:
    """Maps (n, 1, *grid) as those of images x: bilinear, of x's shape and type, each channel with an equal share."""
    mode = {1: "linear", 2: "bilinear", 3: "trilinear"}[x.ndim - 2]
    return (F.interpolate(maps, x.shape[2:], mode=mode, align_corners=False) / x.shape[1]).to(x.dtype).expand_as(x)


class GridMode(EvalModeGuard):
    """Follow the places of an image through a model; `see` is told of each call on the way.

    What is known of a tensor is its attribute `places`, see :func:`places_of`.
    """

    def start(self, x: Tensor) -> None:
        """Begin a pass at images x."""
        self.image, self.n, self.past_first = tuple(x.shape[2:]), len(x), False
        vars(x)["places"] = Places(tuple(range(2, x.ndim)), self.image)

    def __torch_function__(self, function, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        self.watch(function, args, kwargs)
        result = self.run(function, args, kwargs)
        named = isinstance((args or (kwargs.get("input"),))[0], Tensor)
        call = recognise(function, args, kwargs) if named else None
        self.past_first |= call is not None and call.name in WEIGHTED
        for one in result if isinstance(result, (tuple, list)) else (result,):
            if isinstance(one, Tensor):
                places = self._places(function, args, kwargs, one, call and call.name)
                if places is not None or places_of(one) is not None:
                    vars(one)["places"] = places
                self.see(function, call, one)
        return result

    def run(self, function, args: tuple, kwargs: dict):
        """The result of a call."""
        return function(*args, **kwargs)

    def see(self, function, call, result: Tensor) -> None:
        """Told of each result, with the canonical call where it has one."""

    def _places(self, function, args: tuple, kwargs: dict, result: Tensor, operation: str | None) -> Places | None:
        known = ((one, places_of(one)) for one in tensors_in((*args, *kwargs.values())))
        operand, places = next(((one, places) for one, places in known if places is not None), (None, None))
        name, shape = function.__name__, tuple(result.shape)
        if operand is None or places is None:
            return self._guess(result, operation)
        if name in _PERMUTE and result.ndim == operand.ndim:
            order = _order(function, args, kwargs, operand)
            return places._replace(axes=tuple(order.index(axis) for axis in places.axes))
        if name in _RESHAPE:
            return _reshaped(places, tuple(operand.shape), shape)
        if result.ndim != operand.ndim:
            return None
        if not places.tokens:
            return places._replace(size=tuple(shape[axis] for axis in places.axes))
        extra = shape[places.axes[0]] - math.prod(places.size)
        return places._replace(extra=extra) if 0 <= extra <= MOST_EXTRA else None

    def _guess(self, result: Tensor, operation: str | None) -> Places | None:
        """Where the places are in what a norm of tokens, (n, tokens, d), or a convolution gives, after a call that hid
        the grid."""
        if result.ndim == 0 or len(result) != self.n:
            return None
        if operation in _OF_GRIDS and result.ndim == len(self.image) + 2:
            return Places(tuple(range(2, result.ndim)), tuple(result.shape[2:]))
        found = grid_of_tokens(result.shape[1], self.image) if operation == "normalise" and result.ndim == 3 else None
        return Places((1,), *found, tokens=True) if found else None

    def is_feature(self, function, call, result: Tensor) -> bool:
        """Whether a result holds features at every place: in a network of grids any after the first weights; among
        tokens, and where channels come last, a norm's or a sum's, so that it does not matter how attention is written.
        """
        places = places_of(result)
        if places is None or not self.past_first or math.prod(places.size) < 2 or len(result) != self.n:
            return False
        if not places.tokens and places.axes[0] == 2:
            return True
        return places.axes[0] > 0 and (call is not None and call.name == "normalise" or function.__name__ in _SUM)


class Observed:
    """A model whose calls a :class:`GridMode` follows."""

    def __init__(self, model, mode: GridMode):
        self.model, self.mode = model, mode
        self.innermost = getattr(model, "innermost", model)

    def __call__(self, x: Tensor):
        self.mode.start(x)
        with self.mode:
            return self.model(x)


def _order(function, args: tuple, kwargs: dict, operand: Tensor) -> list[int]:
    """The axes of the operand in the order that the call brings them into, found by calling it on a shape."""
    shape = torch.empty([axis + 2 for axis in range(operand.ndim)], device="meta")

    def place(one):
        return shape if one is operand else one
    with torch._C.DisableTorchFunction():
        moved = function(*map(place, args), **{name: place(one) for name, one in kwargs.items()})
    return [size - 2 for size in moved.shape]


def _reshaped(places: Places, before: tuple[int, ...], after: tuple[int, ...]) -> Places | None:
    """The places after a change of shape that leaves the axes around them as they are."""
    first, last = places.axes[0], places.axes[-1]
    if before == after:
        return places
    if places.axes != tuple(range(first, last + 1)):
        return None
    head, tail, total = before[:first], before[last + 1:], math.prod(before[first:last + 1])
    if not places.tokens and after == (*head, total, *tail):
        return Places((first,), places.size, tokens=True)
    if places.tokens and not places.extra and after == (*head, *places.size, *tail):
        return Places(tuple(range(first, first + len(places.size))), places.size)
    return None
