"""Intervals of means, tests that belong together, and how many values would decide."""

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from scipy.special import stdtrit

from lab.core.estimates import of_units


def bootstrap(values: np.ndarray, level: float = 0.95, draws: int = 2000) -> tuple[float, float]:
    """Percentile bootstrap interval of the mean of values (n,), one an image; the same draws every time."""
    picks = _picks(len(values), draws)
    low, high = np.quantile(values[picks].mean(1), [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


@lru_cache(maxsize=8)       # tests of one table resample the same number of images
def _picks(count: int, draws: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, count, (draws, count))


def student(values: np.ndarray, level: float = 0.95) -> tuple[float, float]:
    """Student's interval of the mean of values (n,); infinite for a single one."""
    return of_units(values).interval(level)


def holm(ps: Sequence[float]) -> list[float]:
    """The ps of a family, adjusted so that no test of it is wrong with more than the level that each is held to."""
    adjusted, running = [0.0] * len(ps), 0.0
    for place, index in enumerate(sorted(range(len(ps)), key=lambda index: ps[index])):
        running = max(running, min(1.0, (len(ps) - place) * ps[index]))
        adjusted[index] = running
    return adjusted


def deciding(spread: float, distance: float, level: float = 0.05, power: float = 0.8) -> float:
    """How many values of this standard deviation tell a mean so far from a bound from it, with that power at a
    two-sided level of Student's test; without end where the mean lies on the bound, or no spread is known."""
    if distance == 0 or not np.isfinite(spread):
        return np.inf
    count = 2.0
    for _ in range(100):        # more values widen Student's distribution less
        wanted = (stdtrit(count - 1, 1 - level / 2) + stdtrit(count - 1, power)) * spread / distance
        if wanted**2 <= count:
            return float(count)
        count = max(count + 1, min(np.ceil(wanted**2), 1.5 * count))
    return np.inf
