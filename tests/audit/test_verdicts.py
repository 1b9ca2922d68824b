"""Verdicts: intervals against SciPy and simulation, counts of images by brute force, and what decides."""

import math
from dataclasses import replace

import numpy as np
import pytest
import scipy.stats

from fragility.audit import CRITERIA, MARGINS, Criterion, Margin, Measured
from fragility.audit.criterion import Cost
from fragility.audit.verdicts import Result, family_level, images_needed, interval, judge


def criterion(**changed) -> Criterion:
    """A question with a plain margin of 0.1, of a score that is good where it is high."""
    return replace(Criterion("question", "Is it?", lambda group, method, settings: Measured(None),
                             lambda settings, form: Cost(), "nobody2026", Margin(0.1, "Why not."), "score"), **changed)


def result(score, controls=None, **changed) -> Result:
    score = np.asarray(score, dtype=float)
    return Result("method", "question", np.arange(len(score)), score,
                  {name: np.broadcast_to(np.asarray(values, float), score.shape) for name, values in
                   (controls or {}).items()}, undefined=np.zeros(len(score), bool), **changed)


def around(mean, deviation, n=20, seed=0):
    """Numbers of exactly this mean and standard deviation."""
    values = np.random.default_rng(seed).standard_normal(n)
    return mean + deviation * (values - values.mean()) / values.std(ddof=1)


# Intervals

@pytest.mark.parametrize("n", [2, 3, 17, 64])
@pytest.mark.parametrize("level", [0.9, 0.95, 0.999])
def test_the_interval_is_students(n, level):
    effects = np.random.default_rng(n).exponential(size=n)
    mean, low, high = interval(effects, level)
    expected = scipy.stats.t.interval(level, n - 1, loc=effects.mean(), scale=scipy.stats.sem(effects))
    assert mean == pytest.approx(effects.mean()) and (low, high) == pytest.approx(expected, rel=1e-9)


def test_one_image_decides_nothing():
    assert interval(np.array([0.3])) == (0.3, -math.inf, math.inf)
    found = judge(criterion(), result([5.0], {"control": [0.0]}), family=1)
    assert found.verdict == "undecided" and found.needed is None


def test_intervals_cover_the_truth_as_often_as_they_say():
    draw = np.random.default_rng(0)
    hits = [low <= 1.0 <= high for _ in range(4000) for _, low, high in [interval(draw.normal(1, 2, 12))]]
    # 4,000 draws at 95 %: a standard error of 0.0034.
    assert abs(np.mean(hits) - 0.95) < 0.0138


@pytest.mark.parametrize("family", [1, 3, 11])
def test_a_family_of_intervals_covers_all_truths_together(family):
    draw = np.random.default_rng(1)
    level = family_level(family)
    assert level == pytest.approx(1 - 0.05 / family)
    hits = [all(low <= 0 <= high for _ in range(family) for _, low, high in [interval(draw.normal(size=10), level)])
            for _ in range(1500)]
    assert 0.95 - 0.017 < np.mean(hits) <= 1


def wrong(draw_score, margin, *, trials=1500, n=24, **changed):
    """Share of audits that pass or fail a method whose mean effect is exactly its threshold."""
    words = []
    for seed in range(trials):
        score, control = draw_score(np.random.default_rng(seed), n)
        words.append(judge(criterion(margin=margin, **changed), result(score, {"control": control}), family=1).verdict)
    return np.mean([word != "undecided" for word in words])


def test_a_plain_margin_is_missed_no_oftener_than_its_level():
    def draw(source, n):
        control = source.normal(0.3, 0.2, n)
        return control + 0.1 + source.normal(0, 0.1, n), control
    assert wrong(draw, Margin(0.1, "")) < 0.05 + 0.018


