"""The published edition: measured records, one file an experiment, committed in `results/`.

It is text, `<experiment>.json`; where that would be large, compressed, `<experiment>.json.gz`. Every
image is a row and nothing is rounded, so that verdicts can be computed again; the largest, of LENS, is 4.2 MB.
"""

import gzip
import hashlib
import os
import random
import shutil
import zlib
from collections.abc import Callable, Mapping
from functools import cached_property, lru_cache
from pathlib import Path
from types import MappingProxyType

import orjson  # half of the time of a ledger is reading, and it halves that
import pandas as pd

from lab.core import folders
from lab.core.experiment import Experiment
from lab.core.frames import frame
from lab.core.store import Damaged, Record, Store, canonical, from_body, record_key, seal, unseal

PUBLISHED = ("edition", "paper")        # the profiles whose records are kept beside each other
_DIGESTS = "SHA256SUMS"     # of the files of records in `results/`; `sha256sum -c` reads it
_LARGE = 500_000        # bytes of text above which a file is compressed


def publish(experiment: Experiment, profile: str, store: Store, *, drop: bool = False) -> tuple[int, int]:
    """Write the profile's finished records to `results/`; returns how many there are, and how many are missing.

    Published records that this store lacks, made on another machine, are kept, and so are those of other profiles.
    ValueError where a published record is of an older version, or its cell is in no grid any more; with `drop` such
    records are removed.
    """
    cells = experiment.cells(experiment.at(profile))
    finished = [record for record in store.records(experiment.name) if record.about["version"] == experiment.version]
    by_cell = {record.cell: record for record in [*published(experiment), *finished]}
    found = [record for cell in cells if (record := by_cell.get(canonical(cell)))]
    if found:
        others = _of_other_profiles(experiment, profile) - set(map(canonical, cells))
        kept = [record for record in published(experiment) if record.cell in others]
        lost = {record.key for record in _of_any_version(experiment)} - {record.key for record in [*found, *kept]}
        replaced = {record.key for record in published(experiment)
                    if any(record.parameters == new.parameters for new in found)}
        if (lost := lost - replaced) and not drop:
            raise ValueError(f"{len(lost)} published records of {experiment.name} are of no cell of the {profile} "
                             f"grid, or of another version than {experiment.version}, and would be lost, the first of "
                             f"them {min(lost)}. Add --drop where that is meant; otherwise keep their cells.")
        bodies = [{**record.about, "parameters": record.parameters, "companion": _companion(experiment, record),
                   "table": {"columns": record.columns, "rows": record.rows}}
                  for record in ([*found, *kept] if profile == PUBLISHED[0] else [*kept, *found])]
        text = "[\n" + ",\n".join(seal(body).rstrip() for body in bodies) + "\n]\n"
        _write(experiment, text.encode())
    return len(found), len(cells) - len(found)


def _of_other_profiles(experiment: Experiment, profile: str) -> set[str]:
    """The canonical cells of the experiment's grids at the profiles that are published, but for this one."""
    found: set[str] = set()
    for other in PUBLISHED:
        try:
            found |= set(map(canonical, experiment.cells(experiment.at(other)))) if other != profile else set()
        except ValueError:
            continue                # the experiment has no such profile, or its data are not here to check it
    return found


def _write(experiment: Experiment, text: bytes) -> None:
    plain, compressed = _files(experiment)
    target, other = (compressed, plain) if len(text) > _LARGE else (plain, compressed)
    folders.RESULTS.mkdir(exist_ok=True)
    _replace(target, gzip.compress(text, mtime=0) if target is compressed else text)
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


def digest(experiment: Experiment) -> str:
    """SHA-256 of the experiment's published file, as `results/SHA256SUMS` has it; empty where there is none."""
    return next((_known_digests()[file.name] for file in _files(experiment) if file.name in _known_digests()), "")


def _files(experiment: Experiment) -> tuple[Path, Path]:
    """The two files that may hold the published records of an experiment: text, or compressed."""
    return tuple(folders.RESULTS / f"{experiment.name}.json{ending}" for ending in ("", ".gz"))


def _companion(experiment: Experiment, record: Record) -> str | None:
    """The file name of a record's tensors, copied to `results/`; None for experiments that do not publish theirs."""
    if not experiment.publishes_tensors or record.companion is None:
        return None
    _pictures().mkdir(parents=True, exist_ok=True)
    target = _pictures() / record.companion.name
    return target.name if target == record.companion else shutil.copyfile(record.companion, target).name


def _pictures() -> Path:
    return folders.RESULTS / "pictures"


