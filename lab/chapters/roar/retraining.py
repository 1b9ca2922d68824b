"""Remove and retrain: what accuracy is left of each estimator's ranking [hooker2019], and its controls."""

import math
from collections.abc import Sequence

import pandas as pd
import torch
from pydantic import Field
from torch import Tensor

from fragility import attribution, removal, training
from lab.chapters.roar import rankings, trainings
from lab.core.experiment import Experiment, Factor, Outcome, distinct, generator_for
from lab.core.parameters import Fraction, grids
from lab.core.store import Store

#: What is done with the images of a cell.
KINDS = {
    "retrain": "train anew on degraded images, test on degraded ones: ROAR, or KAR where the top is kept",
    "original": "no training: the explained network on degraded test images",
    "road": "no training: the explained network on test images with noisy linear imputation (ROAD)",
    "masks": "train anew on the binary masks alone",
    "fresh": "train anew with fresh random masks for every batch, test on fixed ones",
}
NOISE = 0.01          # of the imputation, as in the code of [rong2022]
_BATCH = 256


class Roar(rankings.Ranked):
    """Parameters of the grid; fractions of the image are removed (ROAR) or kept (KAR)."""

    fractions: list[Fraction] = Field(min_length=1)
    kept: list[Fraction]
    seeds: list[int] = Field(min_length=1)
    mask_estimators: list[rankings.Estimator]


SHARED = (*rankings.SHARED, "path_steps", "ensemble_path_steps", "samples", "filtered")


def cells(parameters: Roar) -> list[dict]:
    """Grouped by estimator, so that a chunk of cells needs few rankings."""
    return distinct(cell for one in grids(parameters) for cell in _grid(one))


def _grid(parameters: Roar) -> list[dict]:
    """All that is asked of each estimator; kinds without a training come once, whatever the seeds."""
    shared = {name: getattr(parameters, name) for name in SHARED}
    removed = [("remove", fraction) for fraction in parameters.fractions]
    both = removed + [("keep", fraction) for fraction in parameters.kept]
    widest = removed[-1:]       # the extra questions are asked where most is removed
    grid = []
    for estimator in parameters.estimators:
        asked = [("none", "retrain", both)]
        asked += [(kind, "retrain", widest) for kind in rankings.FILTERS if estimator in parameters.filtered]
        asked += [("none", "masks", widest)] if estimator in parameters.mask_estimators else []
        asked += [("none", "fresh", widest)] if estimator == "Random" else []
        own = {**shared, "estimator": estimator}
        for filtering, kind, places in asked:
            grid += [{**own, "filter": filtering, "kind": kind, "mode": mode, "fraction": fraction, "seed": seed}
                     for mode, fraction in places for seed in parameters.seeds]
        grid += [{**own, "filter": "none", "kind": kind, "mode": mode, "fraction": fraction,
                  "seed": parameters.explained} for kind in ("original", "road") for mode, fraction in both]
    return grid


def inputs(cell: dict, store: Store) -> dict:
    return {**rankings.inputs(cell, store), "rankings": rankings.EXPERIMENT.version}


def run(cell: dict, store: Store) -> Outcome:
    known = trainings.sets(cell)
    test = degraded(cell, "test", store)
    if cell["kind"] in ("original", "road"):
        model = trainings.explained(cell, store)
    elif cell["kind"] == "fresh":
        model = trainings.fitted(cell, known.train, augment=fresh_masks(cell, known.mean))
    else:
        model = trainings.fitted(cell, degraded(cell, "train", store))
    return Outcome(pd.DataFrame([{"accuracy": 100 * training.accuracy(model, test, known.test_labels)}]))


