"""Cut what is missing of grids into chunks of about equal time, each the work of one job of a cluster."""

from typing import NamedTuple

from lab.core import costs, results
from lab.core.experiment import Experiment
from lab.core.store import Store


class Chunk(NamedTuple):
    """Cells FIRST:LAST of an experiment's grid; `cells` of them are missing and take so many minutes and megabytes."""

    experiment: str
    first: int
    last: int
    grid: str               #: Digest of the grid that the cells are counted in.
    id: str                 #: Hash of the experiment's name, its version and the missing cells.
    cells: int
    minutes: float
    memory_mb: int
    gpu_mb: int             #: 0 where the cells were measured on a processor.


def chunks(experiment: Experiment, cells: list[dict], store: Store, minutes: float) -> list[Chunk]:
    """Chunks of the cells that are neither published nor in the store, none longer than so many minutes but those of a
    single cell. A chunk may span finished cells, which cost nothing."""
    places = costs.missing(experiment, cells, store, results.published_keys(experiment))
    groups, filled = [], 0.0
    for place, cost in zip(places, costs.costs(experiment, [cells[place] for place in places], store)):
        filled += cost.seconds / 60
        if not groups or filled > minutes:
            groups.append([])
            filled = cost.seconds / 60
        groups[-1].append((place, cost))
    digest = experiment.digest(cells)
    return [_chunk(experiment, cells, digest, group) for group in groups]


def _chunk(experiment: Experiment, cells: list[dict], digest: str, group: list[tuple[int, costs.Cost]]) -> Chunk:
    places, each = zip(*group)
    return Chunk(experiment.name, places[0], places[-1] + 1, digest,
                 experiment.digest([cells[place] for place in places]), len(places),
                 round(sum(cost.seconds for cost in each) / 60, 2), _hundreds(max(cost.memory_mb for cost in each)),
                 _hundreds(max(cost.gpu_mb for cost in each)))


def _hundreds(megabytes: float) -> int:
    return -(-int(megabytes) // 100) * 100


def make(names: list[str], profile: str, grids: list[tuple[Experiment, list[dict]]], store: Store,
         minutes: float = 30.0) -> dict:
    """What `workflow/Snakefile` reads: the chunks of all grids, which of these experiments each of them reads, and how
    many cells it has and lacks."""
    cut = {one.name: chunks(one, cells, store, minutes) for one, cells in grids}
    return {"names": names, "profile": profile,
            "experiments": {one.name: {"reads": [name for name in one.reads if cut.get(name)], "cells": len(cells),
                                       "missing": sum(chunk.cells for chunk in cut[one.name])}
                            for one, cells in grids},
            "chunks": [chunk._asdict() for part in cut.values() for chunk in part]}
