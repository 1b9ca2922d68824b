"""How far small perturbations of a test image change which training images matter [ghorbani2019, figure 4]."""

from functools import lru_cache
from typing import NamedTuple

import pandas as pd
import torch
from pydantic import Field
from torch import Tensor, nn

from fragility import attacks, checks, influence, metrics, training
from fragility.passes import batches
from lab.chapters.influence import published_code
from lab.core.device import device
from lab.core.experiment import Experiment, Factor, Outcome, generator_for, shrink
from lab.core.parameters import Epsilon, Parameters
from lab.core.store import Store, canonical, fingerprint
from lab.material import data, networks
from lab.material.data import DataSet
from lab.trained import natural

ATTACKS = ("gradient_sign", "random_sign")
SURVIVORS = 5        # most influential training images whose survival is counted
ATTACKED = 3         # those that the attack pushes down


class Influences(Parameters):
    """Parameters of the comparison: a linear head for two classes, on the frozen features of a network."""

    data_set: DataSet
    network: str
    epochs: int = Field(ge=0)
    classes: list[str] = Field(min_length=2, max_length=2)
    train_images: int = Field(ge=10)
    test_images: int = Field(ge=2)
    l2: float = Field(gt=0)
    epsilons: list[Epsilon]
    more_networks: list[str] = []
    seed: int = 0


def cells(parameters: Influences) -> list[dict]:
    shared = parameters.model_dump(exclude={"epsilons", "more_networks"})
    return [{**shared, "network": network, "attack": attack, "epsilon": epsilon}
            for network in (parameters.network, *parameters.more_networks)
            for attack in ATTACKS for epsilon in parameters.epsilons]


def of_first_network(parameters: Influences) -> list[dict]:
    """The cells of the network that is asked for first; networks that it is compared with may need more packages."""
    return cells(parameters.model_copy(update={"more_networks": []}))


def inputs(cell: dict, store: Store) -> dict:
    weights = natural.weights_identity(cell, store)
    return {"data": fingerprint(*_images(cell["data_set"])[:2]), "weights": weights}


class Setting(NamedTuple):
    """What a cell's influences are computed from."""

    extract: nn.Module      #: Images to frozen features (n, d).
    head: influence.Head
    published: influence.Head       #: As the published code fits it.
    train: tuple[Tensor, Tensor]     #: Features and labels of the training images.
    images: Tensor          #: The training images, in [0, 1].
    x: Tensor               #: The test images, in [0, 1].
    labels: Tensor          #: Their true labels, 0 or 1.


def setting(cell: dict, store: Store) -> Setting:
    """Features, head, training and test images of a cell; kept for the next cell, since all attacks share them."""
    shared = {name: value for name, value in cell.items() if name not in ("attack", "epsilon")}
    key = (str(store.root), canonical(shared))
    if key not in _SETTINGS:
        _SETTINGS.clear()
        _SETTINGS[key] = _setting(cell, store)
    return _SETTINGS[key]


_SETTINGS: dict[tuple, Setting] = {}


class _Scaled(nn.Module):
    """Features scaled to a mean square of one, so that the head's penalty is as strong for every network."""

    def __init__(self, extract: nn.Module, x: Tensor):
        super().__init__()
        self.extract = extract
        self.register_buffer("scale", features_of(extract, x).square().mean().sqrt())
        self.eval()

    def forward(self, x: Tensor) -> Tensor:
        return self.extract(x) / self.scale