@pytest.mark.parametrize("noise", [0.0, 0.05])
def test_a_share_of_the_room_is_held_with_the_room_as_uncertain_as_it_is(noise):
    """Score and control rise together here: their difference hardly varies, but half of the room does."""
    expected = 0.5 * (1 - 0.4)

    def draw(source, n):
        control = source.normal(0.4, 0.1, n)
        return control + expected + noise * source.standard_normal(n), control
    assert wrong(draw, Margin(0.5, "", is_share=True), best=1.0) < 0.05 + 0.018


# How many images

@pytest.mark.parametrize("mean, deviation, margin", [(0.5, 1.0, 0.0), (0.12, 0.1, 0.1), (-0.3, 0.5, 0.1),
                                                     (0.101, 0.02, 0.1), (5.0, 0.1, 0.0)])
@pytest.mark.parametrize("level", [0.95, 1 - 0.05 / 11])
def test_images_needed_by_brute_force(mean, deviation, margin, level):
    def leaves_out(n):
        half = scipy.stats.t.ppf((1 + level) / 2, n - 1) * deviation / math.sqrt(n)
        return mean - half > margin or mean + half < margin
    expected = next(n for n in range(2, 100_000) if leaves_out(n))
    assert images_needed(mean, deviation, margin, level) == expected


def test_more_images_than_anyone_has():
    assert images_needed(0.1, 1.0, 0.1) is None and images_needed(0.1, 0.0, 0.1) is None
    assert images_needed(0.1, math.inf, 0.0) is None and images_needed(0.2, 0.0, 0.1) == 2
    assert images_needed(0.1 + 1e-4, 1.0, 0.1) is None


def test_the_number_that_is_promised_decides():
    """As many images of the same mean and deviation as the verdict names are enough, and one less is not."""
    one = criterion(margin=Margin(0.1, ""))
    first = judge(one, result(around(0.13, 0.2, 30), {"control": 0}), family=3)
    assert first.verdict == "undecided" and first.needed > 30 and f"{first.needed:,} images" in first.reason
    enough = judge(one, result(around(0.13, 0.2, first.needed), {"control": 0}), family=3)
    less = judge(one, result(around(0.13, 0.2, first.needed - 1), {"control": 0}), family=3)
    assert (enough.verdict, less.verdict) == ("pass", "undecided")


# What decides

@pytest.mark.parametrize("mean, word", [(0.5, "pass"), (0.11, "undecided"), (-0.2, "fail"), (0.09, "undecided")])
def test_the_interval_decides_against_the_margin(mean, word):
    found = judge(criterion(), result(around(mean, 0.1) + 0.3, {"control": 0.3}), family=1)
    assert found.verdict == word and found.effect == pytest.approx(mean) and found.threshold == 0.1
    assert found.n == 20 and found.control == "control" and found.control_score == pytest.approx(0.3)
    half = scipy.stats.t.ppf(0.975, 19) * 0.1 / math.sqrt(20)
    assert (found.low, found.high) == pytest.approx((mean - half, mean + half))
    assert (found.needed is not None) == (word == "undecided")


def test_where_low_is_good_the_effect_is_turned():
    found = judge(criterion(high_is_good=False), result(around(0.2, 0.1), {"control": 0.9}), family=1)
    assert found.verdict == "pass" and found.effect == pytest.approx(0.7)
    assert judge(criterion(high_is_good=False), result(around(0.9, 0.1), {"control": 0.2}), family=1).verdict == "fail"


def test_effects_are_paired():
    """Images differ far more than the method and its control do on each."""
    hard = around(0.0, 10.0, seed=1)
    found = judge(criterion(), result(hard + 0.5 + around(0, 0.01), {"control": hard}), family=1)
    assert found.verdict == "pass" and found.high - found.low < 0.02


def test_a_larger_family_asks_for_more():
    values = result(around(0.15, 0.1), {"control": 0})
    words = [judge(criterion(), values, family=family).verdict for family in (1, 200)]
    assert words == ["pass", "undecided"]


