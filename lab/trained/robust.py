"""Networks trained to withstand attacks: each a record with its accuracies and, as companion, its weights."""

from typing import Annotated

import pandas as pd
import torch
from pydantic import Field, field_validator, model_validator
from torch import nn

from fragility import training
from fragility.passes import predict
from fragility.training import robust
from lab.core import folders
from lab.core.experiment import Experiment, Factor, Outcome, device, generator_for
from lab.core.parameters import PRECISIONS, Precision, SeveralGrids, grids, one_of
from lab.core.store import Store, weights_fingerprint
from lab.material import data, networks
from lab.trained import natural

#: name -> what its training starts from. Robust objectives are hard to start: plain ones come first.
TRAININGS = {"natural": None, "pgd": "natural", "ig_norm": "pgd", "ig_sum_norm": "pgd"}
_EVERY = (*natural.PLAIN, "training", "ball", "test_images", "test_steps")
_NEEDED = {"natural": _EVERY, "pgd": (*_EVERY, "robust_epochs")}
_FINE = (*_EVERY, "robust_epochs", "fine_images", "fine_ball", "fine_weight", "fine_points", "fine_precision")


class Robust(SeveralGrids):
    """Which networks, and how they are trained; the dictionaries go by data set.

    `balls` holds the largest change, the steps and the length of a step of PGD in training. IG-NORM and
    IG-SUM-NORM then fine-tune the PGD network over `fine_images` images (of a smaller set, the nearest whole number
    of passes), with `fine_steps` steps of the attack, `fine_points` path points in the loss and in the attack, and
    all of it in `fine_precision`. `repeat_seeds` are those of further trainings on the first data sets.
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
    def sound_balls(cls, balls):
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
    again = [{**cell, "seed": seed} for seed in parameters.repeat_seeds if seed != parameters.seed
             for cell in settings(parameters)]
    return [training_cell(cell) for cell in [*(cell for one in grids(parameters) for cell in settings(one)), *again]]


def settings(parameters: Robust) -> list[dict]:
    """All settings of each training, a dictionary for each data set and training; :func:`training_cell` picks those
    that the training needs."""
    shared = parameters.model_dump(include={"fine_images", "fine_weight", "fine_precision", "test_images", "test_steps",
                                            "seed"})
    grid = []
    for data_set, network in parameters.networks.items():
        epsilon, steps, step_size = parameters.balls[data_set]
        one = {**shared, "network": network, "data_set": data_set, "epochs": parameters.epochs[data_set],
               "robust_epochs": parameters.robust_epochs[data_set], "ball": [epsilon, steps, step_size],
               "fine_ball": [epsilon, parameters.fine_steps, epsilon / parameters.fine_steps],
               "fine_points": list(parameters.fine_points)}
        grid += [{**one, "training": name} for name in parameters.trainings]
    return grid


def training_cell(cell: dict) -> dict:
    """The part of any experiment's cell that decides the training of its network."""
    return {name: cell[name] for name in (*_NEEDED.get(cell["training"], _FINE), "train_images") if name in cell}


def inputs(cell: dict, store: Store) -> dict:
    train, test = (natural.part(cell["data_set"], split)[1] for split in ("train", "test"))
    return {"train": train, "test": test,
            "start": origin({**cell, "training": TRAININGS[cell["training"]] or "natural"}, store)}


def run(cell: dict, store: Store) -> Outcome:
    model, _ = _start(cell, store)
    train, test = (natural.part(cell["data_set"], split)[0] for split in ("train", "test"))
    generator, some = generator_for(cell), slice(cell.get("train_images"))     # a sketch names some, a cell none
    if cell["training"] == "pgd":
        training.train(model, train.images[some], train.labels[some], epochs=cell["robust_epochs"], generator=generator,
                       loss=robust.pgd(robust.Ball(*cell["ball"]), generator))
    elif cell["training"] != "natural":
        rows = torch.randperm(len(train.images), generator=generator)[:cell["fine_images"]]
        training.train(model, train.images[rows], train.labels[rows], epochs=round(cell["fine_images"] / len(rows)),
                       batch_size=50, generator=generator, learning_rate=5e-4, loss=_regularised(cell, generator))
    images, labels = test.images[:cell["test_images"]], test.labels[:cell["test_images"]]
    ball = robust.Ball(cell["ball"][0], cell["test_steps"], 2.5 * cell["ball"][0] / cell["test_steps"])
    withstood = robust.withstands(model, images, labels, ball, generator)
    correct = predict(model, data.unit(images).to(device())) == labels.to(device())
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


def origin(cell: dict, store: Store) -> str:
    """What decides the weights of any experiment's cell, found without training."""
    if cell["training"] == "natural":
        return natural.origin(cell, store)
    if cell["network"] in networks.OWN:
        return EXPERIMENT.key(training_cell(cell), store)
    return trained(cell, store)[1]


def trained(cell: dict, store: Store) -> tuple[nn.Module, str]:
    """The network of any experiment's cell and the fingerprint of its weights, trained once a store.

    torchvision's networks are not trained here: a robust one is `<network>-<training>.safetensors` in FRAGILITY_DATA.
    """
    name, kind = cell["network"], cell["training"]
    if kind == "natural":
        return natural.trained(cell, store)
    if name in networks.OWN:
        model = networks.load(name, weights=EXPERIMENT.record(training_cell(cell), store).tensors())
    else:
        folder = next(iter(folders.data_roots()), folders.cache())
        model = networks.load(name, weights=folder / f"{name}-{kind}.safetensors")
    return model.to(device()), weights_fingerprint(model.state_dict())


def untrained(cell: dict) -> dict:
    """A cell of any experiment whose network keeps its initial weights: a sketch that costs the same."""
    without = set(_FINE) - set(_EVERY)      # what later trainings add
    return {**natural.untrained({name: value for name, value in cell.items() if name not in without}),
            "training": "natural"}


def sketch(cell: dict) -> tuple[dict, Factor]:
    """One pass over some of the images; what a training starts from is another cell's cost."""
    images, some = len(natural.part(cell["data_set"], "train")[0].labels), 512
    tiny = {**cell, "train_images": some, "test_images": min(100, cell["test_images"])}
    tiny |= {"epochs": 0}
    if cell["training"] == "natural":
        return tiny, Factor(cell["test_images"] / tiny["test_images"], 1)
    tiny |= {"robust_epochs": 1}
    if cell["training"] == "pgd":
        return tiny, Factor(cell["robust_epochs"] * images / some, 1)
    return tiny | {"fine_images": min(50, cell["fine_images"])}, Factor(max(1, cell["fine_images"] / 50), 1)


def _own(cell: dict) -> list[dict]:
    """The training here that another experiment's cell names; natural ones are the networks'."""
    return [training_cell(cell)] if cell["training"] != "natural" and cell["network"] in networks.OWN else []


EXPERIMENT = Experiment(
    "robust", 1, Robust, cells, inputs, run, sketch,
    canary={"network": "mnist-cnn", "data_set": "mnist-5k", "epochs": 1, "seed": 0, "training": "pgd",
            "ball": [0.1, 1, 0.1], "robust_epochs": 1, "test_images": 200, "test_steps": 2},
    canary_values={"correct": 0.785, "withstood": 0.545}, notebook="lens", serves=_own, trains=lambda cell: True,
    reads=("networks",))
