"""Refuse bad input with one sentence, before any long work starts."""

import functools
import math
from collections.abc import Mapping
from numbers import Integral, Real
from types import MethodType

import torch
from torch import Tensor, nn

IMAGE_SHAPE = "(n, c, h, w)"
SPACES = {3: "(n, c, l)", 4: IMAGE_SHAPE, 5: "(n, c, d, h, w)"}
MAP_SHAPE = "(n, h, w)"


def integer(name: str, value, low: int, high: int | None = None) -> int:
    """Return `value` if it is a whole number in [low, high], else raise ValueError."""
    top = "" if high is None else f" and at most {high:,}"
    is_whole = isinstance(value, Integral) and not isinstance(value, bool)
    if not is_whole or value < low or (high is not None and not value <= high):
        raise ValueError(f"{name} must be a whole number of at least {low:,}{top}, but it is {value!r}.")
    return int(value)


def real(name: str, value, low: float, high: float = math.inf, *, exclusive: bool = False) -> float:
    """Return `value` if it is a finite number in [low, high] (above `low` where `exclusive`)."""
    is_number = isinstance(value, Real) and not isinstance(value, bool) and math.isfinite(value)
    if not is_number or value < low or not value <= high or (exclusive and value == low):
        lower = f"above {low:g}" if exclusive else f"at least {low:g}"
        upper = "" if high == math.inf else f" and at most {high:g}"
        raise ValueError(f"{name} must be a number {lower}{upper}, but it is {value!r}.")
    return float(value)


def precision(value) -> torch.dtype | None:
    """Return `value` if autocast can compute in it: torch.bfloat16, torch.float16, or None for none."""
    if value not in (None, torch.bfloat16, torch.float16):
        raise ValueError(f"precision must be None, torch.bfloat16 or torch.float16, but it is {value!r}.")
    return value


def choice(name: str, value, allowed):
    """Return `value` if it is one of `allowed`, else raise ValueError that lists them."""
    if value not in allowed:
        raise ValueError(f"{name} {value!r} is unknown; choose one of: {', '.join(map(str, allowed))}.")
    return value


def images(x, *, unit_range: bool = False, name: str = "x", spaces: bool = False) -> Tensor:
    """Return `x` if it is a batch of finite float images (n, c, h, w), within [0, 1] where asked.

    With `spaces` it may also be a batch of signals (n, c, l) or volumes (n, c, d, h, w).
    """
    allowed = SPACES if spaces else {4: IMAGE_SHAPE}
    dims = x.ndim if isinstance(x, Tensor) and x.ndim in allowed else 4
    _float_batch(x, dims, " or ".join(allowed.values()), name, hint="Divide uint8 images by 255 first.")
    if unit_range and any_true((x < 0) | (x > 1)):
        low, high = x.min().item(), x.max().item()
        raise ValueError(f"{name} must lie in [0, 1], but it spans [{low:.4g}, {high:.4g}]; normalise inside the "
                         "model, not before it: fragility.Normalised(model, mean, std) does.")
    return x


def maps(a, name: str = "maps") -> Tensor:
    """Return `a` if it is a batch of finite float maps (n, h, w)."""
    _float_batch(a, 3, MAP_SHAPE, name, hint="Use attribution.pixel_map to make (n, h, w) of signed maps.")
    return a


def map_pair(a, b) -> tuple[Tensor, Tensor]:
    """Return two batches of maps (n, h, w), detached and on a's device, if they match in shape."""
    maps(a, "a")
    maps(b, "b")
    if a.shape != b.shape:
        raise ValueError(f"The two batches of maps must have the same shape, but they are "
                         f"{tuple(a.shape)} and {tuple(b.shape)}.")
    return a.detach(), b.detach().to(a.device)


