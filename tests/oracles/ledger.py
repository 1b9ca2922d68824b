"""What the verdicts are computed from, in plain pandas: records, the test of a cell, Holm's procedure, the words.

The claims themselves stand in `ledger_<paper>.py`, one function a claim, written from the claims' text in `claims/`
and the meaning of the words in `notebooks/claims.ipynb`, not from the laboratory's code. A claim's function gives its
cells, name -> `Cell`; a cell lies for or against where Student's test says so at 5 % for all cells together.
"""

from dataclasses import dataclass, replace

import numpy as np
from scipy.stats import ttest_1samp

LEVEL = 0.05


def sizes(rows, column="epsilon"):
    """The positive sizes that these rows have, smallest first."""
    return sorted(size for size in rows[column].unique() if size > 0)


def at_largest(rows):
    """The rows at the largest size of their data set."""
    return rows[rows.epsilon == rows.groupby("data_set").epsilon.transform("max")]


def found(rows):
    """The rows in which the attack found a perturbation that keeps the label."""
    return rows[rows.found == 1]


def per(rows, column, *unit):
    """Mean of a column for each image, seed, or image of a seed; undefined values do not count."""
    return rows.dropna(subset=[column]).groupby(list(unit) or ["image"])[column].mean().astype(float)


def gap(larger, smaller, column, *unit):
    """Paired differences, larger side minus smaller side, of the units that both sides have."""
    return (per(larger, column, *unit) - per(smaller, column, *unit)).dropna()


def over_seeds(values):
    """Mean of each seed, of values for (seed, image)."""
    return values.groupby("seed").mean()


@dataclass(frozen=True)
class Cell:
    """Mean of n units, its 95 % interval by itself, two-sided p against the bound, side: +1 for the claim, else -1."""

    mean: float
    low: float
    high: float
    n: int
    p: float
    side: int


def above(values, bound=0.0):
    """The mean of these units is above the bound; units that are all the same, or a single one, lie where they lie."""
    values = np.asarray(values, dtype=float)
    if np.ptp(values) == 0:
        mean, (low, high), p = values[0], (values[0], values[0]), float(values[0] == bound)
    else:
        test = ttest_1samp(values, bound)
        mean, (low, high), p = values.mean(), test.confidence_interval(0.95), test.pvalue
    return Cell(float(mean), float(low), float(high), len(values), float(p), 1 if mean > bound else -1)


def below(values, bound):
    """The mean of these units is below the bound."""
    cell = above(values, bound)
    return replace(cell, side=-cell.side)


def within(values, margin):
    """Equality by two one-sided tests: inside, both must be passed; outside, the bound passed is tested two-sided."""
    low, high = above(values, -margin), below(values, margin)
    if abs(low.mean) < margin:
        return replace(low, p=max(low.p, high.p) / 2, side=1)
    return replace(low, p=(low if low.mean < 0 else high).p, side=-1)


def decided(cells):
    """Sides of the cells that Holm's procedure decides: the k-th smallest of m values of p against level / (m - k)."""
    sides = []
    for passed, cell in enumerate(sorted(cells, key=lambda cell: cell.p)):
        if cell.p > LEVEL / (len(cells) - passed):
            break
        sides.append(cell.side)
    return sides


def verdict(cells):
    """(verdict, support) as the ledger prints them, of a claim's cells."""
    if not cells:
        return "not tested here", ""
    sides = decided(list(cells.values()))
    good, bad = sides.count(1), sides.count(-1)
    if bad > len(cells) / 2 or (bad and not good):
        word = "contradicted"
    elif bad:
        word = "mixed"
    else:
        word = "holds" if good == len(cells) else "undecided"
    return word, f"{len(cells)} cell{'s' * (len(cells) > 1)}: {good} for, {bad} against"
