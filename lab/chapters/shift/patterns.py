"""Patterns of trained networks: fitted once, and kept as companions of records."""

import pandas as pd
import torch
from pydantic import Field
from torch import Tensor

from fragility import attribution, training
from fragility import shift as shifted
from lab.chapters.shift import shifts
from lab.core.device import device
from lab.core.experiment import Experiment, Factor, Outcome, shrink
from lab.core.parameters import Parameters
from lab.core.store import Store, fingerprint
from lab.material import data
from lab.trained import natural


class Patterns(Parameters):
    """Which patterns of which network; `shift` is the encoding they are fitted in."""

    network: str = "mnist-mlp"
    data_set: str = "mnist-5k"
    epochs: int = Field(8, ge=0)
    seed: int = 0
    pattern_images: int = Field(600, ge=2)
    estimators: list[str] = list(attribution.patterns.ESTIMATORS)
    shift: str = "none"


def cells(parameters: Patterns) -> list[dict]:
    shared = parameters.model_dump(exclude={"estimators"})
    return [{**shared, "estimator": estimator} for estimator in parameters.estimators]


def inputs(cell: dict, store: Store) -> dict:
    weights = natural.weights_identity(cell, store)
    return {"data": fingerprint(data.load(cell["data_set"], "train").images), "weights": weights}


def run(cell: dict, store: Store) -> Outcome:
    model, _ = natural.trained(cell, store)
    model, images = model.double(), data.load(cell["data_set"], "train").images
    order = torch.randperm(len(images), generator=torch.Generator().manual_seed(cell["seed"]))
    x = training.as_float(images[order[:cell["pattern_images"]]]).double().to(device())
    if cell["shift"] == shifts.REBUILT:
        model = shifts.rebuilt(model)
    elif cell["shift"] != "none":
        m = shifts.shift(cell["shift"], model, x)
        model, x = shifted.compensate(model, m), x + m
    fitted = attribution.fit_patterns(model, x, estimator=cell["estimator"])
    alive = [(part != 0).flatten(1).any(1).double().mean().item() for part in fitted]
    return Outcome(pd.DataFrame({"layer": range(len(fitted)), "alive": alive}),
                   {f"{place:03d}": part for place, part in enumerate(fitted)})


def fitted_patterns(cell: dict, estimator: str, shift: str, store: Store) -> list[Tensor]:
    """The patterns of another experiment's cell, fitted in the encoding of `shift`."""
    shared = {name: cell[name] for name in ("network", "data_set", "epochs", "seed", "pattern_images")}
    tensors = EXPERIMENT.record({**shared, "shift": shift, "estimator": estimator}, store).tensors()
    return [tensors[name].to(device()) for name in sorted(tensors)]


def sketch(cell: dict) -> tuple[dict, Factor]:
    tiny, times = shrink(cell, pattern_images=64)
    return tiny, Factor(times["pattern_images"], 1)


EXPERIMENT = Experiment(
    "patterns", 1, Patterns, cells, inputs, run, sketch,
    canary={"network": "mnist-cnn", "data_set": "mnist-5k", "epochs": 1, "seed": 0, "pattern_images": 64,
            "shift": "none", "estimator": "relu"},
    canary_values={"alive": 0.906}, reads=("networks",))
