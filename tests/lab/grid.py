"""A grid of tiny cells with tensors, run as a process of its own so that a test can kill it."""

import sys

import pandas as pd
import torch

from lab.core.experiment import Experiment, Factor, Outcome, generator_for
from lab.core.parameters import Parameters
from lab.core.running import collect
from lab.core.store import Store


class Numbers(Parameters):
    cells: int = 40


def run(cell: dict, store: Store) -> Outcome:
    draws = torch.randn(200_000, generator=generator_for(cell))
    return Outcome(pd.DataFrame({"row": range(3), "value": draws[:3].tolist()}), {"draws": draws})


GRID = Experiment("grid", 1, Numbers, lambda p: [{"cell": i} for i in range(p.cells)], lambda cell, store: {}, run,
                  lambda cell: (cell, Factor(1)), canary={"cell": 0})

if __name__ == "__main__":
    print("ready", flush=True)
    table = collect(GRID, Numbers(), Store(sys.argv[1]), progress=False)
    print(table.to_json(), flush=True)
