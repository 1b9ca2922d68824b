"""Compute the cells that the store lacks, and collect their records in a frame."""

import time
from collections import deque
from collections.abc import Iterable

import pandas as pd
from tqdm.auto import tqdm

from lab.core.experiment import Experiment, Factor
from lab.core.frames import frame
from lab.core.parameters import Parameters
from lab.core.store import Record, Store, canonical


class Failed(ValueError):
    """Some cells could not be computed, all others are; the message gives the error of each."""


def run_cells(experiment: Experiment, cells: Iterable[dict], store: Store, *, progress: bool = True,
              keep_going: bool = False) -> list[Record]:
    """Records of the cells in order, computed where the store has none; a progress bar counts the missing ones.

    A cell that fails stops the run; with `keep_going` the others are computed first, and then Failed is raised.
    """
    failures = []
    cells = list(cells)
    records = [experiment.stored(cell, store) for cell in cells]
    missing = [place for place, record in enumerate(records) if record is None]
    if missing:
        store.require_writable()
    clock = Clock(experiment.sketch(cells[place]) for place in missing)
    with tqdm(missing, desc=experiment.name, unit="cell", disable=not (progress and missing), bar_format=BAR) as bar:
        for place in bar:
            start = time.perf_counter()
            try:
                records[place] = experiment.record(cells[place], store)
            except Exception as error:
                if not keep_going:
                    raise
                failures.append(f"{canonical(cells[place])}: {type(error).__name__}: {error}")
            clock.finished(time.perf_counter() - start)
            bar.set_postfix_str(f"about {bar.format_interval(clock.remaining())} left", refresh=False)
    if failures:
        raise Failed(f"{len(failures)} of {len(missing)} cells of {experiment.name} failed; the others are done.\n"
                     + "\n".join(failures))
    return records


BAR = "{desc}: {percentage:3.0f}%|{bar}| {n_fmt}/{total_fmt} [{elapsed}{postfix}]"


class Clock:
    """Estimates how long the rest of a grid takes, from the cells that are finished.

    Cells of one sketch take a time in proportion to their factors, but others may differ a hundredfold. So the seconds
    for each unit of cost are averaged sketch by sketch; a sketch of which no cell is finished gets the mean over all.
    """

    def __init__(self, sketches: Iterable[tuple[dict, Factor]]):
        self.sketches = deque((canonical(tiny), factor.time) for tiny, factor in sketches)
        self.spent: dict[str, tuple[float, float]] = {}      # sketch -> seconds and cost of its finished cells

    def finished(self, seconds: float) -> None:
        """Note that the next cell took so many seconds."""
        sketch, cost = self.sketches.popleft()
        seconds_before, cost_before = self.spent.get(sketch, (0.0, 0.0))
        self.spent[sketch] = (seconds_before + seconds, cost_before + cost)

    def remaining(self) -> float:
        """Estimated seconds; at least one cell must be finished."""
        seconds, cost = map(sum, zip(*self.spent.values()))
        mean_rate = seconds / cost if cost else 0.0         # a sketch may say that its cells cost nothing
        rates = {sketch: seconds / cost for sketch, (seconds, cost) in self.spent.items() if cost}
        return sum(cost * rates.get(sketch, mean_rate) for sketch, cost in self.sketches)


def collect(experiment: Experiment, parameters: dict | Parameters, store: Store | None = None, *,
            progress: bool = True) -> pd.DataFrame:
    """One tidy frame of all cells, computed where records are missing: their tables, with parameters as columns.

    `parameters` may be all of a notebook's; the experiment picks its own.
    """
    if not isinstance(parameters, Parameters):
        parameters = experiment.pick(parameters)
    return frame(run_cells(experiment, experiment.cells(parameters), store or Store(), progress=progress),
                 experiment.columns)
