"""Promises kept whole: attacks, decisions of one logit, layout, state, shifts, precision, ties, outputs, dimensions."""

import functools
from types import SimpleNamespace

import pytest
import torch
from torch import nn
from torch.overrides import TorchFunctionMode
from torch.utils.checkpoint import checkpoint

import fragility
from fragility import attacks, attribution, checks, metrics, removal, shift
from tests.networks import build

GRADIENTS = ("gradient", "gradient_x_input", "integrated_gradients", "smoothgrad", "smoothgrad_squared", "vargrad")
RULES = ("guided_backprop", "deconvnet", "deeplift", "lrp")


def rand(*shape, seed=0, dtype=torch.float64):
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


class Call(nn.Module):
    """A module around a function, in evaluation mode; what the function uses may be registered."""

    def __init__(self, function, **parts):
        super().__init__()
        for name, part in parts.items():
            self.add_module(name, part)
        self.function = function
        self.eval()

    def forward(self, z):
        return self.function(z)


def small(activation, channels=2, size=9, classes=4):
    """Convolution, activation, convolution, activation, linear."""
    return build(lambda: nn.Sequential(nn.Conv2d(channels, 6, 3), activation(), nn.Conv2d(6, 6, 3), activation(),
                                       nn.Flatten(), nn.Linear(6 * (size - 4) ** 2, classes)))


def method_map(name, model, x, target=None, **options):
    if name in ("smoothgrad", "smoothgrad_squared", "vargrad"):
        options = {"samples": 3, "generator": seeded(3), **options}
    if name == "integrated_gradients":
        options = {"steps": 6, **options}
    return attribution.METHODS[name](model, x, target, **options)


# Attacks


def attacked(model, x, k=15, epsilon=0.1, steps=12, **options):
    options = {"objective": attacks.TopK(k), "generator": seeded(), **options}
    return attacks.attack(model, x, epsilon=epsilon, steps=steps, **options)


def check_found_means_moved(model, x, r):
    moved = (r.x - x).flatten(1).abs().amax(1) > 0
    assert bool((moved | ~r.found).all())
    labels, after = model(x).argmax(1), model(r.x).argmax(1)
    assert bool(((labels == after) | ~r.found).all())
    return moved


def odd_tanh():
    return nn.Hardtanh(-0.2, 0.3)


PIECEWISE = {"leaky": functools.partial(nn.LeakyReLU, 0.1), "prelu": nn.PReLU, "hardtanh": odd_tanh, "relu6": nn.ReLU6,
             "hardsigmoid": nn.Hardsigmoid, "hardswish": nn.Hardswish, "rrelu": nn.RReLU,
             "threshold": lambda: nn.Threshold(0.05, 0.0), "shrink": lambda: nn.Softshrink(0.05)}


@pytest.mark.parametrize("method", ["gradient", "gradient_x_input", "smoothgrad", "integrated_gradients"])
@pytest.mark.parametrize("name", PIECEWISE)
def test_maps_of_gradients_on_piecewise_linear_networks_are_moved(name, method):
    model, x = small(PIECEWISE[name]), rand(4, 2, 9, 9)
    if name == "hardsigmoid":           # within (-3, 3) it is linear, and no map of it changes
        model[0].weight.data *= 10
    args = {"smoothgrad": {"samples": 3}, "integrated_gradients": {"steps": 5}}.get(method, {})
    r = attacked(model, x, steps=6, method=method, method_args=args)
    assert bool(check_found_means_moved(model, x, r).any())
    assert bool(r.found.any())


@pytest.mark.parametrize("curvature", ["finite-difference", "double-backprop"])
@pytest.mark.parametrize("name", ["leaky", "prelu", "hardtanh", "hardswish"])
def test_either_curvature_moves_or_refuses_by_name(name, curvature):
    model, x = small(PIECEWISE[name]), rand(3, 2, 9, 9)
    try:
        r = attacked(model, x, steps=5, method="smoothgrad", method_args={"samples": 3}, curvature=curvature)
    except ValueError as error:
        assert len(str(error)) > 30
        return
    assert bool(check_found_means_moved(model, x, r).any())


WRAPPED = {
    "lambda": lambda m, x, t: attribution.gradient(m, x, t),
    "lambda of x times gradient": lambda m, x, t: x * attribution.gradient(m, x, t),
    "lambda of smoothgrad": lambda m, x, t: attribution.smoothgrad(m, x, t, samples=3, generator=seeded(1)),
    "partial of guided": functools.partial(attribution.guided_backprop),
    "lambda of deconvnet": lambda m, x, t: attribution.deconvnet(m, x, t),
    "partial of deeplift": functools.partial(attribution.deeplift, baseline=0.5),
    "lambda of lrp epsilon": lambda m, x, t: attribution.lrp(m, x, t, rule="epsilon"),
    "partial of lrp z+": functools.partial(attribution.lrp, rule="z+"),
}


