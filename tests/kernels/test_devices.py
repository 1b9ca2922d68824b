"""Blind to the device: every public kernel runs on tensors without values that claim to be elsewhere than on the CPU.

A stray `.item()`, `.cpu()` or `.numpy()` has no value to give there, and two devices in one operation are an error, so
both are found without a GPU. Value checks at entry may wait for a device; they are switched off here. Metrics and
removal claim to be on a CUDA device. What goes through autograd claims to be on torch's "meta" device instead: torch
asks the driver for a stream as soon as a graph is made of tensors on a CUDA device, and there is none.
"""

import warnings

import pytest
import torch
from torch import nn
from torch._subclasses.fake_tensor import DataDependentOutputException, FakeTensorMode

from fragility import attacks, attribution, checks, curvature, influence, metrics, removal, shift, training
from tests.networks import OF_ATTENTION, Transformer, build, images, options, plain

# What needs the processor, or a choice that depends on values, and why.
LISTED = {
    "diverse top-k": "its rounds end when every map is decided",
    "diverse LENS recall": "as the diverse top-k",
    "noisy linear imputation": "its banded systems are solved by LAPACK on the processor",
    "layout": "two layouts are compared once for a model; without values the plain one is taken",
    "Kendall on a CPU": "SciPy is faster there; elsewhere sorts of the batch are used, which run here",
}


@pytest.fixture
def blind(monkeypatch):
    """Tensors without values; checks that read values are switched off."""
    monkeypatch.setattr(checks, "any_true", lambda mask: False)
    monkeypatch.setattr(checks, "bounds", lambda classes: (0, 0))
    with FakeTensorMode() as mode:
        yield mode


def model():
    return nn.Sequential(nn.Conv2d(3, 4, 3, padding=1, device="meta"), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(),
                         nn.Linear(64, 5, device="meta")).eval()


def model_for(name):
    """A network that the method takes."""
    with torch.device("meta"):
        return Transformer().eval() if name in OF_ATTENTION else model()


def seeded():
    return torch.Generator()


MAPS = {**{name: (name, options(name, samples=2, generator=seeded())) for name in attribution.METHODS},
        "lrp epsilon": ("lrp", {"rule": "epsilon"}), "lrp z+": ("lrp", {"rule": "z+"})}
OBJECTIVES = {"top-k": lambda: attacks.TopK(5), "centre": attacks.MassCenter, "lens": lambda: attacks.LensTopK(5, 1)}
ATTACKED = ("gradient", "gradient_x_input", "integrated_gradients", "smoothgrad", "deeplift", "lrp", "guided_backprop",
            "occlusion", "grad_cam", "attn_lrp", *OF_ATTENTION)
KERNELS = {
    **{case: lambda x, name=name, chosen=chosen: attribution.METHODS[name](model_for(name), x, 0, **chosen)
       for case, (name, chosen) in MAPS.items()},
    **{f"attack {method} {goal}": lambda x, method=method, goal=goal: attacks.attack(
        model_for(method), x, method=method, objective=OBJECTIVES[goal](), epsilon=0.1, steps=2, generator=seeded()).x
       for method in ATTACKED for goal in OBJECTIVES},
    "random sign": lambda x: attacks.random_sign(x, epsilon=0.1, generator=seeded()),
    "random walk": lambda x: attacks.random_walk(model(), x, epsilon=0.1, steps=2, score=metrics.center_shift,
                                                 generator=seeded()).x,
    "pattern net": lambda x: attribution.pattern_net(
        (one := model()), x, 0, patterns=attribution.fit_patterns(one, x)),
    "pixel map": attribution.pixel_map,
    "compensated": lambda x: shift.agreement((one := model()), shift.compensate(one, 0.5), x, 0.5),
    "hessian product": lambda x: curvature.hessian_product(curvature.smoothed(model()), x, x, 0),
    "dominant direction": lambda x: curvature.dominant_direction(curvature.smoothed(model()), x, 0, iterations=2,
                                                                 generator=seeded()).direction,
}


