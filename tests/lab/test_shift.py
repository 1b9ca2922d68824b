"""The compensated twin: the same logits for shifted images, whatever the first layer is."""

import pytest
import torch
import torch.nn.functional as F
import torchvision
from torch import nn

from fragility import Normalised, attribution, shift
from lab.chapters.shift import invariance, kittens, shifts
from lab.core.store import Store
from lab.material import data, networks

torch.manual_seed(0)


def head():
    return nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.LazyLinear(5)


SHIFTS = {"uniform": -1.0, "arbitrary": torch.randn(3, 12, 12, dtype=torch.float64),
          "checkerboard": (torch.arange(144).view(12, 12) // 3 % 2).double().expand(3, 12, 12)}


class Inside(nn.Module):
    """Normalises inside itself, in more than one step."""

    def __init__(self):
        super().__init__()
        self.network = nn.Sequential(nn.BatchNorm2d(3), nn.Conv2d(3, 4, 3, padding=1), *head())
        self.network[0].running_mean.uniform_()
        self.network[0].running_var.uniform_(0.5, 2)

    def forward(self, x):
        return self.network(2 * F.pad((x - 0.3) / 0.2, (1, 1, 1, 1), mode="reflect") - 1)


FIRST = {
    "linear": lambda: nn.Sequential(nn.Flatten(), nn.Linear(432, 20), nn.ReLU(), nn.Linear(20, 5)),
    "linear without bias": lambda: nn.Sequential(nn.Flatten(), nn.Linear(432, 5, bias=False)),
    "valid": lambda: nn.Sequential(nn.Conv2d(3, 4, 3), *head()),
    "padded": lambda: nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), *head()),
    "same": lambda: nn.Sequential(nn.Conv2d(3, 4, 3, padding="same"), *head()),
    "no bias": lambda: nn.Sequential(nn.Conv2d(3, 4, 3, padding=1, bias=False), *head()),
    "strided": lambda: nn.Sequential(nn.Conv2d(3, 4, 3, stride=2, padding=1), *head()),
    "dilated": lambda: nn.Sequential(nn.Conv2d(3, 4, 3, dilation=2, padding=2), *head()),
    "grouped": lambda: nn.Sequential(nn.Conv2d(3, 6, 3, groups=3, padding=1), *head()),
    "circular": lambda: nn.Sequential(nn.Conv2d(3, 4, 3, padding=1, padding_mode="circular"), *head()),
    "normalises inside": Inside,
}


def network(name):
    model = FIRST[name]().double().eval()
    model(torch.rand(1, 3, 12, 12, dtype=torch.float64))     # sizes of lazy layers
    return model


@pytest.mark.parametrize("m", SHIFTS.values(), ids=SHIFTS)
@pytest.mark.parametrize("name", FIRST)
def test_the_twin_is_exact(name, m):
    model, x = network(name), torch.rand(4, 3, 12, 12, dtype=torch.float64)
    twin = shift.compensate(model, m)
    assert shift.agreement(model, twin, x, m).max() < 1e-12
    assert shift.agreement(model, model, x, m).max() > 1e-3      # without compensation it does differ


@pytest.mark.parametrize("name", FIRST)
def test_gradients_are_the_same_and_a_product_with_the_input_is_not(name):
    model, x, m = network(name), torch.rand(2, 3, 12, 12, dtype=torch.float64), SHIFTS["arbitrary"]
    twin = shift.compensate(model, m)
    for method in (attribution.gradient, attribution.guided_backprop, attribution.deconvnet):
        assert torch.allclose(method(twin, x + m, 1), method(model, x, 1), rtol=1e-9, atol=1e-12)
    product = attribution.gradient_x_input
    assert not torch.allclose(product(twin, x + m, 1), product(model, x, 1), rtol=1e-2)


@pytest.mark.parametrize("m", SHIFTS.values(), ids=SHIFTS)
@pytest.mark.parametrize("name", ["linear", "valid", "padded", "strided", "normalises inside"])
def test_a_baseline_that_moves_with_the_data_passes_every_shift(name, m):
    """IG_f2(x + m; x0) = IG_f1(x; x0 - m), and the same for DeepLIFT: kindermans2019's failure is the baseline's."""
    model, x = network(name), torch.rand(2, 3, 12, 12, dtype=torch.float64)
    twin, start = shift.compensate(model, m), torch.rand(3, 12, 12, dtype=torch.float64)
    for method in (attribution.integrated_gradients, attribution.deeplift):
        assert torch.allclose(method(twin, x + m, 1, baseline=start), method(model, x, 1, baseline=start - m),
                              rtol=1e-9, atol=1e-12)


