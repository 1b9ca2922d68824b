"""Robust training: what the attacks of the training find, what its losses are, and that it works."""

import re

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from fragility import attribution, training
from fragility.training import robust
from lab.chapters.lens import separation
from lab.material import architectures, data, networks
from tests.networks import build, images


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def tiny(activation=nn.Tanh):
    """Smooth, so that central differences of its weights mean something."""
    return build(lambda: nn.Sequential(nn.Conv2d(3, 4, 3), activation(), nn.Flatten(), nn.Linear(64, 5)))


BALL = robust.Ball(0.1, 3, 0.04)
X, LABELS = images(n=4, size=6), torch.tensor([0, 3, 1, 4])


# ---------------------------------------------------------------------------------------------- the attack
def test_the_attack_stays_in_the_ball_and_in_range():
    for epsilon in (0.05, 0.6):
        moved = robust.maximise_in_ball(tiny(), X, LABELS, robust.Ball(epsilon, 4, 0.5 * epsilon), seeded())
        assert (moved - X).abs().max() <= epsilon + 1e-12 and moved.min() >= 0 and moved.max() <= 1
        assert not moved.requires_grad


def test_the_attack_raises_the_loss_and_starts_at_random():
    model = tiny()
    loss = [F.cross_entropy(model(x), LABELS).item()
            for x in (X, robust.maximise_in_ball(model, X, LABELS, BALL, seeded()))]
    assert loss[1] > loss[0]
    pair = [robust.maximise_in_ball(model, X, LABELS, robust.Ball(0.1, 1, 1e-6), seeded(seed)) for seed in (0, 1)]
    assert not torch.allclose(*pair, atol=1e-3)
    assert torch.equal(pair[0], robust.maximise_in_ball(model, X, LABELS, robust.Ball(0.1, 1, 1e-6), seeded(0)))


def test_one_step_is_the_sign_of_the_gradient():
    model, far = tiny(), robust.Ball(0.2, 1, 0.4)       # one step crosses the whole ball, wherever it starts
    moved = robust.maximise_in_ball(model, X, LABELS, far, seeded())
    low, high = (X - 0.2).clamp_min(0), (X + 0.2).clamp_max(1)
    assert ((moved - low).abs().minimum((moved - high).abs()) < 1e-12).all()
    start = torch.lerp(low, high, torch.rand(X.shape, dtype=X.dtype, generator=seeded())).requires_grad_()
    slope, = torch.autograd.grad(F.cross_entropy(model(start), LABELS, reduction="sum"), start)
    assert torch.equal(moved == high, slope > 0)


def test_the_attack_leaves_the_mode_alone_also_after_an_error():
    model = nn.Sequential(nn.Flatten(), nn.Linear(108, 5), nn.BatchNorm1d(5)).double().train()
    before = model[2].running_mean.clone()
    robust.maximise_in_ball(model, X, LABELS, BALL, seeded())
    assert model.training and torch.equal(model[2].running_mean, before)

    def broken(*batch):
        raise RuntimeError("stop")
    with pytest.raises(RuntimeError, match="stop"):
        robust.maximise_in_ball(model, X, LABELS, BALL, seeded(), broken)
    assert model.training


def test_the_attack_leaves_a_frozen_batch_norm_frozen():
    model = nn.Sequential(nn.Flatten(), nn.Linear(108, 5), nn.BatchNorm1d(5)).double().train()
    model[2].eval()
    robust.maximise_in_ball(model, X, LABELS, BALL, seeded())
    assert [part.training for part in model.modules()] == [True, True, True, False]


def test_floats_withstand_as_bytes_do():
    model = tiny(nn.ReLU).float()
    x = (255 * images(n=40, size=6)).byte()
    with torch.no_grad():
        labels = model(training.as_float(x)).argmax(1)
    ball = robust.Ball(0.02, 2, 0.01)
    both = [robust.withstands(model, part, labels, ball, seeded()) for part in (x, training.as_float(x))]
    assert torch.equal(*both) and 0 < both[0].float().mean() < 1


