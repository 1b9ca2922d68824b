"""fragility.removal against loops and a dense solve; the toy problem against its numbers; bad input."""

import functools
import math
from fractions import Fraction
from unittest import mock

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fragility import removal
from lab.chapters.roar import toy
from tests.networks import images
from tests.oracles import removal as oracle

SIZES = ((3, 5, 5), (1, 4, 7), (3, 6, 3))           # odd and even numbers of pixels; as many columns as channels
FRACTIONS = (0.0, 0.01, 0.1, 0.29, 0.32, 1 / 3, 0.5, 0.68, 0.9, 0.999, 1.0)
KINDS = ("distinct", "signed", "few values", "constant")


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def batch(size=(3, 5, 5), n=2, seed=0):
    return torch.rand(n, *size, generator=seeded(seed), dtype=torch.float64)


def scores(kind, size=(3, 5, 5), n=2, seed=1):
    """Few values are multiples of 1/4, so that sums over channels tie exactly."""
    values = torch.randn(n, *size, generator=seeded(seed), dtype=torch.float64)
    if kind == "distinct":
        return values.abs()
    if kind == "few values":
        return (2 * values).round() / 4
    return torch.zeros_like(values) - 0.5 if kind == "constant" else values


def close(actual, expected, tolerance=1e-12):
    torch.testing.assert_close(actual.double(), expected.double(), rtol=0, atol=tolerance)


def fills(x):
    _, c, h, w = x.shape
    draw = functools.partial(torch.rand, generator=seeded(9), dtype=x.dtype)
    return {"mean": "mean", "number": 0.25, "scalar tensor": torch.tensor(0.25, dtype=x.dtype), "channels": draw(c),
            "channels, 1, 1": draw(c, 1, 1), "image": draw(c, h, w), "batch": draw(*x.shape),
            "an image its own": draw(len(x), c, 1, 1)}


# ------------------------------------------------------------------------------------------------ how many
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("unit", ["pixel", "value"])
def test_top_mask_is_the_loop(unit, kind, size):
    ranking = scores(kind, size)
    for fraction in FRACTIONS:
        mask = removal.top_mask(ranking, fraction, unit)
        assert mask.dtype == torch.bool and torch.equal(mask, oracle.top_mask(ranking, fraction, unit))
        if unit == "pixel":
            one = ranking.sum(1)
            assert torch.equal(removal.top_mask(one, fraction, unit), oracle.top_mask(one, fraction, unit))


@pytest.mark.parametrize("fraction, pixels, k", [
    (0.5, 25, 13), (0.5, 27, 14), (0.5, 1, 1), (0.1, 25, 3), (0.1, 24, 2), (0.1, 15, 2), (0.1, 35, 4), (0.29, 49, 14),
    (0.29, 100, 29), (0.29, 52, 15), (0.9, 25, 23), (1 / 3, 28, 9), (0.57, 100, 57), (0.999, 49, 49),
    (0.019, 26, 0), (0.02, 25, 1), (0.0, 25, 0), (1.0, 25, 25), (0, 9, 0), (1, 9, 9)])
def test_how_many_pixels_go(fraction, pixels, k):
    """k = floor(fraction N + 1/2), halves upwards, whether the product is exact or rounded."""
    assert k == oracle.count(fraction, pixels) == math.floor(fraction * pixels + 0.5)
    assert removal.top_mask(scores("signed", (1, 1, pixels)), fraction, "pixel").sum((1, 2)).tolist() == [k, k]
    assert removal.top_mask(scores("constant", (1, pixels, 1)), fraction, "value").sum((1, 2, 3)).tolist() == [k, k]


def test_every_percentage_of_an_image():
    """Hundredths, as experiments write them, on 784 pixels; those that are no half anyway."""
    ranking = scores("signed", (1, 28, 28), n=1)
    for percent in range(101):
        fraction = percent / 100
        k = math.floor(fraction * 784 + 0.5)
        assert k == oracle.count(fraction, 784) == math.floor(Fraction(percent, 100) * 784 + Fraction(1, 2))
        assert removal.top_mask(ranking, fraction, "pixel").sum() == k


