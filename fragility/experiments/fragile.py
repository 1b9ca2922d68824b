"""How far small perturbations move a map: the comparison of attacks of [ghorbani2019, fig. 3]."""

from functools import lru_cache
from typing import Annotated

import pandas as pd
import torch
from pydantic import Field, field_validator, model_validator
from torch import Tensor, nn
from torchvision.transforms.functional import center_crop

from fragility import attacks, attribution, checks, data, metrics, models
from fragility.attribution.output import logits_of
from fragility.experiments import networks
from fragility.experiments.base import (
    PRECISIONS,
    Experiment,
    Factor,
    Outcome,
    Parameters,
    device,
    generator_for,
    repeatable,
)
from fragility.store import Store, fingerprint

OBJECTIVES = {"topk": lambda k: attacks.TopK(k), "center": lambda k: attacks.MassCenter()}
ATTACKS = (*OBJECTIVES, "random_sign")
PATHS = ("gradient", "integrated_gradients")
CONTROL = "other_image"          # not an attack: the map of another image, scored the same way
METHODS = ("gradient", "integrated_gradients", "deeplift", "deep_taylor")


class Fragility(Parameters):
    """Parameters of the comparison; epsilon as a share of the range [0, 1]."""

    data_set: str
    network: str
    epochs: int = Field(ge=0)
    images: dict[str, Annotated[int, Field(ge=2)]]       # by method; its keys are the methods
    steps: dict[str, Annotated[int, Field(ge=1)]]
    attacks: list[str]
    epsilons: list[float]
    k: int = Field(ge=1)
    path_steps: int = Field(ge=1)
    path_points: int = Field(ge=1)
    precision: str = "float32"
    seed: int = 0

    @field_validator("precision")
    @classmethod
    def known_precision(cls, name):
        return checks.choice("Precision", name, PRECISIONS)

    @field_validator("images", "steps")
    @classmethod
    def known_methods(cls, by_method):
        return {checks.choice("Method", name, METHODS): count for name, count in by_method.items()}

    @model_validator(mode="after")
    def same_methods(self):
        if self.images.keys() != self.steps.keys():
            raise ValueError("images and steps must name the same methods.")
        return self

    @field_validator("attacks")
    @classmethod
    def known_attacks(cls, names):
        return [checks.choice("Attack", name, ATTACKS) for name in names]

    @field_validator("epsilons")
    @classmethod
    def positive(cls, values):
        return [checks.number("epsilon", value, 0, 1, exclusive=True) for value in values]

    @field_validator("data_set")
    @classmethod
    def known_data(cls, name):
        return checks.choice("Data set", name, data.NAMES)


def cells(parameters: Fragility) -> list[dict]:
    shared = {name: getattr(parameters, name) for name in ("data_set", "network", "epochs", "k", "seed")}
    grid = []
    for method, images in parameters.images.items():
        one = {**shared, "method": method, "images": images, "steps": parameters.steps[method]}
        one |= path_settings(parameters, method)
        grid.append({**one, "attack": CONTROL, "epsilon": 0.0})
        grid += [{**one, "attack": attack, "epsilon": epsilon}
                 for attack in parameters.attacks for epsilon in parameters.epsilons]
    return grid


def path_settings(parameters: Parameters, method: str) -> dict:
    """What a cell of integrated gradients says besides: its path, and how its direction is found."""
    if method != "integrated_gradients":
        return {}
    return {name: getattr(parameters, name) for name in ("path_steps", "path_points", "precision")}


def inputs(cell: dict, store: Store) -> dict:
    weights = networks.origin(cell["network"], cell["data_set"], cell["epochs"], cell["seed"], store)
    return {"data": fingerprint(*_sample(cell["data_set"])[:2]), "weights": weights}


def run(cell: dict, store: Store) -> Outcome:
    model, x, labels = subjects(cell, store)
    method, arguments = method_of(cell)
    clean = attribution.pixel_map(method(model, x, labels, **arguments))
    if cell["attack"] == CONTROL:
        missing = {"found": None, "step": None, "confidence": None, "confidence_change": None}
        return Outcome(scores(clean, None, cell["k"]).assign(**missing))
    moved, found, steps = attacked(model, x, cell, arguments)
    table = scores(clean, attribution.pixel_map(method(model, moved, labels, **arguments)), cell["k"])
    table["found"], table["step"] = found.tolist(), steps.tolist()
    before, after = confidence(model, x, labels), confidence(model, moved, labels)
    table["confidence"], table["confidence_change"] = before.tolist(), (after - before).tolist()
    return Outcome(table, {"delta": (moved - x).half()})


def subjects(cell: dict, store: Store) -> tuple[nn.Module, Tensor, Tensor]:
    """Model, clean images in [0, 1] and labels of a cell: correctly classified, drawn by the cell's seed."""
    model, _ = networks.trained(cell["network"], cell["data_set"], cell["epochs"], cell["seed"], store)
    x = candidates(cell, store)
    if len(x) < cell["images"]:
        raise ValueError(f"Only {len(x)} images of {cell['data_set']} are classified correctly, fewer than the "
                         f"{cell['images']} that were asked for.")
    x = x[:cell["images"]]
    return model, x, logits_of(model, x).argmax(1)


def candidates(cell: dict, store: Store) -> Tensor:
    """All images (n, c, h, w) that the cell's network classifies correctly, in the order of the cell's seed."""
    model, weights = networks.trained(cell["network"], cell["data_set"], cell["epochs"], cell["seed"], store)
    return _chosen(cell["data_set"], cell["network"], cell["seed"], weights, model)


_CHOSEN: dict[tuple, Tensor] = {}


