"""What every experiment is: parameters, cells, and a function from one cell to a small table."""

import hashlib
import time
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import wraps
from typing import NamedTuple

import pandas as pd
import torch
from pydantic import BaseModel, ConfigDict, ValidationError, model_validator
from torch import Tensor
from tqdm.auto import tqdm

from fragility import profiles
from fragility.store import Record, Store, canonical

PRECISIONS = {"float32": None, "bfloat16": torch.bfloat16}     # of gradients of which only the signs count, or a step


class Parameters(BaseModel):
    """Parameters of an experiment: plain, flat, complete, and checked before anything runs."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    @classmethod
    def of(cls, values: dict) -> "Parameters":
        """Parameters of plain values; ValueError with one line a mistake."""
        try:
            return cls(**values)
        except ValidationError as error:
            lines = [f"{'.'.join(map(str, e['loc'])) or 'parameters'}: {e['msg'].removeprefix('Value error, ')}"
                     for e in error.errors()]
            raise ValueError("Parameters are out of order. " + "; ".join(lines)) from None


class Several(Parameters):
    """Parameters of several grids: each of `others` holds changes of them, for a further grid beside the first."""

    others: list[dict] = []

    @model_validator(mode="after")
    def others_are_in_order(self):
        grids(self)
        return self


def grids(parameters: Several) -> list[Several]:
    """The parameters of each grid: the first one's, and these with the changes of each of `others`."""
    first = parameters.model_dump() | {"others": []}
    fields = type(parameters).model_fields
    return [parameters, *(type(parameters).of(first | {name: value for name, value in change.items() if name in fields})
                          for change in parameters.others)]


class Outcome(NamedTuple):
    """What a cell gives: a tidy table, and tensors worth keeping."""

    table: pd.DataFrame
    tensors: dict[str, Tensor] | None = None


def repeatable(function: Callable) -> Callable:
    """Let a function compute on a GPU as on a CPU: its convolutions would round their inputs to 10 bits there, and
    add in any order."""
    @wraps(function)
    def steady(*args, **kwargs):
        with torch.backends.cudnn.flags(enabled=True, deterministic=True, allow_tf32=False):
            return function(*args, **kwargs)
    return steady


@dataclass(frozen=True)
class Experiment:
    """A named, versioned grid.

    `run(cell, store)` computes a cell; `inputs(cell, store)` gives the fingerprints of the data and weights
    it reads. Raise `version` whenever a cell's values change. The canary is a cell of seconds whose
    values are committed beside the version, so that a change is noticed when the version is not raised.
    Its parameters at a profile are those of the same names in `notebook`; without one, their defaults.
    `publishes_tensors`: its companions are pictures that may be shown, and are published with the records.
    `reads` names experiments of the same parameters whose records its cells read, in their order; `trains` tells
    which cells train a network. A plan counts both.
    """

    name: str
    version: int
    parameters: type[Parameters]
    cells: Callable[[Parameters], list[dict]]
    inputs: Callable[[dict, Store], dict]
    run: Callable[[dict, Store], Outcome]
    sketch: Callable[[dict], tuple[dict, "Factor"]]
    canary: dict
    canary_values: dict = field(default_factory=dict)
    notebook: str | None = None
    publishes_tensors: bool = False
    reads: tuple[str, ...] = ()
    trains: Callable[[dict], bool] = lambda cell: False

    def pick(self, values: dict) -> Parameters:
        """The experiment's parameters out of a notebook's, which may hold others' too."""
        return self.parameters.of({name: values[name] for name in self.parameters.model_fields if name in values})

    def at(self, profile: str) -> Parameters:
        """The experiment's parameters at a profile."""
        return self.pick(profiles.parameters(self.notebook, profile)) if self.notebook else self.parameters.of({})

    def key(self, cell: dict, store: Store) -> str:
        return store.key(self.name, self.version, cell, self.inputs(cell, store))

    @repeatable
    def compute(self, cell: dict, store: Store) -> Outcome:
        """What the cell gives, whatever the store has of it."""
        return self.run(cell, store)

    def known(self, cell: dict, store: Store) -> Record | None:
        """The cell's record, where the store has one."""
        return store.get(self.name, self.key(cell, store))

    def record(self, cell: dict, store: Store) -> Record:
        """The cell's record, computed where the store has none."""
        inputs = self.inputs(cell, store)
        found = store.get(self.name, store.key(self.name, self.version, cell, inputs))
        if found:
            return found
        start = time.perf_counter()
        table, tensors = self.compute(cell, store)
        return store.put(self.name, self.version, cell, inputs, table, tensors, time.perf_counter() - start)


