"""The locality-aware metrics and attacks against plain loops, chance, and what must hold for any two maps."""

import functools

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from fragility import attacks, metrics
from fragility.metrics.agreement import topk_mask
from lab.chapters.lens import image_choice, metric_comparison, scores, seeds, separation
from lab.chapters.lens import published_code as published
from lab.chapters.lens.figures import lens_bars
from lab.core import profiles
from lab.material import data
from lab.trained import robust
from tests import networks
from tests.networks import build, images
from tests.oracles import lens as oracle
from tests.oracles import maps as map_oracle

KINDS = ("distinct", "blurred", "few values", "mostly zero", "signed", "flat")
SIZES = ((6, 6), (4, 9), (8, 5))
WINDOWS = (0, 1, 2, 3)
SCORES = ("lens_recall", "lens_precision")
RANKS = ("lens_spearman", "lens_kendall")
EPSILON, STEPS, K, WINDOW = 0.1, 12, 12, 1


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def maps(kind, size=(6, 6), n=2, seed=0):
    values = torch.rand(n, *size, generator=seeded(seed), dtype=torch.float64)
    if kind == "blurred":
        for _ in range(2):
            values = F.avg_pool2d(values[:, None], 3, 1, 1)[:, 0]
    if kind == "few values":
        return (4 * values).floor() / 4
    if kind == "mostly zero":
        return values * (values > 0.8)
    if kind == "signed":
        return values - 0.5
    if kind == "flat":
        values = torch.zeros_like(values)
        values[:, -1, -2] = 1
    return values


def close(actual, expected, tolerance=1e-12):
    torch.testing.assert_close(actual.double(), expected.double(), rtol=tolerance, atol=tolerance)


def pairs(largest=3, n=2, height=4, width=5):
    """Two batches of maps of small integers: plenty of ties and zeros, sums without rounding."""
    values = st.lists(st.integers(0, largest), min_size=n * height * width, max_size=n * height * width)
    return st.tuples(values, values).map(
        lambda both: tuple(torch.tensor(one, dtype=torch.float64).view(n, height, width) for one in both))


def distinct_pairs(height=4, width=5):
    order = st.permutations(range(height * width))
    return st.tuples(order, order).map(
        lambda both: tuple(torch.tensor(one, dtype=torch.float64).view(1, height, width) for one in both))


def possible(a, b, window):
    """The largest k for which every map of two batches has k diverse pixels."""
    return min(oracle.capacity(a, window) + oracle.capacity(b, window))


def repeated(examples):
    return settings(max_examples=examples, deadline=None, derandomize=True)


# ---------------------------------------------------------------------------------------- against the loops
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("window", WINDOWS)
@pytest.mark.parametrize("kind", KINDS)
def test_set_metrics_are_the_loops(kind, window, size):
    a, b = maps(kind, size), maps(kind, size, seed=1)
    for k in (1, 7, a[0].numel() - 1, a[0].numel()):
        for name in (*SCORES, "lens_distance"):
            close(getattr(metrics, name)(a, b, k, window), getattr(oracle, name)(a, b, k, window))
        close(metrics.lens_chance(a, k, window), oracle.coverage(a, k, window))


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("window", WINDOWS)
@pytest.mark.parametrize("kind", KINDS)
def test_diverse_metrics_are_the_loops(kind, window, size):
    a, b = maps(kind, size), maps(kind, size, seed=1)
    most = possible(a, b, window)
    for k in {1, (most + 1) // 2, most}:
        for name in SCORES:
            close(getattr(metrics, name)(a, b, k, window, diverse=True),
                  getattr(oracle, name)(a, b, k, window, diverse=True))
        close(metrics.lens_chance(a, k, window, diverse=True), oracle.coverage(a, k, window, diverse=True))


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("window", WINDOWS)
@pytest.mark.parametrize("kind", KINDS)
def test_diverse_pixels_are_the_greedy_ones(kind, window, size):
    a = maps(kind, size, n=3)
    for k in (1, 2, 3, 7, a[0].numel()):
        mask = metrics.diverse_topk(a, k, window)
        assert mask.dtype == torch.bool and torch.equal(mask, oracle.diverse_topk(a, k, window))


def test_greedy_order_of_ties_on_a_large_map():
    a = maps("few values", (23, 31), n=1)
    for window in (1, 3):
        assert torch.equal(metrics.diverse_topk(a, 25, window), oracle.diverse_topk(a, 25, window))


def test_more_maps_than_are_looked_at_together():
    a = maps("few values", (120, 120), n=20)
    assert a.numel() > metrics.lens._IN_CACHE > a[0].numel()
    one_by_one = torch.cat([metrics.diverse_topk(one, 40, 2) for one in a.split(1)])
    assert torch.equal(metrics.diverse_topk(a, 40, 2), one_by_one)


def test_a_long_chain_of_pixels_each_blocked_by_a_larger_one():
    """Along a slope every pixel is decided only after its larger neighbour: as many rounds as pixels."""
    slope = torch.arange(60, 0, -1, dtype=torch.float64).view(1, 1, 60)
    expected = torch.zeros(1, 1, 60, dtype=torch.bool)
    expected[..., ::3] = True
    assert torch.equal(metrics.diverse_topk(slope, 60, 2), expected)
    assert torch.equal(metrics.diverse_topk(slope.mT, 60, 2), expected.mT)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("window", [*WINDOWS, 9])
def test_dilation_is_the_loop(window, size):
    mask = torch.rand(4, *size, generator=seeded()) < torch.tensor([0.0, 0.05, 0.3, 1.0]).view(4, 1, 1)
    grown = metrics.dilate(mask, window)
    assert grown.dtype == torch.bool and torch.equal(grown, oracle.dilate(mask, window))


@pytest.mark.parametrize("zero_padding", [False, True])
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("window", [*WINDOWS, 9])
def test_box_mean_is_the_loop(window, size, zero_padding):
    for kind in KINDS:
        a = maps(kind, size)
        close(metrics.box_mean(a, window, zero_padding=zero_padding),
              oracle.box_mean(a, window, zero_padding=zero_padding))
    if window <= 3 and not zero_padding:
        expected = F.avg_pool2d(a[:, None], 2 * window + 1, 1, window, count_include_pad=False)[:, 0]
        close(metrics.box_mean(a, window), expected)


@pytest.mark.parametrize("zero_padding", [False, True])
@pytest.mark.parametrize("window", WINDOWS)
@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "flat"])
@pytest.mark.parametrize("name", RANKS)
def test_rank_metrics_are_the_loops(name, kind, window, zero_padding):
    """Ties of the smoothed maps are exact in the loops, so one that rounding breaks would show."""
    a, b = maps(kind, (8, 5)), maps(kind, (8, 5), seed=1)
    close(getattr(metrics, name)(a, b, window, zero_padding=zero_padding),
          getattr(oracle, name)(a, b, window, zero_padding=zero_padding), 1e-10)


