"""Convolutions whose weights are constants: derivatives go to their input alone.

An attack on a map differentiates twice, and torch's second derivative of a convolution also computes that for the
weights, needed or not, which takes up to two fifths of the time. Here the first derivative is a convolution of its own,
the transposed one, whose weights require no gradient.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from fragility.rules.guard import EvalModeGuard
from fragility.rules.operations import recognise
from fragility.rules.strided import FEW, input_gradient


class InputGradientOnly(EvalModeGuard):
    """Within this mode, convolutions of batches pass gradients of any order to their input, and none to their weights.

    Left to torch are convolutions with weights that the model computes itself, with padding given as a string, of
    single images (c, h, w), and inside an activation checkpoint.
    """

    def __torch_function__(self, function, types, args=(), kwargs=None):
        self.watch(function, args, kwargs or {})
        call = recognise(function, args, kwargs or {}) if function is torch.conv2d else None
        if call is not None and self.takes(*call.arguments):
            z, weight, bias, stride, padding, dilation, groups = call.arguments
            return InputGradientConvolution.apply(z, weight, bias, _pair(stride), _pair(padding), _pair(dilation),
                                                  groups)
        return function(*args, **(kwargs or {}))

    def takes(self, z, weight, bias, stride, padding, dilation, groups) -> bool:
        if weight.grad_fn is not None or (bias is not None and bias.grad_fn is not None):
            return False        # made by the model, perhaps from its input: then x acts through them, too
        hooks = torch._C._autograd._top_saved_tensors_default_hooks     # pyright: ignore[reportAttributeAccessIssue] no stub
        if hooks(True) is not None:
            return False        # in a checkpoint, which runs the pass again later, outside this mode
        return z.requires_grad and z.ndim == 4 and not isinstance(padding, str)


class FastStridedBackward(InputGradientOnly):
    """Only those whose first derivative is faster, too: strided convolutions of few channels on the CPU."""

    def takes(self, z, weight, bias, stride, padding, dilation, groups) -> bool:
        return (super().takes(z, weight, bias, stride, padding, dilation, groups)
                and _by_phases(z, weight, _pair(stride), _pair(dilation), groups))


class InputGradientConvolution(torch.autograd.Function):
    """A convolution that passes a gradient to its input alone, by phases where that is faster."""

    @staticmethod
    def forward(z, weight, bias, stride, padding, dilation, groups):
        return F.conv2d(z, weight, bias, stride, padding, dilation, groups)

    @staticmethod
    def setup_context(ctx, inputs, output):
        z, weight, _, stride, padding, dilation, groups = inputs
        ctx.save_for_backward(weight)
        ctx.save_for_forward(weight)
        ctx.geometry, ctx.size = (stride, padding, dilation, groups), z.shape[2:]
        ctx.phases = _by_phases(z, weight, stride, dilation, groups)

    @staticmethod
    def backward(ctx, gradient):
        weight = ctx.saved_tensors[0].detach().to(gradient.dtype)
        stride, padding, dilation, groups = ctx.geometry
        if ctx.phases:
            return input_gradient(gradient, weight, stride[0], padding, ctx.size), *[None] * 6
        reached = [(n - 1) * s - 2 * p + d * (k - 1) + 1 for n, s, p, d, k in
                   zip(gradient.shape[2:], stride, padding, dilation, weight.shape[2:])]
        beyond = [n - r for n, r in zip(ctx.size, reached)]     # pixels at the end that no output sees
        return F.conv_transpose2d(gradient, weight, None, stride, padding, beyond, groups, dilation), *[None] * 6

    @staticmethod
    def jvp(ctx, tangent, *_):
        return F.conv2d(tangent, ctx.saved_tensors[0], None, *ctx.geometry)


def _by_phases(z: Tensor, weight: Tensor, stride: tuple, dilation: tuple, groups: int) -> bool:
    return (z.is_cpu and weight.shape[1] <= FEW and stride[0] == stride[1] > 1 and groups == 1
            and dilation == (1, 1))


def _pair(value) -> tuple[int, int]:
    return (value, value) if isinstance(value, int) else tuple(value) * (2 // len(value))
