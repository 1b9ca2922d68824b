"""Images of a split of which only some are here: those that a pack for a machine without internet brought."""

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from fragility import arrays


class Part:
    """Stands for the images (n, c, h, w) of a whole split and holds some of its rows.

    Rows can be taken, by a slice or by whole numbers, and their number is the whole split's. One that is not here, and
    whatever needs all of them, is a ValueError: a part never passes for the whole.
    """

    def __init__(self, images: Tensor, rows: Tensor, count: int, what: str):
        self.what, self.shape, self.dtype = what, torch.Size([count, *images.shape[1:]]), images.dtype
        self._images, self._place = images, torch.full((count,), -1, dtype=torch.int64)
        self._place[rows] = torch.arange(len(rows))

    def __len__(self) -> int:
        return len(self._place)

    def __getitem__(self, rows) -> Tensor:
        places = self._place[rows]
        if (places < 0).any():
            raise self._lacking(f"{int((places < 0).sum())} of the {places.numel()} that are asked for are not")
        return self._images[places]

    def __getattr__(self, name: str):
        raise self._lacking(f"{name} needs all of them")

    @classmethod
    def __torch_function__(cls, function, types, args=(), kwargs=None):
        given = [one for arg in args for one in (arg if isinstance(arg, (list, tuple)) else [arg])]
        part = next(one for one in given if isinstance(one, cls))
        raise part._lacking(f"{getattr(function, '__name__', 'torch')} needs all of them")

    def _lacking(self, why: str) -> ValueError:
        here = f"{len(self._images):,} of {len(self):,} images"
        return ValueError(f"The pack brought {here} of {self.what}, and {why}. Pack the cells that read them, too, "
                          "with python -m lab gpu pack.")


def arrays_of(images: Tensor, labels: Tensor, rows: Tensor | None, split: str) -> dict[str, np.ndarray]:
    """What an `.npz` file holds of a split: all labels, and of the images the given rows; None takes all."""
    prefix = "" if split == "all" else f"{split}_"
    held = {f"{prefix}images": (images if rows is None else images[rows]).numpy(), f"{prefix}labels": labels.numpy()}
    return held if rows is None else held | {f"{prefix}rows": rows.numpy()}


def rows_in(file: Path, prefix: str) -> Tensor | None:
    """Which rows of the whole split the images in a file are; None where they are all of it."""
    found = arrays.read(file, (), (f"{prefix}rows",))
    return torch.from_numpy(found[f"{prefix}rows"]) if found else None
