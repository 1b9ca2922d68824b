"""fragility.attribution: gradients, paths, noise ensembles and controls; what holds for every method."""

import warnings

import captum.attr
import pytest
import torch
from torch import nn

from fragility import attribution, passes
from tests import networks
from tests.networks import OF_ATTENTION, SMALL, Transformer, build, images
from tests.oracles import maps as oracle

CONTROLS = ("sobel", "random")
MODEL_METHODS = sorted(set(attribution.METHODS) - set(CONTROLS))
ENSEMBLE = attribution.NoiseEnsembles._fields
EXACT = [name for name in MODEL_METHODS if not networks.options(name, generator=None)]
WRITTEN_DOWN = {"gradient": oracle.gradient, "gradient_x_input": oracle.gradient_x_input,
                "integrated_gradients": oracle.integrated_gradients}
TARGETS = {"predicted": None, "one class": 3, "a class each": torch.tensor([4, 0, 2])}


def close(actual, expected, tolerance=1e-9):
    scale = float(expected.detach().abs().max()) or 1.0
    torch.testing.assert_close(actual, expected, rtol=tolerance, atol=tolerance * scale)


def smooth(seed=0):
    return build(lambda: SMALL["plain"](nn.Softplus), seed)


def quiet(explain, *arguments, **keywords):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return explain(*arguments, **keywords)


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def apply(name, model, x, target=None, **keywords):
    """A method by name; the noisy ones with a generator of their own."""
    return getattr(attribution, name)(model, x, target, **networks.options(name, generator=seeded()), **keywords)


class Quadratic(nn.Module):
    """S_l = 1/2 sum_i a_li x_i^2 + b_l . x: its gradient is linear, so the mid-point rule is exact."""

    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Parameter(torch.randn(5, 192)), nn.Parameter(torch.randn(5, 192))

    def forward(self, x):
        x = x.flatten(1)
        return x.square() @ self.a.T / 2 + x @ self.b.T


class Recorder(nn.Module):
    """Notes how many samples each forward pass gets."""

    def __init__(self, inner):
        super().__init__()
        self.inner, self.sizes = inner, []

    def forward(self, x):
        self.sizes.append(len(x))
        return self.inner(x)


# --------------------------------------------------------------------------------- against the equations
def test_the_table_of_methods():
    needed = {
        "gradient",
        "gradient_x_input",
        "integrated_gradients",
        "guided_backprop",
        "deconvnet",
        "deeplift",
        "lrp",
        "deep_taylor",
        "attn_lrp",
        "occlusion",
        "grad_cam",
        *OF_ATTENTION,
        *ENSEMBLE,
    }
    assert needed <= set(attribution.METHODS)
    assert not {"pattern_net", "pattern_attribution", "fit_patterns", "pixel_map"} & set(attribution.METHODS)


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("net", SMALL)
@pytest.mark.parametrize("name", WRITTEN_DOWN)
def test_map_is_the_equation(name, net, target):
    model, x, extra = build(SMALL[net]), images(), {"steps": 6} if name == "integrated_gradients" else {}
    close(getattr(attribution, name)(model, x, TARGETS[target], **extra),
          WRITTEN_DOWN[name](model, x, TARGETS[target], **extra))


def test_integrated_gradients_has_fifty_steps_from_zero():
    model, x = build(SMALL["plain"]), images()
    close(
        attribution.integrated_gradients(model, x),
        oracle.integrated_gradients(model, x, baseline=0.0, steps=50),
    )


@pytest.mark.parametrize(
    "baseline", [0.5, images(3, seed=9), images(1, seed=9)], ids=["number", "an image each", "one image"]
)
def test_integrated_gradients_baseline(baseline):
    model, x = build(SMALL["plain"]), images()
    close(attribution.integrated_gradients(model, x, 1, baseline=baseline, steps=5),
          oracle.integrated_gradients(model, x, 1, baseline=baseline, steps=5))


