"""fragility.attacks: the ball, the label, the objectives, the exact step; and that the attacks attack."""

import functools

import pytest
import torch
from torch import nn

from fragility import attacks, attribution, metrics
from tests import networks
from tests.networks import SMALL, build, images
from tests.oracles import attacks as oracle
from tests.oracles import maps as map_oracle
from tests.oracles.metrics import top

EPSILON, STEPS, K = 0.1, 12, 20
CORNER = torch.zeros(12, 12, dtype=torch.bool)
CORNER[:4, :4] = True
SHARP = functools.partial(nn.Softplus, beta=10)
OBJECTIVES = {"top-k": lambda: attacks.TopK(K), "mass centre": attacks.MassCenter,
              "target": lambda: attacks.Target(CORNER)}
ROUTES = [("gradient", None), ("gradient", "finite-difference"), ("gradient", "double-backprop"),
          ("integrated_gradients", None), ("integrated_gradients", "double-backprop")]
CURVED = ("deeplift", "lrp", "deep_taylor", "gradient_x_input")       # no symmetric Jacobian: double backprop


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def patient(activation=nn.ReLU):
    """The first class leads by far, so no step in the ball takes its label; the first ReLUs switch at grey,
    so maps do change."""
    model = build(lambda: networks.wide(activation))
    with torch.no_grad():
        for layer in model:
            if isinstance(layer, (nn.Conv2d, nn.Linear)):
                layer.weight.mul_(3)
        model[0].bias.copy_(-0.5 * model[0].weight.sum((1, 2, 3)))
        model[-1].bias[0] += 2 * model(images(8, 12)).abs().max()
    return model


def batch(n=4, size=12):
    """Images with some pixels exactly on 0 and on 1."""
    x = images(n, size, seed=7)
    x[:, :, 0, :4], x[:, :, size - 1, 4:] = 0.0, 1.0
    return x


def explain(model, x, method="gradient", target=None, **arguments):
    """The pixel maps of the true network, by the oracles."""
    return map_oracle.pixel_map(getattr(map_oracle, method)(model, x, target, **arguments))


def value(objective, clean, maps):
    written = {"top-k": lambda c, m: oracle.topk(c, m, K), "mass centre": oracle.mass_center,
               "target": lambda c, m: oracle.target(m, CORNER)}[objective]
    return torch.tensor([written(c, m) for c, m in zip(clean, maps)], dtype=torch.float64)


@functools.cache
def attacked(objective, method="gradient", curvature=None):
    arguments = {"steps": 8} if method == "integrated_gradients" else {}
    return attacks.attack(
        patient(),
        batch(),
        method=method,
        objective=OBJECTIVES[objective](),
        epsilon=EPSILON,
        steps=STEPS,
        curvature=curvature,
        generator=seeded(),
        method_args=arguments,
    )


# ------------------------------------------------------------------------------------------- random sign
def test_random_sign_moves_every_pixel_by_epsilon():
    x = 0.2 + 0.6 * images(3, 16)
    moved = attacks.random_sign(x, epsilon=0.1, generator=seeded()) - x
    torch.testing.assert_close(moved.abs(), torch.full_like(x, 0.1), rtol=0, atol=1e-12)
    assert abs(moved.sign().mean()) < 4 / x.numel() ** 0.5  # fair, and a sign for each channel and image
    assert (moved[:, 0] != moved[:, 1]).any() and (moved[0] != moved[1]).any()


def test_random_sign_is_clipped_to_the_pixel_range():
    x = batch()
    result = attacks.random_sign(x, epsilon=0.3, generator=seeded())
    up, down = (x + 0.3).clamp(max=1), (x - 0.3).clamp(min=0)
    assert (
        torch.isclose(result, up, rtol=0, atol=1e-12) | torch.isclose(result, down, rtol=0, atol=1e-12)
    ).all()
    assert result.min() == 0 and result.max() == 1


def test_random_sign_is_its_seed():
    x = images()
    first, again, other = (attacks.random_sign(x, epsilon=0.1, generator=seeded(seed)) for seed in (1, 1, 2))
    assert torch.equal(first, again) and not torch.equal(first, other)
    assert torch.equal(x, images())


