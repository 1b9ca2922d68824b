"""Swap an operation's derivative everywhere in a model, without touching the model.

`Twin(model, table)` calls the model under a function mode that sees every operation the model calls, as a
module, as a functional, in place or re-used, and hands those named in the table to their rules. What such
a mode cannot see (scripted code, other threads, `torch.ops.aten`) would silently keep its own derivative;
so after each forward pass the autograd graph is walked, and whatever is neither a rule's work nor linear
is refused by name.
"""

import re
import threading
from collections.abc import Callable, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode, resolve_name

from fragility.operations import WEIGHTED, Call, recognise

Rule = Callable[..., Tensor]
Table = Mapping[str, Rule]


# Autograd nodes that are linear in what reaches them from x, or only move values about.
_LINEAR = {
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
             "CudnnConvolution", "StridedConvolution"}
_WINNER_TAKES_ALL = {"MaxPool2DWithIndices", "AdaptiveMaxPool2D"}
_ALLOWED = _LINEAR | _BILINEAR | _WINNER_TAKES_ALL
# Which nodes an operation leaves when no rule took it. Where the table has a rule for it, these are leaks.
_NODES_OF = {"relu": {"Relu", "Hardtanh", "Threshold", "Clamp", "ClampMin"},
             "max_pool2d": _WINNER_TAKES_ALL, "batch_norm": {"NativeBatchNorm", "CudnnBatchNorm"},
             "conv2d": {"Convolution", "MkldnnConvolution", "CudnnConvolution", "StridedConvolution"},
             "linear": {"Mm", "Bmm", "Addmm", "Baddbmm", "Addbmm"}}
# Functions that read only the shape of their argument, so that their result carries nothing of x.
_SHAPE_ONLY = {"zeros_like", "ones_like", "empty_like", "full_like", "new_zeros", "new_ones", "new_empty",
               "new_full", "new_tensor", "rand_like", "randn_like"}