def test_windows_that_see_the_same_pixels_tie():
    """A few importances of any size on an empty map: rounding must neither leak into the empty part nor tell
    apart two windows with the same content. (Both happen with running sums.)"""
    a, b = torch.zeros(1, 9, 12, dtype=torch.float64), maps("distinct", (9, 12), n=1)
    for at, value in {(1, 2): 1 / 3, (2, 3): 1e-7, (1, 4): 123.1, (7, 9): 0.1, (6, 9): 0.7, (7, 3): 1e9 / 7}.items():
        a[0][at] = value
    smooth = metrics.box_mean(a, 1)
    assert ((smooth == 0) == ~oracle.dilate(a > 0, 1)).all()
    for name in RANKS:
        close(getattr(metrics, name)(a, b, 1), getattr(oracle, name)(a, b, 1), 1e-10)


# ------------------------------------------------------------------------------------------- cases by hand
def test_recall_widens_the_first_map_and_precision_the_second():
    a, b = torch.zeros(1, 5, 7), torch.zeros(1, 5, 7)
    a[0, 2, 2], a[0, 2, 3] = 3, 2
    b[0, 2, 4], b[0, 2, 6] = 3, 2
    assert metrics.lens_recall(a, b, 2, 1).tolist() == [0.5]            # (2, 4) is next to (2, 3); (2, 6) is not
    assert metrics.lens_precision(a, b, 2, 1).tolist() == [0.5]
    assert metrics.lens_recall(a, b, 2, 3).tolist() == [1.0]
    b[0, 2, 6], b[0, 0, 0] = 0, 2
    assert metrics.lens_recall(a, b, 2, 2).tolist() == [1.0]            # (0, 0) is two steps from (2, 2)
    b[0, 2, 4], b[0, 0, 1] = 0, 3
    assert metrics.lens_recall(a, b, 2, 2).tolist() == [1.0]
    assert metrics.lens_precision(a, b, 2, 2).tolist() == [1.0]
    a[0, 2, 3], a[0, 2, 6] = 0, 2
    assert metrics.lens_recall(a, b, 2, 2).tolist() == [1.0]
    assert metrics.lens_precision(a, b, 2, 2).tolist() == [0.5]         # nothing of b is near (2, 6)
    assert metrics.lens_distance(a, b, 2, 2).tolist() == [0.5]


def test_windows_stop_at_the_borders():
    """The last column and the next row's first one are neighbours in memory only."""
    a, b = torch.zeros(1, 3, 4), torch.zeros(1, 3, 4)
    a[0, 0, 3], b[0, 1, 0] = 1, 1
    assert metrics.lens_recall(a, b, 1, 1).tolist() == [0.0]
    assert metrics.lens_recall(a, b, 1, 2).tolist() == [0.0]
    assert metrics.lens_recall(a, b, 1, 3).tolist() == [1.0]
    corner = torch.zeros(1, 3, 4, dtype=torch.bool)
    corner[0, 0, 0] = True
    assert metrics.dilate(corner, 1).sum() == 4


def test_ties_take_the_lowest_flat_index_in_the_greedy_order_too():
    flat = torch.ones(1, 5, 6, dtype=torch.float64)
    everywhere, two = torch.zeros(1, 5, 6, dtype=torch.bool), torch.zeros(1, 5, 6, dtype=torch.bool)
    everywhere[0, ::2, ::2] = True
    two[0, 0, :4:2] = True
    assert torch.equal(metrics.diverse_topk(flat, 30, 1), everywhere)
    assert torch.equal(metrics.diverse_topk(flat, 2, 1), two)


def test_zero_and_minus_zero_are_a_tie():
    a = torch.zeros(1, 5, 6, dtype=torch.float64)
    a[0, 4, 5] = 1                  # a map that is zero everywhere is refused
    signed = a.clone()
    signed.view(-1)[:7] = -0.0
    for window in WINDOWS:
        assert torch.equal(metrics.diverse_topk(signed, 2, window), metrics.diverse_topk(a, 2, window))
        assert metrics.lens_recall(signed, a, 2, window, diverse=True).tolist() == [1.0]


def test_box_mean_by_hand():
    a = torch.tensor([[[9.0, 0, 0], [0, 0, 0], [0, 0, 18]]], dtype=torch.float64)
    close(metrics.box_mean(a, 1), torch.tensor([[[9 / 4, 9 / 6, 0], [9 / 6, 3, 3], [0, 3, 18 / 4]]]))
    close(metrics.box_mean(a, 1, zero_padding=True), torch.tensor([[[1.0, 1, 0], [1, 3, 2], [0, 2, 2]]]))


def test_padding_with_zeros_makes_unrelated_maps_alike():
    """Border pixels shrink in both maps where zeros count, and not where neighbours are counted."""
    a, b = maps("distinct", (10, 10), n=60), maps("distinct", (10, 10), n=60, seed=1)
    padded = metrics.lens_spearman(a, b, 2, zero_padding=True)
    counted = metrics.lens_spearman(a, b, 2)
    assert padded.mean() > 0.5
    assert counted.mean().abs() < 4 * counted.std() / 60 ** 0.5


def never_empty(maps):
    """The same order of pixels without a map that is zero everywhere, which the metrics refuse."""
    return maps - maps.amin((1, 2), keepdim=True) + 1


