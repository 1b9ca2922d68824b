"""Two free photographs, `chelsea` and `coffee` of scikit-image (CC0), and the regions of them that attacks aim at."""

import numpy as np
import torch
from torch import Tensor

from fragility import checks
from lab.core.parameters import one_of
from lab.material import networks
from lab.material.data import centre_crop

#: Photograph -> a point (row, column) of the region that a targeted attack aims at, as shares of height and width.
POINTS = {"chelsea": (0.9, 0.12), "coffee": (0.12, 0.88)}
SEGMENTS = 12           # superpixels of an image; the region is the one that holds the point
SHORTER_SIDE = 256      # of a photograph before the cut, as the networks were trained
PhotographName = one_of("Photograph", POINTS)


def photograph(name: str, network: str) -> Tensor:
    """A photograph (1, 3, h, w) in [0, 1], its shorter side scaled to 256 and cut to the network's size."""
    from skimage import data as pictures  # both slow to import: only where they are needed
    from torchvision.transforms.functional import resize

    image = torch.from_numpy(getattr(pictures, name)()).permute(2, 0, 1)[None] / 255
    side = networks.IMAGE_SIDE.get(network, SHORTER_SIDE)
    return centre_crop(resize(image, [SHORTER_SIDE], antialias=True), side).clamp(0, 1)


def region(name: str, image: Tensor) -> Tensor:
    """Mask (h, w) of the superpixel that the photograph's targeted attack aims at."""
    row, column = (int(part * side) for part, side in zip(POINTS[name], image.shape[1:]))
    return superpixel(image, row, column, segments=SEGMENTS)


def class_names(network: str) -> list[str]:
    """Names of a torchvision network's classes."""
    from torchvision.models import get_model_weights

    return get_model_weights(network).DEFAULT.meta["categories"]


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
    checks.integer("row", row, 0, image.shape[1] - 1)
    checks.integer("column", column, 0, image.shape[2] - 1)
    checks.integer("segments", segments, 2)
    picture = image.detach().cpu().double().numpy()
    labels = slic(np.moveaxis(picture, 0, -1) if len(picture) == 3 else picture[0], n_segments=segments,
                  channel_axis=-1 if len(picture) == 3 else None)
    return torch.from_numpy(labels == labels[row, column]).to(image.device)
