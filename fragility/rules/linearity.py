"""The autograd graph of a forward pass: which of its nodes are linear in x, and what to refuse by name."""

import re

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
_WINNER_TAKES_ALL = {"MaxPool2DWithIndices", "AdaptiveMaxPool2D"}
ALLOWED = LINEAR | _BILINEAR | _WINNER_TAKES_ALL
# Which nodes an operation leaves when no rule took it. Where the table has a rule for it, these are leaks.
NODES_OF = {"relu": {"Relu", "Hardtanh", "Threshold", "Clamp", "ClampMin"},
             "max_pool2d": _WINNER_TAKES_ALL, "batch_norm": {"NativeBatchNorm", "CudnnBatchNorm"},
             "conv2d": {"Convolution", "MkldnnConvolution", "CudnnConvolution", "FrozenConvolution"},
             "linear": {"Mm", "Bmm", "Addmm", "Baddbmm", "Addbmm"}}


def refuse_unknown(logits: Tensor, start: Tensor, own: set, allowed: set[str] | None,
                   leaks: frozenset[str] = frozenset()) -> None:
    """Walk the autograd graph from `logits` to `start`; raise ValueError at a node that is not allowed.

    Nodes in `own` are the rules'. Where `allowed` is None, everything but `leaks` is.
    """
    reaches = nodes_to(start.grad_fn, logits.grad_fn) if logits.grad_fn is not None else {}
    if not reaches.get(logits.grad_fn):
        raise ValueError("The model's output does not depend on x through differentiable operations.")
    for node in (node for node, reached in reaches.items() if reached and node not in own):
        if node is start.grad_fn:
            continue
        kind = _kind(node)
        if kind in leaks or (allowed is not None and not _is_linear(node, kind, reaches, allowed)):
            raise ValueError(f"The model uses {kind} ({node.name()}) on values that depend on x, for which this "
                             "method has no rule; write it with ReLU, max-pooling and linear operations, or "
                             "use a method without rules.")


def _is_linear(node, kind: str, reaches: dict, allowed: set[str]) -> bool:
    """Whether a node is linear in x: of an allowed kind, with x in one factor, and never in a divisor."""
    inputs = [child is not None and reaches[child] for child, _ in node.next_functions]
    one_factor = kind not in _BILINEAR or sum(inputs) <= 1
    divided_by_x = kind == "Div" and len(inputs) > 1 and inputs[1]
    return kind in allowed and one_factor and not divided_by_x and not getattr(node, "_saved_training", False)


def _kind(node) -> str:
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


def nodes_between(end, start) -> set:
    """The autograd nodes that an operation with output node `end` put on top of its input node `start`."""
    found, stack = set(), [end]
    while stack:
        node = stack.pop()
        if node is not None and node is not start and node not in found:
            found.add(node)
            stack += [child for child, _ in node.next_functions]
    return found
