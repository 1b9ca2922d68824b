"""Swap an operation's derivative everywhere in a model, without touching the model.

`RuleModel(model, table)` calls the model under a function mode that sees every operation the model calls, as a
module, as a functional, in place or re-used, and hands those named in the table to their rules. What such
a mode cannot see (scripted code, other threads, `torch.ops.aten`) would silently keep its own derivative;
so after each forward pass the autograd graph is walked, and whatever is neither a rule's work nor linear
is refused by name.
"""

import threading
from collections.abc import Callable, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.autograd.graph import Node
from torch.overrides import resolve_name

from fragility.checks import unwrapped
from fragility.rules.attention import OPENED
from fragility.rules.elementwise import Elementwise
from fragility.rules.guard import EvalModeGuard
from fragility.rules.linearity import (
    ALLOWED,
    NODES_BY_OPERATION,
    depends_on,
    kind_of,
    kind_of_call,
    next_node_number,
    nodes_since,
    refuse_unknown,
)
from fragility.rules.operations import IN_ANY_ORDER, TWO_OPERANDS, WEIGHTED, Call, recognise, tensors_in

Rule = Callable[..., Tensor]
Table = Mapping[str, Rule]


# Functions that hand out values as plain numbers, in which x can hide.
_NUMBERS = {"item", "tolist", "numpy", "__array__", "__bool__", "__int__", "__float__", "__index__", "__complex__",
            "__contains__", "is_nonzero", "equal", "allclose"}
# Functions that read only the shape of their argument, so that their result carries nothing of x.
_SHAPE_ONLY = {"zeros_like", "ones_like", "empty_like", "full_like", "new_zeros", "new_ones", "new_empty",
               "new_full", "new_tensor", "rand_like", "randn_like"}


# Functions of a constant that take nothing but the shape or the type from their second argument.
_SHAPED_LIKE = {"expand_as", "view_as", "reshape_as", "type_as"}


