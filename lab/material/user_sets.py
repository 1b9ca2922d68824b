"""The user's own data sets: files and trees in the folder FRAGILITY_DATA whose names are not of `data.NAMES`."""

from pathlib import Path

import torch

from fragility import arrays
from fragility.data import images, pictures
from lab.material import sources
from lab.material.sources import Dataset

PARTS = ("train", "test")
_ARRAYS_OF_PARTS = tuple(f"{part}_{kind}" for part in PARTS for kind in ("images", "labels"))
_ARRAYS_OF_WHOLE = ("images", "labels")


def names(folder: Path) -> list[str]:
    """Names of all sets in a data folder, in order: its `.npz` files and its subfolders, without hidden ones."""
    try:
        entries = [entry for entry in folder.iterdir() if not entry.name.startswith(".")]
    except OSError as error:
        raise ValueError(f"The data folder {folder} cannot be listed ({error}); make it readable, or "
                         "correct FRAGILITY_DATA or root=.") from error
    files = {entry.stem for entry in entries if entry.is_file() and entry.suffix == ".npz"}
    return sorted(files | {entry.name for entry in entries if entry.is_dir()})


def splits(folder: Path, name: str) -> tuple[str, ...]:
    """("train", "test") of a set that comes in these parts, else ("all",); a file is preferred to a tree.

    ValueError where the set is neither.
    """
    file = folder / f"{name}.npz"
    return _splits_of_file(file) if file.is_file() else _splits_of_tree(folder / name)


def _splits_of_file(file: Path) -> tuple[str, ...]:
    held = set(arrays.held(file))
    in_parts, whole = bool(held & set(_ARRAYS_OF_PARTS)), bool(held & set(_ARRAYS_OF_WHOLE))
    if in_parts == whole or not held >= set(_ARRAYS_OF_PARTS if in_parts else _ARRAYS_OF_WHOLE):
        raise ValueError(f"The data file {file} must hold {', '.join(_ARRAYS_OF_PARTS)}, or "
                         f"{' and '.join(_ARRAYS_OF_WHOLE)} alone (and may hold class_names), but it holds "
                         f"{', '.join(sorted(held)) or 'nothing'}; write it again with numpy.savez.")
    return PARTS if in_parts else ("all",)


def _splits_of_tree(folder: Path) -> tuple[str, ...]:
    parts = [part for part in PARTS if (folder / part).is_dir()]
    if len(parts) == 1 and any(entry.is_dir() for entry in (folder / parts[0]).iterdir()):  # else it is a class
        lacking, = set(PARTS) - set(parts)
        raise ValueError(f"The folder {folder} has a folder {parts[0]}/ of classes, but lacks {lacking}/; add it, or "
                         f"put the classes into {folder.name}/ itself.")
    return PARTS if len(parts) == 2 else ("all",)


def load(folder: Path, name: str, split: str) -> Dataset:
    """A split of the set of that name in a data folder; ValueError where it is damaged, with what to do."""
    file = folder / f"{name}.npz"
    return _from_file(file, split) if file.is_file() else _from_tree(folder / name, split)


def _from_file(file: Path, split: str) -> Dataset:
    prefixes = ("",) if split == "all" else tuple(f"{part}_" for part in PARTS)
    found = arrays.read(file, [f"{prefix}labels" for prefix in prefixes], ("class_names",))
    names = None
    if "class_names" not in found:      # numbers in place of names: the same in both parts, also if one lacks a class
        labels = [arrays.label_batch(values, values.size, None, f"{name} of the data file {file}")
                  for name, values in found.items() if values.size]
        names = [str(label) for label in range(1 + max((int(part.max()) for part in labels), default=0))]
    return sources.from_npz(file, "" if split == "all" else f"{split}_", names)


def _from_tree(folder: Path, split: str) -> Dataset:
    """Pictures in RGB, cut to a square with the smallest shorter side of all pictures of the set, in either part."""
    bases = {"all": folder} if split == "all" else {part: folder / part for part in PARTS}
    listings = {part: pictures(base) for part, base in bases.items()}
    for part, listing in listings.items():
        if listing.labels is None:
            raise ValueError(f"The folder {bases[part]} holds pictures without a class, such as "
                             f"{listing.files[0].name}; sort them into a subfolder for each class.")
    side = min(_shorter_side(file) for listing in listings.values() for file in listing.files)
    found = images(bases[split], size=side)
    if found.left_out:
        raise ValueError(f"The picture {bases[split] / found.left_out[0]} cannot be read; replace or remove it.")
    label_of, class_names = _classes(folder, sorted({name for one in listings.values() for name in one.class_names}))
    labels = torch.tensor([label_of[name] for name in found.class_names])[found.labels]
    return Dataset(found.images.expand(-1, 3, -1, -1).contiguous(), labels, class_names, folder.name)


def _classes(folder: Path, subfolders: list[str]) -> tuple[dict[str, int], list[str]]:
    """Label of each subfolder and class name of each label, by `classes.csv` or in the order of the subfolders."""
    file = folder / "classes.csv"
    if not file.is_file():
        return {name: label for label, name in enumerate(subfolders)}, subfolders
    rows = sources.class_table(file)
    label_of, name_of = {wnid: label for label, wnid, _ in rows}, {label: name for label, _, name in rows}
    lacking = [name for name in subfolders if name not in label_of]
    if lacking:
        raise ValueError(f"The table {file} lacks the folder {lacking[0]}; add its line, or remove the folder.")
    return label_of, [name_of.get(label, str(label)) for label in range(1 + max(name_of))]


def _shorter_side(file: Path) -> int:
    from PIL import Image  # slow to import: only where pictures are read

    try:
        with Image.open(file) as opened:
            return min(opened.size)
    except Exception as error:      # Pillow's readers raise many kinds, also SyntaxError
        raise ValueError(f"The picture {file} cannot be read ({error}); replace or remove it.") from error