@pytest.mark.parametrize("steps", [1, 2, 7])
def test_mid_point_rule_is_exact_for_a_linear_gradient(steps):
    model, x, x0 = build(Quadratic), images(), images(seed=4)
    total = attribution.integrated_gradients(model, x, 2, baseline=x0, steps=steps).flatten(1).sum(1)
    close(total, (model(x) - model(x0))[:, 2].detach())


def test_integrated_gradients_is_complete():
    model, x = smooth(), images()
    errors = []
    for steps in (25, 100):
        total = attribution.integrated_gradients(model, x, 2, steps=steps).flatten(1).sum(1)
        errors.append((total - (model(x) - model(0 * x))[:, 2]).detach().abs().max())
    assert (
        errors[1] < 1e-6 and errors[1] < errors[0] / 8
    )  # second order: four times the steps, 1/16 the error


@pytest.mark.parametrize("name", ["integrated_gradients", *ENSEMBLE])
def test_the_class_is_the_one_predicted_on_x_itself(name):
    model, x = build(SMALL["mlp"]), images(6)
    x = 0.4 + 0.1 * x
    with torch.no_grad():                                          # one class wins on x, another at 0.3 x
        here, there = model(x).mean(0), model(0.3 * x).mean(0)
        rivals = torch.stack([(here - there).argmax(), (here - there).argmin()])
        middle = (here + there)[rivals] / 2
        model[-1].bias -= 10
        model[-1].bias[rivals] += 10 - middle
        predicted, elsewhere = model(x).argmax(1), model(0.3 * x).argmax(1)
    assert (predicted == rivals[0]).all() and (elsewhere == rivals[1]).all()
    extra = {} if name == "integrated_gradients" else {"sigma": 1.0}
    close(apply(name, model, x, None, **extra), apply(name, model, x, predicted, **extra), 1e-12)


@pytest.mark.parametrize("net", SMALL)
def test_captum_agrees(net):
    model, x, target = build(SMALL[net]), images(), torch.tensor([4, 0, 2])
    saliency = quiet(captum.attr.Saliency(model).attribute, x.clone(), target=target, abs=False)
    close(attribution.gradient(model, x, target), saliency.detach())
    path = quiet(
        captum.attr.IntegratedGradients(model).attribute,
        x.clone(),
        baselines=0.25,
        target=target,
        n_steps=8,
        method="riemann_middle",
    )
    close(attribution.integrated_gradients(model, x, target, baseline=0.25, steps=8), path.detach())


@pytest.mark.parametrize("style", networks.RELU_STYLES)
def test_plain_gradients_take_any_relu(style):
    model, reference, x = networks.styled(networks.RELU_STYLES[style]), networks.styled(torch.relu), images()
    close(attribution.gradient(model, x, 1), oracle.gradient(reference, x, 1))
    close(
        attribution.integrated_gradients(model, x, 1, steps=3),
        oracle.integrated_gradients(reference, x, 1, steps=3),
    )


@pytest.mark.parametrize("leak", [*sorted(set(networks.leaks()) - {"batch statistics"}), "checkpoint"])
def test_plain_gradients_need_no_rules(leak):
    middle = networks.checkpointed if leak == "checkpoint" else networks.leaks()[leak][0]
    model, x = networks.styled(middle), images()
    close(attribution.gradient(model, x, 1), oracle.gradient(model, x, 1))


# --------------------------------------------------------------------------------------- noise ensembles
def test_an_ensemble_is_its_three_maps():
    model, x = build(SMALL["plain"]), images()
    ensemble = attribution.noise_ensembles(model, x, 1, samples=6, generator=seeded())
    assert set(ENSEMBLE) == {"smoothgrad", "smoothgrad_squared", "vargrad"}
    for name in ENSEMBLE:
        close(
            getattr(attribution, name)(model, x, 1, samples=6, generator=seeded()),
            getattr(ensemble, name),
            1e-12,
        )
    difference = ensemble.smoothgrad_squared - ensemble.smoothgrad ** 2
    torch.testing.assert_close(ensemble.vargrad, difference, rtol=1e-9, atol=1e-12)
    assert ensemble.vargrad.min() >= 0 and ensemble.vargrad.max() > 0