class _Swap(TorchFunctionMode):
    """Hand each named operation to its rule; refuse operations that hide a dependence on x.

    `own` collects the autograd nodes that rules leave: they are meant, whatever they are.
    """

    def __init__(self, table: Table, strict: bool = True):
        super().__init__()
        self.table, self.strict, self.own, self.paused = table, strict, set(), False

    def __enter__(self):
        _running().append(self)
        return super().__enter__()

    def __exit__(self, *exception):
        _running().remove(self)
        return super().__exit__(*exception)

    def __torch_function__(self, function, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if self.paused:
            return function(*args, **kwargs)
        call = recognise(function, args, kwargs) if _traced(args[:1]) else None
        if call is None or call.name not in self.table:
            result = function(*args, **kwargs)
        else:
            result = self._follow(call)
        if self.strict and isinstance(result, Tensor) and not result.requires_grad and _traced(args) \
                and function.__name__ not in _SHAPE_ONLY:
            raise ValueError(f"The model uses '{_name(function)}' on values that depend on x, which hides them "
                             "from a back-propagation rule; write it with ReLU or another named operation.")
        return result

    def _follow(self, call: Call) -> Tensor:
        rule, (z, *rest) = self.table[call.name], call.arguments
        if not call.in_place:
            return self._own(rule(z, *rest), z.grad_fn)
        # The model goes on with the tensor it called this on: it must hold the new values, or the logits change.
        if hasattr(rule, "in_place") and not z._is_view():   # views share one history, which a copy leaves whole
            before = z.grad_fn
            return self._own(rule.in_place(z, *rest), before)
        source = z.clone()
        return z.copy_(self._own(rule(source, *rest), source.grad_fn))

    def _own(self, result: Tensor, before) -> Tensor:
        self.own |= _nodes_between(result.grad_fn, before)
        return result


_LOCAL = threading.local()      # like torch's own stack of modes, one a thread


def _running() -> list[_Swap]:
    """The rule passes that this thread is in, outermost first."""
    if not hasattr(_LOCAL, "passes"):
        _LOCAL.passes = []
    return _LOCAL.passes


@contextmanager
def aside():
    """Suspend the rules of the passes around: for side computations that a model makes of its own."""
    suspended = [one for one in _running() if not one.paused]
    for one in suspended:
        one.paused = True
    try:
        yield
    finally:
        for one in suspended:
            one.paused = False


def _traced(args) -> bool:
    return any(isinstance(a, Tensor) and a.requires_grad for a in args)


def _name(function) -> str:
    return resolve_name(function) or getattr(function, "__name__", repr(function))


class Twin(nn.Module):
    """A model whose named operations differentiate by the rules of a table; its logits stay the rules' own.

    Parameters
    ----------
    model
        The user's model; neither converted nor hooked nor changed.
    table
        {operation: rule}, operations among relu, max_pool2d, conv2d, linear, batch_norm. A rule gets the
        operation's arguments (a clipped ReLU's upper limit follows its input) and returns its output,
        differentiable as the method wants it. A rule's attribute `in_place`, where it has one, is a
        version that overwrites its input; else an in-place call works on a copy.
    strict
        True where rules are not derivatives: whatever has no rule must be linear. False where they are
        (a smooth twin): then only what the table names must not slip past it.

    Raises
    ------
    ValueError
        At the call, naming an operation that is neither linear nor in the table, values of x that leave
        the autograd graph, or batch statistics. RuntimeError for activation checkpointing.
    """

    def __init__(self, model, table: Table, *, strict: bool = True):
        super().__init__()
        self.model, self.table, self.strict = model, table, strict
        self.leaks = frozenset().union(*(nodes for name, nodes in _NODES_OF.items() if name in table))
        self.training = getattr(model, "training", False)

    def forward(self, x: Tensor) -> Tensor:
        with torch.enable_grad():
            # A view of x marks where the graph of this call begins, also when x has a history of its own.
            start = (x if x.requires_grad else x.detach().requires_grad_()).view_as(x)
            with (torch.autograd.graph.disable_saved_tensors_hooks(
                      "Back-propagation rules cannot follow activation checkpointing; switch it off."),
                  _Swap(self.table, self.strict) as swap):
                logits = self.model(start)
            if isinstance(logits, Tensor):
                _refuse_unknown(logits, start, swap.own, _ALLOWED - self.leaks if self.strict else None, self.leaks)
        return logits


def _refuse_unknown(logits: Tensor, start: Tensor, own: set, allowed: set[str] | None,
                    leaks: frozenset[str] = frozenset()) -> None:
    """Walk the autograd graph from `logits` to `start`; raise ValueError at a node that is not allowed.

    Nodes in `own` are the rules'. Where `allowed` is None, everything but `leaks` is.
    """
    reaches = _nodes_to(start.grad_fn, logits.grad_fn)
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


def _nodes_to(start, end) -> dict:
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


def _nodes_between(end, start) -> set:
    """The autograd nodes that an operation with output node `end` put on top of its input node `start`."""
    found, stack = set(), [end]
    while stack:
        node = stack.pop()
        if node is not None and node is not start and node not in found:
            found.add(node)
            stack += [child for child, _ in node.next_functions]
    return found


class _Reached(Exception):
    """Carries the first weighted call out of a forward pass."""

    def __init__(self, call: Call):
        self.call = call


def first_weighted(model, x: Tensor) -> Call:
    """The first convolution or linear layer that `model` calls on x, with its input; nothing after it runs.

    Raises ValueError where the model calls none, or where x does not come there by affine operations.
    """
    def stop(name):
        def rule(*arguments):
            raise _Reached(Call(name, arguments, False))
        return rule

    try:
        with torch.enable_grad():
            start = (x if x.requires_grad else x.detach().requires_grad_()).view_as(x)
        with torch.enable_grad(), _Swap({"conv2d": stop("conv2d"), "linear": stop("linear")}):
            model(start)
    except _Reached as reached:
        call = reached.call
        _refuse_unknown(call.arguments[0], start, set(), _LINEAR | {"Mul", "Div"})
        return call
    raise ValueError("The model calls no convolution (conv2d) and no linear layer on x.")


def refuse_bypass(model, x: Tensor) -> None:
    """Raise ValueError where x reaches the model's output other than through its first weighted operation."""
    first = []

    def cut(layer):
        def rule(*arguments):
            # The first call passes its value on without its history: what still leads to x went around it.
            first.append(layer(*arguments))
            return first[0].detach() if len(first) == 1 else first[-1]
        return rule

    with torch.enable_grad():
        start = x.detach().requires_grad_().view_as(x)
        with _Swap({name: cut(layer) for name, layer in WEIGHTED.items()}, strict=False):
            logits = model(start)
        if logits.grad_fn is not None and _nodes_to(start.grad_fn, logits.grad_fn)[logits.grad_fn]:
            raise ValueError("The model uses x in more than one place (a branch beside the first layer), so no bias "
                             "of the first layer alone can undo a shift.")