@pytest.mark.parametrize("name", WRAPPED)
@pytest.mark.parametrize("activation", ["relu", "leaky"])
def test_wrapped_methods_move_or_are_refused(name, activation):
    model, x = small({"relu": nn.ReLU, "leaky": nn.LeakyReLU}[activation]), rand(3, 2, 9, 9)
    try:
        r = attacked(model, x, steps=5, method=WRAPPED[name])
    except ValueError as error:
        assert len(str(error)) > 30
        return
    check_found_means_moved(model, x, r)


@pytest.mark.parametrize("method", ["guided_backprop", "deconvnet"])
@pytest.mark.parametrize("curvature", [None, "finite-difference", "double-backprop"])
def test_the_piecewise_constant_maps_move_or_are_refused(method, curvature):
    model, x = small(nn.ReLU), rand(4, 2, 9, 9)
    try:
        r = attacked(model, x, method=method, curvature=curvature)
    except ValueError as error:
        assert len(str(error)) > 30
        return
    check_found_means_moved(model, x, r)


def linear_classifier():
    return build(lambda: nn.Sequential(nn.Flatten(), nn.Linear(162, 4)))


@pytest.mark.parametrize("method", ["gradient", "smoothgrad", "integrated_gradients", "guided_backprop", "deeplift"])
def test_a_linear_model_whose_map_cannot_change_is_never_attacked_with_success_unmoved(method):
    model, x = linear_classifier(), rand(3, 2, 9, 9)
    try:
        r = attacked(model, x, steps=4, method=method)
    except ValueError:
        return
    check_found_means_moved(model, x, r)


@pytest.mark.parametrize("method", ["gradient", "gradient_x_input", "deconvnet", "guided_backprop", "lrp"])
def test_dead_images_do_not_stop_their_batch_and_are_not_found(method):
    model = small(nn.ReLU)
    with torch.no_grad():
        model[0].weight.abs_()
        model[0].weight /= model[0].weight.sum((1, 2, 3), keepdim=True)
        model[0].bias.fill_(-0.5)
        model[2].bias.fill_(-0.01)
    x = rand(5, 2, 9, 9)
    x[1] *= 0.2
    x[3] *= 0.1
    assert bool((attribution.gradient(model, x)[[1, 3]] == 0).all())
    try:
        r = attacked(model, x, epsilon=0.05, method=method)
    except ValueError:
        assert method in ("deconvnet", "guided_backprop")
        return
    assert not bool(r.found[[1, 3]].any())
    check_found_means_moved(model, x, r)
    if method in ("gradient", "gradient_x_input", "lrp"):
        assert bool(r.found[[0, 2, 4]].any())


@pytest.mark.parametrize("size", [14, 18])
@pytest.mark.parametrize("activation", [nn.ReLU, nn.LeakyReLU])
def test_lrp_z_is_attacked_as_gradient_x_input(size, activation):
    model, x = small(activation, size=size), rand(6, 2, size, size)
    if activation is nn.ReLU:
        assert torch.allclose(attribution.lrp(model, x), attribution.gradient_x_input(model, x))
    else:
        model = small(nn.ReLU, size=size)
        model[0].bias.data += 0.1
    left = []
    for method in ("lrp", "gradient_x_input", functools.partial(attribution.lrp, rule="z")):
        r = attacked(model, x, k=30, epsilon=0.05, steps=10, method=method)
        maps = [attribution.pixel_map(attribution.gradient_x_input(model, z, model(x).argmax(1))) for z in (x, r.x)]
        left.append(metrics.topk_intersection(*maps, 30).mean().item())
    assert max(left) - min(left) < 0.06
    assert max(left) < 0.95


def test_a_partial_of_a_method_is_still_it_in_an_attack():
    model, x = small(nn.ReLU), rand(4, 2, 9, 9)
    for method, args in (("gradient", {}), ("integrated_gradients", {"steps": 4}), ("smoothgrad", {"samples": 3})):
        a = attacked(model, x, steps=5, method=method, method_args=args)
        b = attacked(model, x, steps=5, method=functools.partial(attribution.METHODS[method], **args))
        assert torch.equal(a.x, b.x), method


@pytest.mark.parametrize(("steps", "size"), [(1, 0.08), (3, 0.08 / 3), (8, 0.01), (16, 0.005), (20, 0.005)])
def test_the_default_step_is_the_larger_of_a_sixteenth_and_a_share_of_the_radius(steps, size):
    model, x = small(nn.ReLU), rand(3, 2, 9, 9)
    a, b = (attacked(model, x, epsilon=0.08, steps=steps, step_size=s) for s in (None, size))
    assert torch.allclose(a.x, b.x, atol=1e-12, rtol=0)


