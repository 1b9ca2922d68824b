"""Values of the metrics that unrelated maps reach by chance."""

from collections.abc import Callable

import torch
from torch import Tensor

from fragility import checks
from fragility.metrics.lens import dilate, top_pixels

SATURATED = 0.98    #: Chance above this leaves a metric no room to say anything.


def topk_chance(a: Tensor, k: int) -> Tensor:
    """Expected :func:`topk_intersection` of each map (n, h, w) with an unrelated one: k / (h w), as (n,).

    An unrelated map has rank correlations of zero; a centre shift has no such closed form, see
    :func:`other_image`.
    """
    checks.maps(a)
    pixels = a[0].numel()
    return torch.full((len(a),), checks.integer("k", k, 1, pixels) / pixels, dtype=a.dtype, device=a.device)


def lens_chance(a: Tensor, k: int, window: int, *, diverse: bool = False) -> Tensor:
    r"""Expected :func:`lens_recall` of each map (n, h, w) with an unrelated one, as (n,) in (0, 1].

    .. math:: |N_w(\mathrm{top}_k(a))| \,/\, (h w)

    That is the share of the map that counts as near, since each top pixel of an unrelated map is equally likely to
    lie anywhere. With `diverse` it is slightly too high: pixels that keep their distance lie a little more often near
    the border, where neighbourhoods are cut off; random maps of 28 x 28 score about 0.005 less.
    For the chance of :func:`lens_precision` of (a, b) pass b. Raises as :func:`lens_recall`.
    """
    checks.maps(a)
    (top,) = top_pixels((a,), k, window, diverse)
    return dilate(top, window).to(a.dtype).mean((1, 2))


def above_chance(observed: Tensor, chance: Tensor) -> Tensor:
    """How far a score lies above chance, as a share of the way to 1: (observed - chance) / (1 - chance).

    Tensors (n,) in and out: 0 is chance, 1 is agreement, below 0 is less than chance. NaN stands for
    "saturated": where chance exceeds 0.98 (`SATURATED`) the score says nothing. Raises ValueError for a
    chance outside [0, 1] and for scores that are not finite.
    """
    observed, chance = torch.as_tensor(observed), torch.as_tensor(chance)
    if observed.shape != chance.shape and 0 not in (observed.ndim, chance.ndim):
        raise ValueError(f"observed and chance must have the same shape, but they are {tuple(observed.shape)} and "
                         f"{tuple(chance.shape)}.")
    if checks.any_true(~((chance >= 0) & (chance <= 1))):
        raise ValueError("Chance must lie in [0, 1] for every image.")
    if checks.any_true(~torch.isfinite(observed)):
        raise ValueError("The observed scores must be finite; NaN is how above_chance marks saturated ones.")
    return torch.where(chance > SATURATED, torch.nan, (observed - chance) / (1 - chance))


def other_image(metric: Callable[[Tensor, Tensor], Tensor], a: Tensor, *, others: int = 8) -> Tensor:
    """Mean of a metric (n,) between each map (n, h, w) and the maps of `others` other images of the batch.

    A control stricter than chance: maps of centred objects look alike whatever the object is.
    Raises ValueError for fewer than two maps.
    """
    checks.maps(a)
    if len(a) < 2:
        raise ValueError("The control by another image needs at least two maps.")
    shifts = range(1, min(checks.integer("others", others, 1), len(a) - 1) + 1)
    return torch.stack([metric(a, a.roll(shift, 0)) for shift in shifts]).mean(0)
