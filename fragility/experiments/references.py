"""How far a map depends on the reference point it is measured from [kindermans2019, figure 1]."""

import pandas as pd
from pydantic import Field, field_validator
from torch import Tensor

from fragility import attribution, checks, data, metrics
from fragility.experiments import fragile
from fragility.experiments.base import Experiment, Factor, Outcome, Parameters
from fragility.store import Store

#: name -> the two references that are compared.
PAIRS = {"integrated_gradients": ("black image", "mean image"), "deep_taylor": ("zero root", "pattern root")}


class References(Parameters):
    """Parameters of the comparison of two reference points."""

    reference_data_set: str
    reference_network: str
    reference_images: int = Field(ge=2)
    epochs: int = Field(ge=0)
    path_steps: int = Field(ge=1)
    pattern_images: int = Field(ge=2)
    seed: int = 0

    @field_validator("reference_data_set")
    @classmethod
    def known_data(cls, name):
        return checks.choice("Data set", name, data.NAMES)


def cells(parameters: References) -> list[dict]:
    shared = {"data_set": parameters.reference_data_set, "network": parameters.reference_network,
              "images": parameters.reference_images, "epochs": parameters.epochs, "seed": parameters.seed}
    return [{**shared, "method": "integrated_gradients", "path_steps": parameters.path_steps},
            {**shared, "method": "deep_taylor", "pattern_images": parameters.pattern_images}]


def run(cell: dict, store: Store) -> Outcome:
    _, a, b = maps(cell, store, slice(None))
    measured = metrics.invariance(a, b)._asdict()
    return Outcome(pd.DataFrame({"image": range(len(a)), **{name: value.tolist() for name, value in measured.items()}}))


def maps(cell: dict, store: Store, rows: slice) -> tuple[Tensor, Tensor, Tensor]:
    """Images (n, c, h, w) of a cell and their maps from both references.

    The zero root of deep Taylor is the z rule; both roots are relevance. The mean image is what a network that
    normalises its input takes for zero.
    """
    model, x, labels = fragile.subjects(cell, store)
    everything, x, labels = fragile.candidates(cell, store), x[rows], labels[rows]
    if cell["method"] == "integrated_gradients":
        mean = everything.mean((0, 2, 3))[:, None, None].expand_as(x[0])
        return x, *(attribution.integrated_gradients(model, x, labels, baseline=baseline, steps=cell["path_steps"])
                    for baseline in (0.0, mean))
    fitted = attribution.fit_patterns(model, everything[:cell["pattern_images"]])
    return x, attribution.lrp(model, x, labels), attribution.pattern_attribution(model, x, labels, patterns=fitted)


def sketch(cell: dict) -> tuple[dict, Factor]:
    images = min(2, cell["images"])
    tiny = {**cell, "images": images}
    if "pattern_images" in cell:
        tiny["pattern_images"] = min(8, cell["pattern_images"])
        return tiny, Factor(cell["pattern_images"] / tiny["pattern_images"])
    return tiny, Factor(cell["images"] / images)


EXPERIMENT = Experiment(
    "references", 1, References, cells, fragile.inputs, run, sketch,
    canary={"data_set": "mnist-5k", "network": "mnist-cnn", "epochs": 1, "images": 8, "seed": 0,
            "method": "integrated_gradients", "path_steps": 8},
    canary_values={"relative": 0.212, "spearman": 0.558}, notebook="shift")