def _chosen(data_set: str, network: str, seed: int, weights: str, model: nn.Module) -> Tensor:
    """All correctly classified images in the order of the seed, in the network's size; the last choice is kept."""
    key = (data_set, network, seed, weights)
    if key not in _CHOSEN:
        images, labels, _, _ = _sample(data_set)
        order = torch.randperm(len(images), generator=torch.Generator().manual_seed(seed))
        side = models.IMAGE_SIDE.get(network, images.shape[-1])
        x = data.unit(center_crop(images[order], [side, side])).to(device())
        _CHOSEN.clear()
        _CHOSEN[key] = x[logits_of(model, x).argmax(1) == labels[order].to(device())]
    return _CHOSEN[key]


@repeatable
def shown(cell: dict, store: Store, rows: slice) -> tuple[Tensor, Tensor, Tensor]:
    """Clean pixel maps, perturbed images and their pixel maps of some of a cell's images, for a picture."""
    model, x, labels = subjects(cell, store)
    delta = EXPERIMENT.record(cell, store).tensors()["delta"].float().to(device())
    moved = (x + delta).clamp(0, 1)[rows]
    method, arguments = method_of(cell)
    before, after = (attribution.pixel_map(method(model, images, labels[rows], **arguments))
                     for images in (x[rows], moved))
    return before, moved, after


def method_of(cell: dict):
    """The cell's map function and its options; the baseline is zero, the black image."""
    arguments = {"steps": cell["path_steps"]} if cell["method"] == "integrated_gradients" else {}
    return attribution.METHODS[cell["method"]], arguments


def curvature_of(cell: dict):
    """How the cell's attack finds its direction; None leaves it to the method's default."""
    if "path_points" not in cell:
        return None
    return attacks.FiniteDifference(cell["path_points"], precision=PRECISIONS[cell["precision"]])


def confidence(model, x: Tensor, labels: Tensor) -> Tensor:
    """Softmax probability (n,) of the given classes."""
    return logits_of(model, x).softmax(1).gather(1, labels[:, None]).squeeze(1)


def attacked(model, x: Tensor, cell: dict, arguments: dict, objective=None) -> tuple[Tensor, Tensor, Tensor]:
    """Perturbed images, whether the label was kept, and the step that was taken.

    The objective is that of the cell's attack, where none is given.
    """
    generator = generator_for(cell)
    if cell["attack"] == "random_sign":
        moved = attacks.random_sign(x, epsilon=cell["epsilon"], generator=generator)
        kept = logits_of(model, moved).argmax(1) == logits_of(model, x).argmax(1)
        return moved, kept, torch.ones_like(kept, dtype=torch.int64)
    objective = objective or OBJECTIVES[cell["attack"]](cell["k"])
    result = attacks.attack(model, x, method=cell["method"], objective=objective, epsilon=cell["epsilon"],
                            steps=cell["steps"], curvature=curvature_of(cell), generator=generator,
                            method_args=arguments)
    return result.x, result.found, result.steps


def scores(clean: Tensor, changed: Tensor | None, k: int) -> pd.DataFrame:
    """The three metrics of [ghorbani2019], an image a row; against other images where `changed` is None."""
    measures = {"topk": lambda a, b: metrics.topk_intersection(a, b, k), "spearman": metrics.spearman,
                "center": metrics.center_shift}
    values = {name: score(clean, changed) if changed is not None else metrics.other_image(score, clean)
              for name, score in measures.items()}
    columns = {name: value.tolist() for name, value in values.items()}
    return pd.DataFrame({"image": range(len(clean)), "pixels": clean[0].numel(), **columns})


@lru_cache(maxsize=2)
def _sample(name: str) -> data.Dataset:
    return data.load(name, "all" if name in data.WITHOUT_SPLIT else "test")


def sketch(cell: dict) -> tuple[dict, Factor]:
    """Two images and four steps; epsilon does not matter to the cost."""
    images, steps = min(2, cell["images"]), min(4, cell["steps"])
    tiny = {**networks.untrained(cell), "images": images, "steps": steps, "epsilon": min(cell["epsilon"], 0.1)}
    moves = cell["attack"] in OBJECTIVES
    share = cell["images"] / images
    return tiny, Factor(share * (cell["steps"] / steps if moves else 1), share)


EXPERIMENT = Experiment(
    "fragility", 1, Fragility, cells, inputs, run, sketch,
    canary={"data_set": "mnist-5k", "network": "mnist-cnn", "epochs": 1, "images": 64, "k": 50, "steps": 4,
            "seed": 0, "method": "gradient", "attack": "topk", "epsilon": 0.1},
    canary_values={"topk": 0.6931, "spearman": 0.6712, "center": 0.2151}, notebook="fragility")


class Small(Fragility):
    """Parameters of the comparison on small images: those of the first, with the changes in `small`."""

    small: dict

    @model_validator(mode="after")
    def small_is_in_order(self):
        if self.small:
            _small(self)
        return self


def _small(parameters: Small) -> Fragility:
    return Fragility.of({**parameters.model_dump(exclude={"small"}), **parameters.small})


def small_cells(parameters: Small) -> list[dict]:
    return cells(_small(parameters)) if parameters.small else []


SMALL = Experiment(
    "small", 1, Small, small_cells, inputs, run, sketch,
    canary={"data_set": "mnist-5k", "network": "mnist-cnn", "epochs": 1, "images": 16, "k": 50, "steps": 2, "seed": 0,
            "method": "deeplift", "attack": "center", "epsilon": 0.1},
    canary_values={"topk": 0.966, "spearman": 0.713, "center": 0.137}, notebook="fragility")
