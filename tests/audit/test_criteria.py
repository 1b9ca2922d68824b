"""Every criterion against a slow twin, written from its definition: float64, one image at a time, plain loops."""

import copy
import math
from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest
import scipy.optimize
import torch
from torch import nn

from fragility import attribution, audit
from fragility.audit import CRITERIA
from fragility.audit.criteria import attack as attack_module
from fragility.audit.criteria import infidelity
from fragility.audit.criterion import NotApplicable
from fragility.audit.group import Group, defined, pixels
from fragility.audit.methods import Method
from fragility.audit.randomised import Randomised
from fragility.draws import normal_like
from tests.audit.small import METHODS, group, network, pictures, rows, run, settings
from tests.networks import build, images, mlp, plain, wide
from tests.oracles.metrics import average_ranks, top
from tests.oracles.removal import degrade

GRADIENT = METHODS["gradient"]


# Slow twins

def gradient(model, x, target):
    """The derivative of one logit, an image at a time."""
    maps = []
    for image, own in zip(x, target.tolist()):
        image = image[None].clone().requires_grad_()
        maps.append(torch.autograd.grad(model(image)[0, own], image)[0])
    return torch.cat(maps)


def strength(one):
    """Sum of absolute values over the channels of a map (c, h, w), as a flat list."""
    c, h, w = one.shape
    return [sum(abs(float(one[channel, i, j])) for channel in range(c)) for i in range(h) for j in range(w)]


def overlap(one, other, k):
    return len(top(strength(one), k) & top(strength(other), k)) / k


def near(one, other, k, window, width):
    """Share of the top of `other` within `window` rows and columns of one pixel of the top of `one`."""
    own = [divmod(place, width) for place in top(strength(one), k)]
    hits = 0
    for place in top(strength(other), k):
        i, j = divmod(place, width)
        hits += any(abs(i - p) <= window and abs(j - q) <= window for p, q in own)
    return hits / k


def rank_correlation(one, other):
    """Pearson's correlation of average ranks of signed values."""
    r, s = (np.array(average_ranks(values.flatten().tolist())) for values in (one, other))
    return float(np.corrcoef(r, s)[0, 1])


def partners(target):
    """The next image of the same class, in a circle; of a class alone, the next image."""
    found = []
    for place, own in enumerate(target):
        same = [other for other, one in enumerate(target) if one == own]
        found.append(same[(same.index(place) + 1) % len(same)] if len(same) > 1 else (place + 1) % len(target))
    return found


def probability(model, x, target):
    """Softmax of one logit, in Python."""
    values = []
    for logits, own in zip(model(x).tolist(), target.tolist()):
        most = max(logits)
        values.append(math.exp(logits[own] - most) / sum(math.exp(one - most) for one in logits))
    return values


def close(values, expected, tolerance=1e-9):
    torch.testing.assert_close(torch.as_tensor(values, dtype=torch.float64),
                               torch.as_tensor(expected, dtype=torch.float64), rtol=tolerance, atol=tolerance)


def measured(one, criterion, method=GRADIENT):
    return CRITERIA[criterion].measure(one, method, one.settings)


# Partners and what is shared

@pytest.mark.parametrize("target", [[0, 0], [0, 1], [0, 0, 0], [0, 1, 2], [0, 0, 1, 1, 1, 2], [1, 1, 1, 3, 4, 4]])
def test_a_partner_is_another_image_of_the_same_class_where_there_is_one(target):
    one = group(len(target), target=target)
    found = one.partners.tolist()
    assert found == partners(target)
    for place, partner in enumerate(found):
        assert partner != place
        assert target[partner] == target[place] or target.count(target[place]) == 1


@pytest.mark.parametrize("size", [10, 400, 660])
@pytest.mark.parametrize("n", range(2, 12))
def test_groups_cover_all_images_and_none_is_alone(n, size):
    """Of large images few stand in a group, but each has a partner."""
    def model(x):
        return torch.stack([x.mean((1, 2, 3)), x.amax((1, 2, 3))], 1)
    one = audit.subject.subject(model, torch.rand(n, 3, size, size, dtype=torch.float32).half())
    groups = one.groups
    assert [place for rows in groups for place in range(n)[rows]] == list(range(n))
    assert min(rows.stop - rows.start for rows in groups) >= 2


