"""How far a map depends on the reference point it is measured from [kindermans2019, figure 1]."""

import pandas as pd
from pydantic import Field
from torch import Tensor

from fragility import attribution, metrics
from fragility.passes import logits_of
from lab.core.device import device, repeatable
from lab.core.experiment import Experiment, Factor, Outcome, shrink
from lab.core.parameters import Parameters
from lab.core.store import Store, fingerprint
from lab.material import photographs
from lab.material.data import DataSet
from lab.trained import subjects

#: Method -> the two reference points that are compared.
PAIRS = {"integrated_gradients": ("black image", "mean image"), "deep_taylor": ("zero root", "pattern root")}


class References(Parameters):
    """Parameters of the comparison of two reference points."""

    reference_data_set: DataSet
    reference_network: str
    reference_images: int = Field(ge=2)
    epochs: int = Field(ge=0)
    path_steps: int = Field(ge=1)
    pattern_images: int = Field(ge=2)
    seed: int = 0


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
    model, x, labels = subjects.subjects(cell, store)
    return x[rows], *_both(cell, store, model, x[rows], labels[rows])


def _both(cell: dict, store: Store, model, x: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """The maps of some images from the cell's two references, which are made of all candidate images."""
    candidates = subjects.candidates(cell, store)
    if cell["method"] == "integrated_gradients":
        mean = candidates.mean((0, 2, 3))[:, None, None].expand_as(x[0])
        return tuple(attribution.integrated_gradients(model, x, labels, baseline=baseline, steps=cell["path_steps"])
                     for baseline in (0.0, mean))
    fitted = attribution.fit_patterns(model, candidates[:cell["pattern_images"]])
    return attribution.lrp(model, x, labels), attribution.pattern_attribution(model, x, labels, patterns=fitted)


def sketch(cell: dict) -> tuple[dict, Factor]:
    """Two images, or eight for patterns, which are fitted on at most the 1,000 images of a sample set."""
    tiny, times = shrink(cell, images=2)
    if "pattern_images" in cell:
        tiny["pattern_images"] = min(8, cell["pattern_images"])
        return tiny, Factor(min(cell["pattern_images"], 1000) / tiny["pattern_images"])
    return tiny, Factor(times["images"])


EXPERIMENT = Experiment(
    "references", 1, References, cells, subjects.inputs, run, sketch,
    canary={"data_set": "mnist-5k", "network": "mnist-cnn", "epochs": 1, "images": 8, "seed": 0,
            "method": "integrated_gradients", "path_steps": 8},
    canary_values={"relative": 0.212, "spearman": 0.558}, notebook="shift", reads=("networks",))


class Shown(References):
    """Parameters of the pictures, of free photographs, whose maps may be published."""

    reference_portraits: list[photographs.PhotographName]


def shown_cells(parameters: Shown) -> list[dict]:
    return [{**cell, "photograph": name} for name in parameters.reference_portraits for cell in cells(parameters)]


def shown_inputs(cell: dict, store: Store) -> dict:
    return {**subjects.inputs(cell, store), "photograph": fingerprint(photographs.photograph(cell["photograph"],
                                                                                            cell["network"]))}


def shown_run(cell: dict, store: Store) -> Outcome:
    model, _, _ = subjects.subjects(cell, store)
    x = photographs.photograph(cell["photograph"], cell["network"]).to(device())
    a, b = _both(cell, store, model, x, logits_of(model, x).argmax(1))
    table = pd.DataFrame({name: value.tolist() for name, value in metrics.invariance(a, b)._asdict().items()})
    # A picture needs signs and shades only, so each map is divided by its largest value.
    drawn = {name: maps[0].sum(0) / maps[0].sum(0).abs().max() for name, maps in (("first", a), ("second", b))}
    return Outcome(table, {name: pixels.half() for name, pixels in drawn.items()})


SHOWN = Experiment(
    "reference-portraits", 1, Shown, shown_cells, shown_inputs, shown_run, sketch,
    canary={"data_set": "imagenet-sample", "network": "squeezenet1_0", "images": 2, "epochs": 1, "seed": 0,
            "method": "integrated_gradients", "path_steps": 4, "photograph": "chelsea"},
    canary_values={"relative": 1.02, "pearson": 0.0633}, notebook="shift", publishes_tensors=True,
    reads=("networks",))