@pytest.mark.parametrize(
    ("method", "args"),
    [("gradient", {}), ("gradient_x_input", {}), ("integrated_gradients", {"steps": 4}), ("smoothgrad", {"samples": 3}),
     ("deeplift", {}), ("lrp", {"rule": "epsilon"})],
)
def test_a_chunk_does_not_change_an_attack(method, args):
    model, x = small(nn.ReLU), rand(5, 2, 9, 9)
    whole = attacked(model, x, steps=4, method=method, method_args=args)
    for chunk in (1, 2, 5, 7):
        part = attacked(model, x, steps=4, method=method, method_args=args, chunk=chunk)
        assert torch.allclose(part.x, whole.x, atol=1e-9), chunk
        assert torch.equal(part.found, whole.found)
        assert torch.allclose(part.objective, whole.objective, atol=1e-9)


# A single logit


def one_logit():
    return build(lambda: nn.Sequential(nn.Conv2d(2, 5, 3), nn.ReLU(), nn.Flatten(), nn.Linear(245, 1)), seed=4)


def two_logits(one):
    return Call(lambda z: (lambda out: torch.cat([-out, out], 1))(one(z)))


@pytest.mark.parametrize("method", [*GRADIENTS, "deeplift", "lrp", "guided_backprop"])
@pytest.mark.parametrize("target", [None, 0, 1, torch.tensor([0, 1, 1, 0])])
def test_one_logit_is_explained_as_its_twin_of_two(method, target):
    one, x = one_logit(), rand(4, 2, 9, 9)
    with torch.no_grad():
        one[3].bias -= one(x).median()
    label = (one(x) > 0).squeeze(1).long()
    assert 0 < int(label.sum()) < 4
    if method == "guided_backprop":
        plus = method_map(method, one, x, 1)
        t = label if target is None else torch.as_tensor(target).expand(4)
        got = method_map(method, one, x, target)
        assert torch.allclose(got[t == 1], plus[t == 1])
        return
    want = method_map(method, two_logits(one), x, label if target is None else target)
    assert torch.allclose(method_map(method, one, x, target), want, atol=1e-10)


def test_the_relevance_of_one_logit_has_its_sign():
    w, x = torch.randn(36, 1, generator=seeded(1), dtype=torch.float64), rand(3, 1, 6, 6)
    model = Call(lambda z: z.flatten(1) @ w)
    for method in ("gradient_x_input", "lrp", "deeplift", "integrated_gradients"):
        for target, sign in ((1, 1), (0, -1)):
            got = attribution.METHODS[method](model, x, target)
            assert torch.allclose(got, sign * x * w.view(1, 1, 6, 6)), (method, target)


def test_other_targets_of_one_logit_are_refused():
    for target in (2, -1, torch.tensor([0, 2, 1, 0])):
        with pytest.raises((ValueError, IndexError)):
            attribution.gradient(one_logit(), rand(4, 2, 9, 9), target)


@pytest.mark.parametrize("method", ["gradient", "integrated_gradients", "smoothgrad", "lrp"])
def test_attacks_keep_the_decision_of_one_logit(method):
    one, x = one_logit(), rand(8, 2, 9, 9)
    with torch.no_grad():
        one[3].bias -= one(x).median() + 1e-3
    r = attacked(one, x, method=method, steps=6)
    decided = (one(x) > 0) == (one(r.x) > 0)
    assert bool((decided.squeeze(1) | ~r.found).all())
    assert bool(((r.x - x).flatten(1).abs().amax(1) > 0).any())


def test_one_logit_and_its_twin_of_two_are_attacked_alike():
    one, x = one_logit(), rand(6, 2, 9, 9)
    with torch.no_grad():
        one[3].bias -= one(x).median() + 1e-3
    a, b = attacked(one, x, steps=6), attacked(two_logits(one), x, steps=6)
    assert torch.equal(a.found, b.found)
    assert torch.allclose(a.x, b.x, atol=1e-9)


def test_shifts_take_one_logit():
    one, x = one_logit(), rand(4, 2, 9, 9)
    twin = shift.compensate(one, 0.3)
    assert float(torch.as_tensor(shift.agreement(one, twin, x, 0.3)).abs().max()) < 1e-10
    for target in (0, 1, None):
        label = (one(x) > 0).squeeze(1).long() if target is None else target
        a, b = attribution.gradient(one, x, target), attribution.gradient(twin, x + 0.3, target)
        assert torch.allclose(a, b)
        assert torch.allclose(a, attribution.gradient(two_logits(one), x, label))
        result = shift.invariance(one, x, 0.3, method="gradient", target=target)
        assert float(result.relative.max()) < 1e-9


# Layout, batches and state


