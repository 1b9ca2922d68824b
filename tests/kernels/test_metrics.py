"""fragility.metrics against plain loops, SciPy and what must hold for any two maps."""

import numpy as np
import pytest
import scipy.stats
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fragility import metrics, removal
from fragility.metrics.agreement import kendall_tau_b
from tests.oracles import metrics as oracle

KINDS = ("distinct", "few values", "signed", "mostly zero")


def maps(kind, n=4, height=5, width=6, seed=0):
    generator = torch.Generator().manual_seed(seed)
    values = torch.rand(n, height, width, generator=generator, dtype=torch.float64)
    if kind == "few values":
        return (4 * values).floor() / 4
    if kind == "signed":
        return values - 0.5
    if kind == "mostly zero":
        return values * (values > 0.8)
    return values


def close(actual, expected, tolerance=1e-12):
    torch.testing.assert_close(actual.double(), expected, rtol=tolerance, atol=tolerance)


def pairs(smallest=0, largest=4):
    """Two batches of two 3 x 4 maps of small integers: plenty of ties."""
    values = st.lists(st.integers(smallest, largest), min_size=24, max_size=24)
    return st.tuples(values, values).map(
        lambda both: tuple(torch.tensor(one, dtype=torch.float64).view(2, 3, 4) for one in both))


def constant(batch):
    return bool((batch.flatten(1).amax(1) == batch.flatten(1).amin(1)).any())


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("k", [1, 7, 29, 30])
def test_topk_intersection_is_the_loop(kind, k):
    a, b = maps(kind), maps(kind, seed=1)
    close(metrics.topk_intersection(a, b, k), oracle.topk_intersection(a, b, k))


def test_ties_take_the_lowest_flat_index():
    flat, first, second = torch.ones(1, 2, 3), torch.zeros(1, 2, 3), torch.zeros(1, 2, 3)
    first[0, 0, :2] = 1
    second[0, 1, 1:] = 1
    assert metrics.topk_intersection(flat, first, 2).tolist() == [1.0]
    assert metrics.topk_intersection(flat, second, 2).tolist() == [0.0]


def test_ties_in_a_large_map():
    a = torch.zeros(1, 40, 50, dtype=torch.float64)
    a[0, 7, 7] = 1
    b = maps("few values", 1, 40, 50)
    close(metrics.topk_intersection(a, b, 200), oracle.topk_intersection(a, b, 200))


@pytest.mark.parametrize("kind", KINDS)
def test_spearman_is_the_loop_and_scipy(kind):
    a, b = maps(kind), maps(kind, seed=1)
    close(metrics.spearman(a, b), oracle.spearman(a, b), 1e-10)
    scipy_says = [scipy.stats.spearmanr(p.flatten(), q.flatten()).statistic for p, q in zip(a, b)]
    close(metrics.spearman(a, b), torch.tensor(scipy_says, dtype=torch.float64), 1e-10)


@pytest.mark.parametrize("kind", KINDS)
def test_kendall_is_the_loop_and_scipy(kind):
    a, b = maps(kind), maps(kind, seed=1)
    close(metrics.kendall(a, b), oracle.kendall(a, b), 1e-10)
    scipy_says = [scipy.stats.kendalltau(p.flatten(), q.flatten()).statistic for p, q in zip(a, b)]
    close(metrics.kendall(a, b), torch.tensor(scipy_says, dtype=torch.float64), 1e-10)
    close(kendall_tau_b(a.flatten(1), b.flatten(1)), torch.tensor(scipy_says, dtype=torch.float64), 1e-12)


@given(st.integers(2, 40), st.integers(1, 6), st.integers(0, 10**6))
@settings(max_examples=60, deadline=None, derandomize=True)
def test_tau_counts_pairs_as_scipy_does(pixels, values, seed):
    a, b = torch.randint(values + 1, (2, 3, pixels), generator=torch.Generator().manual_seed(seed)).double()
    a[:, 0], b[:, 0] = values + 1, values + 1           # constant rows have no ranks
    expected = [scipy.stats.kendalltau(p, q).statistic for p, q in zip(a, b)]
    close(kendall_tau_b(a, b), torch.tensor(expected, dtype=torch.float64), 1e-12)


@pytest.mark.parametrize("kind", ["distinct", "few values", "mostly zero"])
def test_center_shift_is_the_loop(kind):
    a, b = maps(kind), maps(kind, seed=1)
    close(metrics.center_shift(a, b), oracle.center_shift(a, b), 1e-10)


