"""Attacks keep their word on models and methods of users: what counts as found has moved, and equals fare alike."""

import functools

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from fragility import attacks, attribution, curvature, metrics, shift
from tests.networks import build, images


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


class Call(nn.Module):
    """A module in evaluation mode around a function."""

    def __init__(self, function):
        super().__init__()
        self.function = function
        self.eval()

    def forward(self, z):
        return self.function(z)


def net(activation, size=9, bias=True, out=4, channels=3):
    return build(lambda: nn.Sequential(nn.Conv2d(channels, 8, 3, bias=bias), activation(),
                                       nn.Conv2d(8, 8, 3, bias=bias),
                                       activation(), nn.Flatten(), nn.Linear(8 * (size - 4) ** 2, out, bias=bias)))


def run(model, x, **options):
    options = {"objective": attacks.TopK(12), "epsilon": 0.08, "steps": 6, "generator": seeded(), **options}
    return attacks.attack(model, x, **options)


def label(out):
    return out.argmax(1) if out.shape[1] > 1 else (out[:, 0] > 0).long()


def honest(model, x, r):
    """Every image that counts as found moved inside the ball and kept its label."""
    moved = (r.x - x).flatten(1).abs().amax(1)
    assert float(moved.max()) <= 0.08 + 1e-9
    assert bool((r.x >= 0).all()) and bool((r.x <= 1).all())
    assert bool(((moved > 0) | ~r.found).all()), "found without a move"
    assert bool(((label(model(x)) == label(model(r.x))) | ~r.found).all()), "found with another label"
    return moved > 0


def answered(model, x, **options):
    """The attack's result where it gives one; None where it refused in a sentence."""
    try:
        r = run(model, x, **options)
    except ValueError as error:
        assert len(str(error)) > 40, error
        return None
    honest(model, x, r)
    return r


# Non-linearities of users

class Maxout(nn.Module):
    def forward(self, z):
        a, b = z.chunk(2, 1)
        return torch.cat([torch.maximum(a, b), torch.minimum(a, b)], 1)


ACTIVATIONS = {
    "leaky of .3": functools.partial(nn.LeakyReLU, 0.3), "leaky in place": functools.partial(nn.LeakyReLU, 0.1, True),
    "prelu a channel": functools.partial(nn.PReLU, 8), "narrow hardtanh": functools.partial(nn.Hardtanh, -0.1, 0.15),
    "hardshrink": functools.partial(nn.Hardshrink, 0.05), "maxout": Maxout, "abs": lambda: Call(torch.abs),
    "crelu": lambda: Call(lambda z: torch.cat([z[:, :4].relu(), (-z[:, 4:]).relu()], 1)),
    "where": lambda: Call(lambda z: torch.where(z > 0.1, 2 * z, 0.5 * z)), "celu": nn.CELU, "mish": nn.Mish,
    "clamp": lambda: Call(lambda z: z.clamp(-0.1, 0.2)), "gelu": nn.GELU, "tanh": nn.Tanh,
    "hardswish written out": lambda: Call(lambda z: z * F.relu6(4 * z + 3) / 6),
}


@pytest.mark.parametrize("method", ["gradient", "gradient_x_input", "smoothgrad", "vargrad", "integrated_gradients"])
@pytest.mark.parametrize("name", ACTIVATIONS)
def test_gradient_maps_move_on_every_non_linearity(name, method):
    """Gradients exist everywhere, so a finite difference has a direction on each of these."""
    model, x = net(ACTIVATIONS[name]), images(4, 9)
    args = {"steps": 4} if method == "integrated_gradients" else {"samples": 3} if method[-4:] == "grad" else {}
    r = run(model, x, method=method, method_args=args)
    assert bool(honest(model, x, r).any()) and bool(r.found.any())


@pytest.mark.parametrize("method", ["gradient", "smoothgrad", "deeplift", "lrp", "guided_backprop", "deconvnet"])
@pytest.mark.parametrize("name", ACTIVATIONS)
def test_double_backprop_moves_or_refuses(name, method):
    """A piecewise linear part without a smooth form has no second derivative: a sentence, not success."""
    args = {"samples": 3} if method == "smoothgrad" else {}
    answered(net(ACTIVATIONS[name]), images(4, 9), method=method, curvature="double-backprop", method_args=args)


