"""Do the questions agree? Orders of the maps by each question, and what one image says of another [tomsett2020]."""

from collections.abc import Callable, Sequence
from itertools import combinations
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy.special import stdtrit

from lab.core import ranks
from lab.core.frames import select

#: Questions that give maps an order; the exact ones are answered by yes or no.
ORDERING = ("noise", "attack", "attack-lens", "sensitivity", "removal", "deletion", "infidelity", "parameters", "class")


class Metric(NamedTuple):
    """A score of a map on an image that a criterion holds, turned so that much is good."""

    criterion: str
    column: str
    sign: int = 1


#: The metrics of faithfulness and robustness whose reliability is in question, the two sides of removal apart.
METRICS = {"ROAD, most important first": Metric("removal", "most", -1), "ROAD, least first": Metric("removal", "least"),
           "deletion": Metric("deletion", "most", -1), "insertion": Metric("deletion", "least"),
           "sensitivity": Metric("sensitivity", "score", -1), "infidelity": Metric("infidelity", "score", -1)}


class Agreement(NamedTuple):
    """Of two orders, with a 95 % interval over images, and over networks where there are several."""

    value: float
    low: float
    high: float
    maps: int
    images: int


def effects(table: pd.DataFrame, criteria: Sequence[str] = ORDERING) -> dict[str, np.ndarray]:
    """Effects (maps, images) by criterion, of one network, with the same rows and columns everywhere."""
    arrays = ranks.matrices([select(table, criterion=each) for each in criteria], "method", "image", "effect")
    return dict(zip(criteria, arrays))


def of_questions(tables: Sequence[pd.DataFrame]) -> dict[tuple[str, str], Agreement]:
    """Rank correlation of each pair of questions over maps, the mean over networks, one table each.

    Its interval is a hierarchical bootstrap's: networks are drawn, where there are several, and of each its images, for
    both questions at once. Maps are not drawn: these are all that the board has.
    """
    return {pair: of_pair(tables, *pair) for pair in combinations(ORDERING, 2)}


def of_pair(tables: Sequence[pd.DataFrame], one: str, other: str) -> Agreement:
    """The same of one pair of questions."""
    return _pooled([_pair(table, one, other) for table in tables])


def of_networks(one: pd.DataFrame, other: pd.DataFrame) -> dict[str, Agreement]:
    """Rank correlation of the orders that two networks give the maps, by question; their images have nothing in common,
    so they are drawn apart."""
    found = {}
    for each in ORDERING:
        first, second = (select(table, criterion=each) for table in (one, other))
        if first.effect.notna().any() and second.effect.notna().any():
            second = second.assign(image=second.image + 1 + first.image.max())
            left, right = ranks.matrices([first, second], "method", "image", "effect")
            sides = [side[:, ~np.isnan(side).all(0)] for side in (left, right)]
            found[each] = _apart(*sides)
    return found


def of_all_networks(table: pd.DataFrame) -> dict[tuple[str, str], dict[str, Agreement]]:
    """The same of each pair of networks that a table has."""
    parts = {name: rows for name, rows in table.groupby("network", sort=False)} if len(table) else {}
    return {pair: of_networks(*(parts[name] for name in pair)) for pair in combinations(parts, 2)}


def frame(found: dict[tuple[str, str], Agreement]) -> pd.DataFrame:
    """Agreements of pairs of questions as a table."""
    return pd.DataFrame([{"question": one, "and": other, **each._asdict()} for (one, other), each in found.items()])


def _apart(one: np.ndarray, other: np.ndarray) -> Agreement:
    both = ~(np.isnan(one).all(1) | np.isnan(other).all(1))
    if both.sum() < 3:
        return Agreement(np.nan, np.nan, np.nan, int(both.sum()), 0)
    one, other = one[both], other[both]
    drawn = ranks.correlation(ranks.resampled(one, ranks.picks(one.shape[1])),
                              ranks.resampled(other, ranks.picks(other.shape[1], seed=1)))
    value = float(ranks.correlation(np.nanmean(one, 1), np.nanmean(other, 1)))
    return Agreement(value, *ranks.interval(value, drawn), int(both.sum()), min(one.shape[1], other.shape[1]))


class _Drawn(NamedTuple):
    value: float
    draws: np.ndarray
    maps: int
    images: int


def _pair(table: pd.DataFrame, one: str, other: str) -> _Drawn:
    first, second = effects(table, (one, other)).values()
    if not first.shape[1]:
        return _Drawn(np.nan, np.full(ranks.DRAWS, np.nan), 0, 0)
    value, draws = ranks.agreement(first, second, ranks.picks(first.shape[1]))
    both = ~(np.isnan(first).all(1) | np.isnan(second).all(1))
    return _Drawn(value, draws, int(both.sum()), first.shape[1])


