"""What is missing of a grid and what it costs, from a short measurement of tiny cells on this machine."""

import sys
import time
from typing import NamedTuple

import torch

try:
    import resource
except ImportError:         # Windows
    resource = None

from lab.core.device import device
from lab.core.experiment import Experiment, larger_sketches
from lab.core.store import Store, canonical

_LONG = 5.0                     # seconds of a sketch, beyond which it does not grow any more
_clock = time.perf_counter


class Cost(NamedTuple):
    """What a cell costs here: seconds, bytes of its companion, and the most megabytes of memory that its process and,
    where there is one, the GPU hold."""

    seconds: float
    size: float
    memory_mb: float
    gpu_mb: float


def missing(experiment: Experiment, cells: list[dict], store: Store, published: frozenset[str]) -> list[int]:
    """Places of the cells that are neither in the store nor, by their keys, published."""
    keys = [experiment.key(cell, store) for cell in cells]
    return [place for place, key in enumerate(keys)
            if key not in published and store.get(experiment.name, key) is None]


def costs(experiment: Experiment, cells: list[dict], store: Store) -> list[Cost]:
    """Estimate what each cell costs, by computing its sketch.

    Cells that share a sketch are measured once. Memory is the peak of this process, which has the data and the batches
    of a whole cell, and the whole cell's companion.
    """
    measured = {}
    for cell in cells:
        kind = canonical(experiment.sketch(cell)[0])
        if kind not in measured:
            measured[kind] = (_measure if device().type == "cpu" else _fill)(experiment, cell, store)
    found = []
    for cell in cells:
        tiny, factor = experiment.sketch(cell)
        seconds, size, memory, gpu = measured[canonical(tiny)]
        found.append(Cost(factor.time * seconds, factor.size * size, memory + factor.size * size / 1e6, gpu))
    return found


def _measure(experiment: Experiment, cell: dict, store: Store) -> Cost:
    """The cost of a cell's sketch, in its second run: the first one reads the data and makes what cells share."""
    tiny, _ = experiment.sketch(cell)
    experiment.compute(tiny, store)
    _wait()
    start = _clock()
    tensors = experiment.compute(tiny, store).tensors or {}
    _wait()
    return Cost(_clock() - start, sum(t.numel() * t.element_size() for t in tensors.values()), _peak_mb(),
                torch.cuda.max_memory_reserved() / 1e6)


def _fill(experiment: Experiment, cell: dict, store: Store) -> Cost:
    """The cost of a cell's sketch at the rate of one that fills the card.

    A tiny sketch leaves a card idle between its launches, and the whole cell looks many times too dear. So the sketch
    grows fourfold until the whole cell's estimate no longer falls by a tenth, the sketch no longer grows, or a run of
    it takes seconds.
    """
    smallest = experiment.sketch(cell)[1]
    best, last = None, None
    for times in (1, 4, 16, 64, 256):
        with larger_sketches(times):
            tiny, factor = experiment.sketch(cell)
            if canonical(tiny) == last:
                break
            cost, last = _measure(experiment, cell, store), canonical(tiny)
        rated = cost._replace(seconds=cost.seconds * factor.time / smallest.time if smallest.time else cost.seconds,
                              size=cost.size * factor.size / smallest.size if smallest.size else cost.size)
        slower = best is not None and rated.seconds > 0.9 * best.seconds
        best = rated if best is None or rated.seconds < best.seconds else best._replace(gpu_mb=rated.gpu_mb)
        if slower or cost.seconds > _LONG:
            break
    return best


def _wait() -> None:
    """A GPU is given work and does it later."""
    if device().type == "cuda":
        torch.cuda.synchronize()


def _peak_mb() -> float:
    """The most memory that this process ever held; 0 where the system does not say."""
    if resource is None:
        return 0.0
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1e6 if sys.platform == "darwin" else 1e3)


class Plan(NamedTuple):
    """How many cells a grid has, and what the missing ones cost: trainings, hours, gigabytes, memory of the largest,
    and whether they were measured on a GPU."""

    cells: int
    published: int
    missing: int
    trainings: int
    hours: float
    gigabytes: float
    memory_mb: int
    gpu: bool


def plan(experiment: Experiment, cells: list[dict], store: Store, published: frozenset[str] = frozenset()) -> Plan:
    """Estimate what the missing cells of a grid cost; `published` holds the keys of records that need not be made."""
    wanted = [cells[place] for place in missing(experiment, cells, store, published)]
    done = sum(experiment.key(cell, store) in published for cell in cells) if published else 0
    each = costs(experiment, wanted, store)
    return Plan(len(cells), done, len(wanted), sum(map(experiment.trains, wanted)), sum(c.seconds for c in each) / 3600,
                sum(c.size for c in each) / 1e9, round(max((c.memory_mb for c in each), default=0)),
                any(c.gpu_mb for c in each))
