"""Grad-CAM: against Captum on convolutions, by hand on tokens, and which call it looks at."""

import functools
import warnings

import captum.attr
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from fragility import attacks, attribution, shift
from tests.networks import ATTENTION, SMALL, Transformer, build, images, snapshot, transformer
from tests.networks import assert_same as same_snapshot

TARGET = torch.tensor([4, 0, 2])


def captums(model, x, target, layer):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        cam = captum.attr.LayerGradCam(model, layer).attribute(x, target, relu_attributions=True)
    return F.interpolate(cam, x.shape[2:], mode="bilinear", align_corners=False).expand_as(x).detach() / x.shape[1]


def by_hand(model, x, target, places):
    """The map of a model that is `first`, whose features (n, c, h, w) or (n, tokens, d) are weighed, and then `last`:
    `places` picks (n, c, h, w) of them."""
    features = model.first(x).detach().requires_grad_()
    score = model.last(features).gather(1, target[:, None]).sum()
    gradient, = torch.autograd.grad(score, features)
    gradient, features = places(gradient), places(features.detach())
    maps = torch.zeros(len(x), *features.shape[2:], dtype=x.dtype)
    for image in range(len(x)):
        for k in range(features.shape[1]):
            maps[image] += gradient[image, k].mean() * features[image, k]
    up = F.interpolate(maps.clamp_min(0)[:, None], x.shape[2:], mode="bilinear", align_corners=False)
    return up.expand_as(x) / x.shape[1]


@pytest.mark.parametrize("net, last", [("plain", 4), ("unpooled", 3), ("averaged", 4), ("overlapping", 2)])
def test_map_is_captums_at_the_last_features(net, last):
    model, x = build(SMALL[net]), images()
    expected = captums(model, x, TARGET, model[last])
    assert expected.abs().sum() > 0
    for layer in (None, model[last], str(last)):
        got = attribution.grad_cam(model, x, TARGET, layer=layer)
        torch.testing.assert_close(got, expected, rtol=1e-6, atol=1e-6 * expected.abs().max().item())


@pytest.mark.parametrize("layer", ["0", "1", "2", "3"])
def test_map_is_captums_at_a_layer_that_is_named(layer):
    model, x = build(SMALL["plain"]), images()
    torch.testing.assert_close(attribution.grad_cam(model, x, TARGET, layer=layer),
                               captums(model, x, TARGET, model[int(layer)]), rtol=1e-6, atol=1e-9)


def halves(model):
    """The transformer up to the norm before the last attention, and from there, where only that reads the places."""
    last = model.blocks[-1]

    class Halves(nn.Module):
        def first(self, x):
            z = model.patches(x).flatten(2).transpose(1, 2)
            z = torch.cat([model.token.expand(len(z), -1, -1), z], 1) + model.positions
            self.stream = model.blocks[:-1](z).detach()
            return last.norm(self.stream)

        def last(self, normed):
            z = self.stream + last.attend(normed)
            return model.head(model.norm(z + last.layers(last.second_norm(z)))[:, 0])
    return Halves()


@pytest.mark.parametrize("spelling", ATTENTION)
def test_of_a_class_token_it_is_the_norm_before_the_last_attention(spelling):
    model, x = build(transformer(spelling=spelling)), images()
    expected = by_hand(halves(model), x, TARGET, lambda z: z[:, 1:].transpose(1, 2).unflatten(2, (4, 4)))
    assert expected.abs().sum() > 0
    got = attribution.grad_cam(model, x, TARGET)
    torch.testing.assert_close(got, expected)
    for layer in (model.blocks[-1].norm, "blocks.1.norm"):
        assert torch.equal(attribution.grad_cam(model, x, TARGET, layer=layer), got)
    assert not attribution.grad_cam(model, x, TARGET, layer="norm").any()       # zero, and returned


@pytest.mark.parametrize("spelling", ["module", "plain"])
def test_of_a_mean_over_tokens_it_is_the_last_norm(spelling):
    model, x = build(transformer(spelling=spelling, class_token=False)), images()
    features = model.norm(model.blocks(model.patches(x).flatten(2).transpose(1, 2) + model.positions)).detach()
    weight = model.head.weight[TARGET] / 16
    cam = (features * weight[:, None]).sum(2).relu().view(3, 1, 4, 4) / 16
    up = F.interpolate(16 * cam, (8, 8), mode="bilinear", align_corners=False)
    torch.testing.assert_close(attribution.grad_cam(model, x, TARGET), up.expand_as(x).detach() / 3)


