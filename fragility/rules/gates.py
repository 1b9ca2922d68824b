"""ReLUs and their replacements: gates that filter what goes back, gates with a derivative, and the smooth twin."""

import threading
from collections.abc import Callable
from contextlib import contextmanager

import torch
import torch.nn.functional as F
from torch import Tensor

from fragility.rules.elementwise import Elementwise

#: Nodes of the autograd graph whose second derivative is zero: a smooth twin that keeps one of them climbs nowhere.
PIECEWISE = frozenset({"Relu", "Threshold", "Clamp", "ClampMin", "ClampMax", "LeakyRelu", "Prelu", "Rrelu", "Hardtanh",
                       "Hardsigmoid", "Hardswish", "Abs", "Maximum", "Minimum"})
_LOCAL = threading.local()


@contextmanager
def bent(beta: float):
    """Within this context, the gates of ReLUs have a derivative themselves: that of a sigmoid of sharpness `beta`.

    Values and maps do not change; only the derivative of a map does.
    """
    before, _LOCAL.beta = getattr(_LOCAL, "beta", None), beta
    try:
        yield
    finally:
        _LOCAL.beta = before


def _sharpness() -> float | None:
    return getattr(_LOCAL, "beta", None)


class _Step(torch.autograd.Function):
    """1 where z is above zero, else 0; its derivative is that of a sigmoid."""

    @staticmethod
    def forward(z, beta):
        return (z > 0).to(z.dtype)

    @staticmethod
    def setup_context(ctx, inputs, output):
        z, ctx.beta = inputs
        ctx.save_for_backward(z)

    @staticmethod
    def backward(ctx, signal):
        on = torch.sigmoid(ctx.beta * ctx.saved_tensors[0])
        return signal * ctx.beta * on * (1 - on), None


class _BentRelu(torch.autograd.Function):
    """ReLU, clipped at `top` where given, whose gate has a derivative; `positive` lets only positive signals back."""

    @staticmethod
    def forward(z, top, beta, positive):
        return F.relu(z) if top is None else F.hardtanh(z, 0.0, top)

    @staticmethod
    def setup_context(ctx, inputs, output):
        z, ctx.top, ctx.beta, ctx.positive = inputs
        ctx.save_for_backward(z)

    @staticmethod
    def backward(ctx, signal):
        z, = ctx.saved_tensors
        gate = _Step.apply(z, ctx.beta)
        if ctx.top is not None:
            gate = gate - _Step.apply(z - ctx.top, ctx.beta)
        return (signal.clamp_min(0) if ctx.positive else signal) * gate, None, None, None


class _Gated(torch.autograd.Function):
    """ReLU, clipped at `top` where given; backward lets positive signals pass, where `only_on` only if it was on."""

    @staticmethod
    def forward(z, top, only_on, in_place):
        if in_place:
            return z.clamp_(0, top)
        return F.relu(z) if top is None else F.hardtanh(z, 0.0, top)

    @staticmethod
    def setup_context(ctx, inputs, output):
        z, ctx.top, ctx.only_on, in_place = inputs
        if in_place:
            ctx.mark_dirty(z)
        if ctx.only_on:
            ctx.save_for_backward(output)

    @staticmethod
    def backward(ctx, signal):
        if not ctx.only_on:
            return signal.clamp_min(0), None, None, None
        a, = ctx.saved_tensors
        signal = torch.ops.aten.threshold_backward(signal, a, 0)
        if ctx.top is not None:
            signal = signal * (a < ctx.top)
        return signal.clamp_min_(0), None, None, None


def gated(only_on: bool) -> Callable:
    """Rule of a ReLU whose backward lets positive signals pass, with `only_on` only where the ReLU was on."""
    beta = _sharpness()
    if beta is not None and only_on:
        return lambda z, top=None: _BentRelu.apply(z, top, beta, True)

    def rule(z, top=None):
        return _Gated.apply(z, top, only_on, False)
    rule.in_place = lambda z, top=None: _Gated.apply(z, top, only_on, True)
    return rule


def relu(z: Tensor, top: float | None = None) -> Tensor:
    """ReLU, clipped at `top` where given; inside :func:`bent` with a gate that has a derivative."""
    if (beta := _sharpness()) is not None and z.requires_grad:
        return _BentRelu.apply(z, top, beta, False)
    return F.relu(z) if top is None else F.hardtanh(z, 0.0, top)


def on(a: Tensor, top: float | None) -> Tensor:
    """Where a ReLU, clipped at `top` or not, passes changes on: 0 < a < top."""
    return a > 0 if top is None else (a > 0) & (a < top)


def smooth(beta: float) -> dict:
    """Rule table of the smooth twin: every ReLU becomes log(1 + exp(beta z)) / beta [ghorbani2019, section 3], and
    every other piecewise linear function is smoothed by means of it."""
    def bend_relu(z, top=None):
        value = F.softplus(z, beta)
        return value if top is None else value - F.softplus(z - top, beta)

    def bend(z, function: Elementwise):
        return function.value(z) if function.bent is None else function.bent(z, beta)
    return {"relu": bend_relu, "elementwise": bend}
