"""Cells that a GPU computes at once: tiny networks that differ by their seed, of which one leaves it idle."""

import logging
import time

from lab.core.device import device
from lab.core.experiment import Experiment
from lab.core.running import run_cells
from lab.core.store import Store, canonical

log = logging.getLogger(__name__)


def run(experiment: Experiment, cells: list[dict], store: Store) -> None:
    """Make the records that the store lacks, of cells that are alike at once on a GPU, of others one by one.

    A batch that fails, for memory or anything else, is computed one by one, too. On a processor nothing is batched:
    there stacked networks are no faster.
    """
    if experiment.together and device().type == "cuda":
        missing = [cell for cell in cells if experiment.stored(cell, store) is None]
        for group in groups(experiment, missing):
            try:
                _record(experiment, group, store)
            except Exception as error:
                log.warning("%d cells of %s could not be computed together (%s: %s); they are computed one by one.",
                            len(group), experiment.name, type(error).__name__, error)
    run_cells(experiment, cells, store, progress=False, keep_going=True)


def groups(experiment: Experiment, cells: list[dict]) -> list[list[dict]]:
    """The cells that are alike, in groups of two and more."""
    found: dict[str, list[dict]] = {}
    for cell in cells:
        if (alike := experiment.together.alike(cell)) is not None:
            found.setdefault(canonical(alike), []).append(cell)
    return [group for group in found.values() if len(group) > 1]


def _record(experiment: Experiment, cells: list[dict], store: Store) -> None:
    inputs = [experiment.fingerprints(cell, store) for cell in cells]
    start = time.perf_counter()
    outcomes = experiment.compute_together(cells, store)
    seconds = (time.perf_counter() - start) / len(cells)
    for cell, own, (table, tensors) in zip(cells, inputs, outcomes, strict=True):
        store.put(experiment.name, experiment.version, cell, own, table, tensors, seconds)
