"""How well a constant shift paints a drawing into the maps of a chosen image [kindermans2019, section 4]."""

import pandas as pd
from pydantic import Field
from torch import Tensor

from fragility import metrics
from fragility import shift as shifted
from fragility.metrics.agreement import correlation, ranks
from fragility.passes import logits_of
from lab.chapters.shift import invariance, shifts
from lab.core.experiment import Experiment, Factor, Outcome, shrink
from lab.core.parameters import Parameters
from lab.core.store import Store, fingerprint

METHODS = ("gradient_x_input", "ig_black", "ig_zero", "lrp", "pattern_attribution")


class Kittens(Parameters):
    """Parameters of the paintings: a shift of its own for every image."""

    data_set: str
    networks: list[str] = Field(min_length=1)
    epochs: int = Field(ge=0)
    images: int = Field(ge=2)
    path_steps: int = Field(ge=1)
    pattern_images: int = Field(ge=2)
    scales: list[float] = Field(min_length=1)      # strength of the ink, as a share of the image's largest gradient
    seed: int = 0


def cells(parameters: Kittens) -> list[dict]:
    shared = parameters.model_dump(exclude={"networks", "scales"})
    return [{**shared, "network": parameters.networks[0], "scale": scale} for scale in parameters.scales]


def run(cell: dict, store: Store) -> Outcome:
    first, _ = invariance.sides({**cell, "shift": "uniform"}, store)
    drawing = shifts.drawing()
    painted, clipped = shifts.painting(first.model, first.x, drawing, cell["scale"])
    rows = []
    for image, (m, share) in enumerate(zip(painted, clipped.tolist())):
        for method, (before, after) in pair(first, m, image).items():
            rows.append({"image": image, "method": method, "clipped": share,
                         "likeness_before": likeness(before, drawing), "likeness": likeness(after, drawing),
                         "ahead_before": ahead(before, drawing), "ahead": ahead(after, drawing),
                         "relative": metrics.invariance(before, after).relative.item()})
    return Outcome(pd.DataFrame(rows))


def pair(first: invariance.Side, m: Tensor, image: int) -> dict[str, tuple[Tensor, Tensor]]:
    """Maps (1, c, h, w) of one image by every method, before and after the shift m of the whole data set."""
    one = first._replace(x=first.x[image:image + 1], cell={**first.cell, "noise": "none"})
    lowest = (first.lowest + m).min().item()
    second = one._replace(model=shifted.compensate(one.model, m), x=one.x + m, m=m, floor=lowest, mean=one.mean + m)
    agreement = shifted.agreement(one.model, second.model, one.x, m)
    if (agreement > invariance.AGREES).any():
        raise ValueError(f"The shifted network differs by {agreement.max():.2g} in its logits; the maps cannot be "
                         "compared.")
    target = logits_of(one.model, one.x).argmax(1)
    return {method: tuple(invariance.maps(side, method, target) for side in (one, second)) for method in METHODS}


def inputs(cell: dict, store: Store) -> dict:
    return {**invariance.inputs({**cell, "shift": "uniform"}, store), "drawing": fingerprint(shifts.drawing())}


def likeness(maps: Tensor, drawing: Tensor) -> float:
    """Correlation of a map (1, c, h, w), summed over channels, with a drawing (h, w)."""
    return correlation(maps.sum(1).flatten(1).double(), drawing.to(maps).flatten()[None].double()).item()


def ahead(maps: Tensor, drawing: Tensor) -> float:
    """How often a pixel of a drawing (h, w) of zeros and ones is above one beside it in a map (1, c, h, w); ties half.

    The area under the ROC curve. A few pixels of large values, which the eye passes over, rule a correlation, but not
    this.
    """
    place, inside = ranks(maps.sum(1).flatten(1).double())[0], drawing.flatten().bool()
    n = int(inside.sum())
    return (place[inside].mean().item() - (n - 1) / 2) / (len(place) - n)


def sketch(cell: dict) -> tuple[dict, Factor]:
    tiny, times = shrink(cell, images=2)
    return tiny, Factor(times["images"])


EXPERIMENT = Experiment(
    "kittens", 2, Kittens, cells, inputs, run, sketch,
    canary={"data_set": "mnist-5k", "network": "mnist-cnn", "epochs": 1, "images": 4, "path_steps": 8,
            "pattern_images": 16, "seed": 0, "scale": 0.01},
    canary_values={"likeness": 0.209, "ahead": 0.771, "clipped": 0.0115}, notebook="shift",
    reads=("networks", "patterns"))
