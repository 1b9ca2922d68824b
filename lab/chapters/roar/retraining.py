"""Remove and retrain: the accuracy that is left when the top of each estimator's ranking is gone [hooker2019]."""

import numpy as np
import pandas as pd
import torch
from pydantic import Field
from torch import Tensor

from fragility import attribution, removal, training
from lab.chapters.roar import rankings, trainings
from lab.core.experiment import Experiment, Factor, Outcome, generator_for
from lab.core.parameters import Fraction, grids
from lab.core.store import Store

#: Kind of a cell -> what is done with its images.
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
    return [cell for one in grids(parameters) for cell in _grid(one)]


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
    return Outcome(pd.DataFrame([{"accuracy": 100 * training.accuracy(model, test, splits.test_labels)}]))


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


def replaced_share(table: pd.DataFrame) -> pd.Series:
    """Share of the image that is replaced in each row: the fraction, or 1 - fraction where it is the share kept."""
    return table.fraction.where(table["mode"] == "remove", 1 - table.fraction).round(6)


def retrained(table: pd.DataFrame, data_set: str, mode: str = "remove") -> pd.DataFrame:
    """The rows of ROAR, or of KAR for mode "keep", on one data set."""
    return table[(table.data_set == data_set) & (table.kind == "retrain") & (table["mode"] == mode)
                 & (table["filter"] == "none")]


def untouched(table: pd.DataFrame, data_set: str) -> float:
    """Mean accuracy of the 0 % control, the trainings on a data set's images as they are; NaN where there are none."""
    if table.empty:
        return float("nan")
    return float(table[(table.data_set == data_set) & (table.pipeline == "direct")].accuracy.mean())


def paired(first: pd.DataFrame, second: pd.DataFrame) -> np.ndarray:
    """Differences of accuracy between trainings of the same seed, which share initial weights and batches."""
    both = first.merge(second, on="seed", validate="one_to_one")
    return (both.accuracy_x - both.accuracy_y).to_numpy()


def agreement(table: pd.DataFrame, first: dict, second: dict, draws: int = 2000) -> tuple[float, float, float]:
    """Spearman's correlation of the estimators' scores in two benchmarks, and its 95 % bootstrap interval over them.

    `first` and `second` select the rows of a benchmark, by values of the columns kind, mode and fraction. An
    estimator is the better, the less accuracy is left where its top is removed, and the more where it is kept. NaN
    where all estimators score the same in a benchmark.
    """
    sides = []
    for chosen in (first, second):
        rows = table[(table["filter"] == "none") & np.logical_and.reduce([table[k] == v for k, v in chosen.items()])]
        sides.append((1 if chosen["mode"] == "keep" else -1) * rows.groupby("estimator").accuracy.mean())
    values = pd.concat(sides, axis=1, join="inner").to_numpy()
    picks = np.random.default_rng(0).integers(0, len(values), (draws, len(values)))
    with np.errstate(invalid="ignore"):
        measured, *drawn = _spearman(values[np.concatenate([[np.arange(len(values))], picks])])
    low, high = np.nanquantile(drawn, [0.025, 0.975]) if measured == measured else (np.nan, np.nan)
    return measured, float(low), float(high)


def _spearman(pairs: np.ndarray) -> list[float]:
    """Spearman's correlation of the two columns of each (n, 2) of a batch (draws, n, 2); NaN where one is constant."""
    from scipy.stats import rankdata  # a second to import: only where it is needed

    ranks = rankdata(pairs, axis=1)
    ranks -= ranks.mean(1, keepdims=True)
    return ((ranks[..., 0] * ranks[..., 1]).sum(1) / np.sqrt(np.square(ranks).sum(1).prod(1))).tolist()


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
    trains=lambda cell: cell["kind"] not in ("original", "road"))
