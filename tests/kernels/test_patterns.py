"""Patterns, PatternNet and PatternAttribution: against written-down nets, and under constant shifts of the data."""

import functools

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from fragility import attribution, shift
from tests import networks
from tests.networks import SMALL, build, images, styled
from tests.oracles import patterns as oracle

ESTIMATORS = ("relu", "linear", "conditional")
LABELS = torch.tensor([4, 0, 2])
MAPS = {"pattern_net": attribution.pattern_net, "pattern_attribution": attribution.pattern_attribution}


def strided():
    """Strides, padding, dilation and groups all at once."""
    return nn.Sequential(nn.Conv2d(3, 6, 3, stride=2, padding=2, dilation=2, groups=3), nn.ReLU(),
                         nn.Conv2d(6, 4, 2, padding=1, groups=2), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(),
                         nn.Linear(16, 5))


def shared():
    """One linear layer that is called twice: each call has patterns of its own."""
    again = nn.Linear(16, 16)
    return nn.Sequential(nn.Flatten(), nn.Linear(192, 16), nn.ReLU(), again, nn.ReLU(), again, nn.ReLU(),
                         nn.Linear(16, 5))


def valid():
    """No padding: a shift that is uniform on each channel shifts all patches alike."""
    return nn.Sequential(nn.Conv2d(3, 6, 3, stride=2), nn.ReLU(), nn.MaxPool2d(2, 1), nn.Flatten(), nn.Linear(24, 5))


NETS = {**SMALL, "strided": strided, "shared": shared, "valid": valid}


@functools.cache
def case(net):
    """A model and the images its patterns are fitted on."""
    return build(NETS[net]), images(12, seed=20)


@functools.cache
def fitted(net, estimator="relu"):
    """Patterns by the slow twin, so that maps do not hang on the fit under test."""
    model, data = case(net)
    return oracle.fit(networks.write_down(model), data, estimator)


def close(actual, expected, tolerance=1e-9):
    scale = float(expected.detach().abs().max())
    assert scale > 0, "nothing compares with anything"
    torch.testing.assert_close(actual, expected, rtol=tolerance, atol=tolerance * scale)


def all_close(actual, expected, tolerance=1e-9):
    assert len(actual) == len(expected)
    for one, other in zip(actual, expected):
        close(one, other, tolerance)


def weights(model):
    return [layer[1] for layer, _ in oracle.watch(networks.write_down(model), images(1).numpy())[0]]


# -------------------------------------------------------------------------------------------- the estimators
@pytest.mark.parametrize("net", NETS)
def test_the_written_down_net_is_the_net(net):
    model, data = case(net)
    _, logits = oracle.watch(networks.write_down(model), data.numpy())
    close(torch.from_numpy(logits), model(data).detach())


@pytest.mark.parametrize("estimator", ESTIMATORS)
@pytest.mark.parametrize("net", NETS)
def test_patterns_are_the_equations(net, estimator):
    model, data = case(net)
    patterns = attribution.fit_patterns(model, data, estimator=estimator)
    assert isinstance(patterns, list)
    assert [pattern.shape for pattern in patterns] == [weight.shape for weight in weights(model)]
    assert not any(pattern.requires_grad for pattern in patterns)
    all_close(patterns, fitted(net, estimator))


def test_relu_is_the_estimator_where_none_is_named():
    model, data = case("plain")
    for one, other in zip(attribution.fit_patterns(model, data),
                          attribution.fit_patterns(model, data, estimator="relu")):
        assert torch.equal(one, other)


@pytest.mark.parametrize("estimator", ESTIMATORS)
@pytest.mark.parametrize("net", NETS)
def test_every_neuron_answers_its_pattern_with_one(net, estimator):
    """w . a = 1, or a = 0 where the neuron shows nothing."""
    model, data = case(net)
    for weight, pattern in zip(weights(model), attribution.fit_patterns(model, data, estimator=estimator)):
        answers = (weight * pattern).flatten(1).sum(1)
        dead = (pattern.flatten(1) == 0).all(1)
        torch.testing.assert_close(answers, (~dead).double(), rtol=1e-9, atol=1e-9)
        assert dead.sum() < len(dead)


def test_the_output_layer_is_linear_whatever_the_estimator():
    model, data = case("unpooled")
    linear, *others = (attribution.fit_patterns(model, data, estimator=one)
                       for one in ("linear", "relu", "conditional"))
    for other in others:
        close(other[-1], linear[-1])
        assert all(not torch.allclose(one, two, rtol=1e-2) for one, two in zip(other[:-1], linear[:-1]))