def run_cells(experiment: Experiment, cells: Iterable[dict], store: Store, *, progress: bool = True) -> list[Record]:
    """Records of the cells in order; what the store has is not computed again. A bar shows the missing ones."""
    cells = list(cells)
    records = [experiment.known(cell, store) for cell in cells]
    missing = [place for place, record in enumerate(records) if record is None]
    if missing:
        store.require_writable()
    clock = Clock(experiment.sketch(cells[place]) for place in missing)
    with tqdm(missing, desc=experiment.name, unit="cell", disable=not (progress and missing), bar_format=_BAR) as bar:
        for place in bar:
            start = time.perf_counter()
            records[place] = experiment.record(cells[place], store)
            clock.tick(time.perf_counter() - start)
            bar.set_postfix_str(f"about {bar.format_interval(clock.left())} left", refresh=False)
    return records


_BAR = "{desc}: {percentage:3.0f}%|{bar}| {n_fmt}/{total_fmt} [{elapsed}{postfix}]"


class Clock:
    """How long the rest of a grid takes: a cell as long as those before it of the same sketch, by their factors.

    Cells may differ a hundredfold, so a mean over all would mislead; it stands in for sketches not yet met.
    """

    def __init__(self, sketches: Iterable[tuple[dict, "Factor"]]):
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
    return frame(run_cells(experiment, experiment.cells(parameters), store or Store(), progress=progress))


def frame(records: Iterable[Record]) -> pd.DataFrame:
    """One tidy frame of records, their parameters as columns; empty without any.

    What was measured hides a parameter of its name: `precision` is LENS precision, where there is one.
    """
    parts = [record.table.assign(**{name: str(value) if isinstance(value, (list, dict)) else value
                                    for name, value in record.parameters.items() if name not in record.table})
             for record in records]
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame()


class Plan(NamedTuple):
    """What a grid costs: all cells, those the store lacks, and the missing ones' trainings, hours and gigabytes."""

    cells: int
    missing: int
    trainings: int
    hours: float
    gigabytes: float


def plan(experiment: Experiment, parameters: Parameters, store: Store) -> Plan:
    """Estimate a grid from a short measurement: `sketch` gives a tiny version of a cell and how many times
    dearer the cell is. Cells that differ only in what does not change their cost are measured once, in a second run:
    the first one reads the data and makes what cells share. Networks under attack are not trained for it, nor counted:
    the experiment of that name has them."""
    cells = experiment.cells(parameters)
    missing = [cell for cell in cells if experiment.known(cell, store) is None]
    seconds, size, measured = 0.0, 0, {}
    for cell in missing:
        tiny, factor = experiment.sketch(cell)
        kind = canonical(tiny)
        if kind not in measured:
            experiment.compute(tiny, store)
            start = time.perf_counter()
            tensors = experiment.compute(tiny, store).tensors or {}
            measured[kind] = time.perf_counter() - start, sum(t.numel() * t.element_size() for t in tensors.values())
        seconds += factor.time * measured[kind][0]
        size += factor.size * measured[kind][1]
    return Plan(len(cells), len(missing), sum(map(experiment.trains, missing)), seconds / 3600, size / 1e9)


class Factor(NamedTuple):
    """How many times a cell's sketch takes to make the cell, in time and in size."""

    time: float
    size: float = 1.0


def device() -> torch.device:
    """Where cells compute: the GPU where there is one."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def generator_for(cell: dict) -> torch.Generator:
    """Random numbers of a cell: decided by its parameters alone, so cells can run in any order."""
    digest = hashlib.sha256(canonical(cell).encode()).hexdigest()
    return torch.Generator().manual_seed(int(digest[:15], 16))