class Unfolded(Transformer):
    """The patches cut out by reshapes, which hide the grid."""

    def forward(self, x):
        z = x.unflatten(2, (4, 2)).unflatten(4, (4, 2)).permute(0, 2, 4, 1, 3, 5).reshape(len(x), 16, 12)
        z = F.linear(z, self.patches.weight.flatten(1), self.patches.bias)
        z = torch.cat([self.token.expand(len(z), -1, -1), z], 1)
        return self.head(self.norm(self.blocks(z + self.positions))[:, 0])


def test_a_grid_that_reshapes_hide_is_found_by_the_number_of_tokens():
    x = images()
    torch.testing.assert_close(attribution.grad_cam(build(Unfolded), x, TARGET),
                               attribution.grad_cam(build(Transformer), x, TARGET))


@pytest.mark.parametrize("shape", [(2, 3, 16), (2, 3, 12, 8), (2, 3, 6, 8, 4)])
def test_signals_volumes_and_oblong_images(shape):
    dims = len(shape) - 2
    convolution, pool = getattr(nn, f"Conv{dims}d"), getattr(F, f"adaptive_avg_pool{dims}d")
    inner = build(lambda: nn.Sequential(convolution(3, 4, 3, padding=1, stride=2), nn.ReLU()))
    head = torch.randn(4, 5, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    x = torch.rand(shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    got = attribution.grad_cam(lambda z: pool(inner(z), 1).flatten(1) @ head, x, 1)
    features = inner(x)
    cam = (features * head[:, 1].view(1, -1, *[1] * dims)).sum(1, keepdim=True).relu() / features[0, 0].numel()
    mode = ("linear", "bilinear", "trilinear")[dims - 1]
    up = F.interpolate(cam, shape[2:], mode=mode, align_corners=False)
    torch.testing.assert_close(got, up.expand_as(x).detach() / 3)


@pytest.mark.parametrize("name, options, side", [
    ("vit_b_16", {"image_size": 32, "num_classes": 5}, 32), ("swin_t", {"num_classes": 5}, 64),
    ("convnext_tiny", {"num_classes": 5}, 64), ("maxvit_t", {"num_classes": 5, "input_size": (224, 224)}, 224)])
@pytest.mark.slow
def test_networks_of_torchvision(name, options, side):
    import torchvision.models

    with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.manual_seed(0)
        model = torchvision.models.get_model(name, weights=None, **options).eval()
        for parameter in list(model.parameters())[-2:]:       # ViT's head starts at zero
            nn.init.normal_(parameter)
    x = images(1, side, dtype=torch.float32)
    maps = [attribution.grad_cam(model, x, target) for target in range(5)]
    assert all(one.shape == x.shape and bool((one >= 0).all()) for one in maps)
    assert any(bool(one.any()) for one in maps)


def test_what_cannot_be_weighed_is_refused():
    x, mlp = images(), build(SMALL["mlp"])
    with pytest.raises(ValueError, match="No call of the model keeps a grid"):
        attribution.grad_cam(mlp, x, 1)
    for layer, words in (("7", "last names are: .*5"), (3, "must be a module"), (nn.ReLU(), "not called"),
                         ("1", "holds no grid")):
        with pytest.raises(ValueError, match=words):
            attribution.grad_cam(mlp, x, 1, layer=layer)


def test_no_hook_stays_even_after_an_exception():
    model, x = build(SMALL["plain"]), images()
    before = snapshot(model)
    attribution.grad_cam(model, x, 1, layer="3")
    with pytest.raises(ValueError, match="target"):
        attribution.grad_cam(model, x, 7, layer="3")
    same_snapshot(before, snapshot(model))


@pytest.mark.parametrize("net", [SMALL["plain"], transformer()], ids=["convolutions", "transformer"])
def test_an_attack_moves_it(net):
    model, x = build(functools.partial(net, nn.GELU) if net is SMALL["plain"] else net), images(4)
    got = attacks.attack(model, x, method="grad_cam", objective=attacks.TopK(8), epsilon=0.1, steps=5)
    assert got.found.any() and (got.x - x).abs().max() > 0.01


def test_the_grid_is_followed_past_numbers_that_a_model_makes():
    """A tensor without axes has no places; the twin of a shift makes such a number at each call."""
    model, x = build(SMALL["plain"]), images(3)
    doubled = attribution.grad_cam(lambda y: model(torch.tensor(2.0, dtype=y.dtype) * y), x, TARGET)
    torch.testing.assert_close(doubled, attribution.grad_cam(model, 2 * x, TARGET))
    twin = shift.compensate(model, 1.0)
    torch.testing.assert_close(attribution.grad_cam(twin, x + 1, TARGET), attribution.grad_cam(model, x, TARGET))