class Own:
    """A map method of a user, as an object."""

    def __init__(self, base):
        self.base = base

    def __call__(self, model, x, target=None):
        return self.base(model, x, target)


def own_gradient(model, x, target=None):
    z = x if x.requires_grad else x.detach().requires_grad_()
    score = model(z).gather(1, target.view(-1, 1)).sum() if torch.is_tensor(target) else model(z).amax(1).sum()
    return torch.autograd.grad(score, z, create_graph=True)[0]


USERS = {
    "lambda": lambda m, x, t: attribution.gradient(m, x, t), "object": Own(attribution.gradient_x_input),
    "bound": Own(attribution.gradient).__call__, "own autograd": own_gradient,
    "partial of a lambda": functools.partial(lambda m, x, t, k: k * attribution.gradient(m, x, t), k=-2.0),
    "detached": lambda m, x, t: attribution.gradient(m, x, t).detach(),
    "absolute": lambda m, x, t: attribution.gradient(m, x, t).abs(),
    "difference": lambda m, x, t: attribution.gradient(m, x, t) - attribution.gradient(m, x, 0),
    "ensemble": functools.partial(attribution.noise_ensembles, samples=2),
    "constant": lambda m, x, t: torch.ones_like(x), "model-free": lambda m, x, t: attribution.sobel(x),
    "random": "random", "sobel": "sobel",
    "lambda of guided": lambda m, x, t: attribution.guided_backprop(m, x, t),
    "partial of deconvnet": functools.partial(attribution.deconvnet),
    "partial of deep Taylor": functools.partial(attribution.deep_taylor, high=1.0),
}


@pytest.mark.parametrize("activation", [nn.ReLU, functools.partial(nn.LeakyReLU, 0.1), nn.GELU])
@pytest.mark.parametrize("name", USERS)
def test_methods_of_users_move_or_are_refused(name, activation):
    try:
        answered(net(activation), images(4, 9), method=USERS[name])
    except (TypeError, AttributeError) as error:
        assert name == "ensemble", error        # three maps, not one: any sentence will do
        assert "fragility" in str(error) or len(str(error)) > 40


@pytest.mark.parametrize("name", ["gradient", "smoothgrad", "integrated_gradients", "gradient_x_input"])
def test_partials_are_the_method(name):
    """A partial carries the method's own curvature and options, also when nested."""
    model, x = net(functools.partial(nn.LeakyReLU, 0.1)), images(4, 9)
    args = {"smoothgrad": {"samples": 3}, "integrated_gradients": {"steps": 3}}.get(name, {})
    nested = functools.partial(functools.partial(attribution.METHODS[name], **args))
    a, b = run(model, x, method=name, method_args=args), run(model, x, method=nested)
    assert torch.equal(a.x, b.x) and torch.equal(a.found, b.found)


# Dead images

def half_dead():
    """Dark images switch every ReLU off, bright ones do not."""
    model = net(nn.ReLU)
    with torch.no_grad():
        model[0].weight.abs_().div_(model[0].weight.sum((1, 2, 3), keepdim=True))
        model[0].bias.fill_(-0.3)
        model[2].bias.fill_(-0.02)
        model[2].weight[4:].abs_()
    return model


@pytest.mark.parametrize("objective", [attacks.TopK(12), attacks.MassCenter(), attacks.LensTopK(4, 1)])
@pytest.mark.parametrize("method", ["gradient", "gradient_x_input", "smoothgrad", "integrated_gradients", "deeplift",
                                    "lrp", "guided_backprop", "deconvnet"])
def test_dead_images_are_not_found_and_stop_nobody(method, objective):
    model, x = half_dead(), images(5, 9)
    x[0] *= 0.05
    x[4] *= 0.1
    assert bool((attribution.gradient(model, x)[[0, 4]] == 0).all())
    args = {"smoothgrad": {"samples": 3, "sigma": 0.01}, "integrated_gradients": {"steps": 4}}.get(method, {})
    options = {"method": method, "method_args": args, "objective": objective, "epsilon": 0.02}
    r = answered(model, x, **options)
    if r is None:
        assert method in ("guided_backprop", "deconvnet")
        return
    assert not bool(r.found[[0, 4]].any())
    if method in ("gradient", "gradient_x_input", "smoothgrad"):
        assert bool(r.found[1:4].any())