def test_ties_go_to_the_lowest_flat_index_channels_first():
    flat = torch.zeros(1, 2, 2, 3, dtype=torch.float64)
    expected = torch.zeros(12, dtype=torch.bool)
    expected[:7] = True
    assert torch.equal(removal.top_mask(flat, 7 / 12, "value").flatten(), expected)
    assert removal.top_mask(flat, 0.5, "pixel").tolist() == [[[True] * 3, [False] * 3]]


def test_signed_scores_are_summed_over_channels_before_they_are_ranked():
    ranking = torch.zeros(1, 2, 1, 3, dtype=torch.float64)
    ranking[0, :, 0, 0] = torch.tensor([5.0, -6.0])         # sum -1
    ranking[0, :, 0, 1] = torch.tensor([1.0, 1.0])          # sum 2
    ranking[0, :, 0, 2] = torch.tensor([-9.0, 0.0])         # sum -9: large, but not positive
    assert removal.top_mask(ranking, 1 / 3, "pixel").tolist() == [[[False, True, False]]]
    assert removal.top_mask(ranking, 2 / 3, "pixel").tolist() == [[[True, True, False]]]
    assert removal.top_mask(ranking, 1 / 6, "value").tolist() == [[[[True, False, False]], [[False] * 3]]]


# ----------------------------------------------------------------------------------------- against the loops
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("mode", ["remove", "keep"])
@pytest.mark.parametrize("unit", ["pixel", "value"])
def test_degrade_is_the_loop(unit, mode, kind, size):
    x, ranking = batch(size), scores(kind, size)
    for fill in fills(x).values():
        for fraction in (0.1, 0.68):
            close(removal.degrade(x, ranking, fraction, mode=mode, fill=fill, unit=unit),
                  oracle.degrade(x, ranking, fraction, mode=mode, fill=fill, unit=unit))
    for fraction in FRACTIONS:
        close(removal.degrade(x, ranking, fraction, mode=mode, unit=unit),
              oracle.degrade(x, ranking, fraction, mode=mode, unit=unit))
        if unit == "pixel":
            close(removal.degrade(x, ranking.sum(1), fraction, mode=mode),
                  oracle.degrade(x, ranking.sum(1), fraction, mode=mode))


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("mode", ["remove", "keep"])
def test_degrade_by_imputation_is_the_loop(mode, size):
    x, ranking = batch(size), scores("signed", size)
    for fraction in FRACTIONS:
        result = removal.degrade(x, ranking, fraction, mode=mode, fill="noisy-linear")
        close(result, oracle.degrade(x, ranking, fraction, mode=mode, fill="noisy-linear"), 1e-6)
        gone = removal.top_mask(ranking, fraction, "pixel")
        assert torch.equal(result, removal.impute(x, ~gone if mode == "keep" else gone))


def test_the_first_alternatives_are_the_defaults():
    x, ranking = batch(), scores("signed")
    expected = removal.degrade(x, ranking, 0.3, mode="remove", fill="mean", unit="pixel")
    assert torch.equal(removal.degrade(x, ranking, 0.3), expected)


@pytest.mark.parametrize("unit", ["pixel", "value"])
@pytest.mark.parametrize("name", ["mean", "number", "channels", "batch"])
def test_removing_and_keeping_are_complements(name, unit):
    """At every value, one of the two has the image and the other the filling."""
    x, ranking = batch(), scores("few values")
    fill = fills(x)[name]
    filling = oracle.filling(x, fill)
    for fraction in FRACTIONS:
        gone, kept = (removal.degrade(x, ranking, fraction, mode=mode, fill=fill, unit=unit)
                      for mode in ("remove", "keep"))
        close(gone + kept, x + filling)
        top = oracle.top_mask(ranking, fraction, unit)
        top = (top[:, None] if unit == "pixel" else top).expand_as(x)
        assert torch.equal(gone[~top], x[~top]) and torch.equal(kept[top], x[top])


@pytest.mark.parametrize("unit", ["pixel", "value"])
def test_nothing_and_everything(unit):
    x, ranking = batch(), scores("signed")
    mean = x.mean((2, 3), keepdim=True).expand_as(x)
    for none, every in ((0.0, 1.0), (0, 1)):
        assert torch.equal(removal.degrade(x, ranking, none, unit=unit), x)
        assert torch.equal(removal.degrade(x, ranking, every, mode="keep", unit=unit), x)
        close(removal.degrade(x, ranking, every, unit=unit), mean)
        close(removal.degrade(x, ranking, none, mode="keep", unit=unit), mean)
    for fraction, mode in ((1.0, "remove"), (0.0, "keep")):
        close(removal.degrade(x, ranking, fraction, mode=mode, fill="noisy-linear"), mean)