def test_random_numbers_belong_to_a_purpose_and_a_group():
    first, again, other = group(4), group(4), group(4, seed=1)
    assert torch.equal(first.noisy, again.noisy) and not torch.equal(first.noisy, other.noisy)
    random = METHODS["random"]
    clean = first.clean(random)
    assert torch.equal(clean, again.clean(random)) and not torch.equal(clean, first.under_noise(random))
    second = Group(first.model, first.x, first.target, place=1, first=4, settings=first.settings)
    assert not torch.equal(second.noisy, first.noisy)


def test_clean_maps_are_made_once():
    calls = []

    def counted(model, x, target):
        calls.append(len(x))
        return attribution.gradient(model, x, target)
    one, method = group(4), Method("counted", counted)
    for name in ("noise", "parameters", "class", "sensitivity", "infidelity", "removal", "deletion"):
        measured(one, name, method)
    # Clean, noise, two smaller radii, three depths, another class, two draws from the ball.
    assert calls == [4] * 10


# Noise

def test_noise_is_the_overlap_of_the_tops_with_and_without_random_signs():
    one = group(6, epsilon=0.1)
    size, k, width = one.settings.epsilon, one.k, 8
    moved = one.noisy - one.x
    inside = (one.x > size) & (one.x < 1 - size)
    close(moved[inside].abs(), [size] * int(inside.sum()))
    assert moved.abs().max() <= size + 1e-12 and 0.3 < (moved > 0).double().mean() < 0.7
    clean, noisy = gradient(one.model, one.x, one.target), gradient(one.model, one.noisy, one.target)
    found = measured(one, "noise")
    close(found.score, [overlap(a, b, k) for a, b in zip(clean, noisy)])
    assert found.score.min() < 1
    close(found.controls["another image"],
          [overlap(clean[place], clean[other], k) for place, other in enumerate(partners(one.target.tolist()))])
    for column, share in enumerate((0.25, 0.5)):
        x = (one.x + share * size * moved.sign()).clamp(0, 1)
        close(found.details["curve"][:, column],
              [overlap(a, b, k) for a, b in zip(clean, gradient(one.model, x, one.target))])
    close(found.details["curve"][:, 2], found.score)
    close(found.details["near"], [near(a, b, k, one.window, width) for a, b in zip(clean, noisy)])
    close(found.details["rank"], [np.corrcoef(average_ranks(strength(a)), average_ranks(strength(b)))[0, 1]
                                  for a, b in zip(clean, noisy)])


def test_the_top_is_the_share_that_was_asked_for():
    assert settings(k=0.02).top(28, 28) == 16 and settings(k=0.02).top(224, 224) == 1004
    assert settings(k=0.001).top(8, 8) == 1
    assert settings().window(28, 28) == 1 and settings().window(224, 300) == 8 and settings().window(8, 8) == 1


# Attacks

def attacked_by(monkeypatch, x, found):
    """Let the attack give these images."""
    calls = []

    def attack(model, clean, **options):
        calls.append((clean, options))
        return SimpleNamespace(x=x[:len(clean)], found=found[:len(clean)])
    monkeypatch.setattr(attack_module, "attack", attack)
    return calls


@pytest.mark.parametrize("criterion", ["attack", "attack-lens"])
def test_an_attack_is_scored_on_the_images_that_kept_their_label(monkeypatch, criterion):
    one = group(5, attacked=4)
    disturbed = (one.x[:4] + 0.03 * torch.randn(4, 3, 8, 8, dtype=torch.float64)).clamp(0, 1)
    found = torch.tensor([True, False, True, True])
    calls = attacked_by(monkeypatch, disturbed, found)
    result = measured(one, criterion)
    clean, after = (gradient(one.model, x, one.target[:4]) for x in (one.x[:4], disturbed))
    noisy = gradient(one.model, one.noisy[:4], one.target[:4])
    every = gradient(one.model, one.x, one.target)
    other = partners(one.target.tolist())

    def score(a, b):
        return near(a, b, one.k, one.window, 8) if criterion == "attack-lens" else overlap(a, b, one.k)
    assert result.rows == slice(0, 4) and result.score.isnan().tolist() == [False, True, False, False]
    places = [0, 2, 3]
    close(result.score[places], [score(clean[i], after[i]) for i in places])
    close(result.details["noise"][places], [score(clean[i], noisy[i]) for i in places])
    close(result.controls["another image"][places], [score(every[i], every[other[i]]) for i in places])
    close(result.details["moved"], (disturbed - one.x[:4]).abs().flatten(1).amax(1) / one.settings.epsilon)
    assert result.details["found"].tolist() == [1, 0, 1, 1]
    (seen, options), = calls
    assert torch.equal(seen, one.x[:4]) and options["steps"] == 3 and options["epsilon"] == one.settings.epsilon
    assert type(options["objective"]).__name__ == ("LensTopK" if criterion == "attack-lens" else "TopK")
    assert options["objective"].k == one.k