class Dynamic(nn.Module):
    """A convolution whose kernels depend on the image, batch and channels viewed as one."""

    def __init__(self):
        super().__init__()
        self.kernels = nn.Parameter(torch.randn(2, 3, 3, 3))

    def forward(self, z):
        b, c, h, w = z.shape
        gate = z.mean((1, 2, 3)).view(b, 1, 1, 1, 1) * self.kernels
        out = nn.functional.conv2d(z.view(1, b * c, h, w), gate.reshape(b * 2, c, 3, 3), groups=b, padding=1)
        return out.view(b, 2, h, w).mean((2, 3))


class Strided(nn.Module):
    """Patches by as_strided: right for contiguous images only."""

    def __init__(self):
        super().__init__()
        self.conv, self.head = nn.Conv2d(3, 3, 3, padding=1), nn.Linear(48, 3)

    def forward(self, z):
        z = self.conv(z).relu().contiguous()
        b, c, h, w = z.shape
        patches = z.as_strided((b, c, 4, 4), (c * h * w, h * w, 2 * w, 2))
        return self.head(patches.flatten(1))


class Fixed(nn.Module):
    """Knows its batch of four beforehand."""

    def __init__(self):
        super().__init__()
        self.conv, self.head = nn.Conv2d(3, 4, 3), nn.Linear(144, 3)

    def forward(self, z):
        if z.shape[0] != 4:
            raise RuntimeError("a batch of four is expected")
        return self.head(self.conv(z).relu().view(4, 144))


class Flat(nn.Module):
    """Depends on the order in memory."""

    def __init__(self):
        super().__init__()
        self.conv, self.head = nn.Conv2d(3, 4, 3), nn.Linear(144, 3)

    def forward(self, z):
        out = self.conv(z)
        return self.head(out.view(out.shape[0], -1).relu())


def truth(model, x, target=1):
    z = x.clone().requires_grad_()
    return torch.autograd.grad(model(z)[:, target].sum(), z)[0]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("make", [Dynamic, Strided, Fixed, Flat])
def test_models_that_depend_on_layout_or_batch_get_their_own_gradient(make, dtype):
    model, x = build(make, dtype=dtype), rand(4, 3, 8, 8, dtype=dtype)
    want = truth(model, x)
    assert torch.allclose(attribution.gradient(model, x, 1), want, atol=1e-6)
    assert torch.allclose(attribution.gradient_x_input(model, x, 1), x * want, atol=1e-6)
    last = x.contiguous(memory_format=torch.channels_last) if make is not Dynamic else x
    assert torch.allclose(attribution.gradient(model, last, 1), want, atol=1e-6)


@pytest.mark.parametrize("make", [Dynamic, Strided, Flat])
def test_integrated_gradients_of_such_models_are_those_of_a_loop(make):
    model, x = build(make), rand(3, 3, 8, 8)
    want = sum(truth(model, (k + 0.5) / 8 * x) for k in range(8)) * x / 8
    for chunk in (None, 1, 2):
        assert torch.allclose(attribution.integrated_gradients(model, x, 1, steps=8, chunk=chunk), want)


def training_model():
    model = nn.Sequential(nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3), nn.ReLU(), nn.Flatten(), nn.Dropout(),
                          nn.Linear(147, 3))
    return model.double().train()


def functional_dropout():
    layer = nn.Linear(162, 3).double().eval()
    return lambda z: layer(nn.functional.dropout(z.flatten(1), 0.5, training=True))


WRAPS = {
    "lambda": lambda m: lambda z: m(z),
    "partial": lambda m: functools.partial(m),
    "bound method": lambda m: m.forward,
    "partial of a bound method": lambda m: functools.partial(m.forward),
    "list": lambda m: lambda z, models=(m,): models[0](z),
    "object": lambda m: SimpleNamespace(run=lambda z: m(z)).run,
}


@pytest.mark.parametrize("method", ["gradient", "integrated_gradients", "lrp", "smoothgrad", "attack", "shift", "bare"])
@pytest.mark.parametrize("wrap", WRAPS)
def test_training_mode_is_refused_whatever_wraps_it_and_no_statistic_is_touched(wrap, method):
    model, x = training_model(), rand(3, 2, 9, 9)
    before = {k: v.clone() for k, v in model.state_dict().items()}
    f = WRAPS[wrap](model)
    with pytest.raises(ValueError, match=r"(?i)train|eval"):
        if method == "attack":
            attacked(f, x, steps=2)
        elif method == "shift":
            shift.agreement(f, f, x, 0.1)
        elif method == "bare":
            attribution.gradient(f, x)
        else:
            method_map(method, f, x, 1)
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())
    assert model.training


def test_other_things_that_train_are_refused_behind_a_lambda():
    x = rand(3, 2, 9, 9)
    with pytest.raises(ValueError, match=r"(?i)train|eval"):
        attribution.gradient(functional_dropout(), x, 1)
    for layer in (nn.Dropout2d(), nn.AlphaDropout(), nn.InstanceNorm2d(2, track_running_stats=True), nn.RReLU()):
        head = nn.Linear(162, 3).double()
        layer = layer.double().train()
        with pytest.raises(ValueError, match=r"(?i)train|eval"):
            attribution.gradient(lambda z, layer=layer, head=head: head(layer(z).flatten(1)), x, 1)