def test_the_mean_is_that_of_the_image_before_anything_is_removed():
    x = torch.tensor([[[[0.0, 1.0], [0.5, 0.7]]], [[[1.0, 1.0], [1.0, 1.0]]]], dtype=torch.float64)
    ranking = torch.tensor([[[0.0, 9.0], [1.0, 0.0]]] * 2, dtype=torch.float64)
    expected = x.clone()
    expected[0, 0, 0, 1] = 0.55
    close(removal.degrade(x, ranking, 0.25), expected)


def test_images_do_not_mix_and_stay_as_they_are():
    x, ranking = batch(n=3), scores("signed", n=3)
    before, ranking_before = x.clone(), ranking.clone()
    for fill in ("mean", 0.5, "noisy-linear"):
        whole = removal.degrade(x, ranking, 0.4, fill=fill)
        for i in range(3):
            close(removal.degrade(x[i:i + 1], ranking[i:i + 1], 0.4, fill=fill), whole[i:i + 1])
        small = removal.degrade(x.float(), ranking, 0.4, fill=fill)
        assert small.dtype == torch.float32
        close(small, whole, 1e-5)
        strided = x.to(memory_format=torch.channels_last)
        close(removal.degrade(strided, ranking, 0.4, fill=fill), whole)
        nothing = removal.degrade(x, ranking, 0.0, fill=fill)
        nothing += 1
    assert torch.equal(x, before) and torch.equal(ranking, ranking_before)


def test_an_order_is_all_that_counts():
    x, ranking = batch(), scores("few values")
    for unit in ("pixel", "value"):
        for fraction in FRACTIONS:
            assert torch.equal(removal.degrade(x, 4 * ranking + 3, fraction, unit=unit),
                               removal.degrade(x, ranking, fraction, unit=unit))


# ------------------------------------------------------------------------------------------------ imputation
def missing_masks(h=6, w=7):
    mask = functools.partial(torch.zeros, h, w, dtype=torch.bool)
    empty, corner, border, column, inside, islands, frame, one_left = (mask() for _ in range(8))
    corner[:2, :3] = True
    border[0], border[-1] = True, True
    column[:, 3:5] = True
    inside[2:4, 2:5] = True
    islands[0, 0] = islands[2, 2] = islands[3, 3] = islands[5, 6] = islands[0, 6] = islands[4, 0] = True
    frame[:], frame[1:-1, 1:-1] = True, False
    one_left[:], one_left[4, 1] = True, False
    random = torch.rand(h, w, generator=seeded(3))
    return {"none": empty, "corner": corner, "border": border, "column": column, "inside": inside, "islands": islands,
            "frame": frame, "one left": one_left, "half": random < 0.5, "most": random < 0.9,
            "checkerboard": (torch.arange(h)[:, None] + torch.arange(w)) % 2 == 0, "all": ~empty}


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("name", missing_masks())
def test_imputation_is_the_dense_solve(name, channels):
    x, mask = batch((channels, 6, 7)), missing_masks()[name]
    missing = torch.stack([mask, mask.flip(0)])
    result = removal.impute(x, missing)
    close(result, oracle.impute(x, missing), 1e-6)
    kept = ~missing[:, None].expand_as(x)
    assert torch.equal(result[kept], x[kept])


def test_masks_of_all_kinds_in_one_batch():
    masks = torch.stack(list(missing_masks().values()))
    x = batch((3, 6, 7), n=len(masks))
    close(removal.impute(x, masks), oracle.impute(x, masks), 1e-6)


@pytest.mark.parametrize("shape", [(1, 1), (1, 8), (8, 1), (2, 2), (13, 11)])
def test_imputation_on_odd_shapes(shape):
    for share in (0.3, 0.8, 1.1):
        x, missing = batch((2, *shape)), torch.rand(2, *shape, generator=seeded(4)) < share
        close(removal.impute(x, missing), oracle.impute(x, missing), 1e-6)


