"""Operations that rules can name, recognised in every form that a model may call them in."""

from collections.abc import Callable
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import handle_torch_function, has_torch_function_unary

from fragility import checks
from fragility.rules.elementwise import ELEMENTWISE_FUNCTIONS


class Call(NamedTuple):
    """One operation as a rule sees it: its canonical arguments and how the model called it."""

    name: str
    arguments: tuple
    in_place: bool


def _in_place(parse: Callable[..., Call | None]) -> Callable[..., Call | None]:
    """The parser of the same operation, which overwrites its operand."""
    def parse_in_place(*args, **kwargs):
        call = parse(*args, **kwargs)
        return call and call._replace(in_place=True)
    return parse_in_place


def _relu(z, inplace=False):
    return Call("relu", (z,), inplace)


def _hardtanh(z, min_val=-1.0, max_val=1.0, inplace=False):
    # The clipped ReLU (ReLU6 and its kin) gates like a ReLU; other limits are some other element-wise function.
    if min_val == 0 and max_val > 0:
        return Call("relu", (z, max_val), inplace)
    return Call("elementwise", (z, ELEMENTWISE_FUNCTIONS[F.hardtanh](z, min_val, max_val)), inplace)


def _relu6(z, inplace=False):
    return Call("relu", (z, 6.0), inplace)


def _clamp(z, min=None, max=None):
    """ReLU written as a clamp at zero, with a number above it or none."""
    is_gate = not isinstance(min, Tensor) and min == 0 and (max is None or (not isinstance(max, Tensor) and max > 0))
    return Call("relu", (z,) if max is None else (z, float(max)), False) if is_gate else None


def _threshold(z, threshold, value, inplace=False):
    """ReLU written as a threshold at zero, with zero below it."""
    return Call("relu", (z,), inplace) if threshold == value == 0 else None


def _maximum(a, b):
    """ReLU written as the larger of a value and a constant zero, in either order."""
    constants = [one for one in (a, b) if isinstance(one, Tensor) and not one.requires_grad]
    if len(constants) != 1 or checks.any_true(constants[0] != 0):
        return None
    z = b if constants[0] is a else a
    return Call("relu", (z,), False) if torch.broadcast_shapes(a.shape, b.shape) == z.shape else None


def _elementwise(function: Callable, in_place: bool = False):
    def parse(z, *rest, **named):
        overwrites = in_place or bool(named.get("inplace"))
        return Call("elementwise", (z, ELEMENTWISE_FUNCTIONS[function](z, *rest, **named)), overwrites)
    return parse


def _max_pool(z, kernel_size, stride=None, padding=0, dilation=1, ceil_mode=False, return_indices=False):
    return Call("max_pool", (z, kernel_size, stride or kernel_size, padding, dilation, ceil_mode), False)


def max_pool(z: Tensor, *window, return_indices: bool = False):
    """torch's max_pool1d to max_pool3d, by the dimensions of z."""
    return getattr(F, f"max_pool{z.ndim - 2}d")(z, *window, return_indices=return_indices)


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


def _convolution(name: str):
    def parse(z, weight, bias=None, stride=1, padding=0, dilation=1, groups=1):
        return Call(name, (z, weight, bias, stride, padding, dilation, groups), False)
    return parse


def _transposed(name: str):
    def parse(z, weight, bias=None, stride=1, padding=0, output_padding=0, groups=1, dilation=1):
        return Call(name, (z, weight, bias, stride, padding, output_padding, groups, dilation), False)
    return parse


def _linear(z, weight, bias=None):
    return Call("linear", (z, weight, bias), False)


def _both_traced(a, b) -> bool:
    """Whether both operands have a history, as of x. A constant may have one, too, if the model makes it of weights."""
    return all(isinstance(one, Tensor) and one.requires_grad and one.grad_fn is not None for one in (a, b))


def _matmul(z, other):
    """A linear layer, if the second operand is a constant matrix; bilinear, if both depend on x; else None."""
    if _both_traced(z, other):
        return Call("bilinear", (z, other, torch.matmul), False)
    constant = isinstance(other, Tensor) and other.ndim == 2 and other.grad_fn is None
    return Call("linear", (z, other.mT, None), False) if constant else None


def _bmm(z, mat2):
    return Call("bilinear", (z, mat2, torch.matmul), False) if _both_traced(z, mat2) else None


def _einsum(equation, *operands):
    parts = operands[0] if len(operands) == 1 and isinstance(operands[0], (tuple, list)) else operands
    if not isinstance(equation, str) or len(parts) != 2 or not _both_traced(*parts):
        return None
    return Call("bilinear", (*parts, lambda a, b: torch.einsum(equation, a, b)), False)


def _batch_norm(z, running_mean, running_var, weight=None, bias=None, training=False, momentum=.1, eps=1e-5):
    if training:
        raise ValueError("The model normalises by the statistics of the batch (batch norm without running "
                         "statistics), so a map of one image would depend on the others.")
    return Call("batch_norm", (z, running_mean, running_var, weight, bias, eps), False)


def _layer_norm(z, normalized_shape, weight=None, bias=None, eps=1e-5):
    return Call("normalise", (z, tuple(range(z.ndim - len(normalized_shape), z.ndim)), None, weight, bias, eps), False)


