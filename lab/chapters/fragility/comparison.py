"""How far small perturbations move a map: the comparison of attacks of [ghorbani2019, fig. 3]."""

from typing import Annotated

import pandas as pd
import torch
from pydantic import Field, model_validator
from torch import Tensor

from fragility import attacks, metrics
from fragility.passes import logits_of
from lab.core.device import device, repeatable
from lab.core.experiment import Experiment, Factor, Outcome, generator_for, shrink
from lab.core.parameters import PRECISIONS, Count, Epsilon, Parameters, Precision, one_of
from lab.core.store import Store
from lab.material.data import DataSet
from lab.trained import natural, subjects
from lab.trained.maps import (
    Reference,
    method_of,
    path_settings,
    pixel_maps,
    reference_column,
    references,
    step_size,
)

OBJECTIVES = {"topk": lambda k: attacks.TopK(k), "center": lambda k: attacks.MassCenter()}
ATTACKS = (*OBJECTIVES, "random_sign")
CONTROL = "other_image"          # not an attack: the map of another image is compared
METHODS = ("gradient", "integrated_gradients", "deeplift", "deep_taylor")
SHOWN = ["none", "mean"]        # the reference images of the rows that the chapter draws: none where a map has none
SMALL_SHOWN = ["none", "black"]         # of the small photographs, whose maps from the mean colour wait to be measured
Method, Attack = one_of("Method", METHODS), one_of("Attack", ATTACKS)


class Fragility(Parameters):
    """Parameters of the comparison; epsilon as a share of the range [0, 1]."""

    data_set: DataSet
    network: str
    epochs: int = Field(ge=0)
    images: dict[Method, Annotated[int, Field(ge=2)]]       # the keys are the methods that are compared
    steps: dict[Method, Count]
    attacks: list[Attack]
    epsilons: list[Epsilon]
    k: int = Field(ge=1)
    path_steps: int = Field(ge=1)
    path_points: int = Field(ge=1)
    precision: Precision = "float32"
    references: list[Reference] = Field(["mean"], min_length=1)     # the first is the chapter's own, the rest controls
    seed: int = 0

    @model_validator(mode="after")
    def same_methods(self):
        if self.images.keys() != self.steps.keys():
            raise ValueError("images and steps must name the same methods.")
        return self


def cells(parameters: Fragility) -> list[dict]:
    shared = {name: getattr(parameters, name) for name in ("data_set", "network", "epochs", "k", "seed")}
    grid = []
    for method, images in parameters.images.items():
        setting = {**shared, "method": method, "images": images, "steps": parameters.steps[method]}
        setting |= path_settings(parameters, method)
        for reference in references(method, parameters.references):
            grid.append({**setting, **reference, "attack": CONTROL, "epsilon": 0.0})
            grid += [{**setting, **reference, "attack": attack, "epsilon": epsilon}
                     for attack in parameters.attacks for epsilon in parameters.epsilons]
    return grid


def run(cell: dict, store: Store) -> Outcome:
    model, x, labels = subjects.subjects(cell, store)
    clean = pixel_maps(model, x, labels, cell)
    if cell["attack"] == CONTROL:
        missing = {"found": None, "step": None, "confidence": None, "confidence_change": None}
        return Outcome(scores(clean, None, cell["k"]).assign(**missing))
    adversarial, found, steps = attacked(model, x, cell)
    table = scores(clean, pixel_maps(model, adversarial, labels, cell), cell["k"])
    table["found"], table["step"] = found.tolist(), steps.tolist()
    before, after = confidence(model, x, labels), confidence(model, adversarial, labels)
    table["confidence"], table["confidence_change"] = before.tolist(), (after - before).tolist()
    return Outcome(table, {"delta": (adversarial - x).half()})


@repeatable
def shown(cell: dict, store: Store, rows: slice) -> tuple[Tensor, Tensor, Tensor]:
    """For a picture, of some of a cell's images: clean pixel maps, perturbed images, and the pixel maps of these."""
    model, x, labels = subjects.subjects(cell, store)
    delta = EXPERIMENT.record(cell, store).tensors()["delta"].float().to(device())
    adversarial = (x + delta).clamp(0, 1)[rows]
    before, after = (pixel_maps(model, images, labels[rows], cell) for images in (x[rows], adversarial))
    return before, adversarial, after


