"""What of the paper profiles is missing, what it costs, and in which order it is worth a card's time."""

import json
import sys
import time
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from fragility import checks
from lab import catalogue
from lab.core import costs, folders, profiles, results
from lab.core.experiment import Experiment
from lab.core.store import Store, canonical, write
from lab.core.surroundings import surroundings

DECLARED = folders.ROOT / "lab" / "gpu" / "worth.yaml"
PROFILE = "paper"
WAITING = "waiting.json"        # in `results/`
CHUNK = 5.0             # minutes of a chunk of cells: what a kill may cost, and how often is published


class Entry(NamedTuple):
    """What is worth a card's time, and how much."""

    name: str
    experiments: list[str]
    worth: float
    why: str
    where: dict                     #: Only cells with these values; a list allows several.

    def keeps(self, cell: dict) -> bool:
        return all(cell[name] in (value if isinstance(value, list) else [value])
                   for name, value in self.where.items() if name in cell)


class Cells(NamedTuple):
    """Missing cells of one experiment that one process computes after another."""

    entry: str
    experiment: str
    cells: list[dict]
    minutes: float
    memory: float                   #: Bytes of the device that a cell holds.


class Estimate(NamedTuple):
    """An entry with what is missing of it; where that cannot be said, why not."""

    entry: Entry
    cells: int
    chunks: list[Cells]
    gigabytes: float
    hindrance: str = ""

    @property
    def minutes(self) -> float:
        return sum(chunk.minutes for chunk in self.chunks)

    @property
    def missing(self) -> int:
        return sum(len(chunk.cells) for chunk in self.chunks)

    @property
    def worth_per_minute(self) -> float:
        return self.entry.worth / max(self.minutes, 0.01)


def entries() -> list[Entry]:
    """The declaration in `worth.yaml`; ValueError for an entry that is incomplete or names no experiment."""
    declared = profiles.read_yaml(DECLARED)
    for name, values in declared.items():
        if unknown := values.keys() ^ {"experiments", "worth", "why"} ^ (values.keys() & {"where"}):
            raise ValueError(f"The entry {name} of worth.yaml must have experiments, worth and why, and may have "
                             f"where; mind {', '.join(sorted(unknown))}.")
        for one in values["experiments"]:
            checks.choice("Experiment", one, catalogue.EXPERIMENTS)
        checks.real(f"worth of {name}", values["worth"], 0, exclusive=True)
    return [Entry(name, **{"where": {}, **values}) for name, values in declared.items()]


def estimate(entry: Entry, store: Store, profile: str = PROFILE) -> Estimate:
    """What is missing of an entry, in chunks in an order in which they can be computed, measured here."""
    grids = _grids(entry, profile)
    try:
        chunks, count, size = [], 0, 0.0
        for one, cells in catalogue.closure(grids, profile):
            cells = [cell for cell in cells if entry.keeps(cell)]
            wanted = [cells[place] for place in costs.missing(one, cells, store, results.published_keys(one))]
            each = costs.costs(one, wanted, store)
            chunks += cut(entry.name, one, wanted, each)
            count, size = count + len(cells), size + sum(cost.size for cost in each)
    except (ValueError, OSError) as error:      # data or weights that are not here
        return Estimate(entry, sum(map(len, grids.values())), [], 0.0, str(error))
    return Estimate(entry, count, chunks, size / 1e9)


def _grids(entry: Entry, profile: str) -> dict[str, list[dict]]:
    """The entry's own cells by experiment, without those that they read."""
    return {one.name: [cell for cell in one.cells(one.at(profile)) if entry.keeps(cell)]
            for one in map(catalogue.experiment, entry.experiments)}


def cut(entry: str, experiment: Experiment, cells: list[dict], each: list[costs.Cost]) -> list[Cells]:
    """Cells in chunks of at most a few minutes, but those of a single cell."""
    groups, filled = [], 0.0
    for cell, cost in zip(cells, each):
        filled += cost.seconds / 60
        if not groups or filled > CHUNK:
            groups.append([])
            filled = cost.seconds / 60
        groups[-1].append((cell, cost))
    return [Cells(entry, experiment.name, [cell for cell, _ in group], sum(cost.seconds for _, cost in group) / 60,
                  1e6 * max(cost.gpu_mb or cost.memory_mb for _, cost in group)) for group in groups]


def queue(store: Store, profile: str = PROFILE, *, minutes: float = float("inf"),
          say=lambda line: print(line, file=sys.stderr)) -> list[Estimate]:
    """All entries, the one with the most worth a minute first; a cell that several of them need is in the first one.

    Entries that are not measured when so many minutes are over come last.
    """
    found, end = [], time.monotonic() + 60 * minutes
    for entry in entries():
        in_time = time.monotonic() < end
        found.append(estimate(entry, store, profile) if in_time else
                     Estimate(entry, sum(map(len, _grids(entry, profile).values())), [], 0.0, "a measurement"))
        say(f"{entry.name}: {found[-1].hindrance or f'{found[-1].missing} cells, {found[-1].minutes:.2g} minutes'}")
    found.sort(key=lambda one: (bool(one.hindrance), -one.worth_per_minute))
    seen: set[tuple[str, str]] = set()
    return [one._replace(chunks=[left for chunk in one.chunks if (left := _unseen(chunk, seen)).cells])
            for one in found]


def _unseen(chunk: Cells, seen: set[tuple[str, str]]) -> Cells:
    """The chunk without the cells that an earlier one has; `seen` is added to."""
    names = [(chunk.experiment, canonical(cell)) for cell in chunk.cells]
    new = [cell for cell, name in zip(chunk.cells, names) if name not in seen]
    seen.update(names)
    return chunk._replace(cells=new, minutes=chunk.minutes * len(new) / len(chunk.cells))


def publish(found: list[Estimate]) -> Path:
    """Write what waits for a card, and where that was measured, to `results/`, for the book to show."""
    made = surroundings()
    rows = [{"what": one.entry.name, "worth": one.entry.worth, "cells": one.cells, "hindrance": one.hindrance,
             **({} if one.hindrance else {"missing": one.missing, "minutes": _two_digits(one.minutes),
                                          "gigabytes": _two_digits(one.gigabytes)})} for one in found]
    folders.RESULTS.mkdir(exist_ok=True)
    file = folders.RESULTS / WAITING
    write(file, (json.dumps({"device": made["device"], "commit": made["commit"], "entries": rows}, indent=1)
                 + "\n").encode())
    return file


def waiting() -> pd.DataFrame:
    """What waits for a card, as it was published: an entry a row, by worth a minute of the device in `attrs`; last
    what could not be estimated there."""
    held = json.loads((folders.RESULTS / WAITING).read_text())
    reasons = {entry.name: entry.why for entry in entries()}
    table = pd.DataFrame([{
        "what": row["what"], "why": reasons.get(row["what"], ""), "worth": row["worth"], "cells": row["cells"],
        **{name: f"{row[name]:g}" if name in row else "" for name in ("missing", "minutes", "gigabytes")},
        "waits for": row["hindrance"] or "a card"} for row in held["entries"]])
    table.attrs["device"] = held["device"]
    return table


def _two_digits(value: float) -> float:
    return float(f"{value:.2g}")
