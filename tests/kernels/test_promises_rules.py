"""Promises of the rules kept whole: linear operations of every kind, element-wise functions, products, families."""

import functools

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from fragility import attribution
from tests.networks import build


def rand(*shape, seed=0, dtype=torch.float64):
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def normal(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


class Call(nn.Module):
    """A module around a function, in evaluation mode."""

    def __init__(self, function, **parts):
        super().__init__()
        for name, part in parts.items():
            self.add_module(name, part)
        self.function = function
        self.eval()

    def forward(self, z):
        return self.function(z)


def truth(model, x, target=1):
    z = x.clone().requires_grad_()
    return torch.autograd.grad(model(z)[:, target].sum(), z)[0]


def close(got, want, tolerance=1e-7):
    got, want = got.detach(), want.detach()
    return bool((got - want).abs().max() <= tolerance * want.abs().max())


# Linear operations. Images are (n, 2, 6, 6).

EYE, A = torch.eye(6, dtype=torch.bool), normal(6, 5, seed=1)
ORDER = torch.randperm(6, generator=torch.Generator().manual_seed(1))
GRID = rand(1, 5, 5, 2, seed=4) * 1.6 - 0.8

LINEAR = {
    "masked_fill": lambda z: z.masked_fill(EYE, 0),
    "where": lambda z: torch.where(EYE, z, torch.zeros((), dtype=z.dtype)),
    "unfold of a dimension": lambda z: z.unfold(3, 4, 2),
    "unfold of patches": lambda z: F.unfold(z, 3, stride=2),
    "fold": lambda z: F.fold(F.unfold(z, 3), (6, 6), 3),
    "bicubic": lambda z: F.interpolate(z, scale_factor=2, mode="bicubic"),
    "bilinear": lambda z: F.interpolate(z, size=(9, 5), mode="bilinear", align_corners=True),
    "nearest": lambda z: F.interpolate(z, scale_factor=2),
    "area": lambda z: F.interpolate(z, size=(4, 4), mode="area"),
    "cumsum": lambda z: z.cumsum(3),
    "einsum": lambda z: torch.einsum("ncij,jk->nkci", z, A),
    "matmul": lambda z: z @ A,
    "tensordot": lambda z: torch.tensordot(z, A, dims=([2], [0])),
    "flip": lambda z: z.flip(3),
    "roll": lambda z: z.roll((1, 2), (2, 3)),
    "rot90": lambda z: torch.rot90(z, 1, (2, 3)),
    "diff": lambda z: z.diff(dim=2),
    "tril": lambda z: z.tril(),
    "diagonal": lambda z: z.diagonal(dim1=2, dim2=3),
    "index_select": lambda z: z.index_select(2, ORDER),
    "fancy index": lambda z: z[:, :, ORDER[:4], :],
    "gather": lambda z: z.gather(3, ORDER.expand_as(z)),
    "repeat_interleave": lambda z: z.repeat_interleave(2, 2),
    "repeat": lambda z: z.repeat(1, 2, 1, 1),
    "pixel shuffle": lambda z: F.pixel_unshuffle(z, 2),
    "reflect": lambda z: F.pad(z, (2, 1, 1, 2), mode="reflect"),
    "circular": lambda z: F.pad(z, (2, 1, 1, 2), mode="circular"),
    "fourier": lambda z: torch.fft.rfft2(z).real,
    "grid_sample": lambda z: F.grid_sample(z, GRID.expand(len(z), -1, -1, -1), align_corners=False),
    "mean and subtract": lambda z: z - z.mean((2, 3), keepdim=True),
    "sums of views": lambda z: z[..., ::2] + 2 * z[..., 1::2] - z.transpose(2, 3)[..., ::2] / 3,
    "chunk and cat": lambda z: torch.cat(z.chunk(2, 3)[::-1], 3),
    "stack": lambda z: torch.stack([z, -z], 1),
    "lerp": lambda z: torch.lerp(z, z.flip(3), 0.3),
    "transposed convolution": lambda z: F.conv_transpose2d(z, normal(2, 3, 3, 3, seed=3), stride=2),
    "adaptive average": lambda z: F.adaptive_avg_pool2d(z, (4, 3)),
}


def dense(function, channels=2):
    """The matrix of a linear operation, from the images of a basis: (36 channels, outputs)."""
    basis = torch.eye(36 * channels, dtype=torch.float64).view(-1, channels, 6, 6)
    return torch.cat([function(e[None]).flatten(1) for e in basis])


def linear(weight, bias=None):
    layer = nn.Linear(*weight.T.shape[::-1], bias=bias is not None).double()
    layer.weight.data = weight.T.contiguous()
    if bias is not None:
        layer.bias.data = bias
    return layer


@pytest.mark.parametrize("name", LINEAR)
def test_a_linear_operation_between_layers_is_taken_as_its_matrix(name):
    x = rand(3, 2, 6, 6)
    first = build(lambda: nn.Conv2d(2, 2, 3, padding=1), seed=1)
    matrix = dense(LINEAR[name])
    head = build(lambda: nn.Sequential(nn.Linear(matrix.shape[1], 7), nn.ReLU(), nn.Linear(7, 3)), seed=2)
    model = Call(lambda z: head(LINEAR[name](first(z).relu()).flatten(1)), first=first, head=head)
    fused = linear(matrix @ head[0].weight.T, head[0].bias.data)
    twin = nn.Sequential(first, nn.ReLU(), nn.Flatten(), fused, nn.ReLU(), head[2]).eval()
    assert torch.allclose(model(x), twin(x))
    for method in (attribution.guided_backprop, attribution.deconvnet, attribution.deeplift, attribution.lrp):
        assert close(method(model, x, 1), method(twin, x, 1)), method.__name__
    change = (model(x) - model(torch.zeros_like(x)))[:, 1]
    assert torch.allclose(attribution.deeplift(model, x, 1).flatten(1).sum(1), change)
    epsilon = attribution.lrp(model, x, 1, rule="epsilon", epsilon=1e-9)
    assert epsilon.shape == x.shape
    assert bool(epsilon.isfinite().all())


@pytest.mark.parametrize("name", LINEAR)
def test_epsilon_without_biases_and_with_a_vanishing_stabiliser_is_the_z_rule_of_a_linear_operation(name):
    x = rand(2, 2, 6, 6)
    outputs = LINEAR[name](x).flatten(1).shape[1]
    plain = functools.partial(nn.Linear, bias=False)
    head = build(lambda: nn.Sequential(plain(outputs, 7), nn.ReLU(), plain(7, 3)), seed=2)
    first = build(lambda: nn.Conv2d(2, 2, 3, padding=1, bias=False), seed=1)
    model = Call(lambda z: head(LINEAR[name](first(z).relu()).flatten(1)), head=head, first=first)
    got = attribution.lrp(model, x, 1, rule="epsilon", epsilon=1e-12)
    assert close(got, x * truth(model, x), 1e-4)


TRANSPOSED = {"stride": {"stride": 2}, "padding": {"stride": 2, "padding": 1, "output_padding": 1},
              "groups": {"groups": 2, "padding": 1}, "dilation": {"dilation": 2, "padding": 2}}


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("name", TRANSPOSED)
@pytest.mark.parametrize("place", ["first", "later"])
@pytest.mark.parametrize("method", ["z", "epsilon", "z+", "deep_taylor", "deeplift", "guided_backprop", "deconvnet"])
def test_a_transposed_convolution_is_the_dense_layer_of_its_matrix(method, place, name, bias):
    x = rand(3, 2, 6, 6)
    up = build(lambda: nn.ConvTranspose2d(2, 4, 3, bias=bias, **TRANSPOSED[name]), seed=5)
    with torch.no_grad():
        offset = up(torch.zeros(1, 2, 6, 6).double()).flatten()
        matrix = dense(lambda z: up(z) - up(torch.zeros_like(z)))
    head = build(lambda: nn.Linear(matrix.shape[1], 3), seed=6)
    same = linear(matrix, offset if bias else None)
    start = []
    if place == "later":
        start = [build(lambda: nn.Conv2d(2, 2, 3, padding=1), seed=7), nn.ReLU()]
    model = nn.Sequential(*start, up, nn.ReLU(), nn.Flatten(), head).eval()
    twin = nn.Sequential(*start, nn.Flatten(), same, nn.ReLU(), head).eval()
    assert torch.allclose(model(x), twin(x))
    if method in ("z", "epsilon", "z+"):
        f = functools.partial(attribution.lrp, rule=method, epsilon=0.1)
    else:
        f = attribution.METHODS[method]
    assert close(f(model, x, 1), f(twin, x, 1))


NONLINEAR = {
    "abs": lambda z: z.abs(), "sort": lambda z: z.sort(3).values, "pow": lambda z: z.pow(3),
    "softmax": lambda z: z.softmax(3), "clamp": lambda z: z.clamp(min=-0.1),
}


@pytest.mark.parametrize("method", ["guided_backprop", "deconvnet"])
@pytest.mark.parametrize("name", NONLINEAR)
@pytest.mark.parametrize("style", ["method", "before the first layer"])
def test_what_the_papers_do_not_define_is_refused_by_name(name, method, style):
    first, head = build(lambda: nn.Conv2d(2, 2, 3, padding=1)), build(lambda: nn.Linear(72, 3))
    if style == "method":
        model = Call(lambda z: head(NONLINEAR[name](first(z)).relu().flatten(1)))
    else:
        model = Call(lambda z: head(first(NONLINEAR[name](z - 0.5)).relu().flatten(1)))
    with pytest.raises(ValueError, match=f"(?i){name}"):
        attribution.METHODS[method](model, rand(2, 2, 6, 6), 1)


@pytest.mark.parametrize("spelling", [lambda z: torch.clamp(z, -0.1), lambda z: z.clamp_min(-0.1), lambda z: z**2,
                                      lambda z: torch.pow(z, 2.0), lambda z: z.square(), lambda z: F.softmax(z, 1),
                                      lambda z: torch.maximum(z, -z), lambda z: z * z, lambda z: z.exp(),
                                      lambda z: z.amax(3), lambda z: z / (1 + z.abs()), lambda z: z.norm(dim=3),
                                      lambda z: torch.abs_(z * 1), lambda z: z.cumprod(3), lambda z: z.std(3),
                                      lambda z: z.median(3).values, lambda z: z.logsumexp(3), lambda z: z.round() + z])
def test_other_spellings_of_what_is_not_linear_are_refused(spelling):
    first = build(lambda: nn.Conv2d(2, 2, 3, padding=1))
    n = spelling(rand(1, 2, 6, 6)).flatten(1).shape[1]
    head = build(lambda: nn.Linear(n, 3))
    for method in (attribution.guided_backprop, attribution.deconvnet):
        with pytest.raises(ValueError) as caught:
            method(Call(lambda z: head(spelling(first(z)).flatten(1))), rand(2, 2, 6, 6), 1)
        assert len(str(caught.value)) > 30


# Element-wise functions

ELEMENTWISE = {
    "sigmoid": torch.sigmoid, "tanh": torch.tanh, "gelu": F.gelu,
    "gelu of tanh": functools.partial(F.gelu, approximate="tanh"),
    "silu": F.silu, "mish": F.mish, "elu": F.elu, "celu": functools.partial(F.celu, alpha=0.7), "selu": F.selu,
    "softplus": F.softplus, "softsign": F.softsign, "logsigmoid": F.logsigmoid, "tanhshrink": F.tanhshrink,
    "hardswish": F.hardswish, "hardsigmoid": F.hardsigmoid,
    "hardtanh": functools.partial(F.hardtanh, min_val=-0.2, max_val=0.3),
    "relu6": F.relu6, "leaky": F.leaky_relu, "softshrink": functools.partial(F.softshrink, lambd=0.1),
    "hardshrink": functools.partial(F.hardshrink, lambd=0.1), "threshold": lambda z: F.threshold(z, 0.1, 0.0),
    "rrelu": functools.partial(F.rrelu, training=False),
    "prelu": lambda z: F.prelu(z, torch.full((4,), 0.2, dtype=z.dtype)),
    "abs": torch.abs, "exp": torch.exp, "sin": torch.sin, "erf": torch.erf, "square": torch.square,
    "pow": lambda z: z**3,
    "sqrt": lambda z: (z + 9).sqrt(), "log": lambda z: (z + 9).log(), "reciprocal": lambda z: 1 / (z + 9),
    "clamp": lambda z: z.clamp(-0.1, 0.4), "atan": torch.atan, "rsqrt": lambda z: (z + 9).rsqrt(),
    "log1p": lambda z: (z + 9).log1p(),
    "expm1": torch.expm1, "maximum with a constant": lambda z: z.clamp(min=0.05),
}  # fmt: skip


def around(function):
    first, second = build(lambda: nn.Conv2d(2, 4, 3, padding=1), seed=1), build(lambda: nn.Linear(144, 3), seed=2)
    return first, second, Call(lambda z: second(function(first(z)).flatten(1)), first=first, second=second)


@pytest.mark.parametrize("name", ELEMENTWISE)
@pytest.mark.parametrize("baseline", [0.0, 0.4])
def test_deeplift_is_rescale_and_complete_through_every_element_wise_function(name, baseline):
    function, x = ELEMENTWISE[name], rand(3, 2, 6, 6)
    first, second, model = around(function)
    x0 = torch.full_like(x, baseline)
    got = attribution.deeplift(model, x, 1, baseline=baseline)
    assert torch.allclose(got.flatten(1).sum(1), (model(x) - model(x0))[:, 1], atol=1e-9)
    a, b = first(x), first(x0)
    multiplier = second.weight[1].view(1, 4, 6, 6) * (function(a) - function(b)) / (a - b)
    assert close(got, (x - x0) * F.conv_transpose2d(multiplier, first.weight, padding=1))


@pytest.mark.parametrize("name", ELEMENTWISE)
def test_lrp_passes_relevance_through_every_element_wise_function(name):
    function, x = ELEMENTWISE[name], rand(3, 2, 6, 6)
    first, second, model = around(function)
    a = first(x)
    r = second.weight[1].view(1, 4, 6, 6) * function(a)
    if name in ("sqrt", "log", "reciprocal", "rsqrt", "log1p"):     # the constant 9 keeps its share under z
        bias = 9 * torch.ones_like(a)
    else:
        bias = torch.zeros_like(a)
    want = x * F.conv_transpose2d(r / (a + bias), first.weight, padding=1)
    assert close(attribution.lrp(model, x, 1), want)
    epsilon = 0.01
    if name in ("sqrt", "log", "reciprocal", "rsqrt", "log1p"):
        return
    out = model(x)[:, 1]
    stable = out / (out + epsilon * torch.where(out >= 0, 1.0, -1.0))
    s = r * stable.view(-1, 1, 1, 1) / (a + epsilon * torch.where(a >= 0, 1.0, -1.0))
    want = x * F.conv_transpose2d(s, first.weight, padding=1)
    assert close(attribution.lrp(model, x, 1, rule="epsilon", epsilon=epsilon), want)


@pytest.mark.parametrize("name", ["sigmoid", "gelu", "silu", "tanh", "hardswish", "exp", "square", "abs"])
def test_lrp_epsilon_before_convolution_and_batch_norm_is_that_of_the_folded_model(name):
    function, x = ELEMENTWISE[name], rand(2, 2, 6, 6)
    first, second, norm, head = (
        build(make, seed=3) for make in (lambda: nn.Conv2d(2, 4, 3), lambda: nn.Conv2d(4, 4, 3),
                                         lambda: nn.BatchNorm2d(4), lambda: nn.Linear(16, 3)))
    norm.running_mean.copy_(rand(4, seed=1))
    norm.running_var.copy_(rand(4, seed=2) + 0.5)
    norm.weight.data = rand(4, seed=3) + 0.5
    norm.bias.data = rand(4, seed=4) + 3
    scale = norm.weight / (norm.running_var + norm.eps).sqrt()
    folded = build(lambda: nn.Conv2d(4, 4, 3), seed=3)
    folded.weight.data = second.weight.data * scale.detach().view(-1, 1, 1, 1)
    folded.bias.data = ((second.bias - norm.running_mean) * scale + norm.bias).detach()
    model = Call(lambda z: head(norm(second(function(first(z)))).relu().flatten(1)))
    twin = Call(lambda z: head(folded(function(first(z))).relu().flatten(1)))
    assert torch.allclose(model(x), twin(x))
    for epsilon in (1e-6, 0.05):
        a, b = (attribution.lrp(m, x, 1, rule="epsilon", epsilon=epsilon) for m in (model, twin))
        assert close(a, b)
    first_a = first(x)
    a = function(first_a)
    hidden = folded(a)
    epsilon = 1e-6

    def back(layer, values, r):
        out = layer(values)
        s = r / (out + epsilon * torch.where(out >= 0, 1.0, -1.0))
        return values * torch.autograd.functional.vjp(layer, values, s)[1]

    r = torch.zeros(2, 3, dtype=torch.float64)
    r[:, 1] = model(x)[:, 1]
    r = back(head, hidden.relu().flatten(1), r).view_as(hidden)
    want = back(first, x, back(folded, a, r))
    assert close(attribution.lrp(model, x, 1, rule="epsilon", epsilon=epsilon), want)


# Products, norms, pools

GATES = {"sigmoid": torch.sigmoid, "tanh": torch.tanh, "nothing": lambda z: z, "silu": F.silu}


@pytest.mark.parametrize("name", GATES)
@pytest.mark.parametrize(
    "spelling", [lambda a, b: a * b, torch.mul, lambda a, b: b.mul(a), lambda a, b: b.clone().mul_(a)]
)
def test_a_product_of_two_traced_values_gives_half_to_each(name, spelling):
    gate, x = GATES[name], rand(3, 2, 6, 6)
    left, right = (build(lambda: nn.Conv2d(2, 4, 3, bias=False), seed=s) for s in (1, 2))
    head = build(lambda: nn.Linear(64, 3, bias=False), seed=3)
    model = Call(lambda z: head(spelling(left(z), gate(right(z))).flatten(1)))
    a, b = left(x), right(x)
    r = head.weight[1].view(1, 4, 4, 4) * a * gate(b)
    want = x * sum(F.conv_transpose2d(0.5 * r / v, w.weight) for v, w in ((a, left), (b, right)))
    got = attribution.lrp(model, x, 1)
    assert close(got, want)
    assert torch.allclose(got.flatten(1).sum(1), model(x)[:, 1])
    assert close(attribution.lrp(model, x, 1, rule="epsilon", epsilon=1e-13), want, 1e-5)


@pytest.mark.parametrize("spelling", [lambda a, b: a * b, lambda a, b: b * a, lambda a, b: (a.flatten(1, 2) @ b.expand(
    len(a), 4, 4).contiguous()).unflatten(1, (4, 4))])
def test_what_a_model_makes_of_its_weights_is_a_constant(spelling):
    """It has a history, but not that of x: no relevance goes there."""
    x, weight = rand(3, 2, 6, 6), nn.Parameter(normal(4, 4, seed=9))
    first, head = build(lambda: nn.Conv2d(2, 4, 3, bias=False), seed=1), build(lambda: nn.Linear(64, 3), seed=3)
    constant = (weight.exp() + 1).detach()
    made, given = (Call(lambda z, make=make: head(spelling(first(z), make()).flatten(1)))
                   for make in (lambda: weight.exp() + 1, lambda: constant))
    for rule in ("z", "epsilon"):
        assert torch.equal(attribution.lrp(made, x, 1, rule=rule), attribution.lrp(given, x, 1, rule=rule))
    assert close(attribution.lrp(made, x, 1), x * truth(made, x))


@pytest.mark.parametrize("baseline", [0.0, 0.3])
@pytest.mark.parametrize("form", ["gate", "squeeze", "square", "three", "matmul", "einsum", "division", "bilinear"])
def test_deeplift_is_complete_through_products(form, baseline):
    x = rand(3, 2, 6, 6)
    left, right = (build(lambda: nn.Conv2d(2, 4, 3), seed=s) for s in (1, 2))
    forms = {
        "gate": lambda z: left(z) * right(z).sigmoid(),
        "squeeze": lambda z: left(z) * right(z).mean((2, 3), keepdim=True).tanh(),
        "square": lambda z: left(z) * left(z),
        "three": lambda z: left(z) * right(z).sigmoid() * z[:, :1, 1:5, 1:5],
        "matmul": lambda z: left(z) @ right(z),
        "einsum": lambda z: torch.einsum("ncij,ncjk->ncik", left(z), right(z)),
        "division": lambda z: left(z) / (right(z).exp() + 1),
        "bilinear": lambda z: (left(z).flatten(2) @ right(z).flatten(2).transpose(1, 2)),
    }
    body = forms[form]
    head = build(lambda: nn.Linear(body(x).flatten(1).shape[1], 3), seed=3)
    model = Call(lambda z: head(body(z).flatten(1)))
    change = (model(x) - model(torch.full_like(x, baseline)))[:, 1]
    try:
        got = attribution.deeplift(model, x, 1, baseline=baseline)
    except ValueError as error:
        assert form in ("matmul", "einsum", "bilinear", "division"), error
        assert len(str(error)) > 30
        return
    assert torch.allclose(got.flatten(1).sum(1), change, atol=1e-9)


NORMS = {
    "layer norm": lambda: nn.LayerNorm((4, 4, 4)), "layer norm of the last": lambda: nn.LayerNorm(4),
    "group norm": lambda: nn.GroupNorm(2, 4), "group norm of one": lambda: nn.GroupNorm(1, 4),
    "without weights": lambda: nn.LayerNorm((4, 4), elementwise_affine=False),
    "instance norm": lambda: nn.GroupNorm(4, 4),
}


def normed(name):
    first, norm = build(lambda: nn.Conv2d(2, 4, 3), seed=1), build(NORMS[name])
    head = build(lambda: nn.Linear(64, 3), seed=3)
    for i, p in enumerate(norm.parameters()):
        p.data = rand(*p.shape, seed=i) + 0.5
    return first, norm, head, Call(lambda z: head(norm(first(z)).relu().flatten(1)))


@pytest.mark.parametrize("name", NORMS)
@pytest.mark.parametrize("baseline", [0.0, 0.3])
def test_deeplift_is_complete_through_norms(name, baseline):
    x = rand(3, 2, 6, 6)
    if baseline:
        x0 = rand(2, 6, 6, seed=9)
    else:
        x0 = torch.zeros(2, 6, 6).double()
        x0 += 0.01 * rand(2, 6, 6, seed=8)
    model = normed(name)[3]
    got = attribution.deeplift(model, x, 1, baseline=x0)
    assert torch.allclose(got.flatten(1).sum(1), (model(x) - model(x0.expand_as(x)))[:, 1], atol=1e-9)


@pytest.mark.parametrize("name", NORMS)
def test_lrp_takes_the_deviation_of_a_norm_as_constant(name):
    first, norm, head, model = normed(name)
    x = rand(3, 2, 6, 6)
    if isinstance(norm, nn.LayerNorm):
        dims = tuple(range(-len(norm.normalized_shape), 0))
        frozen = (first(x).var(dims, unbiased=False, keepdim=True) + norm.eps).sqrt().detach()
        weight, bias = (norm.weight, norm.bias) if norm.weight is not None else (1.0, 0.0)
        still = lambda a: (a - a.mean(dims, keepdim=True)) / frozen * weight + bias  # noqa: E731
    else:
        grouped = lambda a: a.reshape(len(a), norm.num_groups, -1)  # noqa: E731
        frozen = (grouped(first(x)).var(2, unbiased=False, keepdim=True) + norm.eps).sqrt().detach()
        still = lambda a: (  # noqa: E731
            ((grouped(a) - grouped(a).mean(2, keepdim=True)) / frozen).view_as(a)
            * norm.weight.view(1, -1, 1, 1) + norm.bias.view(1, -1, 1, 1))
    twin = Call(lambda z: head(still(first(z)).relu().flatten(1)))
    assert torch.allclose(twin(x), model(x))
    assert close(attribution.lrp(model, x, 1), x * truth(twin, x))


POOLS = {1: (nn.Conv1d, nn.MaxPool1d, F.max_pool1d, (14,)), 2: (nn.Conv2d, nn.MaxPool2d, F.max_pool2d, (8, 8)),
         3: (nn.Conv3d, nn.MaxPool3d, F.max_pool3d, (6, 6, 6))}


@pytest.mark.parametrize("settings", [(2, 2, 0), (3, 2, 1), (3, 1, 0)])
@pytest.mark.parametrize("d", [1, 2, 3])
def test_max_pools_of_every_dimension_are_complete_and_winner_takes_all(d, settings):
    conv, pool, function, shape = POOLS[d]
    x = rand(2, 2, *shape)
    first = build(lambda: conv(2, 4, 3), seed=1)
    k, s, p = settings
    body = Call(lambda z: function(first(z), k, s, p))
    head = build(lambda: nn.Linear(body(x).flatten(1).shape[1], 3), seed=3)
    module = nn.Sequential(first, pool(k, s, p), nn.Flatten(), head).eval()
    for model in (Call(lambda z: head(body(z).flatten(1))), module):
        for baseline in (0.0, rand(2, *shape, seed=5)):
            x0 = torch.zeros_like(x) + baseline
            got = attribution.deeplift(model, x, 1, baseline=baseline)
            assert torch.allclose(got.flatten(1).sum(1), (model(x) - model(x0))[:, 1], atol=1e-9)
        assert close(attribution.lrp(model, x, 1), x * truth(model, x))
        for rule in ("epsilon", "z+"):
            assert bool(attribution.lrp(model, x, 1, rule=rule).isfinite().all())
    hard = nn.Sequential(first, nn.ReLU(), pool(k, s, p), nn.Flatten(), head).eval()
    assert bool(attribution.guided_backprop(hard, x, 1).isfinite().all())


@pytest.mark.parametrize("rule", ["z", "epsilon", "z+"])
@pytest.mark.parametrize("operand", ["weights made from x", "softmax of a second branch", "sort of a second branch"])
def test_a_second_operand_that_depends_on_x_is_not_taken_for_a_constant(operand, rule):
    x, k = rand(3, 2, 6, 6), build(lambda: nn.Linear(72, 32), seed=1)
    first, head = build(lambda: nn.Conv2d(2, 4, 3), seed=2), build(lambda: nn.Linear(64, 3), seed=3)
    if operand == "weights made from x":
        weights = lambda z: k(z.flatten(1)).relu().view(-1, 8, 4)  # noqa: E731
        model = Call(lambda z: torch.einsum("nd,ndk->nk", first(z).flatten(1)[:, :8], weights(z)))
    elif operand == "softmax of a second branch":
        model = Call(lambda z: head((first(z) + z[:, :1, 1:5, 1:5].softmax(3)).flatten(1)))
    else:
        model = Call(lambda z: head((first(z) + z[:, :1, 1:5, 1:5].sort(3).values).flatten(1)))
    try:
        got = attribution.lrp(model, x, 1, rule=rule)
    except ValueError as error:
        assert len(str(error)) > 30
        return
    assert operand == "weights made from x" or rule == "z"
    if operand == "weights made from x":
        alone = Call(lambda z: torch.einsum("nd,ndk->nk", first(z).flatten(1)[:, :8], weights(x)))
        assert not torch.allclose(got, attribution.lrp(alone, x, 1, rule=rule))


# torchvision's families

FAMILIES = ["resnet18", "densenet121", "mobilenet_v3_small", "efficientnet_b0", "convnext_tiny", "regnet_y_400mf",
            "shufflenet_v2_x0_5", "squeezenet1_1", "vgg11_bn", "mnasnet0_5"]


@functools.cache
def family(name):
    models = pytest.importorskip("torchvision.models")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = models.get_model(name, weights=None, num_classes=10).double().eval()
        if name == "vgg11_bn":
            model.avgpool = nn.AdaptiveAvgPool2d(7).eval()
        x = torch.rand(2, 3, 64, 64, dtype=torch.float64)
        norms = [m for m in model.modules() if isinstance(m, nn.BatchNorm2d)]
        for m in norms:     # statistics of noise, so that the signal does not die in random weights
            m.train()
            m.momentum = None
        with torch.no_grad():
            model(torch.rand(8, 3, 64, 64, dtype=torch.float64))
        for m in norms:
            m.eval()
        for p in model.parameters():
            p.requires_grad_(False)
    return model, x


@pytest.mark.slow
@pytest.mark.parametrize("name", FAMILIES)
def test_gradient_methods_take_every_family(name):
    model, x = family(name)
    g = truth(model, x)
    assert close(attribution.gradient(model, x, 1), g)
    want = sum(truth(model, (k + 0.5) / 2 * x) for k in range(2)) * x / 2
    assert close(attribution.integrated_gradients(model, x, 1, steps=2), want)


@pytest.mark.slow
@pytest.mark.parametrize("name", FAMILIES)
def test_deeplift_is_complete_on_every_family_or_refuses_by_name(name):
    model, x = family(name)
    change = (model(x) - model(torch.zeros_like(x)))[:, 1]
    try:
        got = attribution.deeplift(model, x, 1)
    except ValueError as error:
        pytest.skip(f"refused: {error}")
    relative = (got.flatten(1).sum(1) - change).abs() / change.abs()
    assert float(relative.max()) < 1e-3


@pytest.mark.slow
@pytest.mark.parametrize("rule", ["z", "epsilon"])
@pytest.mark.parametrize("name", FAMILIES)
def test_lrp_takes_every_family_or_refuses_by_name(name, rule):
    model, x = family(name)
    try:
        got = attribution.lrp(model, x, 1, rule=rule)
    except ValueError as error:
        pytest.skip(f"refused: {error}")
    assert got.shape == x.shape
    assert bool(got.isfinite().all())
    if rule == "z" and name[:6] in ("resnet", "densen", "shuffl", "squeez", "vgg11_", "mnasne"):
        assert close(got, x * truth(model, x))


@pytest.mark.parametrize("depth", [1, 3, 5, 8])
def test_deeplift_is_complete_or_refuses_where_norms_meet_a_baseline_without_deviation(depth):
    """Without biases a black image stays zero in every norm, and factors of 1 / sqrt(eps) multiply the rounding."""
    plain = functools.partial(nn.Linear, bias=False)
    model = build(lambda: nn.Sequential(nn.Flatten(), *[layer for _ in range(depth) for layer in (
        plain(20, 20), nn.LayerNorm(20, eps=1e-6), nn.GELU())], nn.Linear(20, 3)))
    x = rand(2, 1, 4, 5)
    change = (model(x) - model(torch.zeros_like(x)))[:, 1]
    try:
        got = attribution.deeplift(model, x, 1)
    except ValueError as error:
        assert len(str(error)) > 30
        return
    assert bool(((got.flatten(1).sum(1) - change).abs() < 1e-3 * change.abs()).all())


EVERYWHERE = {
    "softmax over all values": lambda z: torch.softmax(z.flatten(), 0).view_as(z),
    "a norm of all values": lambda z: z / z.norm(),
    "sums of all values": lambda z: torch.logcumsumexp(z.flatten(), 0).view_as(z),
    "standardised": lambda z: torch.nn.functional.normalize(z.flatten(), dim=0).view_as(z),
}


@pytest.mark.parametrize("method", ["deeplift", "lrp"])
@pytest.mark.parametrize("name", EVERYWHERE)
def test_a_function_of_all_values_does_not_pass_for_an_element_wise_one(name, method):
    """Values that trade places trade results there, too; but each of them changes all the results."""
    class Model(nn.Module):
        def forward(self, z):
            return EVERYWHERE[name](z).flatten(1)[:, :5]
    with pytest.raises(ValueError, match="has no rule"):
        attribution.METHODS[method](Model().eval(), torch.rand(2, 3, 4, 4, dtype=torch.float64) + 0.5, 1)