def test_center_shift_of_a_moved_spot():
    a, b = torch.zeros(2, 9, 9, dtype=torch.float64), torch.zeros(2, 9, 9, dtype=torch.float64)
    a[:, 2, 3], b[0, 5, 7], b[1, 2, 3] = 1, 1, 1
    close(metrics.center_shift(a, b), torch.tensor([5.0, 0.0], dtype=torch.float64))


def test_center_shift_knows_no_mass():
    a, b = maps("distinct"), maps("distinct", seed=1)
    close(metrics.center_shift(1000 * a, 0.001 * b), metrics.center_shift(a, b).double(), 1e-9)


@given(pairs(), st.integers(1, 12))
@settings(max_examples=60, deadline=None, derandomize=True)
def test_topk_properties(both, k):
    a, b = (one - one.amin((1, 2), keepdim=True) + 1 for one in both)       # no map is zero everywhere
    overlap = metrics.topk_intersection(a, b, k)
    close(overlap, oracle.topk_intersection(a, b, k))
    assert torch.equal(overlap, metrics.topk_intersection(b, a, k))
    assert metrics.topk_intersection(a, a, k).tolist() == [1.0, 1.0]
    assert metrics.topk_intersection(a, b, 12).tolist() == [1.0, 1.0]
    assert torch.equal(overlap, metrics.topk_intersection(3 * a + 1, b, k))


@given(pairs())
@settings(max_examples=40, deadline=None, derandomize=True)
@pytest.mark.parametrize("name", ["spearman", "kendall"])
def test_rank_correlation_properties(name, both):
    score = getattr(metrics, name)
    a, b = both
    if constant(a) or constant(b):
        with pytest.raises(ValueError, match="constant|equal"):
            score(a, b)
        return
    value = score(a, b)
    close(value, getattr(oracle, name)(a, b), 1e-10)
    close(score(b, a), value.double(), 1e-10)
    close(score(a, -b), -value.double(), 1e-10)
    close(score(a ** 3 + 2 * a, b), value.double(), 1e-10)         # increasing: ranks stay
    close(score(a, a), torch.ones(2, dtype=torch.float64), 1e-10)


@given(pairs(1, 5))
@settings(max_examples=40, deadline=None, derandomize=True)
def test_center_shift_properties(both):
    a, b = both
    shift = metrics.center_shift(a, b)
    close(metrics.center_shift(b, a), shift.double(), 1e-10)
    close(metrics.center_shift(a.flip(1), b.flip(1)), shift.double(), 1e-10)
    close(metrics.center_shift(a.mT, b.mT), shift.double(), 1e-10)
    close(metrics.center_shift(a, a), torch.zeros(2, dtype=torch.float64), 1e-10)


@pytest.mark.parametrize("name", ["spearman", "kendall"])
def test_a_constant_map_is_named(name):
    a, b = maps("distinct"), maps("distinct", seed=1)
    a[2] = 0.25
    for first, second in ((a, b), (b, a)):
        with pytest.raises(ValueError, match=r"\b2\b"):
            getattr(metrics, name)(first, second)


@pytest.mark.parametrize("name", ["topk_intersection", "spearman", "kendall", "center_shift"])
def test_a_batch_is_its_images_and_float32_is_enough(name):
    a, b = maps("few values", n=3), maps("few values", n=3, seed=1)
    arguments = (9,) if name == "topk_intersection" else ()
    score = getattr(metrics, name)
    whole = score(a, b, *arguments)
    assert whole.shape == (3,) and whole.is_floating_point()
    for i in range(3):
        close(score(a[i:i + 1], b[i:i + 1], *arguments), whole[i:i + 1].double())
    close(score(a.float(), b.float(), *arguments), whole.double(), 1e-5)


def test_numbers_of_numpy_are_numbers():
    a = torch.rand(2, 5, 6)
    assert torch.equal(metrics.topk_intersection(a, a, np.int64(3)), metrics.topk_intersection(a, a, 3))
    assert removal.top_mask(a, np.float64(0.5)).sum() == 30
    assert torch.equal(metrics.topk_chance(a, np.int32(3)), metrics.topk_chance(a, 3))


def test_rank_correlations_of_half_precision():
    a, b = torch.randint(0, 50, (2, 3, 5, 6)).bfloat16()
    assert torch.equal(metrics.kendall(a, b), metrics.kendall(a.double(), b.double()))
    assert torch.equal(metrics.spearman(a, b), metrics.spearman(a.double(), b.double()))