def test_a_single_pixel_is_the_weighted_mean_of_those_around_it():
    x = torch.arange(1.0, 10, dtype=torch.float64).view(1, 1, 3, 3) ** 2
    missing = torch.zeros(1, 3, 3, dtype=torch.bool)
    missing[0, 1, 1] = True
    close(removal.impute(x, missing)[0, 0, 1, 1], torch.tensor((4 + 16 + 36 + 64) / 6 + (1 + 9 + 49 + 81) / 12), 1e-4)
    corner = torch.zeros(1, 3, 3, dtype=torch.bool)
    corner[0, 0, 0] = True
    close(removal.impute(x, corner)[0, 0, 0, 0], torch.tensor((4 / 6 + 16 / 6 + 25 / 12) / (5 / 12)), 1e-4)


def test_a_large_hole_is_solved_and_not_only_approached():
    """The centre of a hole is far from what is known: a few sweeps of averaging would leave it where it was."""
    size = 48
    across = torch.linspace(0, 1, size, dtype=torch.float64).expand(1, 1, size, size)
    missing = torch.zeros(1, size, size, dtype=torch.bool)
    missing[:, 2:-2, 2:-2] = True
    close(removal.impute(across * 1.0, missing), across, 1e-5)


@pytest.mark.parametrize("name", ["inside", "islands", "column", "border", "frame", "half"])
def test_a_ramp_is_reproduced_where_the_weights_balance(name):
    """The shares left and right of a pixel are alike, at the upper and lower border too, so a ramp across columns
    solves the equations of all missing pixels but those of the first and the last column."""
    ramp = torch.arange(7, dtype=torch.float64).expand(6, 7) / 10 + 0.2
    missing = missing_masks()[name].clone()
    missing[:, 0] = missing[:, -1] = False
    x = ramp.expand(1, 2, 6, 7).contiguous()
    close(removal.impute(x, missing[None]), x, 1e-6)
    close(removal.impute(x.mT.contiguous(), missing.T[None].contiguous()), x.mT, 1e-6)
    missing[0] = missing[-1] = False
    plane = ramp - 0.05 * torch.arange(6, dtype=torch.float64)[:, None]
    close(removal.impute(plane[None, None], missing[None]), plane[None, None], 1e-6)


def test_a_ramp_is_not_continued_over_the_border():
    ramp = torch.arange(7, dtype=torch.float64).expand(6, 7)[None, None].contiguous()
    missing = torch.zeros(1, 6, 7, dtype=torch.bool)
    missing[:, :, 5:] = True
    result = removal.impute(ramp, missing)
    close(result[..., 5:], torch.full((1, 1, 6, 2), 4.0), 1e-5)       # no slope leaves the image: flat beyond


@given(st.lists(st.booleans(), min_size=30, max_size=30), st.integers(0, 99), st.integers(-3, 3), st.integers(-3, 3))
@settings(max_examples=40, deadline=None, derandomize=True)
def test_imputation_properties(missing, seed, slope, offset):
    missing = torch.tensor(missing).view(1, 5, 6)
    x = batch((2, 5, 6), n=1, seed=seed)
    gone = missing[:, None].expand_as(x)
    result = removal.impute(x, missing)
    assert torch.equal(result[~gone], x[~gone])
    close(removal.impute(slope * x + offset, missing), slope * result + offset, 1e-5)
    for turn in (lambda m: m.flip(-1), lambda m: m.flip(-2), lambda m: m.mT.contiguous()):
        close(removal.impute(turn(x), turn(missing)), turn(result), 1e-6)
    if missing.all():
        close(result, x.mean((2, 3), keepdim=True).expand_as(x))
        return
    close(removal.impute(torch.where(gone, 0.3, x), missing), result, 1e-6)     # what is missing is not looked at
    for channel in range(2):
        known = x[0, channel][~missing[0]]
        filled = result[0, channel]
        assert (filled >= known.min() - 1e-6).all() and (filled <= known.max() + 1e-6).all()