def test_a_real_attack_keeps_labels_and_the_ball_and_does_more_than_noise():
    one = group(x=images(6, 12), make=lambda: wide(nn.Softplus), attacked=6, steps=12)
    result = measured(one, "attack")
    assert result.details["found"].mean() >= 0.8 and result.details["moved"].max() <= 1 + 1e-9
    assert np.nanmean(result.score) < np.nanmean(result.details["noise"])
    assert CRITERIA["attack"].objection({**{name: value.numpy() for name, value in result.details.items()},
                                         "score": result.score.numpy()}) is None


def test_images_with_an_undefined_map_are_not_attacked(monkeypatch):
    one = group(4, attacked=4)

    def holes(model, x, target):
        maps = attribution.gradient(model, x, target)
        return torch.where((x == one.x[1]).all(), 0 * maps, maps) if len(x) == 1 else torch.cat(
            [holes(model, image, own) for image, own in zip(x.split(1), target.split(1))])
    calls = attacked_by(monkeypatch, one.x[[0, 2, 3]] * 0.98, torch.ones(3, dtype=torch.bool))
    result = measured(one, "attack", Method("holes", holes))
    assert len(calls[0][0]) == 3 and result.score.isnan().tolist() == [False, True, False, False]
    assert result.details["found"].tolist() == [1, 0, 1, 1]


def test_controls_are_not_attacked_and_a_refusal_is_a_reason():
    one = group(4)
    with pytest.raises(NotApplicable, match="control"):
        measured(one, "attack", METHODS["sobel"])
    flat = Method("weights", lambda model, x, target: torch.linspace(1, 2, 192, dtype=x.dtype).view(1, 3, 8, 8)
                  .expand_as(x))
    with pytest.raises(NotApplicable, match="The attack refuses this method"):
        measured(one, "attack", flat)


@pytest.mark.parametrize("shape", ["(n, h, w)", "(n, 1, h, w)"])
def test_a_method_with_one_value_a_pixel_is_attacked_as_one_with_a_value_a_channel(shape):
    def one_a_pixel(model, x, target):
        with torch.enable_grad():
            x = x if x.requires_grad else x.clone().requires_grad_()
            total = model(x).gather(1, target[:, None]).sum()
            maps, = torch.autograd.grad(total, x, create_graph=True)
        maps = maps.square().sum(1)
        return maps if shape == "(n, h, w)" else maps[:, None]

    def shared(model, x, target):
        return (one_a_pixel(model, x, target).reshape(len(x), 1, 8, 8) / 3).expand_as(x)
    one, twin = (group(4, make=lambda: plain(nn.Softplus), attacked=4) for _ in range(2))
    found = measured(one, "attack", Method("mine", one_a_pixel))
    expected = measured(twin, "attack", Method("mine", shared))
    close(found.score.nan_to_num(-1), expected.score.nan_to_num(-1))
    assert found.details["found"].sum() > 0


@pytest.mark.parametrize("found, moved, score, noise, word", [
    ([1, 1, 1, 0], [1, 1, 1, 1], 0.1, 0.9, "75%"), ([1, 1, 1, 1], [0.4] * 4, 0.1, 0.9, "40% of epsilon"),
    ([1, 1, 1, 1], [1, 1, 1, 1], 0.9, 0.8, "less than noise"), ([1, 1, 1, 1, 0], [1, 1, 1, 1, 0], 0.5, 0.5, None)])