def test_noise_defaults():
    model, x = smooth(), images()
    explicit = attribution.noise_ensembles(
        model, x, None, base="gradient", samples=15, sigma=0.15, generator=seeded()
    )
    for one, other in zip(attribution.noise_ensembles(model, x, generator=seeded()), explicit):
        assert torch.equal(one, other)


def test_no_noise_is_the_base():
    model, x = build(SMALL["plain"]), images()
    base = oracle.gradient(model, x, 1)
    ensemble = attribution.noise_ensembles(model, x, 1, samples=4, sigma=0.0, generator=seeded())
    close(ensemble.smoothgrad, base)
    close(ensemble.smoothgrad_squared, base ** 2)
    assert ensemble.vargrad.abs().max() < 1e-12


def test_noise_scale_follows_the_range_of_each_image():
    """The gradient of sum x^2 / 2 is the noisy image itself: its variance shows the noise."""
    model = build(lambda: nn.Sequential(Quadratic()))
    with torch.no_grad():
        model[0].a.fill_(1.0)
        model[0].b.zero_()
    x = images(2)
    x[1] = 0.4 + 0.2 * x[1]
    ensemble = attribution.noise_ensembles(model, x, 0, samples=300, sigma=0.2, generator=seeded())
    deviation = 0.2 * (x.flatten(1).amax(1) - x.flatten(1).amin(1))
    spread = ensemble.vargrad.flatten(1).mean(1).sqrt()
    torch.testing.assert_close(spread, deviation, rtol=0.02, atol=0)     # 57,600 draws: 0.3 % standard error
    bias = ((ensemble.smoothgrad - x) / deviation.view(-1, 1, 1, 1)).abs()
    assert bias.max() < 5 / 300**0.5 and bias.mean() > 0.4 / 300**0.5  # nor is the noise clipped or shared


def test_variance_divides_by_the_number_of_samples():
    model = build(lambda: nn.Sequential(Quadratic()))
    with torch.no_grad():
        model[0].a.fill_(1.0)
    variance = (
        attribution.vargrad(model, images(60), 0, samples=2, sigma=0.5, generator=seeded()).flatten(1).mean(1)
    )
    ranges = images(60).flatten(1).amax(1) - images(60).flatten(1).amin(1)
    ratio = (variance / (0.5 * ranges) ** 2).mean()
    assert 0.45 < ratio < 0.55                                     # the expectation is (K - 1) / K = 1/2


def test_every_image_has_noise_of_its_own():
    model = smooth()
    x = images(1).repeat(2, 1, 1, 1)
    maps = attribution.smoothgrad(model, x, 1, samples=3, generator=seeded())
    assert not torch.allclose(maps[0], maps[1])


def test_same_seed_same_bits_other_seed_others():
    model, x = build(SMALL["plain"]), images()
    first, again, other = (
        attribution.noise_ensembles(model, x, 1, samples=4, generator=seeded(seed)) for seed in (1, 1, 2)
    )
    for name in ENSEMBLE:
        assert torch.equal(getattr(first, name), getattr(again, name))
        assert not torch.equal(getattr(first, name), getattr(other, name))


def test_base_by_name_or_callable():
    model, x = build(SMALL["plain"]), images()
    named = attribution.smoothgrad(model, x, 1, base="gradient_x_input", samples=4, generator=seeded())
    called = attribution.smoothgrad(
        model, x, 1, base=lambda m, z, t: oracle.gradient_x_input(m, z, t), samples=4, generator=seeded()
    )
    close(named, called)
    plain = attribution.smoothgrad(model, x, 1, samples=4, generator=seeded())
    assert not torch.allclose(named, plain)