# ------------------------------------------------------------------------------- what every attack keeps
@pytest.mark.parametrize("objective", OBJECTIVES)
@pytest.mark.parametrize("method, curvature", ROUTES)
def test_attack_stays_inside_and_keeps_the_label(method, curvature, objective):
    model, x, result = patient(), batch(), attacked(objective, method, curvature)
    assert (
        result._fields[:4] == ("x", "found", "objective", "steps")
        if hasattr(result, "_fields")
        else result.x is not None
    )
    assert result.x.shape == x.shape and result.x.dtype == x.dtype and not result.x.requires_grad
    assert (
        result.found.dtype == torch.bool
        and result.found.shape == result.objective.shape == result.steps.shape == (4,)
    )
    assert (result.x - x).abs().max() <= EPSILON + 1e-12
    assert result.x.min() >= 0 and result.x.max() <= 1
    assert result.found.all(), "this net keeps its label in the whole ball"
    assert torch.equal(model(result.x).argmax(1), model(x).argmax(1))
    assert (result.steps <= STEPS).all() and (result.x != x).flatten(1).any(1).all()


@pytest.mark.parametrize("objective", OBJECTIVES)
@pytest.mark.parametrize("method, curvature", ROUTES)
def test_objective_is_that_of_the_true_map_and_grew(method, curvature, objective):
    """Reported for the returned images, on the network itself, and larger than on the clean images."""
    model, x, result = patient(), batch(), attacked(objective, method, curvature)
    arguments = {"steps": 8} if method == "integrated_gradients" else {}
    labels = model(x).argmax(1)
    clean = explain(model, x, method, labels, **arguments)
    expected = value(objective, clean, explain(model, result.x, method, labels, **arguments))
    torch.testing.assert_close(result.objective.double(), expected, rtol=1e-8, atol=1e-10)
    assert (expected > value(objective, clean, clean)).all()


@pytest.mark.parametrize("objective", OBJECTIVES)
@pytest.mark.parametrize("method, curvature", ROUTES)
def test_attack_beats_random_signs(method, curvature, objective):
    model, x, result = patient(), batch(), attacked(objective, method, curvature)
    arguments = {"steps": 8} if method == "integrated_gradients" else {}
    labels = model(x).argmax(1)
    clean = explain(model, x, method, labels, **arguments)
    chance = [
        value(
            objective,
            clean,
            explain(
                model,
                attacks.random_sign(x, epsilon=EPSILON, generator=seeded(s)),
                method,
                labels,
                **arguments,
            ),
        )
        for s in range(4)
    ]
    assert result.objective.mean() > torch.stack(chance).mean()


@pytest.mark.parametrize("objective", OBJECTIVES)
@pytest.mark.parametrize("method", CURVED)
def test_maps_without_a_symmetric_jacobian(method, objective):
    model, x = patient(), batch(2)
    before = networks.snapshot(model)
    result = attacks.attack(
        model,
        x,
        method=method,
        objective=OBJECTIVES[objective](),
        epsilon=EPSILON,
        steps=6,
        curvature="double-backprop",
        generator=seeded(),
    )
    networks.assert_same(before, networks.snapshot(model))
    assert result.found.all() and (result.x - x).abs().max() <= EPSILON + 1e-12
    labels = model(x).argmax(1)
    assert torch.equal(model(result.x).argmax(1), labels)
    clean, maps = (
        attribution.pixel_map(getattr(attribution, method)(model, z, labels)) for z in (x, result.x)
    )
    expected = value(objective, clean, maps)
    torch.testing.assert_close(result.objective.double(), expected, rtol=1e-8, atol=1e-10)
    assert (expected - value(objective, clean, clean)).mean() > 0


def test_method_arguments_reach_the_method():
    """The objective is that of IG with the steps and the baseline asked for."""
    model, x = patient(), batch(2)
    arguments = {"steps": 3, "baseline": 0.5}
    result = attacks.attack(
        model,
        x,
        method="integrated_gradients",
        objective=attacks.TopK(K),
        epsilon=EPSILON,
        steps=4,
        generator=seeded(),
        method_args=arguments,
    )
    clean, maps = (explain(model, z, "integrated_gradients", None, **arguments) for z in (x, result.x))
    torch.testing.assert_close(result.objective.double(), value("top-k", clean, maps), rtol=1e-8, atol=1e-10)


