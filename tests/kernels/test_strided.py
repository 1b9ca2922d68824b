"""The quick gradient of a strided first convolution is the gradient, and is used where it may be."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from fragility import attribution, passes
from fragility.rules import convolutions, strided
from fragility.rules.model import RuleModel


@pytest.mark.parametrize("channels, kernel, stride, padding, size", [
    (3, (7, 7), 2, (0, 0), (27, 27)), (3, (7, 7), 2, (3, 3), (24, 25)), (3, (3, 3), 2, (1, 1), (20, 21)),
    (1, (11, 11), 4, (2, 2), (31, 34)), (4, (5, 3), 3, (1, 0), (19, 23)), (2, (2, 2), 3, (0, 0), (14, 17)),
    (3, (4, 4), 4, (0, 0), (18, 16)), (3, (1, 1), 2, (0, 0), (9, 9))])
def test_it_is_the_gradient(channels, kernel, stride, padding, size):
    torch.manual_seed(0)
    x = torch.randn(2, channels, *size, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(5, channels, *kernel, dtype=torch.float64)
    y = F.conv2d(x, weight, None, stride, padding)
    slope = torch.randn_like(y)
    expected, = torch.autograd.grad(y, x, slope)
    assert (strided.input_gradient(slope, weight, stride, padding, size) - expected).abs().max() < 1e-12


class Counting:
    """How often the quick gradient is asked for."""

    def __init__(self, monkeypatch):
        self.times, function = 0, convolutions.input_gradient

        def counted(*arguments):
            self.times += 1
            return function(*arguments)
        monkeypatch.setattr(convolutions, "input_gradient", counted)


def network(stride=2, channels=3, **options):
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(channels, 8, 5, stride, 1, **options), nn.ReLU(inplace=True), nn.Conv2d(8, 8, 3),
                         nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 3)).double().eval()


def plain(model, x):
    x = x.clone().requires_grad_()
    return torch.autograd.grad(model(x).amax(1).sum(), x)[0]


def test_maps_are_the_same_with_and_without_it(monkeypatch):
    model, x, counting = network(), torch.rand(3, 3, 33, 32, dtype=torch.float64), Counting(monkeypatch)
    assert (attribution.gradient(model, x) - plain(model, x)).abs().max() < 1e-12 and counting.times == 1
    guided = attribution.guided_backprop(model, x)
    assert counting.times == 2
    monkeypatch.setattr(convolutions, "FEW", 0)
    assert (guided - attribution.guided_backprop(model, x)).abs().max() < 1e-12 and counting.times == 2


@pytest.mark.parametrize("model, channels", [
    (network(stride=1), 3), (network(channels=6), 6), (network(channels=4, groups=2), 4), (network(dilation=2), 3)])
def test_other_convolutions_keep_their_own(model, channels, monkeypatch):
    counting, x = Counting(monkeypatch), torch.rand(2, channels, 32, 32, dtype=torch.float64)
    assert (attribution.gradient(model, x) - plain(model, x)).abs().max() < 1e-12 and counting.times == 0


class Adaptive(nn.Module):
    """A first layer whose weights, or biases, are made from the image."""

    def __init__(self, part):
        super().__init__()
        self.layers, self.part = network(), part

    def forward(self, x):
        first, scale = self.layers[0], x.mean()
        weight, bias = (value * scale if name == self.part else value
                        for name, value in (("weight", first.weight), ("bias", first.bias)))
        return self.layers[1:](F.conv2d(x, weight, bias, 2, 1))


@pytest.mark.parametrize("part", ["weight", "bias"])
def test_weights_made_from_the_image_keep_their_share(part, monkeypatch):
    model, counting = Adaptive(part).eval(), Counting(monkeypatch)
    x = torch.rand(2, 3, 32, 32, dtype=torch.float64)
    assert (attribution.gradient(model, x) - plain(model, x)).abs().max() < 1e-12 and counting.times == 0


def test_what_is_differentiated_twice_keeps_its_own_and_weights_theirs(monkeypatch):
    """Robust training differentiates maps with respect to the weights."""
    model, counting = network(), Counting(monkeypatch)
    model[1] = nn.Softplus()
    x = torch.rand(2, 3, 32, 32, dtype=torch.float64, requires_grad=True)
    maps, _ = passes.explain(model, x, passes.Targets(None, 2, x.device))
    maps.square().sum().backward()
    assert counting.times == 0 and x.grad.abs().sum() > 0 and model[0].weight.grad.abs().sum() > 0


def test_a_rule_for_convolutions_is_not_passed_by(monkeypatch):
    """The convolution of a model under rules is seen by the rules first."""
    seen = []

    def rule(z, weight, bias, stride, padding, dilation, groups):
        seen.append(stride)
        return F.conv2d(z, weight, bias, stride, padding, dilation, groups)

    model, x = network(), torch.rand(2, 3, 32, 32, dtype=torch.float64)
    rule_model = RuleModel(model, {"conv2d": rule, "relu": torch.relu})
    maps, _ = passes.explain(rule_model, x, passes.Targets(None, 2, x.device))
    assert len(seen) == 2 and (maps - plain(model, x)).abs().max() < 1e-12