@pytest.mark.parametrize("name", ["lens_recall", "lens_precision"])
def test_maps_that_are_zero_everywhere_are_refused(name):
    a = torch.zeros(3, 5, 6, dtype=torch.float64)
    a[:2, 2, 3] = 1
    for pair, side in (((a, a[[0, 0, 0]]), "a"), ((a[[0, 0, 0]], a), "b")):
        with pytest.raises(ValueError, match=f"no top pixels; {side} is zero in image 2"):
            getattr(metrics, name)(*pair, 4, 1)


# ---------------------------------------------------------------------------------------- what must hold
@given(pairs(), st.integers(1, 20))
@repeated(40)
def test_a_wider_window_is_more_lenient(both, k):
    """Proposition 1: d^(w2) <= d^(w1) <= |S sym. diff. T| / k for w1 <= w2."""
    a, b = map(never_empty, both)
    close(metrics.lens_recall(a, b, k, 0), metrics.topk_intersection(a, b, k))
    previous = oracle.symmetric_difference(a, b, k)
    close(metrics.lens_distance(a, b, k, 0), previous)
    for window in WINDOWS:
        distance = metrics.lens_distance(a, b, k, window).double()
        recall, precision = metrics.lens_recall(a, b, k, window), metrics.lens_precision(a, b, k, window)
        assert (distance <= previous + 1e-12).all() and (distance >= -1e-12).all()
        assert (recall >= metrics.topk_intersection(a, b, k)).all() and (recall <= 1).all()
        close(distance, 2 - recall - precision)
        previous = distance
    close(metrics.lens_distance(a, b, k, 5), torch.zeros(2))


@given(pairs(), st.integers(1, 4), st.integers(0, 1), st.booleans())
@repeated(40)
def test_recall_and_precision_mirror_each_other(both, k, window, diverse):
    a, b = map(never_empty, both)
    recall = metrics.lens_recall(a, b, k, window, diverse=diverse)
    assert torch.equal(recall, metrics.lens_precision(b, a, k, window, diverse=diverse))
    assert torch.equal(recall.flip(0), metrics.lens_recall(a.flip(0), b.flip(0), k, window, diverse=diverse))
    assert torch.equal(recall, metrics.lens_recall(8 * a + 1, b / 4 - 1, k, window, diverse=diverse))
    assert metrics.lens_recall(a, a, k, window, diverse=diverse).tolist() == [1.0, 1.0]


@given(distinct_pairs(), st.integers(1, 4), st.integers(0, 1))
@repeated(30)
def test_flips_and_transposes_change_nothing(both, k, window):
    a, b = both
    for turn in (lambda m: m.flip(1), lambda m: m.flip(2), lambda m: m.mT):
        for diverse in (False, True):
            score = functools.partial(metrics.lens_recall, k=k, window=window, diverse=diverse)
            assert torch.equal(score(turn(a), turn(b)), score(a, b))
        close(metrics.box_mean(turn(a), window), turn(metrics.box_mean(a, window)))
        close(metrics.lens_spearman(turn(a), turn(b), window), metrics.lens_spearman(a, b, window), 1e-10)
    assert torch.equal(metrics.diverse_topk(a.mT, 20, window), metrics.diverse_topk(a, 20, window).mT)


@given(pairs(), st.integers(1, 20), st.integers(0, 3))
@repeated(60)
def test_diverse_pixels_keep_their_distance_and_leave_no_room(both, k, window):
    a = both[0]
    picked = metrics.diverse_topk(a, k, window)
    assert torch.equal(picked, oracle.diverse_topk(a, k, window))
    for mask in picked:
        places = mask.nonzero()
        apart = (places[:, None] - places[None]).abs().amax(2)
        apart.fill_diagonal_(window + 1)
        assert (apart > window).all() and 1 <= len(places) <= k
        if len(places) < k:
            assert oracle.dilate(mask[None], window).all()
    if window == 0:
        assert torch.equal(picked, topk_mask(a, k))
    first = metrics.diverse_topk(a, max(k - 1, 1), window)
    assert (picked | ~first).all()      # more picks only add


@given(pairs(largest=7), st.integers(0, 4))
@repeated(60)
def test_smoothing_with_zeros_contracts(both, window):
    """Proposition 3, and that both means are linear."""
    a, b = both
    for zero_padding in (False, True):
        smooth = functools.partial(metrics.box_mean, window=window, zero_padding=zero_padding)
        close(smooth(2 * a - b), 2 * smooth(a) - smooth(b))
    assert (smooth(a - b).flatten(1).norm(dim=1) <= (a - b).flatten(1).norm(dim=1) + 1e-12).all()
    close(metrics.box_mean(torch.full_like(a, 0.25), window), torch.full_like(a, 0.25))
    close(metrics.box_mean(a, 0), a)


@given(distinct_pairs(), st.integers(0, 1))
@repeated(30)
@pytest.mark.parametrize("name", RANKS)
def test_rank_metrics_are_symmetric(name, both, window):
    a, b = both
    score = getattr(metrics, name)
    value = score(a, b, window)
    close(score(b, a, window), value, 1e-10)
    close(score(a, -b, window), -value, 1e-10)
    close(score(a, a, window), torch.ones(1), 1e-10)
    close(score(a, b, 0), getattr(metrics, name.removeprefix("lens_"))(a, b), 1e-10)


@pytest.mark.parametrize("name", [*SCORES, "lens_distance", *RANKS])
def test_a_batch_is_its_images_and_float32_is_enough(name):
    a, b = maps("few values", n=3), maps("few values", n=3, seed=1)
    arguments = (1,) if name in RANKS else (5, 1)
    score = getattr(metrics, name)
    kept_a, kept_b = a.clone(), b.clone()
    whole = score(a, b, *arguments)
    assert torch.equal(a, kept_a) and torch.equal(b, kept_b)
    assert whole.shape == (3,) and whole.is_floating_point()
    for i in range(3):
        close(score(a[i:i + 1], b[i:i + 1], *arguments), whole[i:i + 1])
    order = [2, 0, 1]
    close(score(a[order], b[order], *arguments), whole[order])
    close(score(a.float(), b.float(), *arguments), whole, 1e-6)
    close(score(a.mT.contiguous().mT, b, *arguments), whole)