def _group_norm(z, num_groups, weight=None, bias=None, eps=1e-5):
    shape = (1, -1, *[1] * (z.ndim - 2))
    scale, offset = (None if one is None else one.view(shape) for one in (weight, bias))
    return Call("normalise", (z, None, num_groups, scale, offset, eps), False)


def groups_of(dims: tuple | None, groups: int | None) -> tuple[tuple[int, ...] | None, Callable[[Tensor], Tensor]]:
    """Over which dimensions a norm takes its statistics, and how its input is laid out for that."""
    return (dims, lambda z: z) if groups is None else ((2,), lambda z: z.reshape(len(z), groups, -1))


def normalise(z: Tensor, dims: tuple | None, groups: int | None, weight, bias, eps: float) -> Tensor:
    """Layer norm over `dims`, or group norm in so many `groups`."""
    over, grouped = groups_of(dims, groups)
    centred = grouped(z) - grouped(z).mean(over, keepdim=True)
    scaled = (centred * (centred.square().mean(over, keepdim=True) + eps).rsqrt()).reshape(z.shape)
    scaled = scaled if weight is None else scaled * weight
    return scaled if bias is None else scaled + bias


def _softmax(z, dim=None, _stacklevel=3, dtype=None):
    return None if dim is None else Call("softmax", (z, dim, dtype), False)


def _softmax_of_tensor(z, dim, dtype=None):
    return Call("softmax", (z, dim, dtype), False)


def _product(a, b):
    """An element-wise product of two operands that both depend on x, as of a gate and what it lets through."""
    return Call("product", (a, b), False) if _both_traced(a, b) else None


WEIGHTED = {"conv2d": conv2d, "linear": linear, "conv1d": F.conv1d, "conv3d": F.conv3d,
            **{name: getattr(F, name) for name in ("conv_transpose1d", "conv_transpose2d", "conv_transpose3d")}}

#: Operations of two operands that both depend on x.
TWO_OPERANDS = {"product", "bilinear"}

#: Functions whose first argument need not be what depends on x.
IN_ANY_ORDER = {torch.einsum, torch.maximum, Tensor.maximum}

# Every function that calls an operation that rules can name -> parser of its arguments.
_CALL_PARSERS = {
    torch.relu: _relu, Tensor.relu: _relu, F.relu: _relu,
    torch.relu_: _in_place(_relu), Tensor.relu_: _in_place(_relu), F.relu_: _in_place(_relu),
    F.relu6: _relu6, F.hardtanh: _hardtanh,
    **{getattr(room, name): _clamp for room in (torch, Tensor) for name in ("clamp", "clip", "clamp_min")},
    **{getattr(room, f"{name}_"): _in_place(_clamp) for room in (torch, Tensor) for name in (
        "clamp", "clip", "clamp_min")},
    F.threshold: _threshold, torch.threshold: _threshold, torch.threshold_: _in_place(_threshold),
    torch.maximum: _maximum, Tensor.maximum: _maximum,
    **{function: _elementwise(function) for function in ELEMENTWISE_FUNCTIONS if function is not F.hardtanh},
    **{function: _elementwise(out, in_place=True) for out, *names in (
        (torch.sigmoid, torch.sigmoid_, Tensor.sigmoid_), (torch.tanh, torch.tanh_, Tensor.tanh_),
        (F.leaky_relu, F.leaky_relu_), (F.elu, F.elu_)) for function in names},
    **{getattr(room, f"max_pool{d}d"): _max_pool for room in (torch, F) for d in (1, 2, 3)},
    torch.conv2d: _convolution("conv2d"), conv2d: _convolution("conv2d"), F.linear: _linear, linear: _linear,
    torch.conv1d: _convolution("conv1d"), torch.conv3d: _convolution("conv3d"),
    torch.conv_transpose1d: _transposed("conv_transpose1d"), torch.conv_transpose2d: _transposed("conv_transpose2d"),
    torch.conv_transpose3d: _transposed("conv_transpose3d"),
    torch.matmul: _matmul, Tensor.matmul: _matmul, Tensor.__matmul__: _matmul, torch.mm: _matmul, Tensor.mm: _matmul,
    torch.bmm: _bmm, Tensor.bmm: _bmm, torch.einsum: _einsum,
    F.batch_norm: _batch_norm, F.layer_norm: _layer_norm, torch.layer_norm: _layer_norm, F.group_norm: _group_norm,
    torch.group_norm: _group_norm,
    F.softmax: _softmax, torch.softmax: _softmax_of_tensor, Tensor.softmax: _softmax_of_tensor,
    torch.mul: _product, Tensor.mul: _product, Tensor.__mul__: _product, Tensor.__rmul__: lambda a, b: _product(b, a),
    torch.multiply: _product, Tensor.multiply: _product, Tensor.mul_: _in_place(_product),
    Tensor.__imul__: _in_place(_product),
}


def tensors_in(args) -> list[Tensor]:
    """The tensors among arguments, and in lists of them."""
    parts = [one for arg in args for one in (arg if isinstance(arg, (tuple, list)) else (arg,))]
    return [one for one in parts if isinstance(one, Tensor)]


def recognise(function, args: tuple, kwargs: dict) -> Call | None:
    """The call in canonical form, or None where it is no operation that rules name."""
    parse = _CALL_PARSERS.get(function)
    if parse and "input" in kwargs:      # torch's name of what an operation acts on
        args, kwargs = (kwargs["input"], *args), {name: value for name, value in kwargs.items() if name != "input"}
    return parse(*args, **kwargs) if parse else None