def test_a_callable_is_a_method():
    model, x = patient(nn.Softplus), batch(2)
    named = attacks.attack(model, x, method="gradient", objective=attacks.TopK(K), epsilon=EPSILON, steps=5,
                           curvature="double-backprop", generator=seeded())
    called = attacks.attack(
        model,
        x,
        method=lambda m, z, t: attribution.gradient(m, z, t),
        objective=attacks.TopK(K),
        epsilon=EPSILON,
        steps=5,
        curvature="double-backprop",
        generator=seeded(),
    )
    torch.testing.assert_close(named.objective, called.objective, rtol=1e-6, atol=1e-9)
    assert called.found.all()


def test_target_mask_for_all_or_for_each_image():
    model, x = patient(), batch(2)
    one, each = (
        attacks.attack(
            model,
            x,
            method="gradient",
            objective=attacks.Target(mask),
            epsilon=EPSILON,
            steps=4,
            generator=seeded(),
        )
        for mask in (CORNER, CORNER.expand(2, 12, 12))
    )
    assert torch.equal(one.x, each.x)
    other = torch.stack([CORNER, CORNER.flip(0, 1)])
    mixed = attacks.attack(
        model,
        x,
        method="gradient",
        objective=attacks.Target(other),
        epsilon=EPSILON,
        steps=4,
        generator=seeded(),
    )
    maps = explain(model, mixed.x, target=model(x).argmax(1))
    torch.testing.assert_close(
        mixed.objective.double(), (maps * other).flatten(1).sum(1), rtol=1e-8, atol=1e-10
    )


# ------------------------------------------------------------------------------------- labels that break
class Brittle(nn.Module):
    """A bright image keeps its class at one exact place only; dark images keep theirs everywhere."""

    def __init__(self, special):
        super().__init__()
        self.net = patient(nn.Softplus)
        self.register_buffer("special", special)

    def forward(self, x):
        score = self.net(x)[:, 0]
        bright = (x.mean((1, 2, 3)) > 0.5).to(x.dtype)
        moved = (x - self.special).square().sum((1, 2, 3))
        return torch.stack([score, score - 1e-9 + bright * 1e9 * moved - (1 - bright)], 1)


@pytest.mark.parametrize("objective", OBJECTIVES)
@pytest.mark.parametrize("method", ["gradient", "integrated_gradients"])
def test_without_a_valid_iterate_x_comes_back(method, objective):
    x = images(2, 12)
    x[0], x[1] = 0.6 + 0.3 * x[0], 0.1 + 0.2 * x[1]
    model = Brittle(x[:1].clone()).eval()
    assert model(x).argmax(1).tolist() == [0, 0]
    result = attacks.attack(model, x, method=method, objective=OBJECTIVES[objective](), epsilon=0.05, steps=5,
                            generator=seeded(), curvature="finite-difference")
    assert result.found.tolist() == [False, True]
    assert torch.equal(result.x[0], x[0]) and not torch.equal(result.x[1], x[1])
    assert model(result.x).argmax(1).tolist() == [0, 0]


class Edgy(nn.Module):
    """Most of the ball belongs to another class: iterates come and go, and only some count."""

    def __init__(self):
        super().__init__()
        self.net = build(SMALL["plain"])

    def forward(self, x):
        logits = self.net(x)
        return torch.stack(
            [logits[:, 0], logits[:, 0] + 30 * (x - x.round(decimals=1)).abs().mean((1, 2, 3)) - 0.6], 1
        )


def test_label_is_kept_wherever_an_iterate_was_found():
    model, x = Edgy().eval(), images(6).round(decimals=1)
    labels = model(x).argmax(1)
    assert (labels == 0).all()
    assert (model(attacks.random_sign(x, epsilon=0.04, generator=seeded())).argmax(1) == 1).any()
    result = attacks.attack(model, x, method="gradient", objective=attacks.TopK(K), epsilon=0.04, steps=16)
    assert torch.equal(model(result.x).argmax(1), labels) and result.found.any()
    for i in range(6):
        assert torch.equal(result.x[i], x[i]) == (not result.found[i])


