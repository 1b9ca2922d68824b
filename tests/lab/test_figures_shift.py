"""Figures of shifts: what is drawn is what the frame says."""

import numpy as np
import pandas as pd
import pytest
import torch

from lab.chapters.shift import figures as shift
from lab.chapters.shift import tables
from tests.lab.test_figures import closed, shown, texts  # noqa: F401 (closed: a fixture)


def test_encodings_are_signed_and_say_how_much_they_change():
    grey, moved, colours = torch.rand(1, 4, 4), torch.rand(1, 4, 4) - 1, 2 * torch.rand(3, 4, 4) - 0.5
    signed = torch.linspace(-2, 1, 16).view(1, 4, 4)
    dots = torch.zeros(1, 30, 30)
    dots[0, 3, 5], dots[0, 4, 5] = 2, 1         # too few for the quantile
    drawn = {"gradient_x_input": 3 * [signed], "IG": [torch.cat([signed, signed]), 0 * signed, 3 * signed],
             "some_dots": 3 * [dots]}
    changes = {"gradient_x_input": 0.304, "IG": 1e-8, "some_dots": 12.0}
    said = {"gradient_x_input": np.inf, "IG": 0.0, "some_dots": np.nan}
    figure = shift.encodings([grey, moved, colours], drawn, changes, ("one", "two", "three"), said)
    axes = np.array(figure.axes).reshape(3, 4)
    assert np.array_equal(shown(axes[0, 0]), grey[0])
    assert np.array_equal(shown(axes[2, 0]), colours.clamp(0, 1).permute(1, 2, 0))
    # Both grey inputs on one scale, so that a shift is seen.
    ends = float(moved.min()), float(grey.max())
    assert axes[0, 0].images[0].get_clim() == axes[1, 0].images[0].get_clim() == pytest.approx(ends)
    most = np.quantile(signed.abs(), 0.995)
    for axis, values, size in ((axes[0, 1], signed, most), (axes[0, 2], 2 * signed, 2 * most),
                               (axes[1, 2], 0 * signed, 1), (axes[2, 2], 3 * signed, 3 * most), (axes[0, 3], dots, 2)):
        assert np.allclose(shown(axis), values[0]) and np.allclose(axis.images[0].get_clim(), (-size, size))
    assert [axis.get_title() for axis in axes[0]] == ["input", "gradient\nx input", "IG", "some dots"]
    assert [axis.get_ylabel() for axis in axes[:, 0]] == ["one", "two", "three"]
    assert [axis.get_xlabel() for axis in axes[2]] == ["", "✗ 30%\npaper: changes", "✓ same\npaper: same", "✗ >999%"]
    many = dict(zip("abcdefgh", 8 * [[signed, signed]]))
    wide = shift.encodings([grey, moved], many, dict.fromkeys(many, 0.2))      # nine columns in two bands
    bands = np.array(wide.axes).reshape(4, 5)
    assert [axis.get_title() for axis in bands[2]] == ["e", "f", "g", "h", ""]
    assert [axis.get_ylabel() for axis in bands[:, 0]] == 2 * ["network 1", "network 2"]
    assert [axis.get_xlabel() for axis in bands[3]] == 4 * ["✗ 20%"] + [""] and not bands[3, 4].images


def test_ticks_say_what_each_cell_holds():
    values = pd.DataFrame({("uniform", "paper"): [np.inf, 0.0, np.nan], ("uniform", "ours"): [0.4, 1e-12, 0.004],
                           ("kitten", "ours"): [3.0, 0.0, 0.0]}, index=["lrp", "gradient", "my_own"])
    figure = shift.ticks(values, {"my_own": "mine"})
    uniform, kitten = figure.axes
    assert (uniform.get_title(), kitten.get_title()) == ("uniform", "kitten")
    assert texts(uniform.get_yticklabels()) == ["LRP (z rule)", "simple gradient", "mine"]
    assert texts(uniform.get_xticklabels()) == ["paper", "ours"]
    assert texts(uniform.texts) == ["✗", "✗ 40%", "✓ same", "✓ same", "–", "✗ <1%"]
    assert texts(kitten.texts) == ["✗ 300%", "✓ same", "✓ same"]
    assert shown(uniform).tolist() == [[2, 2], [1, 1], [0, 2]]
    assert [text.get_color() for text in uniform.texts] == 4 * ["black"] + ["0.6", "black"]      # on pale colours
    many = pd.DataFrame(dict.fromkeys([("kitten", name) for name in "abcdefghi"], [0.0, 0.4, 3.0]), index=values.index)
    assert texts(shift.ticks(many).axes[0].texts)[::9] == ["✓", "40%", "300%"]


def test_tables_of_ticks_take_the_paper_from_the_claims():
    assert tables.reported()["lrp", "uniform"] == np.inf and tables.reported()["gradient", "uniform"] == 0
    assert tables.reported()["pattern_attribution", "kitten"] == 0
    assert tables.reported("equal")["ig_zero", "uniform"] == np.inf
    rows = pd.DataFrame({"shift": ["uniform"] * 3 + ["random"] * 2, "method": ["lrp", "lrp", "gradient"] + ["lrp"] * 2,
                         "relative": [0.2, 0.4, 1e-9, 1e-9, 0.1], "network": "mlp"})
    values = tables.beside_the_paper(rows, ["lrp", "gradient"])
    assert list(values.columns) == [("uniform", "paper"), ("uniform", "ours"), ("random", "ours")]
    assert values.iloc[0].tolist() == pytest.approx([np.inf, 0.3, 0.05]) and values.iloc[1, :2].tolist() == [0, 0]
    panels = tables.by_panel(rows, "network", "shift", ["gradient", "lrp"])
    assert panels["mlp", "uniform"].tolist() == pytest.approx([0, 0.3]) and np.isnan(panels["mlp", "random"].iloc[0])
    listed = tables.long(panels)
    assert listed.columns.tolist() == ["method", "panel", "column", "relative change"] and len(listed) == 3


def test_both_runs_stand_side_by_side():
    known = {f"{run}.{kind}.{method}": {"text": f"{run} {kind}", "interval": "1 to 2" if run == "full" else ""}
             for run in ("full", "live") for kind, method in (("change", "lrp"), ("ahead", "ig_zero"))}
    drawn = shift.both_runs({**known, "live.images": {"text": "6", "interval": ""}}).data
    assert drawn.to_numpy().tolist() == [
        ["change under the uniform shift, %", "LRP (z rule)", "live change", "full change [1 to 2]"],
        ["pairs that go the kitten's way, %", "IG, zero", "live ahead", "full ahead [1 to 2]"]]


@pytest.mark.parametrize("change, text", [(np.nan, ""), (1e-9, "✓ same"), (np.inf, "✗"), (0.004, "✗ <1%"),
                                          (0.304, "✗ 30%"), (12.0, "✗ >999%")])
def test_a_mark_says_whether_a_map_changes_and_by_how_much(change, text):
    assert shift.mark(change) == text