IN_PLACE = {
    "sub_": lambda z: z.sub_(0.5),
    "relu_": lambda z: torch.relu_(z),
    "mul operator": lambda z: z.__imul__(2.0),
    "clamp_": lambda z: z.clamp_(0.2, 0.8),
    "copy_": lambda z: z.copy_(z * 2),
    "view": lambda z: (z.flatten(1).add_(1.0), z)[1],
    "slice": lambda z: (z[:, :1].mul_(3.0), z)[1],
    "item": lambda z: (z.__setitem__((slice(None), 0), 0.0), z)[1],
    "functional": lambda z: nn.functional.hardtanh(z, inplace=True),
    "out": lambda z: torch.add(z, 1.0, out=z) if not z.requires_grad else z + 1.0,
}


@pytest.mark.parametrize("name", IN_PLACE)
def test_first_steps_in_place_leave_the_images_alone(name):
    head, x = build(lambda: nn.Linear(162, 3)), rand(2, 2, 9, 9)
    before = x.clone()
    model = Call(lambda z: head(IN_PLACE[name](z).flatten(1)))
    want = truth(lambda z: head(IN_PLACE[name](z.clone()).flatten(1)), x)
    assert torch.allclose(attribution.gradient(model, x, 1), want)
    assert torch.allclose(attribution.gradient_x_input(model, x, 1), x * want)
    attribution.integrated_gradients(model, x, 1, steps=3)
    attribution.smoothgrad(model, x, None, samples=2, generator=seeded())
    shift.agreement(model, model, x, 0.0)
    try:
        attacked(model, x, steps=2)
    except ValueError:
        pass
    assert torch.equal(x, before)


def test_images_that_track_gradients_are_left_alone_by_first_steps_in_place():
    head, x = build(lambda: nn.Linear(162, 3)), rand(2, 2, 9, 9).requires_grad_()
    before = x.detach().clone()
    model = Call(lambda z: head(z.sub_(0.5).flatten(1)))
    got = attribution.gradient(model, x, 1)
    assert torch.allclose(got, head.weight[1].view(1, 2, 9, 9).expand(2, -1, -1, -1))
    assert torch.equal(x.detach(), before)
    assert x.grad is None


class Checkpointed(nn.Module):
    def __init__(self, on=True, norm=False):
        super().__init__()
        norm = nn.BatchNorm2d(4) if norm else nn.Identity()
        self.first = nn.Sequential(nn.Conv2d(2, 4, 3, padding=1), norm, nn.GELU())
        self.second = nn.Sequential(nn.Conv2d(4, 4, 3), nn.ReLU(), nn.MaxPool2d(2))
        self.head, self.on = nn.Linear(36, 3), on

    def forward(self, z):
        for block in (self.first, self.second):
            z = checkpoint(block, z, use_reentrant=False) if self.on else block(z)
        return self.head(z.flatten(1))