@pytest.mark.parametrize("method", ["gradient", "gradient_x_input", "lrp", "deeplift"])
def test_a_batch_without_a_live_image_is_refused_or_not_found(method):
    r = answered(half_dead(), images(3, 9) * 0.05, method=method, epsilon=0.02)
    assert r is None or not bool(r.found.any())


def test_the_living_are_attacked_as_if_the_dead_were_not_there():
    model, x = half_dead(), images(5, 9)
    x[2] *= 0.05
    live = [0, 1, 3, 4]
    whole, alone = run(model, x, epsilon=0.02), run(model, x[live], epsilon=0.02)
    assert torch.allclose(whole.x[live], alone.x, atol=1e-12)
    assert torch.equal(whole.found[live], alone.found)


SCORES = {"difference": lambda a, b: (a - b).abs().sum((1, 2)),
          "top k": lambda a, b: 1 - metrics.topk_intersection(a, b, 12),
          "ranks": lambda a, b: 1 - metrics.spearman(a, b), "lens": lambda a, b: 1 - metrics.lens_recall(a, b, 4, 1)}


@pytest.mark.parametrize("score", SCORES)
@pytest.mark.parametrize("walk", ["gradient", "guided_backprop", "lrp"])
def test_a_random_walk_passes_over_dead_images(walk, score):
    """The metrics refuse a map of zeros by name; that one dead image has no map must not cost the others theirs."""
    model, x, score = half_dead(), images(4, 9), SCORES[score]
    x[1] *= 0.05
    r = attacks.random_walk(model, x, method=walk, epsilon=0.02, steps=5, score=score, generator=seeded())
    assert not bool(r.found[1])
    assert bool(r.found[[0, 2, 3]].any())


@pytest.mark.parametrize("score", SCORES)
def test_a_selection_by_a_metric_passes_over_dead_images(score):
    model, x = half_dead(), images(4, 9)
    x[1] *= 0.05
    r = run(model, x, epsilon=0.02, select=SCORES[score])
    assert not bool(r.found[1])
    assert bool(r.found[[0, 2, 3]].any())


# Equal maps

def left(model, x, method, k, args=None, explain="gradient_x_input"):
    r = run(model, x, method=method, objective=attacks.TopK(k), epsilon=0.05, steps=20, method_args=args or {})
    target = model(x).argmax(1)
    maps = [attribution.pixel_map(attribution.METHODS[explain](model, z, target)) for z in (x, r.x)]
    return metrics.topk_intersection(*maps, k).mean().item()


def biased(bias, size=16):
    return net(nn.ReLU, size, bias), images(6, size)