class RuleMode(EvalModeGuard):
    """Hand each named operation to its rule; refuse operations that hide a dependence on x.

    `accepted_nodes` collects the autograd nodes that rules create, which are accepted whatever they are, and those of
    operations that were found to be linear. `start` is the node where x begins.
    """

    def __init__(self, table: Table, strict: bool = True):
        super().__init__()
        self.table, self.strict, self.probe_unlisted = table, strict, strict
        self.accepted_nodes, self.forbidden_nodes = set(), frozenset()
        self.suspended, self.who = False, "this method"
        self.start: Node | None = None

    def __enter__(self):
        _running().append(self)
        return super().__enter__()

    def __exit__(self, *exception):
        _running().remove(self)
        return super().__exit__(*exception)

    def __torch_function__(self, function, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if self.suspended:
            return function(*args, **kwargs)
        self.watch(function, args, kwargs)
        if function in OPENED and "softmax" in self.table:
            with self:
                return OPENED[function](*args, **kwargs)
        named = _traced(args[:1] or (kwargs.get("input"),)) or function in IN_ANY_ORDER
        call = recognise(function, args, kwargs) if named else None
        if call is not None and call.name in self.table and (call.name not in TWO_OPERANDS or all(
                self._depends_on_x(one) for one in call.arguments[:2])):
            result = self._follow(call)
        elif self.probe_unlisted:
            number = next_node_number()
            result = self._probe_unlisted(function, args, kwargs, function(*args, **kwargs), number)
        else:
            result = function(*args, **kwargs)
        if function.__name__ in _SHAPED_LIKE and not _traced(args[:1]):
            return result
        hides = (not result.requires_grad and function.__name__ not in _SHAPE_ONLY if isinstance(result, Tensor)
                 else function.__name__ in _NUMBERS)
        if self.strict and hides and _traced((*args, *kwargs.values())):
            raise ValueError(f"The model uses '{_name(function)}' on values that depend on x, which hides them "
                             "from a back-propagation rule; write it with ReLU or another named operation.")
        return result

    def _probe_unlisted(self, function, args: tuple, kwargs: dict, result, number: int):
        """The result of an operation that is on no list.

        Its nodes are accepted where a probe finds it linear; an element-wise one goes to the rule for such functions.
        """
        if not isinstance(result, Tensor) or result.grad_fn is None:
            return result
        nodes = nodes_since(number, result.grad_fn)
        if not nodes or all(kind_of(node) in ALLOWED - self.forbidden_nodes for node in nodes):
            return result
        operands = list({id(one): one for one in tensors_in((*args, *kwargs.values()))
                         if one.requires_grad and one.grad_fn is not None and self._depends_on_x(one)}.values())
        kind = kind_of_call(function, args, kwargs, operands) if operands else "other"
        forbidden = any(kind_of(node) in self.forbidden_nodes for node in nodes)
        is_complex = any(one.is_complex() for one in (result, *operands))
        if kind == "other" or len(operands) > 1 or is_complex or _in_place(function):
            self.accepted_nodes |= nodes if kind == "linear" and not forbidden else set()
            return result

        def again(z: Tensor) -> Tensor:
            def place(one):
                if isinstance(one, (tuple, list)):
                    return type(one)(map(place, one))
                return z if one is operands[0] else one
            return function(*map(place, args), **{name: place(one) for name, one in kwargs.items()})
        if kind == "element-wise" and "elementwise" in self.table:
            return self._follow(Call("elementwise", (operands[0], Elementwise(function.__name__, again)), False))
        if kind == "linear" and "linear map" in self.table:
            return self._follow(Call("linear map", (operands[0], again), False))
        if kind == "linear" and not forbidden:
            self.accepted_nodes |= nodes
        return result

    def _follow(self, call: Call) -> Tensor:
        rule, (z, *rest) = self.table[call.name], call.arguments
        if call.name in WEIGHTED:
            self._refuse_dynamic(call.name, rest)
        number = next_node_number()
        if not call.in_place:
            return self._accept(rule(z, *rest), number)
        # The model goes on with the tensor it called this on: it must hold the new values, or the logits change.
        if hasattr(rule, "in_place") and not z._is_view():   # views share one history, which a copy leaves whole
            return self._accept(rule.in_place(z, *rest), number)
        return z.copy_(self._accept(rule(z.clone(), *rest), number))

    def _accept(self, result: Tensor, number: int) -> Tensor:
        self.accepted_nodes |= nodes_since(number, result.grad_fn)
        return result

    def _depends_on_x(self, one: Tensor) -> bool:
        return self.start is None or depends_on(self.start, one.grad_fn)

    def _refuse_dynamic(self, name: str, operands: list) -> None:
        """Raise ValueError for weights that the model computes from x: through them x would bypass the rule."""
        for one in operands:
            if isinstance(one, Tensor) and one.grad_fn is not None and self.start is not None and self.strict and \
                    self._depends_on_x(one):
                raise ValueError(f"The model makes the weights of a {name} from x, for which {self.who} has no rule; "
                                 "use a method without rules.")


_LOCAL = threading.local()      # like torch's own stack of modes, one a thread


def _running() -> list[RuleMode]:
    """The rule passes that this thread is in, outermost first."""
    if not hasattr(_LOCAL, "passes"):
        _LOCAL.passes = []
    return _LOCAL.passes


@contextmanager
def rules_suspended():
    """Suspend the rules of all surrounding passes, for side computations inside a model."""
    modes = [mode for mode in _running() if not mode.suspended]
    for mode in modes:
        mode.suspended = True
    try:
        yield
    finally:
        for mode in modes:
            mode.suspended = False


def _traced(args) -> bool:
    return any(isinstance(a, Tensor) and a.requires_grad for a in args)


def _in_place(function) -> bool:
    """Whether a function overwrites its operand, by its name: add_, __iadd__."""
    name = function.__name__
    return name.startswith("__i") if name.endswith("__") else name.endswith("_")


def _name(function) -> str:
    return resolve_name(function) or getattr(function, "__name__", repr(function))


class RuleModel(nn.Module):
    """A model whose named operations are differentiated by the rules of a table; its logits are as the rules compute.

    Parameters
    ----------
    model
        The user's model; neither converted nor hooked nor changed.
    table
        {operation: rule}, operations among relu, elementwise, product, normalise, max_pool, batch_norm, softmax,
        bilinear (a matrix product of two values that both depend on x), the weighted ones (conv1d to conv3d, their
        transposes, linear) and "linear map", any other that a probe finds linear. Where softmax has a rule, attention
        is opened: it is the matrix products and the softmax that it is made of, however the model calls it. A rule
        gets the operation's arguments (a clipped ReLU's upper limit follows its input) and returns its output,
        differentiable as the method wants it. A rule's attribute `in_place`, where it has one, is a version that
        overwrites its input; else an in-place call works on a copy.
    strict
        True where rules are not true derivatives: every operation without a rule must then be linear. False where they
        are (as of a smooth twin): then only operations in the table and `forbidden_nodes` must not bypass the rules.
    forbidden_nodes
        Autograd nodes that are refused, beside those of the operations in the table.
    probe_unlisted
        Whether to test an operation that is on no list for being linear or element-wise. Always so where strict.
    who, advice
        Words for the error message: which method refuses the model, and what to do instead.

    Raises
    ------
    ValueError
        At the call, naming an operation that is neither linear nor in the table, values of x that leave
        the autograd graph, or batch statistics. RuntimeError for activation checkpointing.
    """

    def __init__(self, model, table: Table, *, strict: bool = True, forbidden_nodes: frozenset[str] = frozenset(),
                 probe_unlisted: bool = False, who: str = "this method", advice: str = "use a method without rules"):
        super().__init__()
        self.model, self.table, self.strict, self.who, self.advice = model, table, strict, who, advice
        self.probe_unlisted = strict or probe_unlisted
        self.forbidden_nodes = forbidden_nodes.union(*(NODES_BY_OPERATION.get(name, ()) for name in table))
        self.training = getattr(model, "training", False)

    @property
    def innermost(self):
        """The user's model, behind however many models with rules."""
        return self.model.innermost if isinstance(self.model, RuleModel) else self.model

    def forward(self, x: Tensor) -> Tensor:
        with torch.enable_grad():
            # A copy of x marks where the graph of this call begins, and is the model's to write into.
            copy = (x if x.requires_grad else x.detach().requires_grad_()).clone()
            start = copy.grad_fn
            with (torch.autograd.graph.disable_saved_tensors_hooks(
                      "Back-propagation rules cannot follow activation checkpointing; switch it off."),
                  RuleMode(self.table, self.strict) as mode):
                mode.start, mode.who = start, self.who
                mode.forbidden_nodes, mode.probe_unlisted = self.forbidden_nodes, self.probe_unlisted
                logits = unwrapped(self.model(copy))
            refuse_unknown(logits, start, mode.accepted_nodes, ALLOWED - self.forbidden_nodes if self.strict else None,
                           self.forbidden_nodes, self.who, self.advice)
        return logits