def test_captum_smoothgrad_is_near():
    model, x = build(SMALL["plain"]), images(1)
    deviation = float(0.3 * (x.max() - x.min()))
    tunnel = captum.attr.NoiseTunnel(captum.attr.Saliency(model))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        theirs = {
            name: quiet(
                tunnel.attribute,
                x.clone(),
                nt_type=name.replace("squared", "sq"),
                nt_samples=500,
                nt_samples_batch_size=100,
                stdevs=deviation,
                target=2,
                abs=False,
            )
            for name in ENSEMBLE
        }
    ours = attribution.noise_ensembles(model, x, 2, samples=500, sigma=0.3, generator=seeded())
    for name in ENSEMBLE:
        error = (getattr(ours, name) - theirs[name]).norm() / theirs[name].norm()
        assert error < 0.2, name
    assert (
        ours.smoothgrad - attribution.gradient(model, x, 2)
    ).norm() / ours.smoothgrad.norm() > 0.2  # noise matters


# ------------------------------------------------------------------------------- controls and pixel maps
def test_sobel_of_constant_images_is_zero():
    x = torch.tensor([0.0, 0.3, 1.0], dtype=torch.float64).view(3, 1, 1, 1).expand(3, 3, 7, 6)
    assert torch.equal(attribution.sobel(x), torch.zeros(3, 3, 7, 6, dtype=torch.float64))


def test_sobel_is_covariant():
    x = images(2, 9)
    edges = attribution.sobel(x)
    assert edges.shape == x.shape and edges.min() >= 0
    moved = attribution.sobel(x.roll((2, 1), (2, 3)))
    close(moved[:, :, 3:-1, 2:-1], edges[:, :, 1:-3, 1:-2])
    close(attribution.sobel(x.mT), edges.mT)
    close(attribution.sobel(x.flip(3)), edges.flip(3))
    close(attribution.sobel(3 * x + 0.5), 3 * edges)
    close(attribution.sobel(1 - x), edges)
    close(attribution.sobel(x[:, :1]), edges[:, :1])               # a channel knows nothing of the others


def test_sobel_is_the_gradient_magnitude():
    """Up to one positive factor, away from the border."""
    x = images(2, 9)
    ours, theirs = (one[:, :, 1:-1, 1:-1] for one in (attribution.sobel(x), oracle.sobel(x)))
    factor = float(ours.sum() / theirs.sum())
    assert factor > 0
    close(ours, factor * theirs)


def test_random_maps():
    x = images()
    first, again, other = (attribution.random(x, generator=seeded(seed)) for seed in (1, 1, 2))
    assert first.shape == x.shape and first.dtype == x.dtype
    assert torch.equal(first, again) and not torch.equal(first, other)
    assert torch.equal(attribution.random(1 - x, generator=seeded(1)), first)      # nothing of x is in it
    assert not torch.equal(first[0], first[1]) and first.unique().numel() == first.numel()


def test_pixel_map_is_the_equation():
    maps = images(4, 6) - 0.5
    result = attribution.pixel_map(maps)
    close(result, oracle.pixel_map(maps), 1e-12)
    close(result.flatten(1).sum(1), torch.ones(4, dtype=torch.float64), 1e-12)
    close(attribution.pixel_map(-7 * maps), result, 1e-12)


@pytest.mark.parametrize("scale", [1e-30, 1e30])
def test_pixel_map_of_extreme_scales(scale):
    maps = (images(2, 6) - 0.5).float()
    torch.testing.assert_close(
        attribution.pixel_map(scale * maps), attribution.pixel_map(maps), rtol=1e-5, atol=1e-7
    )


def test_an_all_zero_map_is_named():
    maps = images(4, 6)
    maps[[1, 3]] = 0
    with pytest.raises(ValueError, match=r"\b1\b.*\b3\b"):
        attribution.pixel_map(maps)


