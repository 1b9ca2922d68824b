"""The importance of each pixel: what attacks and metrics look at."""

import torch
from torch import Tensor

from fragility import checks


def pixel_map(maps: Tensor) -> Tensor:
    """Importance of each pixel [ghorbani2019, section 3]: absolute value, summed over channels.

    Signed maps (n, c, h, w) in, maps (n, h, w) out that are non-negative and sum to one, in float32 at least. Raises
    ValueError naming the images whose map is zero everywhere.
    """
    checks.images(maps, name="maps")
    zero = maps.abs().amax((1, 2, 3)) == 0
    if checks.any_true(zero):
        raise ValueError(f"A map that is zero everywhere cannot be normalised: {checks.image_list(zero)}.")
    return normalised(maps)


def normalised(maps: Tensor) -> Tensor:
    """:func:`pixel_map` without its checks, for kernels; an all-zero map stays zero."""
    wide = torch.promote_types(maps.dtype, torch.float32)       # 150,000 values of float16 overflow their sum
    pixels = maps.abs().sum(1, dtype=wide)
    return pixels / pixels.sum((1, 2), keepdim=True).clamp_min(torch.finfo(wide).tiny)