def test_no_control_is_a_control_of_zero():
    found = judge(criterion(), result(around(0.5, 0.1)), family=1)
    assert found.verdict == "pass" and "zero" not in found.reason


@pytest.mark.parametrize("order", [1, -1])
def test_the_closest_control_decides(order):
    controls = dict([("easy", 0.0), ("hard", 0.45)][::order])
    found = judge(criterion(), result(around(0.5, 0.01), controls), family=1)
    assert (found.verdict, found.control) == ("fail", "hard") and found.effect == pytest.approx(0.05)
    found = judge(criterion(), result(around(0.9, 0.01), controls), family=1)
    assert (found.verdict, found.control) == ("pass", "hard")


def test_a_failure_names_the_control_that_it_fails_against():
    """One control is unsure and its interval reaches lowest; the other one is surely not beaten."""
    unsure, sure = around(0.0, 2.0, seed=1), np.full(20, 0.45)
    found = judge(criterion(), result(np.full(20, 0.5), {"unsure": unsure, "sure": sure}), family=1)
    assert (found.verdict, found.control) == ("fail", "sure") and found.high < found.threshold


@pytest.mark.parametrize("high", [True, False])
@pytest.mark.parametrize("control, threshold", [(0.2, 0.4), (0.6, 0.2), (0.9, 0.1), (0.97, 0.1)])
def test_margins_are_shares_of_the_room_but_no_less_than_a_tenth(high, control, threshold):
    one = criterion(margin=Margin(0.5, "", is_share=True), best=1.0 if high else 0.0, high_is_good=high)
    level = control if high else 1 - control
    found = judge(one, result(around(0.5, 0.1), {"control": level}), family=1)
    assert found.threshold == pytest.approx(threshold)


def test_a_control_on_the_far_side_of_the_best_leaves_no_room():
    """Maps under noise that are anticorrelated with themselves: no half of that is a margin."""
    one = criterion(margin=Margin(0.5, "", is_share=True), best=0.0, high_is_good=False)
    assert judge(one, result(around(-0.9, 0.1), {"noise": -0.6}), family=1).threshold == pytest.approx(0.1)


@pytest.mark.parametrize("control, word", [(1.0, "not judged"), (0.95, "not judged"), (0.91, "not judged"),
                                           (0.89, "pass"), (0.5, "pass")])
def test_a_control_that_no_map_could_beat_by_enough_leaves_no_question(control, word):
    """A perfect map passes or is not judged: it must not fail for lack of room."""
    one = criterion(margin=Margin(0.5, "", is_share=True), best=1.0)
    found = judge(one, result(np.ones(20), {"another image": control}), family=1)
    assert found.verdict == word and ("cannot answer" in found.reason) == (word == "not judged")


def test_ties_stay_undecided():
    found = judge(criterion(margin=Margin(0.0, "")), result(np.full(20, 0.3), {"control": 0.3}), family=1)
    assert found.verdict == "undecided" and found.needed is None and "More images than anyone has" in found.reason


# Exact criteria

@pytest.mark.parametrize("value, word", [(0.0, "pass"), (1e-5, "pass"), (2e-5, "fail"), (1.4, "fail")])
def test_what_is_exact_holds_or_does_not(value, word):
    found = judge(CRITERIA["shift"], result([value] * 4), family=9)
    assert found.verdict == word and found.needed is None and found.threshold == -1e-5
    assert found.low == found.high == found.effect == -value


def test_completeness_is_judged_by_the_mean_since_it_is_relative_to_the_mean_difference():
    found = judge(CRITERIA["completeness"], result([0.02, 0.06, 0.01]), family=2)
    assert found.verdict == "pass" and found.score == pytest.approx(0.03)
    assert judge(CRITERIA["completeness"], result([0.02, 0.2, 0.01]), family=2).verdict == "fail"


