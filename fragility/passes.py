"""Forward and backward passes in chunks: the logit that is explained and its gradient, of which every map is made."""

import warnings
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from typing import Any, cast

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from fragility import checks
from fragility.layout import fresh
from fragility.rules.convolutions import FastStridedBackward
from fragility.rules.guard import EvalModeGuard
from fragility.rules.model import RuleModel

# Image values in flight by default. On a CPU small batches stay in the cache; a GPU wants large ones.
CPU_BUDGET = 1_250_000   # eight photographs of 227 pixels: fastest for SqueezeNet here
CPU_IMAGES = 128         # at most, however small: beyond, features of 16 or more channels no longer fit the cache
GPU_BUDGET = 2**25


class Targets:
    """The class of each image whose logit is explained: `target`, or the predicted one where it is None.

    Holds the classes' bounds as Python numbers, so that checking them against the model's classes
    needs no device round trip.
    """

    def __init__(self, target, n: int, device):
        self.classes: Tensor | None = checks.targets(target, n, device)
        self.bounds: tuple[int, int] | None = None if self.classes is None else checks.bounds(self.classes)

    def __getitem__(self, rows) -> "Targets":
        part = object.__new__(Targets)
        part.classes = None if self.classes is None else self.classes[rows]
        part.bounds = self.bounds
        return part

    @staticmethod
    def join(parts: list["Targets"]) -> "Targets":
        """The targets of the concatenation of several batches."""
        whole = object.__new__(Targets)
        whole.classes = torch.cat([cast(Tensor, part.classes) for part in parts])
        whole.bounds = parts[0].bounds
        return whole

    def explained_logits(self, logits: Tensor) -> Tensor:
        """The explained logit (n,) of each row of `logits` (n, classes)."""
        if self.classes is None or self.bounds is None:
            return logits.gather(1, logits.argmax(1, keepdim=True)).squeeze(1)
        if self.bounds[0] < 0 or self.bounds[1] >= logits.shape[1]:
            raise ValueError(f"target spans {self.bounds[0]} to {self.bounds[1]}, but the model has classes "
                             f"0 to {logits.shape[1] - 1}.")
        return logits.gather(1, self.classes[:, None]).squeeze(1)

    def resolved(self, model, x: Tensor, chunk: int | None) -> "Targets":
        """The same targets with classes: those predicted on `x` where none were given."""
        return self if self.classes is not None else Targets(predict(model, x, chunk), len(x), x.device)


def batches(n: int, x: Tensor, chunk: int | None) -> Iterator[slice]:
    """Slices of range(n), each of at most `chunk` images like those of `x`."""
    size = chunk or default_chunk(x)
    return (slice(start, min(start + size, n)) for start in range(0, n, size))


def in_chunks(run: Callable[[slice], Any], x: Tensor, chunk: int | None) -> list:
    """Results of run(rows) for successive chunks of x's rows; where a GPU runs out of memory, chunks are halved, with a
    warning.

    A chunk may be run twice, so `run` must start each call with fresh state.
    """
    size, start, results = min(chunk or default_chunk(x), len(x)), 0, []
    while start < len(x):
        try:
            results.append(run(slice(start, start + size)))
        except torch.OutOfMemoryError:
            if size == 1:
                raise
            size //= 2
            torch.cuda.empty_cache()
            warnings.warn(f"The device ran out of memory; going on with {size} images at a time. Give chunk={size} to "
                          "start with that.", RuntimeWarning, stacklevel=3)
            continue
        start += size
    return results


def repeats(times: int, x: Tensor, chunk: int | None) -> Iterator[list[tuple[int, slice]]]:
    """Cover `times` copies of a batch in chunks: lists of (copy, rows) of at most `chunk` images in all."""
    n = len(x)
    for rows in batches(times * n, x, chunk):
        yield [(copy, slice(max(rows.start - copy * n, 0), min(rows.stop - copy * n, n)))
               for copy in range(rows.start // n, (rows.stop - 1) // n + 1)]


def default_chunk(x: Tensor) -> int:
    """How many images like those of `x` are in flight at once where the caller names no number."""
    if x.is_cuda:
        return max(1, GPU_BUDGET // x[0].numel())
    return min(max(1, CPU_BUDGET // x[0].numel()), CPU_IMAGES)


def forward(model, x: Tensor) -> Tensor:
    """Logits (n, classes) of a copy of x, which the model may write into; of a single logit z, those of two classes."""
    if not isinstance(model, RuleModel):     # a model with rules makes its own copy
        x = fresh(getattr(model, "innermost", model), x)
    elif x.ndim == 4:
        x = fresh(model.innermost, x)
    try:
        output = model(x)
    except RuntimeError as error:
        if x.ndim == 4:
            raise       # the model's own affair
        raise ValueError(f"The model does not take an x of shape {tuple(x.shape)}: {str(error).splitlines()[0]} "
                         f"Images are {checks.IMAGE_SHAPE}, signals (n, c, l), volumes (n, c, d, h, w).") from error
    return checks.logits(output, len(x))


@torch.no_grad()
def logits_of(model, x: Tensor, chunk: int | None = None) -> Tensor:
    """Logits (n, classes) of a batch, chunk by chunk, without a graph."""
    with EvalModeGuard():
        return torch.cat(in_chunks(lambda rows: forward(model, x[rows]), x, chunk))


def lowered(device: torch.device, precision: torch.dtype | None):
    """A context in which passes are computed in half precision; None leaves them as they are."""
    return nullcontext() if precision is None else torch.autocast(device.type, precision)


def recomputed(function, model, x: Tensor, *rest) -> Tensor:
    """function(model, x, …); where x requires a gradient, its graph is recomputed in the backward pass, not stored.

    A model with rules is excepted, since these cannot follow a pass that is run twice.
    """
    if not (x.requires_grad and torch.is_grad_enabled()) or isinstance(model, RuleModel):
        return function(model, x, *rest)
    return checkpoint(function, model, x, *rest, use_reentrant=False)


def predict(model, x: Tensor, chunk: int | None = None) -> Tensor:
    """The predicted class (n,) of each image; the lowest index wins a tie."""
    return checks.finite(logits_of(model, x, chunk), "The model's output").argmax(1)


def explain(model, x: Tensor, targets: Targets, chunk: int | None = None) -> tuple[Tensor, Tensor]:
    """Gradient (n, c, h, w) of the explained logit and the logits (n, classes), in one pass.

    Both are differentiable with respect to `x` where x.requires_grad.
    """
    differentiable = x.requires_grad and torch.is_grad_enabled()

    def run(rows: slice) -> tuple[Tensor, Tensor]:
        part = x[rows] if differentiable else x[rows].detach().requires_grad_()
        scores = forward(model, part)
        total = targets[rows].explained_logits(scores).sum()
        gradient = None         # the weights may need a gradient although the image was cut off
        if total.requires_grad:
            gradient, = torch.autograd.grad(total, part, create_graph=differentiable, allow_unused=True)
        if gradient is None:
            raise ValueError("The model's output does not depend on x through differentiable operations.")
        return gradient, scores if differentiable else scores.detach()

    with torch.enable_grad(), EvalModeGuard() if differentiable else FastStridedBackward():
        if isinstance(model, RuleModel):     # its rules may have gone half-way
            gradients, logits = zip(*(run(rows) for rows in batches(len(x), x, chunk)))
        else:
            gradients, logits = zip(*in_chunks(run, x, chunk))
    return torch.cat(gradients), torch.cat(logits)
