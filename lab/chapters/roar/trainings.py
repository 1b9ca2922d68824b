"""Trainings for removal benchmarks: one recipe, and the same random draws for the same seed, whatever the images."""

from functools import lru_cache
from typing import NamedTuple

import pandas as pd
import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from fragility import training
from lab.core.device import device
from lab.core.experiment import Experiment, Factor, Outcome, Together, distinct
from lab.core.parameters import SeveralGrids, grids, one_of
from lab.core.store import Store, fingerprint
from lab.material import data, networks

PIPELINES = ("direct", "resized")
TINY = ("mnist-cnn", "mnist-resnet", "cifar-resnet")      # a GPU waits for their launches rather than for their sums
GROWTH = 256 / 224      # factor by which the code of [hooker2019] enlarges the cropped image before it crops again
AUGMENTATIONS = {"none": None, "flip-shift": training.FlipShift(), "shift": training.FlipShift(flip=False, shift=2),
                 "crop": training.RandomCrop()}


class Recipe(SeveralGrids):
    """Data, network and how it is trained: common to all trainings of a benchmark."""

    data_set: data.SplitDataSet
    network: str
    train_images: int = Field(ge=2)
    test_images: int = Field(ge=2)
    epochs: int = Field(ge=1)
    batch_size: int = Field(ge=1)
    learning_rate: float = Field(gt=0)
    recipe: one_of("Recipe", training.RECIPES)
    augmentation: one_of("Augmentation", AUGMENTATIONS)


RECIPE = tuple(name for name in Recipe.model_fields if name != "others")


class Trainings(Recipe):
    """Parameters of the trainings on untouched images, the 0 % control."""

    seeds: list[int] = Field(min_length=1)


class Sets(NamedTuple):
    """Training and test images, uint8 (n, c, h, w), with their labels."""

    train: Tensor
    train_labels: Tensor
    test: Tensor
    test_labels: Tensor

    @property
    def mean(self) -> Tensor:
        """Mean training image value of each channel, (c,), in [0, 1]."""
        return self.train.double().mean((0, 2, 3)).float() / 255


def cells(parameters: Trainings) -> list[dict]:
    return distinct({**one.model_dump(include=set(RECIPE)), "pipeline": pipeline, "seed": seed}
                    for one in grids(parameters) for pipeline in PIPELINES for seed in one.seeds)


def inputs(cell: dict, store: Store) -> dict:
    return {"data": fingerprints(cell["data_set"], cell["train_images"], cell["test_images"])}


def run(cell: dict, store: Store) -> Outcome:
    train, test = _images(cell)
    return _outcome(train_network(cell, train), test, cell)


def run_together(cells: list[dict], store: Store) -> list[Outcome]:
    """Cells that differ by their seed only."""
    train, test = _images(cells[0])
    return [_outcome(model, test, cells[0]) for model in train_networks(cells, train)]


def _images(cell: dict) -> tuple[Tensor, Tensor]:
    splits = sets(cell)
    resizes = cell["pipeline"] == "resized"
    return (resized(splits.train), resized(splits.test)) if resizes else (splits.train, splits.test)


def _outcome(model: nn.Module, test: Tensor, cell: dict) -> Outcome:
    accuracy = 100 * training.accuracy(model, test, sets(cell).test_labels)
    return Outcome(pd.DataFrame([{"accuracy": accuracy}]), dict(model.state_dict()))


def but_for_the_seed(cell: dict) -> dict | None:
    """What trainings share that are computed together, where the network is tiny."""
    return {name: value for name, value in cell.items() if name != "seed"} if cell["network"] in TINY else None


def sets(cell: dict) -> Sets:
    """The images of a cell: the first of each split in a fixed random order."""
    return _sets(cell["data_set"], cell["train_images"], cell["test_images"])


