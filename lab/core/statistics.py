"""Confidence intervals of means: over images, and over a few trainings."""

from functools import lru_cache

import numpy as np
from scipy.special import stdtrit


def bootstrap(values: np.ndarray, level: float = 0.95, draws: int = 2000) -> tuple[float, float]:
    """Percentile bootstrap interval of the mean of values (n,), one an image; the same draws every time."""
    picks = _picks(len(values), draws)
    low, high = np.quantile(values[picks].mean(1), [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


@lru_cache(maxsize=8)       # tests of one table resample the same number of images
def _picks(count: int, draws: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, count, (draws, count))


def student(values: np.ndarray, level: float = 0.95) -> tuple[float, float]:
    """Student's interval of the mean of a few values, such as trainings; infinite for a single one."""
    if len(values) < 2:
        return -np.inf, np.inf
    half = stdtrit(len(values) - 1, (1 + level) / 2) * values.std(ddof=1) / np.sqrt(len(values))
    return float(values.mean() - half), float(values.mean() + half)
