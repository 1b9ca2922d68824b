"""The first weighted operation that a model calls on its input, and whether all of the input goes through it."""

import torch
from torch import Tensor

from fragility.checks import unwrapped
from fragility.rules.linearity import LINEAR, nodes_to, refuse_unknown
from fragility.rules.model import RuleMode
from fragility.rules.operations import WEIGHTED, Call


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

    mode = RuleMode({name: stop(name) for name in WEIGHTED})
    try:
        with torch.enable_grad():
            copy = (x if x.requires_grad else x.detach().requires_grad_()).clone()
            mode.start = copy.grad_fn
            with mode:
                model(copy)
    except _Reached as reached:
        call = reached.call
        refuse_unknown(call.arguments[0], mode.start, mode.accepted_nodes, LINEAR | {"Mul", "Div"})
        return call
    raise ValueError("The model calls no convolution and no linear layer on x.")


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
        copy = x.detach().requires_grad_().clone()
        start = copy.grad_fn
        with RuleMode({name: cut(layer) for name, layer in WEIGHTED.items()}, strict=False):
            logits = unwrapped(model(copy))
        if logits.grad_fn is not None and nodes_to(start, logits.grad_fn)[logits.grad_fn]:
            raise ValueError("The model uses x in more than one place (a branch beside the first layer), so no bias "
                             "of the first layer alone can undo a shift.")
