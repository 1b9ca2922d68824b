"""Arrays of an `.npz` file as images, labels and class names: nothing pickled, and what is wrong said in a sentence."""

import zipfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

MOST_CLASSES = 100_000      # a label beyond is another kind of number, such as an identifier


def held(file: Path) -> list[str]:
    """Names of the arrays in an `.npz` file; ValueError where it is not one."""
    try:
        with zipfile.ZipFile(file) as archive:
            return [name.removesuffix(".npy") for name in archive.namelist()]
    except Exception as error:      # zipfile raises several kinds
        raise ValueError(f"The data file {file} is not a whole .npz archive ({error}); write it again with "
                         "numpy.savez.") from error


def read(file: Path, needed: Sequence[str], optional: Sequence[str] = ()) -> dict[str, np.ndarray]:
    """The `needed` arrays of an `.npz` file, and those of the `optional` ones that it holds.

    ValueError where one is lacking, damaged, or pickled.
    """
    names = held(file)
    lacking = [name for name in needed if name not in names]
    if lacking:
        raise ValueError(f"The data file {file} lacks {' and '.join(lacking)}: it must hold {' and '.join(needed)}, "
                         f"but holds {', '.join(names) or 'nothing'}; write it again with numpy.savez.")
    return {name: _array(file, name) for name in (*needed, *optional) if name in names}


def _array(file: Path, name: str) -> np.ndarray:
    try:
        with np.load(file, allow_pickle=False) as archive:
            return np.asarray(archive[name])
    except Exception as error:      # zipfile and zlib raise kinds of their own for a damaged file
        if "allow_pickle" in str(error):
            raise ValueError(f"The array {name} of the data file {file} is pickled, and pickles are never read, since "
                             "they can run code; save numbers, or text of dtype str.") from error
        raise ValueError(f"The array {name} of the data file {file} cannot be read ({error}); write it again with "
                         "numpy.savez.") from error


def image_batch(values: np.ndarray, what: str) -> Tensor:
    """Images as a tensor (n, c, h, w), uint8, of an array (n, h, w), (n, h, w, c) or (n, c, h, w); c is 1 or 3.

    `what` names the array in the ValueError for another dtype or shape.
    """
    shape = values.shape
    if values.dtype != np.uint8:
        raise ValueError(f"The {what} must be uint8, 0 to 255, but they are {values.dtype}; images in [0, 1] are "
                         "converted by (255 * images).round().astype('uint8').")
    if values.ndim not in (3, 4) or (values.ndim == 4 and not {shape[1], shape[3]} & {1, 3}):
        raise ValueError(f"The {what} must have the shape (n, h, w), (n, h, w, c) or (n, c, h, w) with 1 or 3 channels "
                         f"c, but it is {shape}; reshape them.")
    if 0 in shape:
        raise ValueError(f"The {what} are empty, with the shape {shape}; at least one image is needed.")
    images = torch.from_numpy(values)
    if values.ndim == 3:
        return images[:, None]
    return images.permute(0, 3, 1, 2).contiguous() if shape[3] in (1, 3) else images


def label_batch(values: np.ndarray, n: int, names: Sequence[str] | None, what: str) -> Tensor:
    """Labels of n images as a tensor (n,), int64; each has one of the class `names`, where these are given.

    `what` names the array in the ValueError for another shape, or a label that is not a class.
    """
    if values.shape != (n,):
        raise ValueError(f"The {what} must be one for each image, of shape ({n},), but they have the shape "
                         f"{values.shape}; leave out what has no partner.")
    if values.dtype.kind not in "iufb":
        raise ValueError(f"The {what} must be whole numbers, but they are {values.dtype}; number the classes from 0, "
                         "and save their names as class_names.")
    _refuse(values != np.floor(values) if values.dtype.kind == "f" else np.zeros(n, bool), values,
            f"The {what} must be whole numbers", "number the classes from 0")
    classes = len(names) if names is not None else MOST_CLASSES
    within = f"0 to {classes - 1:,}" + (f", one of the {classes} class names" if names is not None else "")
    _refuse((values < 0) | (values >= classes), values, f"The {what} must lie in {within}",
            "correct it, or name more classes" if names is not None else "number the classes from 0")
    return torch.from_numpy(values.astype(np.int64))


def _refuse(bad: np.ndarray, values: np.ndarray, rule: str, remedy: str) -> None:
    if bad.any():
        place = int(bad.argmax())
        raise ValueError(f"{rule}, but that of image {place} is {values[place]}; {remedy}.")


def class_names(values: np.ndarray, what: str) -> list[str]:
    """Names by label of an array (classes,) of text or whole numbers; ValueError for anything else."""
    if values.ndim != 1 or values.dtype.kind not in "USiu" or not len(values):
        raise ValueError(f"The {what} must be one line of text for each class, but they are {values.dtype} of shape "
                         f"{values.shape}; save numpy.array(['cat', 'dog']).")
    return [value.decode(errors="replace") if isinstance(value, bytes) else str(value) for value in values]