def test_one_image_that_breaks_the_invariance_is_not_averaged_away():
    found = judge(CRITERIA["shift"], result([0.0] * 63 + [5e-4]), family=1)
    assert found.verdict == "fail" and found.score == pytest.approx(5e-4)


@pytest.mark.parametrize("repaired, said", [([0.0, 1e-9], True), ([0.0, 0.3], False)])
def test_a_repair_is_named_where_it_helps_every_image(repaired, said):
    found = judge(CRITERIA["shift"], result([0.4, 0.5], details={"repaired": np.array(repaired)}), family=1)
    assert found.verdict == "fail" and ("moves with the data" in found.reason) == said


# Undefined, refused, reported

@pytest.mark.parametrize("count, word", [(0, "pass"), (5, "pass"), (6, "fail")])
def test_more_than_a_twentieth_of_undefined_maps_fails(count, word):
    score = around(0.9, 0.1, 100)
    score[:count] = np.nan
    values = result(score, {"control": 0.0})
    values.undefined[:count] = True
    found = judge(criterion(), values, family=1)
    assert (found.verdict, found.undefined, found.n) == (word, count, 100 - count)
    assert ("undefined" in found.reason) == (word == "fail")


def test_images_without_a_control_are_left_out():
    control = np.zeros(20)
    control[3] = np.nan
    score = around(0.9, 0.1)
    score[3] = -1e9
    found = judge(criterion(), result(score, {"control": control}), family=1)
    assert found.verdict == "pass" and found.n == 19 and found.score == pytest.approx(np.delete(score, 3).mean())


def test_what_was_not_measured_is_not_judged():
    found = judge(criterion(), Result("method", "question", refused="It makes no sense."), family=1)
    assert (found.verdict, found.reason, found.n) == ("not judged", "It makes no sense.", 0)
    assert judge(criterion(), result([np.nan] * 3, {"control": 0}), family=1).verdict == "not judged"
    assert judge(criterion(margin=None), result([1.0, 2.0]), family=1).verdict == "not judged"


def test_an_objection_keeps_the_score_and_no_verdict():
    one = criterion(objection=lambda details: f"Too weak: {details['found'].mean():.1f} of {len(details['score'])}.")
    found = judge(one, result(around(0.9, 0.1), {"control": 0}, details={"found": np.full(20, 0.5)}), family=1)
    assert (found.verdict, found.reason, found.n) == ("not judged", "Too weak: 0.5 of 20.", 20)
    assert found.score == pytest.approx(0.9) and found.effect is None


@pytest.mark.parametrize("share, word", [(1.0, "fail"), (0.8, "fail"), (0.79, "not judged")])
def test_attacks_need_four_fifths_of_the_images(share, word):
    found = np.arange(100) < round(100 * share)
    hit = lambda values: np.where(found, values, np.nan)
    values = result(hit(around(0.2, 0.05, 100)), {"another image": hit(np.full(100, 0.1))},
                    details={"found": found.astype(float), "moved": np.ones(100), "noise": hit(np.full(100, 0.8))})
    assert judge(CRITERIA["attack"], values, family=1).verdict == word


# The table of margins

def test_every_margin_has_a_reason_and_every_judged_criterion_a_margin():
    judged = {name for name, one in CRITERIA.items() if one.margin is not None}
    assert judged == set(MARGINS) and set(CRITERIA) - judged == {"cost"}
    for name, margin in MARGINS.items():
        assert margin.reason.endswith(".") and math.isfinite(margin.value)
        assert margin.is_share == (CRITERIA[name].best is not None)
        assert not (margin.is_share and CRITERIA[name].exact)


def test_a_margin_of_the_user_replaces_the_one_of_the_table():
    values = result(around(0.5, 0.1), {"control": 0})
    words = [judge(criterion(), values, family=1, margin=Margin(value, "")).verdict for value in (0.1, 0.5, 0.9)]
    assert words == ["pass", "undecided", "fail"]
