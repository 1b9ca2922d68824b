"""How far a map depends on the reference point it is measured from [kindermans2019, figure 1]."""

import pandas as pd
from pydantic import Field, field_validator
from torch import Tensor

from fragility import attribution, checks, data, metrics
from fragility.attribution.output import logits_of
from fragility.experiments import fragile, portraits
from fragility.experiments.base import Experiment, Factor, Outcome, Parameters, device, repeatable
from fragility.store import Store, fingerprint

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


@repeatable
def maps(cell: dict, store: Store, rows: slice) -> tuple[Tensor, Tensor, Tensor]:
    """Images (n, c, h, w) of a cell and their maps from both references.

    The zero root of deep Taylor is the z rule; both roots are relevance. The mean image is what a network that
    normalises its input takes for zero.
    """
    model, x, labels = fragile.subjects(cell, store)
    return x[rows], *_both(cell, store, model, x[rows], labels[rows])


def _both(cell: dict, store: Store, model, x: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """The maps of some images from the cell's two references; what these are made of are the images at hand."""
    everything = fragile.candidates(cell, store)
    if cell["method"] == "integrated_gradients":
        mean = everything.mean((0, 2, 3))[:, None, None].expand_as(x[0])
        return tuple(attribution.integrated_gradients(model, x, labels, baseline=baseline, steps=cell["path_steps"])
                     for baseline in (0.0, mean))
    fitted = attribution.fit_patterns(model, everything[:cell["pattern_images"]])
    return attribution.lrp(model, x, labels), attribution.pattern_attribution(model, x, labels, patterns=fitted)


def sketch(cell: dict) -> tuple[dict, Factor]:
    """Two images; patterns are fitted on no more images than a sample set has."""
    images = min(2, cell["images"])
    tiny = {**cell, "images": images}
    if "pattern_images" in cell:
        tiny["pattern_images"] = min(8, cell["pattern_images"])
        return tiny, Factor(min(cell["pattern_images"], 1000) / tiny["pattern_images"])
    return tiny, Factor(cell["images"] / images)


EXPERIMENT = Experiment(
    "references", 1, References, cells, fragile.inputs, run, sketch,
    canary={"data_set": "mnist-5k", "network": "mnist-cnn", "epochs": 1, "images": 8, "seed": 0,
            "method": "integrated_gradients", "path_steps": 8},
    canary_values={"relative": 0.212, "spearman": 0.558}, notebook="shift")


class Shown(References):
    """Parameters of the pictures: free photographs whose maps may be published."""

    reference_portraits: list[str]

    @field_validator("reference_portraits")
    @classmethod
    def known_portraits(cls, names):
        return [checks.choice("Photograph", name, portraits.POINTS) for name in names]


def shown_cells(parameters: Shown) -> list[dict]:
    return [{**cell, "photograph": name} for name in parameters.reference_portraits for cell in cells(parameters)]


def shown_inputs(cell: dict, store: Store) -> dict:
    return {**fragile.inputs(cell, store), "photograph": fingerprint(portraits.photograph(cell["photograph"],
                                                                                          cell["network"]))}


def shown_run(cell: dict, store: Store) -> Outcome:
    model, _, _ = fragile.subjects(cell, store)
    x = portraits.photograph(cell["photograph"], cell["network"]).to(device())
    a, b = _both(cell, store, model, x, logits_of(model, x).argmax(1))
    table = pd.DataFrame({name: value.tolist() for name, value in metrics.invariance(a, b)._asdict().items()})
    # Signs and shades are what a picture needs: each map in units of its own largest value.
    drawn = {name: maps[0].sum(0) / maps[0].sum(0).abs().max() for name, maps in (("first", a), ("second", b))}
    return Outcome(table, {name: one.half() for name, one in drawn.items()})


SHOWN = Experiment(
    "reference-portraits", 1, Shown, shown_cells, shown_inputs, shown_run, sketch,
    canary={"data_set": "imagenet-sample", "network": "squeezenet1_0", "images": 2, "epochs": 1, "seed": 0,
            "method": "integrated_gradients", "path_steps": 4, "photograph": "chelsea"},
    canary_values={"relative": 1.02, "pearson": 0.0633}, notebook="shift", publishes_tensors=True)
