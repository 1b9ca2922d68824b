"""Intervals, tests and sample sizes, against SciPy and against simulation."""

import numpy as np
import pytest
import scipy.stats as st

from lab import catalogue
from lab.core import results
from lab.core.estimates import levene, of_seeds, of_two_groups, of_units
from lab.core.statistics import bootstrap, deciding, holm, student

VALUES = np.random.default_rng(0).normal(0.3, 1.0, 12)


@pytest.mark.parametrize("bound", [0.0, 0.3, 1.0])
def test_two_sided_is_scipys(bound):
    assert of_units(VALUES).two_sided(bound) == pytest.approx(st.ttest_1samp(VALUES, bound).pvalue)


@pytest.mark.parametrize("margin", [0.1, 0.8, 3.0])
def test_equivalence_is_two_one_sided_tests(margin):
    below = st.ttest_1samp(VALUES, margin, alternative="less").pvalue
    above = st.ttest_1samp(VALUES, -margin, alternative="greater").pvalue
    assert of_units(VALUES).equivalence(margin) == pytest.approx(max(below, above))
    low, high = student(VALUES, level=0.9)
    assert (of_units(VALUES).equivalence(margin) < 0.05) == (-margin < low and high < margin)


def test_constant_values_are_decided_and_single_ones_never():
    same, one = of_units(np.full(5, 2.0)), of_units(np.array([0.0]))
    assert same.two_sided(1.0) == 0 and same.two_sided(2.0) == 1 and same.equivalence(3.0) == 0
    assert one.two_sided(1.0) == 1 and one.equivalence(1.0) == 1 and one.interval() == (-np.inf, np.inf)


def test_student_interval_is_scipys():
    assert student(VALUES) == pytest.approx(st.t.interval(0.95, 11, VALUES.mean(), st.sem(VALUES)))


@pytest.mark.parametrize("ps, adjusted", [
    ([0.01, 0.04, 0.03], [0.03, 0.06, 0.06]), ([0.5, 0.9], [1.0, 1.0]), ([0.2], [0.2]), ([], []),
    ([0.04, 0.001], [0.04, 0.002])])
def test_holm(ps, adjusted):
    assert holm(ps) == pytest.approx(adjusted)


def test_holm_keeps_the_level_of_a_family():
    """All hypotheses are true: how often any is rejected."""
    generator = np.random.default_rng(1)
    families = generator.normal(size=(600, 6, 20))
    wrong = sum(min(holm([of_units(row).two_sided(0.0) for row in family])) < 0.05 for family in families)
    assert wrong / 600 < 0.05 + 3 * (0.05 * 0.95 / 600) ** 0.5


@pytest.mark.parametrize("distance", [0.3, 0.6, 1.5, 3.0])
def test_the_number_that_decides_does_so_four_times_in_five(distance):
    count = int(deciding(1.0, distance))
    samples = np.random.default_rng(2).normal(distance, 1.0, (1500, count))
    found = np.mean([of_units(row).two_sided(0.0) < 0.05 for row in samples])
    assert 0.77 < found < (0.85 if count > 8 else 1.0)
    assert deciding(1.0, 0.0) == np.inf


@pytest.mark.parametrize("count", [3, 8, 32, 64])
def test_student_covers_normal_means(count):
    samples = np.random.default_rng(3).normal(size=(4000, count))
    covered = np.mean([low <= 0 <= high for low, high in map(student, samples)])
    assert abs(covered - 0.95) < 0.02


@pytest.mark.parametrize("count, least", [(8, 0.90), (32, 0.92), (64, 0.93)])
def test_student_covers_means_of_published_measurements_better_than_percentiles(count, least):
    """Samples from the published images of a cell, with replacement; its own mean is what has to be covered."""
    table = results.measured(catalogue.experiment("small"), "edition", None)
    table = table[(table.epsilon > 0) & (table.method == "gradient")]
    generator, covered = np.random.default_rng(4), []
    for _, cell in table.groupby(["attack", "epsilon"]):
        for column in ("topk", "spearman", "center"):
            everything = cell[column].to_numpy(float)
            for _ in range(25):
                sample = generator.choice(everything, count)
                covered.append([low <= everything.mean() <= high for low, high in (student(sample), bootstrap(sample))])
    ours, percentiles = np.mean(covered, axis=0)
    assert ours > least and ours >= percentiles - 0.005