def test_an_attack_that_shows_nothing_is_not_judged(found, moved, score, noise, word):
    found, n = np.array(found, float), len(found)
    hit = lambda value: np.where(found > 0, value, np.nan)
    sentence = CRITERIA["attack"].objection({"found": found, "moved": np.array(moved, float), "score": hit(score),
                                             "noise": hit(noise)})
    assert len(found) == n and (sentence is None if word is None else word in sentence)


# Removal

def test_a_network_that_hardly_reacts_is_not_judged_by_removal():
    objection = CRITERIA["removal"].objection
    flat = np.full((4, 3), 0.5)
    assert "changes by 0.005 on average" in objection({"most": flat, "least": flat + 0.005})
    assert objection({"most": flat, "least": flat + 0.2}) is None
    assert objection({}) is None                                    # records of a board hold no curves
    assert "changes by 0 " in objection({"most": np.vstack([flat, flat * np.nan]), "least": np.vstack([flat, flat])})


# Shift

def test_shift_of_the_gradient_is_none_and_that_of_gradient_times_input_is_known():
    """With f2(x + 1) = f(x): g does not change, and g (x + 1) - g x = g."""
    one = group(4)
    close(measured(one, "shift").score, torch.zeros(4), 1e-12)
    maps = gradient(one.model, one.x, one.target)
    expected = [float(g.norm() / (g * x).norm()) for g, x in zip(maps, one.x)]
    close(measured(one, "shift", METHODS["gradient_x_input"]).score, expected)


def test_shift_of_a_path_from_black_is_repaired_by_a_baseline_that_moves():
    one, steps = group(3), 50
    result = measured(one, "shift", METHODS["integrated_gradients"])

    def path(x, start, back):
        """Mid-points from `start` to x, for the network of images that were moved forth by `back`."""
        total = torch.zeros_like(x)
        for step in range(steps):
            at = start + (step + 0.5) / steps * (x - start)
            total += gradient(one.model, at - back, one.target) / steps
        return (x - start) * total
    black = torch.zeros_like(one.x)
    before, after = path(one.x, black, 0), path(one.x + 1, black, 1)
    close(result.score, [float((a - b).norm() / a.norm()) for a, b in zip(before, after)], 1e-7)
    assert result.score.min() > 1e-2
    close(result.details["repaired"], torch.zeros(3), 1e-10)
    assert "repaired" not in measured(one, "shift").details


def test_shift_of_a_map_that_takes_no_other_reference_is_scored_without_a_repair():
    one = group(3)
    zplus = Method("lrp_zplus", partial(attribution.lrp, rule="z+"))
    result = measured(one, "shift", zplus)
    assert result.score.min() > 1e-2 and "repaired" not in result.details
    cam = measured(one, "shift", METHODS["grad_cam"])
    close(cam.score, torch.zeros(3), 1e-10)


def test_shift_is_computed_in_float64_whatever_the_model():
    model = network(channels=3)
    x = pictures(4, 3).float()
    one = Group(model, x, model(x).argmax(1), place=0, first=0, settings=settings())
    assert measured(one, "shift", METHODS["smoothgrad"]).score.max() < 1e-9
    before = [value.clone() for value in model.state_dict().values()]
    assert all(torch.equal(a, b) for a, b in zip(before, model.state_dict().values()))
    assert {value.dtype for value in model.parameters()} == {torch.float32}


def test_a_function_has_no_shifted_twin_and_says_so():
    one = group(3)
    one.model = lambda x, model=one.model: model(x)
    with pytest.raises(NotApplicable, match="The shifted network cannot be made"):
        measured(one, "shift")


# Removal

