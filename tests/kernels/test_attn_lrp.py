"""AttnLRP: against loops over the equations, in every spelling of attention, and what it refuses."""

import warnings

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from fragility import attacks, attribution
from tests.networks import ATTENTION, SMALL, Transformer, batch_normed, build, images, transformer
from tests.oracles import attention as oracle

X, TARGET = images(), torch.tensor([4, 0, 2])


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def close(got, expected, tolerance=1e-8):
    torch.testing.assert_close(got, expected, rtol=tolerance, atol=tolerance * expected.abs().max().item())


@pytest.mark.parametrize("blocks, class_token, epsilon", [(1, True, 1e-6), (2, True, 1e-6), (2, False, 0.01),
                                                          (1, True, 0.05)])
def test_map_is_that_of_loops_over_the_equations(blocks, class_token, epsilon):
    """And it sums to the logit but for the leaks that are documented."""
    model = build(transformer(spelling="fused", blocks=blocks, class_token=class_token, dim=6, heads=2))
    model.requires_grad_(False)
    x = X[:2]
    expected, leaks = oracle.attn_lrp(model, x, TARGET[:2], epsilon)
    got = attribution.attn_lrp(model, x, TARGET[:2], epsilon=epsilon)
    close(got, expected)
    lost = torch.tensor([sum(one.values()) for one in leaks], dtype=torch.float64)
    logits = model(x).gather(1, TARGET[:2, None]).squeeze(1)
    close(got.flatten(1).sum(1), logits - lost)
    if epsilon == 1e-6:
        assert all(abs(one["products"]) < 1e-3 * float(logits.abs().max()) for one in leaks)   # only the stabiliser
        assert all(abs(one["softmax"]) > 1e-4 for one in leaks)                                # a true leak


@pytest.mark.parametrize("class_token", [True, False])
def test_without_a_stabiliser_it_is_input_times_a_modified_gradient(class_token):
    model = build(transformer(blocks=3, class_token=class_token))
    close(attribution.attn_lrp(model, X, TARGET, epsilon=1e-13), oracle.modified_gradients(model, X, TARGET), 1e-7)


@pytest.mark.parametrize("spelling", ATTENTION)
def test_every_spelling_gives_the_same_map(spelling):
    got, plain = (attribution.attn_lrp(build(transformer(spelling=one)), X, TARGET, epsilon=1e-12)
                  for one in (spelling, "plain"))
    close(got, plain)


class Masked(Transformer):
    """Tokens attend to those before them and a table of distances, by torch's function or written out."""

    def __init__(self, written_out):
        super().__init__(class_token=False)
        self.table, self.written_out = nn.Parameter(torch.randn(3, 16, 16)), written_out

    def attend(self, z, inner):
        q, k, v = (one.unflatten(2, (3, 4)).transpose(1, 2) for one in
                   F.linear(z, inner.in_proj_weight, inner.in_proj_bias).chunk(3, 2))
        mask = self.table + torch.full((16, 16), -torch.inf).triu(1)
        if self.written_out:
            return inner.out_proj(((q @ k.mT / 2 + mask).softmax(-1) @ v).transpose(1, 2).flatten(2))
        return inner.out_proj(F.scaled_dot_product_attention(q, k, v, mask.to(q)).transpose(1, 2).flatten(2))

    def forward(self, x):
        z = self.patches(x).flatten(2).transpose(1, 2)
        for block in self.blocks:
            z = z + self.attend(block.norm(z), block.attention)
        return self.head(z.mean(1))


def test_masks_and_tables_of_positions_are_constants():
    written, fused = (attribution.attn_lrp(build(lambda out=out: Masked(out)), X, TARGET, epsilon=1e-12)
                      for out in (True, False))
    close(fused, written)
    assert written.any()


class Queried(nn.Module):
    """A query that is learned attends to the places: one operand of the first product does not depend on x."""

    def __init__(self, fused):
        super().__init__()
        self.patches, self.head, self.fused = nn.Conv2d(3, 8, 2, stride=2), nn.Linear(8, 5), fused
        self.query = nn.Parameter(torch.randn(1, 1, 8))

    def forward(self, x):
        z = self.patches(x).flatten(2).transpose(1, 2)
        query = self.query.expand(len(z), -1, -1) * 1.5
        if self.fused:
            return self.head(F.scaled_dot_product_attention(query[:, None], z[:, None], z[:, None])[:, 0, 0])
        return self.head(((query @ z.mT / 8 ** 0.5).softmax(-1) @ z)[:, 0])


