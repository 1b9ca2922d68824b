"""Remove and retrain: the accuracy that is left when the top of each estimator's ranking is gone [hooker2019]."""

import math
from collections.abc import Sequence

import pandas as pd
import torch
from pydantic import Field
from torch import Tensor, nn

from fragility import attribution, removal, training
from lab.chapters.roar import rankings, trainings
from lab.core.experiment import Experiment, Factor, Outcome, Together, distinct, generator_for
from lab.core.parameters import Fraction, grids
from lab.core.store import Store

# What is done with the images of a cell of each kind:
# retrain   train anew on degraded images, test on degraded ones: ROAR, or KAR where the top is kept
# original  no training: the explained network on degraded test images
# road      no training: the explained network on test images with noisy linear imputation (ROAD)
# masks     train anew on the binary masks alone
# fresh     train anew with fresh random masks for every batch, test on fixed ones
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
    """The cells of one grid; kinds without a training come once, whatever the number of seeds."""
    shared = {name: getattr(parameters, name) for name in SHARED}
    removed = [("remove", fraction) for fraction in parameters.fractions]
    both = removed + [("keep", fraction) for fraction in parameters.kept]
    largest = removed[-1:]      # the other kinds of training are only done for the last fraction
    grid = []
    for estimator in parameters.estimators:
        variants = [("none", "retrain", both)]
        variants += [(kind, "retrain", largest) for kind in rankings.FILTERS if estimator in parameters.filtered]
        variants += [("none", "masks", largest)] if estimator in parameters.mask_estimators else []
        variants += [("none", "fresh", largest)] if estimator == "Random" else []
        setting = {**shared, "estimator": estimator}
        for filtering, kind, shares in variants:
            grid += [{**setting, "filter": filtering, "kind": kind, "mode": mode, "fraction": fraction, "seed": seed}
                     for mode, fraction in shares for seed in parameters.seeds]
        grid += [{**setting, "filter": "none", "kind": kind, "mode": mode, "fraction": fraction,
                  "seed": parameters.explained} for kind in ("original", "road") for mode, fraction in both]
    return grid


def inputs(cell: dict, store: Store) -> dict:
    return {**rankings.inputs(cell, store), "rankings": rankings.EXPERIMENT.version}


def run(cell: dict, store: Store) -> Outcome:
    splits = trainings.sets(cell)
    test = degraded(cell, "test", store)
    if cell["kind"] in ("original", "road"):
        model = trainings.explained(cell, store)
    elif cell["kind"] == "fresh":
        model = trainings.train_network(cell, splits.train, augment=fresh_masks(cell, splits.mean))
    else:
        model = trainings.train_network(cell, degraded(cell, "train", store))
    return _outcome(model, test, splits)


def _outcome(model: nn.Module, test: Tensor, splits: trainings.Sets) -> Outcome:
    return Outcome(pd.DataFrame([{"accuracy": 100 * training.accuracy(model, test, splits.test_labels)}]))


def run_together(cells: list[dict], store: Store) -> list[Outcome]:
    """Cells that differ by their seed only, and so train on the same degraded images."""
    splits, test = trainings.sets(cells[0]), degraded(cells[0], "test", store)
    models = trainings.train_networks(cells, degraded(cells[0], "train", store))
    return [_outcome(model, test, splits) for model in models]


def alike(cell: dict) -> dict | None:
    """What trainings share that are computed together; images that are degraded anew for every batch differ."""
    return trainings.but_for_the_seed(cell) if cell["kind"] in ("retrain", "masks") else None


def degraded(cell: dict, split: str, store: Store, rows: slice = slice(None)) -> Tensor:
    """Images (n, c, h, w) of a split as the cell trains or tests on them: uint8, or float for masks.

    Replaced values are rounded to the 256 levels of the images.
    """
    splits = trainings.sets(cell)
    images, mask = getattr(splits, split)[rows], replaced(cell, split, store, rows)
    if cell["kind"] == "masks":
        return mask.float().expand_as(images).contiguous()
    if cell["kind"] != "road":
        return torch.where(mask, _levels(splits.mean)[:, None, None], images)
    generator = generator_for(cell)
    return torch.cat([_levels(removal.impute(training.as_float(x), gaps[:, 0], noise=NOISE, generator=generator))
                      for x, gaps in zip(images.split(_BATCH), mask.split(_BATCH))])


def replaced(cell: dict, split: str, store: Store, rows: slice = slice(None)) -> Tensor:
    """Mask (n, 1 or c, h, w) of what the cell replaces in the images of a split."""
    name = cell["estimator"] + ("" if cell["filter"] == "none" else f"+{cell['filter']}")
    ranks = rankings.stored_ranks(cell, name, split, store)[rows]
    # The ranks of an image are distinct, so all masks mark as many entries, and each is one comparison.
    k = removal.top_mask(-ranks[:1].float(), cell["fraction"], cell["unit"]).sum()
    mask = ranks < k if cell["mode"] == "remove" else ranks >= k
    return mask if mask.ndim == 4 else mask[:, None]


def _levels(values: Tensor) -> Tensor:
    return (255 * values).round().clamp(0, 255).to(torch.uint8)


def fresh_masks(cell: dict, fill: Tensor) -> training.Augment:
    """An augmentation by random masks, drawn anew for every batch, as the published code has for its control."""
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
    """One epoch on some of the images, degraded at random; rankings are records of their own, with their own plan."""
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
    trains=lambda cell: cell["kind"] not in ("original", "road"), together=Together(alike, run_together))
