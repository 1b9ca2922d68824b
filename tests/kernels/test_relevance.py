"""DeepLIFT, LRP and deep Taylor: against written-down rules, Captum, Zennit, and their conservation laws."""

import functools
import warnings

import captum.attr
import pytest
import torch
import torchvision
import zennit.attribution
import zennit.composites
import zennit.rules
import zennit.types
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from fragility import attribution
from tests import networks
from tests.networks import SMALL, build, images, styled
from tests.oracles import rules as oracle

LABELS = torch.tensor([4, 0, 2])
POOLED = ("averaged", "residual")          # where an epsilon also meets average pools and sums
RELEVANCE = {"deeplift": attribution.deeplift, "lrp": attribution.lrp, "deep_taylor": attribution.deep_taylor,
             "lrp z+": functools.partial(attribution.lrp, rule="z+"),
             "lrp epsilon": functools.partial(attribution.lrp, rule="epsilon", epsilon=0.01)}
# lrp with the z rule may be computed as gradient x input; it too is refused where ReLU is not what it seems


def close(actual, expected, tolerance=1e-9):
    scale = float(expected.detach().abs().max())
    assert scale > 0, "an empty map compares with anything"
    torch.testing.assert_close(actual, expected, rtol=tolerance, atol=tolerance * scale)


def totals(maps):
    return maps.flatten(1).sum(1)


def positive_logits(model, x):
    """Deep Taylor explains positive evidence: classes whose logit is above zero on these images."""
    logits, labels = model(x).detach().max(1)
    assert (logits > 0).all(), "choose another seed"
    return labels, logits


@functools.cache
def torchvision_net(name):
    return build(getattr(torchvision.models, name))


# ---------------------------------------------------------------------------------------------- DeepLIFT
@pytest.mark.parametrize("activation", [nn.ReLU, nn.ReLU6])
@pytest.mark.parametrize("net", SMALL)
def test_deeplift_is_the_written_down_rule(net, activation):
    model, x, reference = build(lambda: SMALL[net](activation)), images(), images(seed=8)
    if activation is nn.ReLU6:
        with torch.no_grad():
            next(layer for layer in model if isinstance(layer, (nn.Conv2d, nn.Linear))).weight.mul_(15)
    for baseline in (0.0, 0.3, reference):
        expected = oracle.deeplift(networks.write_down(model), x, LABELS.tolist(), baseline)
        close(attribution.deeplift(model, x, LABELS, baseline=baseline), expected)


def test_deeplift_starts_from_zero():
    model, x = build(SMALL["plain"]), images()
    assert torch.equal(attribution.deeplift(model, x, 1), attribution.deeplift(model, x, 1, baseline=0.0))


@pytest.mark.parametrize("net", ["unpooled", "mlp"])
def test_captum_deeplift_agrees_without_max_pools(net):
    model, x, reference = build(SMALL[net]), images(), images(seed=8)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = captum.attr.DeepLift(model, eps=1e-12).attribute(x.clone(), reference, target=LABELS)
    close(attribution.deeplift(model, x, LABELS, baseline=reference), expected.detach())


