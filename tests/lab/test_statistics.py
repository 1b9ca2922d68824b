"""Intervals, tests and sample sizes, against SciPy and against simulation."""

import numpy as np
import pytest
import scipy.stats as st

from lab import catalogue
from lab.core import results
from lab.core.statistics import bootstrap, deciding, equivalence, holm, student, two_sided

VALUES = np.random.default_rng(0).normal(0.3, 1.0, 12)


@pytest.mark.parametrize("bound", [0.0, 0.3, 1.0])
def test_two_sided_is_scipys(bound):
    assert two_sided(VALUES, bound) == pytest.approx(st.ttest_1samp(VALUES, bound).pvalue)


@pytest.mark.parametrize("margin", [0.1, 0.8, 3.0])
def test_equivalence_is_two_one_sided_tests(margin):
    below = st.ttest_1samp(VALUES, margin, alternative="less").pvalue
    above = st.ttest_1samp(VALUES, -margin, alternative="greater").pvalue
    assert equivalence(VALUES, margin) == pytest.approx(max(below, above))
    low, high = student(VALUES, level=0.9)
    assert (equivalence(VALUES, margin) < 0.05) == (-margin < low and high < margin)


def test_constant_values_are_decided_and_single_ones_never():
    assert two_sided(np.full(5, 2.0), 1.0) == 0 and two_sided(np.full(5, 1.0), 1.0) == 1
    assert two_sided(np.array([9.0]), 0.0) == 1 and equivalence(np.array([0.0]), 1.0) == 1


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
    wrong = sum(min(holm([two_sided(row, 0.0) for row in generator.normal(size=(6, 20))])) < 0.05 for _ in range(600))
    assert wrong / 600 < 0.05 + 3 * (0.05 * 0.95 / 600) ** 0.5


@pytest.mark.parametrize("distance", [0.3, 0.6, 1.5, 3.0])
def test_the_number_that_decides_does_so_four_times_in_five(distance):
    count = int(deciding(1.0, distance))
    samples = np.random.default_rng(2).normal(distance, 1.0, (1500, count))
    found = np.mean([two_sided(row, 0.0) < 0.05 for row in samples])
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