# ----------------------------------------------------------------------------------------------------- noise
@pytest.mark.parametrize("noise", [0.01, 0.2])
def test_noise_is_normal_on_imputed_values_only(noise):
    x = 0.2 + 0.6 * images(8, 24, seed=2)
    missing = torch.rand(8, 24, 24, generator=seeded(6)) < 0.5
    gone = missing[:, None].expand_as(x)
    still = removal.impute(x, missing, noise=noise)
    added = removal.impute(x, missing, noise=noise, generator=seeded(1)) - still
    assert torch.equal(added[~gone], torch.zeros_like(added[~gone]))
    values = added[gone] / noise
    size = len(values)
    assert abs(values.mean()) < 4 / size ** 0.5
    assert abs(values.var() - 1) < 4 * (2 / size) ** 0.5
    assert abs((values ** 4).mean() - 3) < 4 * (96 / size) ** 0.5
    red, green = (added[:, channel][missing] / noise for channel in (0, 1))
    assert abs((red * green).mean()) < 4 / len(red) ** 0.5           # each channel its own
    first, second = (added[i, 0][missing[0] & missing[1]] / noise for i in (0, 1))
    assert abs((first * second).mean()) < 4 / len(first) ** 0.5      # each image its own


def test_noise_is_its_generator():
    x, missing = batch(), torch.rand(2, 5, 5, generator=seeded(6)) < 0.5
    impute = functools.partial(removal.impute, x, missing)
    first, again, other = (impute(generator=seeded(seed)) for seed in (1, 1, 2))
    assert torch.equal(first, again) and not torch.equal(first, other)
    assert torch.equal(impute(), impute()) and torch.equal(impute(noise=0.5), impute())
    assert torch.equal(impute(noise=0.0, generator=seeded(1)), impute())
    assert torch.equal(impute(generator=seeded(1)), impute(noise=0.01, generator=seeded(1)))
    state = torch.get_rng_state()
    impute(generator=seeded(1))
    assert torch.equal(torch.get_rng_state(), state)


def test_noise_reaches_degrade_and_no_other_fill():
    x, ranking = batch(), scores("signed")
    by_line = functools.partial(removal.degrade, x, ranking, 0.4, fill="noisy-linear")
    top = removal.top_mask(ranking, 0.4, "pixel")
    assert torch.equal(by_line(noise=0.3, generator=seeded(1)),
                       removal.impute(x, top, noise=0.3, generator=seeded(1)))
    assert torch.equal(by_line(generator=seeded(1)), by_line(noise=0.01, generator=seeded(1)))
    assert torch.equal(by_line(), by_line(noise=0.3))
    assert torch.equal(removal.degrade(x, ranking, 0.4, noise=0.3, generator=seeded(1)),
                       removal.degrade(x, ranking, 0.4))


# ------------------------------------------------------------------------------------------------- bad input
def with_value(tensor, value):
    tensor = tensor.clone()
    tensor[(1, *([0] * (tensor.ndim - 1)))] = value
    return tensor


X, RANKING = batch(), scores("signed")
NAN, INF = float("nan"), float("inf")
BAD_X = {"no batch axis": X[0], "maps": X[:, 0], "empty": X[:0], "NaN": with_value(X, NAN),
         "infinite": with_value(X, INF), "uint8": (255 * X).to(torch.uint8), "numpy": X.numpy(), "None": None}
BAD_RANKINGS = {"no batch axis": RANKING[0, 0], "other batch": RANKING[:1], "other size": RANKING[:, :, :4],
                "other channels": RANKING[:, :2], "five axes": RANKING[None], "NaN": with_value(RANKING, NAN),
                "infinite": with_value(RANKING, INF), "numpy": RANKING.numpy(), "None": None,
                "other map size": RANKING[:, 0, :4], "NaN map": with_value(RANKING[:, 0], NAN)}
BAD_SETTINGS = {
    "fraction": (-0.1, 1.1, 50, NAN, INF, None, "half", True),
    "mode": ("drop", "Remove", None, 1),
    "unit": ("voxel", "pixels", None),
    "noise": (-0.01, NAN, INF, None, "little"),
    "fill": ("blur", "linear", None, NAN, INF, torch.tensor(NAN), torch.zeros(2), torch.zeros(4), torch.zeros(4, 5),
             torch.zeros(3, 5, 4), torch.zeros(3, 3, 5, 5), with_value(X, NAN), torch.zeros(1, 5, 5)[:0]),
}
BAD_MASKS = {"no batch axis": RANKING[0, 0] > 0, "channels": RANKING > 0, "other batch": RANKING[:1, 0] > 0,
             "other size": RANKING[:, 0, :4] > 0, "numbers": RANKING[:, 0], "uint8": (RANKING[:, 0] > 0).byte(),
             "numpy": (RANKING[:, 0] > 0).numpy(), "None": None}


