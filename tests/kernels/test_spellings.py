"""Models as users write them: other spellings of an operation, other layouts of memory, other modes around a call."""

import functools

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from fragility import attacks, attribution, curvature, removal, shift
from tests.networks import build, images

RULED = {**{name: attribution.METHODS[name] for name in ("gradient", "guided_backprop", "deconvnet", "deeplift",
                                                         "deep_taylor")},
         **{f"lrp {rule}": functools.partial(attribution.lrp, rule=rule) for rule in ("z", "epsilon", "z+")}}
EVERY = {**RULED, "integrated_gradients": attribution.integrated_gradients, "smoothgrad": attribution.smoothgrad}
LAYERS = build(lambda: nn.ModuleList([nn.Conv2d(3, 6, 3, padding=1), nn.Linear(6 * 64, 5)]))


def usual(x):
    first, last = LAYERS
    return last(torch.relu(first(x)).flatten(1))


def seeded():
    return torch.Generator().manual_seed(0)


class Viewing(nn.Module):
    """Asks for its features in one piece of memory, as .view does, or in any."""

    def __init__(self, ask: str, channels: int = 3):
        super().__init__()
        self.ask, self.layers = ask, build(
            lambda: nn.ModuleList([nn.Conv2d(channels, 6, 3, padding=1), nn.Linear(384, 5)]), dtype=torch.float32)

    def forward(self, x):
        first, last = self.layers
        return last(getattr(torch.relu(first((x - 0.45) / 0.25)), self.ask)(len(x), -1))


PAIR = [Viewing(ask).eval() for ask in ("view", "reshape")]


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("name", RULED)
def test_a_model_that_views_its_features_has_the_maps_of_one_that_reshapes_them(name, channels):
    """In float32 images go in channels-last, which .view refuses; no rule may see the pass that fails."""
    x = images(4, channels=channels, dtype=torch.float32)
    assert torch.allclose(*(RULED[name](Viewing(ask, channels).eval(), x, 1) for ask in ("view", "reshape")), atol=1e-5)


@pytest.mark.parametrize("channels", [1, 3])
def test_images_reach_the_model_channels_last(channels):
    seen = []
    model = Viewing("reshape", channels).eval()
    model.register_forward_pre_hook(lambda module, arguments: seen.append(arguments[0].stride()))
    attribution.gradient(model, images(2, channels=channels, dtype=torch.float32), 1)
    assert seen[-1] == (64 * channels, 1, 8 * channels, channels)


def test_patterns_of_a_model_that_views_its_features():
    x = images(4, dtype=torch.float32)
    patterns = attribution.fit_patterns(PAIR[0], x)
    assert torch.allclose(*(attribution.pattern_net(model, x, 1, patterns=patterns) for model in PAIR), atol=1e-5)


def test_the_layout_is_found_once_on_a_whole_batch():
    model, seen = Viewing("view").eval(), []
    model.register_forward_pre_hook(lambda module, arguments: seen.append(len(arguments[0])))
    for _ in range(2):
        attribution.integrated_gradients(model, images(4, dtype=torch.float32), 1, steps=3, chunk=4)
    assert seen == [4, 4, 4, 4, 4, 4, 4, 4]         # two to compare, three for the path; then three


@pytest.mark.parametrize("name", EVERY)
def test_operations_may_be_called_by_keyword(name):
    first, last = LAYERS

    def spelled(x):
        z = F.conv2d(input=x, weight=first.weight, bias=first.bias, padding=1)
        return F.linear(input=torch.relu(input=z).flatten(1), weight=last.weight, bias=last.bias)

    draws = [{"generator": seeded()} if name == "smoothgrad" else {} for _ in range(2)]
    maps = [EVERY[name](model, images(), 1, **options) for model, options in zip((spelled, usual), draws)]
    assert torch.allclose(*maps, atol=1e-12)


HIDING = {"a gate by keyword": lambda z: z * torch.gt(input=z, other=0), "item": lambda z: z / z.abs().max().item(),
          "float": lambda z: z * float(z.sum()), "tolist": lambda z: z + sum(z.flatten().tolist()),
          "bool": lambda z: z if z.sum() else -z}