def curvature_of(cell: dict):
    """How the cell's attack finds its direction: for relevance methods without smoothing, as published; None: as is
    usual for the method."""
    if cell["method"] in ("deeplift", "deep_taylor"):
        return attacks.DoubleBackprop(smooth=False)
    if "path_points" not in cell:
        return None
    return attacks.FiniteDifference(cell["path_points"], precision=PRECISIONS[cell["precision"]])


def confidence(model, x: Tensor, labels: Tensor) -> Tensor:
    """Softmax probability (n,) of the given classes."""
    return logits_of(model, x).softmax(1).gather(1, labels[:, None]).squeeze(1)


def attacked(model, x: Tensor, cell: dict, objective=None) -> tuple[Tensor, Tensor, Tensor]:
    """Perturbed images, whether their label is kept, and the step that gave them.

    Without an `objective`, that of the cell's attack.
    """
    generator = generator_for(cell)
    if cell["attack"] == "random_sign":
        noisy = attacks.random_sign(x, epsilon=cell["epsilon"], generator=generator)
        kept = logits_of(model, noisy).argmax(1) == logits_of(model, x).argmax(1)
        return noisy, kept, torch.ones_like(kept, dtype=torch.int64)
    objective = objective or OBJECTIVES[cell["attack"]](cell["k"])
    result = attacks.attack(model, x, method=cell["method"], objective=objective, epsilon=cell["epsilon"],
                            steps=cell["steps"], step_size=step_size(cell), curvature=curvature_of(cell),
                            generator=generator, method_args=method_of(cell)[1])
    return result.x, result.found, result.steps


def scores(clean: Tensor, changed: Tensor | None, k: int) -> pd.DataFrame:
    """The three metrics of [ghorbani2019], one row an image; where `changed` is None, against maps of other images."""
    measures = {"topk": lambda a, b: metrics.topk_intersection(a, b, k), "spearman": metrics.spearman,
                "center": metrics.center_shift}
    values = {name: score(clean, changed) if changed is not None else metrics.other_image(score, clean)
              for name, score in measures.items()}
    columns = {name: value.tolist() for name, value in values.items()}
    # Zeros among the top pixels of either map are there only because ties go to the lowest index.
    ties = metrics.ties(clean, k)
    if changed is not None:
        ties = torch.maximum(ties, metrics.ties(changed, k))
    return pd.DataFrame({"image": range(len(clean)), "pixels": clean[0].numel(), **columns, "ties": ties.tolist()})


def complete(table: pd.DataFrame) -> pd.DataFrame:
    """The rows of the methods of which no attack at any size is missing."""
    if table.empty:
        return table
    counts = table.groupby("method").apply(lambda part: part.groupby(["attack", "epsilon"]).ngroups,
                                           include_groups=False)
    return table[table.method.isin(counts[counts == counts.max()].index)]


def sketch(cell: dict) -> tuple[dict, Factor]:
    """Two images and four steps; the cost does not depend on epsilon."""
    tiny, times = shrink({**natural.untrained(cell), "epsilon": 0.1 if cell["epsilon"] else 0.0}, images=2, steps=4)
    return tiny, Factor(times["images"] * (times["steps"] if cell["attack"] in OBJECTIVES else 1), times["images"])


EXPERIMENT = Experiment(
    "fragility", 1, Fragility, cells, subjects.inputs, run, sketch,
    canary={"data_set": "mnist-5k", "network": "mnist-cnn", "epochs": 1, "images": 64, "k": 50, "steps": 4,
            "seed": 0, "method": "gradient", "attack": "topk", "epsilon": 0.1},
    canary_values={"topk": 0.6931, "spearman": 0.6712, "center": 0.2151}, notebook="fragility", reads=("networks",),
    columns=reference_column)


class Small(Fragility):
    """Parameters of the comparison on small images: those of the main one, with the changes in `small`."""

    small: dict

    @model_validator(mode="after")
    def small_is_valid(self):
        if self.small:
            _small(self)
        return self


def _small(parameters: Small) -> Fragility:
    return Fragility.of({**parameters.model_dump(exclude={"small"}), **parameters.small})


def small_cells(parameters: Small) -> list[dict]:
    return cells(_small(parameters)) if parameters.small else []


SMALL = Experiment(
    "small", 1, Small, small_cells, subjects.inputs, run, sketch,
    canary={"data_set": "mnist-5k", "network": "mnist-cnn", "epochs": 1, "images": 16, "k": 50, "steps": 2, "seed": 0,
            "method": "deeplift", "attack": "center", "epsilon": 0.1},
    canary_values={"topk": 0.966, "spearman": 0.713, "center": 0.137}, notebook="fragility", reads=("networks",),
    columns=reference_column)
