"""Networks trained on the spot: each a record with its accuracy and, as companion, its weights."""

from functools import lru_cache

import pandas as pd
import torch
from pydantic import Field
from torch import nn

from fragility import training
from lab.core.experiment import Experiment, Factor, Outcome, device, generator_for
from lab.core.parameters import Parameters
from lab.core.store import Store, fingerprint, weights_fingerprint
from lab.material import data, networks

PLAIN = ("network", "data_set", "epochs", "seed")       # what decides a network's training


class Networks(Parameters):
    """Which network on which data; `epochs` 0 leaves it at its random initialisation. `small` changes these for a
    second one."""

    network: str
    data_set: str
    epochs: int = Field(ge=0)
    small: dict = {}
    seed: int = 0


def cells(parameters: Networks) -> list[dict]:
    """The networks that are trained here; torchvision's come with their weights."""
    first = parameters.model_dump(exclude={"small"})
    second = first | {name: value for name, value in parameters.small.items() if name in first}
    return [cell for cell in ([first, second] if parameters.small else [first]) if cell["network"] in networks.OWN]


@lru_cache(maxsize=4)
def part(data_set: str, split: str) -> tuple[data.Dataset, str]:
    """A split of a data set and its fingerprint; the last few are kept, since every cell asks for them."""
    found = data.load(data_set, split)
    return found, fingerprint(found.images, found.labels)


def inputs(cell: dict, store: Store) -> dict:
    return {"data": part(cell["data_set"], "train")[1]}


def run(cell: dict, store: Store) -> Outcome:
    train, test = (part(cell["data_set"], split)[0] for split in ("train", "test"))
    rows = slice(cell.get("train_images"))      # a sketch names some, a cell none
    with torch.random.fork_rng():
        torch.manual_seed(cell["seed"])
        network = networks.load(cell["network"]).to(device())
    if cell["epochs"]:
        training.train(network, train.images[rows], train.labels[rows], epochs=cell["epochs"],
                       generator=generator_for(cell))
    table = pd.DataFrame([{"accuracy": training.accuracy(network, test.images, test.labels)}])
    return Outcome(table, dict(network.state_dict()))


def sketch(cell: dict) -> tuple[dict, Factor]:
    """One epoch on some of the images."""
    images, some = len(part(cell["data_set"], "train")[0].labels), 1024
    return {**cell, "epochs": min(1, cell["epochs"]), "train_images": some}, Factor(cell["epochs"] * images / some, 1)


def untrained(cell: dict) -> dict:
    """A cell whose network keeps its initial weights: a sketch that costs the same and needs no training."""
    return {**cell, "epochs": 0}


def _own(cell: dict) -> list[dict]:
    """The network that another experiment's cell names, where it is one of ours."""
    return [{name: cell[name] for name in PLAIN}] if cell["network"] in networks.OWN else []


EXPERIMENT = Experiment(
    "networks", 1, Networks, cells, inputs, run, sketch,
    canary={"network": "mnist-cnn", "data_set": "mnist-5k", "epochs": 1, "seed": 0},
    canary_values={"accuracy": 0.691}, notebook="fragility", serves=_own, trains=lambda cell: True)


def origin(cell: dict, store: Store) -> str:
    """What decides the weights of the network of any experiment's cell, found without training it: the key of our
    network's record, or the fingerprint of published weights."""
    for own in _own(cell):
        return EXPERIMENT.key(own, store)
    return trained(cell, store)[1]


def trained(cell: dict, store: Store) -> tuple[nn.Module, str]:
    """The trained network of any experiment's cell and the fingerprint of its weights.

    torchvision's networks come with their published ImageNet weights; ours are trained, once a store.
    """
    weights = [EXPERIMENT.record(own, store).tensors() for own in _own(cell)] or ["DEFAULT"]
    model = networks.load(cell["network"], weights=weights[0])
    return model.to(device()), weights_fingerprint(model.state_dict())