@pytest.mark.parametrize("name", KERNELS)
def test_kernels_that_differentiate_stay_on_the_device(name, blind):
    assert KERNELS[name](torch.rand(3, 3, 8, 8, device="meta")).device.type == "meta"


PAIRS = {
    "overlap": lambda a, b: metrics.topk_intersection(a, b, 5), "spearman": metrics.spearman,
    "kendall": metrics.kendall, "centre shift": metrics.center_shift,
    "recall": lambda a, b: metrics.lens_recall(a, b, 5, 1),
    "precision": lambda a, b: metrics.lens_precision(a, b, 5, 1),
    "lens spearman": lambda a, b: metrics.lens_spearman(a, b, 1),
    "lens kendall": lambda a, b: metrics.lens_kendall(a, b, 1),
    "chance": lambda a, b: metrics.lens_chance(a, 5, 1), "ties": lambda a, b: metrics.ties(a, 5),
    "invariance": lambda a, b: metrics.invariance(a[:, None], b[:, None]).relative,
    "remove": lambda a, b: removal.degrade(a[:, None], b, 0.5), "keep": lambda a, b: removal.degrade(
        a[:, None], b[:, None], 0.5, mode="keep", unit="value", fill=0.5),
    "dilate": lambda a, b: metrics.dilate(a > 0.5, 1), "box mean": lambda a, b: metrics.box_mean(a, 1),
    "flip and shift": lambda a, b: training.FlipShift(shift=1)(a[:, None], seeded()),
    "random crop": lambda a, b: training.RandomCrop()(a[:, None], seeded()),
}


@pytest.mark.parametrize("name", PAIRS)
def test_metrics_and_removal_stay_on_the_device(name, blind):
    a, b = torch.rand(2, 4, 9, 9, device="cuda:0")
    assert PAIRS[name](a, b).device.type == "cuda"


@pytest.mark.parametrize("name, kernel", {
    "diverse top-k": lambda a: metrics.diverse_topk(a, 5, 1),
    "diverse LENS recall": lambda a: metrics.lens_recall(a, a, 5, 1, diverse=True),
    "noisy linear imputation": lambda a: removal.degrade(a[:, None], a, 0.5, fill="noisy-linear")}.items())
def test_what_is_listed_does_depend_on_values(name, kernel, blind):
    """The list is not longer than it has to be."""
    assert name in LISTED
    with pytest.raises(DataDependentOutputException):
        kernel(torch.rand(4, 9, 9, device="cuda:0"))


def test_influence_stays_on_the_device(blind):
    head = influence.Head(torch.rand(1, 65, device="meta", dtype=torch.float64), "cross-entropy", 0.1)
    features, labels = torch.rand(6, 64, device="meta"), torch.zeros(6, dtype=torch.int64, device="meta")
    assert influence.gradients(head, features, labels).device.type == "meta"
    assert influence.hessian(head, features, labels).device.type == "meta"


@pytest.mark.parametrize("fault", [lambda x: x.sum().item(), lambda x: x + torch.ones(3, 3, 8, 8),
                                   lambda x: x.cpu().numpy()], ids=["item", "two devices", "numpy"])
def test_a_stray_value_is_found(fault, blind):
    with pytest.raises(Exception, match="."):
        fault(torch.rand(3, 3, 8, 8, device="meta"))


@pytest.mark.parametrize("method", ["gradient", "integrated_gradients", "deeplift", "lrp", "deep_taylor"])
def test_a_card_without_memory_goes_on_with_smaller_chunks(method):
    inner, x = build(plain), images(7)
    expected = attribution.METHODS[method](inner, x, 1)

    def small(z):
        if len(z) > 2:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return inner(z)
    with pytest.warns(RuntimeWarning, match="ran out of memory; going on with"):
        torch.testing.assert_close(attribution.METHODS[method](small, x, 1), expected)
    with warnings.catch_warnings(), pytest.raises(torch.OutOfMemoryError):
        warnings.simplefilter("ignore", RuntimeWarning)
        attribution.METHODS[method](lambda z: small(z.repeat(3, 1, 1, 1))[:1], x[:1], 1)
