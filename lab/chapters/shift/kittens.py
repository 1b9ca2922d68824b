"""How well a constant shift paints a drawing into the maps of a chosen image [kindermans2019, section 4]."""

from collections.abc import Sequence

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
    """Parameters of the paintings, for each of which a shift is made for one image."""

    data_set: str
    networks: list[str] = Field(min_length=1)
    epochs: int = Field(ge=0)
    images: int = Field(ge=2)
    path_steps: int = Field(ge=1)
    pattern_images: int = Field(ge=2)
    scales: list[float] = Field(min_length=1)      # height of the drawing in a map, as a share of the largest gradient
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


def pair(first: invariance.Side, m: Tensor, image: int,
         methods: Sequence[str] = METHODS) -> dict[str, tuple[Tensor, Tensor]]:
    """Maps (1, c, h, w) of one image by some methods, before and after the shift m of the whole data set."""
    first = first._replace(x=first.x[image:image + 1], cell={"noise": "none", **first.cell})
    floor = (first.lowest + m).min().item()
    second = first._replace(model=shifted.compensate(first.model, m), x=first.x + m, m=m, floor=floor,
                            mean=first.mean + m)
    agreement = shifted.agreement(first.model, second.model, first.x, m)
    if (agreement > invariance.AGREES).any():
        raise ValueError(f"The shifted network differs by {agreement.max():.2g} in its logits; the maps cannot be "
                         "compared.")
    target = logits_of(first.model, first.x).argmax(1)
    return {method: tuple(invariance.maps(side, method, target) for side in (first, second)) for method in methods}


def inputs(cell: dict, store: Store) -> dict:
    return {**invariance.inputs({**cell, "shift": "uniform"}, store), "drawing": fingerprint(shifts.drawing())}


def likeness(maps: Tensor, drawing: Tensor) -> float:
    """Correlation of a map (1, c, h, w), summed over channels, with a drawing (h, w)."""
    return correlation(maps.sum(1).flatten(1).double(), drawing.to(maps).flatten()[None].double()).item()


def ahead(maps: Tensor, drawing: Tensor) -> float:
    """Area under the ROC curve of telling the ones of a drawing (h, w) from its zeros by a map (1, c, h, w).

    That is the share of pairs in which the pixel of the drawing has the larger value, ties counted half. A few large
    values, which the eye does not notice, can dominate a correlation, but not this.
    """
    rank, inside = ranks(maps.sum(1).flatten(1).double())[0], drawing.flatten().bool()
    n = int(inside.sum())
    return (rank[inside].mean().item() - (n - 1) / 2) / (len(rank) - n)


def sketch(cell: dict) -> tuple[dict, Factor]:
    tiny, times = shrink(cell, images=2)
    return tiny, Factor(times["images"])


EXPERIMENT = Experiment(
    "kittens", 2, Kittens, cells, inputs, run, sketch,
    canary={"data_set": "mnist-5k", "network": "mnist-cnn", "epochs": 1, "images": 4, "path_steps": 8,
            "pattern_images": 16, "seed": 0, "scale": 0.01},
    canary_values={"likeness": 0.209, "ahead": 0.771, "clipped": 0.0115}, notebook="shift",
    reads=("networks", "patterns"))