def bad_calls():
    for kind, x in BAD_X.items():
        yield f"degrade: x {kind}", functools.partial(removal.degrade, x, RANKING, 0.3)
        yield f"impute: x {kind}", functools.partial(removal.impute, x, RANKING[:, 0] > 0)
    for kind, ranking in BAD_RANKINGS.items():
        yield f"degrade: scores {kind}", functools.partial(removal.degrade, X, ranking, 0.3)
        if not kind.startswith("other"):
            yield f"top_mask: scores {kind}", functools.partial(removal.top_mask, ranking, 0.3, "pixel")
    for setting, values in BAD_SETTINGS.items():
        for i, value in enumerate(values):
            name = f"{setting} {i} {value if not isinstance(value, torch.Tensor) else tuple(value.shape)}"
            arguments = {"fraction": 0.3, "fill": "noisy-linear" if setting == "noise" else "mean", setting: value}
            yield f"degrade: {name}", functools.partial(removal.degrade, X, RANKING, **arguments)
            if setting == "noise":
                yield f"impute: {name}", functools.partial(removal.impute, X, RANKING[:, 0] > 0, noise=value)
            if setting in ("fraction", "unit"):
                arguments = {"fraction": 0.3, "unit": "pixel", setting: value}
                yield f"top_mask: {name}", functools.partial(removal.top_mask, RANKING, **arguments)
    for kind, mask in BAD_MASKS.items():
        yield f"impute: missing {kind}", functools.partial(removal.impute, X, mask)


CASES = list(bad_calls())


@pytest.mark.parametrize("call", [case[1] for case in CASES], ids=[case[0] for case in CASES])
def test_bad_input_is_refused_with_a_reason(call):
    with pytest.raises((ValueError, TypeError)) as refusal:
        call()
    said = str(refusal.value)
    assert len(said.split()) >= 5 and said.rstrip().endswith("."), said


# ------------------------------------------------------------------------------------------- the toy problem
SEEDS, SAMPLES = 16, 2000
CHANCE = [50.0]
# Accuracy in % after 0, 1, ..., 16 features, where the draw of the task hardly matters.
STEADY = {("true", True): [99.6] * 4 + 13 * CHANCE, ("worst", True): [99.6] * 14 + [None, None] + CHANCE}
# The same where it does: means of the 20 draws of the task that `drawn` repeats.
OF_TWENTY = {("worst", True): [99.6] * 14 + [81.0, 59.5, 50.2],
         ("worst", False): [99.6, 90.8, 85.6, 81.7, 77.7, 76.5, 75.0, 71.8, 70.2, 68.7, 66.4, 65.0, 64.8, 65.8, 63.7,
                            59.5, 50.2],
         ("true", False): [99.6, 56.2, 52.3, 51.4, 50.1, *(12 * CHANCE)]}


@functools.cache
def curves(scalar_noise=True):
    """{(ranking, retrained): accuracy (seeds, 17)}."""
    tables = [toy.accuracies(seed, SAMPLES, scalar_noise=scalar_noise) for seed in range(SEEDS)]
    found = {}
    for (ranking, retrained), _ in tables[0].groupby(["ranking", "retrained"]):
        rows = [table[(table.ranking == ranking) & (table.retrained == retrained)].sort_values("removed")
                for table in tables]
        found[ranking, bool(retrained)] = np.stack([row.accuracy.to_numpy() for row in rows])
    return found


@functools.cache
def written(scalar_noise=True):
    draws = [oracle.toy(1000 + seed, SAMPLES, scalar_noise) for seed in range(SEEDS)]
    return {key: np.array([draw[key] for draw in draws]) for key in draws[0]}


def test_toy_table():
    table = toy.accuracies(3, 500)
    assert set(table.columns) >= {"ranking", "removed", "retrained", "accuracy"} and table.retrained.dtype == bool
    keys = table[["ranking", "removed", "retrained"]].apply(tuple, axis=1)
    assert set(keys) == {(ranking, removed, retrained) for ranking in ("true", "random", "worst")
                         for removed in range(17) for retrained in (False, True)} and len(table) == 102
    assert table.accuracy.between(0, 100).all() and (table.accuracy > 1).all()
    assert table.equals(toy.accuracies(3, 500)) and not table.equals(toy.accuracies(4, 500))


