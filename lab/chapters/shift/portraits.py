"""Maps of one digit by the network at the paper's size, before and after each shift: pictures anyone may see.

The digit is of the embedded set, so that the picture needs no download; the network may have been trained on it.
"""

from collections.abc import Sequence

import pandas as pd
import torch
from pydantic import Field
from torch import Tensor

from fragility import metrics, training
from lab.chapters.shift import invariance, kittens, patterns, shifts
from lab.core.device import device
from lab.core.experiment import Experiment, Factor, Outcome, shrink
from lab.core.parameters import Parameters
from lab.core.store import Store, fingerprint
from lab.material import data

SIGNALS = ("gradient", "guided_backprop", "deconvnet", "pattern_net")
OUTLINE = "outline"      # a shift under the outline of the kitten alone, so that the digit stays visible
INK = 0.3                # of the outline, as a share of the largest gradient
#: What is shifted by, how the noise of SmoothGrad is drawn, and the maps that are drawn.
PICTURES = (("uniform", "none", (*SIGNALS, *kittens.METHODS)), ("uniform", "equal", invariance.NOISE_METHODS),
            ("checkerboard", "none", kittens.METHODS), ("kitten", "none", kittens.METHODS),
            (OUTLINE, "none", kittens.METHODS))


class Portraits(Parameters):
    """Parameters of the pictures; `portraits` are places of digits among the embedded test images."""

    data_set: str
    networks: list[str] = Field(min_length=1)
    epochs: int = Field(ge=0)
    path_steps: int = Field(ge=1)
    samples: int = Field(ge=1)
    pattern_images: int = Field(ge=2)
    portraits: list[int]
    seed: int = 0


def cells(parameters: Portraits) -> list[dict]:
    shared = parameters.model_dump(exclude={"networks", "portraits"})
    return [{**shared, "network": parameters.networks[0], "digit": digit, "shift": shift, "noise": noise,
             "methods": list(methods)}
            for digit in parameters.portraits for shift, noise, methods in PICTURES]


def digit(place: int) -> Tensor:
    """A digit (1, 1, 28, 28) in [0, 1] of the embedded test images."""
    return training.as_float(data.load("mnist-5k", "test").images[place:place + 1])


def inputs(cell: dict, store: Store) -> dict:
    return {**invariance.inputs({**cell, "shift": "kitten"}, store), "digit": fingerprint(digit(cell["digit"]))}


def run(cell: dict, store: Store) -> Outcome:
    first, _ = invariance.sides({**cell, "shift": "uniform", "images": 1}, store)
    first = first._replace(x=digit(cell["digit"]).double().to(device()))
    m = _shift(cell["shift"], first)
    drawn = kittens.pair(first, m, 0, cell["methods"])
    measured = {name: metrics.invariance(*pair)._asdict() for name, pair in drawn.items()}
    rows = [{"method": name, **{measure: value.item() for measure, value in values.items()}}
            for name, values in measured.items()]
    inside = torch.stack([first.x[0], first.x[0] + m]).float()
    return Outcome(pd.DataFrame(rows), {"input": inside, **{name: _shades(pair) for name, pair in drawn.items()}})


def _shift(name: str, first: invariance.Side) -> Tensor:
    if name != OUTLINE:
        return shifts.shift(name, first.model, first.x)
    stroke = shifts.outline(shifts.drawing()).to(first.x)
    m, _ = shifts.painting(first.model, first.x, stroke, INK)
    return torch.where(stroke.bool(), m[0], 0.0)


def _shades(pair: Sequence[Tensor]) -> Tensor:
    """Both maps (2, h, w), each divided by its largest value: a picture needs signs and shades only."""
    summed = torch.cat([one.sum(1) for one in pair])
    return (summed / summed.abs().amax((1, 2), keepdim=True)).half()


def sketch(cell: dict) -> tuple[dict, Factor]:
    tiny, times = shrink(cell, samples=2)
    return tiny, Factor(times["samples"] if cell["noise"] != "none" else 1)


EXPERIMENT = Experiment(
    "shift-portraits", 1, Portraits, cells, inputs, run, sketch,
    canary={"data_set": "mnist-5k", "network": "mnist-cnn", "epochs": 1, "path_steps": 8, "samples": 2,
            "pattern_images": 16, "seed": 0, "digit": 3, "shift": OUTLINE, "noise": "none",
            "methods": ["gradient_x_input", "ig_zero"]},
    canary_values={"relative": 2.16, "pearson": 0.383}, notebook="shift", publishes_tensors=True,
    reads=("networks", patterns.EXPERIMENT.name))
