"""Networks that are trained here: each is a record with its accuracy and, as companion, its weights."""

from functools import lru_cache

import pandas as pd
import torch
from pydantic import Field
from torch import nn

from fragility import training
from lab.core.device import device
from lab.core.experiment import Experiment, Factor, Outcome, generator_for
from lab.core.parameters import Parameters, one_of
from lab.core.store import Store, fingerprint, weights_fingerprint
from lab.material import data, networks

NETWORK_FIELDS = ("network", "data_set", "epochs", "seed")       # what decides a network's training
AUGMENTATIONS = {"none": None, "flip-shift": training.FlipShift()}


class Training(Parameters):
    """Which network is trained on which data and how; with `epochs` 0 it keeps its random weights."""

    network: str
    data_set: str
    epochs: int = Field(ge=0)
    learning_rate: float = Field(2e-3, gt=0)        # peak of the schedule
    batch_size: int = Field(128, ge=1)
    augmentation: one_of("Augmentation", AUGMENTATIONS) = "none"

    def cell(self) -> dict:
        """The fields of a cell that decide the training: those of how only where they are not the usual ones."""
        every = {name: getattr(self, name) for name in Training.model_fields}
        return {name: value for name, value in every.items()
                if name not in RECIPE_FIELDS or value != Training.model_fields[name].default}


RECIPE_FIELDS = ("learning_rate", "batch_size", "augmentation")     # a cell has them where they are not the usual ones


class Networks(Training):
    """A network, and in `small` changes for a second."""

    small: dict = {}
    seed: int = 0


def cells(parameters: Networks) -> list[dict]:
    """The networks that are trained here; torchvision's come with their weights, and have no cell."""
    first = {**parameters.cell(), "seed": parameters.seed}
    second = first | {name: value for name, value in parameters.small.items() if name in first}
    return [cell for cell in ([first, second] if parameters.small else [first])
            if cell["network"] in networks.ARCHITECTURES]


@lru_cache(maxsize=4)
def load_split(data_set: str, split: str) -> tuple[data.Dataset, str]:
    """A split of a data set and its fingerprint; the last few are kept in memory, since every cell needs them."""
    loaded = data.load(data_set, split)
    return loaded, fingerprint(loaded.images, loaded.labels)


def inputs(cell: dict, store: Store) -> dict:
    load_split(cell["data_set"], "test")        # read for the accuracy: a pack needs it, the key does not
    return {"data": load_split(cell["data_set"], "train")[1]}


def run(cell: dict, store: Store) -> Outcome:
    train, test = (load_split(cell["data_set"], split)[0] for split in ("train", "test"))
    rows = slice(cell.get("train_images"))      # only a sketch limits them
    with torch.random.fork_rng():
        torch.manual_seed(cell["seed"])
        network = networks.load(cell["network"]).to(device())
    if cell["epochs"]:
        recipe = {name: cell[name] for name in ("learning_rate", "batch_size") if name in cell}
        training.train(network, train.images[rows], train.labels[rows], epochs=cell["epochs"], **recipe,
                       augment=AUGMENTATIONS[cell.get("augmentation", "none")], generator=generator_for(cell))
    table = pd.DataFrame([{"accuracy": training.accuracy(network, test.images[:], test.labels)}])
    return Outcome(table, dict(network.state_dict()))


def sketch(cell: dict) -> tuple[dict, Factor]:
    """One epoch on some of the images."""
    images, some = len(load_split(cell["data_set"], "train")[0].labels), 1024
    return {**cell, "epochs": min(1, cell["epochs"]), "train_images": some}, Factor(cell["epochs"] * images / some, 1)


def untrained(cell: dict) -> dict:
    """The cell with a network of initial weights: for sketches, since other computations then cost the same."""
    return {**cell, "epochs": 0}


def _network_cells(cell: dict) -> list[dict]:
    """The cell of this experiment, if any, that trains the network of another one's cell."""
    if cell["network"] not in networks.ARCHITECTURES:
        return []
    return [{name: cell[name] for name in (*NETWORK_FIELDS, *RECIPE_FIELDS) if name in cell}]


EXPERIMENT = Experiment(
    "networks", 1, Networks, cells, inputs, run, sketch,
    canary={"network": "mnist-cnn", "data_set": "mnist-5k", "epochs": 1, "seed": 0},
    canary_values={"accuracy": 0.691}, notebook="fragility", serves=_network_cells, trains=lambda cell: True)


def weights_identity(cell: dict, store: Store) -> str:
    """What decides the weights of the network of any experiment's cell, found without training it.

    The key of the record of a network that is trained here, else the fingerprint of the published weights.
    """
    for network_cell in _network_cells(cell):
        return EXPERIMENT.key(network_cell, store)
    return trained(cell, store)[1]


def accuracy(cell: dict, store: Store) -> float | None:
    """Accuracy on the test images of the network of any experiment's cell; None where it is not trained here."""
    return next((EXPERIMENT.record(found, store).table.accuracy.item() for found in _network_cells(cell)), None)


def trained(cell: dict, store: Store) -> tuple[nn.Module, str]:
    """The trained network of any experiment's cell and the fingerprint of its weights.

    torchvision's networks come with their published ImageNet weights; others are trained where the store has no record.
    """
    weights = [EXPERIMENT.record(found, store).tensors() for found in _network_cells(cell)] or ["DEFAULT"]
    model = networks.load(cell["network"], weights=weights[0])
    return model.to(device()), weights_fingerprint(model.state_dict())
