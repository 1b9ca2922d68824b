"""Convolutions that pass gradients to their input alone have the derivatives of any order that torch's have."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.autograd import forward_ad

from fragility import attacks
from fragility.rules.convolutions import InputGradientOnly
from fragility.training import robust
from tests.networks import build, plain

GEOMETRIES = [      # channels, kernel, stride, padding, dilation, groups, size
    (5, 3, 1, 1, 1, 1, (9, 8)), (6, 3, 1, 0, 2, 2, (9, 11)), (6, (3, 5), (2, 1), (0, 2), (1, 2), 3, (12, 14)),
    (5, 4, 3, 1, 1, 1, (17, 15)), (3, 7, 2, 3, 1, 1, (20, 21)), (8, 1, 2, 0, 1, 8, (7, 7))]


def curved(x, weight, bias, geometry):
    return F.conv2d(x, weight, bias, *geometry).tanh().square().sum()


def derivatives(x, v, *rest):
    """The gradient, and the Hessian's product with v."""
    x = x.clone().requires_grad_()
    slope, = torch.autograd.grad(curved(x, *rest), x, create_graph=True)
    return slope.detach(), torch.autograd.grad((slope * v).sum(), x)[0]


def drawn(channels, kernel, groups, size):
    torch.manual_seed(0)
    kernel = (kernel, kernel) if isinstance(kernel, int) else kernel
    x, v = torch.randn(2, 2, channels, *size, dtype=torch.float64)
    weight = torch.randn(groups * 2, channels // groups, *kernel, dtype=torch.float64) / 4
    return x, v, weight.requires_grad_(), torch.randn(groups * 2, dtype=torch.float64)


@pytest.mark.parametrize("channels, kernel, stride, padding, dilation, groups, size", GEOMETRIES)
def test_both_derivatives_are_torchs(channels, kernel, stride, padding, dilation, groups, size):
    x, v, weight, bias = drawn(channels, kernel, groups, size)
    geometry = (stride, padding, dilation, groups)
    expected = derivatives(x, v, weight, bias, geometry)
    with InputGradientOnly():
        found = derivatives(x, v, weight, bias, geometry)
    for a, b in zip(found, expected):
        assert b.abs().max() > 1e-3 and (a - b).abs().max() < 1e-12


@pytest.mark.parametrize("channels, kernel, stride, padding, dilation, groups, size", GEOMETRIES)
@pytest.mark.filterwarnings("ignore:`torch.jit.script` is:FutureWarning")
def test_forward_over_reverse_is_torchs(channels, kernel, stride, padding, dilation, groups, size):
    x, v, weight, bias = drawn(channels, kernel, groups, size)
    geometry = (stride, padding, dilation, groups)
    expected = derivatives(x, v, weight, bias, geometry)[1]
    with InputGradientOnly(), forward_ad.dual_level():
        moving = forward_ad.make_dual(x.requires_grad_(), v)
        slope, = torch.autograd.grad(curved(moving, weight, bias, geometry), moving, create_graph=True)
        assert (forward_ad.unpack_dual(slope).tangent - expected).abs().max() < 1e-12


def test_weights_get_nothing_and_what_makes_them_keeps_its_share():
    x, _, weight, bias = drawn(5, 3, 1, (9, 8))
    x.requires_grad_()
    with InputGradientOnly():
        F.conv2d(x, weight, bias).square().sum().backward()
    assert weight.grad is None
    made = weight * x.mean()
    expected, = torch.autograd.grad(F.conv2d(x, made, bias).square().sum(), x, retain_graph=True)
    with InputGradientOnly():
        found, = torch.autograd.grad(F.conv2d(x, made, bias).square().sum(), x)
    assert torch.equal(found, expected)


@pytest.mark.parametrize("call", [
    lambda x, weight: F.conv2d(x, weight, padding="same"), lambda x, weight: F.conv2d(x[0], weight),
    lambda x, weight: F.conv2d(input=x, weight=weight, stride=2)])
def test_every_spelling_goes_through(call):
    x, _, weight, _ = drawn(5, 3, 1, (9, 8))
    x.requires_grad_()
    expected, = torch.autograd.grad(call(x, weight).square().sum(), x)
    with InputGradientOnly():
        found, = torch.autograd.grad(call(x, weight).square().sum(), x)
    assert (found - expected).abs().max() < 1e-12


def convolved(work) -> int:
    """How many convolutions and gradients of convolutions torch runs."""
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as seen:
        work()
    names = ("aten::_convolution", "aten::convolution_backward")
    return sum(event.count for event in seen.key_averages() if event.key in names)


def same_with_and_without(work, monkeypatch, module: str):
    """Equal results, and fewer convolutions with the mode than without."""
    few, fast = convolved(work), work()
    monkeypatch.setattr(f"{module}.InputGradientOnly", torch.enable_grad)       # a context that changes nothing
    assert (work() - fast).abs().max() < 1e-6
    assert convolved(work) > few


def test_training_against_attacks_climbs_the_same_way(monkeypatch):
    torch.manual_seed(0)
    model, x, labels = build(plain, dtype=torch.float32), torch.rand(4, 3, 8, 8), torch.arange(4) % 3

    def work():
        model.zero_grad()
        generator = torch.Generator().manual_seed(0)
        loss = robust.ig_sum_norm(robust.Ball(0.1, 3, 0.05), generator, points=3, attack_points=3)
        loss(model, x, labels).backward()
        return torch.cat([weight.grad.flatten() for weight in model.parameters()])
    assert work().abs().sum() > 0       # the weights still learn
    same_with_and_without(work, monkeypatch, "fragility.training.robust")


@pytest.mark.parametrize("method", ["gradient", "deeplift", "guided_backprop"])
def test_double_backprop_climbs_the_same_way(method, monkeypatch):
    torch.manual_seed(0)
    model, x = build(plain, dtype=torch.float32), torch.rand(2, 3, 8, 8)

    def work():
        return attacks.attack(model, x, method=method, objective=attacks.TopK(20), epsilon=0.1, steps=3,
                              curvature="double-backprop", generator=torch.Generator().manual_seed(0)).x
    same_with_and_without(work, monkeypatch, "fragility.attacks.directions")


def test_under_autocast_the_precision_is_autocasts():
    torch.manual_seed(0)
    layer, x = nn.Conv2d(3, 4, 3), torch.rand(2, 3, 8, 8, requires_grad=True)
    with torch.autocast("cpu", torch.bfloat16):
        torchs = layer(x)
        with InputGradientOnly():
            ours = layer(x)
    assert ours.dtype == torch.bfloat16 and torch.equal(ours, torchs)
    a, b = (torch.autograd.grad(y.float().square().sum(), x, retain_graph=True)[0] for y in (torchs, ours))
    assert a.dtype == b.dtype == torch.float32 and (a - b).abs().max() < 0.02 * a.abs().max()
