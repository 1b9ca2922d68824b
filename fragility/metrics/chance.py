"""What a metric gives for maps that have nothing to do with each other."""

from collections.abc import Callable

import torch
from torch import Tensor

from fragility import checks


def topk_chance(a: Tensor, k: int) -> Tensor:
    """Expected :func:`topk_intersection` of each map (n, h, w) with an unrelated one: k / (h w), as (n,).

    An unrelated map has rank correlations of zero; a centre shift has no such closed form, see
    :func:`other_image`.
    """
    checks.maps(a)
    pixels = a[0].numel()
    return torch.full((len(a),), checks.whole("k", k, 1, pixels) / pixels, dtype=a.dtype, device=a.device)


def other_image(metric: Callable[[Tensor, Tensor], Tensor], a: Tensor, *, others: int = 8) -> Tensor:
    """Mean of a metric (n,) between each map (n, h, w) and the maps of `others` other images of the batch.

    A control stricter than chance: maps of centred objects look alike whatever the object is.
    Raises ValueError for fewer than two maps.
    """
    checks.maps(a)
    if len(a) < 2:
        raise ValueError("The control by another image needs at least two maps.")
    shifts = range(1, min(checks.whole("others", others, 1), len(a) - 1) + 1)
    return torch.stack([metric(a, a.roll(shift, 0)) for shift in shifts]).mean(0)