@pytest.mark.parametrize("criterion, fill", [("removal", "noisy-linear"), ("deletion", "mean")])
def test_curves_of_removal_from_their_definition(criterion, fill):
    one = group(4)
    shares = one.settings.removed

    def curves(scores):
        noise = one.generator("imputation")
        sides = []
        for mode in ("remove", "keep"):
            side = []
            for share in shares:
                fraction = share if mode == "remove" else round(1 - share, 6)
                x = degrade(one.x, scores, fraction, mode=mode, fill=fill)
                if fill == "noisy-linear":
                    drawn = 0.01 * normal_like(one.x, noise)
                    x = torch.where((x != one.x).any(1, keepdim=True), x + drawn, x)
                side.append(probability(one.model, x, one.target))
            sides.append(torch.tensor(side, dtype=torch.float64).T)
        return sides

    def scores(maps):
        values = torch.tensor([strength(each) for each in maps], dtype=torch.float64).view(4, 8, 8)
        return values / values.sum((1, 2), keepdim=True)
    result = measured(one, criterion)
    most, least = curves(scores(gradient(one.model, one.x, one.target)))
    close(result.details["most"], most, 1e-6)
    close(result.details["least"], least, 1e-6)
    close(result.score, [sum(a - b for a, b in zip(high, low)) / len(shares)
                         for high, low in zip(least.tolist(), most.tolist())], 1e-6)
    most, least = curves(scores(METHODS["sobel"](one.model, one.x, one.target, draw=0)))
    close(result.controls["sobel"], (least - most).mean(1), 1e-6)
    assert set(result.controls) == {"sobel", "random"}
    assert set(measured(one, criterion, METHODS["sobel"]).controls) == {"random"}
    close(measured(one, criterion, METHODS["random"]).score, result.controls["random"])


def test_the_order_of_removal_is_that_of_the_map():
    """Of a network that looks at one pixel, a map of that pixel is the best there is, and its reverse the worst."""
    weight = torch.zeros(2, 64, dtype=torch.float64)
    weight[1, 27] = 40.0
    linear = nn.Linear(64, 2, bias=False, dtype=torch.float64)
    linear.weight = nn.Parameter(weight)
    model = nn.Sequential(nn.Flatten(), linear).eval()
    x = torch.full((2, 1, 8, 8), 0.1, dtype=torch.float64) + 0.001 * images(2, channels=1)
    x[:, 0, 3, 3] = 0.9
    one = Group(model, x, model(x).argmax(1), place=0, first=0, settings=settings())
    ramp = torch.arange(1.0, 65, dtype=torch.float64).view(8, 8).expand(2, 1, 8, 8).clone()
    good, bad = ramp.clone(), ramp.clone()
    good[:, 0, 3, 3], bad[:, 0, 3, 3] = 1000, 1e-9
    best = measured(one, "deletion", Method("good", lambda model, x, target: good))
    worst = measured(one, "deletion", Method("bad", lambda model, x, target: bad))
    assert (best.details["most"] < best.details["least"]).all() and (worst.score < 0).all()
    close(best.score, -worst.score, 1e-6)


# Parameters

def test_parameters_are_randomised_from_the_output_down():
    one = group(4, depths=3)
    result = measured(one, "parameters")
    clean = gradient(one.model, one.x, one.target)
    twin = copy.deepcopy(one.model)
    layers = [twin[6], twin[3], twin[0]]
    cascade = []
    for place, layer in enumerate(layers):
        source = torch.Generator().manual_seed(one.settings.seed + place)
        with torch.no_grad():
            for value in (layer.weight, layer.bias):
                mixed = value.flatten()[torch.randperm(value.numel(), generator=source)]
                value.copy_(mixed.view_as(value))
        maps = gradient(twin, one.x, one.target)
        cascade.append([rank_correlation(a, b) for a, b in zip(clean, maps)])
    close(result.details["cascade"], torch.tensor(cascade).T, 1e-7)
    close(result.score, torch.tensor(cascade, dtype=torch.float64).mean(0), 1e-7)
    noisy = gradient(one.model, one.noisy, one.target)
    close(result.controls["noise"], [rank_correlation(a, b) for a, b in zip(clean, noisy)], 1e-7)


@pytest.mark.parametrize("depths, changed", [(1, [3]), (2, [1, 3]), (3, [1, 2, 3]), (9, [1, 2, 3])])
def test_the_first_depth_is_the_output_and_the_last_is_all(depths, changed):
    model = build(plain)
    cascade = Randomised(model, images(1), depths, seed=3)
    order = [6, 3, 0]
    for depth, count in enumerate(changed, 1):
        other = cascade.at(depth)
        differ = [place for place in order if not torch.equal(other[place].weight, model[place].weight)]
        assert differ == order[:count]
        for place in order:         # entries change places, and no more
            assert torch.equal(other[place].weight.flatten().sort().values,
                               model[place].weight.flatten().sort().values)
    assert all(torch.equal(a, b) for a, b in zip(cascade.at(0).parameters(), model.parameters()))


