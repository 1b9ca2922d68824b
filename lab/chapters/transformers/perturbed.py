"""How far noise and attacks move the maps of each kind of network, by overlap, rank correlation and LENS recall."""

import pandas as pd
from pydantic import Field
from torch import Tensor

from fragility import metrics
from lab.chapters.fragility import comparison
from lab.chapters.fragility.comparison import ATTACKS, CONTROL
from lab.chapters.transformers import kinds
from lab.core.experiment import Experiment, Outcome
from lab.core.parameters import Count, Epsilon, Precision, one_of
from lab.core.store import Store
from lab.trained import natural, subjects
from lab.trained.maps import path_settings, pixel_maps

#: Maps that every network of the chapter has, or that attention gives; none is zero everywhere.
METHODS = ("gradient", "gradient_x_input", "integrated_gradients", "attn_lrp", "attention_rollout")


class Perturbed(kinds.SideBySide):
    """Parameters of the comparison; epsilon as a share of the range [0, 1], `window` in pixels."""

    perturbed_methods: list[one_of("Method", METHODS)] = Field(min_length=1)
    attacks: list[one_of("Attack", ATTACKS)]
    epsilons: list[Epsilon] = Field(min_length=1)
    attacked_images: int = Field(ge=2)
    steps: Count
    k: int = Field(ge=1)
    window: int = Field(ge=0)
    path_steps: int = Field(ge=1)
    path_points: int = Field(ge=1)
    precision: Precision = "float32"


def cells(parameters: Perturbed) -> list[dict]:
    shared = {"images": parameters.attacked_images, **parameters.model_dump(include={"k", "window", "steps"})}
    grid = []
    for network in kinds.networks(parameters):
        for method in parameters.perturbed_methods:
            if not kinds.has(network, method):
                continue
            setting = {**network, **shared, "method": method, **path_settings(parameters, method)}
            grid.append({**setting, "attack": CONTROL, "epsilon": 0.0})
            grid += [{**setting, "attack": attack, "epsilon": epsilon}
                     for attack in parameters.attacks for epsilon in parameters.epsilons]
    return grid


def run(cell: dict, store: Store) -> Outcome:
    model, x, labels = subjects.subjects(cell, store)
    clean, shared = pixel_maps(model, x, labels, cell), {"accuracy": natural.accuracy(cell, store)}
    if cell["attack"] == CONTROL:
        return Outcome(scores(clean, None, cell).assign(found=None, **shared))
    adversarial, found, _ = comparison.attacked(model, x, cell)
    table = scores(clean, pixel_maps(model, adversarial, labels, cell), cell)
    return Outcome(table.assign(found=found.tolist(), **shared))


def scores(clean: Tensor, changed: Tensor | None, cell: dict) -> pd.DataFrame:
    """Agreement of the maps, one row an image; where `changed` is None, with the maps of other images."""
    def recall(a: Tensor, b: Tensor) -> Tensor:
        return metrics.lens_recall(a, b, cell["k"], cell["window"])
    near = metrics.other_image(recall, clean) if changed is None else recall(clean, changed)
    return comparison.scores(clean, changed, cell["k"]).assign(recall=near.tolist())


EXPERIMENT = Experiment(
    "modern-perturbed", 1, Perturbed, cells, subjects.inputs, run, comparison.sketch,
    canary={"network": "mnist-cnn", "data_set": "mnist-5k", "epochs": 1, "seed": 0, "images": 16, "k": 50, "window": 1,
            "steps": 16, "method": "attn_lrp", "attack": "topk", "epsilon": 0.1},
    canary_values={"topk": 0.699, "spearman": 0.642, "recall": 0.973}, notebook="transformers",
    reads=("networks",), columns=kinds.kind)
