"""The same numbers on a GPU as on the CPU; experiments run on it in test_experiments.py, where there is one."""

import pytest
import torch

from fragility import attacks, attribution, metrics, removal, training
from fragility.training import robust
from lab.material import data
from lab.material.networks import load
from tests import networks
from tests.networks import build, images

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU, and there is none here")

OBJECTIVES = {"topk": attacks.TopK(9), "center": attacks.MassCenter(), "lens": attacks.LensTopK(5, 1)}


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def both(make, *batches, network=networks.unpooled):
    """What a function of a model and tensors gives on the CPU and on the GPU, in float64."""
    model = build(network)
    on_cpu = make(model, *batches)
    on_gpu = make(build(network).cuda(), *(one.cuda() for one in batches))
    return on_cpu, on_gpu


@pytest.mark.parametrize("name", attribution.METHODS)
def test_maps_are_those_of_the_processor(name):
    def explain(model, x):
        chosen = networks.options(name, steps=5, samples=3, generator=seeded())
        return attribution.METHODS[name](model, x, **chosen)
    network = networks.Transformer if name in networks.OF_ATTENTION else networks.unpooled
    on_cpu, on_gpu = both(explain, images(), network=network)
    assert on_gpu.is_cuda
    torch.testing.assert_close(on_gpu.cpu(), on_cpu, rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("method, curvature", [
    ("gradient", None), ("integrated_gradients", None), ("gradient", "double-backprop"), ("deeplift", None)])
@pytest.mark.parametrize("objective", OBJECTIVES)
def test_attacks_take_the_same_steps(objective, method, curvature):
    def perturb(model, x):
        return attacks.attack(model, x, method=method, objective=OBJECTIVES[objective], epsilon=0.1, steps=4,
                              curvature=curvature, generator=seeded(), method_args=networks.options(method, steps=5))
    on_cpu, on_gpu = both(perturb, images())
    assert on_gpu.x.is_cuda and torch.equal(on_gpu.steps.cpu(), on_cpu.steps)
    # A derivative of zero may have either sign by rounding: few values, not none.
    assert ((on_gpu.x.cpu() - on_cpu.x).abs() > 1e-8).double().mean() < 0.01


MAPS = torch.rand(2, 4, 12, 10, generator=seeded(), dtype=torch.float64)
SCORES = {
    "topk": lambda a, b: metrics.topk_intersection(a, b, 9), "spearman": metrics.spearman, "kendall": metrics.kendall,
    "center": metrics.center_shift, "recall": lambda a, b: metrics.lens_recall(a, b, 9, 1),
    "precision": lambda a, b: metrics.lens_precision(a, b, 9, 1, diverse=True),
    "lens_spearman": lambda a, b: metrics.lens_spearman(a, b, 1),
    "lens_kendall": lambda a, b: metrics.lens_kendall(a, b, 2, zero_padding=True),
    "chance": lambda a, b: metrics.lens_chance(a, 9, 1, diverse=True),
    "invariance": lambda a, b: torch.stack(list(metrics.invariance(a[:, None], b[:, None])))}


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("name", SCORES)
def test_metrics_are_those_of_the_processor(name, ties):
    a, b = ((3 * one).floor() if ties else one for one in MAPS)
    on_gpu = SCORES[name](a.cuda(), b.cuda())
    assert on_gpu.is_cuda
    torch.testing.assert_close(on_gpu.cpu(), SCORES[name](a, b), rtol=1e-10, atol=1e-12)


def test_removal_imputes_the_same_values():
    x, missing = images(n=3, size=12, dtype=torch.float32), torch.rand(3, 12, 12, generator=seeded()) < 0.5
    on_gpu = removal.impute(x.cuda(), missing.cuda(), generator=seeded())
    assert on_gpu.is_cuda
    torch.testing.assert_close(on_gpu.cpu(), removal.impute(x, missing, generator=seeded()), rtol=1e-4, atol=1e-5)


def test_robust_training_learns():
    digits, test = data.load("mnist-5k", "train"), data.load("mnist-5k", "test")
    model = load("mnist-cnn").cuda()
    def withstood():
        kept = robust.withstands(model, test.images[:300], test.labels[:300], robust.Ball(0.1, 8, 0.03), seeded())
        return kept.float().mean().item()
    training.train(model, digits.images, digits.labels, epochs=3, generator=seeded())
    before = withstood()
    training.train(model, digits.images, digits.labels, epochs=1, generator=seeded(),
                   loss=robust.ig_sum_norm(robust.Ball(0.1, 2, 0.05), seeded(), points=3, attack_points=2,
                                           precision=torch.bfloat16))
    assert training.accuracy(model, test.images, test.labels) > 0.85 and withstood() > before + 0.1
