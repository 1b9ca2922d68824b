"""Maps that change what a ReLU lets back: guided back-propagation and the deconvolution network."""

import torch
import torch.nn.functional as F
from torch import Tensor

from fragility.attribution.output import explain, method
from fragility.rules import Twin


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


def _gated(gated: bool):
    def rule(z, top=None):
        return _Gated.apply(z, top, gated, False)
    rule.in_place = lambda z, top=None: _Gated.apply(z, top, gated, True)
    return rule


def relu(z: Tensor, top: float | None = None) -> Tensor:
    """ReLU, clipped at `top` where given."""
    return F.relu(z) if top is None else F.hardtanh(z, 0.0, top)


def on(a: Tensor, top: float | None) -> Tensor:
    """Where a ReLU, clipped at `top` or not, passes changes on: 0 < a < top."""
    return a > 0 if top is None else (a > 0) & (a < top)


GUIDED, DECONVNET = {"relu": _gated(True)}, {"relu": _gated(False)}


def softplus(beta: float) -> dict:
    """Rule table of the smooth twin: every ReLU becomes log(1 + exp(beta z)) / beta [ghorbani2019, section 3]."""
    def rule(z, top=None):
        smooth = F.softplus(z, beta)
        return smooth if top is None else smooth - F.softplus(z - top, beta)
    return {"relu": rule}


@method
def guided_backprop(model, x: Tensor, target=None, *, chunk: int | None = None) -> Tensor:
    r"""Guided back-propagation [springenberg2015].

    .. math:: R^{l} = \mathbf 1[z^l > 0]\; \mathbf 1[R^{l+1} > 0]\; R^{l+1} \quad\text{at every ReLU}

    Works on unmodified models, also with functional, in-place and re-used ReLUs and ReLU6; refuses by
    name a nonlinearity that is none of these. Parameters and errors as for :func:`gradient`.
    """
    return explain(Twin(model, GUIDED), x, target, chunk)[0]


@method
def deconvnet(model, x: Tensor, target=None, *, chunk: int | None = None) -> Tensor:
    r"""Deconvolution network [zeiler2014]: the forward gate of a ReLU is ignored.

    .. math:: R^{l} = \mathbf 1[R^{l+1} > 0]\; R^{l+1} \quad\text{at every ReLU}

    Max-pooling routes to the winner. Parameters and errors as for :func:`guided_backprop`.
    """
    return explain(Twin(model, DECONVNET), x, target, chunk)[0]