@pytest.mark.parametrize("net", SMALL)
def test_deeplift_is_complete(net):
    model, x, reference = build(SMALL[net]), images(), images(seed=8)
    change = (model(x) - model(reference)).detach()[range(3), LABELS]
    torch.testing.assert_close(totals(attribution.deeplift(model, x, LABELS, baseline=reference)), change,
                               rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("name", ["resnet18", "squeezenet1_0", "densenet121", "mobilenet_v2"])
def test_deeplift_is_complete_on_torchvision_nets(name):
    model, x = torchvision_net(name), images(1, 64, seed=5)
    maps = attribution.deeplift(model, x, 7, baseline=0.5)
    change = (model(x) - model(0 * x + 0.5)).detach()[:, 7]
    torch.testing.assert_close(totals(maps), change, rtol=0, atol=1e-7 * float(maps.abs().sum()))
    assert change.abs() > 1e-6 * maps.abs().sum()


def test_deeplift_where_image_and_reference_agree():
    model, x = build(SMALL["overlapping"]), images()
    reference = images(seed=8)
    reference[:, :, :, :6] = x[:, :, :, :6]
    maps = attribution.deeplift(model, x, LABELS, baseline=reference)
    assert maps.isfinite().all() and maps[..., :6].abs().max() == 0
    torch.testing.assert_close(totals(maps), (model(x) - model(reference)).detach()[range(3), LABELS])
    assert attribution.deeplift(model, x, LABELS, baseline=x).abs().max() == 0


def test_deeplift_names_the_way_out_where_calls_depend_on_the_number_of_images():
    single, batch = build(SMALL["mlp"]), build(SMALL["plain"])
    model, x = lambda z: (single if len(z) == 1 else batch)(z), images()
    with pytest.raises(ValueError, match="a baseline of x's shape"):
        attribution.deeplift(model, x)
    close(attribution.deeplift(model, x, baseline=torch.zeros_like(x)), attribution.deeplift(batch, x))


def test_deeplift_of_near_references_is_gradient_times_difference():
    model, x = build(SMALL["plain"]), images()
    step = 1e-6 * images(seed=2)
    close(
        attribution.deeplift(model, x, LABELS, baseline=x - step),
        step * attribution.gradient(model, x, LABELS),
        1e-4,
    )


# --------------------------------------------------------------------------------------------------- LRP
@pytest.mark.parametrize("net", SMALL)
def test_z_rule_is_gradient_times_input(net):
    model, x = build(SMALL[net]), images()
    maps = attribution.lrp(model, x, LABELS)
    close(maps, attribution.gradient_x_input(model, x, LABELS))
    if net not in POOLED:
        close(maps, oracle.lrp_z(networks.write_down(model), x, LABELS.tolist()))
    assert torch.equal(maps, attribution.lrp(model, x, LABELS, rule="z"))


@pytest.mark.parametrize("name", ["resnet18", "squeezenet1_0", "densenet121"])
def test_z_rule_on_torchvision_nets(name):
    model, x = torchvision_net(name), images(1, 64, seed=5)
    close(attribution.lrp(model, x, 7), attribution.gradient_x_input(model, x, 7), 1e-6)


def test_z_rule_gives_constants_nothing():
    """An operand that does not depend on x is a bias."""

    class Offset(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.last, self.offset = (
                nn.Conv2d(3, 6, 3),
                nn.Linear(216, 5),
                nn.Parameter(torch.rand(6, 6, 6)),
            )

        def forward(self, x):
            return self.last((self.conv(x).relu() + self.offset).flatten(1))

    model, x = build(Offset), images()
    close(attribution.lrp(model, x, LABELS), attribution.gradient_x_input(model, x, LABELS))


@pytest.mark.parametrize("rule", ["z", "epsilon"])
@pytest.mark.parametrize("net", sorted(set(SMALL) - set(POOLED)))
def test_a_root_moves_the_input_alone(net, rule):
    model, x = build(SMALL[net]), images()
    root = torch.rand(x.shape[1:], generator=torch.Generator().manual_seed(5), dtype=x.dtype) - 0.5
    expected = oracle.lrp_epsilon(networks.write_down(model), x, LABELS.tolist(), 0.1 if rule == "epsilon" else 0.0,
                                  root)
    close(attribution.lrp(model, x, LABELS, rule=rule, epsilon=0.1, root=root), expected, 1e-11)
    close(attribution.lrp(model, x, LABELS, rule=rule, epsilon=0.1, root=0.25)
          - attribution.lrp(model, x, LABELS, rule=rule, epsilon=0.1),
          -0.25 * attribution.lrp(model, x, LABELS, rule=rule, epsilon=0.1) / x, 1e-9)


@pytest.mark.parametrize("epsilon", [0.25, 1e-3])
@pytest.mark.parametrize("net", sorted(set(SMALL) - set(POOLED)))
def test_epsilon_rule_is_the_written_down_one(net, epsilon):
    model, x = build(SMALL[net]), images()
    expected = oracle.lrp_epsilon(networks.write_down(model), x, LABELS.tolist(), epsilon)
    close(attribution.lrp(model, x, LABELS, rule="epsilon", epsilon=epsilon), expected, 1e-11)
    assert not torch.allclose(expected, attribution.lrp(model, x, LABELS), rtol=1e-4)


@pytest.mark.parametrize("net", POOLED)
def test_small_epsilon_is_the_z_rule(net):
    model, x = build(SMALL[net]), images()
    close(
        attribution.lrp(model, x, LABELS, rule="epsilon", epsilon=1e-10),
        attribution.lrp(model, x, LABELS),
        1e-5,
    )


def test_epsilon_is_a_millionth():
    model, x = build(SMALL["plain"]), images()
    assert torch.equal(
        attribution.lrp(model, x, 1, rule="epsilon"),
        attribution.lrp(model, x, 1, rule="epsilon", epsilon=1e-6),
    )


def test_epsilon_takes_relevance_away():
    """With biases zero, z R / (z + epsilon sign z) is smaller than R: a one-layer net shows by how much."""
    model, x = build(lambda: nn.Sequential(nn.Flatten(), nn.Linear(192, 5, bias=False))), images()
    z = model(x).detach()[range(3), LABELS]
    relevance = totals(attribution.lrp(model, x, LABELS, rule="epsilon", epsilon=0.3))
    torch.testing.assert_close(relevance, z * z.abs() / (z.abs() + 0.3))


def zennit_map(model, x, labels, rules):
    """Zennit's relevance under a layer map, started with the logit on the label."""
    composite = zennit.composites.SpecialFirstLayerMapComposite(*rules)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with zennit.attribution.Gradient(model, composite) as attributor:
            return attributor(x, lambda out: out * nn.functional.one_hot(labels, out.shape[1]))[1].detach()


@pytest.mark.parametrize("net", ["plain", "mlp", "overlapping", "unpooled"])
def test_zennit_epsilon_agrees(net):
    model, x = build(SMALL[net]), images()
    rule = [(zennit.types.Activation, zennit.rules.Pass()), (zennit.types.Linear, zennit.rules.Epsilon(0.1))]
    close(
        attribution.lrp(model, x, LABELS, rule="epsilon", epsilon=0.1),
        zennit_map(model, x, LABELS, (rule, [])),
        1e-11,
    )


@pytest.mark.parametrize("net", SMALL)
def test_z_plus_rule_is_the_written_down_one(net):
    model, x = build(SMALL[net]), images()
    close(
        attribution.lrp(model, x, LABELS, rule="z+"),
        oracle.lrp_z_plus(networks.write_down(model), x, LABELS.tolist()),
    )


def fused(model):
    """The same net, each batch norm inside the convolution before it."""
    layers, modules = [], list(model)
    for layer, following in zip(modules, modules[1:] + [None]):
        if isinstance(following, nn.BatchNorm2d):
            layer = fuse_conv_bn_eval(layer, following)
        if not isinstance(layer, nn.BatchNorm2d):
            layers.append(layer)
    return nn.Sequential(*layers).eval()


@pytest.mark.parametrize("method", RELEVANCE)
def test_batch_norm_belongs_to_its_convolution(method):
    model, x = build(networks.batch_normed), images()
    labels, _ = positive_logits(model, x)
    close(RELEVANCE[method](model, x, labels), RELEVANCE[method](fused(model), x, labels))


@pytest.mark.parametrize("method", ["lrp z+", "deep_taylor"])
def test_z_plus_refuses_a_negative_batch_norm(method):
    model = build(networks.batch_normed)
    with torch.no_grad():
        model[1].weight[2] = -0.5
    with pytest.raises(ValueError, match="(?i)batch|negative"):
        RELEVANCE[method](model, images(), 2)
    assert attribution.lrp(model, images(), 2).isfinite().all()


# ------------------------------------------------------------------------------------------- deep Taylor
@pytest.mark.parametrize("bounds", [(0.0, 1.0), (-0.5, 2.0)])
@pytest.mark.parametrize("net", SMALL)
def test_deep_taylor_is_the_written_down_rule(net, bounds):
    model, x = build(SMALL[net], seed=1), images()
    labels, _ = positive_logits(model, x)
    low, high = bounds
    expected = oracle.deep_taylor(networks.write_down(model), x, labels.tolist(), low, high)
    close(attribution.deep_taylor(model, x, labels, low=low, high=high), expected)
    if bounds == (0.0, 1.0):
        close(attribution.deep_taylor(model, x), expected)


@pytest.mark.parametrize("net", ["mlp", "overlapping", "unpooled"])      # no padding in the first layer
def test_zennit_deep_taylor_agrees(net):
    model, x = build(lambda: SMALL[net](bias=False), seed=1), images()
    labels, _ = positive_logits(model, x)
    rule = [(zennit.types.Activation, zennit.rules.Pass()), (zennit.types.Linear, zennit.rules.ZPlus(1e-14))]
    first = [(zennit.types.Linear, zennit.rules.ZBox(0.0, 1.0, 1e-14))]
    close(attribution.deep_taylor(model, x, labels), zennit_map(model, x, labels, (rule, first)))


@pytest.mark.parametrize("net", [*SMALL, "squeezenet1_0"])
def test_deep_taylor_conserves_the_logit_without_biases(net):
    if net == "squeezenet1_0":
        model, x = torchvision_net(net), images(1, 64, seed=5)
        assert not any(bias.any() for name, bias in model.named_parameters() if name.endswith("bias"))
    else:
        model, x = build(lambda: SMALL[net](bias=False), seed=1), images()
    labels, logits = positive_logits(model, x)
    for low, high in ((0.0, 1.0), (-1.0, 1.5)):
        maps = attribution.deep_taylor(model, x, labels, low=low, high=high)
        torch.testing.assert_close(totals(maps), logits, rtol=1e-7, atol=1e-9)
        assert maps.min() >= -1e-12 and maps.max() > 0             # z^B inside its bounds is never negative


def test_deep_taylor_of_a_dead_net_is_zero():
    """A ReLU that is off stops the flow."""
    model, x = (
        build(lambda: nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, 5))),
        images(),
    )
    with torch.no_grad():
        model[0].bias.fill_(-100.0)
        model[3].bias.fill_(1.0)
    assert torch.equal(attribution.deep_taylor(model, x, 1), torch.zeros_like(x))


