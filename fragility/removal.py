"""Rank pixels by a map, remove or keep the top ones, and fill the gaps: the basis of ROAR, KAR and ROAD."""

import math
from fractions import Fraction
from functools import cache

import numpy as np
import torch
from scipy.linalg import solveh_banded
from threadpoolctl import ThreadpoolController
from torch import Tensor

from fragility import checks
from fragility.draws import normal_like
from fragility.metrics.agreement import topk_mask

MODES, FILLS, UNITS = ("remove", "keep"), ("mean", "noisy-linear"), ("pixel", "value")

# Small images are solved together, up to this many pixels: enough to hide the cost of a call.
_TOGETHER = 1 << 13


@torch.no_grad()
def degrade(x: Tensor, scores: Tensor, fraction: float, *, mode: str = "remove", fill="mean", unit: str = "pixel",
            noise: float = 0.01, generator: torch.Generator | None = None) -> Tensor:
    """Replace the most important part of each image, or all but that part.

    mode "remove" is the step of ROAR, "keep" that of KAR [hooker2019]; with fill "noisy-linear"
    and no retraining they are ROAD's two orders [rong2022]. For the random control pass
    `attribution.random(x)` as scores.

    Parameters
    ----------
    x
        Images (n, c, h, w), signals (n, c, l) or volumes (n, c, d, h, w); any finite range.
    scores
        Signed importance, ranked from the largest down; see :func:`top_mask`.
    fraction
        Share of the image in [0, 1] that is removed or kept.
    fill
        "mean": the image's own channel means, taken before removal. "noisy-linear": :func:`impute`, for unit
        "pixel" only. Or values in units of x: a number, or a tensor (c,), (c, 1, 1), (c, h, w), of x's shape
        or else broadcastable over it; one dimension is always the channels.
    unit
        "pixel": all channels of a pixel together; "value": each channel value on its own.
    noise, generator
        For "noisy-linear": see :func:`impute`.

    Returns
    -------
    Tensor
        New images (n, c, h, w) of x's dtype, detached; what is not replaced is unchanged to the bit.

    Raises
    ------
    ValueError
        Shapes that do not fit, NaN or infinity, a fraction outside [0, 1], negative noise, an unknown mode,
        fill or unit, or "noisy-linear" with unit "value". A fill of another kind is a TypeError.
    """
    checks.images(x, spaces=True)
    checks.choice("mode", mode, MODES)
    checks.choice("unit", unit, UNITS)
    checks.real("noise", noise, 0)
    value = _fill(fill, x)
    if value is None and unit == "value":
        raise ValueError("fill 'noisy-linear' imputes whole pixels; use it with unit='pixel'.")
    if value is None and x.ndim != 4:
        raise ValueError(f"fill 'noisy-linear' imputes pixels of images (n, c, h, w) from their neighbours, but x has "
                         f"the shape {tuple(x.shape)}; use 'mean' or values of your own.")
    replaced = _top(_matched(scores, x, unit), fraction)
    if mode == "keep":
        replaced = ~replaced
    if value is None:
        return impute(x, replaced, noise=noise, generator=generator)
    return torch.where(replaced if unit == "value" else replaced[:, None], value, x)


def top_mask(scores: Tensor, fraction: float, unit: str = "pixel") -> Tensor:
    r"""Boolean mask of the entries with the largest scores; ties go to the lowest flat index.

    .. math:: k = \lfloor \text{fraction} \cdot N + \tfrac12 \rfloor

    The fraction counts as the decimal number it is written as, so half an entry always rounds up.

    Parameters
    ----------
    scores
        Signed scores (n, h, w) or (n, c, h, w).
    fraction
        Share in [0, 1].
    unit
        "pixel": N = h w, scores (n, c, h, w) are summed over channels with their signs, the mask is
        (n, h, w). "value": N = c h w, all values of an image are ranked jointly as in the code of
        [hooker2019], scores and mask are (n, c, h, w).

    Raises
    ------
    ValueError
        Another shape, NaN or infinity in scores, a fraction outside [0, 1] or an unknown unit.
    """
    checks.choice("unit", unit, UNITS)
    if unit == "value" or (isinstance(scores, Tensor) and scores.ndim == 4):
        checks.images(scores, name="scores")
    else:
        checks.maps(scores, "scores")
    if unit == "pixel" and scores.ndim == 4:
        scores = scores.sum(1)
    return _top(scores, fraction)


