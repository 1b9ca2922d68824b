"""How much trainings of different seeds differ: the top-k attack on networks that are trained anew."""

from lab.chapters.lens import metric_comparison
from lab.core.experiment import Experiment

ATTACK = "topk"


def cells(parameters: metric_comparison.Lens) -> list[dict]:
    """The attack of the largest size on every network of the first grid, for each seed."""
    return [{**cell, "seed": seed} for seed in parameters.repeat_seeds
            for cell in metric_comparison.grid(parameters)
            if cell["attack"] == ATTACK and cell["epsilon"] == max(parameters.epsilons[cell["data_set"]])]


EXPERIMENT = Experiment(
    "repeats", 1, metric_comparison.Lens, cells, metric_comparison.inputs, metric_comparison.run,
    metric_comparison.sketch,
    canary={**metric_comparison.EXPERIMENT.canary, "attack": ATTACK, "seed": 1},
    canary_values={"topk": 0.558, "recall": 0.929}, notebook="lens", reads=("networks", "robust", "lens"))
