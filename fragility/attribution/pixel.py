"""The importance of each pixel: what attacks and metrics look at."""

import torch
from torch import Tensor

from fragility import checks


def pixel_map(maps: Tensor) -> Tensor:
    """Importance of each pixel [ghorbani2019, section 3]: absolute value, summed over channels.

    Signed maps (n, c, h, w) in, maps (n, h, w) out that are non-negative and sum to one. Raises
    ValueError naming the images whose map is zero everywhere.
    """
    checks.images(maps, name="maps")
    zero = maps.abs().amax((1, 2, 3)) == 0
    if zero.any():
        raise ValueError(f"A map that is zero everywhere cannot be normalised: {checks.listing(zero)}.")
    return normalised(maps)


def normalised(maps: Tensor) -> Tensor:
    """:func:`pixel_map` without its checks, for kernels; an all-zero map stays zero."""
    pixels = maps.abs().sum(1)
    return pixels / pixels.sum((1, 2), keepdim=True).clamp_min(torch.finfo(maps.dtype).tiny)