def test_depths_may_be_asked_in_any_order():
    model, x = build(plain), images(1)
    one, other = Randomised(model, x, 3, 0), Randomised(model, x, 3, 0)
    for depth in (3, 1, 2, 2, 0, 3):
        assert torch.equal(one.at(depth)(x), Randomised(model, x, 3, 0).at(depth)(x))
    assert torch.equal(one.at(3)(x), other.at(3)(x))


def test_layers_are_ordered_as_they_are_called_not_as_they_are_written():
    class Backwards(nn.Module):
        def __init__(self):
            super().__init__()
            self.last, self.first = nn.Linear(8, 3), nn.Linear(192, 8)

        def forward(self, x):
            return self.last(self.first(x.flatten(1)).relu())
    model = build(Backwards)
    other = Randomised(model, images(1), 2, 0).at(1)
    assert torch.equal(other.first.weight, model.first.weight) and not torch.equal(other.last.weight, model.last.weight)


@pytest.mark.filterwarnings("ignore:.*torch.jit.*:FutureWarning")
def test_of_layers_whose_calls_are_not_seen_the_last_one_written_comes_first():
    model = torch.jit.trace(build(mlp), images(1))
    cascade = Randomised(model, images(1), 3, 0)
    names = {layer: name for name, layer in cascade.model.named_modules()}
    assert [names[layer] for layer in cascade.layers] == ["5", "3", "1"]


def test_randomising_leaves_the_users_model_alone():
    model = build(plain)
    model[0].weight.requires_grad_(False)
    hook = model[3].register_forward_hook(lambda *_: None)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    flags = {name: value.requires_grad for name, value in model.named_parameters()}
    one = group(3, make=plain)
    one.model, one.randomised = model, Randomised(model, one.x[:1], 3, 0)
    measured(one, "parameters")
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert flags == {name: value.requires_grad for name, value in model.named_parameters()}
    assert not any(part.training for part in model.modules())
    hooks = [count for part in model.modules() for count in (len(part._forward_hooks), len(part._forward_pre_hooks),
                                                             len(part._backward_hooks))]
    assert sum(hooks) == 1 and not any(value.grad is not None for value in model.parameters())
    hook.remove()


def test_a_function_and_a_module_without_parameters_are_not_randomised():
    with pytest.raises(NotApplicable, match="in a module only"):
        Randomised(lambda x: x, images(1), 3, 0)
    with pytest.raises(NotApplicable, match="no parameters"):
        Randomised(nn.Flatten().eval(), images(1), 3, 0)


# Class

def test_class_is_the_rank_correlation_with_another_class():
    one = group(5)
    other = one.other_class
    assert (other != one.target).all() and 0 <= int(other.min()) and int(other.max()) < 5
    clean, changed = (gradient(one.model, one.x, which) for which in (one.target, other))
    result = measured(one, "class")
    close(result.score, [rank_correlation(a, b) for a, b in zip(clean, changed)], 1e-7)
    noisy = gradient(one.model, one.noisy, one.target)
    close(result.controls["noise"], [rank_correlation(a, b) for a, b in zip(clean, noisy)], 1e-7)


def test_all_other_classes_are_drawn():
    one = group(200, target=[2] * 200)
    assert set(one.other_class.tolist()) == {0, 1, 3, 4}


def test_one_logit_has_no_other_class():
    one = group(3)
    one.model = nn.Sequential(nn.Flatten(), nn.Linear(192, 1, dtype=torch.float64)).eval()
    with pytest.raises(NotApplicable, match="one logit"):
        measured(one, "class")


# Completeness

