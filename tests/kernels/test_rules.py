"""Guided backprop and deconvnet: against written-down rules, Captum, gated copies; every leak is refused."""

import functools
import warnings

import captum.attr
import pytest
import torch
import torchvision
from torch import nn

from fragility import attribution
from tests import networks
from tests.networks import SMALL, build, images, styled
from tests.oracles import rules as oracle

METHODS = {"guided_backprop": "guided", "deconvnet": "deconvnet"}
CAPTUM = {"guided_backprop": captum.attr.GuidedBackprop, "deconvnet": captum.attr.Deconvolution}
LABELS = torch.tensor([4, 0, 2])


def close(actual, expected, tolerance=1e-9):
    scale = float(expected.detach().abs().max())
    assert scale > 0, "an empty map compares with anything"
    torch.testing.assert_close(actual, expected, rtol=tolerance, atol=tolerance * scale)


def vgg_like():
    """VGG-11 with an eighth of its channels: in-place ReLUs, dropout, adaptive pool."""
    layers, channels = [], 3
    for width in (8, "pool", 16, "pool", 32, 32, "pool", 64, 64, "pool"):
        if width == "pool":
            layers.append(nn.MaxPool2d(2, 2))
        else:
            layers += [nn.Conv2d(channels, width, 3, padding=1), nn.ReLU(inplace=True)]
            channels = width
    return nn.Sequential(
        *layers,
        nn.AdaptiveAvgPool2d((2, 2)),
        nn.Flatten(),
        nn.Dropout(),
        nn.Linear(256, 32),
        nn.ReLU(True),
        nn.Dropout(),
        nn.Linear(32, 10),
    )


BIG = {
    "resnet18": torchvision.models.resnet18,
    "vgg": vgg_like,
    "squeezenet1_0": torchvision.models.squeezenet1_0,
    "densenet121": torchvision.models.densenet121,
    "mobilenet_v2": torchvision.models.mobilenet_v2,
}


@functools.cache
def big(name):
    """A torchvision net, random weights; batch norms with uneven statistics."""
    model = build(BIG[name])
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for norm in model.modules():
            if isinstance(norm, nn.BatchNorm2d):
                norm.bias.copy_(torch.rand(len(norm.bias), generator=generator) - 0.3)
                norm.running_mean.copy_(0.2 * torch.rand(len(norm.bias), generator=generator))
    return model


def picture(n=1):
    return images(n, 64, seed=5)


def gated_logits(name, rule, x):
    """The gated copy of a torchvision net; DenseNet's last ReLU is a function call in its forward."""
    twin = oracle.gated_copy(big(name), rule)
    if name == "densenet121":
        last = oracle.Gate(float("inf"), rule)
        return twin.classifier(last(twin.features(x)).mean((2, 3)))
    return twin(x)


@pytest.mark.parametrize("net", SMALL)
def test_the_nets_are_written_down_right(net):
    model = build(SMALL[net])
    close(oracle.forward(networks.write_down(model), images()), model(images()).detach(), 1e-12)


@pytest.mark.parametrize("net", SMALL)
@pytest.mark.parametrize("method", METHODS)
def test_rule_is_the_written_down_one(method, net):
    model, x = build(SMALL[net]), images()
    expected = getattr(oracle, method)(networks.write_down(model), x, LABELS.tolist())
    close(getattr(attribution, method)(model, x, LABELS), expected, 1e-10)
    assert not torch.allclose(expected, attribution.gradient(model, x, LABELS))    # the rule is at work


@pytest.mark.parametrize("method", METHODS)
def test_relu6_lets_through_between_zero_and_six(method):
    model, x = build(lambda: SMALL["plain"](nn.ReLU6)), images()
    with torch.no_grad():
        model[0].weight.mul_(20)
    saturated = model[0](x)
    assert (saturated > 6).any() and ((saturated > 0) & (saturated < 6)).any() and (saturated < 0).any()
    close(getattr(attribution, method)(model, x, LABELS),
          getattr(oracle, method)(networks.write_down(model), x, LABELS.tolist()), 1e-10)


@pytest.mark.parametrize("net", sorted(set(SMALL)))
@pytest.mark.parametrize("method", METHODS)
def test_captum_agrees_on_small_nets(method, net):
    model, x = build(SMALL[net]), images()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = CAPTUM[method](model).attribute(x.clone(), target=LABELS)
    close(getattr(attribution, method)(model, x, LABELS), expected.detach(), 1e-10)


@pytest.mark.parametrize("net", ["resnet18", "vgg", "squeezenet1_0"])
@pytest.mark.parametrize("method", METHODS)
def test_captum_agrees_on_torchvision_nets(method, net):
    model, x = big(net), picture()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = CAPTUM[method](model).attribute(x.clone(), target=7)
    close(getattr(attribution, method)(model, x, 7), expected.detach())


@pytest.mark.parametrize("net", BIG)
@pytest.mark.parametrize("method", METHODS)
def test_gated_copy_agrees_on_torchvision_nets(method, net):
    x = picture()
    leaf = x.clone().requires_grad_(True)
    expected = torch.autograd.grad(gated_logits(net, METHODS[method], leaf)[0, 7], leaf)[0]
    result = getattr(attribution, method)(big(net), x, 7)
    close(result, expected)
    assert (result - attribution.gradient(big(net), x, 7)).norm() > 0.1 * result.norm()