@pytest.mark.parametrize("chunk", [None, 1, 2, 3, 50])
@pytest.mark.parametrize("method", ["gradient", "gradient_x_input", "integrated_gradients", "smoothgrad", "vargrad"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_non_reentrant_checkpointing_changes_no_gradient(method, chunk, dtype):
    x = rand(5, 2, 8, 8, dtype=dtype)
    with_, without = (build(lambda on=on: Checkpointed(on, True), dtype=dtype) for on in (True, False))
    got = method_map(method, with_, x, 1, chunk=chunk)
    assert torch.allclose(got, method_map(method, without, x, 1), atol=1e-6)
    tracked = x.clone().requires_grad_()
    assert torch.allclose(method_map(method, with_, tracked, 1, chunk=chunk), got, atol=1e-6)


# Shifts


def shifted_model(channels=3):
    return build(lambda: nn.Sequential(nn.Conv2d(channels, 4, 3, padding=1, stride=2), nn.ReLU(), nn.Flatten(),
                                       nn.Linear(100, 3)))


SHAPES = {"h w": (10, 10), "c 1 1": (3, 1, 1), "c h w": (3, 10, 10), "1 h w": (1, 10, 10), "h 1": (10, 1), "w": (10,),
          "c 1 w": (3, 1, 10), "nothing": ()}


@pytest.mark.parametrize("name", SHAPES)
def test_every_shift_that_broadcasts_is_compensated_exactly(name):
    model, x, m = shifted_model(), rand(2, 3, 10, 10), rand(*SHAPES[name], seed=5)
    twin = shift.compensate(model, m)
    assert torch.allclose(twin(x + m), model(x))
    assert float(torch.as_tensor(shift.agreement(model, twin, x, m)).abs().max()) < 1e-10


@pytest.mark.parametrize("shape", [(4, 10, 10), (9, 10), (2, 1, 1)])
def test_a_shift_that_does_not_broadcast_is_refused(shape):
    with pytest.raises(ValueError):
        shift.compensate(shifted_model(), torch.zeros(shape).double())(rand(2, 3, 10, 10))


@pytest.mark.parametrize("check, value", [(checks.shift, 1.0), (checks.baseline, 1.0), (checks.baseline, rand(1, 1))])
def test_an_error_of_a_mode_around_the_model_is_not_one_of_the_shift(check, value):
    class Failing(TorchFunctionMode):
        def __torch_function__(self, function, types, args=(), kwargs=None):
            if function is torch.full or getattr(function, "__name__", "") == "to":
                raise TypeError("of the mode")
            return function(*args, **(kwargs or {}))

    with pytest.raises(TypeError, match="of the mode"), Failing():
        check(value, rand(2, 3, 10, 10))


@pytest.mark.parametrize("value", ["black", None, [[1.0], [1.0, 2.0]], {}])
def test_what_is_no_tensor_is_no_shift(value):
    with pytest.raises(ValueError, match="The shift m must be one for all images"):
        checks.shift(value, rand(2, 3, 10, 10))


@pytest.mark.parametrize("write", [lambda m: m.fill_(9.0), lambda m: m.mul_(-1), lambda m: m.data.zero_(),
                                   lambda m: m.numpy().__setitem__(0, 3.0)])
def test_the_twin_keeps_its_own_shift(write):
    model, x, m = shifted_model(), rand(2, 3, 10, 10), rand(3, 10, 10, seed=6)
    twin, first = shift.compensate(model, m), m.clone()
    write(m)
    assert torch.allclose(twin(x + first), model(x))
    write(m)
    assert torch.allclose(twin(x + first), model(x))


def test_the_twin_follows_the_weights_of_its_model():
    model, x, m = shifted_model(), rand(2, 3, 10, 10), rand(10, 10, seed=7)
    twin = shift.compensate(model, m)
    twin(x)
    with torch.no_grad():
        model[0].weight.mul_(-2)
        model[0].bias.add_(1)
    assert torch.allclose(twin(x + m), model(x))
    model[0].weight = nn.Parameter(torch.randn(4, 3, 3, 3, dtype=torch.float64, generator=seeded(2)))
    assert torch.allclose(twin(x + m), model(x))
    model.load_state_dict(build(lambda: nn.Sequential(*shifted_model()), seed=9).state_dict())
    model[3].weight.data.neg_()
    assert torch.allclose(twin(x + m), model(x))


# Precision and ties


@pytest.mark.parametrize("scale", [1.0, 100.0, 3e4, 1e-5])
@pytest.mark.parametrize("channels", [1, 3, 64])
def test_pixel_maps_of_halves_sum_to_one(scale, channels):
    m = (rand(2, channels, 112, 112) * 2 - 1).mul(scale).half()
    got = attribution.pixel_map(m)
    want = m.double().abs().sum(1)
    want /= want.sum((1, 2), keepdim=True)
    assert torch.allclose(got.double().sum((1, 2)), torch.ones(2).double(), atol=0.01)
    assert torch.allclose(got.double(), want, rtol=5e-3, atol=6e-8)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("steps", [7, 300, 1500])
def test_integrated_gradients_of_a_linear_model_in_half_precision(dtype, steps):
    w, x = torch.randn(64, 2, generator=seeded(1)).to(dtype), rand(2, 1, 8, 8).to(dtype)
    baseline = 0.25
    got = attribution.integrated_gradients(Call(lambda z: z.flatten(1) @ w), x, 1, baseline=baseline, steps=steps)
    want = (x.double() - baseline) * w[:, 1].double().view(1, 1, 8, 8)
    assert float((got.double() - want).abs().max() / want.abs().max()) < 3 * torch.finfo(dtype).eps


def test_integrated_gradients_of_squares_in_half_precision():
    x = rand(2, 1, 4, 4).half()
    model = Call(lambda z: torch.stack([z.flatten(1).square().sum(1), z.flatten(1).sum(1)], 1))
    got = attribution.integrated_gradients(model, x, 0, steps=400)
    assert torch.allclose(got.double(), x.double().square(), atol=5e-3, rtol=5e-3)


def counted(a, k):
    """Ties by a loop: sorted from the largest, lowest index first."""
    out = []
    for m in a:
        flat = m.flatten().tolist()
        order = sorted(range(len(flat)), key=lambda i: (-flat[i], i))[:k]
        out.append(sum(flat[i] == 0 for i in order))
    return torch.tensor(out)


@pytest.mark.parametrize("k", [1, 5, 20, 40, 64])
def test_ties_are_those_of_a_loop(k):
    a = rand(6, 8, 8)
    for i, zeros in enumerate((0, 1, 30, 50, 63, 64)):
        a[i].view(-1)[torch.randperm(64, generator=seeded(i))[:zeros]] = 0
    got = metrics.ties(a, k)
    assert got.dtype == torch.int64
    assert torch.equal(got, counted(a, k))


def test_ties_of_single_precision_and_of_maps_that_track_gradients():
    a = (rand(3, 6, 6) - 0.5).clamp(min=0)
    assert torch.equal(metrics.ties(a.float().requires_grad_(), 30), counted(a, 30))


@pytest.mark.parametrize("dead", ["first", "second", "both"])
def test_all_zero_maps_are_refused_by_the_overlaps(dead):
    a, b = rand(3, 8, 8), rand(3, 8, 8, seed=1)
    if dead != "second":
        a[1] = 0
    if dead != "first":
        b[1] = 0
    for measure in (lambda: metrics.topk_intersection(a, b, 5), lambda: metrics.lens_recall(a, b, 5, 3),
                    lambda: metrics.lens_recall(a, b, 2, 3, diverse=True)):
        with pytest.raises(ValueError, match="1"):
            measure()


MEASURES = {
    "topk": lambda a, b: metrics.topk_intersection(a, b, 7), "spearman": metrics.spearman, "kendall": metrics.kendall,
    "center": metrics.center_shift, "recall": lambda a, b: metrics.lens_recall(a, b, 7, 3),
    "diverse recall": lambda a, b: metrics.lens_recall(a, b, 2, 3, diverse=True),
    "precision": lambda a, b: metrics.lens_precision(a, b, 7, 3),
    "lens spearman": lambda a, b: metrics.lens_spearman(a, b, 3),
    "lens kendall": lambda a, b: metrics.lens_kendall(a, b, 3),
    "chance": lambda a, b: metrics.lens_chance(a, 7, 3), "diverse": lambda a, b: metrics.diverse_topk(a, 2, 3),
}


@pytest.mark.parametrize("name", MEASURES)
def test_metrics_do_not_mind_maps_that_track_gradients(name):
    a, b = rand(3, 8, 8), rand(3, 8, 8, seed=1)
    want = MEASURES[name](a, b)
    leaf, grown = a.clone().requires_grad_(), b.clone().requires_grad_() * 1
    for one, two in ((leaf, grown), (a, grown), (leaf, b)):
        assert torch.equal(MEASURES[name](one, two).detach(), want)


# Outputs, ranges and dimensions


OUTPUTS = {"logits": lambda out: SimpleNamespace(logits=out), "dict": lambda out: {"logits": out, "loss": None},
           "tuple": lambda out: (out,)}


@pytest.mark.parametrize("name", OUTPUTS)
@pytest.mark.parametrize("method", [*GRADIENTS, *RULES, "deep_taylor"])
def test_wrapped_logits_are_unwrapped(name, method):
    plain, x = small(nn.ReLU), rand(2, 2, 9, 9)
    model = Call(lambda z: OUTPUTS[name](plain(z)), plain=plain)
    for target in (1, None):
        assert torch.allclose(method_map(method, model, x, target), method_map(method, plain, x, target))


@pytest.mark.parametrize("name", OUTPUTS)
def test_wrapped_logits_are_unwrapped_by_attacks_and_shifts(name):
    plain, x = small(nn.ReLU), rand(3, 2, 9, 9)
    model = Call(lambda z: OUTPUTS[name](plain(z)), plain=plain)
    assert torch.equal(attacked(model, x, steps=4).x, attacked(plain, x, steps=4).x)
    twin = shift.compensate(model, 0.2)
    assert float(torch.as_tensor(shift.agreement(model, twin, x, 0.2)).abs().max()) < 1e-10


REFUSED = {
    "segmentation": lambda out: out[:, :, None, None].expand(-1, -1, 3, 3), "two": lambda out: (out, out),
    "dict of out": lambda out: {"out": out}, "detection": lambda out: [{"boxes": o, "scores": o} for o in out],
    "none": lambda out: None, "vector": lambda out: out[:, 0], "number": lambda out: out.sum(),
    "object": lambda out: SimpleNamespace(hidden=out), "integers": lambda out: out.argmax(1, keepdim=True),
}


@pytest.mark.parametrize("name", REFUSED)
@pytest.mark.parametrize("method", ["gradient", "integrated_gradients", "deeplift"])
def test_outputs_that_are_no_logits_are_refused_in_a_sentence(name, method):
    plain, x = small(nn.ReLU), rand(2, 2, 9, 9)
    for target in (1, None):
        with pytest.raises((ValueError, TypeError)) as caught:
            method_map(method, Call(lambda z: REFUSED[name](plain(z))), x, target)
        assert len(str(caught.value)) > 30


@pytest.mark.parametrize("x", [rand(2, 2, 9, 9) * 255, rand(2, 2, 9, 9) - 0.5, rand(2, 2, 9, 9) + 0.01 + 1e-3])
def test_images_outside_the_unit_range_are_refused_with_the_wrapper_named(x):
    with pytest.raises(ValueError, match="Normalised"):
        attacked(small(nn.ReLU), x, steps=2)
    with pytest.raises(ValueError, match="Normalised"):
        attacks.random_sign(x, epsilon=0.1)


@pytest.mark.parametrize("mean", [(0.4, 0.6), [0.4, 0.6], torch.tensor([0.4, 0.6])])
def test_the_normalised_wrapper_normalises(mean):
    plain, x = small(nn.ReLU), rand(2, 2, 9, 9)
    model = fragility.Normalised(plain, mean, [0.2, 0.5]).eval()
    m, s = torch.tensor([0.4, 0.6]).double().view(2, 1, 1), torch.tensor([0.2, 0.5]).double().view(2, 1, 1)
    assert torch.allclose(model(x), plain((x - m) / s), atol=1e-6)
    assert torch.allclose(attribution.gradient(model, x, 1), truth(plain, (x - m) / s) / s, atol=1e-6)
    assert torch.allclose(attribution.lrp(model, x, 1), attribution.gradient_x_input(model, x, 1), atol=1e-6)


def signal_model():
    return nn.Sequential(nn.Conv1d(2, 4, 3, padding=1), nn.ReLU(), nn.MaxPool1d(2), nn.Conv1d(4, 4, 3),
                         nn.BatchNorm1d(4), nn.ReLU(), nn.Flatten(), nn.Linear(16, 3))


def volume_model():
    return nn.Sequential(nn.Conv3d(2, 4, 3, padding=1), nn.ReLU(), nn.MaxPool3d(2), nn.Conv3d(4, 4, 2),
                         nn.BatchNorm3d(4), nn.ReLU(), nn.AdaptiveAvgPool3d(1), nn.Flatten(), nn.Linear(4, 3))


BODIES = {"signals": (signal_model, (3, 2, 12)), "volumes": (volume_model, (3, 2, 4, 6, 6))}


@pytest.mark.parametrize("name", BODIES)
@pytest.mark.parametrize("chunk", [None, 2])
def test_signals_and_volumes_are_explained(name, chunk):
    make, shape = BODIES[name]
    model, x = build(make), rand(*shape)
    g = truth(model, x)
    assert torch.allclose(attribution.gradient(model, x, 1, chunk=chunk), g)
    assert torch.allclose(attribution.lrp(model, x, 1, chunk=chunk), x * g)
    want = sum(truth(model, (k + 0.5) / 5 * x) for k in range(5)) * x / 5
    assert torch.allclose(attribution.integrated_gradients(model, x, 1, steps=5, chunk=chunk), want)
    change = (model(x) - model(torch.zeros_like(x)))[:, 1]
    assert torch.allclose(attribution.deeplift(model, x, 1, chunk=chunk).flatten(1).sum(1), change)
    for rule in ("epsilon", "z+"):
        got = attribution.lrp(model, x, 1, rule=rule, chunk=chunk)
        assert got.shape == x.shape
        assert bool(got.isfinite().all())
    smooth = attribution.smoothgrad(model, x, 1, samples=200, sigma=1e-9, generator=seeded(), chunk=chunk)
    assert torch.allclose(smooth, g, atol=1e-5)


@pytest.mark.parametrize("name", BODIES)
@pytest.mark.parametrize("mode", ["remove", "keep"])
@pytest.mark.parametrize("unit", ["pixel", "value"])
def test_signals_and_volumes_are_degraded(name, mode, unit):
    x = rand(*BODIES[name][1])
    scores = rand(*BODIES[name][1], seed=8)
    got = removal.degrade(x, scores, 0.25, mode=mode, fill=0.7, unit=unit)
    if unit == "value":
        ranked = scores.flatten(1)
    else:
        ranked = scores.sum(1).flatten(1)
    count = round(0.25 * ranked.shape[1])
    top = torch.zeros_like(ranked, dtype=torch.bool).scatter_(1, ranked.topk(count).indices, True)
    top = top.view_as(x) if unit == "value" else top.view(x.shape[0], 1, *x.shape[2:]).expand_as(x)
    gone = top if mode == "remove" else ~top
    if unit == "value":
        assert torch.equal(got, torch.where(gone, torch.tensor(0.7, dtype=x.dtype), x))
    changed = got != x
    assert torch.equal(changed.flatten(1).sum(1), gone.flatten(1).sum(1))
    mean = removal.degrade(x, scores, 0.25, mode=mode, unit=unit)
    means = x.flatten(2).mean(2).view(*x.shape[:2], *[1] * (x.ndim - 2))
    assert torch.allclose(mean, torch.where(changed, means.expand_as(x), x))