# ------------------------------------------------------------------------------------------------- chance
@pytest.mark.parametrize("window", WINDOWS)
@pytest.mark.parametrize("kind", ["distinct", "blurred", "few values"])
def test_chance_is_the_mean_over_shuffled_maps(kind, window):
    a, k, draws = maps(kind, (7, 9), n=1), 6, 3000
    order = torch.rand(draws, 63, generator=seeded(5)).argsort(1)
    shuffled = maps("distinct", (7, 9), n=1, seed=1).view(-1)[order].view(draws, 7, 9)
    recall = metrics.lens_recall(a.expand(draws, -1, -1), shuffled, k, window).double()
    precision = metrics.lens_precision(shuffled, a.expand(draws, -1, -1), k, window).double()
    chance = metrics.lens_chance(a, k, window)
    assert chance.shape == (1,) and chance.is_floating_point()
    for score in (recall, precision):
        assert (score.mean() - chance).abs() <= 4 * score.std() / draws ** 0.5 + 1e-12


@pytest.mark.parametrize("k, window", [(100, 1), (40, 2)])
def test_chance_of_diverse_pixels_is_nearly_the_mean_over_unrelated_maps(k, window):
    """Not exactly: fewer pixels can block one at the border, so diverse pixels like it a little better."""
    a, b = maps("distinct", (28, 28), n=200), maps("distinct", (28, 28), n=200, seed=1)
    gap = metrics.lens_recall(a, b, k, window, diverse=True) - metrics.lens_chance(a, k, window, diverse=True)
    assert gap.mean().abs() <= 0.01 + 4 * gap.std() / 200 ** 0.5


@pytest.mark.parametrize("k, window", [(1, 0), (6, 1), (20, 2), (63, 1)])
def test_chance_without_a_window_is_the_share_of_pixels(k, window):
    a = maps("distinct", (7, 9), n=3)
    close(metrics.lens_chance(a, k, 0), metrics.topk_chance(a, k))
    assert (metrics.lens_chance(a, k, window) >= metrics.topk_chance(a, k)).all()
    close(metrics.lens_chance(a, 63, window), torch.ones(3))


def test_chance_of_diverse_sets_is_close():
    """Greedy picks fall a little more often near the border, which coverage does not know: about 0.005 here."""
    a, b = torch.rand(2, 3000, 28, 28, generator=torch.Generator().manual_seed(0))
    found = metrics.lens_recall(a, b, 12, 3, diverse=True)
    assert abs((metrics.lens_chance(a, 12, 3, diverse=True) - found).mean()) < 0.015


def test_above_chance():
    observed = torch.tensor([0.2, 0.5, 1.0, 0.1, 1.0, 0.99, 1.0], dtype=torch.float64)
    chance = torch.tensor([0.2, 0.0, 0.6, 0.55, 0.975, 0.985, 1.0], dtype=torch.float64)
    above = metrics.above_chance(observed, chance)
    close(above[:5], torch.tensor([0.0, 0.5, 1.0, -1.0, 1.0]), 1e-6)
    assert above[5:].isnan().all()
    assert torch.equal(metrics.above_chance(observed, 0.0), observed)       # one chance for all
    with pytest.raises(ValueError, match="same shape"):
        metrics.above_chance(observed, chance[:3])


# -------------------------------------------------------------------------------------- what does not exist
def peaks():
    """Four peaks whose 3 x 3 windows tile a 6 x 6 map: no more than four diverse pixels with w = 1."""
    a = torch.zeros(1, 6, 6, dtype=torch.float64)
    a[0, 1::3, 1::3] = torch.tensor([[4.0, 3.0], [2.0, 1.0]])
    return a


@pytest.mark.parametrize("name", SCORES)
def test_too_few_diverse_pixels_are_refused_with_the_largest_k(name):
    score, flat = getattr(metrics, name), torch.ones(1, 6, 6, dtype=torch.float64)
    assert score(flat, flat, 9, 1, diverse=True).tolist() == [1.0]
    assert score(peaks(), flat, 4, 1, diverse=True).shape == (1,)
    for a, b, k, most in ((peaks(), flat, 5, 4), (flat, peaks(), 9, 4), (flat, flat, 10, 9),
                          (torch.cat([flat, peaks()]), torch.cat([flat, flat]), 7, 4),
                          (torch.cat([flat, flat]), torch.cat([peaks(), flat]), 30, 4)):
        with pytest.raises(ValueError, match=rf"\b{most}\b") as refusal:
            score(a, b, k, 1, diverse=True)
        assert "diverse" in str(refusal.value) and str(refusal.value).endswith(".")


def test_chance_of_diverse_pixels_that_do_not_exist():
    with pytest.raises(ValueError, match=r"\b4\b"):
        metrics.lens_chance(peaks(), 5, 1, diverse=True)
    assert metrics.diverse_topk(peaks(), 36, 1).sum() == 4


@given(pairs(largest=9), st.integers(1, 3))
@repeated(30)
def test_the_largest_k_that_is_named_works(both, window):
    a, b = map(never_empty, both)
    most = possible(a, b, window)
    assert metrics.lens_recall(a, b, most, window, diverse=True).shape == (2,)
    with pytest.raises(ValueError, match=rf"\b{most}\b"):
        metrics.lens_recall(a, b, most + 1, window, diverse=True)


@pytest.mark.parametrize("value", [0.25, 0.1])
@pytest.mark.parametrize("name", RANKS)
def test_a_constant_map_has_no_ranks(name, value):
    """Also where the mean of nine values of 0.1 is not that of four, by rounding."""
    a, b = maps("distinct", n=3), maps("distinct", n=3, seed=1)
    a[2] = value
    for first, second in ((a, b), (b, a)):
        with pytest.raises(ValueError, match=r"\b2\b"):
            getattr(metrics, name)(first, second, 1)


# ----------------------------------------------------------------------------------------------- bad input
def broken(value):
    a = maps("distinct", n=3)
    a[1, 2, 3] = value
    return a


GOOD = maps("distinct", n=3)
BAD_MAPS = {"no batch axis": GOOD[0], "channels": GOOD[:, None], "empty batch": GOOD[:0], "other batch": GOOD[:2],
            "one against three": GOOD[:1], "other size": GOOD[:, :5], "NaN": broken(float("nan")),
            "infinite": broken(float("inf")), "uint8": (9 * GOOD).to(torch.uint8), "numpy": GOOD.numpy(),
            "list": GOOD.tolist(), "None": None}
