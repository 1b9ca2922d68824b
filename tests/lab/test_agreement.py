"""Agreement of orders: rank correlations against SciPy, alpha against the textbook, bootstraps against loops."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from lab.chapters.scoreboard import agreement
from lab.core import ranks
from lab.evidence import CONTRADICTED, HOLDS, UNDECIDED, UNTESTED, evaluate

#: Krippendorff (2011), "Computing Krippendorff's Alpha-Reliability", section E: four observers, twelve units.
TEXTBOOK = np.array([[1, 2, 3, 3, 2, 1, 4, 1, 2, np.nan, np.nan, np.nan],
                     [1, 2, 3, 3, 2, 2, 4, 1, 2, 5, np.nan, 3],
                     [np.nan, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, np.nan],
                     [1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, np.nan]]).T


@pytest.mark.parametrize("difference, value", [
    (lambda known: (known[:, None] != known).astype(float), 0.743), (None, 0.815),
    (lambda known: (known[:, None] - known) ** 2, 0.849)])
def test_alpha_of_the_textbooks_example(difference, value):
    assert agreement.alpha(TEXTBOOK, difference) == pytest.approx(value, abs=0.0005)


def test_alpha_is_one_of_equal_orders_and_zero_of_unrelated_ones():
    generator = np.random.default_rng(0)
    assert agreement.alpha(np.tile(np.arange(6.0)[:, None], 5)) == pytest.approx(1)
    assert abs(agreement.alpha(stats.rankdata(generator.normal(size=(12, 400)), axis=0))) < 0.01
    assert np.isnan(agreement.alpha(np.ones((4, 3))))


def test_alpha_against_a_loop_over_pairs():
    ratings = np.random.default_rng(1).integers(0, 4, (7, 5)).astype(float)
    ratings[0, 2] = ratings[3, :4] = np.nan          # the second leaves one rating, which says nothing
    squared = lambda a, b: (a - b) ** 2
    units = [row[~np.isnan(row)] for row in ratings if (~np.isnan(row)).sum() > 1]
    everything = np.concatenate(units)
    within = sum(squared(a, b) / (len(row) - 1) for row in units for i, a in enumerate(row)
                 for j, b in enumerate(row) if i != j)
    between = sum(squared(a, b) for i, a in enumerate(everything) for j, b in enumerate(everything)
                  if i != j) / (len(everything) - 1)
    assert agreement.alpha(ratings, lambda known: squared(known[:, None], known)) == pytest.approx(1 - within / between)


def test_rank_correlation_is_scipys_with_ties():
    a, b = np.random.default_rng(2).integers(0, 5, (2, 8, 9))
    expected = [stats.spearmanr(x, y).statistic for x, y in zip(a, b)]
    assert np.allclose(ranks.correlation(a, b), expected)


def test_resampled_means_against_a_loop():
    values = np.random.default_rng(3).normal(size=(4, 7))
    values[1, 2:5] = np.nan
    chosen = ranks.picks(7, 30)
    expected = [[np.nanmean(row[pick]) for row in values] for pick in chosen]
    assert np.allclose(ranks.resampled(values, chosen), expected, equal_nan=True)


def test_the_interval_against_a_plain_bootstrap():
    generator = np.random.default_rng(4)
    quality = np.arange(6)[:, None]
    one, other = (quality + generator.normal(0, 4, (6, 40)) for _ in range(2))
    value, drawn = ranks.agreement(one, other, ranks.picks(40))
    assert value == pytest.approx(stats.spearmanr(one.mean(1), other.mean(1)).statistic)
    loop = [stats.spearmanr(one[:, pick].mean(1), other[:, pick].mean(1)).statistic for pick in ranks.picks(40, 200)]
    assert np.allclose(np.sort(loop), np.sort(ranks.agreement(one, other, ranks.picks(40, 200))[1]))
    low, high = ranks.interval(value, drawn)
    expected = np.quantile([*drawn, *(2 * value - drawn)], [0.025, 0.975])
    assert (low, high) == pytest.approx((expected[0], min(1, expected[1]))) and low < value <= high


def test_intervals_reach_above_what_noise_leaves_of_an_agreement():
    """Of orders that truly agree, behind noise of two steps of the order: the interval reaches .7 in nine of ten."""
    generator, quality, reached = np.random.default_rng(9), np.arange(8)[:, None], 0
    for _ in range(40):
        one, other = (quality + generator.normal(0, 12, (8, 30)) for _ in range(2))
        value, drawn = ranks.agreement(one, other, ranks.picks(30, 300))
        reached += ranks.interval(value, drawn)[1] > 0.7
    assert reached >= 36


def board(network="a", seed=0, spread=0.2, images=30, flip=False) -> pd.DataFrame:
    """Six maps whose order by noise is that by removal, or its reverse."""
    generator = np.random.default_rng(seed)
    rows = []
    for place in range(6):
        for criterion, sign in (("noise", 1), ("removal", -1 if flip else 1)):
            effects = sign * place + generator.normal(0, spread, images)
            rows += [{"network": network, "method": f"m{place}", "criterion": criterion, "image": image,
                      "effect": effect} for image, effect in enumerate(effects)]
    return pd.DataFrame(rows)


def test_questions_with_one_order_agree_and_with_the_reverse_disagree():
    same = agreement.of_pair([board()], "noise", "removal")
    assert same.value == 1 and same.low > 0.9 and (same.maps, same.images) == (6, 30)
    assert agreement.of_pair([board(flip=True)], "noise", "removal").value == -1
    assert np.isnan(agreement.of_pair([board()], "noise", "attack").value)


def test_the_hierarchical_interval_holds_what_differs_between_networks():
    """Two networks that contradict each other: within each the order is certain, over networks nothing is."""
    both = agreement.of_pair([board("a"), board("b", seed=1, flip=True)], "noise", "removal")
    assert both.value == pytest.approx(0) and both.low < -0.9 and both.high > 0.9 and both.images == 60


def test_missing_images_and_maps_are_left_out():
    table = board()
    some = table[(table.criterion == "noise") | ((table.image < 10) & (table.method != "m0"))]
    found = agreement.of_pair([some], "noise", "removal")
    assert found.maps == 5 and found.value == 1


def test_orders_of_two_networks_and_their_images_have_nothing_in_common():
    found = agreement.of_networks(board("a"), board("b", seed=5, images=20))
    assert set(found) == {"noise", "removal"} and found["noise"].value == 1 and found["noise"].images == 20
    flipped = agreement.of_networks(board("a"), board("b", flip=True))
    assert flipped["removal"].value == -1
    assert set(agreement.of_all_networks(pd.concat([board("a"), board("b")]))) == {("a", "b")}


def test_reliability_and_consistency():
    quality = np.arange(6)[:, None] + np.random.default_rng(6).normal(0, 0.01, (6, 12))
    assert agreement.reliability(quality).value == pytest.approx(1)
    noise = np.random.default_rng(7).normal(size=(8, 40))
    found = agreement.reliability(noise)
    assert found.low < 0.05 and found.high > -0.05 and abs(found.value) < 0.1
    assert agreement.consistency(noise, noise).value == 1
    assert agreement.consistency(noise, -noise).value == -1
    other = np.random.default_rng(8).normal(size=(8, 40))
    assert agreement.consistency(noise, other).value == pytest.approx(
        np.mean([stats.spearmanr(a, b).statistic for a, b in zip(noise, other)]))
    gaps = noise.copy()
    gaps[0, 5:], gaps[1, 3] = np.nan, np.nan        # a map with few images goes, an image that one map lacks, too
    assert agreement.reliability(gaps)[3:] == (7, 39)


RANKED = {"column": "effect", "between": [{"criterion": "noise"}, {"criterion": "removal"}], "ranks": "method",
          "each": ["network"]}


@pytest.mark.parametrize("table, test, verdict", [
    (board(), {"above": 0.5}, HOLDS), (board(), {"below": 0.5}, CONTRADICTED),
    (board(flip=True), {"below": 0.5}, HOLDS), (board(spread=30.0), {"above": 0.5}, UNDECIDED)])
def test_a_claim_on_orders(table, test, verdict):
    judged = evaluate({**RANKED, **test}, table)
    assert judged.verdict == verdict and "n = 30 images" in judged.measured_with_interval


def test_a_claim_on_orders_without_enough_maps_is_not_tested():
    assert evaluate({**RANKED, "above": 0.5}, board().query("method in ('m0', 'm1')")).verdict == UNTESTED