# --------------------------------------------------------------------------- what holds for every method
@pytest.mark.parametrize("name", attribution.METHODS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_methods_give_the_shape_of_x(name, dtype):
    model, x = build(networks.taken_by(name), dtype=dtype), images(dtype=dtype)
    for target in (None, 2, torch.tensor([4, 0, 2])):
        result = attribution.METHODS[name](model, x, target)
        assert result.shape == x.shape and result.dtype == dtype and not result.requires_grad
        assert result.isfinite().all() and result.abs().sum() > 0


@pytest.mark.parametrize("name", EXACT)
def test_method_is_its_function(name):
    model, x = build(networks.taken_by(name)), images()
    assert torch.equal(attribution.METHODS[name](model, x, 2), getattr(attribution, name)(model, x, 2))


@pytest.mark.parametrize("name", EXACT)
def test_targets_agree(name):
    model, x = build(networks.taken_by(name)), images()
    predicted, explain = model(x).argmax(1), attribution.METHODS[name]
    assert torch.equal(explain(model, x, None), explain(model, x, predicted))
    assert torch.equal(explain(model, x, 2), explain(model, x, torch.tensor([2, 2, 2])))
    mixed = explain(model, x, torch.tensor([2, 1, 2]))
    close(mixed[0], explain(model, x, 2)[0])
    close(mixed[1], explain(model, x, 1)[1])


@pytest.mark.parametrize("name", EXACT)
def test_a_batch_is_its_images(name):
    model, x, target = build(networks.taken_by(name)), images(), torch.tensor([4, 0, 2])
    explain = attribution.METHODS[name]
    close(
        explain(model, x, target),
        torch.cat([explain(model, x[i : i + 1], target[i : i + 1]) for i in range(3)]),
    )


@pytest.mark.parametrize("name", MODEL_METHODS)
def test_chunks_change_nothing(name):
    model, x, target = build(networks.taken_by(name)), images(5), torch.tensor([4, 0, 2, 1, 1])
    extra = networks.options(name, samples=7, steps=7)
    whole = apply(name, model, x, target, **extra)
    for chunk in (1, 2, 3, 4, 100):
        close(apply(name, model, x, target, chunk=chunk, **extra), whole)


@pytest.mark.parametrize("target", [None, 2], ids=["predicted", "given"])
@pytest.mark.parametrize("name", MODEL_METHODS)
def test_chunks_bound_the_samples_in_flight(name, target):
    model = Recorder(build(networks.taken_by(name))).eval()
    extra = networks.options(name, samples=7, steps=7)
    apply(name, model, images(5), target, chunk=3, **extra)
    assert max(model.sizes) <= (6 if name == "deeplift" else 3)     # DeepLIFT: an image and its reference
    assert sum(model.sizes) >= 5 * (7 if extra else 1)


@pytest.mark.parametrize("name", attribution.METHODS)
def test_nothing_of_the_model_changes(name):
    model, x = build(networks.taken_by(name)).to(memory_format=torch.channels_last), images()
    first, *_, last = model.parameters()
    first.requires_grad_(False)
    last.grad = torch.ones_like(last)
    before, given = networks.snapshot(model), x.clone()
    attribution.METHODS[name](model, x, None)
    attribution.METHODS[name](model, x, 2)
    networks.assert_same(before, networks.snapshot(model))
    networks.assert_torch_as_before()
    assert torch.equal(x, given) and not x.requires_grad and x.grad is None and x._version == 0


@pytest.mark.parametrize("name", MODEL_METHODS)
def test_nothing_changes_after_an_exception(name):
    model, x = build(networks.Failing), images()
    before = networks.snapshot(model)
    for target in (None, 2):
        with pytest.raises(RuntimeError, match="planned failure"):
            attribution.METHODS[name](model, x, target)
    networks.assert_same(before, networks.snapshot(model))
    networks.assert_torch_as_before()


@pytest.mark.parametrize("name", MODEL_METHODS)
def test_frozen_and_cold_models(name):
    """A model whose parameters ask for no gradient gives the same map."""
    model, x = build(networks.taken_by(name)), images()
    expected = apply(name, model, x, 2)
    close(apply(name, model.requires_grad_(False), x, 2), expected, 1e-12)


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
@pytest.mark.parametrize("name", MODEL_METHODS)
def test_methods_work_without_gradients(name, mode):
    model, x = build(networks.taken_by(name)), images()
    expected = apply(name, model, x, 2)
    with mode():
        made_inside = x.clone()
        for given in (x, made_inside):
            result = apply(name, model, given, 2)
            assert not result.requires_grad
            close(result, expected, 1e-12)
        apply(name, model, made_inside, None)


@pytest.mark.parametrize("name", MODEL_METHODS)
def test_layout_of_x_does_not_matter(name):
    model, x = build(networks.taken_by(name)), images()
    expected = apply(name, model, x, 2)
    views = {
        "channels last": x.to(memory_format=torch.channels_last),
        "strided": x.repeat(1, 1, 1, 2)[..., :8],
        "transposed": x.mT.contiguous().mT,
    }
    for view in views.values():
        close(apply(name, model, view, 2).contiguous(), expected)


@pytest.mark.parametrize("name", MODEL_METHODS)
def test_maps_of_x_with_gradient_can_be_differentiated(name):
    """The derivative of the map along a random direction is what finite differences say."""
    relu_only = attribution.METHODS[name].has_rules
    model = build(Transformer) if name in OF_ATTENTION else build(SMALL["plain"]) if relu_only else smooth()
    x = 0.1 + 0.8 * images()
    leaf = x.clone().requires_grad_(True)
    result = apply(name, model, leaf, 2)
    assert result.requires_grad
    # In units of the map, so that one of small values is held to as many digits.
    weights = torch.randn(x.shape, generator=seeded(3), dtype=x.dtype) / result.detach().abs().max()
    slope = torch.autograd.grad((weights * result).sum(), leaf, allow_unused=True)[0]
    slope = torch.zeros_like(x) if slope is None else slope
    assert leaf.grad is None and all(parameter.grad is None for parameter in model.parameters())
    if name not in EXACT:  # whether the noise scale counts is not fixed
        assert slope.isfinite().all() and slope.abs().sum() > 0
        return
    direction = torch.randn(x.shape, generator=seeded(4), dtype=x.dtype)
    ahead, behind = (apply(name, model, x + sign * 1e-6 * direction, 2) for sign in (1, -1))
    numeric = (weights * (ahead - behind)).flatten(1).sum(1) / 2e-6
    torch.testing.assert_close((slope * direction).flatten(1).sum(1), numeric, rtol=1e-4, atol=1e-6)
    if name not in ("guided_backprop", "deconvnet"):               # locally constant on a ReLU net
        assert numeric.abs().min() > 1e-4


@pytest.mark.parametrize("name", MODEL_METHODS)
def test_training_mode_is_refused(name):
    model, x = build(networks.taken_by(name)), images()
    with pytest.raises(ValueError, match="eval"):
        attribution.METHODS[name](model.train(), x, None)
    inner = list(model.eval().modules())[2]                        # such as one batch norm left behind
    inner.train()
    with pytest.raises(ValueError, match="eval"):
        attribution.METHODS[name](model, x, None)
    assert inner.training and not model.training


@pytest.mark.parametrize("name", MODEL_METHODS)
def test_any_finite_x_will_do(name):
    """Bounds are for attacks and data; deep Taylor has bounds of its own."""
    extra = {"low": -2.0, "high": 3.0} if name == "deep_taylor" else {}
    result = apply(name, build(networks.taken_by(name)), 4 * images() - 1.5, 2, **extra)
    assert result.isfinite().all() and result.abs().sum() > 0


@pytest.mark.parametrize("name", EXACT)
def test_same_input_same_bits(name):
    model, x = build(networks.taken_by(name), dtype=torch.float32), images(dtype=torch.float32)
    assert torch.equal(attribution.METHODS[name](model, x, None), attribution.METHODS[name](model, x, None))


@pytest.mark.parametrize("size, images", [((3, 227, 227), 8), ((1, 28, 28), 128), ((3, 2000, 2000), 1)])
def test_a_processor_takes_few_images_at_once(size, images):
    """Those whose features stay in its cache: a number of values, and a number of images."""
    assert passes.default_chunk(torch.empty(1, *size)) == images
