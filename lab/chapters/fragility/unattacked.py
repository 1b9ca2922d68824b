"""What needs no attack, on every image that the network classifies correctly: random signs, and other images."""

import pandas as pd
from pydantic import Field

from fragility import attacks
from fragility.passes import logits_of
from lab.chapters.fragility import comparison
from lab.core.experiment import Experiment, Factor, Outcome, generator_for
from lab.core.parameters import Count, Epsilon, Parameters
from lab.core.store import Store
from lab.material.data import DataSet
from lab.trained import natural, subjects
from lab.trained.maps import Reference, path_settings, pixel_maps, reference_column, references


class Unattacked(Parameters):
    """Parameters: those of the comparison, but for its attacks and how many images these are tried on."""

    data_set: DataSet
    network: str
    epochs: int = Field(ge=0)
    images: dict[comparison.Method, Count]      # its keys are the methods
    epsilons: list[Epsilon]
    k: int = Field(ge=1)
    path_steps: int = Field(ge=1)
    path_points: int = Field(ge=1)
    precision: str = "float32"
    references: list[Reference] = Field(["mean"], min_length=1)
    seed: int = 0


def cells(parameters: Unattacked) -> list[dict]:
    """One a method and reference: the clean maps are made once for all sizes."""
    p = parameters
    shared = {"data_set": p.data_set, "network": p.network, "epochs": p.epochs, "k": p.k, "seed": p.seed}
    grid = []
    for method in p.images:
        path = {name: value for name, value in path_settings(p, method).items() if name == "path_steps"}
        grid += [{**shared, "method": method, **path, **reference, "sizes": p.epsilons}
                 for reference in references(method, p.references)]
    return grid


def run(cell: dict, store: Store) -> Outcome:
    model, _ = natural.trained(cell, store)
    x = subjects.candidates(cell, store)[:cell.get("images")]       # a sketch names how many, a cell none
    labels = logits_of(model, x).argmax(1)
    clean = pixel_maps(model, x, labels, cell)
    tables = [comparison.scores(clean, None, cell["k"]).assign(attack=comparison.CONTROL, epsilon=0.0, found=None)]
    for epsilon in cell["sizes"]:
        # The same noise for every map.
        generator = generator_for({"noise": cell["seed"], "epsilon": epsilon})
        noisy = attacks.random_sign(x, epsilon=epsilon, generator=generator)
        kept = logits_of(model, noisy).argmax(1) == labels
        scored = comparison.scores(clean, pixel_maps(model, noisy, labels, cell), cell["k"])
        tables.append(scored.assign(attack="random_sign", epsilon=epsilon, found=kept.tolist()))
    return Outcome(pd.concat(tables, ignore_index=True))


def sketch(cell: dict) -> tuple[dict, Factor]:
    """Two images; a set has more than it will ever say, so a thousand are reckoned with."""
    return {**natural.untrained(cell), "images": 2}, Factor(1000 / 2)


EXPERIMENT = Experiment(
    "unattacked", 1, Unattacked, cells, subjects.inputs, run, sketch,
    canary={"data_set": "mnist-5k", "network": "mnist-cnn", "epochs": 1, "k": 50, "seed": 0, "method": "deeplift",
            "reference": "mean", "sizes": [0.1]},
    canary_values={"topk": 0.497, "spearman": 0.471, "center": 1.014}, notebook="fragility", reads=("networks",),
    columns=reference_column)