def _setting(cell: dict, store: Store) -> Setting:
    """A cell's setting; images are drawn by its seed, as many of each class."""
    model, _ = natural.trained(cell, store)
    images, labels, names, of_test = _images(cell["data_set"])
    order = torch.randperm(len(images), generator=torch.Generator().manual_seed(cell["seed"]))
    parts = {"train": [], "test": []}
    for name in cell["classes"]:
        members = order[labels[order] == names.index(checks.choice("Class", name, names))]
        pools = (members[~of_test[members]], members[of_test[members]])
        if not of_test.any():     # a set without a split: the first images are for testing
            pools = (members[cell["test_images"] // 2:], members[:cell["test_images"] // 2])
        for part, pool in zip(parts, pools):
            wanted = cell[f"{part}_images"] // 2
            if len(pool) < wanted:
                raise ValueError(f"{cell['data_set']} has {len(pool)} {part} images of class {name}, fewer than the "
                                 f"{wanted} that were asked for.")
            parts[part].append(pool[:wanted])
    x, y = {}, {}
    for part, chosen in parts.items():
        x[part] = _sized(training.as_float(images[torch.cat(chosen)]), cell["network"]).to(device())
        y[part] = torch.arange(2).repeat_interleave(len(chosen[0])).to(device())
    extract = _Scaled(networks.features(model), x["train"])
    features = features_of(extract, x["train"])
    head = influence.fit_head(features, y["train"], l2=cell["l2"])
    published = published_code.fit(features, y["train"])
    return Setting(extract, head, published, (features, y["train"]), x["train"], x["test"], y["test"])


def run(cell: dict, store: Store) -> Outcome:
    context = setting(cell, store)
    before, after = (features_of(context.extract, x) for x in (context.x, perturbed(cell, context, context.x)))
    logits = [influence.logits(context.head, features) for features in (before, after)]
    labels = logits[0].argmax(1)
    confidence = [scores.softmax(1).gather(1, labels[:, None]).squeeze(1) for scores in logits]
    table = pd.DataFrame({"image": range(len(labels)), "correct": (labels == context.labels).tolist(),
                          "kept": (logits[1].argmax(1) == labels).tolist(), "confidence": confidence[0].tolist(),
                          "confidence_change": (confidence[1] - confidence[0]).tolist()})
    published_labels = influence.logits(context.published, before).argmax(1)
    for suffix, measure, predicted in (("", exact, labels), ("_published", as_published, published_labels)):
        a, b = (measure(context, features, predicted)[:, None] for features in (before, after))
        table[f"spearman{suffix}"] = metrics.spearman(a, b).tolist()
        table[f"survivors{suffix}"] = (SURVIVORS * metrics.topk_intersection(a, b, SURVIVORS)).tolist()
    hessian = influence.hessian(context.head, *context.train)
    rank, negative = published_code.spectrum(context.published, context.train)
    return Outcome(table.assign(condition=torch.linalg.cond(hessian).item(), weights=len(hessian), rank_published=rank,
                                negative_published=negative,
                                correct_published=(published_labels == context.labels).tolist()))


def perturbed(cell: dict, context: Setting, x: Tensor) -> Tensor:
    """The cell's perturbation of test images x."""
    if cell["attack"] == "random_sign":
        return attacks.random_sign(x, epsilon=cell["epsilon"], generator=generator_for(cell))
    return influence.influence_sign(context.extract, context.head, context.train, x, epsilon=cell["epsilon"],
                                    top=ATTACKED)


def exact(context: Setting, features: Tensor, labels: Tensor) -> Tensor:
    """Influences (n, training images) by the exact Hessian of the cross-entropy with penalty, in float64."""
    return influence.influences(context.head, *context.train, features, labels)


def as_published(context: Setting, features: Tensor, labels: Tensor) -> Tensor:
    """Influences as the published code computes them, with the head that it fits."""
    return published_code.influences(context.published, context.train, features, labels)


@torch.no_grad()
def features_of(extract: nn.Module, x: Tensor) -> Tensor:
    """Features (n, d) of images, a few at a time."""
    return torch.cat([extract(x[rows]) for rows in batches(len(x), x, None)])


def _sized(x: Tensor, network: str) -> Tensor:
    side = min(networks.IMAGE_SIDE.get(network, x.shape[-1]), x.shape[-1])
    return data.centre_crop(x, side)


@lru_cache(maxsize=1)
def _images(name: str) -> tuple[Tensor, Tensor, list[str], Tensor]:
    """All images of a set, their labels, the class names, and a mask of test images; empty where there is no split."""
    if data.is_unsplit(name):
        whole = data.load(name, "all")
        return whole.images, whole.labels, whole.class_names, torch.zeros(len(whole.labels), dtype=torch.bool)
    train, test = data.load(name, "train"), data.load(name, "test")
    of_test = torch.arange(len(train.labels) + len(test.labels)) >= len(train.labels)
    return torch.cat([train.images, test.images]), torch.cat([train.labels, test.labels]), train.class_names, of_test


def sketch(cell: dict) -> tuple[dict, Factor]:
    tiny, times = shrink({**natural.untrained(cell), "epsilon": 0.1 if cell["epsilon"] else 0.0}, test_images=2)
    return tiny, Factor(times["test_images"])


EXPERIMENT = Experiment(
    "influences", 2, Influences, cells, inputs, run, sketch,
    canary={"data_set": "mnist-5k", "network": "mnist-cnn", "epochs": 1, "classes": ["4", "9"], "train_images": 100,
            "test_images": 10, "l2": 0.01, "seed": 0, "attack": "gradient_sign", "epsilon": 0.1},
    canary_values={"spearman": 0.9, "survivors": 3.9}, notebook="influence", reads=("networks",))