@pytest.mark.parametrize("name", ["integrated_gradients", "deeplift"])
def test_completeness_is_the_distance_of_the_sum_from_the_difference_of_logits(name):
    one = group(4)
    result = measured(one, "completeness", METHODS[name])
    black = one.model(torch.zeros_like(one.x[:1]))[0].tolist()
    logits, maps = one.model(one.x).tolist(), METHODS[name](one.model, one.x, one.target, draw=0).tolist()
    promised = [logits[place][own] - black[own] for place, own in enumerate(one.target.tolist())]
    totals = [sum(value for plane in each for line in plane for value in line) for each in maps]
    scale = sum(abs(value) for value in promised) / 4
    close(result.score, [abs(total - value) / scale for total, value in zip(totals, promised)])
    assert result.score.max() < (1e-9 if name == "deeplift" else 0.2) and not result.controls


def test_only_what_promises_a_sum_from_black_is_held_to_it():
    from functools import partial
    assert METHODS["deeplift"].complete and not METHODS["gradient"].complete
    assert Method("mine", attribution.integrated_gradients).complete
    assert Method("mine", partial(attribution.integrated_gradients, steps=3)).complete
    for other in (partial(attribution.integrated_gradients, baseline=0.5), lambda model, x, target: x):
        assert not Method("integrated_gradients", other).complete


# Sensitivity and infidelity

def test_sensitivity_is_the_largest_relative_distance_within_the_ball():
    one = group(4, samples=(3, 6))
    result = measured(one, "sensitivity")
    clean, worst = gradient(one.model, one.x, one.target), [0.0] * 4
    drawn = [one.shared(f"ball {draw}", lambda: None) for draw in range(3)]
    assert not torch.equal(drawn[0], drawn[1])
    for x in drawn:
        assert (x - one.x).abs().max() <= 0.05 + 1e-12 and x.min() >= 0 and x.max() <= 1
        for place, other in enumerate(gradient(one.model, x, one.target)):
            worst[place] = max(worst[place], float((clean[place] - other).norm() / clean[place].norm()))
    close(result.score, worst)
    # Two independent maps of n values lie sqrt(2) of their length apart.
    assert abs(float(result.controls["random"].mean()) - math.sqrt(2)) < 0.1


def _left(predicted, change):
    """By a search for the best scale."""
    def loss(scale):
        return ((scale * predicted - change) ** 2).mean() / (change ** 2).mean()
    most = 10 * np.abs(change).max() / np.abs(predicted).max()
    return min(loss(0.0), scipy.optimize.minimize_scalar(loss, bounds=(0, most), method="bounded",
                                                         options={"xatol": 1e-12}).fun)


def unexplained(maps, x, squares, change):
    """By sums over rectangles, a value at a time."""
    shares = []
    for each, image, differences in zip(maps, x, change.tolist()):
        predicted = []
        for upper, lower, left, right in squares.tolist():
            total = 0.0
            for channel in range(len(image)):
                mean = float(image[channel].mean())
                for i in range(upper, lower):
                    for j in range(left, right):
                        total += (float(image[channel, i, j]) - mean) * float(each[channel, i, j])
            predicted.append(total)
        shares.append(_left(np.array(predicted), np.array(differences)))
    return shares


def test_infidelity_is_what_the_best_scaled_map_leaves_of_the_changes():
    one = group(3, samples=(2, 8))
    result = measured(one, "infidelity")
    squares, change = one.shared("squares", lambda: None)
    assert squares.shape == (8, 4) and len(set(map(tuple, squares.tolist()))) > 1
    for column, (upper, lower, left, right) in enumerate(squares.tolist()):
        assert lower - upper == right - left == 2 and 0 <= upper and lower <= 8 and 0 <= left and right <= 8
        for place, image in enumerate(one.x):
            replaced = image.clone()
            for channel in range(3):
                replaced[channel, upper:lower, left:right] = image[channel].mean()
            own = int(one.target[place])
            expected = one.model(image[None])[0, own] - one.model(replaced[None])[0, own]
            close(change[place, column], expected.detach())
    close(result.score, unexplained(gradient(one.model, one.x, one.target), one.x, squares, change), 1e-5)
    assert (result.score <= 1 + 1e-12).all() and (result.controls["random"] <= 1 + 1e-12).all()


