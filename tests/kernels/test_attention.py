"""Rollouts of attention: against matrix products by hand, in every spelling of attention."""

import functools
import warnings

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from fragility import attacks, attribution
from fragility.rules.attention import OPENED
from tests.networks import ATTENTION, Transformer, build, images, plain, transformer

X, TARGET = images(), torch.tensor([4, 0, 2])


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def by_hand(model, x):
    """The logits of a :class:`Transformer` and the attention (n, heads, tokens, tokens) of each of its blocks."""
    z, attention = model.patches(x).flatten(2).transpose(1, 2), []
    if model.token is not None:
        z = torch.cat([model.token.expand(len(z), -1, -1), z], 1)
    z = z + model.positions
    for block in model.blocks:
        inner, normed = block.attention, block.norm(z)
        q, k, v = (one.unflatten(2, (inner.num_heads, -1)).transpose(1, 2) for one in
                   F.linear(normed, inner.in_proj_weight, inner.in_proj_bias).chunk(3, 2))
        weights = (q @ k.mT / q.shape[-1] ** 0.5).softmax(-1)
        attention.append(weights)
        z = z + inner.out_proj((weights @ v).transpose(1, 2).flatten(2))
        z = z + block.layers(block.second_norm(z))
    z = model.norm(z)
    return model.head(z.mean(1) if model.token is None else z[:, 0]), attention


def rolled(attention, image, gradients=None):
    """The product of one image's layers, a matrix at a time."""
    tokens = attention[0].shape[-1]
    total = torch.eye(tokens, dtype=torch.float64)
    for layer, weights in enumerate(attention):
        heads = weights[image]
        if gradients is None:
            total = (sum(heads) / len(heads) + torch.eye(tokens, dtype=torch.float64)) / 2 @ total
        else:
            raised = [(g * a).clamp_min(0) for g, a in zip(gradients[layer][image], heads)]
            total = total + sum(raised) / len(heads) @ total
    return total


def as_maps(rows, x):
    up = F.interpolate(torch.stack(rows).view(len(x), 1, 4, 4), x.shape[2:], mode="bilinear", align_corners=False)
    return up.expand_as(x) / x.shape[1]


@pytest.mark.parametrize("class_token", [True, False])
@pytest.mark.parametrize("spelling", ATTENTION)
def test_rollout_is_the_product_by_hand(spelling, class_token):
    model = build(transformer(spelling=spelling, class_token=class_token, blocks=3))
    logits, attention = by_hand(model, X)
    torch.testing.assert_close(model(X), logits)
    whole = [rolled([one.detach() for one in attention], image) for image in range(3)]
    rows = [one[0, 1:] if class_token else one.mean(0) for one in whole]
    got = attribution.attention_rollout(model, X, TARGET)
    torch.testing.assert_close(got, as_maps(rows, X))
    assert torch.equal(attribution.attention_rollout(model, X, 1), got)      # it knows no class


@pytest.mark.parametrize("class_token", [True, False])
@pytest.mark.parametrize("spelling", ATTENTION)
def test_gradient_rollout_is_the_sum_by_hand(spelling, class_token):
    model = build(transformer(spelling=spelling, class_token=class_token, blocks=3))
    logits, attention = by_hand(model, X)
    gradients = torch.autograd.grad(logits.gather(1, TARGET[:, None]).sum(), attention)
    whole = [rolled([one.detach() for one in attention], image, gradients) for image in range(3)]
    rows = [one[0, 1:] if class_token else one.mean(0) for one in whole]
    torch.testing.assert_close(attribution.gradient_attention_rollout(model, X, TARGET), as_maps(rows, X))


OPTIONS = {"nothing": {}, "causal": {"is_causal": True}, "scale": {"scale": 0.3}, "mask": {"attn_mask": "bool"},
           "float mask": {"attn_mask": "float"}, "grouped": {"enable_gqa": True}}


@pytest.mark.parametrize("name", OPTIONS)
def test_the_opened_function_is_torchs(name):
    q, k, v = torch.randn(3, 2, 4, 5, 6, generator=seeded(), dtype=torch.float64)
    options = dict(OPTIONS[name])
    if name == "grouped":
        k, v = k[:, :2], v[:, :2]
    if "attn_mask" in options:
        mask = torch.rand(5, 5, generator=seeded(1)) > 0.4
        mask[:, 0] = True
        options["attn_mask"] = mask if options["attn_mask"] == "bool" else torch.where(mask, q[0, 0, :, :5], -torch.inf)
    attend = F.scaled_dot_product_attention
    torch.testing.assert_close(OPENED[attend](q, k, v, **options), attend(q, k, v, **options))


@pytest.mark.parametrize("options", [{}, {"bias": False}, {"add_bias_kv": True}, {"add_zero_attn": True},
                                     {"kdim": 5, "vdim": 7}, {"batch_first": False}])
