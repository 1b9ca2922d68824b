"""The kinds of networks that the chapter sets side by side, and how each of them is trained."""

from pydantic import Field

from lab.core.parameters import Parameters
from lab.material.data import DataSet
from lab.material.modern import TRANSFORMERS
from lab.trained.natural import Training

#: Kind of each network, in the order of the chapter.
KINDS = {"mnist-cnn": "convolutional", "cifar-resnet": "convolutional", "mnist-convnext": "ConvNeXt",
         "cifar-convnext": "ConvNeXt", "mnist-vit": "ViT", "cifar-vit": "ViT"}
ORDER = tuple(dict.fromkeys(KINDS.values()))
OF_ATTENTION = ("attention_rollout", "gradient_attention_rollout")      # maps that only networks with attention have


class Kind(Training):
    """One of the networks: all are trained on the same images, each as suits it."""

    data_set: DataSet


class SideBySide(Parameters):
    """Networks of several kinds, each trained once a seed."""

    trainings: list[Kind] = Field(min_length=1)
    seeds: list[int] = Field([0], min_length=1)


def networks(parameters: SideBySide) -> list[dict]:
    """What the cells of each network hold of its training, seed by seed."""
    return [{**one.cell(), "seed": seed} for one in parameters.trainings for seed in parameters.seeds]


def has(network: dict, method: str) -> bool:
    """Whether a network can have the map: without attention there is no rollout."""
    return method not in OF_ATTENTION or network["network"] in TRANSFORMERS


def kind(cell: dict) -> dict[str, str]:
    """The column of a cell's rows that names the kind of its network."""
    return {"kind": KINDS[cell["network"]]}