def _float_batch(x, dims: int, shape: str, name: str, hint: str) -> None:
    if not isinstance(x, Tensor):
        raise TypeError(f"{name} must be a torch tensor of shape {shape}, but it is a {type(x).__name__}.")
    if x.ndim != dims:
        raise ValueError(f"{name} must have the shape {shape}, but it has {tuple(x.shape)}.")
    if 0 in x.shape:
        raise ValueError(f"{name} must not be empty, but its shape is {tuple(x.shape)}.")
    if not x.is_floating_point():
        raise ValueError(f"{name} must be floating point, but it is {x.dtype}. {hint}")
    finite(x, name)


def finite(x: Tensor, name: str) -> Tensor:
    """Return `x` if it holds no NaN and no infinity, else raise ValueError naming the images."""
    # A sum is finite unless a value is not, or it overflows; it reads the values once and writes nothing.
    if any_true(~x.sum().isfinite()) and any_true(~torch.isfinite(x)):
        bad = (~torch.isfinite(x)).flatten(1).any(1)
        raise ValueError(f"{name} must be finite, but it holds NaN or infinity in {image_list(bad)}.")
    return x


def any_true(mask: Tensor) -> bool:
    """Whether any entry is true. Every check of a tensor's values goes through here, since it must wait for a GPU."""
    return bool(mask.any())


def bounds(classes: Tensor) -> tuple[int, int]:
    """The smallest and the largest of some classes, read from the device once."""
    low, high = classes.aminmax()
    return int(low), int(high)


def image_list(bad: Tensor) -> str:
    """Name the images of a (n,) mask in words: 'image 3' or 'images 0, 4, 5 and 7 more'."""
    numbers = bad.nonzero().flatten().tolist()
    shown = ", ".join(map(str, numbers[:5]))
    more = f" and {len(numbers) - 5} more" if len(numbers) > 5 else ""
    return f"image{'s' if len(numbers) > 1 else ''} {shown}{more}"


def model(network) -> None:
    """Raise unless `network` is callable and, where it is a module, wholly in evaluation mode.

    A partial or a bound method of a module is looked into; what a lambda calls is found as it runs.
    """
    if not callable(network):
        raise TypeError(f"model must be callable on images, but it is a {type(network).__name__}.")
    while isinstance(network, (functools.partial, MethodType)):
        network = network.func if isinstance(network, functools.partial) else network.__self__
    if isinstance(network, nn.Module):
        training = [name or "the model" for name, part in network.named_modules() if part.training]
        if training:
            raise ValueError(f"The model is in training mode ({training[0]}), where dropout and batch norm "
                             "make maps depend on the batch; call model.eval() first.")


def unwrapped(output) -> Tensor:
    """The tensor of logits in what a model returned: itself, `.logits`, ["logits"], or the one element of a tuple."""
    if isinstance(output, (tuple, list)) and len(output) == 1:
        output, = output
    if isinstance(output, Mapping):
        output = output.get("logits", output)
    output = getattr(output, "logits", output)
    if isinstance(output, Tensor):
        return output
    if isinstance(output, torch.nn.Module):
        raise ValueError(f"What was given as a model makes models: called on images it returned a "
                         f"{type(output).__name__}. Call it first, or name a function without arguments that does.")
    seen = (f"a dictionary of {', '.join(map(str, output))}" if isinstance(output, Mapping) else
            f"{len(output)} values" if isinstance(output, (tuple, list)) else f"a {type(output).__name__}")
    raise ValueError(f"The model must return logits (n, classes), an object with .logits, or a dictionary with "
                     f"'logits', but it returned {seen}; wrap it in a function that returns the logits, such as "
                     "lambda x: model(x)['out'].")


def logits(output, n: int) -> Tensor:
    """The logits (n, classes) in a classifier's output for n images; a single logit z, (n, 1), becomes -z and z."""
    scores = unwrapped(output)
    if scores.ndim != 2 or len(scores) != n or not scores.shape[1] or not scores.is_floating_point():
        shape = tuple(scores.shape)
        hint = {1: f" If the sign of one logit decides between two classes, return it with the shape ({n}, 1).",
                4: " It looks like a map of classes, as of segmentation: average or pick the places to explain."}
        raise ValueError(f"The model must return logits of shape (n, classes) = ({n}, …), but it gave {shape} "
                         f"{scores.dtype}; wrap it in a function that returns what is to be explained."
                         f"{hint.get(scores.ndim, '')}")
    return torch.cat([-scores, scores], 1) if scores.shape[1] == 1 else scores