# ----------------------------------------------------------------------------------- strength, direction
@pytest.mark.parametrize("curvature, agreement", [("double-backprop", 0.999), ("finite-difference", 0.95)])
def test_first_step_is_the_sign_of_the_exact_direction(curvature, agreement):
    """One step of size epsilon on a softplus net: x + epsilon sign(H v), H the full Hessian."""
    model, x = patient(nn.Softplus), 0.2 + 0.6 * images(3, 12)
    labels = model(x).argmax(1)
    result = attacks.attack(
        model,
        x,
        method="gradient",
        objective=attacks.TopK(K),
        epsilon=0.01,
        steps=1,
        step_size=0.01,
        curvature=curvature,
    )
    assert result.found.all()
    for i in range(3):
        direction = oracle.topk_direction(model, x[i], int(labels[i]), K)
        firm = direction.abs() > 1e-3 * direction.abs().max()
        agrees = (result.x[i] - x[i] - 0.01 * direction.sign()).abs() < 1e-9
        assert firm.float().mean() > 0.5 and agrees[firm].double().mean() >= agreement


def test_the_written_out_direction_climbs_the_objective():
    """H v of the oracle is the gradient of D, by finite differences of D itself."""
    model, image = patient(nn.Softplus), 0.2 + 0.6 * images(1, 12)[0]
    label = int(model(image[None]).argmax())
    direction, way = oracle.topk_direction(model, image, label, K), images(1, 12, seed=3)[0] - 0.5
    clean = explain(model, image[None], target=label)[0]
    ahead, behind = (
        oracle.topk(clean, explain(model, (image + h * way)[None], target=label)[0], K) for h in (1e-5, -1e-5)
    )
    assert (
        abs((ahead - behind) / 2e-5 - float((direction * way).sum()))
        < 1e-6 * abs(float((direction * way).sum())) + 1e-9
    )


@pytest.mark.parametrize("activation", [nn.ReLU, SHARP], ids=["relu", "softplus"])
@pytest.mark.parametrize("method", ["gradient", "integrated_gradients"])
def test_finite_differences_are_as_strong_as_double_backprop(method, activation):
    model, x = patient(activation), batch(6)
    arguments = {"steps": 8} if method == "integrated_gradients" else {}
    labels = model(x).argmax(1)
    clean = explain(model, x, method, labels, **arguments)
    start = value("top-k", clean, clean).mean()
    gain = {}
    for curvature in ("finite-difference", "double-backprop"):
        result = attacks.attack(
            model,
            x,
            method=method,
            objective=attacks.TopK(K),
            epsilon=EPSILON,
            steps=STEPS,
            curvature=curvature,
            generator=seeded(),
            method_args=arguments,
        )
        gain[curvature] = float((result.objective * result.found + start * ~result.found).mean() - start)
    assert gain["double-backprop"] > 0 and gain["finite-difference"] > 0.85 * gain["double-backprop"], gain


@pytest.mark.parametrize("method", ["gradient", "integrated_gradients"])
def test_half_precision_directions_are_as_strong_and_leave_the_scores_alone(method):
    model, x = patient().float(), batch(6).float()
    arguments = {"steps": 8} if method == "integrated_gradients" else {}
    labels = model(x).argmax(1)
    clean = attribution.pixel_map(attribution.METHODS[method](model, x, labels, **arguments))
    left = {}
    for precision in (None, torch.bfloat16):
        result = attacks.attack(model, x, method=method, objective=attacks.TopK(K), epsilon=EPSILON, steps=STEPS,
                                curvature=attacks.FiniteDifference(precision=precision), generator=seeded(),
                                method_args=arguments)
        after = attribution.pixel_map(attribution.METHODS[method](model, result.x, labels, **arguments))
        assert result.x.dtype == torch.float32 and result.found.all() and torch.equal(model(result.x).argmax(1), labels)
        assert torch.allclose(result.objective, attacks.TopK(K).prepare(clean).score(after), atol=1e-5)
        left[precision] = metrics.topk_intersection(clean, after, K).mean().item()
    assert left[torch.bfloat16] < 0.9 and left[torch.bfloat16] < left[None] + 0.1, left


