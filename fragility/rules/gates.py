"""ReLUs and their replacements: gates that filter what goes back, gates with a derivative, and the smooth twin."""

import threading
from collections.abc import Callable
from contextlib import contextmanager

import torch
import torch.nn.functional as F
from torch import Tensor

from fragility.rules.elementwise import Elementwise

#: Nodes of the autograd graph whose second derivative is zero: on a smooth twin that kept one, no attack could climb.
PIECEWISE = frozenset({"Relu", "Threshold", "Clamp", "ClampMin", "ClampMax", "LeakyRelu", "Prelu", "Rrelu", "Hardtanh",
                       "Hardsigmoid", "Hardswish", "Abs", "Maximum", "Minimum"})
_LOCAL = threading.local()


@contextmanager
def smooth_gates(beta: float):
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
        p = torch.sigmoid(ctx.beta * ctx.saved_tensors[0])
        return signal * ctx.beta * p * (1 - p), None


class _SmoothGateRelu(torch.autograd.Function):
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
    """ReLU, clipped at `top` where given, that passes only positive signals back; see :func:`gated`."""

    @staticmethod
    def forward(z, top, use_forward_gate, in_place):
        if in_place:
            return z.clamp_(0, top)
        return F.relu(z) if top is None else F.hardtanh(z, 0.0, top)

    @staticmethod
    def setup_context(ctx, inputs, output):
        z, ctx.top, ctx.use_forward_gate, in_place = inputs
        if in_place:
            ctx.mark_dirty(z)
        if ctx.use_forward_gate:
            ctx.save_for_backward(output)

    @staticmethod
    def backward(ctx, signal):
        if not ctx.use_forward_gate:
            return signal.clamp_min(0), None, None, None
        a, = ctx.saved_tensors
        signal = torch.ops.aten.threshold_backward(signal, a, 0)
        if ctx.top is not None:
            signal = signal * (a < ctx.top)
        return signal.clamp_min_(0), None, None, None


def gated(use_forward_gate: bool) -> Callable:
    """Rule of a ReLU whose backward lets only positive signals pass.

    With `use_forward_gate` only where the ReLU was active (guided back-propagation), else everywhere (deconvnet).
    """
    beta = _sharpness()
    if beta is not None and use_forward_gate:
        return lambda z, top=None: _SmoothGateRelu.apply(z, top, beta, True)

    def rule(z, top=None):
        return _Gated.apply(z, top, use_forward_gate, False)
    rule.in_place = lambda z, top=None: _Gated.apply(z, top, use_forward_gate, True)
    return rule


def relu(z: Tensor, top: float | None = None) -> Tensor:
    """ReLU, clipped at `top` where given; inside :func:`smooth_gates` with a gate that has a derivative."""
    if (beta := _sharpness()) is not None and z.requires_grad:
        return _SmoothGateRelu.apply(z, top, beta, False)
    return F.relu(z) if top is None else F.hardtanh(z, 0.0, top)


def is_active(a: Tensor, top: float | None) -> Tensor:
    """Where a ReLU, clipped at `top` or not, is active, by its outputs a: 0 < a < top."""
    return a > 0 if top is None else (a > 0) & (a < top)


def smooth_rules(beta: float) -> dict:
    """Rule table of the smooth twin: every ReLU becomes log(1 + exp(beta z)) / beta [ghorbani2019, section 3], and
    every other piecewise linear function is smoothed by means of it."""
    def smooth_relu(z, top=None):
        value = F.softplus(z, beta)
        return value if top is None else value - F.softplus(z - top, beta)

    def smooth_elementwise(z, function: Elementwise):
        return function.value(z) if function.smooth_value is None else function.smooth_value(z, beta)
    return {"relu": smooth_relu, "elementwise": smooth_elementwise}