def test_levene_is_scipys_about_means():
    groups = [np.random.default_rng(seed).normal(size=size) * (seed + 1) for seed, size in enumerate((3, 7, 5))]
    assert levene(groups) == pytest.approx(st.levene(*groups, center="mean").pvalue)
    assert levene([np.ones(3), np.ones(4)]) == 1.0


def test_two_groups_of_one_variance_are_scipys_where_there_are_no_others():
    one, other = np.random.default_rng(3).normal(size=(2, 6))
    test, found = st.ttest_ind(one, other), of_two_groups(one, other, [one, other])
    interval = test.confidence_interval(0.95)
    assert found.two_sided(0.0) == pytest.approx(test.pvalue) and found.n == 6
    assert found.interval() == pytest.approx((interval.low, interval.high))
    assert of_two_groups(one, 40 * other, [one, 40 * other]) is None
    assert of_two_groups(one[:1], other, [one, other]) is None


# Standard deviations of the accuracy of eight estimators over seeds, as measured on CIFAR-10 with 50 % removed, where
# Levene's test allows one variance, and with 10 and 90 %, where it does not.
SPREADS = {"equal": [0.3] * 8, "50 %": [0.24, 0.30, 0.28, 0.60, 0.34, 0.45, 0.55, 0.16],
           "10 %": [0.67, 0.26, 0.12, 0.22, 0.05, 0.15, 0.30, 0.21],
           "90 %": [0.54, 0.37, 0.63, 0.19, 0.53, 2.1, 0.24, 1.1]}


@pytest.mark.parametrize("spreads", SPREADS)
def test_intervals_of_three_trainings_cover_whether_pooled_or_paired(spreads):
    """Of the difference to Random, the fourth, of the second, the sixth and the eighth, whose spreads are unlike."""
    generator, covered = np.random.default_rng(4), []
    for _ in range(1500):
        groups = list(generator.normal(size=(8, 3)) * np.array(SPREADS[spreads])[:, None])
        for place in (1, 5, 7):
            estimate = of_two_groups(groups[3], groups[place], groups) or of_units(groups[3] - groups[place])
            low, high = estimate.interval()
            covered.append(low <= 0 <= high)
    assert abs(np.mean(covered) - 0.95) < 0.02


@pytest.mark.parametrize("ratio", [0, 1, 2, 5])
@pytest.mark.parametrize("skewed", [False, True])
def test_intervals_of_five_seeds_cover_whether_seeds_or_images_differ_more(ratio, skewed):
    """`ratio` is the standard deviation of a network over that of the mean of its 200 images; in the records it goes
    from below one to 4.7. Plain percentiles of the same draws fail at either end."""
    generator, seeds, covered, rejected = np.random.default_rng(5), np.repeat(range(5), 200), [], []
    for _ in range(1000):
        images = generator.exponential(size=(5, 200)) - 1 if skewed else generator.normal(size=(5, 200))
        values = images + ratio / 200**0.5 * generator.normal(size=(5, 1))
        estimate = of_seeds(values.ravel(), seeds)
        low, high = estimate.interval()
        covered.append(low <= 0 <= high)
        rejected.append(estimate.two_sided(0.0) < 0.05)
    assert abs(np.mean(covered) - 0.95) < 0.02 and abs(np.mean(rejected) - 0.05) < 0.02


def test_seeds_that_agree_and_single_seeds_are_treated_as_units():
    seeds = np.repeat([3, 4, 9], 2)
    assert of_seeds(np.array([1, 3, 2, 2, 0, 4.0]), seeds) == of_units(np.full(3, 2.0))
    assert of_seeds(np.array([1.0, 2.0]), np.zeros(2)).interval() == (-np.inf, np.inf)
    unequal = of_seeds(np.array([1.0, 2.0, 3.0, 8.0]), np.array([0, 0, 0, 1]))
    assert unequal.mean == 5 and unequal.n == 2         # a seed counts once, however many images it has