BYTES = torch.zeros(4, 3, 6, 6, dtype=torch.uint8)
UNFIT = {"training mode": (lambda: tiny().float().train(), BYTES, LABELS, "training mode"),
         "too few labels": (lambda: tiny().float(), BYTES, LABELS[:2], "labels must be"),
         "labels (n, 1)": (lambda: tiny().float(), BYTES, LABELS[:, None], "labels must be"),
         "int32 labels": (lambda: tiny().float(), BYTES, LABELS.int(), "labels must be"),
         "a list": (lambda: tiny().float(), BYTES, LABELS.tolist(), "labels must be"),
         "labels out of range": (lambda: tiny().float(), BYTES, LABELS + 1, "classes 0 to 4"),
         "negative labels": (lambda: tiny().float(), BYTES, LABELS - 1, "classes 0 to 4"),
         "no images": (lambda: tiny().float(), BYTES[:0], LABELS[:0], "empty"),
         "numpy": (lambda: tiny().float(), BYTES.numpy(), LABELS, "images must be"),
         "another precision": (tiny, BYTES, LABELS, "float64"),
         "out of [0, 1]": (lambda: tiny().float(), 2 + BYTES.float(), LABELS, "[0, 1]")}


@pytest.mark.parametrize("kind", UNFIT)
def test_images_and_labels_that_do_not_fit_are_refused_before_anything_moves(kind):
    make, x, labels, said = UNFIT[kind]
    model = make()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    calls = {"test": lambda: training.accuracy(model, x, labels),
             "withstand": lambda: robust.withstands(model, x, labels, BALL, seeded()),
             "train": lambda: training.train(model, x, labels, epochs=1, batch_size=2, generator=seeded())}
    if kind == "training mode":
        del calls["train"]
    for call in calls.values():
        with pytest.raises(ValueError, match=re.escape(said)):
            call()
    assert model.training == (kind == "training mode")
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


@pytest.mark.parametrize("change", [{"learning_rate": -1.0}, {"learning_rate": float("nan")}, {"label_smoothing": 2.0},
                                    {"label_smoothing": -1.0}, {"augment": training.FlipShift(shift=6)}])
def test_training_refuses_numbers_out_of_range(change):
    with pytest.raises(ValueError, match="learning_rate|label_smoothing|shift"):
        training.train(tiny().float(), BYTES, LABELS, **{"epochs": 1, "batch_size": 2, "generator": seeded(), **change})


# ----------------------------------------------------------------------------------------- the regularisers
def test_attributions_of_the_loss_are_a_riemann_sum():
    model, moved, points = tiny(nn.ReLU), images(n=4, size=6, seed=1), 7
    expected = torch.zeros_like(X)
    for row in range(len(X)):
        for step in range(1, points + 1):
            point = (X[row] + step / points * (moved[row] - X[row]))[None].requires_grad_()
            slope, = torch.autograd.grad(F.cross_entropy(model(point), LABELS[row:row + 1]), point)
            expected[row] += (moved[row] - X[row]) * slope[0] / points
    found = robust.loss_attribution(model, X, moved, LABELS, points)
    assert torch.allclose(found, expected, atol=1e-12)


def test_attributions_of_the_loss_sum_to_its_change():
    model, moved = tiny(), images(n=4, size=6, seed=1)
    change = [F.cross_entropy(model(x), LABELS, reduction="none") for x in (X, moved)]
    sums = robust.loss_attribution(model, X, moved, LABELS, 4000).sum((1, 2, 3))
    assert torch.allclose(sums, change[1] - change[0], atol=1e-3)


@pytest.mark.parametrize("name", ["pgd", "ig_norm", "ig_sum_norm"])
def test_objectives_are_their_formulas_at_what_the_attack_finds(name):
    model, points, weight = tiny(), 6, 0.7

    def entropy(x):
        return F.cross_entropy(model(x), LABELS, reduction="none")

    def size(moved, points):
        return robust.loss_attribution(model, X, moved, LABELS, points).abs().sum((1, 2, 3))
    formulas = {
        "pgd": (None, lambda x: entropy(x)),
        "ig_norm": (lambda m, x, moved, y: size(moved, 2), lambda x: entropy(X) + weight * size(x, points)),
        "ig_sum_norm": (lambda m, x, moved, y: entropy(moved) + weight * size(moved, 2),
                        lambda x: entropy(x) + weight * size(x, points))}
    inner_objective, formula = formulas[name]
    makers = {"pgd": lambda: robust.pgd(BALL, seeded()),
              "ig_norm": lambda: robust.ig_norm(BALL, seeded(), weight=weight, points=points, attack_points=2),
              "ig_sum_norm": lambda: robust.ig_sum_norm(BALL, seeded(), beta=weight, points=points, attack_points=2)}
    moved = robust.maximise_in_ball(model, X, LABELS, BALL, seeded(), inner_objective)
    assert torch.allclose(makers[name]()(model, X, LABELS), formula(moved).mean(), atol=1e-12)


