"""Regions of an image that a targeted attack can gather importance in, as masks for `Target`."""

import numpy as np
import torch
from torch import Tensor

from fragility import checks


def rectangle(shape: tuple[int, int], top: int, left: int, height: int, width: int) -> Tensor:
    """Boolean mask of `shape` (h, w) that is true in a rectangle; ValueError where it leaves the image."""
    checks.whole("top", top, 0, shape[0] - 1)
    checks.whole("left", left, 0, shape[1] - 1)
    checks.whole("height", height, 1, shape[0] - top)
    checks.whole("width", width, 1, shape[1] - left)
    mask = torch.zeros(shape, dtype=torch.bool)
    mask[top:top + height, left:left + width] = True
    return mask


def superpixel(image: Tensor, row: int, column: int, *, segments: int = 30) -> Tensor:
    """Boolean mask (h, w) of the superpixel that holds a point, by SLIC [achanta2012].

    Parameters
    ----------
    image
        One image (c, h, w) in [0, 1], with one or three channels.
    row, column
        The point.
    segments
        About how many superpixels the image is cut into; at least 2.
    """
    from skimage.segmentation import slic  # half a second to import: only where it is needed

    if not isinstance(image, Tensor) or image.ndim != 3 or image.shape[0] not in (1, 3):
        raise ValueError("A superpixel needs one image (c, h, w) with one or three channels.")
    checks.images(image[None], unit_range=True, name="image")
    checks.whole("row", row, 0, image.shape[1] - 1)
    checks.whole("column", column, 0, image.shape[2] - 1)
    checks.whole("segments", segments, 2)
    picture = image.detach().cpu().double().numpy()
    labels = slic(np.moveaxis(picture, 0, -1) if len(picture) == 3 else picture[0], n_segments=segments,
                  channel_axis=-1 if len(picture) == 3 else None)
    return torch.from_numpy(labels == labels[row, column]).to(image.device)
