"""Operations that rules can name, in every spelling a model may use for them."""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import handle_torch_function, has_torch_function_unary


class Call(NamedTuple):
    """One operation as a rule sees it: its canonical arguments and how the model called it."""

    name: str
    arguments: tuple
    in_place: bool


def _relu(z, inplace=False):
    return Call("relu", (z,), inplace)


def _relu_in_place(z):
    return Call("relu", (z,), True)


def _hardtanh(z, min_val=-1.0, max_val=1.0, inplace=False):
    # Only the clipped ReLU (ReLU6 and its kin) gates like a ReLU; other limits stay unknown and are refused.
    return Call("relu", (z, max_val), inplace) if min_val == 0 and max_val > 0 else None


def _relu6(z, inplace=False):
    return Call("relu", (z, 6.0), inplace)


def _max_pool2d(z, kernel_size, stride=None, padding=0, dilation=1, ceil_mode=False, return_indices=False):
    return Call("max_pool2d", (z, kernel_size, stride or kernel_size, padding, dilation, ceil_mode), False)


def conv2d(z: Tensor, weight: Tensor, bias: Tensor | None = None, *rest) -> Tensor:
    """torch's conv2d, whose bias may also be a map (out, h, w); function modes see it as one operation."""
    if has_torch_function_unary(z):
        return handle_torch_function(conv2d, (z,), z, weight, bias, *rest)
    if bias is None or bias.ndim == 1:
        return F.conv2d(z, weight, bias, *rest)
    return F.conv2d(z, weight, None, *rest) + bias


def linear(z: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """torch's linear, whose bias may also be a map (places, out); function modes see it as one operation."""
    if has_torch_function_unary(z):
        return handle_torch_function(linear, (z,), z, weight, bias)
    if bias is None or bias.ndim == 1:
        return F.linear(z, weight, bias)
    return F.linear(z, weight) + bias


def _conv2d(z, weight, bias=None, stride=1, padding=0, dilation=1, groups=1):
    return Call("conv2d", (z, weight, bias, stride, padding, dilation, groups), False)


def _linear(z, weight, bias=None):
    return Call("linear", (z, weight, bias), False)


def _batch_norm(z, running_mean, running_var, weight=None, bias=None, training=False, momentum=.1, eps=1e-5):
    if training:
        raise ValueError("The model normalises by the statistics of the batch (batch norm without running "
                         "statistics), so a map of one image would depend on the others.")
    return Call("batch_norm", (z, running_mean, running_var, weight, bias, eps), False)


# Every spelling of the operations that rules can name.
_SPELLINGS = {
    torch.relu: _relu, Tensor.relu: _relu, F.relu: _relu,
    torch.relu_: _relu_in_place, Tensor.relu_: _relu_in_place,
    F.relu6: _relu6, F.hardtanh: _hardtanh,
    torch.max_pool2d: _max_pool2d, F.max_pool2d: _max_pool2d,
    torch.conv2d: _conv2d, conv2d: _conv2d, F.linear: _linear, linear: _linear, F.batch_norm: _batch_norm,
}
WEIGHTED = {"conv2d": conv2d, "linear": linear}


def recognise(function, args: tuple, kwargs: dict) -> Call | None:
    """The call in canonical form, or None where it is no operation that rules name."""
    spelling = _SPELLINGS.get(function)
    if spelling and "input" in kwargs:      # torch's name of what an operation acts on
        args, kwargs = (kwargs["input"], *args), {name: value for name, value in kwargs.items() if name != "input"}
    return spelling(*args, **kwargs) if spelling else None