@lru_cache(maxsize=2)
def _sets(name: str, train_images: int, test_images: int) -> Sets:
    parts = []
    for split, count in (("train", train_images), ("test", test_images)):
        found = data.load(name, split)
        if count > len(found.images):
            raise ValueError(f"The data set {name} has {len(found.images):,} images to {split}, fewer than the "
                             f"{count:,} that were asked for.")
        rows = torch.randperm(len(found.images), generator=torch.Generator().manual_seed(0))[:count]
        parts += [found.images[rows], found.labels[rows]]
    return Sets(*parts)


@lru_cache(maxsize=1)
def fingerprints(name: str, train_images: int, test_images: int) -> str:
    splits = _sets(name, train_images, test_images)
    return fingerprint(splits.train, splits.train_labels, splits.test, splits.test_labels)


def train_network(cell: dict, images: Tensor, augment: training.Augment | None = None) -> nn.Module:
    """The cell's network, trained from scratch on images of the training set's shape, uint8 or float in [0, 1].

    Initial weights and the order of batches are those of the cell's seed, so that two trainings of one seed
    differ by their images only. `augment` comes after the cell's own augmentation.
    """
    model = _initial(cell)
    augmentation = AUGMENTATIONS[cell["augmentation"]]
    composed = augmentation and augment and (lambda x, generator: augment(augmentation(x, generator), generator))
    return training.train(model, images, sets(cell).train_labels, **_options(cell),
                          augment=composed or augment or augmentation,
                          generator=torch.Generator().manual_seed(cell["seed"]))


def train_networks(cells: list[dict], images: Tensor) -> list[nn.Module]:
    """The networks of cells that differ by their seed only, trained on the same images in one go."""
    generators = [torch.Generator().manual_seed(cell["seed"]) for cell in cells]
    return training.train_together([_initial(cell) for cell in cells], images, sets(cells[0]).train_labels,
                                   **_options(cells[0]), augment=AUGMENTATIONS[cells[0]["augmentation"]],
                                   generators=generators)


def _initial(cell: dict) -> nn.Module:
    """The network with the initial weights of the cell's seed."""
    with torch.random.fork_rng():
        torch.manual_seed(cell["seed"])
        return networks.load(cell["network"]).to(device())


def _options(cell: dict) -> dict:
    return {name: cell[name] for name in ("epochs", "batch_size", "learning_rate", "recipe")}


def resized(images: Tensor) -> Tensor:
    """Images enlarged by 256/224 and cropped at the centre, which the code of [hooker2019] does a second time."""
    side = images.shape[-1]
    large = round(side * GROWTH)
    start = (large - side) // 2
    parts = [F.interpolate(training.as_float(part), (large, large), mode="bicubic", antialias=True)
             for part in images.split(1024)]
    return torch.cat(parts)[..., start:start + side, start:start + side].clamp(0, 1)


def explained(cell: dict, store: Store) -> nn.Module:
    """The network whose maps are benchmarked: the 0 % control of seed `explained`."""
    control = {**{name: cell[name] for name in RECIPE}, "pipeline": "direct", "seed": cell["explained"]}
    model = networks.load(cell["network"])
    model.load_state_dict(EXPERIMENT.record(control, store).tensors())
    return model.to(device())


def sketch(cell: dict) -> tuple[dict, Factor]:
    """One epoch on some of the images; the companion, the weights, has its full size."""
    images = min(4096, cell["train_images"])
    tiny = {**cell, "train_images": images, "batch_size": min(cell["batch_size"], images), "epochs": 1, "seed": 0}
    return tiny, Factor(cell["epochs"] * cell["train_images"] / images)


EXPERIMENT = Experiment(
    "trainings", 1, Trainings, cells, inputs, run, sketch,
    canary={"data_set": "mnist-5k", "network": "mnist-cnn", "train_images": 1000, "test_images": 500, "epochs": 2,
            "batch_size": 32, "learning_rate": 5e-3, "recipe": "one-cycle", "augmentation": "none",
            "pipeline": "direct", "seed": 0},
    canary_values={"accuracy": 89.8}, notebook="roar", trains=lambda cell: True,
    together=Together(but_for_the_seed, run_together))