def published(experiment: Experiment) -> list[Record]:
    """The published records of an experiment's current version; ValueError for a damaged file."""
    return [record for record in _of_any_version(experiment) if record.about["version"] == experiment.version]


def published_keys(experiment: Experiment) -> frozenset[str]:
    """Keys of the published records; their cells need not be computed again, whatever machine made them."""
    return frozenset(record.key for record in published(experiment))


def draw(pool: list[tuple[Experiment, Record]], count: int, seconds: float) -> tuple[list, float]:
    """Draw at random up to `count` records that took at most so many seconds in all.

    Returns them, and the share of the pool that could be drawn: records that took no longer on their own.
    """
    short_enough = [pair for pair in pool if pair[1].about["seconds"] <= seconds]
    drawn, left = [], seconds
    for pair in random.sample(short_enough, len(short_enough)):
        if len(drawn) < count and pair[1].about["seconds"] <= left:
            drawn.append(pair)
            left -= pair[1].about["seconds"]
    return drawn, len(short_enough) / len(pool)


def _of_any_version(experiment: Experiment) -> list[Record]:
    file = next((file for file in _files(experiment) if file.is_file()), None)
    if file is None:
        return []
    stamp = file.stat()
    return _read(file, stamp.st_mtime_ns, stamp.st_size)


@lru_cache(maxsize=64)      # many claims, at several scales, read the same file
def _read(file: Path, modified: int, size: int) -> list[Record]:
    """The records in a file; each is verified, unless the file is whole as it was published."""
    try:
        content = file.read_bytes()
        bodies = orjson.loads(gzip.decompress(content) if file.suffix == ".gz" else content)
        if _known_digests().get(file.name) == _digest(content):
            for body in bodies:
                del body["sha256"]
        else:
            bodies = [unseal(body) for body in bodies]
    except (Damaged, ValueError, OSError, EOFError, zlib.error) as error:
        raise ValueError(f"The published file {file.name} is damaged ({error}); restore it from git.") from error
    return [from_body(body, record_key(body["experiment"], body["version"], body["parameters"], body["fingerprints"]),
                      _pictures() / body["companion"] if body["companion"] else None) for body in bodies]


class Measured:
    """The records of a profile's cells that exist; nothing is computed. Their frame is made when it is asked for."""

    def __init__(self, table: pd.DataFrame | Callable[[], pd.DataFrame], found: frozenset[str],
                 seconds: Mapping[str, float] = MappingProxyType({})):
        self._table = table
        self.found = found          #: The canonical parameters of the cells that have a record.
        self.seconds = seconds      #: What each record took, by its key.
        self.codes: dict = {}       #: What tests of the table share.

    @cached_property
    def table(self) -> pd.DataFrame:
        """The frame of the records; its `attrs` say how many cells are "done" of all "cells"."""
        return self._table() if callable(self._table) else self._table


def measured(experiment: Experiment, profile: str, store: Store | None) -> pd.DataFrame:
    """The table of :func:`measured_cells`."""
    return measured_cells(experiment, profile, store).table


def measured_cells(experiment: Experiment, profile: str, store: Store | None) -> Measured:
    """The records of a profile's cells: those published in `results/`, and those of the store, where one is given.

    Empty where the experiment has no such profile.
    """
    try:
        parameters = experiment.at(profile)
    except ValueError:
        return Measured(pd.DataFrame(), frozenset())
    records = [*published(experiment), *(store.records(experiment.name) if store else [])]
    return measured_in(experiment, experiment.cells(parameters), records)


def measured_in(experiment: Experiment, cells: list[dict], records: list[Record]) -> Measured:
    """Those of the records that are of these cells; of several records of one cell the last counts."""
    by_cell = {record.cell: record for record in records if record.about["version"] == experiment.version}
    names = dict.fromkeys(map(canonical, cells))
    found = {cell: by_cell[cell] for cell in names if cell in by_cell}

    def table() -> pd.DataFrame:
        made = frame(found.values(), experiment.columns)
        made.attrs.update(done=len(found), cells=len(names))
        return made

    return Measured(table, frozenset(found), {record.key: record.about["seconds"] for record in found.values()})


def deviation(experiment: Experiment, record: Record, store: Store) -> dict[str, float]:
    """Recompute a record; the change of each numeric column's mean, in standard deviations over the rows."""
    recomputed = experiment.compute(record.parameters, store).table[record.columns]     # by now it may have more
    before, after = (table.mean(numeric_only=True) for table in (record.table, recomputed))
    spread = record.table.std(numeric_only=True).fillna(before.abs()).clip(lower=1e-9)     # NaN where there is one row
    return ((after - before).abs() / spread).to_dict()
