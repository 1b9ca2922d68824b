"""The published edition: measured records, one file an experiment, committed in `results/`.

It is text, `<experiment>.json`; where that would be large, compressed, `<experiment>.json.xz`. Every
image is a row and nothing is rounded, so that verdicts can be computed again; the largest, of LENS, is 3.1 MB.
"""

import json
import lzma
import shutil
from pathlib import Path

import pandas as pd

from lab.core import folders
from lab.core.experiment import Experiment
from lab.core.running import frame
from lab.core.store import Damaged, Record, Store, canonical, from_body, seal, unseal

_LARGE = 2_000_000      # bytes of text from which it is compressed


def publish(experiment: Experiment, profile: str, store: Store) -> tuple[int, int]:
    """Write the profile's finished records to `results/`; returns how many, and how many are missing.

    A record that is published and that the store has not, since another machine made it, stays.
    """
    cells = experiment.cells(experiment.at(profile))
    finished = [record for record in store.records(experiment.name) if record.about["version"] == experiment.version]
    known = {canonical(record.parameters): record for record in [*published(experiment), *finished]}
    found = [record for cell in cells if (record := known.get(canonical(cell)))]
    if found:
        bodies = [{**record.about, "parameters": record.parameters, "companion": _companion(experiment, record),
                   "table": {"columns": list(record.table.columns), "rows": _rows(record.table)}}
                  for record in found]
        text = "[\n" + ",\n".join(seal(body).rstrip() for body in bodies) + "\n]\n"
        _write(experiment, text.encode())
    return len(found), len(cells) - len(found)


def _write(experiment: Experiment, text: bytes) -> None:
    plain, packed = _files(experiment)
    large = len(text) > _LARGE
    folders.RESULTS.mkdir(exist_ok=True)
    (packed if large else plain).write_bytes(lzma.compress(text) if large else text)
    (plain if large else packed).unlink(missing_ok=True)


def _files(experiment: Experiment) -> tuple[Path, Path]:
    """Where the records of an experiment are published: as text, or compressed."""
    return tuple(folders.RESULTS / f"{experiment.name}.json{ending}" for ending in ("", ".xz"))


def _companion(experiment: Experiment, record: Record) -> str | None:
    """The name of a record's published tensors, copied to `results/`; most experiments keep theirs to the store."""
    if not experiment.publishes_tensors or record.companion is None:
        return None
    _pictures().mkdir(parents=True, exist_ok=True)
    target = _pictures() / record.companion.name
    return target.name if target == record.companion else shutil.copyfile(record.companion, target).name


def _pictures() -> Path:
    return folders.RESULTS / "pictures"


def _rows(table: pd.DataFrame) -> list[list]:
    return table.astype(object).where(table.notna(), None).values.tolist()


def published(experiment: Experiment) -> list[Record]:
    """The published records of an experiment's current version; ValueError for a damaged file."""
    file = next((file for file in _files(experiment) if file.is_file()), None)
    if file is None:
        return []
    try:
        text = lzma.decompress(file.read_bytes()) if file.suffix == ".xz" else file.read_bytes()
        bodies = [unseal(body) for body in json.loads(text)]
    except (Damaged, ValueError, lzma.LZMAError) as error:
        raise ValueError(f"The published file {file.name} is damaged ({error}); restore it from git.") from error
    return [from_body(body, "", _pictures() / body["companion"] if body["companion"] else None)
            for body in bodies if body["version"] == experiment.version]


def measured(experiment: Experiment, profile: str, store: Store | None) -> pd.DataFrame:
    """What is known of a profile's cells without computing: from the store, where one is given, else from `results/`.

    The frame's `attrs` say how many of the cells are there, "done" of "cells", and which: "found".
    """
    try:
        parameters = experiment.at(profile)
    except ValueError:
        return pd.DataFrame()
    cells = experiment.cells(parameters)
    records = [*published(experiment), *(store.records(experiment.name) if store else [])]
    known = {canonical(one.parameters): one for one in records if one.about["version"] == experiment.version}
    found = [record for cell in cells if (record := known.get(canonical(cell)))]
    table = frame(found)
    table.attrs.update(done=len(found), cells=len(cells), found=frozenset(canonical(one.parameters) for one in found))
    return table


def deviation(experiment: Experiment, record: Record, store: Store) -> dict[str, float]:
    """Recompute a record; largest difference of each numeric column's mean, relative to its spread."""
    again = experiment.compute(record.parameters, store).table
    before, after = (table.mean(numeric_only=True) for table in (record.table, again))
    spread = record.table.std(numeric_only=True).fillna(before.abs()).clip(lower=1e-9)     # one row has no spread
    return ((after - before).abs() / spread).to_dict()
