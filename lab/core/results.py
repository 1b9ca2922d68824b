"""The published edition: measured records, one file an experiment, committed in `results/`.

It is text, `<experiment>.json`; where that would be large, compressed, `<experiment>.json.xz`. Every
image is a row and nothing is rounded, so that verdicts can be computed again; the largest, of LENS, is 3.1 MB.
"""

import hashlib
import json
import lzma
import os
import random
import shutil
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from lab.core import folders
from lab.core.experiment import Experiment
from lab.core.frames import frame
from lab.core.store import Damaged, Record, Store, canonical, from_body, record_key, seal, unseal

_DIGESTS = "SHA256SUMS"     # of the files of records in `results/`; `sha256sum -c` reads it
_LARGE = 2_000_000      # bytes of text from which it is compressed


def publish(experiment: Experiment, profile: str, store: Store, *, drop: bool = False) -> tuple[int, int]:
    """Write the profile's finished records to `results/`; returns how many, and how many are missing.

    A record that is published and that the store has not, since another machine made it, stays. ValueError where a
    published record is of no cell of the grid any more, or of an older version; with `drop` it goes.
    """
    cells = experiment.cells(experiment.at(profile))
    finished = [record for record in store.records(experiment.name) if record.about["version"] == experiment.version]
    known = {canonical(record.parameters): record for record in [*published(experiment), *finished]}
    found = [record for cell in cells if (record := known.get(canonical(cell)))]
    if found:
        lost = _published_bodies(experiment).keys() - {record.key for record in found}
        replaced = {record.key for record in published(experiment)
                    if any(record.parameters == new.parameters for new in found)}
        if (lost := lost - replaced) and not drop:
            raise ValueError(f"{len(lost)} published records of {experiment.name} are of no cell of the {profile} "
                             f"grid, or of another version than {experiment.version}, and would be lost, the first of "
                             f"them {min(lost)}. Add --drop where that is meant; otherwise keep their cells.")
        bodies = [{**record.about, "parameters": record.parameters, "companion": _companion(experiment, record),
                   "table": {"columns": record.columns, "rows": record.rows}}
                  for record in found]
        text = "[\n" + ",\n".join(seal(body).rstrip() for body in bodies) + "\n]\n"
        _write(experiment, text.encode())
    return len(found), len(cells) - len(found)


def _write(experiment: Experiment, text: bytes) -> None:
    plain, packed = _files(experiment)
    target, other = (packed, plain) if len(text) > _LARGE else (plain, packed)
    folders.RESULTS.mkdir(exist_ok=True)
    _replace(target, lzma.compress(text) if target is packed else text)
    other.unlink(missing_ok=True)
    digests = {**_known_digests(), target.name: _digest(target.read_bytes())}
    lines = (f"{digest}  {name}\n" for name, digest in sorted(digests.items()) if name != other.name)
    _replace(folders.RESULTS / _DIGESTS, "".join(lines).encode())


def _replace(target: Path, content: bytes) -> None:
    working = target.with_suffix(".writing")
    working.write_bytes(content)
    os.replace(working, target)


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _known_digests() -> dict[str, str]:
    """The files of `results/` whose records were all verified when these were written, and their digests."""
    file = folders.RESULTS / _DIGESTS
    lines = file.read_text().splitlines() if file.is_file() else []
    return {name: digest for digest, _, name in (line.partition("  ") for line in lines)}


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


def published(experiment: Experiment) -> list[Record]:
    """The published records of an experiment's current version; ValueError for a damaged file."""
    return [from_body(body, key, _pictures() / body["companion"] if body["companion"] else None)
            for key, body in _published_bodies(experiment).items() if body["version"] == experiment.version]


def published_keys(experiment: Experiment) -> frozenset[str]:
    """Keys of the records that are published: their cells need not be computed again, wherever they were made."""
    return frozenset(record.key for record in published(experiment))


def draw(pool: list[tuple[Experiment, Record]], count: int, seconds: float) -> tuple[list, float]:
    """At random up to `count` records that took so many seconds in all, and the share of the pool that could be."""
    able = [pair for pair in pool if pair[1].about["seconds"] <= seconds]
    drawn, left = [], seconds
    for pair in random.sample(able, len(able)):
        if len(drawn) < count and pair[1].about["seconds"] <= left:
            drawn.append(pair)
            left -= pair[1].about["seconds"]
    return drawn, len(able) / len(pool)


def _published_bodies(experiment: Experiment) -> dict[str, dict]:
    """Key and verified body of every published record, of whatever version."""
    file = next((file for file in _files(experiment) if file.is_file()), None)
    if file is None:
        return {}
    stamp = file.stat()
    return _bodies(file, stamp.st_mtime_ns, stamp.st_size)


@lru_cache(maxsize=64)      # claims at several scales, and many claims, look at the same file
def _bodies(file: Path, modified: int, size: int) -> dict[str, dict]:
    """Bodies of the records in a file; each is verified, unless the file is whole as it was published."""
    try:
        content = file.read_bytes()
        opened = json.loads(lzma.decompress(content) if file.suffix == ".xz" else content)
        if _known_digests().get(file.name) == _digest(content):
            bodies = [{name: value for name, value in body.items() if name != "sha256"} for body in opened]
        else:
            bodies = [unseal(body) for body in opened]
    except (Damaged, ValueError, lzma.LZMAError) as error:
        raise ValueError(f"The published file {file.name} is damaged ({error}); restore it from git.") from error
    return {record_key(body["experiment"], body["version"], body["parameters"], body["fingerprints"]): body
            for body in bodies}


class Measured(NamedTuple):
    """What is known of a profile's cells without computing."""

    table: pd.DataFrame         #: The records found; its `attrs` say how many cells are "done" of all "cells".
    found: frozenset[str]       #: The canonical parameters of the cells that are there.


def measured(experiment: Experiment, profile: str, store: Store | None) -> pd.DataFrame:
    """The table of :func:`known`."""
    return known(experiment, profile, store).table


def known(experiment: Experiment, profile: str, store: Store | None) -> Measured:
    """What is known of a profile's cells: from the store, where one is given, else from `results/`.

    Empty where the experiment has no such profile.
    """
    try:
        parameters = experiment.at(profile)
    except ValueError:
        return Measured(pd.DataFrame(), frozenset())
    records = [*published(experiment), *(store.records(experiment.name) if store else [])]
    return known_of(experiment, experiment.cells(parameters), records)


def known_of(experiment: Experiment, cells: list[dict], records: list[Record]) -> Measured:
    """What records, of which the last of a cell counts, know of some cells."""
    made = {canonical(one.parameters): one for one in records if one.about["version"] == experiment.version}
    names = dict.fromkeys(map(canonical, cells))
    found = {cell: made[cell] for cell in names if cell in made}
    table = frame(found.values(), experiment.columns)
    table.attrs.update(done=len(found), cells=len(names))
    return Measured(table, frozenset(found))


def deviation(experiment: Experiment, record: Record, store: Store) -> dict[str, float]:
    """Recompute a record; largest difference of each numeric column's mean, relative to its spread."""
    again = experiment.compute(record.parameters, store).table[record.columns]      # it may measure more by now
    before, after = (table.mean(numeric_only=True) for table in (record.table, again))
    spread = record.table.std(numeric_only=True).fillna(before.abs()).clip(lower=1e-9)     # one row has no spread
    return ((after - before).abs() / spread).to_dict()
