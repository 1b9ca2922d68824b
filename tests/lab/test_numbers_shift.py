"""Numbers of the chapter on constant shifts, against pandas by hand on the published records, and its pictures."""


import pandas as pd
import pytest
import torch
from torch import nn

from lab import catalogue
from lab.chapters.shift import invariance, kittens, numbers, pictures, portraits, shifts, statements
from lab.core.numbers import MISSING
from lab.core.pages import NotRun, Page
from tests.oracles.records import by_hand

PAGE = Page.at("shift", "quick", None)


def value(name):
    return catalogue.chapter("shift").describe(name, PAGE)["value"]


def test_shifts_at_the_papers_size():
    rows = by_hand("invariance").query("network == 'mnist-mlp' and noise == 'none'")
    uniform = rows[rows["shift"] == "uniform"]
    for method in ("gradient_x_input", "ig_zero", "pattern_attribution_refit_relu"):
        expected = 100 * uniform[uniform.method == method].relative.mean()
        assert value(f"full.change.{method}") == pytest.approx(expected)
    assert value("full.accuracy.plain") == pytest.approx(100 * uniform.accuracy.max())
    assert value("full.accuracy.shifted") == pytest.approx(100 * uniform.accuracy_shifted.min())
    other = rows[(rows["shift"] == "rebuilt") & (rows.method == "guided_backprop")]
    assert value("full.rebuilt.change.guided_backprop") == pytest.approx(100 * other.relative.mean())
    assert value("full.rebuilt.correlation.guided_backprop") == pytest.approx(other.pearson.mean())
    assert value("full.images") == other.image.max() + 1 == 64


def test_drawings_at_the_papers_size():
    rows = by_hand("kittens").query("scale == 0.01")
    for method in ("gradient_x_input", "ig_zero", "ig_black"):
        group = rows[rows.method == method]
        assert value(f"full.likeness.{method}") == pytest.approx(group.likeness.mean())
    black = rows[rows.method == "ig_black"]
    assert value("full.ahead.ig_black") == pytest.approx(100 * black.ahead.mean())


def test_references_on_photographs():
    rows = by_hand("references")
    for method in ("integrated_gradients", "deep_taylor"):
        group = rows[rows.method == method]
        assert value(f"full.reference.change.{method}") == pytest.approx(100 * group.relative.mean())
        assert value(f"full.reference.correlation.{method}") == pytest.approx(group.pearson.mean())
    assert value("full.reference.images") == 32


def test_the_papers_network_is_that_of_the_records():
    """A quick run of other networks or inks leaves the published numbers alone."""
    page = Page.at("shift", "quick", None)
    page.settings.update(networks=["mnist-cnn"], scales=[0.1])
    for name in ("full.change.lrp", "full.likeness.ig_black"):
        assert catalogue.chapter("shift").describe(name, page)["value"] == value(name)


@pytest.mark.parametrize("name", ["full.change.lrp", "full.accuracy.plain", "full.likeness.ig_zero", "full.images",
                                  "full.reference.change.deep_taylor", "full.rebuilt.correlation.pattern_net"])
def test_what_is_not_published_is_not_measured(name, monkeypatch):
    page = Page.at("shift", "quick", None)
    monkeypatch.setattr(page, "edition", lambda experiment: pd.DataFrame())
    assert catalogue.chapter("shift").describe(name, page)["text"] == MISSING


@pytest.mark.parametrize("said, method, changed", [
    (statements.signals_pass, "gradient", True), (statements.attributions_split, "lrp", False),
    (statements.moving_references_pass, "lrp_moving", True), (statements.pattern_net_doubles, "pattern_net", False),
    (statements.equal_functions_have_equal_gradients, "deeplift", True),
    (statements.the_checkerboard_breaks_black_references, "ig_black", False)])
def test_statements_on_both_runs_fail_on_the_published_one_alone(said, method, changed):
    """They are tested without a live run: it is looked at last."""
    page = Page.at("shift", "quick", None)
    with pytest.raises(NotRun):
        said(page)
    table = page.edition(invariance.EXPERIMENT)
    table.loc[table.method == method, "relative"] = 0.5 if changed else 0.0
    assert said(page) is False


def test_rows_that_pass_and_rows_that_change():
    rows = pd.DataFrame({"method": ["a", "a", "b", "b"], "relative": [0.0, 1e-12, 0.0, 0.5]})
    assert statements.passes(rows) == {"a": True, "b": False}
    assert statements.identical(rows[:2]) and not statements.identical(rows) and not statements.identical(rows[:0])
    assert statements.changed(rows[2:]) and not statements.changed(rows) and not statements.changed(rows[:0])


def test_main_is_the_network_with_a_twin_of_other_weights(monkeypatch):
    table = pd.DataFrame({"network": ["a", "b", "b", "b"], "shift": ["uniform", "uniform", "rebuilt", "uniform"],
                          "noise": ["none", "none", "none", "equal"]})
    page = Page.at("shift", "quick", None)
    monkeypatch.setattr(page, "edition", lambda experiment: table)
    assert numbers.main(page, "full").index.tolist() == [1, 2]
    assert numbers.main(page, "full", noise="equal").index.tolist() == [3]