def targets(target, n: int, device) -> Tensor | None:
    """Return the explained classes (n,) int64 on `device`, or None for 'the predicted ones'."""
    if target is None:
        return None
    if isinstance(target, Integral) and not isinstance(target, bool):
        target = torch.full((n,), int(target))
    if not isinstance(target, Tensor) or target.dtype != torch.int64 or target.shape != (n,):
        seen = f"{target.dtype} {tuple(target.shape)}" if isinstance(target, Tensor) else repr(target)
        raise ValueError(f"target must be None, a whole number or an int64 tensor of shape ({n},), not {seen}.")
    return for_autograd(target.to(device))


def for_autograd(tensor: Tensor) -> Tensor:
    """The tensor itself, or, if it was made in inference mode, a copy that autograd may save."""
    return tensor.clone() if tensor.is_inference() else tensor


def generator(source) -> torch.Generator | None:
    """Return `source` if it is a torch generator or None, else raise ValueError."""
    if source is not None and not isinstance(source, torch.Generator):
        raise ValueError(f"generator must be a torch.Generator, such as torch.Generator().manual_seed(0), or None, "
                         f"not {source!r}.")
    return source


def baseline(value, x: Tensor, name: str = "baseline") -> Tensor:
    """Return a reference image that broadcasts over `x`: a number, a colour (c, 1, 1), (c, h, w), (1, c, h, w) or x's
    shape."""
    tensor = _tensor(value, x)
    if tensor is None:
        raise ValueError(f"The {name} must be a finite number or a finite tensor of shape {tuple(x.shape[1:])} or "
                         f"{tuple(x.shape)}, not {value!r}.")
    image, colour = x.shape[1:], (x.shape[1], *(1 for _ in x.shape[2:]))
    fits = tensor.ndim == 0 or tensor.shape in {colour, image, (1, *image), x.shape}
    if not fits or any_true(~torch.isfinite(tensor)):
        raise ValueError(f"The {name} must be a finite number or a finite tensor of shape {tuple(image)}, {colour} or "
                         f"{tuple(x.shape)}, but it has {tuple(tensor.shape)}.")
    return tensor.expand_as(x[:1]) if tensor.ndim < x.ndim else tensor


def _tensor(value, x: Tensor) -> Tensor | None:
    """A number or anything that torch makes a tensor of, in x's type and on its device; None of anything else.

    Numbers and tensors are made outside the `try`: the function mode of a rule may be watching, whose errors are its
    own.
    """
    if isinstance(value, Real):
        return torch.full((), float(value), dtype=x.dtype, device=x.device)
    if isinstance(value, Tensor):
        return for_autograd(value.to(x))
    try:
        return torch.as_tensor(value, dtype=x.dtype, device=x.device)
    except (TypeError, ValueError, RuntimeError):
        return None


def shift(m, x: Tensor) -> Tensor:
    """Return the shift m of all images as (1, c, h, w): a number, or a tensor that broadcasts over one image."""
    tensor = _tensor(m, x)
    if tensor is not None and tensor.ndim == x.ndim and len(tensor) == 1:
        tensor = tensor[0]
    if tensor is None or not _broadcasts(tensor.shape, x.shape[1:]):
        raise ValueError(f"The shift m must be one for all images: a finite number, or a finite tensor that broadcasts "
                         f"to {tuple(x.shape[1:])}, not {getattr(m, 'shape', repr(m))}.")
    return finite(tensor.expand(x.shape[1:])[None], "The shift m")


def _broadcasts(shape: torch.Size, to: torch.Size) -> bool:
    """Whether a tensor of this shape can be expanded to the other one."""
    return len(shape) <= len(to) and all(one in (1, other) for one, other in zip(reversed(shape), reversed(to)))