def test_a_learned_query_receives_no_relevance():
    fused, written = (attribution.attn_lrp(build(lambda one=one: Queried(one)), X, TARGET, epsilon=1e-12)
                      for one in (True, False))
    close(fused, written)
    model = build(lambda: Queried(False))
    z = model.patches(X).flatten(2).transpose(1, 2)
    leaf = X.clone().requires_grad_()
    inner = model.patches(leaf).flatten(2).transpose(1, 2)
    weights = (model.query.expand(3, -1, -1) * 1.5 @ inner.mT / 8 ** 0.5).softmax(-1)
    mixed = (weights @ z.detach() + weights.detach() @ inner) / 2
    expected = X * torch.autograd.grad(model.head(mixed[:, 0]).gather(1, TARGET[:, None]).sum(), leaf)[0]
    close(written, expected, 1e-7)


@pytest.mark.parametrize("net", [*SMALL, "batch_normed"])
def test_without_attention_it_is_relevance_by_the_epsilon_rule(net):
    model = build(SMALL.get(net, batch_normed))
    assert torch.equal(attribution.attn_lrp(model, X, TARGET, epsilon=0.01),
                       attribution.lrp(model, X, TARGET, rule="epsilon", epsilon=0.01))


def without_softmax(z):
    """Softmax by hand: a quotient of two values that depend on x."""
    e = z.exp()
    return e / e.sum(-1, keepdim=True)


LEAKS = {
    "a quotient": (lambda q, k, v: without_softmax(q @ k.mT) @ v, "Div"),
    "cosines": (lambda q, k, v: (F.normalize(q, dim=-1) @ k.mT).softmax(-1) @ v, "Norm|normalize"),
    "aten": (lambda q, k, v: torch.ops.aten.bmm(q, v.mT) @ v, "Bmm"),
    "aten softmax": (lambda q, k, v: torch.ops.aten.softmax(q @ k.mT, -1) @ v, "Softmax"),
    "aten attention": (lambda q, k, v: torch.ops.aten.scaled_dot_product_attention(q[None], k[None], v[None])[0],
                       "Attention|Softmax|Bmm|Matmul"),
    "three at once": (lambda q, k, v: torch.einsum("nid,njd,njc->nic", q, k, v), "Bmm|einsum"),
    "log-softmax": (lambda q, k, v: F.log_softmax(q @ k.mT, -1) @ v, "LogSoftmax|log_softmax"),
    "own kernel": (lambda q, k, v: Hidden.apply(q @ k.mT) @ v, "softmax"),
    "top entries": (lambda q, k, v: (q @ k.mT).topk(4, -1).values.softmax(-1) @ v[:, :4], "Topk|topk"),
    "hidden scores": (lambda q, k, v: (q @ k.mT).detach().softmax(-1) @ v, "detach"),
}


class Hidden(torch.autograd.Function):
    @staticmethod
    def forward(ctx, z):
        return z.softmax(-1)

    @staticmethod
    def backward(ctx, m):
        return m


@pytest.mark.parametrize("name", LEAKS)
def test_what_cannot_be_followed_is_refused_by_name(name):
    attend, words = LEAKS[name]

    class Leaky(Transformer):
        def forward(self, x):
            z = self.patches(x).flatten(2).transpose(1, 2)
            q, k, v = (F.linear(z, part) for part in self.blocks[0].attention.in_proj_weight.chunk(3))
            return self.head(attend(q, k, v).mean(1))
    with pytest.raises(ValueError, match=words):
        attribution.attn_lrp(build(Leaky), X, 1)


@pytest.mark.parametrize("method", ["lrp", "deeplift", "guided_backprop", "deconvnet", "deep_taylor"])
def test_attention_stays_refused_where_a_method_has_no_rule_for_it(method):
    for spelling in ATTENTION:
        with pytest.raises(ValueError, match="no rule"):
            getattr(attribution, method)(build(transformer(spelling=spelling)), X, 1)


