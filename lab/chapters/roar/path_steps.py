"""How far a shorter path changes the ranking of SmoothGrad around integrated gradients."""

import pandas as pd
import torch
from pydantic import Field

from fragility import metrics, training
from lab.chapters.roar import rankings, trainings
from lab.core.device import device
from lab.core.experiment import Experiment, Factor, Outcome, shrink
from lab.core.store import Store


class PathSteps(rankings.Ranked):
    """Parameters of the comparison, for single test images; the estimators are always the three around IG."""

    compared_images: int = Field(ge=2)


def cells(parameters: PathSteps) -> list[dict]:
    shared = rankings.family_cell(parameters.model_dump(), "SG-IG") | {"filtered": []}
    return [{**shared, "long_steps": parameters.path_steps, "images": parameters.compared_images}]


def run(cell: dict, store: Store) -> Outcome:
    model = trainings.explained(cell, store)
    x = training.as_float(trainings.sets(cell).test[:cell["images"]]).to(device())
    short, long = (rankings.family_maps({**cell, "path_steps": steps}, model, x, torch.Generator().manual_seed(0))
                   for steps in (cell["path_steps"], cell["long_steps"]))
    tenth = max(1, x[0, 0].numel() // 10)
    return Outcome(pd.concat([pd.DataFrame({
        "image": range(len(x)), "estimator": name, "spearman": metrics.spearman(a, b).tolist(),
        "overlap": metrics.topk_intersection(a, b, tenth).tolist()})
        for name, a, b in ((name, short[name].sum(1), long[name].sum(1)) for name in short)]))


def sketch(cell: dict) -> tuple[dict, Factor]:
    tiny, times = shrink({**cell, "epochs": 1}, images=2)
    return tiny, Factor(times["images"])


EXPERIMENT = Experiment(
    "path-steps", 1, PathSteps, cells, rankings.inputs, run, sketch,
    canary={**{name: rankings.EXPERIMENT.canary[name] for name in rankings.SHARED}, "family": "SG-IG", "samples": 4,
            "filtered": [], "path_steps": 4, "long_steps": 12, "images": 4},
    canary_values={"spearman": 0.9968, "overlap": 0.9786}, notebook="roar", reads=("trainings",))