def _top(scores: Tensor, fraction: float) -> Tensor:
    """The mask of :func:`top_mask` for scores (n, …), one for each entry that may be replaced."""
    share = Fraction(repr(checks.real("fraction", fraction, 0, 1)))
    k = math.floor(share * scores[0].numel() + Fraction(1, 2))
    return topk_mask(scores, k) if k else torch.zeros_like(scores, dtype=torch.bool)


def _matched(scores: Tensor, x: Tensor, unit: str) -> Tensor:
    """One score on x's device for each pixel or value; ValueError where they do not belong to x."""
    pixels = (len(x), *x.shape[2:])
    if not isinstance(scores, Tensor) or scores.shape not in (x.shape, pixels):
        seen = tuple(scores.shape) if isinstance(scores, Tensor) else type(scores).__name__
        raise ValueError(f"scores must be a tensor of x's shape {tuple(x.shape)} or of one score a pixel, {pixels}, "
                         f"but they are {seen}.")
    if unit == "value" and scores.shape != x.shape:
        raise ValueError(f"unit='value' needs a score for every value, of x's shape {tuple(x.shape)}, but scores have "
                         f"{tuple(scores.shape)}.")
    checks.finite(scores, "scores")
    scores = scores.to(x.device)
    return scores.sum(1) if unit == "pixel" and scores.shape == x.shape else scores


def _fill(fill, x: Tensor) -> Tensor | None:
    """What replaces the removed values, broadcast over x; None where it has to be imputed."""
    if isinstance(fill, str):
        mean = checks.choice("fill", fill, FILLS) == "mean"
        return x.mean(tuple(range(2, x.ndim)), keepdim=True) if mean else None
    if isinstance(fill, bool) or not isinstance(fill, (int, float, Tensor)):
        raise TypeError(f"fill must be {' or '.join(map(repr, FILLS))}, a number or a tensor, not {fill!r}.")
    value = torch.as_tensor(fill, dtype=x.dtype, device=x.device)
    value = value.view(-1, *[1] * (x.ndim - 2)) if value.ndim == 1 else value
    try:
        value = value.expand_as(x)
    except RuntimeError:
        raise ValueError(f"A fill tensor must broadcast over x, {tuple(x.shape)}, but it has the shape "
                         f"{tuple(torch.as_tensor(fill).shape)}.") from None
    return checks.finite(value, "fill")