@pytest.mark.parametrize("style", networks.RELU_STYLES)
@pytest.mark.parametrize("method", METHODS)
def test_relu_in_every_style(method, style):
    x = images()
    module = styled(nn.ReLU())
    close(
        getattr(attribution, method)(styled(networks.RELU_STYLES[style]), x, LABELS),
        getattr(oracle, method)(
            networks.write_down(
                [module.first, nn.ReLU(), module.second, nn.ReLU(), nn.Flatten(), module.last]
            ),
            x,
            LABELS.tolist(),
        ),
        1e-10,
    )


@pytest.mark.parametrize("style", networks.RELU_STYLES)
@pytest.mark.parametrize("method", METHODS)
def test_logits_of_the_ruled_model_are_the_plain_ones(method, style):
    model, x, seen = styled(networks.RELU_STYLES[style]), images(), []
    plain = model(x).detach()
    handle = model.register_forward_hook(lambda module, inputs, output: seen.append(output))
    getattr(attribution, method)(model, x, 2)
    handle.remove()
    assert seen
    for logits in seen:
        close(logits.detach(), plain, 1e-14)


@pytest.mark.parametrize("net", ["resnet18", "mobilenet_v2"])
def test_logits_of_ruled_torchvision_nets(net):
    model, x, seen = big(net), picture(), []
    plain = model(x).detach()
    handle = model.register_forward_hook(lambda module, inputs, output: seen.append(output))
    attribution.guided_backprop(model, x, 2)
    handle.remove()
    assert seen and all(torch.equal(logits.detach(), plain) for logits in seen)


@pytest.mark.parametrize("leak", networks.leaks())
@pytest.mark.parametrize("method", METHODS)
def test_leaks_are_refused_by_name(method, leak):
    middle, words = networks.leaks()[leak]
    model, x = styled(middle), images()
    before = networks.snapshot(model)
    with pytest.raises(ValueError, match=f"(?i){words}"):
        getattr(attribution, method)(model, x, 2)
    networks.assert_same(before, networks.snapshot(model))
    networks.assert_torch_as_before()


@pytest.mark.parametrize("method", METHODS)
def test_scripted_models_are_refused(method):
    with pytest.raises(ValueError, match="(?i)relu|script"):
        getattr(attribution, method)(networks.scripted(build(SMALL["plain"])), images(), 2)


@pytest.mark.parametrize("method", METHODS)
def test_checkpointing_is_refused(method):
    """Recomputed without the rules, its gradient would be wrong without an error."""
    with pytest.raises((ValueError, RuntimeError)):
        getattr(attribution, method)(styled(networks.checkpointed), images(), 2)
    networks.assert_torch_as_before()


@pytest.mark.parametrize("disguise", networks.DISGUISES)
@pytest.mark.parametrize("method", METHODS)
def test_a_disguised_relu_is_handled_or_refused(method, disguise):
    """Other ways to write ReLU: never a silently wrong map."""
    x, explain = images(), getattr(attribution, method)
    expected = explain(styled(torch.relu), x, LABELS)
    try:
        result = explain(styled(networks.DISGUISES[disguise]), x, LABELS)
    except ValueError as refusal:
        assert len(str(refusal)) >= 20
    else:
        close(result, expected, 1e-10)
    networks.assert_torch_as_before()


@pytest.mark.parametrize("method", METHODS)
def test_linear_and_structural_operations_pass(method):
    """Dropout in eval, padding, concatenation, slicing, scaling, means and batch norm are linear in x."""

    class Structure(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.norm, self.drop = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Dropout()
            self.last = nn.Linear(8, 5)

        def forward(self, x):
            z = self.norm(self.conv(nn.functional.pad(2 * x - 1, (1, 1, 1, 1))))
            z = self.drop(torch.relu(z))
            z = torch.cat([z, z.flip(1) / 3], 1)[:, :, 1:, :-1].permute(0, 2, 3, 1).contiguous()
            return self.last(z.mean((1, 2)).squeeze().view(len(x), -1))

    model, x = build(Structure), images()
    twin = build(Structure)
    leaf = x.clone().requires_grad_(True)
    gate = oracle.Gate(float("inf"), METHODS[method])
    z = gate(twin.norm(twin.conv(nn.functional.pad(2 * leaf - 1, (1, 1, 1, 1)))))
    z = torch.cat([z, z.flip(1) / 3], 1)[:, :, 1:, :-1].mean((2, 3))
    expected = torch.autograd.grad(twin.last(z)[range(3), LABELS].sum(), leaf)[0]
    close(getattr(attribution, method)(model, x, LABELS), expected, 1e-10)


@pytest.mark.parametrize("method", METHODS)
def test_linear_models_have_nothing_to_rule(method):
    model, x = build(lambda: nn.Sequential(nn.Flatten(), nn.Linear(192, 5))), images()
    close(getattr(attribution, method)(model, x, LABELS), attribution.gradient(model, x, LABELS), 1e-14)