@pytest.mark.parametrize("precision", [torch.float64, "bfloat16", 16])
def test_a_direction_has_one_of_three_precisions(precision):
    with pytest.raises(ValueError, match="bfloat16"):
        attacks.FiniteDifference(precision=precision)


def test_finite_differences_are_the_default():
    model, x = patient(nn.Softplus), batch(2)
    settings = {"method": "gradient", "objective": attacks.TopK(K), "epsilon": EPSILON, "steps": 3}
    default, named = (
        attacks.attack(model, x, **settings, **extra) for extra in ({}, {"curvature": "finite-difference"})
    )
    assert torch.equal(default.x, named.x)


@pytest.mark.parametrize("steps, step_size, length", [(1, 0.005, 0.005), (1, None, 0.08), (2, None, 0.04),
                                                      (16, None, 0.005), (40, None, 0.005)])
def test_short_attacks_reach_the_sphere_and_long_ones_take_sixteenths(steps, step_size, length):
    """Every value that moves at all is a whole number of steps away from where it began."""
    model, x = patient(), 0.2 + 0.6 * images(2, 12)
    result = attacks.attack(model, x, method="gradient", objective=attacks.TopK(K), epsilon=0.08, steps=steps,
                            step_size=step_size)
    lengths = (result.x - x).abs() / length
    assert result.found.all() and (lengths - lengths.round()).abs().max() < 1e-9
    assert (lengths > 0).double().mean() > 0.5


def test_more_steps_never_hurt():
    """The best valid iterate wins, so a longer walk along the same path cannot end lower."""
    model, x = patient(), batch()
    scores = [
        attacks.attack(
            model, x, method="gradient", objective=attacks.TopK(K), epsilon=EPSILON, steps=steps,
            step_size=EPSILON / 16
        ).objective
        for steps in (1, 2, 4, 8, 16)
    ]
    assert all((later >= earlier - 1e-12).all() for earlier, later in zip(scores, scores[1:]))
    assert (scores[-1] > scores[0]).all()


def test_a_larger_ball_gives_a_stronger_attack():
    model, x = patient(), batch()
    scores = [
        attacks.attack(
            model, x, method="gradient", objective=attacks.TopK(K), epsilon=epsilon, steps=16
        ).objective.mean()
        for epsilon in (0.01, 0.04, 0.16)
    ]
    assert scores[0] < scores[1] < scores[2]


@pytest.mark.parametrize("curvature", ["finite-difference", "double-backprop"])
@pytest.mark.parametrize("activation", [nn.ReLU, SHARP], ids=["relu", "softplus"])
def test_mass_centre_attack_moves(activation, curvature):
    """Its direction is exactly zero at the start: it has to break the symmetry by itself."""
    model, x = patient(activation), batch(4)
    result = attacks.attack(
        model,
        x,
        method="gradient",
        objective=attacks.MassCenter(),
        epsilon=EPSILON,
        steps=STEPS,
        curvature=curvature,
        generator=seeded(),
    )
    labels = model(x).argmax(1)
    clean, maps = explain(model, x, target=labels), explain(model, result.x, target=labels)
    shift = metrics.center_shift(clean, maps)
    torch.testing.assert_close(result.objective.double(), shift.double(), rtol=1e-8, atol=1e-10)
    chance = [
        metrics.center_shift(
            clean,
            explain(model, attacks.random_sign(x, epsilon=EPSILON, generator=seeded(seed)), target=labels),
        ).mean()
        for seed in range(4)
    ]
    assert (shift > 0.01).all() and shift.mean() > 1.3 * sum(chance) / 4


def test_top_k_attack_empties_the_top_k():
    model, x = patient(), batch()
    result = attacked("top-k")
    labels = model(x).argmax(1)
    clean, maps = explain(model, x, target=labels), explain(model, result.x, target=labels)
    noise = explain(model, attacks.random_sign(x, epsilon=EPSILON, generator=seeded()), target=labels)
    assert (
        metrics.topk_intersection(clean, maps, K).mean()
        < metrics.topk_intersection(clean, noise, K).mean() - 0.1
    )
    for before, after, objective in zip(clean, maps, result.objective):
        best = sorted(top(before.flatten().tolist(), K))
        assert float(objective) == pytest.approx(-float(after.flatten()[best].sum()), abs=1e-9)


