"""What the verdicts are computed from, in plain pandas: records, the test of a cell, Holm's procedure, the words.

The claims themselves stand in `ledger_<paper>.py`, one function a claim, written from the claims' text in `claims/`
and the meaning of the words in `notebooks/claims.ipynb`, not from the laboratory's code. A claim's function gives its
cells, name -> `Cell`; a cell lies for or against where Student's test says so at 5 % for all cells together.
"""

import json
import lzma
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.stats import ttest_1samp

RESULTS = Path(__file__).parents[2] / "results"
LEVEL = 0.05


@cache
def frame(experiment):
    """All rows of an experiment's published records at its newest version, scalar parameters as columns beside them.

    Where a parameter has a measured column's name (`precision`), the measured one is kept.
    """
    plain = RESULTS / f"{experiment}.json"
    text = plain.read_text() if plain.exists() else lzma.open(f"{plain}.xz", "rt").read()
    bodies = json.loads(text)
    newest = max(body["version"] for body in bodies)
    parts = []
    for body in bodies:
        if body["version"] == newest:
            rows = pd.DataFrame(body["table"]["rows"], columns=body["table"]["columns"]).dropna(axis=1, how="all")
            scalars = {name: value for name, value in body["parameters"].items() if not isinstance(value, list)}
            parts.append(rows.assign(**{name: value for name, value in scalars.items() if name not in rows}))
    return pd.concat(parts, ignore_index=True)


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


@dataclass
class Cell:
    """Mean, number of units, two-sided p against the bound, and the side: +1 for the claim, -1 against."""

    mean: float
    n: int
    p: float
    side: int


def p_against(values, bound):
    """Two-sided p of Student's test of the mean; values that are all the same are certain."""
    if np.ptp(values) == 0:
        return 1.0 if values[0] == bound else 0.0
    return float(ttest_1samp(values, bound).pvalue)


def above(values, bound=0.0):
    values = np.asarray(values, dtype=float)
    return Cell(values.mean(), len(values), p_against(values, bound), 1 if values.mean() > bound else -1)


def below(values, bound):
    cell = above(values, bound)
    return Cell(cell.mean, cell.n, cell.p, -cell.side)


def within(values, margin):
    """Equality by two one-sided tests: inside, both must be passed; outside, the bound passed is tested two-sided."""
    low, high = above(values, -margin), below(values, margin)
    if abs(low.mean) < margin:
        return Cell(low.mean, low.n, max(low.p, high.p) / 2, 1)
    return Cell(low.mean, low.n, (low if low.mean < 0 else high).p, -1)


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