BAD_SETTINGS = {"k": (0, -1, 37, 2.5, True, None, "all"), "window": (-1, 1.5, True, None, "wide")}
MISMATCHES = ("other batch", "one against three", "other size")


def bad_calls():
    both = {**{name: (5, 1) for name in (*SCORES, "lens_distance")}, **{name: (1,) for name in RANKS}}
    one = {"diverse_topk": (5, 1), "lens_chance": (5, 1), "box_mean": (1,)}
    for kind, wrong in BAD_MAPS.items():
        for name, extra in both.items():
            yield f"{name}: {kind} second", functools.partial(getattr(metrics, name), GOOD, wrong, *extra), ""
            if kind not in MISMATCHES:
                yield f"{name}: {kind} twice", functools.partial(getattr(metrics, name), wrong, wrong, *extra), ""
        for name, extra in one.items():
            if kind not in MISMATCHES:
                yield f"{name}: {kind}", functools.partial(getattr(metrics, name), wrong, *extra), ""
    for setting, values in BAD_SETTINGS.items():
        for value in values:
            for name in (*both, *one):
                arguments = {"k": 5, "window": 1, setting: value}
                if name in RANKS or name == "box_mean":
                    if setting == "k":
                        continue
                    del arguments["k"]
                inputs = (GOOD,) if name in one else (GOOD, GOOD)
                yield (f"{name}: {setting} {value!r}",
                       functools.partial(getattr(metrics, name), *inputs, **arguments), setting)
            if value != 37:
                arguments = {"k": 5, "window": 1, setting: value}
                yield f"LensTopK: {setting} {value!r}", functools.partial(attacks.LensTopK, **arguments), setting
    mask = GOOD > 0.5
    for value in BAD_SETTINGS["window"]:
        yield f"dilate: window {value!r}", functools.partial(metrics.dilate, mask, value), "window"


CASES = list(bad_calls())