@torch.no_grad()
def impute(x: Tensor, missing: Tensor, *, noise: float = 0.01, generator: torch.Generator | None = None) -> Tensor:
    r"""Noisy linear imputation [rong2022]: a missing pixel is the weighted mean of its eight neighbours.

    .. math:: x_p \sum_{q \sim p} w_{pq} = \sum_{q \sim p} w_{pq}\, x_q, \qquad
              w = \tfrac16 \text{ (direct)}, \ \tfrac1{12} \text{ (diagonal)}

    over the neighbours inside the image, missing ones included: one linear system an image, with the channels
    as right-hand sides, solved exactly in float64 on the CPU. Then noise is added to the imputed values. An
    image without any pixel left becomes its channel means: the system does not determine it.

    Parameters
    ----------
    x
        Images (n, c, h, w); missing pixels are not read, except for the means of an image that is missing altogether.
    missing
        Boolean mask (n, h, w).
    noise
        Standard deviation, in units of x.
    generator
        Source of the noise; without one, none is added. One draw covers the whole batch.

    Returns
    -------
    Tensor
        New images of x's shape and dtype on x's device; pixels that are not missing are unchanged to the bit.

    Notes
    -----
    In reading order a pixel has no neighbour farther than one row and one pixel, so the symmetric, positive
    definite matrix is a band, and its Cholesky factor needs at most w + 2 numbers a missing pixel. Images are
    solved a few at a time, so memory does not grow with n.

    Raises
    ------
    ValueError
        x is not a batch of finite float images, `missing` is not a boolean mask that fits x, or noise is negative.
    """
    checks.images(x)
    checks.real("noise", noise, 0)
    checks.generator(generator)
    if not isinstance(missing, Tensor) or missing.dtype != torch.bool or missing.shape != (len(x), *x.shape[2:]):
        raise ValueError(f"missing must be a boolean tensor of shape {(len(x), *x.shape[2:])}, one entry a pixel.")
    missing = missing.to(x.device)
    imputed = torch.where(missing[:, None], x.mean((2, 3), keepdim=True), x)
    unknown = missing & ~missing.flatten(1).all(1)[:, None, None]
    size = max(1, _TOGETHER // missing[0].numel())
    with _linear_algebra().limit(limits=1, user_api="blas"):
        values = [torch.from_numpy(_solution(part.cpu().double().numpy(), gaps.cpu().numpy())).to(x.dtype)
                  for part, gaps in zip(x.split(size), unknown.split(size)) if gaps.any()]
    if values:
        imputed.movedim(1, -1)[unknown] = torch.cat(values).to(x.device)
    if generator is not None:
        imputed = torch.where(missing[:, None], imputed + noise * normal_like(x, generator), imputed)
    return imputed


@cache
def _linear_algebra() -> ThreadpoolController:
    """Limits the loaded BLAS, which splits a band so finely that on a busy machine its threads only wait."""
    return ThreadpoolController()


def _solution(x: np.ndarray, gaps: np.ndarray) -> np.ndarray:
    """Values (gaps, c) of the missing pixels of some images in reading order, by one band system for all."""
    n, c, h, w = x.shape
    right_side = _around(x * ~gaps[:, None]).swapaxes(0, 1).reshape(c, -1)[:, np.flatnonzero(gaps)]
    band = _band(gaps)
    band[:, 0] = np.broadcast_to(_around(np.ones((h, w))), gaps.shape)[gaps]
    return solveh_banded(band.T, right_side.T, lower=True, overwrite_ab=True, overwrite_b=True, check_finite=False)


def _around(x: np.ndarray) -> np.ndarray:
    """Sum of each pixel's neighbours inside the image, in twelfths: 2 for a direct, 1 for a diagonal one."""
    rows = np.zeros_like(x)
    rows[..., 1:, :] += x[..., :-1, :]
    rows[..., :-1, :] += x[..., 1:, :]
    total = 2 * rows
    rows += 2 * x
    total[..., 1:] += rows[..., :-1]
    total[..., :-1] += rows[..., 1:]
    return total


def _band(gaps: np.ndarray) -> np.ndarray:
    """The matrix, in twelfths, as LAPACK's band: row p holds (p, p), (p, p + 1) and so on; (p, p) is not set yet."""
    # A neighbour outside the image falls on the padding, whose number is -1, like that of kept pixels.
    padded = np.pad(gaps, ((0, 0), (0, 1), (0, 1)))
    place, row = np.flatnonzero(padded), padded.shape[2]
    index = np.arange(len(place))
    number = np.full(padded.size, -1)
    number[place] = index
    # The matrix is symmetric, so the neighbours that come later suffice. Those that are not missing go to (p, p).
    later = number[place[:, None] + (1, row - 1, row, row + 1)]
    ahead = np.maximum(later - index[:, None], 0)
    band = np.zeros((len(place), 1 + ahead.max()))
    band[index[:, None], ahead] = -2, -1, -2, -1
    return band
