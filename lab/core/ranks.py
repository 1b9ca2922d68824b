"""Two orders of the same things, and how well they agree: rank correlations of means over images."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
import torch

from fragility.metrics import agreement as metrics
from lab.core.estimates import Estimate

DRAWS = 2000


def correlation(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Spearman's rank correlation along the last axis, ties by their mean rank; NaN where one side is all alike."""
    a, b = (of_values(side) for side in np.broadcast_arrays(a, b))
    a, b = (side - side.mean(-1, keepdims=True) for side in (a, b))
    with np.errstate(invalid="ignore"):
        return (a * b).sum(-1) / np.sqrt((a**2).sum(-1) * (b**2).sum(-1))


def of_values(values: np.ndarray) -> np.ndarray:
    """Ranks along the last axis, from 0, equal values by the mean of theirs; NaN throughout where one value is missing.

    SciPy's take a second to import, which is a fifth of the ledger's time.
    """
    rows = torch.from_numpy(np.array(values, float)).reshape(-1, values.shape[-1])
    order = metrics.ranks(rows).numpy().reshape(values.shape)
    return np.where(np.isnan(values).any(-1, keepdims=True), np.nan, order)


def resampled(values: np.ndarray, picks: np.ndarray) -> np.ndarray:
    """Means (draws, things) of values (things, images) over the images that each draw of `picks` (draws, images) has.

    A missing value, NaN, counts in no mean.
    """
    counts = np.stack([np.bincount(pick, minlength=values.shape[1]) for pick in picks])
    there = ~np.isnan(values)
    with np.errstate(invalid="ignore"):
        return counts @ np.where(there, values, 0.0).T / (counts @ there.T)


def picks(count: int, draws: int = DRAWS, seed: int = 0) -> np.ndarray:
    """Which images each draw of a bootstrap has, (draws, count); the same for the same seed."""
    return np.random.default_rng(seed).integers(0, count, (draws, count))


def agreement(one: np.ndarray, other: np.ndarray, chosen: np.ndarray) -> tuple[float, np.ndarray]:
    """Rank correlation of the means of two (things, images), and that of every draw of images.

    Both have the same things and images, so an image is drawn for both. Things that one side lacks are left out; NaN
    where fewer than three are left.
    """
    both = ~(np.isnan(one).all(1) | np.isnan(other).all(1))
    if both.sum() < 3:
        return np.nan, np.full(len(chosen), np.nan)
    one, other = one[both], other[both]
    drawn = correlation(resampled(one, chosen), resampled(other, chosen))
    return float(correlation(np.nanmean(one, 1), np.nanmean(other, 1))), drawn


def mirrored(value: float, drawn: np.ndarray) -> np.ndarray:
    """Draws (n,) that are there, and their mirror images about the value that was measured, in order.

    A draw adds to the means as much noise as they have, and noise pulls a correlation towards zero: so draws lie on one
    side of the value, and the truth may well lie on the other. Where noise is larger than what the things differ by,
    no interval made of the same images reaches the truth.
    """
    drawn = drawn[~np.isnan(drawn)]
    return np.sort(np.concatenate([drawn, 2 * value - drawn]))


def interval(value: float, drawn: np.ndarray, level: float = 0.95) -> tuple[float, float]:
    """The ends between which so many of the draws and their mirror images lie, within -1 and 1; NaN without draws."""
    if np.isnan(drawn).all():
        return np.nan, np.nan
    low, high = np.clip(np.quantile(mirrored(value, drawn), [(1 - level) / 2, (1 + level) / 2]), -1, 1)
    return float(low), float(high)


def of_orders(one: np.ndarray, other: np.ndarray) -> Estimate | None:
    """The rank correlation of two orders as an estimate over images; None where fewer than three things have both."""
    n = one.shape[1]
    value, drawn = agreement(one, other, picks(n))
    if np.isnan(value) or np.isnan(drawn).all():
        return None
    deviations = mirrored(value, drawn) - value
    error = float(deviations.std())
    if error == 0:
        return Estimate(value, 0.0, n - 1, n, 0.0)
    return Estimate(value, error, n - 1, n, error * np.sqrt(n), deviations / error, limit=1.0)


def matrices(tables: Sequence[pd.DataFrame], things: str, units: str, column: str) -> list[np.ndarray]:
    """Means of a column of frames as arrays (things, units) with the same rows and columns in all of them; NaN where
    one lacks a value."""
    tables = [table[table[column].notna()] for table in tables]
    rows, columns = (pd.Index(sorted(set().union(*(table[side] for table in tables)))) for side in (things, units))
    shape, found = (len(rows), len(columns)), []
    for table in tables:
        cells = rows.get_indexer(table[things]) * len(columns) + columns.get_indexer(table[units])
        sums = np.bincount(cells, table[column].to_numpy(float), minlength=len(rows) * len(columns))
        with np.errstate(invalid="ignore"):
            found.append((sums / np.bincount(cells, minlength=len(sums))).reshape(shape))
    return found
