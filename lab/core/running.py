"""Compute the cells that the store lacks, and collect their records as a frame."""

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
    """Cells that could not be computed, each with its error, when all others are."""


def run_cells(experiment: Experiment, cells: Iterable[dict], store: Store, *, progress: bool = True,
              keep_going: bool = False) -> list[Record]:
    """Records of the cells in order; what the store has is not computed again. A bar shows the missing ones.

    With `keep_going` a cell that fails is left for the end: the others are computed first, then Failed names it.
    """
    failures = []
    cells = list(cells)
    records = [experiment.known(cell, store) for cell in cells]
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
            clock.tick(time.perf_counter() - start)
            bar.set_postfix_str(f"about {bar.format_interval(clock.left())} left", refresh=False)
    if failures:
        raise Failed(f"{len(failures)} of {len(missing)} cells of {experiment.name} failed; the others are done.\n"
                     + "\n".join(failures))
    return records


BAR = "{desc}: {percentage:3.0f}%|{bar}| {n_fmt}/{total_fmt} [{elapsed}{postfix}]"


class Clock:
    """How long the rest of a grid takes: a cell as long as those before it of the same sketch, by their factors.

    Cells may differ a hundredfold, so a mean over all would mislead; it stands in for sketches not yet met.
    """

    def __init__(self, sketches: Iterable[tuple[dict, Factor]]):
        self.waiting = deque((canonical(tiny), factor.time) for tiny, factor in sketches)
        self.met: dict[str, tuple[float, float]] = {}       # sketch -> seconds so far, cost so far

    def tick(self, seconds: float) -> None:
        """The next cell took so many seconds."""
        kind, cost = self.waiting.popleft()
        before = self.met.get(kind, (0.0, 0.0))
        self.met[kind] = (before[0] + seconds, before[1] + cost)

    def left(self) -> float:
        """Seconds, once a cell is done."""
        spent, done = map(sum, zip(*self.met.values()))
        usual = spent / done if done else 0.0               # sketches may say that a cell costs nothing
        rates = {kind: seconds / cost for kind, (seconds, cost) in self.met.items() if cost}
        return sum(cost * rates.get(kind, usual) for kind, cost in self.waiting)


def collect(experiment: Experiment, parameters: dict | Parameters, store: Store | None = None, *,
            progress: bool = True) -> pd.DataFrame:
    """One tidy frame of all cells: each cell's table, with its parameters as columns.

    `parameters` may be a notebook's whole set; the experiment takes its own.
    """
    if not isinstance(parameters, Parameters):
        parameters = experiment.pick(parameters)
    return frame(run_cells(experiment, experiment.cells(parameters), store or Store(), progress=progress),
                 experiment.columns)