EQUAL = {   # on networks of ReLUs, the last three without biases
    "lrp by z": (functools.partial(attribution.lrp, rule="z"), True),
    "own x times gradient": (lambda m, x, t: x * attribution.gradient(m, x, t), True),
    "deeplift": ("deeplift", False),
    "lrp by epsilon": (functools.partial(attribution.lrp, rule="epsilon", epsilon=1e-12), False),
    "integrated gradients": (functools.partial(attribution.integrated_gradients, steps=4), False),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", EQUAL)
def test_maps_that_are_equal_are_attacked_alike(name):
    """Which of two names a map has must not decide how robust it looks."""
    method, bias = EQUAL[name]
    model, x = biased(bias)
    target = model(x).argmax(1)
    twin = attribution.gradient_x_input(model, x, target)
    explained = method(model, x, target) if callable(method) else attribution.deeplift(model, x, target)
    assert torch.allclose(explained, twin)
    strong, other = left(model, x, "gradient_x_input", 40), left(model, x, method, 40)
    assert strong < 0.9
    assert other < strong + 0.1


# Steps and chunks

@pytest.mark.parametrize(("steps", "share"), [(1, 1.0), (2, 0.5), (5, 0.2), (15, 1 / 15), (16, 1 / 16), (40, 1 / 16)])
@pytest.mark.parametrize("method", ["gradient_x_input", "lrp"])
def test_the_default_step_reaches_the_sphere(steps, share, method):
    model, x = net(nn.ReLU), images(2, 9)
    a, b = (run(model, x, steps=steps, step_size=s, method=method) for s in (None, 0.08 * share))
    assert torch.allclose(a.x, b.x, atol=1e-12)


def test_the_random_walk_has_the_same_default_step():
    model, x, score = net(nn.ReLU), images(2, 9), lambda a, b: (a - b).abs().sum((1, 2))
    a, b = (attacks.random_walk(model, x, epsilon=0.08, steps=4, step_size=s, score=score, generator=seeded())
            for s in (None, 0.02))
    assert torch.allclose(a.x, b.x, atol=1e-12)


@pytest.mark.parametrize("curvature", ["finite-difference", "double-backprop"])
@pytest.mark.parametrize("objective", [attacks.MassCenter(), attacks.LensTopK(6, 1), attacks.TopK(5)])
@pytest.mark.parametrize("method", ["gradient", "smoothgrad", "integrated_gradients", "vargrad"])
def test_chunks_do_not_change_an_attack(method, objective, curvature):
    """Random path points, noise draws and the centre's symmetry break belong to the batch, not to a chunk."""
    model, x = net(nn.ReLU), images(5, 9)
    args = {"gradient": {}, "integrated_gradients": {"steps": 3}}.get(method, {"samples": 3})
    options = {"method": method, "method_args": args, "objective": objective, "curvature": curvature, "steps": 4}
    whole = run(model, x, **options)
    for chunk in (1, 2, 3):
        part = run(model, x, chunk=chunk, **options)
        assert torch.allclose(part.x, whole.x, atol=1e-9), chunk
        assert torch.equal(part.found, whole.found)
        assert torch.allclose(part.objective, whole.objective, atol=1e-9)


# Attention and other operations without a second derivative of their own

class Attention(nn.Module):
    """Patches, one layer of attention, mean: a small vision transformer."""

    def __init__(self, fused=True):
        super().__init__()
        self.patch, self.fused = nn.Conv2d(3, 8, 3, stride=3), fused
        self.block = nn.TransformerEncoderLayer(8, 2, 16, dropout=0.0, activation="gelu", batch_first=True)
        self.head = nn.Linear(8, 4)

    def forward(self, z):
        z = self.patch(z).flatten(2).transpose(1, 2)
        if self.fused:
            z = z + F.scaled_dot_product_attention(z, z, z)
        return self.head(self.block(z).mean(1))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("curvature", [None, "finite-difference", "double-backprop"])
@pytest.mark.parametrize("method", ["gradient", "gradient_x_input", "smoothgrad", "integrated_gradients"])
def test_attention_is_attacked_or_refused_in_a_sentence(method, curvature, dtype):
    model, x = build(Attention, dtype=dtype), images(3, 9, dtype=dtype)
    args = {"smoothgrad": {"samples": 2}, "integrated_gradients": {"steps": 3}}.get(method, {})
    r = answered(model, x, method=method, curvature=curvature, method_args=args)
    if curvature != "double-backprop":
        assert r is not None and bool(r.found.any())


# One logit

def decision():
    one, x = net(nn.ReLU, out=1), images(6, 9)
    with torch.no_grad():
        one[-1].bias -= one(x).median() + 1e-3
    return one, x, (one(x)[:, 0] > 0).long()


def twin_of(one):
    """Two logits -z and z."""
    two = build(lambda: nn.Sequential(*list(one)[:-1], nn.Linear(one[-1].in_features, 2)))
    with torch.no_grad():
        two[-1].weight.copy_(torch.cat([-one[-1].weight, one[-1].weight]))
        two[-1].bias.copy_(torch.cat([-one[-1].bias, one[-1].bias]))
    return two


MAPS = {
    "gradient": attribution.gradient, "x times gradient": attribution.gradient_x_input,
    "integrated": functools.partial(attribution.integrated_gradients, steps=5, baseline=0.2),
    "smoothgrad": lambda m, x, t: attribution.smoothgrad(m, x, t, samples=3, generator=seeded(1)),
    "squared": lambda m, x, t: attribution.smoothgrad_squared(m, x, t, samples=3, generator=seeded(1)),
    "vargrad": lambda m, x, t: attribution.vargrad(m, x, t, samples=3, generator=seeded(1)),
    "smooth lrp": lambda m, x, t: attribution.smoothgrad(m, x, t, base="lrp", samples=3, generator=seeded(1)),
    "guided": attribution.guided_backprop, "deconvnet": attribution.deconvnet,
    "deeplift": functools.partial(attribution.deeplift, baseline=0.3), "z": attribution.lrp,
    "epsilon": functools.partial(attribution.lrp, rule="epsilon", epsilon=0.05),
    "rooted": functools.partial(attribution.lrp, root=0.4),
}


@pytest.mark.parametrize("target", [None, 0, 1, torch.tensor([1, 0, 0, 1, 1, 0])])
@pytest.mark.parametrize("name", MAPS)
def test_a_logit_is_explained_as_its_pair(name, target):
    """Class 1 has the logit z and class 0 has -z, so a network with both in the open is the same classifier."""
    one, x, _ = decision()
    assert torch.allclose(MAPS[name](one, x, target), MAPS[name](twin_of(one), x, target), atol=1e-10)


@pytest.mark.parametrize("target", [None, 0, 1])
def test_patterns_of_a_logit_are_those_of_its_pair(target):
    one, x, _ = decision()
    two, sample = twin_of(one), images(20, 9, seed=3)
    for kernel in (attribution.pattern_net, attribution.pattern_attribution):
        a, b = (kernel(m, x, target, patterns=attribution.fit_patterns(m, sample)) for m in (one, two))
        assert torch.allclose(a, b, atol=1e-9), kernel.__name__


@pytest.mark.parametrize("target", [None, 0, 1])
def test_the_curvature_of_a_logit_is_that_of_its_pair(target):
    one, x, _ = decision()
    one[1], one[3] = nn.Softplus(), nn.Tanh()
    with torch.no_grad():
        one[-1].bias -= one(x).median() + 1e-4
    two, v = twin_of(one), images(6, 9, seed=5)
    for way in ("forward-over-reverse", "finite-difference"):
        a, b = (curvature.hessian_product(m, x, v, target, way=way) for m in (one, two))
        assert torch.allclose(a, b, atol=1e-8), way
    a, b = (curvature.dominant_direction(m, x, target, iterations=4, generator=seeded()) for m in (one, two))
    assert torch.allclose(a.eigenvalue, b.eigenvalue, atol=1e-8)


def test_the_sign_of_the_curvature_of_a_square():
    """z = |x|^2 - 1 has the Hessian 2 I for class 1, and -2 I for class 0."""
    model, x, v = Call(lambda z: z.square().sum((1, 2, 3))[:, None] - 1), images(2, 4), images(2, 4, seed=1)
    for target, sign in ((1, 1), (0, -1)):
        assert torch.allclose(curvature.hessian_product(model, x, v, target), sign * 2 * v)


@pytest.mark.parametrize("method", ["gradient", "smoothgrad", "deeplift", "lrp", "integrated_gradients"])
@pytest.mark.parametrize("objective", [attacks.TopK(12), attacks.MassCenter(), attacks.LensTopK(4, 1)])
def test_a_logit_is_attacked_as_its_pair(objective, method):
    one, x, _ = decision()
    args = {"smoothgrad": {"samples": 3}, "integrated_gradients": {"steps": 3}}.get(method, {})
    a, b = (run(m, x, method=method, objective=objective, method_args=args) for m in (one, twin_of(one)))
    assert torch.equal(a.found, b.found)
    assert torch.allclose(a.x, b.x, atol=1e-9)
    honest(one, x, a)


def test_a_random_walk_keeps_the_decision_of_a_logit():
    one, x, before = decision()
    score = lambda a, b: (a - b).abs().sum((1, 2))
    r = attacks.random_walk(one, x, epsilon=0.3, steps=8, score=score, generator=seeded())
    assert bool(((label(one(r.x)) == before) | ~r.found).all())


def test_shifts_of_a_logit():
    one, x, before = decision()
    m = images(1, 9, seed=8)[0]
    twin = shift.compensate(one, m)
    assert torch.allclose(attribution.gradient(twin, x + m), attribution.gradient(twin_of(one), x, before))
    for target in (None, 0, torch.tensor([1, 0, 1, 0, 1, 1])):
        assert float(shift.invariance(one, x, m, method="gradient", target=target).relative.max()) < 1e-9


@pytest.mark.parametrize("target", [2, -1, 7, torch.tensor([0, 1, 2, 0, 1, 0])])
def test_a_logit_has_two_classes(target):
    one, x, _ = decision()
    with pytest.raises(ValueError, match="target|class"):
        attribution.gradient(one, x, target)