@pytest.mark.parametrize("call, word", [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_bad_input_is_refused_with_a_reason(call, word):
    with pytest.raises((ValueError, TypeError), match=rf"\b{word}\b") as refusal:
        call()
    said = str(refusal.value)
    assert len(said.split()) >= 5 and said.rstrip().endswith("."), said


# ------------------------------------------------------------------------------------------------- attacks
def patient():
    """The first class leads by far, so no step in the ball takes its label; its maps do change."""
    model = build(networks.wide)
    with torch.no_grad():
        for layer in model:
            if isinstance(layer, (nn.Conv2d, nn.Linear)):
                layer.weight.mul_(3)
        model[0].bias.copy_(-0.5 * model[0].weight.sum((1, 2, 3)))
        model[-1].bias[0] += 2 * model(images(8, 12)).abs().max()
    return model


def batch():
    return 0.15 + 0.7 * images(4, 12, seed=7)


def explain(model, x, labels):
    return map_oracle.pixel_map(map_oracle.gradient(model, x, labels))


def recall_score(clean, moved):
    return -metrics.lens_recall(clean, moved, K, WINDOW)


@pytest.mark.parametrize("window", WINDOWS)
@pytest.mark.parametrize("kind", ["distinct", "blurred", "few values", "mostly zero"])
def test_lens_objective_is_the_loop(kind, window):
    clean, moved = maps(kind, (9, 14), n=3), maps("distinct", (9, 14), n=3, seed=1)
    for k in (1, 3):
        goal = attacks.LensTopK(k, window).prepare(clean, seeded())
        expected = [oracle.lens_topk(one, other, k, window) for one, other in zip(clean, moved)]
        close(goal.score(moved), torch.tensor(expected, dtype=torch.float64))
        assert (goal.score(moved) <= attacks.TopK(k).prepare(clean).score(moved) + 1e-12).all()
        assert (window > 0) ^ torch.allclose(goal.score(moved), attacks.TopK(k).prepare(clean).score(moved))


def test_lens_objective_pushes_out_of_the_wide_set():
    clean = maps("distinct", (7, 9), n=3)
    leaf = maps("distinct", (7, 9), n=3, seed=1).requires_grad_()
    attacks.LensTopK(4, 1).prepare(clean, seeded()).loss(leaf).sum().backward()
    inside = torch.tensor([[oracle.lens_topk(one, spot.view(7, 9), 4, 1) for spot in torch.eye(63)] for one in clean])
    assert torch.equal(leaf.grad.flatten(1).sign(), inside.double())


@pytest.mark.parametrize("k, window", [(37, 0), (36, 0), (35, 1), (1, 6)])
def test_lens_objective_needs_pixels_outside(k, window):
    """Where the wide set is the whole map, its share is one whatever the attack does."""
    with pytest.raises(ValueError, match=r"\bk\b"):
        attacks.LensTopK(k, window).prepare(GOOD, seeded())


@functools.cache
def attacked(select=None):
    return attacks.attack(patient(), batch(), objective=attacks.LensTopK(K, WINDOW), epsilon=EPSILON, steps=STEPS,
                          select=select, generator=seeded())


def test_lens_attack_stays_inside_and_lowers_its_own_objective():
    model, x, result = patient(), batch(), attacked()
    labels = model(x).argmax(1)
    assert result.found.all() and (result.x - x).abs().max() <= EPSILON + 1e-12
    assert torch.equal(model(result.x).argmax(1), labels)
    clean, moved = explain(model, x, labels), explain(model, result.x, labels)
    value = torch.tensor([oracle.lens_topk(a, b, K, WINDOW) for a, b in zip(clean, moved)], dtype=torch.float64)
    start = torch.tensor([oracle.lens_topk(a, a, K, WINDOW) for a in clean], dtype=torch.float64)
    close(result.objective, value, 1e-8)
    assert (value > start).all()


def test_lens_attack_lowers_recall_below_that_of_random_signs():
    model, x = patient(), batch()
    labels = model(x).argmax(1)
    clean = explain(model, x, labels)
    random = [metrics.lens_recall(clean, explain(model, attacks.random_sign(
        x, epsilon=EPSILON, generator=seeded(seed)), labels), K, WINDOW).mean() for seed in range(4)]
    moved = explain(model, attacked().x, labels)
    assert metrics.lens_recall(clean, moved, K, WINDOW).mean() < torch.stack(random).mean()


def test_selection_by_recall_finds_no_larger_recall():
    """Of one and the same walk, the iterate chosen by recall has the smallest."""
    model, x = patient(), batch()
    labels = model(x).argmax(1)
    clean = explain(model, x, labels)
    by_objective, by_recall = (metrics.lens_recall(clean, explain(model, result.x, labels), K, WINDOW)
                               for result in (attacked(), attacked(recall_score)))
    assert (by_recall <= by_objective).all()
    close(attacked(recall_score).objective, -by_recall)


def walk(model=None, x=None, **changes):
    settings = {"epsilon": EPSILON, "steps": 6, "score": recall_score, "generator": seeded(), **changes}
    return attacks.random_walk(patient() if model is None else model, batch() if x is None else x, **settings)


def test_random_walk_keeps_ball_label_and_best_iterate():
    model, x = patient(), batch()
    before = networks.snapshot(model)
    result = walk(model, x, steps=30, step_size=0.03)
    networks.assert_same(before, networks.snapshot(model))
    assert torch.equal(x, batch())
    assert isinstance(result, attacks.Attacked) and result.found.all() and not result.x.requires_grad
    assert result.x.shape == x.shape and result.x.dtype == x.dtype
    assert (result.x - x).abs().max() <= EPSILON + 1e-12 and result.x.min() >= 0 and result.x.max() <= 1
    assert (result.steps >= 1).all() and (result.steps <= 30).all()
    labels = model(x).argmax(1)
    assert torch.equal(model(result.x).argmax(1), labels)
    clean = explain(model, x, labels)
    close(result.objective, recall_score(clean, explain(model, result.x, labels)))


def test_random_walk_stays_in_the_pixel_range():
    x = batch()
    x[:, :, 0], x[:, :, -1] = 0.0, 1.0
    result = walk(x=x, steps=10, step_size=0.08)
    assert result.x.min() >= 0 and result.x.max() <= 1 and (result.x - x).abs().max() <= EPSILON + 1e-12


def test_a_step_of_the_walk_is_a_fair_sign_of_every_value():
    x = batch()
    moved = walk(steps=1, step_size=0.03).x - x
    close(moved.abs(), torch.full_like(x, 0.03), 1e-9)
    assert abs(moved.sign().mean()) < 4 / x.numel() ** 0.5
    assert (moved[:, 0] != moved[:, 1]).any() and (moved[0] != moved[1]).any()


def test_the_walk_wanders_on_from_where_it_is():
    """After P steps of +-s the values lie on multiples of s, and not all on the first one."""
    x = batch()
    result = walk(steps=6, step_size=0.01, score=lambda clean, moved: -((moved * clean).sum((1, 2))))
    for delta, steps in zip(result.x - x, result.steps.tolist()):
        strides = delta / 0.01
        close(strides, strides.round(), 1e-6)
        assert strides.abs().max() <= steps + 1e-6
        assert ((strides.round() - steps) % 2 == 0).all()       # an odd number of steps ends on an odd multiple
    assert (result.steps > 1).any()


def test_the_walk_is_its_seed_and_a_longer_one_is_no_worse():
    first, again, other = (walk(generator=seeded(seed)) for seed in (1, 1, 2))
    assert torch.equal(first.x, again.x) and torch.equal(first.objective, again.objective)
    assert not torch.equal(first.x, other.x)
    short, long = (walk(steps=steps, step_size=0.02, generator=seeded(3)) for steps in (2, 10))
    assert (long.objective >= short.objective).all()


def test_the_walk_explains_by_the_method_asked_for():
    model, x = patient(), batch()
    score = lambda clean, moved: -(clean * moved).sum((1, 2)) / (clean.norm(dim=(1, 2)) * moved.norm(dim=(1, 2)))
    result = walk(model, x, method="integrated_gradients", method_args={"steps": 3, "baseline": 0.5}, score=score)
    labels = model(x).argmax(1)
    clean, moved = (map_oracle.pixel_map(map_oracle.integrated_gradients(model, z, labels, steps=3, baseline=0.5))
                    for z in (x, result.x))
    close(result.objective, score(clean, moved), 1e-8)


class Jumpy(nn.Module):
    """Gives its images the first class, and whatever lies beside one of them the second."""

    def __init__(self, x):
        super().__init__()
        self.register_buffer("x", x)
        self.register_buffer("weight", torch.rand(x[0].numel(), generator=seeded(), dtype=x.dtype))

    def forward(self, x):
        first = x.flatten(1) @ self.weight
        return torch.stack([first, first - 1e-6 + 1e3 * (x - self.x).abs().flatten(1).sum(1)], 1)


def test_a_walk_that_loses_every_label_gives_the_images_back():
    x = batch()[:1]
    result = walk(Jumpy(x).eval(), x)
    assert not result.found.any() and torch.equal(result.x, x) and result.steps.tolist() == [0]


@pytest.mark.parametrize("changes", [
    {"epsilon": 0.0}, {"epsilon": 8}, {"epsilon": float("nan")}, {"steps": 0}, {"steps": 2.5}, {"step_size": 0.0},
    {"step_size": -0.01}, {"method": "gradeint"}, {"score": "recall"}, {"score": None}, {"x": 255 * batch()},
    {"x": batch()[0]}, {"x": batch()[:0]}], ids=str)
def test_bad_settings_of_the_walk_are_refused(changes):
    with pytest.raises((ValueError, TypeError)) as refusal:
        walk(**changes)
    said = str(refusal.value)
    assert len(said.split()) >= 5 and said.rstrip().endswith("."), said


# ------------------------------------------------------------------------------ the published code's indices
def test_published_windows_wrap_around_the_sides_and_lose_the_first_pixel():
    """On a 4 x 5 map: 5 and 9 are the ends of the second row, 19 is the last pixel."""
    assert set(published.dilate([7], (4, 5), 1)) == {1, 2, 3, 6, 7, 8, 11, 12, 13}
    assert set(published.dilate([5], (4, 5), 1)) == {1, 4, 5, 6, 9, 10, 11}
    assert set(published.dilate([9], (4, 5), 1)) == {3, 4, 5, 8, 9, 10, 13, 14, 15}
    assert set(published.dilate([19], (4, 5), 1)) == {13, 14, 15, 18, 19}
    assert set(published.dilate([0], (4, 5), 1)) == {1, 4, 5, 6}
    assert set(published.dilate([0], (4, 5), 0)) == set()
    assert set(published.dilate([0, 19], (4, 5), 1)) == {1, 4, 5, 6, 13, 14, 15, 18, 19}


def line(*values):
    return np.array([values], dtype=float)


def test_published_greedy_order_skips_its_second_pick():
    a = line(1, 9, 5, 8, 3, 7, 2, 6)                # ranking: pixels 1, 3, 5, 7, 2, 4, 6, 0
    assert set(published.topk_set(a, 3)) == {1, 3, 5}
    assert set(published.diverse_topk(a, 1, 0, 8)) == {1}
    assert set(published.diverse_topk(a, 2, 0, 8)) == {1, 5}
    assert set(published.diverse_topk(a, 3, 0, 8)) == {1, 5, 7}
    # A map of one row: windows reach one pixel up and down the row.
    assert set(published.diverse_topk(a, 3, 1, 8)) == {1, 5, 7}
    assert set(published.diverse_topk(a, 4, 0, 5)) == {1, 5, 7, 2}


def test_published_candidates_run_out():
    a = line(1, 9, 5, 8, 3, 7, 2, 6)
    assert set(published.diverse_topk(a, 3, 0, 4)) == {1, 5, 7}
    for k, window, candidates in ((4, 0, 4), (4, 1, 8), (3, 0, 3), (3, 2, 8)):
        with pytest.raises(ValueError):
            published.diverse_topk(a, k, window, candidates)


def test_published_greedy_order_never_picks_the_first_pixel():
    """As the largest it is lost and the next one is kept; as the second it is the one that is skipped anyway."""
    assert set(published.diverse_topk(line(9, 3, 8, 4, 7, 5, 6, 2), 3, 0, 8)) == {2, 4}
    assert set(published.diverse_topk(line(8, 9, 2, 7, 3, 6, 4, 5), 3, 0, 8)) == {1, 3, 5}
    assert set(published.diverse_topk(line(7, 9, 2, 8, 3, 6, 4, 5), 3, 0, 8)) == {1, 5, 7}
    assert 0 in set(published.topk_set(line(9, 3, 8, 4), 2))


def test_published_recall_by_hand():
    a, b = torch.zeros(4, 5, dtype=torch.float64), torch.zeros(4, 5, dtype=torch.float64)
    a[1, 0], b[0, 4] = 1, 1
    assert published.lens_recall(a, b, 1, 1) == 1.0             # neighbours in memory only
    assert metrics.lens_recall(a[None], b[None], 1, 1).tolist() == [0.0]
    b[0, 4], b[0, 0] = 0, 1
    assert published.lens_recall(a, b, 1, 1) == 0.0             # the first pixel is in no window
    assert metrics.lens_recall(a[None], b[None], 1, 1).tolist() == [1.0]


@pytest.mark.parametrize("size", [(9, 8), (7, 12)])
@pytest.mark.parametrize("window", [0, 1, 2])
def test_published_code_on_random_maps(window, size):
    for seed in range(6):
        a, b = maps("distinct", size, n=1, seed=seed)[0], maps("distinct", size, n=1, seed=seed + 50)[0]
        values, other = a.flatten().tolist(), b.flatten().tolist()
        a, b = (a.numpy(), b.numpy()) if seed % 2 else (a, b)       # either kind of array
        assert set(published.topk_set(a, 7)) == oracle.top(values, 7)
        wide = oracle.published_dilation(oracle.top(values, 7), size, window)
        assert set(published.dilate(published.topk_set(a, 7), size, window)) == wide
        assert published.lens_recall(a, b, 7, window) == pytest.approx(len(wide & oracle.top(other, 7)) / 7)
        for k in (1, 3, 5, 9):
            try:
                expected = oracle.published_diverse(values, size, k, window, 40)
            except IndexError:
                with pytest.raises(ValueError):
                    published.diverse_topk(a, k, window, 40)
            else:
                assert set(published.diverse_topk(a, k, window, 40)) == expected


def test_published_and_exact_metrics_agree_away_from_the_borders():
    a, b = torch.zeros(1, 11, 12, dtype=torch.float64), torch.zeros(1, 11, 12, dtype=torch.float64)
    a[:, 2:-2, 2:-2], b[:, 2:-2, 2:-2] = 1 + maps("distinct", (7, 8), n=1), 1 + maps("distinct", (7, 8), n=1, seed=1)
    for window in (0, 1, 2):
        exact = metrics.lens_recall(a, b, 9, window).item()
        assert published.lens_recall(a[0], b[0], 9, window) == pytest.approx(exact)


# ------------------------------------------------------------------------------------ records and what is drawn
def records():
    """Three images under two attacks; the second attack gives image 1 back, the random sign loses image 2's label."""
    rows = [("topk", 0.3, image, 1.0) for image in range(3)]
    rows += [("lens", 0.3, image, float(image != 1)) for image in range(3)]
    rows += [("random_sign", 0.3, image, float(image != 2)) for image in range(3)]
    rows += [("other_class", 0.0, image, None) for image in range(3)]
    table = pd.DataFrame(rows, columns=["attack", "epsilon", "image", "found"])
    return table.assign(data_set="mnist-5k", network="mnist-cnn", training="natural", method="gradient")


def test_images_an_attack_gave_back_are_not_judged():
    table = records()
    other = table.assign(training="pgd", found=1.0)
    judged = metric_comparison.comparable(pd.concat([table, other], ignore_index=True))
    assert set(judged[judged.training == "natural"].image) == {0, 2} and set(judged.attack) == set(table.attack)
    assert judged.groupby("training").size().to_dict() == {"natural": 8, "pgd": 12}


def test_scores_name_distance_chance_and_ties():
    a, b = torch.rand(2, 3, 12, 12, generator=seeded(), dtype=torch.float64)
    a[:, :6] = 0
    table = scores.scores(a, b, {"k": 9, "window": 1, "seed": 0})
    gain = metrics.lens_distance(a, b, 9, 0) - metrics.lens_distance(a, b, 9, 1)
    close(torch.tensor(table.distance_gain), gain, 1e-6)
    last = metrics.lens_chance(a.flip(1, 2), 9, 1, diverse=True)
    close(torch.tensor(table.chance_recall_div_last), last, 1e-6)
    assert table.chance_recall_div_any.between(0, 1).all()


def test_zero_padding_correlates_unrelated_maps():
    a, b = torch.rand(2, 400, 28, 28, generator=seeded(5))
    padded = metrics.lens_spearman(a, b, 1, zero_padding=True).mean().item()
    assert scores.padded_chance(a, b, 1).mean().item() == pytest.approx(padded, abs=0.02) and padded > 0.2
    assert scores.padded_chance(a, b, 0).mean().item() == pytest.approx(0, abs=0.02)


def test_what_padding_gives_depends_on_the_pair():
    """A map with one bright pixel shows its border less than one of even values does."""
    even, a, b = *torch.rand(2, 1, 28, 28, generator=seeded(1)), torch.zeros(1, 28, 28)
    b[0, 4, 4] = 1
    pair = scores.padded_chance(torch.cat([even, even]), torch.cat([a, b]), 1)
    assert pair.shape == (2,) and pair[0] > 0.15 > pair[1].abs() + 0.05


def lens_parameters(**changes):
    return metric_comparison.Lens.of({name: value for name, value in profiles.parameters("lens", "quick").items()
                         if name in metric_comparison.Lens.model_fields} | changes)


FLOWERS = {"networks": {"flowers": "kamath-flower"}, "epochs": {"flowers": 1}, "robust_epochs": {"flowers": 1},
           "balls": {"flowers": [0.1, 1, 0.1]}, "epsilons": {"flowers": [0.1]}, "attacks": ["random_sign", "topk"],
           "k": 1000, "trainings": ["natural"]}


def test_flowers_get_their_own_parameters():
    plain, with_flowers = (metric_comparison.cells(lens_parameters(others=others)) for others in ([], [FLOWERS]))
    assert with_flowers[:len(plain)] == plain
    more = with_flowers[len(plain):]
    assert {(c["data_set"], c["k"], c["training"]) for c in more} == {("flowers", 1000, "natural")}
    attacked = [c["attack"] for c in more if c["method"] == "gradient"]
    assert attacked == [*metric_comparison.CONTROLS, "random_sign", "topk"]
    both = [one["data_set"] for one in separation.cells(lens_parameters(others=[FLOWERS]))]
    assert both.count("flowers") == 2 and len(both) > 2
    assert [one["data_set"] for one in robust.cells(lens_parameters(others=[FLOWERS]))].count("flowers") == 1


@pytest.mark.parametrize("changes", [{"windows": 2}, {"epsilons": {"flowers": [0.0]}}, {"epochs": {"mnist": 1}},
                                     {"networks": {"mnist-5k": "kamath-mnist"}}])
def test_changes_for_flowers_are_checked(changes):
    with pytest.raises(ValueError, match=next(iter(changes))):
        lens_parameters(others=[FLOWERS | changes])


def test_repeats_are_the_attack_on_networks_of_other_seeds():
    parameters = lens_parameters(others=[FLOWERS], repeat_seeds=[0, 3])
    grid, networks_ = seeds.cells(parameters), robust.cells(parameters)
    assert {(c["attack"], c["epsilon"]) for c in grid} == {("topk", 0.3)} and {c["seed"] for c in grid} == {0, 3}
    assert [c for c in grid if c["seed"] == 0] == [c for c in metric_comparison.cells(parameters) if c in grid]
    assert all(robust.training_cell(c) in networks_ for c in grid)
    assert len(networks_) == 2 * len(robust.cells(lens_parameters())) + 1       # once a seed, and the flowers


def test_a_precision_belongs_to_the_search():
    """Controls, random signs and walks follow no gradient, so they are the same cells at any precision."""
    coarse, fine = (metric_comparison.cells(lens_parameters(precision=precision))
                    for precision in ("bfloat16", "float32"))
    for a, b in zip(coarse, fine, strict=True):
        assert (a == b) == (a["attack"] not in ("topk", "center", "lens", "topk_for_lens"))
        assert a["attack"] not in metric_comparison.CONTROLS or metric_comparison.without_search(a) == a
    with pytest.raises(ValueError, match="bfloat16"):
        lens_parameters(precision="half")


def test_saturated_bars_say_so():
    table = records().assign(recall_div_corrected=np.nan, chance_recall_div=0.99)
    table.loc[table.attack == "topk", ["recall_div_corrected", "chance_recall_div"]] = [[0.5, 0.9], [0.4, 0.9],
                                                                                       [np.nan, 0.99]]
    figure = lens_bars(table, ["recall_div_corrected"], ["topk", "lens"])
    assert [text.get_text() for text in figure.axes[0].texts] == ["1 saturated", "saturated"]
    plt.close(figure)


def test_a_rare_class_finds_its_partner_beyond_the_usual_images(monkeypatch):
    """Two images of a class, the first one chosen, the other behind the images that are usually looked at."""
    class Reader(nn.Module):
        def forward(self, x):
            return F.one_hot((255 * x[:, 0, 0, 0]).round().long(), 2).float()

    order = torch.randperm(400, generator=torch.Generator().manual_seed(0))
    labels = torch.zeros(400, dtype=torch.int64)
    labels[order[[0, 300]]] = 1
    images = labels.to(torch.uint8).view(-1, 1, 1, 1).expand(-1, 1, 4, 4)
    monkeypatch.setattr(data, "load", lambda name, split: data.Dataset(images, labels, ["a", "b"], "here"))
    _, found, index = image_choice._choose(Reader().eval(), "any", 0, 4, is_trained=True)
    assert found.tolist() == [1, *[0] * 19, 1] and index.tolist() == order[[*range(20), 300]].tolist()
    same = image_choice.partners(found, {"attack": "same_class", "images": 4})
    assert all(rows[0] == 20 and (found[rows] == found[:4]).all() and (rows != torch.arange(4)).all() for rows in same)
