"""What is linear in x: nodes of the autograd graph that are known to be, and a trial for any other operation."""

import re

import torch
from torch import Tensor

# Autograd nodes that are linear in what reaches them from x, or only move values about.
LINEAR = {
    "AccumulateGrad", "Add", "Sub", "Rsub", "Neg", "Mean", "Sum", "Cat", "Stack", "Clone", "Copy", "Copies",
    "CopySlices", "ToCopy", "View", "UnsafeView", "ReshapeAlias", "Alias", "AsStrided", "Permute", "Transpose",
    "T", "Squeeze", "Unsqueeze", "Expand", "Repeat", "Slice", "Select", "Index", "IndexSelect", "Gather",
    "Split", "SplitWithSizes", "Unbind", "Roll", "Flip", "ConstantPadNd", "ReflectionPad2D",
    "ReplicationPad2D", "AvgPool2D", "AdaptiveAvgPool2D", "MkldnnAdaptiveAvgPool2D", "UpsampleNearest2D",
    "UpsampleBilinear2D", "PixelShuffle", "ChannelShuffle", "NativeBatchNorm", "CudnnBatchNorm",
    "MiopenBatchNorm", "BatchNorm",
}
# Linear as long as only one factor depends on x; of a quotient only the numerator may.
_BILINEAR = {"Mul", "Div", "Mm", "Bmm", "Addmm", "Baddbmm", "Addbmm", "Convolution", "MkldnnConvolution",
             "CudnnConvolution", "FrozenConvolution"}
_WINNER_TAKES_ALL = {"MaxPool2DWithIndices", "AdaptiveMaxPool2D", "MaxPool3DWithIndices", "AdaptiveMaxPool3D"}
ALLOWED = LINEAR | _BILINEAR | _WINNER_TAKES_ALL
# Which nodes an operation leaves when no rule took it. Where the table has a rule for it, these are leaks.
_CONVOLUTIONS = {"Convolution", "MkldnnConvolution", "CudnnConvolution", "FrozenConvolution"}
NODES_OF = {"relu": {"Relu", "Threshold", "Clamp", "ClampMin"},
            "max_pool": _WINNER_TAKES_ALL, "batch_norm": {"NativeBatchNorm", "CudnnBatchNorm"},
            "conv2d": _CONVOLUTIONS, "linear": {"Mm", "Bmm", "Addmm", "Baddbmm", "Addbmm"}}


def refuse_unknown(logits: Tensor, start, own: set, allowed: set[str] | None, leaks: frozenset[str] = frozenset(),
                   advice: str = "use a method without rules") -> None:
    """Walk the autograd graph from `logits` to the node `start`; raise ValueError at a node that is not allowed.

    Every operand that depends on x is followed. Nodes in `own` are the rules', or were found to be linear. Where
    `allowed` is None, everything but `leaks` is.
    """
    reaches = nodes_to(start, logits.grad_fn) if logits.grad_fn is not None else {}
    if not reaches.get(logits.grad_fn):
        raise ValueError("The model's output does not depend on x through differentiable operations.")
    for node in (node for node, reached in reaches.items() if reached and node not in own):
        if node is start:
            continue
        kind = kind_of(node)
        if kind in leaks or (allowed is not None and not _is_linear(node, kind, reaches, allowed)):
            twice = kind in _BILINEAR and kind not in leaks
            what = (f"multiplies or divides two values that depend on x, by {kind}" if twice else
                    f"uses {kind} ({node.name()}) on values that depend on x")
            raise ValueError(f"The model {what}, for which this method has no rule; {advice}.")


def _is_linear(node, kind: str, reaches: dict, allowed: set[str]) -> bool:
    """Whether a node is linear in x: of an allowed kind, with x in one factor, and never in a divisor."""
    inputs = [child is not None and reaches[child] for child, _ in node.next_functions]
    one_factor = kind not in _BILINEAR or sum(inputs) <= 1
    divided_by_x = kind == "Div" and len(inputs) > 1 and inputs[1]
    return kind in allowed and one_factor and not divided_by_x and not getattr(node, "_saved_training", False)


