"""A user's own images for audits: a folder of pictures or an `.npz` file, read without pickles and without guesses."""

import os
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import interpolate

from fragility import checks
from fragility.arrays import class_names, image_batch, label_batch, read

# Suffixes of pictures, also of kinds that Pillow may be unable to read: those are counted and named, not passed over.
PICTURES = frozenset((".jpg", ".jpeg", ".png", ".ppm", ".pgm", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".avif",
                      ".heic", ".jxl"))
MOST_LEFT_OUT = 0.05        # the largest share of unreadable pictures that leaves a set the same set
MOST_PIXELS = 2**26         # of a picture scaled to `size`: a long strip would fill the memory


class Images(NamedTuple):
    """A user's own images, with what is known of them."""

    images: Tensor                  #: Images (n, c, h, w), uint8; c is 1 where all are grey, else 3.
    labels: Tensor | None           #: Classes (n,), int64; None where the source has none.
    class_names: list[str] | None   #: Names by label; None where the source has none.
    left_out: list[str]             #: Pictures that cannot be read, by their names in the folder.


class Listing(NamedTuple):
    """The pictures in a folder, whether or not they can be read."""

    files: list[Path]
    labels: list[int] | None        #: One a file, by the order of the subfolders' names; None of a flat folder.
    class_names: list[str] | None


def images(folder_or_npz: str | Path, *, size: int | tuple[int, int] | None = None) -> Images:
    """Read a user's own images.

    Parameters
    ----------
    folder_or_npz
        A folder of pictures, without labels; a tree class/picture, labelled in the order of the subfolders' names;
        or an `.npz` file with `images`, uint8 (n, h, w), (n, h, w, c) or (n, c, h, w) with 1 or 3 channels, and, if
        you like, `labels` (n,) and `class_names`. Hidden files are passed over.
    size
        Height and width in pixels, or one number for both. An image is scaled, up or down, until it just covers them
        (for a square: its shorter side), and cut at the centre. Without it all must have one size already.

    Returns
    -------
    Images
        Pictures stand upright as their EXIF data say, and on white where they are transparent. They keep one channel
        where all of them are grey. Up to 5 % that cannot be read are left out and named in `left_out`.

    Raises
    ------
    TypeError
        `folder_or_npz` is not a path.
    ValueError
        There are no images; they differ in size; more than 5 % cannot be read; a picture is too large to decode
        safely, or has more than 8 bits a channel; a link leads out of the folder; an array is damaged, pickled, or
        not as above; or Pillow, which reads pictures, is not installed.
    """
    if not isinstance(folder_or_npz, (str, os.PathLike)):
        raise TypeError(f"Images are read from the path of a folder or of an .npz file, not from a "
                        f"{type(folder_or_npz).__name__}.")
    size, path = _height_and_width(size), Path(folder_or_npz).expanduser()
    if path.is_dir():
        return _from_folder(path, size)
    if path.is_file() and path.suffix.lower() == ".npz":
        return _from_npz(path, size)
    seen = "is neither" if path.exists() else "does not exist"
    raise ValueError(f"Images are read from a folder of pictures, a tree class/picture or an .npz file, but {path} "
                     f"{seen}; name one of them.")


def _height_and_width(size) -> tuple[int, int] | None:
    if size is None:
        return None
    pair = tuple(size) if isinstance(size, (tuple, list)) else (size, size)
    if len(pair) != 2:
        raise ValueError(f"size must be a whole number or a pair (h, w) of them, but it is {size!r}.")
    return checks.integer("size", pair[0], 1, 8192), checks.integer("size", pair[1], 1, 8192)


def _from_npz(file: Path, size: tuple[int, int] | None) -> Images:
    found = read(file, ("images",), ("labels", "class_names"))
    x = image_batch(found["images"], f"images of {file}")
    if size:
        x = torch.stack([_fitted(image, size, f"Image {place} of {file}") for place, image in enumerate(x)])
    names = class_names(found["class_names"], f"class_names of {file}") if "class_names" in found else None
    labels = label_batch(found["labels"], len(x), names, f"labels of {file}") if "labels" in found else None
    return Images(x, labels, names, [])


def _from_folder(folder: Path, size: tuple[int, int] | None) -> Images:
    try:
        import PIL  # noqa: F401  only pictures need it, and the core install lacks it
    except ImportError as error:
        raise ValueError(f"The pictures in {folder} are read by Pillow, which is not installed; "
                         "pip install 'fragility[audit]' brings it.") from error
    listing = pictures(folder)
    most = MOST_LEFT_OUT * len(listing.files)
    read_ones, rows, left_out = [], [], []
    for row, file in enumerate(listing.files):
        name = file.relative_to(folder).as_posix()
        try:
            image = picture(file)
        except OSError as error:
            left_out.append(name)
            if len(left_out) > most:
                raise ValueError(f"Of the pictures in {folder}, {len(listing.files)} in all, more than 5 % cannot be "
                                 f"read: {', '.join(left_out[:5])} ({error}); replace or remove them.") from error
            continue
        image = _fitted(image, size, f"The picture {name} in {folder}") if size else image
        if read_ones and image.shape[1:] != read_ones[0].shape[1:]:
            first = listing.files[rows[0]].relative_to(folder).as_posix()
            raise ValueError(f"The pictures in {folder} differ in size: {first} has {_pixels(read_ones[0])} and {name} "
                             f"{_pixels(image)} pixels; pass size= to scale and cut them to one.")
        read_ones.append(image)
        rows.append(row)
    channels = max(len(image) for image in read_ones)
    labels = None if listing.labels is None else torch.tensor(listing.labels)[rows]
    return Images(torch.stack([image.expand(channels, -1, -1) for image in read_ones]), labels, listing.class_names,
                  left_out)


