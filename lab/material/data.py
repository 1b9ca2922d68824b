"""Data sets by name, with where they came from. No name is ever replaced by another."""

from pathlib import Path

import torch
from torch import Tensor

from fragility import checks
from lab.core import folders
from lab.core.parameters import one_of
from lab.material import sources
from lab.material.sources import Dataset

NAMES = ("mnist-5k", "mnist", "fashion-mnist", "cifar10", "gtsrb", "food101", "imagenet", "flowers",
         "imagenet-sample")
# Of sets that come whole: "all", and what they are cut into here. Any other set has "train" and "test".
SPLITS = {"flowers": ("all", "train", "test"), "imagenet-sample": ("all",)}
WITHOUT_SPLIT = tuple(SPLITS)
DataSet = one_of("Data set", NAMES)         # the type of a parameter


def load(name: str, split: str, *, root: str | Path | None = None) -> Dataset:
    """Load a split of a named data set.

    Looks in the folder `root` or FRAGILITY_DATA (`<name>.npz`, or an ImageFolder tree `<name>/`), then for
    a system copy, then in torchvision's cache or download. `mnist-5k` is embedded and never looked for.

    Parameters
    ----------
    name
        One of `NAMES`.
    split
        "train" or "test"; "all" for a set without a split. `flowers` has all three: it comes without one, and the last
        tenth of each class, in the order of the file names, is its test set here.

    Raises
    ------
    ValueError
        Unknown name or split, a damaged file, or a set that is nowhere to be found, with what to do.
    """
    checks.choice("Data set", name, NAMES)
    allowed = SPLITS.get(name, ("train", "test"))
    if split not in allowed:
        raise ValueError(f"The data set {name} has no split {split!r}; choose one of: {', '.join(allowed)}.")
    if "all" in allowed and split != "all":
        return _cut(load(name, "all", root=root), split)
    if name == "mnist-5k":
        return sources.embedded_mnist(split)
    for folder in folders.data_roots(root):
        if not folder.is_dir():
            raise ValueError(f"The data folder {folder} does not exist; correct FRAGILITY_DATA or root=.")
        if (folder / f"{name}.npz").is_file():
            return sources.from_npz(folder / f"{name}.npz", split, name)
        if (folder / name).is_dir():
            return sources.from_folder(folder / name, split)
    if name in sources.TORCHVISION:
        return sources.from_torchvision(name, split)
    raise ValueError(f"The data set {name} was not found. Set FRAGILITY_DATA to a folder that holds {name}.npz "
                     f"or an ImageFolder tree {name}/ (see the book's page on data).")


def _cut(whole: Dataset, split: str) -> Dataset:
    """The last tenth of each class for testing, rounded up, and the others for training."""
    parts = [(whole.labels == label).nonzero().flatten() for label in whole.labels.unique()]
    cuts = [len(rows) - -(-len(rows) // 10) for rows in parts]
    rows = torch.cat([rows[cut:] if split == "test" else rows[:cut] for rows, cut in zip(parts, cuts)])
    return whole._replace(images=whole.images[rows], labels=whole.labels[rows])


def centre(images: Tensor, side: int) -> Tensor:
    """The square of `side` pixels at the centre of images (n, c, h, w); an odd pixel too many stays at the end."""
    top, left = (round((size - side) / 2) for size in images.shape[2:])
    return images[..., top:top + side, left:left + side]


def unit(images: Tensor) -> Tensor:
    """uint8 images as float32 in [0, 1]."""
    return images.float() / 255