# ----------------------------------------------------------------------------- all of them: units, leaks
@pytest.mark.parametrize("spelling", ["buffers", "constants", "in place"])
@pytest.mark.parametrize("method", RELEVANCE)
def test_relevance_is_in_units_of_x(method, spelling):
    """A model that normalises inside itself equals one with the normalisation in its first weights."""

    class Spelt(nn.Module):
        def __init__(self):
            super().__init__()
            self.normalise, self.net = networks.Normalise(), SMALL["unpooled"]()

        def forward(self, x):
            if spelling == "buffers":
                return self.net(self.normalise(x))
            if spelling == "constants":
                return self.net(4.0 * (x - 0.5))
            return self.net(x.clone().sub_(0.5).div_(0.25))

    model, x = build(Spelt), images()
    folded = build(Spelt).net                                      # same seed, same weights
    scale, shift = model.normalise.std, model.normalise.mean
    if spelling != "buffers":
        scale, shift = torch.full_like(scale, 0.25), torch.full_like(shift, 0.5)
    with torch.no_grad():
        folded[0].bias -= (folded[0].weight * (shift / scale)).sum((1, 2, 3))
        folded[0].weight /= scale
    close(folded(x), model(x).detach(), 1e-12)
    labels, _ = positive_logits(model, x)
    close(RELEVANCE[method](model, x, labels), RELEVANCE[method](folded, x, labels))


