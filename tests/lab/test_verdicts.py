"""Verdicts: decided by intervals over images, and by nothing else."""

import numpy as np
import pandas as pd
import pytest

from lab import catalogue, verdicts
from lab.core import results
from lab.core.statistics import bootstrap
from lab.core.store import Store
from lab.verdicts import PARTLY, REFUTED, REPRODUCED, UNTESTED, evaluate


def frame(**means) -> pd.DataFrame:
    """Fifty images a method and attack, spread 0.05 about the mean that is given as method_attack=mean."""
    noise = np.random.default_rng(0).normal(0, 0.05, 50)
    return pd.concat([pd.DataFrame({"image": range(50), "method": name.split("_")[0], "attack": name.split("_")[1],
                                    "epsilon": 0.3, "topk": mean + noise}) for name, mean in means.items()])


BELOW = {"column": "topk", "where": {"attack": "random", "epsilon": "largest"}, "below": 0.3, "each": ["method"]}


@pytest.mark.parametrize("means, verdict", [
    ({"a_random": 0.1, "b_random": 0.2}, REPRODUCED), ({"a_random": 0.1, "b_random": 0.5}, PARTLY),
    ({"a_random": 0.4, "b_random": 0.5}, REFUTED), ({"a_random": 0.3, "b_random": 0.3}, PARTLY)])
def test_a_bound(means, verdict):
    assert evaluate(BELOW, frame(**means)).verdict == verdict


def test_cells_for_and_against_are_counted_and_an_open_one_is_neither():
    judged = evaluate(BELOW, frame(a_random=0.1, b_random=0.2, c_random=0.5, d_random=0.3))
    assert judged.support == "4 cells: 2 for, 1 against"


def test_an_image_with_several_rows_counts_once():
    once = frame(a_random=0.2)
    assert evaluate(BELOW, pd.concat([once] * 4)).interval == evaluate(BELOW, once).interval


def test_a_column_may_be_the_difference_of_two():
    table = frame(a_random=0.2).assign(chance=0.15)
    judged = evaluate({**BELOW, "column": "topk - chance"}, table)
    assert judged.measured == f"a: {(table.topk - 0.15).mean():.3g}"


@pytest.mark.parametrize("gap, verdict", [(0.2, REPRODUCED), (-0.2, REFUTED), (0.0, REFUTED)])
def test_an_ordering_with_a_margin(gap, verdict):
    test = {"column": "topk", "larger": {"attack": "random"}, "smaller": {"attack": "topk"}, "margin": 0.03}
    judged = evaluate(test, frame(a_topk=0.3, a_random=0.3 + gap))
    assert judged.verdict == verdict
    assert judged.measured == f"{gap:.3g}".replace("-0", "-0") or abs(float(judged.measured) - gap) < 1e-9


@pytest.mark.parametrize("gap, verdict", [(0.005, REPRODUCED), (0.2, REFUTED)])
def test_an_equality(gap, verdict):
    test = {"column": "topk", "between": [{"attack": "random"}, {"attack": "topk"}], "within": 0.02}
    assert evaluate(test, frame(a_topk=0.3, a_random=0.3 + gap)).verdict == verdict


def test_bootstrap_interval_covers_the_mean_and_shrinks():
    values = np.random.default_rng(1).normal(0.5, 0.1, 400)
    low, high = bootstrap(values)
    assert low < values.mean() < high and high - low == pytest.approx(4 * 0.1 / 20, rel=0.15)


def test_cells_that_are_not_there_are_not_tested():
    assert evaluate(BELOW, frame(a_topk=0.1)).verdict == UNTESTED


@pytest.mark.parametrize("found, scale", [
    ({"edition": "ab", "paper": "abc"}, "paper"), ({"edition": "abc", "paper": "ab"}, "edition"),
    ({"edition": "ab", "paper": "ab"}, "paper"), ({"edition": "abc", "paper": "d"}, "paper"),
    ({"edition": "", "paper": ""}, "quick")])
def test_a_scale_with_a_part_of_a_smaller_ones_records_is_passed_over(found, scale):
    def measured_cells(experiment, wanted):
        cells = {"quick": "x", **found}[wanted]
        table = frame(a_random=0.1) if cells else pd.DataFrame()
        table.attrs.update(done=len(cells), cells=3)
        return results.Measured(table, frozenset(cells))

    assert verdicts.judge({"experiment": "", "test": BELOW, "scale": "quick"}, "quick", measured_cells).scale == scale


def test_one_value_on_the_wrong_side_breaks_a_rule_without_exceptions():
    rule = {"column": "topk", "where": {}, "of": "smallest", "above": 0.0}
    values = frame(a_random=0.5)
    assert evaluate(rule, values).verdict == REPRODUCED
    assert evaluate(rule, values.assign(topk=[*values.topk[:-1], -0.01])).verdict == REFUTED


def test_places_are_those_of_the_whole_group():
    """Neither a group with one size nor the sizes that one attack happens to have decide what 'largest' means."""
    sizes = pd.concat([frame(a_random=0.1).assign(epsilon=0.1), frame(a_random=0.2, b_random=0.4)])
    second = {**BELOW, "where": {"attack": "random", "epsilon": "second smallest"}}
    assert evaluate(second, sizes).measured.startswith("a: 0.2") and ";" not in evaluate(second, sizes).measured
    missing = pd.concat([sizes[sizes.method == "a"], frame(a_topk=0.1).assign(epsilon=0.1)])
    largest = {"column": "topk", "where": {"attack": "topk", "epsilon": "largest"}, "below": 0.3, "each": ["method"]}
    assert evaluate(largest, missing).verdict == UNTESTED


def test_the_ledger_without_records_says_so(tmp_path, monkeypatch):
    monkeypatch.setattr(results, "published", lambda experiment: [])
    ledger = verdicts.ledger("quick", Store(tmp_path))
    assert set(ledger.verdict) == {UNTESTED} and ledger.reason.str.len().min() > 10


def test_claims_are_complete_and_their_experiments_exist():
    loaded = verdicts.load()
    assert len({claim["id"] for claim in loaded}) == len(loaded) >= 9
    tested = [claim for claim in loaded if "untested" not in claim]
    assert all(claim["experiment"] in catalogue.EXPERIMENTS for claim in tested)
    kinds = [sum(kind in claim["test"] for kind in ("where", "larger", "between")) for claim in tested]
    assert set(kinds) == {1}


def test_over_seeds_two_sides_are_paired_by_image_first():
    """Images are of unlike difficulty, and each side judges others: means of all would differ, though no image does."""
    hard = {0: 0.1, 1: 0.2, 2: 0.9, 3: 0.8}
    rows = [{"training": training, "seed": seed, "image": image, "topk": hard[image] + 0.01 * seed + gain}
            for training, gain, images in (("pgd", 0.0, (0, 1, 2)), ("fine", 0.05, (1, 2, 3)))
            for seed in range(3) for image in images]
    test = {"column": "topk", "larger": {"training": "fine"}, "smaller": {"training": "pgd"}, "over": "seed"}
    judged = evaluate(test, pd.DataFrame(rows))
    assert judged.measured == "0.05" and judged.verdict == REPRODUCED and "n = 3 seeds" in judged.measured_with_interval
