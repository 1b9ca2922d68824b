"""Networks trained to withstand attacks: each is a record with its accuracies and, as companion, its weights."""

from typing import Annotated

import pandas as pd
import torch
from pydantic import Field, field_validator, model_validator
from torch import nn

from fragility import training
from fragility.passes import predict
from fragility.training import robust
from lab.core import folders
from lab.core.device import device
from lab.core.experiment import Experiment, Factor, Outcome, generator_for
from lab.core.parameters import PRECISIONS, Precision, SeveralGrids, grids, one_of
from lab.core.store import Store, weights_fingerprint
from lab.material import data, networks
from lab.trained import natural

#: Training -> the one it starts from. Robust objectives hardly train from random weights, so plain ones come first.
TRAININGS = {"natural": None, "pgd": "natural", "ig_norm": "pgd", "ig_sum_norm": "pgd"}
_COMMON_FIELDS = (*natural.NETWORK_FIELDS, "training", "ball", "test_images", "test_steps")
_FINE_TUNING_FIELDS = (*_COMMON_FIELDS, "robust_epochs", "fine_images", "fine_ball", "fine_weight", "fine_points",
                       "fine_precision")
#: Training -> what decides its network, and how that is tested.
_FIELDS = {"natural": _COMMON_FIELDS, "pgd": (*_COMMON_FIELDS, "robust_epochs"), "ig_norm": _FINE_TUNING_FIELDS,
           "ig_sum_norm": _FINE_TUNING_FIELDS}


class Robust(SeveralGrids):
    """Which networks, and how they are trained; the keys of the dictionaries are data sets.

    `balls` holds the largest change, the number of steps and their length for PGD in training. IG-NORM and
    IG-SUM-NORM then fine-tune the PGD network on `fine_images` images (on a smaller set, in the nearest whole number
    of passes over it), with `fine_steps` steps of the attack, and with `fine_points` path points in the loss and in the
    attack, all in `fine_precision`. `repeat_seeds` are the seeds of further trainings, on the data sets of `networks`
    but not on those of `others`.
    """

    networks: dict[data.DataSet, str] = Field(min_length=1)
    trainings: list[one_of("Training", TRAININGS)] = Field(min_length=1)
    epochs: dict[str, Annotated[int, Field(ge=0)]]
    robust_epochs: dict[str, Annotated[int, Field(ge=1)]]
    balls: dict[str, tuple[float, int, float]]
    fine_images: int = Field(ge=1)
    fine_steps: int = Field(ge=1)
    fine_points: tuple[int, int]
    fine_weight: float = Field(ge=0)
    fine_precision: Precision
    test_images: int = Field(ge=1)
    test_steps: int = Field(ge=1)
    repeat_seeds: list[int] = []
    seed: int = 0

    @field_validator("balls")
    @classmethod
    def valid_balls(cls, balls):
        return {name: robust.Ball(*ball).checked() for name, ball in balls.items()}

    @model_validator(mode="after")
    def same_data_sets(self):
        for name in ("epochs", "robust_epochs", "balls"):
            if self.networks.keys() != getattr(self, name).keys():
                raise ValueError(f"networks and {name} must name the same data sets.")
        return self

    @model_validator(mode="after")
    def a_data_set_in_one_grid(self):
        if any(not self.networks.keys().isdisjoint(change.get("networks", self.networks)) for change in self.others):
            raise ValueError("others must name data sets of their own in networks, and give all that goes by data set.")
        return self


def cells(parameters: Robust) -> list[dict]:
    repeats = [{**cell, "seed": seed} for seed in parameters.repeat_seeds if seed != parameters.seed
             for cell in settings(parameters)]
    first = [cell for grid in grids(parameters) for cell in settings(grid)]
    return [training_cell(cell) for cell in [*first, *repeats]]


def settings(parameters: Robust) -> list[dict]:
    """All settings of each training on each data set; :func:`training_cell` picks those that the training needs."""
    shared = parameters.model_dump(include={"fine_images", "fine_weight", "fine_precision", "test_images", "test_steps",
                                            "seed"})
    grid = []
    for data_set, network in parameters.networks.items():
        epsilon, steps, step_size = parameters.balls[data_set]
        setting = {**shared, "network": network, "data_set": data_set, "epochs": parameters.epochs[data_set],
                   "robust_epochs": parameters.robust_epochs[data_set], "ball": [epsilon, steps, step_size],
                   "fine_ball": [epsilon, parameters.fine_steps, epsilon / parameters.fine_steps],
                   "fine_points": list(parameters.fine_points)}
        grid += [{**setting, "training": name} for name in parameters.trainings]
    return grid


def training_cell(cell: dict) -> dict:
    """The settings in any experiment's cell that decide the training of its network."""
    return {name: cell[name] for name in (*_FIELDS[cell["training"]], "train_images") if name in cell}


def inputs(cell: dict, store: Store) -> dict:
    train, test = (natural.load_split(cell["data_set"], split)[1] for split in ("train", "test"))
    return {"train": train, "test": test,
            "start": weights_identity({**cell, "training": TRAININGS[cell["training"]] or "natural"}, store)}