def test_linear_patterns_find_the_signal_beside_a_distractor():
    """x = s signal + e distractor with s and e uncorrelated, w . signal = 1, w . distractor = 0: a = signal."""
    generator = torch.Generator().manual_seed(0)
    s, e = torch.linalg.qr(torch.randn(50, 3, generator=generator, dtype=torch.float64)).Q.T[:2]
    s = s - s.mean()
    e = e - e.mean() - s * ((e - e.mean()) @ s) / (s @ s)
    signal, distractor = torch.tensor([1.0, 0.0, 2.0]).double(), torch.tensor([1.0, 1.0, -1.0]).double()
    model = build(lambda: nn.Sequential(nn.Flatten(), nn.Linear(3, 2)))
    with torch.no_grad():
        model[1].weight.copy_(torch.tensor([[1.0, -1.0, 0.0], [3.0, -2.0, 1.0]]))
    data = 5 + (s[:, None] * signal + e[:, None] * distractor).view(50, 1, 1, 3)
    pattern = attribution.fit_patterns(model, data)[0]
    close(pattern[0], signal)
    close(pattern[1], signal / 5)
    gradient = attribution.gradient(model, data[:1], 0).flatten()
    assert not torch.allclose(gradient, signal, atol=0.5)      # the gradient cancels the distractor instead
    close(attribution.pattern_net(model, data[:1], 0, patterns=[pattern]).flatten(), signal)


def test_dead_neurons_have_no_pattern():
    model, data = case("plain")
    model = build(NETS["plain"])
    with torch.no_grad():
        model[0].bias[1] = -100
        model[3].bias[4] = -100
    for estimator in ("relu", "conditional"):
        patterns = attribution.fit_patterns(model, data, estimator=estimator)
        assert all(pattern.isfinite().all() for pattern in patterns)
        for place, dead in ((0, 1), (1, 4)):
            empty = (patterns[place].flatten(1) == 0).all(1)
            assert empty[dead] and not empty.all()
        all_close(patterns, oracle.fit(networks.write_down(model), data, estimator))
        for explain in MAPS.values():
            assert explain(model, images(), patterns=patterns).abs().max() > 0


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_one_image_shows_a_linear_layer_nothing(estimator):
    model, data = case("mlp")
    for pattern in attribution.fit_patterns(model, data[:1], estimator=estimator):
        assert pattern.abs().max() == 0


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_the_same_image_again_and_again_shows_a_linear_layer_nothing(estimator):
    """The covariance of a constant is zero, not what its rounding leaves."""
    for dtype in (torch.float64, torch.float32):
        same = images(1, dtype=dtype).expand(7, -1, -1, -1)
        for pattern in attribution.fit_patterns(build(SMALL["mlp"], dtype=dtype), same, estimator=estimator):
            assert pattern.abs().max() == 0


def test_too_few_samples_of_a_neuron():
    """One sample with the neuron on has no conditional covariance; against the mean of all it has a direction."""
    model, data = build(NETS["mlp"]), images(12, seed=20)
    with torch.no_grad():
        ordered = (model[1].weight[3] @ data.flatten(1).T).sort().values
        model[1].bias[3] = -(ordered[-1] + ordered[-2]) / 2
    conditional, relu = (attribution.fit_patterns(model, data, estimator=one)[0][3] for one in ("conditional", "relu"))
    assert conditional.abs().max() == 0
    only = data.flatten(1)[(model(data), model[1](data.flatten(1)))[1][:, 3] > 0][0]
    close(relu, only / (model[1].weight[3] @ only).detach())


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_single_precision_is_close(estimator):
    for net, tolerance in (("plain", 1e-3), ("mlp", 1e-2)):
        model, data = case(net)
        patterns = attribution.fit_patterns(build(NETS[net], dtype=torch.float32), data.float(), estimator=estimator)
        assert all(pattern.dtype == torch.float32 for pattern in patterns)
        all_close([pattern.double() for pattern in patterns], fitted(net, estimator), tolerance)


@pytest.mark.parametrize("estimator", ESTIMATORS)
@pytest.mark.parametrize("net", ["strided", "residual", "mlp"])
def test_the_chunk_makes_no_difference_to_patterns(net, estimator):
    model, data = case(net)
    whole = attribution.fit_patterns(model, data, estimator=estimator)
    for chunk in (1, 5, 12, 100):
        all_close(attribution.fit_patterns(model, data, estimator=estimator, chunk=chunk), whole, 1e-8)


