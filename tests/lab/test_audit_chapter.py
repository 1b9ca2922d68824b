"""The chapter's planted maps and network, and its tables, on a small network of random weights."""

import pytest
import torch

from fragility import audit, training
from lab.chapters.audit import planted, tables
from lab.core import profiles
from lab.core.store import Store
from lab.material import data
from lab.trained import natural
from tests import networks


@pytest.fixture(scope="module")
def report():
    model = networks.build(networks.plain, dtype=torch.float32)
    return audit.run(model, networks.images(6, dtype=torch.float32), methods=["gradient"], attacked=2, steps=2,
                     criteria=["noise", "shift", "parameters", "cost"], progress=False)


def test_the_grid_has_a_word_for_each_judged_criterion(report):
    grid = tables.grid(report)
    assert list(grid.columns) == ["noise", "shift", "parameters"]
    assert list(grid.index) == ["gradient", "sobel", "random"]
    assert set(grid.to_numpy().ravel()) <= set(tables.SIGNS.values())
    assert grid.loc["sobel", "parameters"] == "FAIL" and grid.loc["gradient", "shift"] == "pass"


def test_effects_are_those_of_the_verdicts(report):
    table, verdict = tables.effects(report, "noise"), report.verdict("gradient", "noise")
    assert table.loc["gradient", "effect"] == round(verdict.effect, 2)
    assert table.loc["gradient", "control"] == round(verdict.control_score, 2)
    assert table.loc["gradient", "verdict"] == verdict.verdict


def test_questions_say_the_margin_that_was_used(report):
    table = tables.questions(report)
    assert table.loc["noise", "margin"] == "0.5 of the way from the control to the best"
    assert table.loc["shift", "margin"] == "-1e-05" and (table.question.str.len() > 10).all()


@pytest.mark.parametrize("name", planted.CHEATS)
def test_planted_maps_do_not_look_at_the_network(name):
    x = networks.images(3, dtype=torch.float32)
    options = {"generator": torch.Generator().manual_seed(0)} if name == "noise" else {}
    assert planted.CHEATS[name](None, x, **options).shape == x.shape


def test_the_patch_tells_the_class_and_nothing_else_changes():
    split = data.load("mnist-5k", "test")
    images, labels = planted.patched(split)
    quarters = images[:, 0, :planted.PATCH:2, :planted.PATCH:2].flatten(1).long() // 255
    assert bool(((quarters * torch.tensor([1, 2, 4, 8])).sum(1) - 1 == labels).all())
    changed = images != split.images
    assert not bool(changed[:, :, planted.PATCH:].any()) and not bool(changed[:, :, :, planted.PATCH:].any())


@pytest.mark.slow
def test_the_network_reads_the_corner():
    network = planted.reader_of_patches("mnist-5k", "mnist-cnn", epochs=3)
    split = data.load("mnist-5k", "test")
    images, labels = planted.patched(split)
    other = images.clone()
    other[:, :, :planted.PATCH, :planted.PATCH] = images.roll(1, 0)[:, :, :planted.PATCH, :planted.PATCH]
    assert training.accuracy(network, images, labels) > 0.95
    assert training.accuracy(network, other, labels) < 0.5         # another image's corner, the same digit


@pytest.mark.slow
def test_what_the_page_says_of_the_quick_network(tmp_path):
    """The verdicts that the chapter's sentences name, on its network and images."""
    settings = profiles.parameters("audit", "quick")
    cell = {name: settings[name] for name in ("network", "data_set", "epochs")} | {"seed": 0}
    model, _ = natural.trained(cell, Store(tmp_path))
    test = data.load(settings["data_set"], "test")
    asked = {"n": settings["images"], "name": settings["network"], "progress": False}
    found = audit.run(model, test.images, methods=settings["methods"], criteria=[
        "noise", "shift", "removal", "parameters", "class", "sensitivity"], **asked)
    grid = tables.grid(found)
    assert set(grid.loc[["integrated_gradients", "deeplift"], "shift"]) == {"FAIL"}
    assert set(grid.loc["guided_backprop", ["parameters", "class"]]) == {"FAIL"}
    assert set(grid.loc["sobel", ["noise", "shift", "removal", "sensitivity"]]) == {"pass"}
    kept = found.verdict("guided_backprop", "parameters")
    assert kept.score > kept.control_score / 2
    cheating = tables.grid(audit.run(model, test.images, methods=planted.CHEATS, criteria=[
        "noise", "shift", "removal", "parameters", "class", "sensitivity"], **asked))
    assert set(cheating.loc["constant"]) == {"FAIL"} and set(cheating.loc["edges", ["noise", "shift"]]) == {"pass"}
    for name in planted.CHEATS:
        assert set(cheating.loc[name, ["parameters", "class"]]) == {"FAIL"}


def test_share_in_the_patch():
    maps = torch.zeros(2, 28, 28)
    maps[0, 0, 0] = maps[1, 20, 20] = 1.0
    assert planted.share_in_patch(maps).tolist() == [1.0, 0.0]


def test_corners_count_maps_that_are_empty(monkeypatch):
    def one_empty(model, x, target=None):
        maps = torch.ones_like(x)
        maps[0] = 0
        return maps
    monkeypatch.setitem(planted.METHODS, "half", one_empty)
    found = planted.corners(None, ["half"], torch.zeros(3, 1, 28, 28))
    assert found.loc["half"].tolist() == [pytest.approx(16 / 784), 1]
