"""What every experiment is: parameters, cells, and a function from one cell to a small table."""

import hashlib
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import NamedTuple

import pandas as pd
import torch
from torch import Tensor

from lab.core import profiles
from lab.core.device import repeatable
from lab.core.parameters import Parameters
from lab.core.store import Record, Store, canonical


class Outcome(NamedTuple):
    """What a cell gives: a tidy table, and tensors worth keeping."""

    table: pd.DataFrame
    tensors: dict[str, Tensor] | None = None


class Factor(NamedTuple):
    """How many times more a cell costs than its sketch, in seconds and in bytes of tensors."""

    time: float
    size: float = 1.0


_LARGER = ContextVar("how many times larger sketches are", default=1)


@contextmanager
def larger_sketches(times: int) -> Iterator[None]:
    """Let sketches be so many times larger, as far as their cells are: tiny ones leave a GPU idle."""
    before = _LARGER.set(times)
    try:
        yield
    finally:
        _LARGER.reset(before)


def shrink(cell: dict, **most: int) -> tuple[dict, dict[str, float]]:
    """The cell with the named numbers cut to at most these, and how many times larger the cell's own are."""
    tiny = {**cell, **{name: min(limit * _LARGER.get(), cell[name]) for name, limit in most.items()}}
    return tiny, {name: cell[name] / tiny[name] if tiny[name] else 1.0 for name in most}


def distinct(cells: Iterable[dict]) -> list[dict]:
    """The cells in order, each once: several grids of one experiment may share some."""
    return list({canonical(cell): cell for cell in cells}.values())


class Together(NamedTuple):
    """How a GPU computes several cells at once: `alike(cell)` is the same for those that it can, None for one that it
    has to compute alone; `run(cells, store)` computes cells that are alike.

    Its values are those of the cells one by one up to rounding, so it serves cells without a published record only.
    """

    alike: Callable[[dict], dict | None]
    run: Callable[[list[dict], Store], list[Outcome]]


@dataclass(frozen=True)
class Experiment:
    """A named, versioned grid of cells.

    `cells(parameters)` lists the grid; `run(cell, store)` computes a cell; `inputs(cell, store)` gives the fingerprints
    of the data and weights it reads; `sketch(cell)` gives a small version of it and how much more the cell costs, from
    which a plan is made. Raise `version` whenever a cell's values change. The canary is a cell that takes seconds;
    its values are committed beside the version, so that a change without a new version is noticed.
    Parameters at a profile are those of the same names in `notebook`; without a notebook, their defaults.
    `publishes_tensors`: the records' tensors are pictures that may be shown, and are published with them.
    `reads` names the other experiments whose records its cells make or read; the store refuses any other.
    `serves(cell)` gives the cells of this experiment that a cell of another one reads; without it these are the whole
    grid at the same profile. `trains(cell)` tells whether a cell trains a network. A plan counts all of these.
    `columns(cell)` gives columns of its rows in a frame that follow from its parameters. `together` tells how several
    of its cells are computed at once.
    """

    name: str
    version: int
    parameters: type[Parameters]
    cells: Callable[[Parameters], list[dict]]
    inputs: Callable[[dict, Store], dict]
    run: Callable[[dict, Store], Outcome]
    sketch: Callable[[dict], tuple[dict, Factor]]
    canary: dict
    canary_values: dict = field(default_factory=dict)
    notebook: str | None = None
    publishes_tensors: bool = False
    reads: tuple[str, ...] = ()
    serves: Callable[[dict], list[dict]] | None = None
    trains: Callable[[dict], bool] = lambda cell: False
    columns: Callable[[dict], dict] = lambda cell: {}
    together: Together | None = None

    def pick(self, values: dict) -> Parameters:
        """The experiment's parameters among those of a notebook, which may hold other experiments' too."""
        return self.parameters.of({name: values[name] for name in self.parameters.model_fields if name in values})

    def at(self, profile: str) -> Parameters:
        """The experiment's parameters at a profile."""
        return self.pick(profiles.parameters(self.notebook, profile)) if self.notebook else self.parameters.of({})

    def digest(self, cells: list[dict]) -> str:
        """Twelve hexadecimal digits of SHA-256 over the grid: name, version and cells in order."""
        return hashlib.sha256(canonical([self.name, self.version, cells]).encode()).hexdigest()[:12]

    def fingerprints(self, cell: dict, store: Store) -> dict:
        """Fingerprints of the data and weights that the cell reads; those that the store carries are taken from it,
        since of the data only a part may be here."""
        carried = store.carried.get(self.name, {})
        name = canonical(cell)
        return carried[name] if name in carried else self.inputs(cell, store)

    def key(self, cell: dict, store: Store) -> str:
        return store.key(self.name, self.version, cell, self.fingerprints(cell, store))

    @repeatable
    def compute(self, cell: dict, store: Store) -> Outcome:
        """Compute the cell, even if the store has its record."""
        return self.run(cell, store and store.limited(self.name, (self.name, *self.reads)))

    @repeatable
    def compute_together(self, cells: list[dict], store: Store) -> list[Outcome]:
        """Compute cells that are alike at once, even if the store has their records."""
        return self.together.run(cells, store.limited(self.name, (self.name, *self.reads)))

    def stored(self, cell: dict, store: Store) -> Record | None:
        """The cell's record, or None where the store has none."""
        return store.get(self.name, self.key(cell, store))

    def record(self, cell: dict, store: Store) -> Record:
        """The cell's record; computed and stored where there is none."""
        inputs = self.fingerprints(cell, store)
        found = store.get(self.name, store.key(self.name, self.version, cell, inputs))
        if found:
            return found
        start = time.perf_counter()
        table, tensors = self.compute(cell, store)
        return store.put(self.name, self.version, cell, inputs, table, tensors, time.perf_counter() - start)


def generator_for(cell: dict) -> torch.Generator:
    """A generator seeded by the cell's parameters alone, so that cells can run in any order."""
    digest = hashlib.sha256(canonical(cell).encode()).hexdigest()
    return torch.Generator().manual_seed(int(digest[:15], 16))