# --------------------------------------------------------------------------------------- reproducibility
@pytest.mark.parametrize("objective", OBJECTIVES)
@pytest.mark.parametrize("method", ["gradient", "integrated_gradients"])
def test_same_seed_same_bits(method, objective):
    model, x = patient(), batch(2)
    first, again = (
        attacks.attack(
            model,
            x,
            method=method,
            objective=OBJECTIVES[objective](),
            epsilon=EPSILON,
            steps=4,
            generator=seeded(5),
        )
        for _ in range(2)
    )
    for one, other in zip(tuple(first)[:4], tuple(again)[:4]):
        assert torch.equal(one, other)


def test_a_batch_is_its_images():
    model, x = patient(), batch(3)
    settings = {"method": "gradient", "objective": attacks.TopK(K), "epsilon": EPSILON, "steps": 6}
    whole = attacks.attack(model, x, **settings)
    single = torch.cat([attacks.attack(model, x[i:i + 1], **settings).objective for i in range(3)])
    torch.testing.assert_close(whole.objective, single, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
@pytest.mark.parametrize("curvature", ["finite-difference", "double-backprop"])
def test_attack_works_without_gradients(curvature, mode):
    model, x = patient(), batch(2)
    settings = {
        "method": "gradient",
        "objective": attacks.TopK(K),
        "epsilon": EPSILON,
        "steps": 3,
        "curvature": curvature,
    }
    expected = attacks.attack(model, x, **settings)
    with mode():
        result = attacks.attack(model, x.clone(), **settings)
    assert torch.equal(result.x, expected.x)


@pytest.mark.parametrize("curvature", ["finite-difference", "double-backprop"])
def test_nothing_of_the_model_changes(curvature):
    model, x = build(networks.batch_normed).to(memory_format=torch.channels_last), batch(2, 8)
    model[0].weight.requires_grad_(False)
    model[4].weight.grad = torch.ones_like(model[4].weight)
    before, given = networks.snapshot(model), x.clone()
    attacks.attack(model, x, method="gradient", objective=attacks.MassCenter(), epsilon=EPSILON, steps=3,
                   curvature=curvature, generator=seeded())
    networks.assert_same(before, networks.snapshot(model))
    networks.assert_torch_as_before()
    assert torch.equal(x, given) and x.grad is None


def test_nothing_changes_after_an_exception():
    model = build(networks.Failing)
    before = networks.snapshot(model)
    with pytest.raises(RuntimeError, match="planned failure"):
        attacks.attack(
            model, batch(2), method="gradient", objective=attacks.TopK(K), epsilon=EPSILON, steps=3
        )
    networks.assert_same(before, networks.snapshot(model))
    networks.assert_torch_as_before()


def test_training_mode_is_refused():
    with pytest.raises(ValueError, match="eval"):
        attacks.attack(
            patient().train(),
            batch(2),
            method="gradient",
            objective=attacks.TopK(K),
            epsilon=EPSILON,
            steps=3,
        )


def test_float32_images_stay_float32():
    model, x = patient().float(), batch(2).float()
    result = attacks.attack(model, x, method="gradient", objective=attacks.TopK(K), epsilon=EPSILON, steps=4)
    assert (
        result.x.dtype == torch.float32
        and (result.x - x).abs().max() <= EPSILON + 1e-6
        and result.found.all()
    )


def test_a_rectangle_is_where_it_was_asked_for():
    mask = attacks.rectangle((6, 9), 2, 3, 3, 4)
    assert mask.dtype == torch.bool and mask.shape == (6, 9) and mask.sum() == 12 and mask[2:5, 3:7].all()


@pytest.mark.parametrize("place", [(6, 0, 1, 1), (0, 0, 7, 1), (0, 8, 1, 2), (-1, 0, 1, 1), (0, 0, 0, 1)])
def test_a_rectangle_outside_the_image_is_refused(place):
    with pytest.raises(ValueError, match="must be a whole number"):
        attacks.rectangle((6, 9), *place)
