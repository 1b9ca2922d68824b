"""What the verdicts are computed from, in plain pandas: records, the test of a cell, Holm's procedure, the words.

The claims themselves stand in `ledger_<paper>.py`, one function a claim, written from the claims' text in `claims/`
and the meaning of the words in `notebooks/claims.ipynb`, not from the laboratory's code. A claim's function gives its
cells, name -> `Cell`; a cell lies for or against where Student's test says so at 5 % for all cells together.
"""

from dataclasses import dataclass, replace

import numpy as np
from scipy.stats import levene, norm, t, ttest_1samp

LEVEL = 0.05


def sizes(rows, column="epsilon"):
    """The positive sizes that these rows have, smallest first."""
    return sorted(size for size in rows[column].unique() if size > 0)


def at_largest(rows):
    """The rows at the largest size of their data set."""
    return rows[rows.epsilon == rows.groupby("data_set").epsilon.transform("max")]


def found(rows):
    """The rows whose perturbed image keeps the label; of a difference both sides have to."""
    return rows[rows["found" if "found" in rows else "kept"] == 1]


def per(rows, column, *unit):
    """Mean of a column for each image, seed, or image of a seed; undefined values do not count."""
    return rows.dropna(subset=[column]).groupby(list(unit) or ["image"])[column].mean().astype(float)


def gap(larger, smaller, column, *unit):
    """Paired differences, larger side minus smaller side, of the units that both sides have."""
    return (per(larger, column, *unit) - per(smaller, column, *unit)).dropna()


@dataclass(frozen=True)
class Cell:
    """Mean of n units, its 95 % interval by itself, two-sided p against the bound, side: +1 for the claim, else -1."""

    mean: float
    low: float
    high: float
    n: int
    p: float
    side: int
    exact: bool = True      # not the result of random draws
    stuck: bool = False     # no unit differs at all, so that the scores are at their end


def above(values, bound=0.0):
    """The mean of these units is above the bound; units that are all the same, or a single one, lie where they lie."""
    values = np.asarray(values, dtype=float)
    if np.ptp(values) == 0:
        mean, (low, high), p = values[0], (values[0], values[0]), float(values[0] == bound)
    else:
        test = ttest_1samp(values, bound)
        mean, (low, high), p = values.mean(), test.confidence_interval(0.95), test.pvalue
    stuck = len(values) > 1 and bound == 0 and not values.any()
    return Cell(float(mean), float(low), float(high), len(values), float(p), 1 if mean > bound else -1, stuck=stuck)


def over_seeds(values, draws=4000):
    """The mean over seeds of values for (seed, image) is above zero: the shape of a bootstrap of seeds, and of images
    within each, on the scale of the seeds' means, with the tails of t instead of the normal distribution."""
    groups = [group.to_numpy(float) for _, group in values.groupby("seed")]
    means, generator = np.array([group.mean() for group in groups]), np.random.default_rng(77)
    chosen = generator.integers(0, len(groups), (draws, len(groups)))
    drawn = np.array([np.mean([generator.choice(groups[seed], len(groups[seed])).mean() for seed in one])
                      for one in chosen])
    scale = means.std(ddof=1) / np.sqrt(len(groups))
    deviations = scale * t(len(groups) - 1).ppf(norm.cdf((drawn - drawn.mean()) / drawn.std()))
    high, low = means.mean() - np.quantile(deviations, [0.025, 0.975])
    beyond = np.mean(deviations >= abs(means.mean())) if means.mean() > 0 else np.mean(deviations <= means.mean())
    return Cell(means.mean(), low, high, len(groups), 2 * beyond, 1 if means.mean() > 0 else -1, exact=False)


def two_groups(one, other, everything, bound=0.0):
    """The difference of two groups' means is above the bound, all groups having one variance; None where Levene's test
    about means denies that at 20 %."""
    groups = [np.asarray(group, dtype=float) for group in everything if len(group) > 1]
    if len(groups) < 2 or min(len(one), len(other)) < 2 or levene(*groups, center="mean").pvalue < 0.2:
        return None
    one, other = np.asarray(one, dtype=float), np.asarray(other, dtype=float)
    freedom = sum(len(group) - 1 for group in groups)
    variance = sum(np.var(group, ddof=1) * (len(group) - 1) for group in groups) / freedom
    gap_, error = one.mean() - other.mean(), np.sqrt(variance / len(one) + variance / len(other))
    half = t(freedom).ppf(0.975) * error
    p = 2 * t(freedom).sf(abs(gap_ - bound) / error)
    return Cell(gap_, gap_ - half, gap_ + half, min(len(one), len(other)), p, 1 if gap_ > bound else -1)


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
    free = [cell for cell in cells.values() if not cell.stuck]
    sides = decided(free)
    good, bad, stuck = sides.count(1), sides.count(-1), len(cells) - len(free)
    if not free:
        word = "saturated"
    elif bad > len(cells) / 2 or (bad and not good):
        word = "contradicted"
    elif bad:
        word = "mixed"
    else:
        word = "holds" if good == len(cells) else "undecided"
    return word, (f"{len(cells)} cell{'s' * (len(cells) > 1)}: {good} for, {bad} against"
                  + f", {stuck} saturated" * (stuck > 0))