def test_toy_rankings_start_and_end_alike():
    for key, rows in curves().items():
        np.testing.assert_allclose(rows[:, 0], curves()["true", True][:, 0], atol=1e-9)     # nothing removed
        np.testing.assert_allclose(rows[:, 16], curves()["true", key[1]][:, 16], atol=1e-9)  # nothing left


@pytest.mark.parametrize("key", STEADY, ids=str)
def test_toy_reports_the_numbers_that_do_not_depend_on_the_draw(key):
    for removed, (rows, expected) in enumerate(zip(curves()[key].T, STEADY[key])):
        if expected is not None:
            assert abs(rows.mean() - expected) < 1.5, (removed, rows.mean())


def drawn(seed, samples, scalar_noise=True):
    """{(ranking, retrained): accuracy (17,)} of `toy.accuracies` on the task and examples that the oracle draws."""
    draw = np.random.default_rng(seed)

    def normal(*shape, generator):
        if shape == (2, toy.FEATURES):      # a, of which four entries count, and d
            return torch.from_numpy(np.stack([np.resize(draw.standard_normal(4), 16), draw.standard_normal(16)]))
        return torch.from_numpy(draw.standard_normal(shape))

    with mock.patch.object(toy, "_normal", normal):
        table = toy.accuracies(0, samples, scalar_noise=scalar_noise).sort_values("removed")
    return {key: rows.accuracy.to_numpy() for key, rows in table.groupby(["ranking", "retrained"])}


@pytest.fixture(scope="module")
def twenty():
    found = [drawn(seed, 10_000) for seed in range(20)]
    return {key: np.mean([one[key] for one in found], 0) for key in found[0]}


@pytest.mark.parametrize("key", OF_TWENTY, ids=str)
def test_toy_reports_the_other_numbers_of_the_same_draws(twenty, key):
    assert np.abs(twenty[key] - OF_TWENTY[key]).max() < 1.5


@pytest.mark.parametrize("scalar_noise", [True, False])
def test_toy_is_plain_least_squares_on_the_same_draws(scalar_noise):
    for seed in range(4):
        mine, plain = drawn(seed, SAMPLES, scalar_noise), oracle.toy(seed, SAMPLES, scalar_noise)
        for key in mine:
            if key[0] != "random":      # whose order each of them draws in its own way
                assert np.abs(mine[key] - plain[key]).max() < 0.1, key


def test_toy_random_ranking_costs_nothing_until_nothing_is_left_to_know():
    """x holds three unknowns (z, eta, eps): with three features left, one of them informative, z is known exactly.
    So a draw has the full accuracy or none, and none where the 16 - r features left are all among the twelve."""
    rows = curves()["random", True]
    for removed in range(14):
        lost = rows[:, removed] < 75
        assert (rows[~lost, removed] > 97).all() and (np.abs(rows[lost, removed] - 50) < 5).all()
        assert (rows[lost, 13] < 75).all()
        chance = math.comb(12, 16 - removed) / math.comb(16, 16 - removed)
        assert abs(lost.mean() - chance) <= 4 * (chance * (1 - chance) / SEEDS) ** 0.5


@pytest.mark.parametrize("scalar_noise", [True, False])
def test_toy_agrees_with_plain_least_squares(scalar_noise):
    measured, expected = curves(scalar_noise), written(scalar_noise)
    assert set(measured) == set(expected)
    for key in measured:
        error = ((measured[key].var(0, ddof=1) + expected[key].var(0, ddof=1)) / SEEDS) ** 0.5
        assert (np.abs(measured[key].mean(0) - expected[key].mean(0)) < 0.5 + 4 * error).all(), key


def test_toy_with_noise_of_its_own_in_each_feature_is_not_flat():
    """Every informative feature then carries something the others do not."""
    rows = curves(scalar_noise=False)["true", True].mean(0)
    assert (np.diff(rows[:5]) < -2).all() and abs(rows[4] - 50) < 1.5
    assert rows[0] < 92


@pytest.mark.parametrize("samples", [0, -5, 2.5, "many", None])
def test_toy_refuses_bad_settings(samples):
    with pytest.raises((ValueError, TypeError)) as refusal:
        toy.accuracies(0, samples)
    assert len(str(refusal.value).split()) >= 5
