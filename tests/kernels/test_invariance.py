"""metrics.invariance against plain loops, SciPy and what must hold for any two maps."""

import math

import pytest
import scipy.stats
import torch

from fragility import metrics, shift
from tests.networks import SMALL, build, images
from tests.oracles.metrics import average_ranks


def maps(seed=0, n=4, kind="distinct"):
    values = torch.randn(n, 3, 4, 5, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return {"distinct": values, "few values": values.round(), "mostly zero": values * (values > 1)}[kind]


def pearson(p, q):
    p_mean, q_mean = math.fsum(p) / len(p), math.fsum(q) / len(q)
    both = math.fsum((one - p_mean) * (other - q_mean) for one, other in zip(p, q))
    return both / math.sqrt(math.fsum((one - p_mean) ** 2 for one in p)
                            * math.fsum((other - q_mean) ** 2 for other in q))


def by_hand(a, b):
    """(relative, spearman, pearson, largest) of each pair, value by value."""
    rows = []
    for one, other in zip(a.flatten(1).tolist(), b.flatten(1).tolist()):
        moved = [p - q for p, q in zip(one, other)]
        rows.append((math.sqrt(math.fsum(d * d for d in moved)) / math.sqrt(math.fsum(p * p for p in one)),
                     pearson(average_ranks(one), average_ranks(other)), pearson(one, other), max(map(abs, moved))))
    return torch.tensor(rows, dtype=torch.float64)


def close(result, expected, tolerance=1e-12):
    torch.testing.assert_close(torch.stack(tuple(result), 1), expected, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("kind", ["distinct", "few values", "mostly zero"])
def test_all_four_are_the_loop(kind):
    a, b = maps(kind=kind), maps(1, kind=kind)
    result = metrics.invariance(a, b)
    assert result._fields == ("relative", "spearman", "pearson", "largest")
    assert all(part.shape == (4,) and part.dtype == torch.float64 for part in result)
    close(result, by_hand(a, b))


def test_correlations_are_those_of_scipy():
    a, b = maps(kind="few values"), maps(1, kind="few values")
    result = metrics.invariance(a, b)
    for i in range(4):
        one, other = a[i].flatten().numpy(), b[i].flatten().numpy()
        assert float(result.pearson[i]) == pytest.approx(scipy.stats.pearsonr(one, other).statistic, abs=1e-12)
        assert float(result.spearman[i]) == pytest.approx(scipy.stats.spearmanr(one, other).statistic, abs=1e-12)


def test_the_same_map_and_its_relatives():
    a = maps()
    same = torch.tensor([0.0, 1.0, 1.0, 0.0]).double().expand(4, 4)
    close(metrics.invariance(a, a.clone()), same)
    size = a.flatten(1).abs().amax(1)
    for factor, sign in ((3.0, 1.0), (-1.0, -1.0), (0.5, 1.0)):
        result = metrics.invariance(a, factor * a)
        close(result, torch.stack([torch.full((4,), abs(1 - factor)).double(), torch.full((4,), sign).double(),
                                   torch.full((4,), sign).double(), abs(1 - factor) * size], 1))
    cubed = metrics.invariance(a, a ** 3)                     # increasing: ranks stay, the correlation does not
    torch.testing.assert_close(cubed.spearman, torch.ones(4).double())
    assert (cubed.pearson < 0.99).all()


def test_relative_is_of_the_first_map():
    a, b = maps(), 2 * maps(1)
    there, back = metrics.invariance(a, b), metrics.invariance(b, a)
    torch.testing.assert_close(there.relative * a.flatten(1).norm(dim=1), back.relative * b.flatten(1).norm(dim=1))
    assert not torch.allclose(there.relative, back.relative)
    for name in ("spearman", "pearson", "largest"):
        torch.testing.assert_close(getattr(there, name), getattr(back, name))


def test_maps_are_signed():
    """The correlations are over signed values of every channel, not over magnitudes or pixels."""
    a = maps()
    assert (metrics.invariance(a, -a).pearson < -0.999).all()
    assert (metrics.invariance(a, a.roll(1, 1)).pearson < 0.9).all()


def test_a_batch_is_its_images():
    a, b = maps(), maps(1)
    whole = metrics.invariance(a, b)
    for i in range(4):
        close(metrics.invariance(a[i:i + 1], b[i:i + 1]), torch.stack(tuple(whole), 1)[i:i + 1])


def test_single_precision_is_computed_in_double():
    a, b = maps().float(), maps(1).float()
    close(metrics.invariance(a, b), by_hand(a.double(), b.double()))
    near = a + 1e-6 * a.sign()
    close(metrics.invariance(a, near), by_hand(a.double(), near.double()), 1e-10)
    huge, tiny = 1e30 * a, 1e-30 * a                          # their squares leave the range of float32
    close(metrics.invariance(huge, 1e30 * b), by_hand(huge.double(), (1e30 * b).double()))
    assert torch.allclose(metrics.invariance(tiny, 2 * tiny).relative, torch.ones(4).double())


@pytest.mark.parametrize("value", [0.0, 0.1, -3.3])
def test_a_constant_map_has_no_correlation(value):
    """NaN, not what the rounding of a mean leaves; the other two numbers and other images stay."""
    a, b = maps(), maps(1)
    b[2] = value
    pairs = [(a, b)] if value == 0 else [(a, b), (b, a)]
    for one, other in pairs:
        result = metrics.invariance(one, other)
        for part in (result.spearman, result.pearson):
            assert part.isnan().tolist() == [False, False, True, False]
        kept = [0, 1, 3]
        close([part[kept] for part in result], by_hand(one[kept], other[kept]))
        moved = (one[2] - other[2]).abs()
        torch.testing.assert_close(result.largest[2], moved.max())
        torch.testing.assert_close(result.relative[2], moved.square().sum().sqrt() / one[2].square().sum().sqrt())


def test_an_empty_second_map_has_lost_everything():
    a = maps()
    result = metrics.invariance(a, torch.zeros_like(a))
    torch.testing.assert_close(result.relative, torch.ones(4).double())
    assert result.spearman.isnan().all() and result.pearson.isnan().all()


def _changed(index, value):
    a = maps()
    a[index] = value
    return a


BAD = {
    "fewer maps": (maps(), maps()[:3]),
    "fewer channels": (maps(), maps()[:, :1]),
    "other size": (maps(), maps().mT),
    "no channels": (maps()[:, 0], maps()[:, 0]),
    "one map": (maps()[0], maps()[0]),
    "empty": (maps()[:0], maps()[:0]),
    "integers": (maps().long(), maps().long()),
    "NaN in the first": (_changed((1, 0, 2, 3), float("nan")), maps()),
    "NaN in the second": (maps(), _changed((1, 0, 2, 3), float("nan"))),
    "infinity": (maps(), _changed((1, 0, 2, 3), float("inf"))),
    "nothing in the first": (_changed(1, 0.0), maps()),
}


@pytest.mark.parametrize("kind", BAD)
def test_bad_maps_are_refused(kind):
    with pytest.raises(ValueError) as refusal:
        metrics.invariance(*BAD[kind])
    assert len(str(refusal.value)) >= 20
    if kind.startswith(("NaN", "infinity", "nothing")):
        assert "1" in str(refusal.value), "it names the image"


@pytest.mark.parametrize("m", [0.4, torch.full((8, 8), -0.3), torch.linspace(-1, 1, 3).view(3, 1, 1)],
                         ids=["number", "(h, w)", "(c, 1, 1)"])
def test_a_shift_is_compared_in_double_precision_whatever_the_model_has(m):
    model, x = build(SMALL["plain"], dtype=torch.float32), images(4, dtype=torch.float32)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    still = shift.invariance(model, x, m)
    moved = shift.invariance(model, x, m, method="gradient_x_input")
    assert still.relative.max() < 1e-12 < 1e-2 < moved.relative.min()
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    assert next(model.parameters()).dtype == torch.float32


def test_only_a_module_has_a_precision_to_change():
    with pytest.raises(TypeError, match="must be a module"):
        shift.invariance(lambda x: x.flatten(1), images(), 0.1)
