"""Occlusion: what the logit loses where a window of the image is replaced."""

from itertools import product
from typing import Any

import torch
from torch import Tensor

from fragility import checks
from fragility.attribution.method import method
from fragility.passes import Targets, forward, recomputed, repeats
from fragility.rules.guard import EvalModeGuard


@method(form="forward")
def occlusion(model, x: Tensor, target: Any = None, *, window: int | tuple[int, ...] | None = None,
              stride: int | tuple[int, ...] | None = None, baseline=0.0, chunk: int | None = None) -> Tensor:
    r"""Occlusion sensitivity [zeiler2014]: the mean drop of the logit over the windows that cover a pixel.

    .. math:: R_{ci} = \frac1C \, \frac1{|\{W \ni i\}|} \sum_{W \ni i}
              \bigl(S_t(x) - S_t(x \text{ with } W \text{ replaced by } x_0)\bigr)

    A window takes all C channels of a pixel away together, so nothing tells them apart: each gets an equal share, and
    the sum over channels is the pixel's value. Windows start at the upper left corner, one a stride apart, until one
    reaches the far border, where it is cut: every pixel is covered, those near a border by fewer windows.

    Parameters
    ----------
    window
        Side of the window in pixels: a number, or one for each direction. None: an eighth of the image's side.
    stride
        Distance between windows, at most `window`, likewise. None: half the window.
    baseline
        What replaces a window: a number, a tensor (c, h, w), or one of x's shape; in units of x.

    Notes
    -----
    In logits, and never an estimate: the map takes one forward pass a window, 225 by default for an image of 224
    pixels. Memory holds at most `chunk` occluded images, even where x.requires_grad: each chunk is then recomputed in
    the backward pass. Other parameters and errors as for :func:`gradient`.
    """
    sides = x.shape[2:]
    windows = _per_side("window", window, sides, [max(1, side // 8) for side in sides], sides)
    strides = _per_side("stride", stride, sides, [max(1, size // 2) for size in windows], windows)
    start = checks.baseline(baseline, x).expand_as(x)
    targets = target.resolved(model, x, chunk)
    along = [_intervals(*one) for one in zip(sides, windows, strides)]
    # The first place is none: the image as it is.
    places = [(), *product(*along)]

    def scores(model, x: Tensor, segments: list, labels: Targets) -> Tensor:
        parts = []
        for j, rows in segments:
            parts.append(x[rows].clone())
            if j:
                inside = (slice(None), slice(None), *places[j])
                parts[-1][inside] = start[rows][inside]
        return labels.explained_logits(forward(model, torch.cat(parts)))

    with EvalModeGuard(), torch.set_grad_enabled(x.requires_grad and torch.is_grad_enabled()):
        found = torch.cat([recomputed(scores, model, x, segments, Targets.join([targets[rows] for _, rows in segments]))
                           for segments in repeats(len(places), x, chunk)]).view(len(places), len(x))
        values = (found[0] - found[1:]).T.reshape(len(x), *map(len, along))
        for intervals, side in zip(along, sides):
            shares = _shares(intervals, side).to(x)
            values = torch.tensordot(values, shares, dims=([1], [0]))   # pyright: ignore[reportArgumentType] a short stub
        return (values / x.shape[1]).unsqueeze(1).expand_as(x).clone()


def _per_side(name: str, given, sides, default, most) -> list[int]:
    """A size for each direction of the image: the default, one number for all, or one each."""
    if given is None:
        return list(default)
    each = list(given) if isinstance(given, (tuple, list)) else [given] * len(sides)
    if len(each) != len(sides):
        raise ValueError(f"{name} must be a whole number or {len(sides)} of them, one for each direction of the image, "
                         f"but it is {given!r}.")
    return [checks.integer(name, one, 1, top) for one, top in zip(each, most)]


def _intervals(side: int, size: int, step: int) -> list[slice]:
    """The windows along one direction, the last one cut at the border."""
    return [slice(start, start + size) for start in range(0, -(-(side - size) // step) * step + 1, step)]


def _shares(intervals: list[slice], side: int) -> Tensor:
    """(windows, side): one over the number of windows that cover a pixel, for those that do. Over several directions
    the numbers multiply, so the mean is taken along one after another."""
    covers = torch.zeros(len(intervals), side, dtype=torch.float64)
    for row, inside in zip(covers, intervals):
        row[inside] = 1
    return covers / covers.sum(0)