def test_ig_sum_norm_differs_from_pgd_by_its_norm_only():
    model = tiny()
    plain = robust.pgd(BALL, seeded())(model, X, LABELS)
    assert torch.allclose(robust.ig_sum_norm(BALL, seeded(), beta=0.0, points=3)(model, X, LABELS), plain)
    assert robust.ig_sum_norm(BALL, seeded(), beta=1.0, points=3)(model, X, LABELS) > plain


@pytest.mark.parametrize("make", [robust.ig_norm, robust.ig_sum_norm])
def test_half_precision_computes_the_same_loss_to_its_digits(make):
    model, x = tiny().float(), X.float()
    still, points = robust.Ball(0.1, 1, 1e-6), {"points": 4, "attack_points": 2}
    values = [make(still, seeded(), precision=precision, **points)(model, x, LABELS)
              for precision in (None, torch.bfloat16)]
    assert values[1].dtype == torch.float32 and values[0] != values[1]
    assert values[1].item() == pytest.approx(values[0].item(), rel=0.03)
    slopes = [torch.autograd.grad(value, model[0].weight)[0] for value in values]
    assert torch.cosine_similarity(slopes[0].flatten(), slopes[1].flatten(), dim=0) > 0.99
    with pytest.raises(ValueError, match="precision"):
        make(BALL, seeded(), precision="bfloat16")


@pytest.mark.parametrize("name", ["ig_norm", "ig_sum_norm"])
def test_gradients_of_the_objectives_are_those_of_central_differences(name):
    """Through the integrated gradients, that is to second order; what the attack found counts as a constant."""
    model, moved = tiny(), images(n=4, size=6, seed=1)
    weight = model[0].weight

    def objective():
        size = robust.loss_attribution(model, X, moved, LABELS, 5).flatten(1).abs().sum(1).mean()
        return F.cross_entropy(model(X if name == "ig_norm" else moved), LABELS) + size
    slope, = torch.autograd.grad(objective(), weight)
    for place in [(0, 0, 0, 0), (1, 2, 1, 2), (3, 1, 2, 0)]:
        values = []
        for step in (1e-5, -1e-5):
            with torch.no_grad():
                weight[place] += step
            values.append(objective().item())
            with torch.no_grad():
                weight[place] -= step
        assert slope[place].item() == pytest.approx((values[0] - values[1]) / 2e-5, rel=1e-4, abs=1e-7)


@pytest.mark.parametrize("ball", [(0.0, 3, 0.1), (1.5, 3, 0.1), (0.1, 0, 0.1), (0.1, 2.5, 0.1), (0.1, 3, 0.0),
                                  (float("nan"), 3, 0.1)])
def test_bad_balls_are_refused(ball):
    for make in (robust.pgd, robust.ig_norm, robust.ig_sum_norm):
        with pytest.raises(ValueError, match="epsilon|steps|step_size"):
            make(robust.Ball(*ball), seeded())


@pytest.mark.parametrize("change", [{"points": 0}, {"attack_points": 0}, {"points": 2.0}, {"beta": -1.0}])
def test_bad_regularisers_are_refused(change):
    with pytest.raises(ValueError, match=next(iter(change))):
        robust.ig_sum_norm(BALL, seeded(), **change)
    with pytest.raises(ValueError):
        robust.ig_norm(BALL, seeded(), **{name.replace("beta", "weight"): value for name, value in change.items()})


# ------------------------------------------------------------------------------------------------- training
@pytest.fixture(scope="module")
def trained():
    """A naturally trained network and what PGD training makes of it, in seconds."""
    digits = data.load("mnist-5k", "train")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        natural, hardened = networks.load("mnist-cnn"), networks.load("mnist-cnn")
    training.train(natural, digits.images, digits.labels, epochs=3, generator=seeded())
    hardened.load_state_dict(natural.state_dict())
    training.train(hardened, digits.images, digits.labels, epochs=3, generator=seeded(),
                   loss=robust.pgd(robust.Ball(0.1, 1, 0.12), seeded()))
    return natural, hardened