@pytest.mark.parametrize("style", networks.RELU_STYLES)
def test_patterns_know_relu_in_every_style(style):
    model, data = styled(networks.RELU_STYLES[style]), images(12, seed=20)
    (first, second), last = (("conv2d", layer.weight.detach(), layer.bias.detach(), stride, 0, 1, 1)
                             for layer, stride in ((model.first, 2), (model.second, 1))), model.last
    layers = [first, ("relu",), second, ("relu",), ("flatten",), ("linear", last.weight.detach(), last.bias.detach())]
    patterns = attribution.fit_patterns(model, data)
    all_close(patterns, oracle.fit(layers, data))
    x = images()
    for method, explain in MAPS.items():
        close(explain(model, x, LABELS, patterns=patterns),
              getattr(oracle, method)(layers, x, LABELS.tolist(), patterns))


def test_outputs_that_the_model_overwrites_later():
    """A residual sum in place, as torchvision's ResNets have it, onto the second convolution's output."""
    class Residual(nn.Module):
        def __init__(self, in_place):
            super().__init__()
            self.in_place = in_place
            self.first, self.second = nn.Conv2d(3, 6, 3, stride=2), nn.Conv2d(6, 6, 3, padding=1)
            self.last = nn.Linear(54, 5)

        def forward(self, x):
            z = torch.relu(self.first(x))
            out = self.second(z)
            out = out.add_(z).mul_(2) if self.in_place else 2 * (out + z)
            return self.last(out.flatten(1))

    data = images(12, seed=20)
    for estimator in ESTIMATORS:
        fit = functools.partial(attribution.fit_patterns, images=data, estimator=estimator)
        all_close(fit(build(lambda: Residual(True))), fit(build(lambda: Residual(False))))


def test_padding_by_name_and_places_of_a_linear_layer():
    """padding="same" is its number; a linear layer over places is a 1 x 1 convolution."""
    class Places(nn.Module):
        def __init__(self, mix):
            super().__init__()
            self.first, self.mix, self.last = nn.Conv2d(3, 6, 3, padding="same"), mix, nn.Linear(256, 5)

        def forward(self, x):
            z = torch.relu(self.first(x))
            z = (self.mix(z) if isinstance(self.mix, nn.Conv2d) else
                 self.mix(z.flatten(2).mT).mT.unflatten(2, z.shape[2:]))
            return self.last(torch.relu(z).flatten(1))

    one, two = build(lambda: Places(nn.Linear(6, 4))), build(lambda: Places(nn.Conv2d(6, 4, 1)))
    two.load_state_dict({name: value.view_as(two.state_dict()[name]) for name, value in one.state_dict().items()})
    first, last = two.first, two.last
    layers = [("conv2d", first.weight.detach(), first.bias.detach(), 1, 1, 1, 1), ("relu",),
              ("conv2d", two.mix.weight.detach(), two.mix.bias.detach(), 1, 0, 1, 1), ("relu",), ("flatten",),
              ("linear", last.weight.detach(), last.bias.detach())]
    data, x = images(12, seed=20), images()
    expected = oracle.fit(layers, data)
    all_close(attribution.fit_patterns(two, data), expected)
    flat = [pattern.view_as(layer.weight) for pattern, layer in zip(expected, (one.first, one.mix, one.last))]
    all_close(attribution.fit_patterns(one, data), flat)
    for explain in MAPS.values():
        close(explain(one, x, 1, patterns=flat), explain(two, x, 1, patterns=expected))


# -------------------------------------------------------------------------------------------------- the maps
@pytest.mark.parametrize("estimator", ["relu", "linear"])
@pytest.mark.parametrize("method", MAPS)
@pytest.mark.parametrize("net", NETS)
def test_maps_are_the_written_down_rule(net, method, estimator):
    model, _ = case(net)
    x, patterns = images(), fitted(net, estimator)
    expected = getattr(oracle, method)(networks.write_down(model), x, LABELS.tolist(), patterns)
    close(MAPS[method](model, x, LABELS, patterns=patterns), expected)


@pytest.mark.parametrize("net", NETS)
def test_weights_as_patterns_give_the_gradient(net):
    """W in place of A is the gradient; a pattern of ones in W * A is the gradient times the logit."""
    model, x = case(net)[0], images()
    gradient, logits = attribution.gradient(model, x, LABELS), model(x).detach()[range(3), LABELS]
    close(attribution.pattern_net(model, x, LABELS, patterns=weights(model)), gradient)
    ones = [torch.ones_like(weight) for weight in weights(model)]
    close(attribution.pattern_attribution(model, x, LABELS, patterns=ones), logits.view(-1, 1, 1, 1) * gradient)