@pytest.mark.parametrize("style", networks.RELU_STYLES)
@pytest.mark.parametrize("method", RELEVANCE)
def test_relevance_takes_relu_in_every_style(method, style):
    x, reference = images(), styled(nn.ReLU())
    sequential = nn.Sequential(
        reference.first, nn.ReLU(), reference.second, nn.ReLU(), nn.Flatten(), reference.last
    ).eval()
    labels, _ = positive_logits(reference, x)
    close(
        RELEVANCE[method](styled(networks.RELU_STYLES[style]), x, labels),
        RELEVANCE[method](sequential, x, labels),
    )


# Element-wise functions and products of two values have rules of their own: see the tests of what is promised.
RULED = {"sigmoid gate", "hardtanh", "hardtanh from above zero", "product", "clamp", "aten call"}


@pytest.mark.parametrize("leak", sorted(set(networks.leaks()) - RULED))
@pytest.mark.parametrize("method", RELEVANCE)
def test_leaks_are_refused_by_name(method, leak):
    middle, words = networks.leaks()[leak]
    with pytest.raises(ValueError, match=f"(?i){words}"):
        RELEVANCE[method](styled(middle), images(), 2)
    networks.assert_torch_as_before()


@pytest.mark.parametrize("method", RELEVANCE)
def test_checkpointing_is_refused(method):
    with pytest.raises((ValueError, RuntimeError)):
        RELEVANCE[method](styled(networks.checkpointed), images(), 2)
    networks.assert_torch_as_before()


@pytest.mark.parametrize("disguise", networks.DISGUISES)
@pytest.mark.parametrize("method", RELEVANCE)
def test_a_disguised_relu_is_handled_or_refused(method, disguise):
    x = images()
    labels, _ = positive_logits(styled(torch.relu), x)
    expected = RELEVANCE[method](styled(torch.relu), x, labels)
    try:
        result = RELEVANCE[method](styled(networks.DISGUISES[disguise]), x, labels)
    except ValueError as refusal:
        assert len(str(refusal)) >= 20
    else:
        close(result, expected)


@pytest.mark.parametrize("net", SMALL)
@pytest.mark.parametrize("method", RELEVANCE)
def test_derivative_of_the_map(method, net):
    """Attacks climb it: differentiating a map gives what finite differences of the map give."""
    model, x, explain = build(SMALL[net]), 0.1 + 0.8 * images(), RELEVANCE[method]
    labels, _ = positive_logits(model, x)
    weights, direction = images(seed=11) - 0.5, images(seed=12) - 0.5
    leaf = x.clone().requires_grad_(True)
    slope = torch.autograd.grad((weights * explain(model, leaf, labels)).sum(), leaf)[0]
    ahead, behind = explain(model, x + 1e-6 * direction, labels), explain(model, x - 1e-6 * direction, labels)
    numeric = totals(weights * (ahead - behind)) / 2e-6
    scale = float((weights * ahead).detach().abs().sum())
    torch.testing.assert_close(totals(slope * direction), numeric, rtol=1e-5, atol=1e-6 * scale)


def test_maps_of_plain_images_carry_no_graph():
    model, x = build(SMALL["plain"]), images()
    for method, explain in RELEVANCE.items():
        assert not explain(model, x, 1).requires_grad, method