def kind_of(node) -> str:
    """The operation that an autograd node stands for."""
    return re.sub(r"Backwards?\d*$", "", node.name().rpartition(":")[2])


def nodes_to(start, end) -> dict:
    """{node: does it reach `start`} for every node below `end`, children before parents."""
    reaches, stack = {}, [end]
    while stack:
        node = stack[-1]
        if node in reaches:
            stack.pop()
            continue
        below = [child for child, _ in node.next_functions if child is not None]
        waiting = [] if node is start else [child for child in below if child not in reaches]
        if waiting:
            stack += waiting
        else:
            reaches[node] = node is start or any(reaches[child] for child in below)
            stack.pop()
    return reaches


def now() -> int:
    """The number that the next node of the autograd graph gets, in this thread."""
    with torch.enable_grad():
        return torch.empty(0, requires_grad=True).view(0).grad_fn._sequence_nr() + 1


def nodes_since(number: int, end) -> set:
    """The nodes below `end` that were made since :func:`now` gave that number: those of one operation, and no others.

    Whatever an operation was given is older, so the walk stops there, however many operands there are.
    """
    found, stack = set(), [end]
    while stack:
        node = stack.pop()
        if node is not None and node not in found and number <= node._sequence_nr() < _LEAF:
            found.add(node)
            stack += [child for child, _ in node.next_functions]
    return found


_LEAF = 2**63       # leaves have the largest number there is


def is_linear(function, args: tuple, kwargs: dict, operand: Tensor) -> bool:
    """Whether function(…, operand, …) is affine in that operand, all others as they are: found by trying, once a call.

    Additivity and homogeneity are tried on random values of several sizes; f(0) may be anything finite.
    """
    key = (function, tuple(operand.shape[1:]), operand.dtype, *(_said(one, operand) for one in args),
           *((name, _said(one, operand)) for name, one in sorted(kwargs.items())))
    if key not in _TRIED:
        _TRIED[key] = _tried(function, args, kwargs, operand)
    return _TRIED[key]


_TRIED: dict[tuple, bool] = {}
_TOLERANCE = {torch.float64: 1e-9, torch.float32: 1e-4}
_FEW = 16           # numbers of a constant operand that are told apart


def _said(one, operand: Tensor):
    if one is operand:
        return "x"
    if isinstance(one, Tensor):
        return ("tensor", *one.shape, str(one.dtype), *(one.flatten().tolist() if one.numel() <= _FEW else ()))
    return repr(one)


@torch.no_grad()
def _tried(function, args: tuple, kwargs: dict, operand: Tensor) -> bool:
    generator = torch.Generator().manual_seed(0)

    def at(value: Tensor) -> Tensor:
        place = lambda one: value.clone() if one is operand else one
        return function(*map(place, args), **{name: place(one) for name, one in kwargs.items()})

    def drawn(size: float) -> Tensor:
        return (size * torch.randn(operand.shape, generator=generator)).to(operand)

    tolerance = _TOLERANCE.get(operand.dtype, 1e-2)
    try:
        zero = at(torch.zeros_like(operand))
        for size in (1e-2, 1.0, 1e2):
            u, v = drawn(size), drawn(size)
            alone = [at(one) - zero for one in (u, v)]
            both, scaled = at(u + v) - zero, at(-2.5 * u) - zero
            bound = tolerance * max(both.abs().max().item(), zero.abs().max().item(), size * 1e-3)
            if not ((both - sum(alone)).abs().max() <= bound and (scaled + 2.5 * alone[0]).abs().max() <= bound):
                return False
    except (RuntimeError, TypeError, ValueError, IndexError):      # it does not take these values: so it is not linear
        return False
    return True
