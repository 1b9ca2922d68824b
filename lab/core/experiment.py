"""What every experiment is: parameters, cells, and a function from one cell to a small table."""

import hashlib
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import wraps
from typing import NamedTuple

import pandas as pd
import torch
from torch import Tensor

from lab.core import profiles
from lab.core.parameters import Parameters
from lab.core.store import Record, Store, canonical


class Outcome(NamedTuple):
    """What a cell gives: a tidy table, and tensors worth keeping."""

    table: pd.DataFrame
    tensors: dict[str, Tensor] | None = None


class Factor(NamedTuple):
    """How many times a cell's sketch takes to make the cell, in time and in size."""

    time: float
    size: float = 1.0


def shrink(cell: dict, **most: int) -> tuple[dict, dict[str, float]]:
    """A sketch of the cell, each of the named numbers at most so large, and how many times larger the cell's are."""
    tiny = {**cell, **{name: min(limit, cell[name]) for name, limit in most.items()}}
    return tiny, {name: cell[name] / tiny[name] if tiny[name] else 1.0 for name in most}


def distinct(cells: Iterable[dict]) -> list[dict]:
    """The cells in order, each once: several grids of one experiment may share some."""
    return list({canonical(cell): cell for cell in cells}.values())


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
    `reads` names the other experiments whose records its cells make or read; the store refuses any other.
    `serves(cell)` gives the cells that another experiment's cell reads of this one; without it these are its grid at
    the same profile. `trains` tells which cells train a network. A plan counts all of them.
    `columns(cell)` gives columns of its rows in a frame that follow from its parameters.
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

    def pick(self, values: dict) -> Parameters:
        """The experiment's parameters out of a notebook's, which may hold others' too."""
        return self.parameters.of({name: values[name] for name in self.parameters.model_fields if name in values})

    def at(self, profile: str) -> Parameters:
        """The experiment's parameters at a profile."""
        return self.pick(profiles.parameters(self.notebook, profile)) if self.notebook else self.parameters.of({})

    def digest(self, cells: list[dict]) -> str:
        """Twelve digits that tell this grid from any other: its name, its version, its cells in order."""
        return hashlib.sha256(canonical([self.name, self.version, cells]).encode()).hexdigest()[:12]

    def key(self, cell: dict, store: Store) -> str:
        return store.key(self.name, self.version, cell, self.inputs(cell, store))

    @repeatable
    def compute(self, cell: dict, store: Store) -> Outcome:
        """What the cell gives, whatever the store has of it."""
        return self.run(cell, store and store.limited(self.name, (self.name, *self.reads)))

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


def device() -> torch.device:
    """Where cells compute: the GPU where there is one."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def generator_for(cell: dict) -> torch.Generator:
    """Random numbers of a cell: decided by its parameters alone, so cells can run in any order."""
    digest = hashlib.sha256(canonical(cell).encode()).hexdigest()
    return torch.Generator().manual_seed(int(digest[:15], 16))