def test_the_derivative_of_the_map_is_the_true_one():
    """Along a random direction, against finite differences of the map."""
    for spelling in ("fused", "einsum"):
        model, leaf = build(transformer(spelling=spelling)), X.clone().requires_grad_()
        weights, way = (torch.randn(X.shape, generator=seeded(k), dtype=torch.float64) for k in (3, 4))
        result = attribution.attn_lrp(model, leaf, 2, epsilon=1e-3)
        close(result.detach(), attribution.attn_lrp(model, X, 2, epsilon=1e-3))
        slope, = torch.autograd.grad((weights * result).sum(), leaf)
        ahead, behind = (attribution.attn_lrp(model, X + step * way, 2, epsilon=1e-3) for step in (1e-6, -1e-6))
        numeric = (weights * (ahead - behind)).flatten(1).sum(1) / 2e-6
        torch.testing.assert_close((slope * way).flatten(1).sum(1), numeric, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("spelling", ["module", "fused", "plain"])
def test_an_attack_moves_it(spelling):
    model, x = build(transformer(spelling=spelling)), images(4)
    got = attacks.attack(model, x, method="attn_lrp", objective=attacks.TopK(8), epsilon=0.1, steps=5)
    assert got.found.any() and (got.x - x).abs().max() > 0.01
    with pytest.raises(ValueError, match="attn_lrp is none; use 'double-backprop'"):
        attacks.attack(model, x, method="attn_lrp", objective=attacks.TopK(8), epsilon=0.1,
                       curvature="finite-difference")


@pytest.mark.parametrize("method", ["gradient", "gradient_x_input", "integrated_gradients", "smoothgrad"])
def test_maps_of_gradients_are_attacked_by_finite_differences_through_fused_attention(method):
    model, x = build(transformer(spelling="fused")), images(4)
    got = attacks.attack(model, x, method=method, objective=attacks.TopK(8), epsilon=0.1, steps=5,
                         curvature="finite-difference", generator=seeded())
    assert got.found.any() and (got.x - x).abs().max() > 0.01


def small_vit():
    import torchvision.models
    vit = torchvision.models.VisionTransformer(16, 4, 3, 2, 8, 16, num_classes=5)
    nn.init.normal_(vit.heads.head.weight)
    return vit


def small_swin():
    import torchvision.models
    return torchvision.models.SwinTransformer([2, 2], 8, [2, 2], [2, 2], [4, 4], num_classes=5)


def families():
    """Whole networks by name; those of packages that are not installed give the reason instead."""
    def timms():
        timm = pytest.importorskip("timm", reason="timm is not installed, so its ViT is not tried")
        return timm.create_model("vit_tiny_patch16_224", pretrained=False, img_size=32, num_classes=5, depth=2)

    def hugging_faces():
        transformers = pytest.importorskip("transformers",
                                           reason="transformers is not installed, so its ViT is not tried")
        return transformers.ViTForImageClassification(transformers.ViTConfig(
            hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32, image_size=16,
            patch_size=4, num_labels=5))
    return {"ViT": (small_vit, 16), "Swin": (small_swin, 16), "timm": (timms, 32), "Hugging Face": (hugging_faces, 16)}


@pytest.mark.parametrize("name", families())
def test_networks_of_libraries_as_they_are(name):
    make, side = families()[name]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = build(make)
    x = images(2, side)
    before = model(x)
    got = attribution.attn_lrp(model, x, 1)
    assert got.shape == x.shape and got.flatten(1).std(1).min() > 0
    close(torch.cat([attribution.attn_lrp(model, one[None], 1) for one in x]), got)
    after = model(x)
    assert torch.equal(*(getattr(one, "logits", one) for one in (before, after)))


@pytest.mark.slow
@pytest.mark.parametrize("name, options, side", [("vit_b_16", {"image_size": 32}, 32), ("swin_t", {}, 64)])
def test_whole_networks_of_torchvision(name, options, side):
    import torchvision.models
    with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.manual_seed(0)
        model = torchvision.models.get_model(name, weights=None, **options).eval()
        nn.init.normal_(list(model.parameters())[-2])
    x = images(1, side, dtype=torch.float32)
    got = attribution.attn_lrp(model, x, 1)
    assert got.shape == x.shape and got.std() > 0


def test_a_bad_stabiliser_is_refused():
    for epsilon in (0.0, -1e-6, float("nan"), "small"):
        with pytest.raises(ValueError, match="epsilon"):
            attribution.attn_lrp(build(Transformer), X, 1, epsilon=epsilon)
