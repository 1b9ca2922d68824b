"""Building blocks of relevance methods: operations through which multipliers go back otherwise than gradients.

Every relevance method is a gradient with modified derivatives. Relevance R of a value v is passed back as its
multiplier m = R / v. In multipliers, ReLUs, additions, concatenations, average pooling and the z-rule itself are plain
back-propagation. What a method changes is written as (value, proxy, factor): the operation gives `value`, and its
multiplier goes back through `proxy`, scaled by `factor`.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from fragility.passes import forward
from fragility.rules.gates import relu
from fragility.rules.model import RuleModel
from fragility.rules.operations import TWO_OPERANDS


class ProxyBackward(torch.autograd.Function):
    """Forward: `value`. Backward: the multiplier goes, times `factor`, to `proxy`."""

    @staticmethod
    def forward(value, proxy, factor):
        return value.clone()

    @staticmethod
    def setup_context(ctx, inputs, output):
        ctx.save_for_backward(inputs[2])

    @staticmethod
    def backward(ctx, m):
        return None, m * ctx.saved_tensors[0], None


class CustomBackward(torch.autograd.Function):
    """Forward: `value`. Backward: `back(m, *constants)` turns its multiplier m into one for each operand."""

    @staticmethod
    def forward(value, back, operands, *tensors):
        return value.clone()

    @staticmethod
    def setup_context(ctx, inputs, output):
        _, ctx.back, ctx.operands, *tensors = inputs
        ctx.constants = len(tensors) - ctx.operands
        ctx.save_for_backward(*tensors[ctx.operands:])

    @staticmethod
    def backward(ctx, m):
        shares = ctx.back(m, *ctx.saved_tensors)
        return None, None, None, *shares, *[None] * ctx.constants


def quotient(a: Tensor, b: Tensor, otherwise) -> Tensor:
    """a / b, and `otherwise` where b is zero; finite in its derivative, too."""
    zero = b == 0
    return torch.where(zero, otherwise, a / torch.where(zero, 1.0, b))


class RecordedInputs:
    """The inputs of every named operation in one ordinary forward pass, in the order of the calls."""

    def __init__(self, model, x: Tensor, operations: dict[str, Callable]):
        self.inputs, self.position = [], 0
        # ReLUs need a rule even where they are not recorded, or they would be recorded as element-wise functions.
        table = {"relu": relu} | {name: self._record(run, name in TWO_OPERANDS) for name, run in operations.items()}
        self.logits = forward(RuleModel(model, table, strict=False, probe_unlisted=True), x).detach()

    def _record(self, operation: Callable, two_operands: bool) -> Callable:
        def rule(z, *rest):
            self.inputs += [z, rest[0]] if two_operands else [z]
            return operation(z, *rest)
        return rule

    def next_for(self, z: Tensor) -> Tensor:
        """The recorded input of the call that has reached `z`."""
        if self.position == len(self.inputs) or self.inputs[self.position].shape[1:] != z.shape[1:]:
            raise ValueError("The model calls its operations in another order or number in a second pass, so their "
                             "inputs cannot be compared; where that depends on the number of images, give a baseline "
                             "of x's shape.")
        self.position += 1
        return self.inputs[self.position - 1].expand_as(z)


class Factors:
    """Compute the factors of rules, with true derivatives where the map itself is differentiated.

    For a plain map, factors are computed from the values of the current pass. Where the map is differentiated, the
    derivatives of factors in x must be true ones, not the rules'; the values then come from a separate ordinary pass.
    """

    def __init__(self, model, x: Tensor, operations: dict[str, Callable]):
        differentiable = x.requires_grad and torch.is_grad_enabled()
        self.recorded = RecordedInputs(model, x, operations) if differentiable else None

    def at(self, z: Tensor, compute: Callable[[Tensor], Tensor]) -> Tensor:
        """compute(z), with a derivative only where it is wanted."""
        if self.recorded is not None:
            return compute(self.recorded.next_for(z))
        with torch.no_grad():
            return compute(z.detach())

    def of_result(self, z: Tensor, result: Tensor, run: Callable, compute: Callable[[Tensor], Tensor]) -> Tensor:
        """compute(run(z)) likewise, where `result` is run(z) already."""
        if self.recorded is not None:
            return compute(run(self.recorded.next_for(z)))
        with torch.no_grad():
            return compute(result.detach())