def _pixels(image: Tensor) -> str:
    return f"{image.shape[1]} by {image.shape[2]}"


def pictures(folder: Path) -> Listing:
    """The pictures in a folder: its own, or those of its subfolders, each of which is a class, empty ones too.

    Raises
    ------
    ValueError
        No pictures, pictures both beside and inside of subfolders or deeper than these, or a link that leads out.
    """
    own, subfolders = _entries(folder, folder)
    inside = [_entries(subfolder, folder) for subfolder in subfolders]
    files = [file for found, _ in inside for file in found]
    for _, deeper in inside:
        for file in (file for subfolder in deeper for file in _entries(subfolder, folder)[0]):
            raise ValueError(f"The folder {folder} must hold pictures or subfolders of them, but "
                             f"{file.relative_to(folder).as_posix()} lies deeper; name the folder above its class.")
    if own and files:
        raise ValueError(f"The folder {folder} holds pictures both beside and inside of subfolders, {own[0].name} and "
                         f"{files[0].relative_to(folder).as_posix()}; sort all of them into subfolders, or none.")
    if own:
        return Listing(own, None, None)
    if not files:
        raise ValueError(f"The folder {folder} holds no images; put pictures into it, or into a subfolder for each "
                         f"class, as {', '.join(sorted(PICTURES))}.")
    labels = [label for label, (found, _) in enumerate(inside) for _ in found]
    return Listing(files, labels, [subfolder.name for subfolder in subfolders])


def _entries(folder: Path, top: Path) -> tuple[list[Path], list[Path]]:
    """Pictures and subfolders in a folder, in the order of their names, without hidden ones."""
    try:
        seen = sorted((entry for entry in folder.iterdir() if not entry.name.startswith((".", "__MACOSX"))),
                      key=lambda entry: entry.name)
    except OSError as error:
        raise ValueError(f"The folder {folder} cannot be listed ({error}); make it readable.") from error
    subfolders = [entry for entry in seen if entry.is_dir()]
    files = [entry for entry in seen if entry.suffix.lower() in PICTURES and not entry.is_dir()]
    for link in _leading_out([*subfolders, *files], top):
        raise ValueError(f"The link {link} leads out of the folder {top}; put what it points to into the folder, or "
                         "remove it.")
    return files, subfolders


def _leading_out(entries: list[Path], top: Path) -> Iterator[Path]:
    for entry in entries:
        try:
            if entry.is_symlink() and not entry.resolve().is_relative_to(top.resolve()):
                yield entry
        except (OSError, RuntimeError):     # a circle of links, which is left out with what cannot be read
            continue


def picture(file: Path) -> Tensor:
    """A picture, uint8 (1, h, w) where it is grey, else (3, h, w); OSError where it cannot be read.

    ValueError where it is to be refused: too large to be decoded safely, or of more than 8 bits a channel.
    """
    from PIL import Image, ImageOps

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")     # remarks on damaged metadata
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        try:
            if not file.is_file():          # opening a pipe would wait for ever
                raise OSError("no file")
            with Image.open(file) as opened:
                upright = ImageOps.exif_transpose(opened)
        except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
            raise ValueError(f"The picture {file} has more than {Image.MAX_IMAGE_PIXELS:,} pixels, too many to be "
                             "decoded safely; shrink or remove it.") from error
        except Exception as error:          # Pillow's readers raise many kinds, also SyntaxError
            raise OSError(str(error) or type(error).__name__) from error
    if upright.mode.startswith(("I", "F")):
        raise ValueError(f"The picture {file} has more than 8 bits a channel (mode {upright.mode}), and which values "
                         "are black and white is not known here; save it with 8 bits.")
    if upright.mode in ("LA", "PA", "RGBA") or "transparency" in upright.info:
        shown = upright.convert("RGBA")
        shown = Image.alpha_composite(Image.new("RGBA", shown.size, "white"), shown)
    else:
        shown = upright
    grey = upright.mode in ("1", "L", "LA")
    values = torch.from_numpy(np.array(shown.convert("L" if grey else "RGB")))
    return values[None] if grey else values.permute(2, 0, 1).contiguous()


def _fitted(image: Tensor, size: tuple[int, int], name: str) -> Tensor:
    """An image (c, h, w), uint8, scaled with anti-aliasing until it just covers `size`, and cut at the centre."""
    sides = image.shape[1:]
    scale = max(wanted / side for wanted, side in zip(size, sides))
    covering = [max(wanted, round(scale * side)) for wanted, side in zip(size, sides)]
    if covering[0] * covering[1] > MOST_PIXELS:
        raise ValueError(f"{name} has {_pixels(image)} pixels and would be scaled to {covering[0]} by {covering[1]} "
                         f"before it is cut; cut it, remove it, or pass a smaller size.")
    if covering != list(sides):
        scaled = interpolate(image[None].float(), covering, mode="bilinear", antialias=True, align_corners=False)[0]
        image = scaled.round().clamp(0, 255).to(torch.uint8)
    top, left = ((side - wanted) // 2 for side, wanted in zip(covering, size))
    return image[:, top:top + size[0], left:left + size[1]]
