"""Regions of an image that a targeted attack can gather importance in, as masks for `Target`."""

import torch
from torch import Tensor

from fragility import checks


def rectangle(shape: tuple[int, int], top: int, left: int, height: int, width: int) -> Tensor:
    """Boolean mask of `shape` (h, w), true in a rectangle, in pixels; ValueError unless it lies inside the image."""
    checks.integer("top", top, 0, shape[0] - 1)
    checks.integer("left", left, 0, shape[1] - 1)
    checks.integer("height", height, 1, shape[0] - top)
    checks.integer("width", width, 1, shape[1] - left)
    mask = torch.zeros(shape, dtype=torch.bool)
    mask[top:top + height, left:left + width] = True
    return mask
