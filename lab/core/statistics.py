"""Intervals of means: over images, and over the few trainings there are."""

from functools import lru_cache

import numpy as np
from scipy.special import stdtrit


def bootstrap(values: np.ndarray, level: float = 0.95, draws: int = 2000) -> tuple[float, float]:
    """Percentile interval of the mean over images; the same draws every time."""
    picks = _picks(len(values), draws)
    low, high = np.quantile(values[picks].mean(1), [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


@lru_cache(maxsize=8)       # tests of one table resample as many images each
def _picks(count: int, draws: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, count, (draws, count))


def student(values: np.ndarray, level: float = 0.95) -> tuple[float, float]:
    """Student's interval of the mean of a few values, as of trainings; without end for a single one."""
    if len(values) < 2:
        return -np.inf, np.inf
    half = stdtrit(len(values) - 1, (1 + level) / 2) * values.std(ddof=1) / np.sqrt(len(values))
    return float(values.mean() - half), float(values.mean() + half)