def test_robust_training_reaches_its_accuracy_and_withstands_more(trained):
    test = data.load("mnist-5k", "test")
    accuracy = [training.accuracy(model, test.images, test.labels) for model in trained]
    assert min(accuracy) > 0.88, accuracy
    withstood = [robust.withstands(model, test.images[:300], test.labels[:300], robust.Ball(0.1, 8, 0.03),
                                   seeded()).float().mean().item() for model in trained]
    assert withstood[1] > withstood[0] + 0.1 and withstood[1] > 0.7, withstood
    assert not trained[1].training


def test_what_withstands_is_classified_correctly(trained):
    test = data.load("mnist-5k", "test")
    x, labels = test.images[:100], test.labels[:100]
    withstood = robust.withstands(trained[0], x, labels, robust.Ball(1e-4, 1, 1e-4), seeded())
    correct = trained[0](training.as_float(x)).argmax(1) == labels
    assert torch.equal(withstood, correct)
    wrong = robust.withstands(trained[0], x, (labels + 1) % 10, BALL, seeded())
    assert wrong.float().mean() < 0.5
    with pytest.raises(ValueError, match="training mode"):
        robust.withstands(networks.load("mnist-cnn").train(), x, labels, BALL, seeded())


def test_training_lowers_the_objective_of_ig_sum_norm(trained):
    digits = data.load("mnist-5k", "train")
    x, labels = digits.images[:300], digits.labels[:300]
    model = networks.load("mnist-cnn", weights=trained[0].state_dict())

    def loss():
        return robust.ig_sum_norm(robust.Ball(0.1, 1, 0.1), seeded(), beta=1.0, points=3, attack_points=2)
    before = loss()(model, training.as_float(x), labels).item()
    training.train(model, x, labels, epochs=1, batch_size=30, learning_rate=2e-3, generator=seeded(), loss=loss())
    assert loss()(model, training.as_float(x), labels).item() < 0.9 * before


# ------------------------------------------------------------------------------------------------- networks
@pytest.mark.parametrize("name, side", [("kamath-gtsrb", 32), ("kamath-flower", 64)])
def test_the_small_resnets_standardise_and_can_be_explained(name, side):
    model = networks.load(name)
    x = torch.rand(2, 3, side, side, generator=seeded())
    assert torch.allclose(model(x), model(0.3 * x + 0.2), atol=1e-3)
    assert not any(isinstance(part, nn.modules.batchnorm._BatchNorm) for part in model.modules())
    maps = attribution.integrated_gradients(model, x, baseline=0.5 * x, steps=4)
    assert maps.shape == x.shape and attribution.gradient(model, x).abs().sum() > 0


def test_a_pre_activation_block_starts_at_its_shortcut():
    block = architectures.PreActivation(16, 32, 2).double()
    for part in block.body:
        if isinstance(part, nn.Conv2d):
            nn.init.zeros_(part.weight)
    x = images(n=2, size=8, channels=16)
    out = block(x)
    assert out.shape == (2, 32, 4, 4) and torch.allclose(out[:, 8:24], F.avg_pool2d(x, 2))
    assert out[:, :8].abs().max() == 0 and out[:, 24:].abs().max() == 0


# ------------------------------------------------------------------------------------- telling noise from attack
def test_shares_average_to_the_area_under_the_curve():
    generator = np.random.default_rng(0)
    high, low = generator.integers(3, 9, 40).astype(float), generator.integers(0, 7, 40).astype(float)
    pairs = [(a > b) + 0.5 * (a == b) for a in high for b in low]
    assert separation.auc_shares(high, low).mean() == pytest.approx(np.mean(pairs))
    assert separation.auc_shares(low, low).mean() == pytest.approx(0.5)
    assert separation.auc_shares(high + 10, low).tolist() == [1.0] * 40


def test_shares_vary_with_both_samples():
    """An interval from one sample alone would be blind to the other's spread."""
    low = np.array([0.0, 3.0])
    assert separation.auc_shares(np.array([2.0, 2.0]), low).std() > 0
    assert separation.auc_shares(low, np.array([2.0, 2.0])).std() > 0
