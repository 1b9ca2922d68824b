"""ReLUs and what replaces them: gates that choose what goes back, and the smooth twin."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor


class _Gated(torch.autograd.Function):
    """ReLU, clipped at `top` where given; backward lets positive signals pass, where `gated` only if it was on."""

    @staticmethod
    def forward(z, top, gated, in_place):
        if in_place:
            return z.clamp_(0, top)
        return relu(z, top)

    @staticmethod
    def setup_context(ctx, inputs, output):
        z, ctx.top, ctx.gated, in_place = inputs
        if in_place:
            ctx.mark_dirty(z)
        if ctx.gated:
            ctx.save_for_backward(output)

    @staticmethod
    def backward(ctx, signal):
        if not ctx.gated:
            return signal.clamp_min(0), None, None, None
        a, = ctx.saved_tensors
        signal = torch.ops.aten.threshold_backward(signal, a, 0)
        if ctx.top is not None:
            signal = signal * (a < ctx.top)
        return signal.clamp_min_(0), None, None, None


def gated(only_on: bool) -> Callable:
    """Rule of a ReLU whose backward lets positive signals pass, with `only_on` only where the ReLU was on."""
    def rule(z, top=None):
        return _Gated.apply(z, top, only_on, False)
    rule.in_place = lambda z, top=None: _Gated.apply(z, top, only_on, True)
    return rule


def relu(z: Tensor, top: float | None = None) -> Tensor:
    """ReLU, clipped at `top` where given."""
    return F.relu(z) if top is None else F.hardtanh(z, 0.0, top)


def on(a: Tensor, top: float | None) -> Tensor:
    """Where a ReLU, clipped at `top` or not, passes changes on: 0 < a < top."""
    return a > 0 if top is None else (a > 0) & (a < top)


def softplus(beta: float) -> dict:
    """Rule table of the smooth twin: every ReLU becomes log(1 + exp(beta z)) / beta [ghorbani2019, section 3]."""
    def rule(z, top=None):
        smooth = F.softplus(z, beta)
        return smooth if top is None else smooth - F.softplus(z - top, beta)
    return {"relu": rule}
