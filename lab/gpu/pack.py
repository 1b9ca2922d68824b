"""Pack cells for a machine without internet: code, weights, and of the data the images that these cells use.

The keys of records hold fingerprints of whole data sets, which nobody can compute from a part. So they are computed
here, from the whole, and the pack carries them with the cells that they belong to. In turn a part never passes for the
whole: an image that was not packed is an error there, and so is a file that is not what was packed.
"""

import hashlib
import io
import json
import zipfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from safetensors.torch import save

from lab import catalogue
from lab.core import costs, folders, profiles, results
from lab.core.experiment import Experiment
from lab.core.store import CARRIED, Store, canonical
from lab.core.surroundings import PACKED, commit, surroundings
from lab.material import data, part, reads

FOLDER, RECORDS = "fragility-pack", "fragility-records.zip"
_SMALL = 10e6           # bytes of tensors of a record up to which it is packed; a larger one is made there again


class Packed(NamedTuple):
    """What an archive holds."""

    cells: int
    megabytes: float


def pack(names: Sequence[str], profile: str, store: Store, out: Path, max_mb: float) -> Packed:
    """Write the archive `out` with the cells of experiments that are neither published nor in the store.

    ValueError where nothing is missing, where data or weights are not here, or where the archive would be larger than
    so many megabytes; it says what is large.
    """
    wanted = _missing(names, profile, store)
    if not wanted:
        raise ValueError(f"Nothing of {', '.join(names)} is missing at the {profile} scale.")
    grids = catalogue.closure(wanted, profile)
    in_hand, cells = _sort_out(grids, wanted, store)
    carried, read = _read(grids, cells, store)
    count = sum(map(len, cells.values()))
    files = {**_code(), **_data(read), **_records(in_hand, store)}
    files[f"store/{CARRIED}"] = json.dumps(carried).encode()
    files["cells.json"] = json.dumps({"cells": cells, "made with": surroundings()["versions"],
                                      "embedded": any(name == "mnist-5k" for name, _ in read.splits)}).encode()
    files["SHA256SUMS"] = "".join(f"{hashlib.sha256(content).hexdigest()}  {name}\n"
                                  for name, content in sorted(files.items())).encode()
    return Packed(count, _write(files, out, max_mb))


def _missing(names: Sequence[str], profile: str, store: Store) -> dict[str, list[dict]]:
    found = {}
    for one in map(catalogue.experiment, names):
        cells = one.cells(one.at(profile))
        places = costs.missing(one, cells, store, results.published_keys(one))
        if places:
            found[one.name] = [cells[place] for place in places]
    return found


def _sort_out(grids: list[tuple[Experiment, list[dict]]], wanted: dict[str, list[dict]],
              store: Store) -> tuple[dict[str, list[dict]], dict[str, list[dict]]]:
    """By experiment, the cells whose records go into the pack, and those that are computed there, in order.

    Published records have no tensors, and so cannot stand for what other cells read.
    """
    in_hand, cells = {}, {}
    for one, needed in grids:
        missing = {canonical(cell) for cell in wanted.get(one.name, ())}
        for cell in needed:
            record = None if canonical(cell) in missing else one.stored(cell, store)
            small = record and (record.companion is None or record.companion.stat().st_size <= _SMALL)
            (in_hand if small else cells).setdefault(one.name, []).append(cell)
    return in_hand, cells


def _read(grids: list[tuple[Experiment, list[dict]]], cells: dict[str, list[dict]],
          store: Store) -> tuple[dict, reads.Reads]:
    """The fingerprints of all cells, and what of data and weights those read that are computed there.

    A cell's fingerprints read the same images as the cell itself; where they hold those of another one, as of the
    network that it judges, these are known by then and are not read for it.
    """
    carrying = Store(store.root)
    carrying.carried = {one.name: {} for one, _ in grids}
    for one, needed in grids:
        computed = {canonical(cell) for cell in cells.get(one.name, ())}
        for cell in needed:
            if canonical(cell) not in computed:
                carrying.carried[one.name][canonical(cell)] = one.fingerprints(cell, carrying)
    with reads.recorded() as read:
        for one, _ in grids:
            for cell in cells.get(one.name, ()):
                carrying.carried[one.name][canonical(cell)] = one.fingerprints(cell, carrying)
                if cell.get("reference") == "mean":         # a colour of the whole set, which is no fingerprint
                    data.mean_colour(cell["data_set"])
    return carrying.carried, read