def run(cell: dict, store: Store) -> Outcome:
    model, _ = _start(cell, store)
    train, test = (natural.load_split(cell["data_set"], split)[0] for split in ("train", "test"))
    generator = generator_for(cell)
    if cell["training"] == "pgd":
        rows = slice(cell.get("train_images"))     # only a sketch limits them
        training.train(model, train.images[rows], train.labels[rows], epochs=cell["robust_epochs"], generator=generator,
                       loss=robust.pgd(robust.Ball(*cell["ball"]), generator))
    elif cell["training"] != "natural":
        rows = torch.randperm(len(train.images), generator=generator)[:cell["fine_images"]]
        training.train(model, train.images[rows], train.labels[rows], epochs=round(cell["fine_images"] / len(rows)),
                       batch_size=50, generator=generator, learning_rate=5e-4, loss=_regularised(cell, generator))
    images, labels = test.images[:cell["test_images"]], test.labels[:cell["test_images"]]
    ball = robust.Ball(cell["ball"][0], cell["test_steps"], 2.5 * cell["ball"][0] / cell["test_steps"])
    withstood = robust.withstands(model, images, labels, ball, generator)
    correct = predict(model, training.as_float(images).to(device())) == labels.to(device())
    table = pd.DataFrame({"image": range(len(labels)), "correct": correct.double().tolist(),
                          "withstood": (withstood & correct).double().tolist()})
    return Outcome(table, dict(model.state_dict()))


def _regularised(cell: dict, generator: torch.Generator):
    points, attack_points = cell["fine_points"]
    ball, options = robust.Ball(*cell["fine_ball"]), {"points": points, "attack_points": attack_points,
                                                      "precision": PRECISIONS[cell["fine_precision"]]}
    if cell["training"] == "ig_norm":
        return robust.ig_norm(ball, generator, weight=cell["fine_weight"], **options)
    return robust.ig_sum_norm(ball, generator, beta=cell["fine_weight"], **options)


def _start(cell: dict, store: Store) -> tuple[nn.Module, str]:
    """The network that a training starts from, and the fingerprint of its weights."""
    before = TRAININGS[cell["training"]]
    return trained({**cell, "training": before or "natural"}, store)


def weights_identity(cell: dict, store: Store) -> str:
    """What decides the weights of the network of any experiment's cell, found without training it."""
    if cell["training"] == "natural":
        return natural.weights_identity(cell, store)
    if cell["network"] in networks.ARCHITECTURES:
        return EXPERIMENT.key(training_cell(cell), store)
    return trained(cell, store)[1]


def trained(cell: dict, store: Store) -> tuple[nn.Module, str]:
    """The network of any experiment's cell, trained where the store has no record of it, and its weights' fingerprint.

    torchvision's networks are not trained here: weights of robust ones are read from
    `<network>-<training>.safetensors` in FRAGILITY_DATA.
    """
    name, kind = cell["network"], cell["training"]
    if kind == "natural":
        return natural.trained(cell, store)
    if name in networks.ARCHITECTURES:
        model = networks.load(name, weights=EXPERIMENT.record(training_cell(cell), store).tensors())
    else:
        folder = next(iter(folders.data_roots()), folders.cache())
        model = networks.load(name, weights=folder / f"{name}-{kind}.safetensors")
    return model.to(device()), weights_fingerprint(model.state_dict())


def untrained(cell: dict) -> dict:
    """The cell with a network of initial weights: for sketches, since other computations then cost the same."""
    robust_fields = set(_FINE_TUNING_FIELDS) - set(_COMMON_FIELDS)
    return {**natural.untrained({name: value for name, value in cell.items() if name not in robust_fields}),
            "training": "natural"}


def sketch(cell: dict) -> tuple[dict, Factor]:
    """One pass over some of the images; the training that it starts from is the cost of another cell."""
    images, some = len(natural.load_split(cell["data_set"], "train")[0].labels), 512
    tiny = {**cell, "train_images": some, "test_images": min(100, cell["test_images"])}
    tiny |= {"epochs": 0}
    if cell["training"] == "natural":
        return tiny, Factor(cell["test_images"] / tiny["test_images"], 1)
    tiny |= {"robust_epochs": 1}
    if cell["training"] == "pgd":
        return tiny, Factor(cell["robust_epochs"] * images / some, 1)
    return tiny | {"fine_images": min(50, cell["fine_images"])}, Factor(max(1, cell["fine_images"] / 50), 1)


def _training_cells(cell: dict) -> list[dict]:
    """The cell of this experiment, if any, that makes the network of another one's; natural networks have their own."""
    return [training_cell(cell)] if cell["training"] != "natural" and cell["network"] in networks.ARCHITECTURES else []


EXPERIMENT = Experiment(
    "robust", 1, Robust, cells, inputs, run, sketch,
    canary={"network": "mnist-cnn", "data_set": "mnist-5k", "epochs": 1, "seed": 0, "training": "pgd",
            "ball": [0.1, 1, 0.1], "robust_epochs": 1, "test_images": 200, "test_steps": 2},
    canary_values={"correct": 0.785, "withstood": 0.545}, notebook="lens", serves=_training_cells,
    trains=lambda cell: True, reads=("networks",))