@pytest.mark.filterwarnings("ignore:Converting a tensor")       # torch's own, of float(z)
@pytest.mark.parametrize("way", HIDING)
def test_values_that_leave_the_graph_are_refused(way):
    def model(x):
        first, last = LAYERS
        return last(torch.relu(HIDING[way](first(x))).flatten(1))

    with pytest.raises(ValueError, match="hides them"):
        attribution.guided_backprop(model, images(), 1)


@pytest.mark.parametrize("name", EVERY)
def test_a_constant_model_is_refused(name):
    with pytest.raises(ValueError, match="does not depend on x|calls no convolution"):
        EVERY[name](lambda x: torch.ones(len(x), 5), images(), 1)


@pytest.mark.parametrize("name", EVERY)
def test_images_and_targets_may_come_from_inference_mode(name):
    def explained(x, target):
        return EVERY[name](usual, x, target, **({"generator": seeded()} if name == "smoothgrad" else {}))

    with torch.inference_mode():
        x = images()
        target = usual(x).argmax(1)
        inside = explained(x, target)
    assert torch.equal(explained(x, target), inside) and torch.equal(explained(images(), target.clone()), inside)


def test_everything_that_explains_works_inside_inference_mode():
    with torch.inference_mode():
        x, mask = images(), torch.arange(64).view(8, 8) < 20
        patterns = attribution.fit_patterns(usual, x)
        moved = attacks.attack(usual, x, objective=attacks.Target(mask), epsilon=0.1, steps=2)
        dominant = curvature.dominant_direction(curvature.smoothed(usual), x, iterations=2)
        agreement = shift.agreement(usual, shift.compensate(usual, 0.3), x, 0.3)
    assert all(torch.equal(*pair) for pair in zip(patterns, attribution.fit_patterns(usual, images())))
    assert moved.found.any() and torch.isfinite(dominant.eigenvalue).all() and (agreement < 1e-10).all()


@pytest.mark.parametrize("name", ["smoothgrad", "smoothgrad_squared", "vargrad"])
def test_options_and_the_generator_of_an_attack_reach_the_ensembles(name):
    def attacked(seed, samples):
        torch.manual_seed(seed)     # torch's own generator must not matter
        return attacks.attack(usual, images(), method=name, objective=attacks.TopK(5), epsilon=0.1, steps=2,
                              generator=seeded(), method_args={"samples": samples}).x

    assert torch.equal(attacked(0, 2), attacked(1, 2)) and not torch.equal(attacked(0, 2), attacked(0, 3))


@pytest.mark.parametrize("patterns", [None, [1, 2], torch.zeros(2)])
def test_patterns_that_are_none_are_refused(patterns):
    with pytest.raises(ValueError, match="patterns must be a list"):
        attribution.pattern_net(usual, images(), 1, patterns=patterns)


@pytest.mark.parametrize("name", ["integrated_gradients", "deeplift"])
@pytest.mark.parametrize("value", ["black", None, [[1.0], [2.0, 3.0]]])
def test_a_baseline_that_is_none_is_refused(name, value):
    with pytest.raises(ValueError, match="The baseline must be"):
        attribution.METHODS[name](usual, images(), 1, baseline=value)


@pytest.mark.parametrize("draw", [
    lambda: attribution.random(images(), generator=0), lambda: attacks.random_sign(images(), epsilon=0.1, generator=0),
    lambda: attribution.smoothgrad(usual, images(), 1, generator=0),
    lambda: removal.impute(images(), images()[:, 0] > 0.5, generator=0),
    lambda: curvature.dominant_direction(usual, images(), generator=0)])
def test_a_source_of_noise_that_is_none_is_refused(draw):
    with pytest.raises(ValueError, match="generator must be"):
        draw()


@pytest.mark.parametrize("change, said", [
    ({"method_args": {"stepz": 3}}, "stepz"), ({"method": "smoothgrad", "method_args": {"simga": 0.1}}, "simga"),
    ({"objective": attacks.MassCenter}, "objective"), ({"curvature": attacks.FiniteDifference}, "curvature"),
    ({"curvature": 3}, "curvature"), ({"generator": 0}, "generator"), ({"select": "lens"}, "select")])
def test_parts_of_an_attack_that_are_none_are_refused(change, said):
    with pytest.raises(ValueError, match=said):
        attacks.attack(usual, images(), **{"objective": attacks.TopK(5), "epsilon": 0.1, "steps": 1, **change})