def _code() -> dict[str, bytes]:
    """The checkout's packages, the parameters of its notebooks without their outputs, and what starts a run there."""
    found = {}
    for room in ("fragility", "lab"):
        for file in sorted((folders.ROOT / room).rglob("*")):
            if file.is_file() and "__pycache__" not in file.parts:
                found[str(file.relative_to(folders.ROOT))] = file.read_bytes()
    for file in sorted(folders.NOTEBOOKS.glob("*.ipynb")):
        tagged = [cell for cell in profiles.cells(file.stem) if "parameters" in cell["metadata"].get("tags", [])]
        found[f"notebooks/{file.name}"] = json.dumps({"cells": [{**cell, "outputs": []} for cell in tagged]}).encode()
    for file in sorted(folders.PARAMETERS.glob("*.yaml")):
        found[f"notebooks/params/{file.name}"] = file.read_bytes()
    return found | {"run.py": found["lab/gpu/unpacked.py"], PACKED.name: commit().encode()}


def _data(read: reads.Reads) -> dict[str, bytes]:
    """A data folder with what was read; the embedded digits come with their package."""
    arrays: dict[str, dict] = {}
    for (name, split), found in read.splits.items():
        if name != "mnist-5k":
            arrays.setdefault(name, {"class_names": np.array(found.data.class_names)})
            arrays[name] |= part.arrays_of(found.data.images, found.data.labels, found.rows, split)
    files = {f"data/{file}": save({name: tensor.contiguous() for name, tensor in state.items()})
             for file, state in read.weights.items()}
    for name, held in arrays.items():
        buffer = io.BytesIO()
        np.savez(buffer, **held)
        files[f"data/{name}.npz"] = buffer.getvalue()
    return files


def _records(in_hand: dict[str, list[dict]], store: Store) -> dict[str, bytes]:
    """The store's records of cells, with their tensors."""
    found = {}
    for name, cells in in_hand.items():
        for cell in cells:
            record = catalogue.experiment(name).stored(cell, store)
            file = store.root / name / f"{record.key}.json"
            for each in filter(None, (file, record.companion)):
                found[f"store/{name}/{each.name}"] = each.read_bytes()
    return found


def _write(files: dict[str, bytes], out: Path, max_mb: float) -> float:
    """Write the archive and return its megabytes; ValueError where they are too many, and then there is no file."""
    working = out.with_suffix(".packing")
    try:
        with zipfile.ZipFile(working, "w", zipfile.ZIP_DEFLATED, compresslevel=6) as archive:
            for name, content in files.items():
                archive.writestr(f"{FOLDER}/{name}", content)
            sizes = Counter()
            for entry in archive.infolist():
                inside = entry.filename.removeprefix(f"{FOLDER}/")
                large = inside.startswith(("data/", "store/"))
                sizes[inside if large else "the code"] += entry.compress_size
        megabytes = working.stat().st_size / 1e6
        if megabytes > max_mb:
            largest = ", ".join(f"{name} ({size / 1e6:.1f} MB)" for name, size in sizes.most_common(3))
            raise ValueError(f"The archive would have {megabytes:.1f} MB, more than the {max_mb:g} that are allowed. "
                             f"The largest in it: {largest}. Name fewer experiments, a profile with fewer images, or "
                             "allow more with --max-mb.")
        working.replace(out)
        return megabytes
    finally:
        working.unlink(missing_ok=True)