def test_pattern_attribution_of_one_layer_shares_out_the_logit():
    model, data = build(lambda: nn.Sequential(nn.Flatten(), nn.Linear(192, 5))), images(12, seed=20)
    patterns = attribution.fit_patterns(model, data)
    maps = attribution.pattern_attribution(model, data, 3, patterns=patterns)
    torch.testing.assert_close(maps.flatten(1).sum(1), model(data).detach()[:, 3], rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("method", MAPS)
def test_targets(method):
    model, x, patterns = case("plain")[0], images(), fitted("plain")
    explain = functools.partial(MAPS[method], model, x, patterns=patterns)
    predicted = model(x).argmax(1)
    assert torch.equal(explain(), explain(predicted))
    assert torch.equal(explain(2), explain(torch.tensor([2, 2, 2])))
    assert not torch.allclose(explain(2), explain(3))


@pytest.mark.parametrize("method", MAPS)
@pytest.mark.parametrize("net", ["strided", "residual", "normalised"])
def test_the_chunk_makes_no_difference_to_maps(net, method):
    model, x, patterns = case(net)[0], images(5), fitted(net)
    whole = MAPS[method](model, x, patterns=patterns)
    for chunk in (1, 2, 5, 50):
        close(MAPS[method](model, x, patterns=patterns, chunk=chunk), whole, 1e-12)


@pytest.mark.parametrize("method", MAPS)
def test_maps_without_gradients_and_without_a_graph(method):
    model, x, patterns = case("plain")[0], images(), fitted("plain")
    with torch.no_grad():
        still = MAPS[method](model, x, 1, patterns=patterns)
    with torch.inference_mode():
        inferred = MAPS[method](model, images(), 1, patterns=patterns)
    maps = MAPS[method](model, x, 1, patterns=patterns)
    assert maps.dtype == x.dtype and maps.shape == x.shape and not maps.requires_grad
    assert torch.equal(maps, still) and torch.equal(maps, inferred)


# ---------------------------------------------------------------------------------------- under a shift of x
SHIFTS = {
    ("mlp", "uniform"): torch.full((3, 8, 8), -1.0).double(),
    ("mlp", "checkerboard"): (torch.arange(64).view(8, 8) // 2 % 2).double().expand(3, 8, 8),
    ("valid", "uniform"): torch.tensor([-1.0, 0.5, 2.0]).double().view(3, 1, 1).expand(3, 8, 8),
}


@pytest.fixture(params=SHIFTS, ids=" ".join)
def shifted(request):
    """A model, its twin for data moved by m, the data and m."""
    net, _ = request.param
    model, data = case(net)
    m = SHIFTS[request.param]
    return model, shift.compensate(model, m), data, m


@pytest.mark.parametrize("estimator", ["linear", "conditional"])
def test_covariances_do_not_feel_the_shift(shifted, estimator):
    model, twin, data, m = shifted
    all_close(attribution.fit_patterns(twin, data + m, estimator=estimator),
              attribution.fit_patterns(model, data, estimator=estimator), 1e-8)


def test_the_relu_estimator_feels_the_shift(shifted):
    """numerator of the twin = numerator + m (E+[y] - E[y]), and nothing else changes."""
    model, twin, data, m = shifted
    before, after = (attribution.fit_patterns(*case) for case in ((model, data), (twin, data + m)))
    (layer, neurons), *_ = oracle.watch(networks.write_down(model), data.numpy())[0]
    moved = m.numpy().ravel() if layer[0] == "linear" else np.broadcast_to(m.numpy()[:, :3, :3], (3, 3, 3)).ravel()
    expected = []
    for w, inputs, y in neurons:
        gap = y[y > 0].mean() - y.mean() if (y > 0).any() else 0.0
        direction = oracle.numerator(inputs, y, "relu")
        expected.append(oracle.normalised(w, direction if direction is None else direction + moved * gap))
    close(after[0], torch.from_numpy(np.stack(expected)).view_as(after[0]), 1e-8)
    partly = [((y > 0).any() and (y <= 0).any()) for _, _, y in neurons]
    assert any(partly), "every neuron is always on: the shift has nothing to show"
    assert not torch.allclose(before[0][partly], after[0][partly], rtol=0.05)
    all_close(after[1:], before[1:], 1e-8)


@pytest.mark.parametrize("method", MAPS)
def test_frozen_patterns_give_the_same_maps(shifted, method):
    model, twin, data, m = shifted
    patterns, x = attribution.fit_patterns(model, data), images()
    first = MAPS[method](model, x, LABELS, patterns=patterns)
    second = MAPS[method](twin, x + m, LABELS, patterns=patterns)
    assert first.abs().max() > 0
    torch.testing.assert_close(second, first, rtol=0, atol=1e-10 * max(1.0, float(first.abs().max())))


@pytest.mark.parametrize("method", MAPS)
def test_refitted_relu_patterns_give_other_maps(shifted, method):
    model, twin, data, m = shifted
    x = images()
    first = MAPS[method](model, x, LABELS, patterns=attribution.fit_patterns(model, data))
    second = MAPS[method](twin, x + m, LABELS, patterns=attribution.fit_patterns(twin, data + m))
    assert ((first - second).flatten(1).norm(dim=1) > 0.05 * first.flatten(1).norm(dim=1)).all()


def test_frozen_patterns_and_an_untied_bias():
    """Zero padding and a shift of its own at every pixel: the twin's first bias is a map."""
    model, data = case("plain")
    m, patterns, x = images(1, seed=3)[0] - 0.5, fitted("plain"), images()
    twin = shift.compensate(model, m)
    for explain in MAPS.values():
        close(explain(twin, x + m, LABELS, patterns=patterns), explain(model, x, LABELS, patterns=patterns), 1e-10)


def test_smoothgrad_of_patterns_passes_the_shift(shifted):
    model, twin, data, m = shifted
    uniform = bool((m == m.flatten()[0]).all())
    method = functools.partial(attribution.pattern_attribution, patterns=attribution.fit_patterns(model, data))
    first, second = (attribution.smoothgrad(net, x, 1, base=method, samples=3,
                                            generator=torch.Generator().manual_seed(1))
                     for net, x in ((model, images()), (twin, images() + m)))
    difference = float((first - second).abs().max() / first.abs().max())
    assert difference < 1e-9 if uniform else difference > 1e-4      # the noise follows the range of x, which moved


# ---------------------------------------------------------------------------------------- model and refusals
def test_the_model_is_left_alone():
    for model in (build(SMALL["plain"]), styled(nn.ReLU(inplace=True))):
        x, data = images(), images(6, seed=20)
        copies, before = (x.clone(), data.clone()), networks.snapshot(model)
        patterns = attribution.fit_patterns(model, data)
        kept = [pattern.clone() for pattern in patterns]
        for explain in MAPS.values():
            explain(model, x, patterns=patterns)
        networks.assert_same(before, networks.snapshot(model))
        assert torch.equal(x, copies[0]) and torch.equal(data, copies[1])
        assert all(torch.equal(one, other) for one, other in zip(patterns, kept))
    networks.assert_torch_as_before()


def test_the_model_is_left_alone_after_a_failure():
    model = build(networks.Failing)
    before = networks.snapshot(model)
    with pytest.raises(RuntimeError, match="planned failure"):
        attribution.fit_patterns(model, images())
    for explain in MAPS.values():
        with pytest.raises(RuntimeError, match="planned failure"):
            explain(model, images(), 0, patterns=[torch.zeros(6, 3, 3, 3).double(), torch.zeros(5, 54).double()])
    networks.assert_same(before, networks.snapshot(model))
    networks.assert_torch_as_before()


def test_batch_norm_is_refused_by_name():
    model = build(networks.batch_normed)
    patterns = [layer.weight.detach() for layer in model if isinstance(layer, (nn.Conv2d, nn.Linear))]
    calls = [lambda: attribution.fit_patterns(model, images(6)),
             *(functools.partial(explain, model, images(), patterns=patterns) for explain in MAPS.values())]
    for call in calls:
        with pytest.raises(ValueError, match="(?i)batch.?norm"):
            call()
        networks.assert_torch_as_before()


@pytest.mark.parametrize("leak", sorted(set(networks.leaks()) - {"sigmoid gate"}))
@pytest.mark.parametrize("method", MAPS)
def test_leaks_are_refused_by_name(method, leak):
    middle, words = networks.leaks()[leak]
    model = styled(middle)
    patterns = [layer.weight.detach() for layer in (model.first, model.second, model.last)]
    with pytest.raises(ValueError, match=f"(?i){words}"):
        MAPS[method](model, images(), 2, patterns=patterns)
    networks.assert_torch_as_before()


@pytest.mark.parametrize("disguise", networks.DISGUISES)
@pytest.mark.parametrize("method", MAPS)
def test_a_disguised_relu_is_handled_or_refused(method, disguise):
    x, model = images(), styled(torch.relu)
    patterns = [layer.weight.detach() + 0.1 for layer in (model.first, model.second, model.last)]
    expected = MAPS[method](model, x, 2, patterns=patterns)
    try:
        result = MAPS[method](styled(networks.DISGUISES[disguise]), x, 2, patterns=patterns)
    except ValueError as refusal:
        assert len(str(refusal)) >= 20
    else:
        close(result, expected)


class Hidden(nn.Module):
    """Its middle layer is a matrix product that is written as no layer is."""

    def __init__(self):
        super().__init__()
        self.first, self.middle, self.last = nn.Linear(192, 8), nn.Parameter(torch.randn(8, 8)), nn.Linear(8, 5)

    def forward(self, x):
        hidden = torch.relu(self.first(x.flatten(1)))
        return self.last(torch.relu(torch.einsum("ni,ij->nj", hidden, self.middle)))


@pytest.mark.parametrize("method", MAPS)
def test_a_weighted_layer_that_hides_is_refused(method):
    model = build(Hidden)
    patterns = [model.first.weight.detach(), model.last.weight.detach()]
    with pytest.raises(ValueError, match="(?i)mm|matmul"):
        MAPS[method](model, images(), 2, patterns=patterns)


def _bad_patterns():
    good = [weight.clone() for weight in weights(case("plain")[0])]
    nan = good[1].clone()
    nan[0, 0, 0, 0] = float("nan")
    return {"none": [], "one too few": good[:2], "one too many": [*good, good[-1]], "other order": good[::-1],
            "flattened": [one.flatten(1) for one in good], "wider": [F.pad(one, (0, 1)) for one in good],
            "broadcastable": [good[0][:1], *good[1:]], "NaN": [good[0], nan, good[2]]}


@pytest.mark.parametrize("kind", _bad_patterns())
@pytest.mark.parametrize("method", MAPS)
def test_patterns_of_another_model_are_refused(method, kind):
    with pytest.raises(ValueError) as refusal:
        MAPS[method](case("plain")[0], images(), 1, patterns=_bad_patterns()[kind])
    assert len(str(refusal.value)) >= 20


def _with(value):
    x = images()
    x[1, 0, 2, 3] = value
    return x


BAD_IMAGES = {"no batch axis": images()[0], "empty": images()[:0], "NaN": _with(float("nan")),
              "infinite": _with(float("inf")), "uint8": (255 * images()).to(torch.uint8)}


@pytest.mark.parametrize("kind", BAD_IMAGES)
def test_bad_images_are_refused(kind):
    model, _ = case("plain")
    with pytest.raises(ValueError):
        attribution.fit_patterns(model, BAD_IMAGES[kind])
    for explain in MAPS.values():
        with pytest.raises(ValueError):
            explain(model, BAD_IMAGES[kind], patterns=fitted("plain"))


BAD_CALLS = {
    "unknown estimator": lambda: attribution.fit_patterns(*case("plain"), estimator="positive"),
    "chunk 0": lambda: attribution.fit_patterns(*case("plain"), chunk=0),
    "negative chunk": lambda: attribution.fit_patterns(*case("plain"), chunk=-3),
    "training mode": lambda: attribution.fit_patterns(build(SMALL["plain"]).train(), images()),
}


@pytest.mark.parametrize("kind", BAD_CALLS)
def test_bad_fits_are_refused(kind):
    with pytest.raises(ValueError) as refusal:
        BAD_CALLS[kind]()
    assert len(str(refusal.value)) >= 20


@pytest.mark.parametrize("method", MAPS)
def test_bad_arguments_of_maps_are_refused(method):
    model = case("plain")[0]
    explain = functools.partial(MAPS[method], patterns=fitted("plain"))
    for call in (lambda: explain(model, images(), 5), lambda: explain(model, images(), torch.tensor([0, 1])),
                 lambda: explain(model, images(), chunk=0),
                 lambda: explain(build(SMALL["plain"]).train(), images())):
        with pytest.raises(ValueError) as refusal:
            call()
        assert len(str(refusal.value)) >= 20


def test_a_model_without_weighted_layers_has_no_patterns():
    model = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten()).eval()
    with pytest.raises(ValueError):
        attribution.fit_patterns(model, images())
