"""How much a training differs from the next one of another seed: the top-k attack on networks trained anew."""

from fragility.experiments import lens
from fragility.experiments.base import Experiment

ATTACK = "topk"


def cells(parameters: lens.Lens) -> list[dict]:
    """The attack's largest size on every network of the first data sets, once a seed."""
    return [{**cell, "seed": seed} for seed in parameters.repeat_seeds for cell in lens.grid(parameters)
            if cell["attack"] == ATTACK and cell["epsilon"] == max(parameters.epsilons[cell["data_set"]])]


EXPERIMENT = Experiment(
    "repeats", 1, lens.Lens, cells, lens.inputs, lens.run, lens.sketch,
    canary={**lens.EXPERIMENT.canary, "attack": ATTACK, "seed": 1},
    canary_values={"topk": 0.558, "recall": 0.929}, notebook="lens", reads=("robust",))