def test_rules_see_the_untied_bias_as_a_bias():
    """Relevance of the twin is what an explicitly rebuilt first layer gives."""
    model, m = network("linear"), SHIFTS["arbitrary"]
    rebuilt = network("linear")
    rebuilt.load_state_dict(model.state_dict())
    with torch.no_grad():
        rebuilt[1].bias -= rebuilt[1].weight @ m.flatten()
    x = torch.rand(2, 3, 12, 12, dtype=torch.float64)
    for rule in ("z", "epsilon", "z+"):
        assert torch.allclose(attribution.lrp(shift.compensate(model, m), x, 1, rule=rule),
                              attribution.lrp(rebuilt, x, 1, rule=rule), rtol=1e-9, atol=1e-12)


def test_resnet_with_an_arbitrary_shift():
    model = Normalised(torchvision.models.resnet18(), data.IMAGENET_MEAN, networks.IMAGENET_STD).eval().double()
    x, m = torch.rand(2, 3, 64, 64, dtype=torch.float64), torch.randn(3, 64, 64, dtype=torch.float64)
    assert shift.agreement(model, shift.compensate(model, m), x, m).max() < 1e-12
    single = model.float()
    assert shift.agreement(single, shift.compensate(single, m.float()), x.float(), m.float()).max() < 1e-4


def test_any_image_size_and_the_model_untouched():
    model = network("padded")
    before = {name: value.clone() for name, value in model.state_dict().items()}
    twin = shift.compensate(model, 0.7)
    for side in (12, 20, 9):
        x = torch.rand(1, 3, side, side, dtype=torch.float64)
        assert shift.agreement(model, twin, x, 0.7).max() < 1e-12
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


class Branch(nn.Module):
    """Reads x twice: a bias of the first layer cannot undo a shift."""

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(3, 4, 1)

    def forward(self, x):
        return (self.first(x) + self.second(x)).mean((2, 3))


REFUSED = {
    "ReLU first": (lambda: nn.Sequential(nn.ReLU(), nn.Conv2d(3, 4, 3), *head()), "Relu"),
    "pooling first": (lambda: nn.Sequential(nn.MaxPool2d(2), nn.Conv2d(3, 4, 3), *head()), "MaxPool2D"),
    "sigmoid": (lambda: nn.Sequential(nn.Sigmoid(), nn.Flatten(), nn.LazyLinear(5)), "Sigmoid"),
    "no layer": (lambda: nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten()), "no convolution"),
    "two first layers": (Branch, "more than one place"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_compensated_is_refused_by_name(name):
    make, said = REFUSED[name]
    model, x = make().eval(), torch.rand(1, 3, 12, 12)
    model(x)
    with pytest.raises(ValueError, match=said):
        shift.compensate(model, 0.5)(x)


@pytest.mark.parametrize("m", [torch.rand(2, 3, 12, 12), torch.rand(5), float("nan")])
def test_a_shift_that_does_not_fit_is_refused(m):
    model = network("valid").float()
    with pytest.raises(ValueError):
        shift.compensate(model, m)(torch.rand(2, 3, 12, 12))


def test_how_often_a_pixel_of_the_drawing_is_above_one_beside_it():
    drawing = shifts.drawing()
    assert kittens.ahead(drawing[None, None], drawing) == 1 and kittens.ahead(-drawing[None, None], drawing) == 0
    assert kittens.ahead(torch.zeros(1, 3, 28, 28), drawing) == 0.5
    faint = drawing[None, None].clone()
    faint[0, 0, 0, 0] = 1e6        # one pixel of the background rules a correlation, and hardly this
    assert kittens.ahead(faint, drawing) > 0.99 and kittens.likeness(faint, drawing) < 0.1
    values = torch.rand(28 * 28, generator=torch.Generator().manual_seed(0), dtype=torch.float64).mul(20).round()
    inside = drawing.flatten().bool()
    pairs = [(p > q) + 0.5 * (p == q) for p in values[inside].tolist() for q in values[~inside].tolist()]
    assert kittens.ahead(values.view(1, 1, 28, 28), drawing) == pytest.approx(sum(pairs) / len(pairs))


def test_another_drawing_is_another_cell(tmp_path, monkeypatch):
    store, cell = Store(tmp_path), {**kittens.EXPERIMENT.canary, "shift": "kitten"}
    keys = lambda: (kittens.EXPERIMENT.key(kittens.EXPERIMENT.canary, store), invariance.inputs(cell, store)["drawing"])
    before, plain = keys(), shifts.drawing()
    monkeypatch.setattr(shifts, "drawing", lambda *text: 1 - plain)
    assert all(one != other for one, other in zip(before, keys()))
