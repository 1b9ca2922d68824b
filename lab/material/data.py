"""Data sets by name, with their source. A name always means the same data; none is replaced by another."""

from functools import lru_cache
from pathlib import Path
from typing import Annotated

import torch
from pydantic import AfterValidator
from torch import Tensor

from lab.core import folders
from lab.material import reads, sources, user_sets
from lab.material.sources import Dataset

NAMES = ("mnist-5k", "mnist", "fashion-mnist", "cifar10", "gtsrb", "food101", "imagenet", "flowers",
         "imagenet-sample")
# Splits of sets that come without any: "all", and those made here. Any other of `NAMES` has "train" and "test".
SPLITS = {"flowers": ("all", "train", "test"), "imagenet-sample": ("all",)}
WITHOUT_SPLIT = tuple(SPLITS)
IMAGENET_MEAN = (0.485, 0.456, 0.406)


def valid_name(name: str, *, root: str | Path | None = None) -> str:
    """The name of a data set, if it is one of `NAMES` or of the user's own sets in the data folder; else ValueError."""
    if name in NAMES:
        return name
    others = [one for folder in _data_folders(root) for one in user_sets.names(folder) if one not in NAMES]
    if name in others and "\\" not in name:
        return name
    within = "".join(map(str, folders.data_roots(root)))
    where = (f"in the data folder {within}, which holds {', '.join(others) or 'none'}" if within else
             "in the folder that FRAGILITY_DATA names (it is not set)")
    path = ", since a name holds no path separators" if {"/", "\\"} & set(str(name)) else ""
    raise ValueError(f"Data set {name!r} is unknown{path}; choose one of: {', '.join(NAMES)}; or a set of your own "
                     f"{where}.")


DataSet = Annotated[str, AfterValidator(valid_name)]         # the type of a parameter


def splits(name: str, *, root: str | Path | None = None) -> tuple[str, ...]:
    """The splits of a data set; of a user's own set, those found in the data folder."""
    if valid_name(name, root=root) in NAMES:
        return SPLITS.get(name, ("train", "test"))
    folder, = _data_folders(root)
    return user_sets.splits(folder, name)


def is_unsplit(name: str, *, root: str | Path | None = None) -> bool:
    """Whether a data set comes without a split into train and test."""
    return "all" in splits(name, root=root)


def valid_name_with_splits(name: str, *, root: str | Path | None = None) -> str:
    """The name of a data set, if it comes split into "train" and "test"; else ValueError."""
    if is_unsplit(valid_name(name, root=root), root=root):
        parted = ", ".join(listed for listed in NAMES if listed not in WITHOUT_SPLIT)
        raise ValueError(f"Data set {name!r} comes without a split into train and test, which is needed here; choose "
                         f"one of: {parted}; or a set of your own with train and test.")
    return name


SplitDataSet = Annotated[str, AfterValidator(valid_name_with_splits)]       # the type of a parameter


def load(name: str, split: str, *, root: str | Path | None = None) -> Dataset:
    """Load a split of a named data set.

    Looks in the folder `root` or FRAGILITY_DATA (`<name>.npz`, or an ImageFolder tree `<name>/`), then for
    a system copy, then in torchvision's cache or download. `mnist-5k` is embedded and never looked for.

    Parameters
    ----------
    name
        One of `NAMES`, or the name of a set of your own in that folder.
    split
        "train" or "test"; "all" for a set without a split. `flowers` has all three: it comes without one, and the last
        tenth of each class, in the order of the file names, is its test set here.

    Raises
    ------
    ValueError
        Unknown name or split, a damaged file, or a set that is nowhere to be found, with what to do.
    """
    allowed = splits(name, root=root)
    if split not in allowed:
        raise ValueError(f"The data set {name} has no split {split!r}; choose one of: {', '.join(allowed)}.")
    if name not in NAMES:
        folder, = _data_folders(root)
        return reads.noted(name, split, user_sets.load(folder, name, split))
    if "all" in allowed and split != "all":
        return _hold_out(load(name, "all", root=root), split)
    return reads.noted(name, split, _found(name, split, root))


def _found(name: str, split: str, root: str | Path | None) -> Dataset:
    """A split of one of `NAMES`, as its source has it."""
    if name == "mnist-5k":
        return sources.embedded_mnist(split)
    entry = sources.TORCHVISION.get(name)
    for folder in _data_folders(root):
        if (folder / f"{name}.npz").is_file():
            return sources.from_npz(folder / f"{name}.npz", f"{split}_", entry and entry.class_names)
        if (folder / name).is_dir():
            return sources.from_folder(folder / name, split)
    if entry:
        return sources.from_torchvision(name, split)
    raise ValueError(f"The data set {name} was not found. Set FRAGILITY_DATA to a folder that holds {name}.npz "
                     f"or an ImageFolder tree {name}/ (see the book's page on data).")


def _data_folders(root: str | Path | None) -> list[Path]:
    """The data folder, if one is named; ValueError if it is not there."""
    found = folders.data_roots(root)
    for folder in found:
        if not folder.is_dir():
            raise ValueError(f"The data folder {folder} does not exist; correct FRAGILITY_DATA or root=.")
    return found


def _hold_out(whole: Dataset, split: str) -> Dataset:
    """The last tenth of each class for testing, rounded up, and the others for training."""
    parts = [(whole.labels == label).nonzero().flatten() for label in whole.labels.unique()]
    cuts = [len(rows) - -(-len(rows) // 10) for rows in parts]
    rows = torch.cat([rows[cut:] if split == "test" else rows[:cut] for rows, cut in zip(parts, cuts)])
    return whole._replace(images=whole.images[rows], labels=whole.labels[rows])


def mean_colour(name: str) -> Tensor:
    """Mean of each channel over a data set, (c,) in [0, 1]: over its training images, over all where it has no split.

    Of ImageNet it is the published mean of the training images, of which only a sample is here.
    """
    if name in ("imagenet", "imagenet-sample"):
        return torch.tensor(IMAGENET_MEAN)
    return _mean_colour(name)


@lru_cache(maxsize=4)
def _mean_colour(name: str) -> Tensor:
    images = load(name, "all" if is_unsplit(name) else "train").images
    return images.double().mean((0, 2, 3)).float() / 255


def centre_crop(images: Tensor, side: int) -> Tensor:
    """The square of `side` pixels at the centre of images (n, c, h, w); an odd pixel too many stays at the end."""
    top, left = (round((size - side) / 2) for size in images.shape[2:])
    return images[..., top:top + side, left:left + side]
