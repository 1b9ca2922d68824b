"""Small pictures of images and maps, kept in the journal as they are made, for the report to show."""

import base64
import zlib
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d

from fragility.audit.group import Group, pixels
from fragility.audit.journal import Journal
from fragility.audit.methods import Method

PICTURED, SIDE = 32, 96     # images that are kept as pictures, and the longest side of these
KINDS = ("clean", "noise", "attack")


def keep(journal: Journal, group: Group, method: Method, kind: str, maps: Tensor) -> None:
    """Keep pictures of signed maps (n, c, h, w) of the group's first images, where there are none yet."""
    key = (group.place, method.name, f"picture of {kind}")
    count = min(len(maps), PICTURED - group.first)
    if count > 0 and key not in journal:
        small = of_maps(pixels(maps[:count]))
        journal.add(*key, {"images": list(range(group.first, group.first + count)), "shape": list(small.shape),
                           "pixels": base64.b64encode(zlib.compress(small.tobytes())).decode()})


def collected(journal: Journal, images: Tensor, methods: list[Method]) -> dict:
    """All pictures by (method, kind), uint8 (m, h, w), and those of the images by "images", uint8 (m, c, h, w)."""
    found: dict[Any, np.ndarray] = {"images": of_images(images[:PICTURED])}
    for method in methods:
        for kind in KINDS:
            lines = [journal.lines[key] for key in sorted(journal.lines)
                     if key[1:] == (method.name, f"picture of {kind}")]
            if lines:
                found[method.name, kind] = np.concatenate([np.frombuffer(zlib.decompress(base64.b64decode(
                    line["pixels"])), np.uint8).reshape(line["shape"]) for line in lines])
    return found


def of_maps(maps: Tensor) -> np.ndarray:
    """Small grey pictures, uint8 (n, h, w), of pixel maps: white is the 99.5th percentile and all above."""
    small = adaptive_avg_pool2d(maps.nan_to_num(0.0)[:, None], _size(maps))[:, 0]
    top = small.flatten(1).quantile(0.995, dim=1)[:, None, None].clamp_min(1e-30)
    return (small / top).clamp(0, 1).mul(255).round().to(torch.uint8).cpu().numpy()


def of_images(images: Tensor) -> np.ndarray:
    """Small pictures, uint8 (n, c, h, w), of images."""
    values = images.float() if images.dtype == torch.uint8 else images.float() * 255
    return adaptive_avg_pool2d(values, _size(images)).round().clamp(0, 255).to(torch.uint8).numpy()


def _size(pictures: Tensor) -> tuple[int, int]:
    scale = max(1.0, max(pictures.shape[-2:]) / SIDE)
    height, width = (max(1, round(side / scale)) for side in pictures.shape[-2:])
    return height, width