def test_a_picture_is_of_the_papers_network_where_none_is_named():
    assert pictures.cell(PAGE, "uniform")["network"] == "mnist-mlp"
    chosen = pictures.cell(PAGE, "checkerboard", "own")
    assert (chosen["shift"], chosen["noise"]) == ("checkerboard", "own")
    assert chosen["methods"] == list(invariance.NOISE_METHODS)
    assert pictures.cell(PAGE, "kitten", network="mnist-cnn")["methods"] == list(invariance.METHODS)


def test_encoded_gives_images_maps_and_mean_changes(monkeypatch):
    page = Page.at("shift", "quick", None)
    rows = pd.DataFrame({"network": "mnist-mlp", "shift": ["uniform"] * 3 + ["kitten"], "noise": "none",
                         "method": ["lrp", "lrp", "gradient", "lrp"], "relative": [1.0, 3.0, 0.0, 9.0]})
    monkeypatch.setattr(page, "live", lambda experiment: rows)
    monkeypatch.setattr(invariance, "shown", lambda cell, store, methods: ([cell["shift"]], dict.fromkeys(methods)))
    assert pictures.encoded(page, "uniform", ["lrp"]) == (["uniform"], {"lrp": None}, {"gradient": 0.0, "lrp": 2.0})


def test_noise_breaks_ties_of_max_pooling():
    """The second network adds its bias in another order: rounding breaks the ties of a flat image in another way."""
    torch.manual_seed(0)
    convolution = nn.Conv2d(1, 4, 3, padding=1)
    one = nn.Sequential(convolution, nn.MaxPool2d(2), nn.Flatten(), nn.Linear(16, 2)).double().eval()

    class Nudged(nn.Module):
        """The same but for a slope of 1e-15 across the image, as rounding leaves it."""

        def forward(self, x):
            return one[1:](one[0](x) + 1e-15 * torch.arange(16.0).double().view(4, 4))

    flat = torch.zeros(2, 1, 4, 4).double()
    sides = [invariance.Side(model, flat, None, None, 0.0, None, {}, None, "none") for model in (one, Nudged().eval())]
    assert pictures.largest_change(sides, 0.0) > 0.01 and pictures.largest_change(sides, 1e-3) < 1e-12


def test_noise_of_its_own_range_and_ink_at_the_papers_size():
    rows = by_hand("invariance").query("network == 'mnist-mlp' and method == 'gradient' and noise == 'own'")
    assert value("full.noise.change") == pytest.approx(100 * rows[rows["shift"] == "checkerboard"].relative.mean())
    drawn = by_hand("kittens")
    strong = drawn[drawn.scale == 1.0]
    assert value("full.clipped.strong") == pytest.approx(100 * strong.clipped.mean()) and value("full.ink.faint") == 1
    assert value("full.likeness.strong") == pytest.approx(strong[strong.method == "gradient_x_input"].likeness.mean())
    every = by_hand("invariance").query("method == 'gradient' and noise == 'none' and shift != 'rebuilt'")
    assert value("full.tied") == pytest.approx(100 * every.relative.max())


def test_published_pictures_are_of_one_digit_and_its_shift():
    digit = portraits.digit(44)[0]
    checkerboard = shifts.shift("checkerboard", None, digit[None])
    for shift, moved in (("uniform", digit - 1), ("checkerboard", digit + checkerboard)):
        inputs, maps = pictures.portrait(shift, methods=["lrp", "pattern_attribution"])
        assert torch.equal(inputs[0], digit) and torch.allclose(inputs[1], moved) and list(maps) == [
            "lrp", "pattern_attribution"]
        # The record says which maps change, and so do the pictures.
        assert torch.equal(*maps["pattern_attribution"]) and not torch.allclose(*maps["lrp"], atol=0.1)
    inside = shifts.outline(shifts.drawing()).bool()
    outlined = pictures.portrait(portraits.OUTLINE).inputs
    assert torch.equal(outlined[0][0][~inside], outlined[1][0][~inside])        # the digit stays in sight


def test_an_outline_is_the_edge_of_a_drawing():
    square = torch.zeros(5, 6)
    square[1:4, 1:5] = 1
    assert shifts.outline(square).sum() == 10 and shifts.outline(square)[2, 2] == 0
    assert shifts.outline(torch.ones(3, 3)).tolist() == [[1, 1, 1], [1, 0, 1], [1, 1, 1]]


def test_pictures_are_drawn_with_marks_and_kept(monkeypatch):
    kept = {}
    page = Page.at("shift", "quick", None)
    monkeypatch.setattr(page, "keep", kept.__setitem__)
    pictures.draw(page, "fig-kitten", "kitten")
    pictures.draw_references(page, "fig-references-photo")
    assert kept["fig-kitten"].method.tolist() == list(kittens.METHODS)
    assert kept["fig-kitten"].paper.tolist() == ["✗", "✗", "✗", "✗", "✓ same"]
    assert kept["fig-references-photo"].method.tolist() == ["IG", "deep Taylor"]