def _pooled(networks: Sequence[_Drawn]) -> Agreement:
    """Of a single network its own draws; of several, each draw takes as many networks, and for each of
    them one of its own draws."""
    networks = [one for one in networks if not np.isnan(one.value)]
    if not networks:
        return Agreement(np.nan, np.nan, np.nan, 0, 0)
    drawn = np.stack([one.draws for one in networks])
    if len(networks) > 1:
        generator, count = np.random.default_rng(2), drawn.shape[1]
        who = generator.integers(0, len(networks), (len(networks), count))
        drawn = drawn[who, generator.integers(0, count, who.shape)]
    value = float(np.mean([one.value for one in networks]))
    return Agreement(value, *ranks.interval(value, drawn.mean(0)), min(one.maps for one in networks),
                     sum(one.images for one in networks))


def alpha(ratings: np.ndarray, difference: Callable[[np.ndarray], np.ndarray] | None = None) -> float:
    r"""Krippendorff's alpha of ratings (units, raters), NaN where a rater said nothing of a unit.

    .. math:: \alpha = 1 - \frac{\sum_u \frac{1}{m_u - 1} \sum_{i \ne j} \delta^2(v_{ui}, v_{uj})}
                                {\frac{1}{n - 1} \sum_{i \ne j} \delta^2(v_i, v_j)}

    with m_u ratings of unit u, n in all, and the second sum over all pairs. Units with one rating say nothing.
    `difference` gives squared differences (k, k) of the sorted distinct values (k,); None: those of an ordinal scale.
    NaN where all ratings are alike.
    """
    there = ~np.isnan(ratings)
    ratings, there = (part[there.sum(1) > 1] for part in (ratings, there))
    known, codes = np.unique(ratings[there], return_inverse=True)
    units = np.nonzero(there)[0]
    counts = np.zeros((len(ratings), len(known)))
    np.add.at(counts, (units, codes), 1)
    totals = counts.sum(0)
    squared = difference(known) if difference else _ordinal(totals)
    within = (np.einsum("uk,kl,ul->u", counts, squared, counts) / (counts.sum(1) - 1)).sum()
    between = totals @ squared @ totals / (totals.sum() - 1)
    return float(1 - within / between) if between else np.nan


def _ordinal(totals: np.ndarray) -> np.ndarray:
    """Squared differences of values that are no more than an order: how many ratings lie between them."""
    middle = np.cumsum(totals) - totals / 2
    return (middle[:, None] - middle) ** 2


def reliability(scores: np.ndarray) -> Agreement:
    """How far images give maps (maps, images) the same order: Krippendorff's alpha of ranks, an image being a rater.

    1: every image gives the same order; 0: no more alike than by chance. The interval is the jackknife's: a bootstrap
    would draw an image twice, which agrees with itself.
    """
    kept = scores[_whole(~np.isnan(scores))]
    if kept.shape[0] < 3 or kept.shape[1] < 2:
        return Agreement(np.nan, np.nan, np.nan, *kept.shape)
    order = ranks.of_values(kept.T).T
    value, n = alpha(order), kept.shape[1]
    without = np.array([alpha(np.delete(order, image, 1)) for image in range(n)]) if n > 2 else np.full(n, np.nan)
    half = float(stdtrit(n - 1, 0.975)) * np.sqrt((n - 1) * np.mean((without - without.mean()) ** 2))
    return Agreement(value, value - half, value + half, *kept.shape)


def consistency(one: np.ndarray, other: np.ndarray) -> Agreement:
    """How far two metrics that should measure the same agree on which images a map does well (maps, images).

    The rank correlation over images, of each map, and the mean over maps; the interval is a bootstrap's over images.
    """
    whole = _whole(~np.isnan(one) & ~np.isnan(other))
    one, other = one[whole], other[whole]
    if one.shape[0] < 1 or one.shape[1] < 3:
        return Agreement(np.nan, np.nan, np.nan, *one.shape)
    value = float(ranks.correlation(one, other).mean())
    drawn = [ranks.correlation(one[:, pick], other[:, pick]).mean() for pick in ranks.picks(one.shape[1], 500)]
    return Agreement(value, *ranks.interval(value, np.array(drawn)), *one.shape)


def _whole(there: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Maps and images of a part of (maps, images) without gaps: of maps that have at least half of the images, those
    that all of these maps have."""
    maps = there.sum(1) >= max(1, there.shape[1] / 2)
    return np.ix_(maps, there[maps].all(0))
