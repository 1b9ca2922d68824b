"""What is linear in x: nodes of the autograd graph that are known to be, and a probe of any other operation."""

import re
from typing import cast

import torch
from torch import Tensor
from torch.autograd.graph import Node

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
             "CudnnConvolution", "InputGradientConvolution"}
_WINNER_TAKES_ALL = {"MaxPool2DWithIndices", "AdaptiveMaxPool2D", "MaxPool3DWithIndices", "AdaptiveMaxPool3D"}
ALLOWED = LINEAR | _BILINEAR | _WINNER_TAKES_ALL
# Nodes that an operation leaves in the graph where no rule took it. With a rule for it in the table, they are refused.
_CONVOLUTIONS = {"Convolution", "MkldnnConvolution", "CudnnConvolution", "InputGradientConvolution"}
NODES_BY_OPERATION = {"relu": {"Relu", "Threshold", "Clamp", "ClampMin"},
                      "max_pool": _WINNER_TAKES_ALL, "batch_norm": {"NativeBatchNorm", "CudnnBatchNorm"},
                      "conv2d": _CONVOLUTIONS, "linear": {"Mm", "Bmm", "Addmm", "Baddbmm", "Addbmm"}}


def refuse_unknown(logits: Tensor, start, accepted_nodes: set, allowed: set[str] | None,
                   forbidden_nodes: frozenset[str] = frozenset(), who: str = "this method",
                   advice: str = "use a method without rules") -> None:
    """Walk the autograd graph from `logits` to the node `start`; raise ValueError at a node that is not allowed.

    Every operand that depends on x is followed. `accepted_nodes` were made by rules or found to be linear.
    Where `allowed` is None, everything except `forbidden_nodes` is allowed.
    """
    reaches = nodes_to(start, logits.grad_fn) if logits.grad_fn is not None else {}
    if not reaches.get(logits.grad_fn):
        raise ValueError("The model's output does not depend on x through differentiable operations.")
    for node in (node for node, reached in reaches.items() if reached and node not in accepted_nodes):
        if node is start:
            continue
        kind = kind_of(node)
        if kind in forbidden_nodes or (allowed is not None and not _is_linear(node, kind, reaches, allowed)):
            two_factors = kind in _BILINEAR and kind not in forbidden_nodes
            what = (f"multiplies or divides two values that depend on x, by {kind}" if two_factors else
                    f"uses {kind} ({node.name()}) on values that depend on x")
            raise ValueError(f"The model {what}, for which {who} has no rule; {advice}.")


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


def depends_on(start, end) -> bool:
    """Whether `start` is below the node `end`; the walk ends where it is found."""
    seen, stack = set(), [end]
    while stack:
        node = stack.pop()
        if node is start:
            return True
        if node is not None and node not in seen:
            seen.add(node)
            stack += [child for child, _ in node.next_functions]
    return False


def next_node_number() -> int:
    """The number that the next node of the autograd graph gets, in this thread."""
    with torch.enable_grad():
        node = cast(Node, torch.empty(0, requires_grad=True).view(0).grad_fn)
        return node._sequence_nr() + 1


def nodes_since(number: int, end) -> set:
    """The nodes below `end` of one operation, where `number` is what :func:`next_node_number` gave just before it.

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


def kind_of_call(function, args: tuple, kwargs: dict, operands: list[Tensor]) -> str:
    """What function(…, operands, …) does to its operands, all else as it is: "linear", "element-wise" or "other".

    Probed once per kind of call. Linear, or rather affine: additivity and homogeneity hold in all operands
    together, on random values of several sizes. Element-wise: swapping values swaps their results, and each value
    changes only its own result.
    """
    key = (function, *(_cache_key(one, operands) for one in args),
           *((name, _cache_key(one, operands)) for name, one in sorted(kwargs.items())))
    if key not in _PROBE_RESULTS:
        probe = _Probe(function, args, kwargs, operands)
        _PROBE_RESULTS[key] = "linear" if probe.is_linear() else "element-wise" if probe.is_elementwise() else "other"
    return _PROBE_RESULTS[key]


_PROBE_RESULTS: dict[tuple, str] = {}
_TOLERANCE = {torch.float64: 1e-9, torch.float32: 1e-4}
_FEW = 16           # numbers of a constant operand that are told apart


def _cache_key(one, operands: list[Tensor]):
    """What the result of a probe may depend on in an argument, hashable."""
    if any(one is operand for operand in operands):
        return "x", tuple(one.shape[1:]), one.dtype
    if isinstance(one, Tensor):
        return ("tensor", *one.shape, str(one.dtype), *(one.flatten().tolist() if one.numel() <= _FEW else ()))
    if isinstance(one, (tuple, list)):
        return tuple(_cache_key(part, operands) for part in one)
    return repr(one)


class _Probe:
    """Tests a call with other values in the place of its operands."""

    def __init__(self, function, args: tuple, kwargs: dict, operands: list[Tensor]):
        self.function, self.args, self.kwargs, self.operands = function, args, kwargs, operands
        self.generator = torch.Generator().manual_seed(0)

    @torch.no_grad()
    def call_with(self, values: list[Tensor]) -> Tensor:
        def place(one):
            if isinstance(one, (tuple, list)):
                return type(one)(map(place, one))
            return next((value.clone() for value, operand in zip(values, self.operands) if one is operand), one)
        return self.function(*map(place, self.args), **{name: place(one) for name, one in self.kwargs.items()})

    def random_values(self, size: float) -> list[Tensor]:
        return [(size * torch.randn(one.shape, generator=self.generator)).to(one) for one in self.operands]

    def is_linear(self) -> bool:
        tolerance = _TOLERANCE.get(self.operands[0].dtype, 1e-2)
        try:
            zero = self.call_with([torch.zeros_like(one) for one in self.operands])
            for size in (1e-2, 1.0, 1e2):
                u, v = self.random_values(size), self.random_values(size)
                of_u, of_v = (self.call_with(one) - zero for one in (u, v))
                of_sum = self.call_with([a + b for a, b in zip(u, v)]) - zero
                scaled = self.call_with([-2.5 * a for a in u]) - zero
                bound = tolerance * max(of_sum.abs().max().item(), zero.abs().max().item(), size * 1e-3)
                if not ((of_sum - (of_u + of_v)).abs().max() <= bound
                        and (scaled + 2.5 * of_u).abs().max() <= bound):
                    return False
        except (RuntimeError, TypeError, ValueError, IndexError):      # it does not take these values: not linear
            return False
        return True

    def is_elementwise(self) -> bool:
        if len(self.operands) > 1:
            return False
        value, = self.random_values(1.0)
        order = torch.randperm(value.numel(), generator=self.generator).to(value.device)
        half_changed = value.clone()
        half_changed.view(-1)[::2] += 1       # half of the values change; as for the other half, nothing may
        try:
            unchanged = self.call_with([value])
            swapped, changed = self.call_with([value.flatten()[order].view_as(value)]), self.call_with([half_changed])
        except (RuntimeError, TypeError, ValueError, IndexError):
            return False
        if unchanged.shape != value.shape or unchanged.isnan().all():
            return False
        return (torch.allclose(unchanged.flatten()[order], swapped.flatten(), equal_nan=True)
                and torch.allclose(unchanged.flatten()[1::2], changed.flatten()[1::2], equal_nan=True))
