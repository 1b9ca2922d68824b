"""Networks of today: what they are, how they are trained, what the two experiments measure, and what the text says."""

import json

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from fragility import attribution, metrics
from lab import catalogue
from lab.chapters.scoreboard import scoreboard
from lab.chapters.transformers import kinds, numbers, perturbed, questions
from lab.core import profiles
from lab.core.frames import frame, select
from lab.core.pages import NotRun, Page
from lab.core.store import Store, canonical
from lab.evidence import evaluate
from lab.material import modern, networks
from lab.trained import natural, subjects
from lab.trained.maps import pixel_maps

WEIGHTS = {"mnist-vit": 155_082, "mnist-convnext": 15_642, "cifar-vit": 1_007_626, "cifar-convnext": 908_890}
VIT = {"network": "mnist-vit", "data_set": "mnist-5k", "epochs": 1, "learning_rate": 1e-3, "batch_size": 32, "seed": 0}
CNN = {"network": "mnist-cnn", "data_set": "mnist-5k", "epochs": 1, "seed": 0}


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return Store(tmp_path_factory.mktemp("store"))


def images(name, n=2):
    channels, side = (1, 28) if name.startswith("mnist") else (3, 32)
    return torch.rand(n, channels, side, side, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("name", modern.MODERN)
def test_a_modern_network_has_ten_logits_and_maps_before_it_is_trained(name):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = networks.load(name)
    assert not model.training and sum(value.numel() for value in model.parameters()) == WEIGHTS[name]
    assert model(images(name)).shape == (2, 10)
    for method in ("gradient", "attn_lrp", "grad_cam"):
        assert (attribution.METHODS[method](model, images(name), 3) != 0).flatten(1).any(1).all(), method


@pytest.mark.parametrize("name", modern.MODERN)
def test_transformers_are_those_with_attention(name):
    has = any(isinstance(part, nn.MultiheadAttention) for part in networks.load(name).modules())
    assert has == (name in modern.TRANSFORMERS) == kinds.has({"network": name}, "attention_rollout")
    assert kinds.has({"network": name}, "gradient") and name in kinds.KINDS


def test_a_normalised_image_of_middle_grey_is_zero():
    seen = []
    model = networks.load("mnist-convnext")
    model.network.features[0][0].register_forward_pre_hook(lambda layer, inputs: seen.append(inputs[0]))
    model(torch.full((1, 1, 28, 28), 0.75))
    assert (seen[0] == 1).all()


@pytest.mark.parametrize("given, held", [
    ({}, {}), ({"learning_rate": 2e-3, "batch_size": 128, "augmentation": "none"}, {}),
    ({"learning_rate": 1e-2}, {"learning_rate": 1e-2}),
    ({"augmentation": "flip-shift"}, {"augmentation": "flip-shift"})])
def test_a_cell_holds_of_a_recipe_what_is_not_usual(given, held):
    usual = {name: VIT[name] for name in ("network", "data_set", "epochs")}
    assert natural.Training.of({**usual, **given}).cell() == {**usual, **held}
    assert natural.cells(natural.Networks.of({**usual, **given, "seed": 3})) == [{**usual, **held, "seed": 3}]
    served, = natural.EXPERIMENT.serves({**usual, **held, "seed": 3, "images": 9, "k": 5})
    assert served == {**usual, **held, "seed": 3}


def test_the_recipe_decides_the_training(store, monkeypatch):
    seen = []
    monkeypatch.setattr(natural.training, "train", lambda *given, **options: seen.append(options))
    for more in ({}, {"learning_rate": 0.1, "batch_size": 7, "augmentation": "flip-shift"}):
        natural.run({**CNN, **more}, store)
    usual, own = seen
    assert usual.keys() == {"epochs", "generator", "augment"} and usual["augment"] is None
    assert (own["learning_rate"], own["batch_size"]) == (0.1, 7)
    assert own["augment"] is natural.AUGMENTATIONS["flip-shift"]


def test_recipes_and_augmentations_are_checked():
    for change, said in (({"augmentation": "mixup"}, "mixup"), ({"learning_rate": 0}, "learning_rate"),
                         ({"batch_size": 0}, "batch_size"), ({"data_set": "mnist-50k"}, "mnist-50k")):
        with pytest.raises(ValueError, match=said):
            kinds.Kind.of({"network": "mnist-vit", "data_set": "mnist-5k", "epochs": 1, **change})


def test_accuracy_is_that_of_the_trained_network(store):
    record = natural.EXPERIMENT.record(CNN, store)
    assert natural.accuracy({**CNN, "images": 4}, store) == record.table.accuracy.item()
    assert natural.accuracy({**CNN, "network": "resnet18"}, store) is None


@pytest.mark.parametrize("profile", profiles.PROFILES)
def test_grids_set_three_kinds_side_by_side(profile):
    for one, control in ((perturbed.EXPERIMENT, "other_image"), (questions.EXPERIMENT, None)):
        cells = one.cells(one.at(profile))
        assert {kinds.kind(cell)["kind"] for cell in cells} == set(kinds.ORDER)
        assert len({canonical(cell) for cell in cells}) == len(cells)
        rollouts = [cell for cell in cells if cell["method"] in kinds.OF_ATTENTION]
        assert rollouts and {cell["network"] for cell in rollouts} <= set(modern.TRANSFORMERS)
        if control:
            found = {(c["network"], c["method"], c["seed"]) for c in cells}
            controls = [c for c in cells if c["attack"] == control]
            assert {(c["network"], c["method"], c["seed"]) for c in controls} == found and len(controls) == len(found)


def test_perturbed_maps_are_scored_by_the_metrics(store):
    cell = {**CNN, "images": 6, "k": 40, "window": 1, "steps": 16, "method": "gradient"}
    model, x, labels = subjects.subjects(cell, store)
    clean = pixel_maps(model, x, labels, cell)
    other = perturbed.run({**cell, "attack": "other_image", "epsilon": 0.0}, store).table
    expected = torch.stack([metrics.lens_recall(clean, clean.roll(by, 0), 40, 1) for by in range(1, 6)]).mean(0)
    assert np.allclose(other.recall, expected) and other.found.isna().all()
    noisy = perturbed.run({**cell, "attack": "random_sign", "epsilon": 0.1}, store).table
    hit = perturbed.run({**cell, "attack": "topk", "epsilon": 0.1}, store).table
    assert (noisy.recall >= noisy.topk).all() and hit.topk.mean() < noisy.topk.mean()
    assert set(noisy.accuracy) == {natural.accuracy(cell, store)}


def test_a_rollout_is_attacked(store):
    cell = {**VIT, "images": 4, "k": 40, "window": 1, "steps": 16, "method": "attention_rollout", "epsilon": 0.1}
    noisy, hit = (perturbed.run({**cell, "attack": attack}, store).table for attack in ("random_sign", "topk"))
    assert hit.topk.mean() < noisy.topk.mean()


@pytest.fixture(scope="module")
def answers(store):
    cells = [{**VIT, "images": 6, "method": name} for name in ("gradient", "gradient_x_input", "attention_rollout",
                                                               "guided_backprop", "sobel")]
    return frame([questions.EXPERIMENT.record(cell, store) for cell in cells], kinds.kind)


def test_questions_are_the_scoreboards_own(store, answers):
    """The same rows, of five of its questions; the cascade's depths have the mean that is its score."""
    board = scoreboard.run({**VIT, "images": 6, "attacked": 0, "steps": 1, "method": "gradient"}, store).table
    mine = select(answers, method="gradient")
    assert set(mine.criterion) == {one.name for one in questions.CRITERIA} < set(board.criterion)
    for name in ("score", "effect", "excess"):
        theirs = board[board.criterion.isin(mine.criterion)]
        assert np.allclose(mine[name].astype(float), theirs[name].astype(float), atol=1e-5, equal_nan=True)
    rows = select(mine, criterion="parameters")
    assert np.allclose(rows[[f"random {depth}" for depth in range(1, 5)]].mean(axis=1), rows.score.astype(float),
                       atol=1e-5)


def test_what_is_refused_or_blind_is_told(answers):
    found = numbers.judged(answers).set_index(["method", "criterion"])
    judged = found.verdict
    assert set(judged["guided_backprop"]) == {"not judged"} and set(judged.index.levels[0]) >= {"attention_rollout"}
    assert judged["attention_rollout", "class"] == judged["sobel", "parameters"] == "fail"
    assert judged["gradient", "shift"] == judged["attention_rollout", "shift"] == "pass"
    assert judged["gradient_x_input", "shift"] == "fail"
    # On so few images the gradient of a barely trained network need not pass; it does tell classes apart.
    assert judged["gradient", "class"] != "fail" and found.effect["gradient", "class"] > 0.1


def made(kind, method, attack, epsilon, values):
    return [{"image": place, "kind": kind, "method": method, "attack": attack, "epsilon": epsilon, "topk": value,
             "spearman": value, "recall": value, "seed": 0, "accuracy": 0.9, "data_set": "d", "record": "r"}
            for place, value in enumerate(values)]


@pytest.fixture
def page(monkeypatch):
    """A page whose published edition has an attack that takes more on ConvNeXt and ViT than on the CNN."""
    rows = []
    for kind, left in zip(kinds.ORDER, (0.8, 0.3, 0.2)):
        rows += made(kind, "gradient", "other_image", 0.0, [0.25, 0.3, 0.35])
        for epsilon in (0.1, 0.2):
            rows += made(kind, "gradient", "random_sign", epsilon, [0.9, 0.91, 0.92])
            rows += made(kind, "gradient", "topk", epsilon, [left, left + 0.01, left + 0.02])
    table = pd.DataFrame(rows)
    table.attrs.update(done=1, cells=2)
    monkeypatch.setattr(Page, "edition", lambda self, experiment: table)
    return Page.at("transformers", "quick", None)


def test_numbers_are_means_at_the_largest_size(page):
    chapter = catalogue.chapter("transformers")
    about = chapter.describe("shown.topk.topk.vit.gradient", page)
    assert about["value"] == pytest.approx(0.21) and about["n"] == 3 and about["selection"]["epsilon"] == 0.2
    assert chapter.describe("shown.recall.other_image.vit.gradient", page)["value"] == pytest.approx(0.3)
    assert chapter.describe("edition.accuracy.vit", page)["value"] == pytest.approx(90)
    assert chapter.describe("published", page)["text"] == "1 of 2 cells on d"
    assert "not published yet" in chapter.describe("shown.topk.topk.vit.attention_rollout", page)["source"]


def test_statements_can_fail(page):
    held = catalogue.chapter("transformers").statements
    names = ("noise_tells_little_apart", "an_attack_takes_more_of_the_gradient",
             "forgiving_displacements_does_not_help")
    assert [held[name](page.strict()) for name in names] == [True, True, True]
    table = page.edition(None)
    vit = table.kind == "ViT"
    table.loc[vit & (table.attack == "random_sign"), "topk"] -= 0.2
    table.loc[vit & (table.attack == "topk"), ["topk", "recall"]] += 0.7
    assert [held[name](page.strict()) for name in names] == [False, False, False]


def test_without_an_edition_the_page_says_so():
    page = Page.at("transformers", "quick", None)
    if page.edition(perturbed.EXPERIMENT).empty:
        assert "nothing yet" in catalogue.chapter("transformers").describe("published", page)["text"]
        with pytest.raises(NotRun, match="of the live run"):
            numbers.of_run(page.strict(), "shown", perturbed.EXPERIMENT)


def test_edition_and_paper_differ_from_quick_in_scale_alone():
    quick, *others = (json.loads(canonical(profiles.parameters("transformers", one))) for one in profiles.PROFILES)
    for other in others:
        assert other["maps"] == quick["maps"] and other["perturbed_methods"] == quick["perturbed_methods"]
        assert other["images"] > quick["images"] and len(other["seeds"]) >= 3


def test_rows_of_a_map_that_is_refused_are_no_units_of_a_claim():
    """They have no image, and a claim over seeds and their images passes them over."""
    rows = [{"seed": seed, "image": image, "method": method, "score": base + 0.01 * seed + 0.02 * image}
            for seed in range(3) for image in range(4) for method, base in (("a", 0.5), ("b", 0.1))]
    refused = [{"seed": seed, "image": None, "method": "c", "score": None} for seed in range(3)]
    test = {"column": "score", "larger": {"method": "a"}, "smaller": {}, "one_of": {"method": ["b", "c"]},
            "over": "seed", "nested": "image"}
    judged = evaluate(test, pd.DataFrame(refused + rows))
    assert "b: 0.4 [0.4, 0.4]" in judged.measured_with_interval and judged.missing == "c"
    assert judged.measured == evaluate(test, pd.DataFrame(rows)).measured
