"""Element-wise non-linearities: what a rule needs to know of each of them."""

from collections.abc import Callable
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor


class Elementwise(NamedTuple):
    """A function that treats every value on its own."""

    name: str
    value: Callable[[Tensor], Tensor]
    smooth_value: Callable[[Tensor, float], Tensor] | None = None   #: Smoothed, by a sharpness; None if it is smooth.

    def derivative(self, z: Tensor) -> Tensor:
        """Derivative at each value, without a graph."""
        with torch.enable_grad():
            leaf = z.detach().requires_grad_()
            return torch.autograd.grad(self.value(leaf).sum(), leaf)[0]


def _soft(z: Tensor, beta: float) -> Tensor:
    return F.softplus(z, beta)


def _hardtanh(low: float, high: float) -> Elementwise:
    return Elementwise("hardtanh", lambda z: F.hardtanh(z, low, high),
                       lambda z, beta: low + _soft(z - low, beta) - _soft(z - high, beta))


def _leaky(slope) -> Elementwise:
    """`slope` is a number, or a tensor that broadcasts over values."""
    def value(z):
        return torch.where(z > 0, z, slope * z)
    return Elementwise("leaky_relu", value, lambda z, beta: slope * z + (1 - slope) * _soft(z, beta))


def _hardsigmoid() -> Elementwise:
    return Elementwise("hardsigmoid", F.hardsigmoid,
                       lambda z, beta: (_soft(z + 3, beta) - _soft(z - 3, beta)) / 6)


def _hardswish() -> Elementwise:
    return Elementwise("hardswish", F.hardswish,
                       lambda z, beta: z * (_soft(z + 3, beta) - _soft(z - 3, beta)) / 6)


def _prelu(weight: Tensor, z: Tensor) -> Elementwise:
    shape = (1, -1, *[1] * (z.ndim - 2)) if weight.numel() > 1 else (1,)
    return _leaky(weight.detach().view(shape))


def _smooth_function(function: Callable):
    """A smooth function whose further arguments are numbers or words."""
    def make(z, *rest, inplace=False, out=None, **named) -> Elementwise:
        return Elementwise(function.__name__, lambda v: function(v, *rest, **named))
    return make


def _softplus(z, beta=1.0, threshold=20.0):
    return Elementwise("softplus", lambda v: F.softplus(v, beta, threshold))


#: A function that a model may call -> (z, *arguments) -> the element-wise function that this call computes.
ELEMENTWISE_FUNCTIONS: dict[Callable, Callable[..., Elementwise]] = {
    F.leaky_relu: lambda z, negative_slope=0.01, inplace=False: _leaky(negative_slope),
    F.prelu: lambda z, weight: _prelu(weight, z), torch.prelu: lambda z, weight: _prelu(weight, z),
    F.rrelu: lambda z, lower=1 / 8, upper=1 / 3, training=False, inplace=False: _leaky((lower + upper) / 2),
    F.hardtanh: lambda z, min_val=-1.0, max_val=1.0, inplace=False: _hardtanh(min_val, max_val),
    F.hardsigmoid: lambda z, inplace=False: _hardsigmoid(), F.hardswish: lambda z, inplace=False: _hardswish(),
    F.softplus: _softplus,
    **{f: _smooth_function(f) for f in (F.silu, F.gelu, F.elu, F.celu, F.selu, F.mish, F.softsign, F.logsigmoid)},
    **{f: _smooth_function(torch.sigmoid) for f in (torch.sigmoid, Tensor.sigmoid, F.sigmoid)},
    **{f: _smooth_function(torch.tanh) for f in (torch.tanh, Tensor.tanh, F.tanh)},
    **{f: _smooth_function(torch.exp) for f in (torch.exp, Tensor.exp)},
    **{f: _smooth_function(torch.erf) for f in (torch.erf, Tensor.erf)},
    **{f: _smooth_function(torch.square) for f in (torch.square, Tensor.square)},
    torch.selu: _smooth_function(F.selu), torch.celu: _smooth_function(F.celu),
}