@pytest.mark.parametrize("call", [{}, {"need_weights": False}, {"average_attn_weights": False},
                                  {"attn_mask": torch.ones(4, 4).tril() == 0}])
def test_opened_multi_head_attention_is_torchs(options, call):
    """Every option of the module, since it is torch's own code that runs."""
    seen = []

    class Opening(torch.overrides.TorchFunctionMode):
        def __torch_function__(self, function, types, args=(), kwargs=None):
            if function in OPENED:
                seen.append(function.__name__)
                with self:
                    return OPENED[function](*args, **(kwargs or {}))
            return function(*args, **(kwargs or {}))
    if "attn_mask" in call and {"add_bias_kv", "add_zero_attn"} & set(options):
        call = {}
    module = build(lambda: nn.MultiheadAttention(6, 2, **{"batch_first": True, **options}))
    q, k, v = (torch.randn(4, 4, d, generator=seeded(d), dtype=torch.float64)
               for d in (6, options.get("kdim", 6), options.get("vdim", 6)))
    expected = module(q, k, v, **call)
    with Opening():
        got = module(q, k, v, **call)
    assert "multi_head_attention_forward" in seen
    torch.testing.assert_close(got, expected)


@pytest.mark.parametrize("method", ["attention_rollout", "gradient_attention_rollout"])
def test_what_has_no_product_of_layers_is_refused_by_name(method):
    class Pooled(Transformer):
        """A second block that attends from the class token alone."""

        def forward(self, x):
            z = self.blocks[0](self.patches(x).flatten(2).transpose(1, 2))
            return self.head((z[:, :1] @ z.transpose(1, 2)).softmax(-1) @ z)[:, 0]
    explain = getattr(attribution, method)
    with pytest.raises(ValueError, match=f"calls no attention.*{method}"):
        explain(build(plain), X, 1)
    with pytest.raises(ValueError, match=r"shape \(3, 1, 16\) for 3 images.*from a few tokens"):
        explain(build(Pooled), X, 1)
    import torchvision.models
    swin = torchvision.models.SwinTransformer([2, 2], 8, [1, 1], [2, 2], [2, 2], num_classes=5).eval()
    with pytest.raises(ValueError, match=f"within windows.*{method}"):
        explain(swin, images(2, 16, dtype=torch.float32), 1)


@pytest.mark.parametrize("method", ["attention_rollout", "gradient_attention_rollout"])
def test_oblong_images_registers_and_vit_of_torchvision(method):
    import torchvision.models

    class Registers(Transformer):
        def forward(self, x):
            z = self.patches(x).flatten(2).transpose(1, 2)
            z = torch.cat([self.token.expand(len(z), 3, -1), z], 1)
            return self.head(self.blocks(z)[:, 0])
    explain = getattr(attribution, method)
    x = torch.rand(2, 3, 6, 12, generator=seeded(), dtype=torch.float64)
    maps = explain(build(Registers), x, 1)
    assert maps.shape == x.shape and bool((maps >= 0).all()) and maps.flatten(1).std(1).min() > 0
    with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.manual_seed(0)
        vit = torchvision.models.VisionTransformer(16, 4, 2, 2, 8, 16, num_classes=5).eval()
        nn.init.normal_(vit.heads.head.weight)
    x = images(2, 16, dtype=torch.float32)
    maps = explain(vit, x, 1)
    assert maps.shape == x.shape and bool((maps >= 0).all()) and maps.flatten(1).std(1).min() > 0


def test_attention_rollout_has_the_derivative_of_the_network_itself():
    model = build(transformer(spelling="fused"))
    leaf = X.clone().requires_grad_()
    weights = torch.randn(X.shape, generator=seeded(3), dtype=torch.float64)
    slope, = torch.autograd.grad((weights * attribution.attention_rollout(model, leaf)).sum(), leaf)
    way = torch.randn(X.shape, generator=seeded(4), dtype=torch.float64)
    ahead, behind = (attribution.attention_rollout(model, X + step * way) for step in (1e-6, -1e-6))
    torch.testing.assert_close((slope * way).sum(), (weights * (ahead - behind)).sum() / 2e-6, rtol=1e-5, atol=1e-9)


@pytest.mark.parametrize("spelling", ["module", "fused", "plain"])
@pytest.mark.parametrize("method", ["attention_rollout", "gradient_attention_rollout"])
def test_attacks_move_them(method, spelling):
    model, x = build(transformer(spelling=spelling)), images(4)
    attack = functools.partial(attacks.attack, model, x, method=method, objective=attacks.TopK(8), epsilon=0.1, steps=5)
    got = attack()
    assert got.found.any() and (got.x - x).abs().max() > 0.01
    with pytest.raises(ValueError, match=f"{method} is none; use 'double-backprop'"):
        attack(curvature="finite-difference")