def test_infidelity_of_a_linear_network_is_zero_for_the_gradient_and_one_for_its_opposite():
    one = group(3, make=lambda: nn.Sequential(nn.Flatten(), nn.Linear(192, 5)))
    close(measured(one, "infidelity").score, torch.zeros(3))
    opposite = Method("opposite", lambda model, x, target: -attribution.gradient(model, x, target))
    close(measured(one, "infidelity", opposite).score, torch.ones(3))
    scaled = Method("scaled", lambda model, x, target: 1e-3 * attribution.gradient(model, x, target))
    close(measured(one, "infidelity", scaled).score, torch.zeros(3))


def test_squares_reach_every_border():
    one = group(2, samples=(2, 400))
    squares, _ = infidelity._squares(one, 400)
    assert squares[:, 0].min() == squares[:, 2].min() == 0 and squares[:, 1].max() == squares[:, 3].max() == 8


# Cost

def test_cost_is_the_time_of_the_maps_of_a_group(monkeypatch):
    times = iter((10.0, 13.0))
    monkeypatch.setattr("fragility.audit.group.time", SimpleNamespace(perf_counter=lambda: next(times)))
    close(measured(group(6), "cost").score, torch.full((6,), 0.5))
    assert CRITERIA["cost"].margin is None


# Undefined maps

def test_defined_and_pixels():
    maps = torch.stack([torch.rand(2, 3, 3), torch.zeros(2, 3, 3), torch.full((2, 3, 3), 2.0),
                        torch.full((2, 3, 3), torch.nan)])
    assert defined(maps).tolist() == [True, False, False, False]
    shown = pixels(maps)
    close(shown[0].flatten(), [value / sum(strength(maps[0])) for value in strength(maps[0])], 1e-6)
    assert shown[1:].isnan().all()


def holes(kind, count):
    """The gradient with that many undefined maps: those of the darkest of the tests' images."""
    dark = pictures(40).flatten(1).mean(1).sort().values[count - 1] if count else -1.0

    def method(model, x, target):
        maps = attribution.gradient(model, x, target).clone()
        maps[x.flatten(1).mean(1) <= dark + 1e-9] = {"zero": 0.0, "constant": 1.0, "NaN": torch.nan,
                                                      "infinite": torch.inf}[kind]
        return maps
    return method


@pytest.mark.parametrize("kind", ["zero", "constant", "NaN", "infinite"])
@pytest.mark.parametrize("count", [2, 3])
def test_undefined_maps_are_counted_and_more_than_a_twentieth_fails_by_name(kind, count):
    report = run(x=pictures(40), methods={"holes": holes(kind, count)}, criteria=["noise", "class", "cost", "deletion"])
    assert sum(row["undefined"] for row in report.rows() if (row["method"], row["criterion"]) == ("holes", "noise")) \
        == count
    for name in ("noise", "class", "deletion"):
        found = report.verdict("holes", name)
        assert found.undefined == count and found.n == 40 - count - (name == "noise") * _without_partner(report)
        if count == 3:
            assert found.verdict == "fail" and "undefined" in found.reason and "8%" in found.reason
        else:
            assert "undefined" not in found.reason and found.score is not None
    assert report.verdict("holes", "cost").verdict == "not judged"


def _without_partner(report):
    """Images of which the map is defined, but not that of their partner."""
    return sum(row["control: another image"] != row["control: another image"] and not row["undefined"]
               for row in report.rows() if (row["method"], row["criterion"]) == ("holes", "noise"))


def test_a_map_that_is_undefined_under_noise_only_is_counted_too():
    def shy(model, x, target):
        maps = attribution.gradient(model, x, target)
        known = {tuple(image.flatten().tolist()[:5]) for image in pictures(8)}
        keep = torch.tensor([tuple(image.flatten().tolist()[:5]) in known for image in x])
        return torch.where(keep[:, None, None, None], maps, 0 * maps)
    report = run(methods={"shy": shy}, criteria=["noise", "sensitivity"])
    for name in ("noise", "sensitivity"):
        found = report.verdict("shy", name)
        assert (found.verdict, found.undefined, found.n) == ("fail", 8, 0) and "undefined" in found.reason


def test_undefined_maps_reach_the_rows_as_missing_scores():
    report = run(methods={"holes": holes("zero", 1)}, x=pictures(40), criteria=["noise"])
    missing = [row for row in rows(report) if row["undefined"]]
    assert [(row["method"], row["score"]) for row in missing] == [("holes", None)]