def degraded(cell: dict, split: str, store: Store, rows: slice = slice(None)) -> Tensor:
    """Images (n, c, h, w) of a split as the cell's training or test sees them: uint8, or float for masks.

    What is replaced is rounded to the 256 levels of the images.
    """
    known = trainings.sets(cell)
    images, mask = getattr(known, split)[rows], replaced(cell, split, store, rows)
    if cell["kind"] == "masks":
        return mask.float().expand_as(images).contiguous()
    if cell["kind"] != "road":
        return torch.where(mask, _levels(known.mean)[:, None, None], images)
    generator = generator_for(cell)
    return torch.cat([_levels(removal.impute(training.as_float(x), gaps[:, 0], noise=NOISE, generator=generator))
                      for x, gaps in zip(images.split(_BATCH), mask.split(_BATCH))])


def replaced(cell: dict, split: str, store: Store, rows: slice = slice(None)) -> Tensor:
    """Mask (n, 1 or c, h, w) of what the cell replaces in the images of a split."""
    name = cell["estimator"] + ("" if cell["filter"] == "none" else f"+{cell['filter']}")
    places = rankings.places(cell, name, split, store)[rows]
    # The places are distinct, so the top mask of all images is one comparison once its size is known.
    k = removal.top_mask(-places[:1].float(), cell["fraction"], cell["unit"]).sum()
    mask = places < k if cell["mode"] == "remove" else places >= k
    return mask if mask.ndim == 4 else mask[:, None]


def _levels(values: Tensor) -> Tensor:
    return (255 * values).round().clamp(0, 255).to(torch.uint8)


def fresh_masks(cell: dict, fill: Tensor) -> training.Augment:
    """Random masks that are drawn anew for every batch, as the published code does for its random control."""
    def augment(x: Tensor, generator: torch.Generator) -> Tensor:
        return removal.degrade(x, attribution.random(x, generator=generator), cell["fraction"], mode=cell["mode"],
                               fill=fill, unit=cell["unit"])
    return augment


def picture_cell(parameters: Roar, estimator: str, fraction: float) -> dict:
    """The cell of an estimator's ROAR with any share removed, measured or not."""
    first = next(cell for cell in _grid(parameters) if cell["estimator"] == estimator)
    return {**first, "mode": "remove", "fraction": fraction}


def one_image(parameters: Roar, shares: Sequence[float], store: Store) -> dict[str, list[Tensor]]:
    """The first test image, uint8 (c, h, w), by estimator, with each share of its pixels removed."""
    return {name: [degraded(picture_cell(parameters, name, share), "test", store, slice(0, 1))[0] for share in shares]
            for name in parameters.estimators}


def in_last_rows(spared: Tensor) -> tuple[float, int]:
    """Share of the pixels left, a mask (n, c, h, w), that lie in the lowest rows, and how many rows these are: as many
    as the pixels left of the first image would fill."""
    last = math.ceil(int(spared[0, 0].sum()) / spared.shape[-1])
    return float(spared[..., -last:, :].sum() / spared.sum()), last


def sketch(cell: dict) -> tuple[dict, Factor]:
    """One epoch on some of the images, degraded at random: rankings are made once, shared, and have their own plan."""
    images, tests = min(4096, cell["train_images"]), min(512, cell["test_images"])
    tiny = {**cell, "train_images": images, "test_images": tests, "batch_size": min(cell["batch_size"], images),
            "epochs": 1, "estimator": "Random", "filter": "none", "filtered": [], "seed": 0}
    if cell["kind"] in ("original", "road"):
        return tiny, Factor(cell["test_images"] / tests)
    return tiny | {"mode": "remove", "fraction": 0.5}, Factor(cell["epochs"] * cell["train_images"] / images)


EXPERIMENT = Experiment(
    "roar", 1, Roar, cells, inputs, run, sketch,
    canary={**{name: rankings.EXPERIMENT.canary[name] for name in rankings.SHARED}, "path_steps": 2,
            "ensemble_path_steps": 2, "samples": 2, "filtered": [], "estimator": "Random", "filter": "none",
            "kind": "retrain", "mode": "remove", "fraction": 0.5, "seed": 0},
    canary_values={"accuracy": 81.8}, notebook="roar", reads=("trainings", "rankings"),
    trains=lambda cell: cell["kind"] not in ("original", "road"))
