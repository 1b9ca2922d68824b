"""Figures of shifts: what is drawn is what the frame says."""

import numpy as np
import pandas as pd
import torch

from lab.chapters.shift import figures as shift
from lab.core.statistics import bootstrap
from tests.lab.test_figures import SPREAD, closed, lies, line, shown, texts  # noqa: F401 (closed: a fixture)


def test_encodings_are_signed_and_say_how_much_they_change():
    grey, colours = torch.rand(1, 4, 4), 2 * torch.rand(3, 4, 4) - 0.5
    signed = torch.linspace(-2, 1, 16).view(1, 4, 4)
    dots = torch.zeros(1, 30, 30)
    dots[0, 3, 5], dots[0, 4, 5] = 2, 1         # too few for the quantile
    drawn = {"gradient_x_input": [signed, 3 * signed], "IG": [torch.cat([signed, signed]), 0 * signed],
             "some_dots": [dots, -dots]}
    changes = {"gradient_x_input": 0.304, "IG": 1e-8, "some_dots": 2.0}
    axes = np.array(shift.encodings([grey, colours], drawn, changes, rows=("one", "two")).axes).reshape(2, 4)
    assert np.array_equal(shown(axes[0, 0]), grey[0])
    assert np.array_equal(shown(axes[1, 0]), colours.clamp(0, 1).permute(1, 2, 0))
    most = np.quantile(signed.abs(), 0.995)
    for axis, values, size in zip(axes[:, 1:].T.flat, (signed, 3 * signed, 2 * signed, 0 * signed, dots, -dots),
                                  (most, 3 * most, 2 * most, 1, 2, 2)):
        assert np.allclose(shown(axis), values[0]) and np.allclose(axis.images[0].get_clim(), (-size, size))
    assert [axis.get_title() for axis in axes[0]] == ["input", "gradient x\ninput", "IG", "some dots"]
    assert [axis.get_ylabel() for axis in axes[:, 0]] == ["one", "two"]
    assert [axis.get_xlabel() for axis in axes[1]] == ["", "changed by 30%", "identical", "changed by 200%"]


def test_the_matrix_of_shifts_says_what_each_cell_holds():
    cells = {("lrp", "mlp", "uniform"): [0.3, 0.5], ("lrp", "mlp", "kitten"): [0.004, 0.006],
             ("gradient", "mlp", "uniform"): [0.0, 1e-12], ("lrp", "cnn", "uniform"): [0.1, 0.1],
             ("lrp", "cnn", "kitten"): [2.0, 2.0], ("gradient", "cnn", "uniform"): [1e-9, 1e-9],
             ("gradient", "cnn", "kitten"): [1e-17, 0.0]}
    rows = [{"method": method, "network": network, "shift": name, "relative": value}
            for (method, network, name), values in cells.items() for value in values]
    figure = shift.invariance_matrix(pd.DataFrame(rows))
    mlp, cnn = figure.axes[:2]
    assert (mlp.get_title(), cnn.get_title()) == ("mlp", "cnn")
    assert texts(mlp.get_yticklabels()) == ["LRP (z rule)", "simple gradient"]
    assert texts(mlp.get_xticklabels()) == ["uniform", "kitten"]
    assert [(one.get_position(), one.get_text()) for one in mlp.texts] == [
        ((0, 0), "40%"), ((1, 0), "5e-03"), ((0, 1), "✓ same"), ((1, 1), "refused")]
    assert texts(cnn.texts) == ["10%", "200%", "✓ same", "✓ same"]
    assert np.allclose(shown(mlp)[0], [0.4, 0.005]) and np.isclose(shown(mlp)[1, 0], 5e-13, atol=0)
    assert np.ma.getmaskarray(mlp.images[0].get_array())[1].tolist() == [False, True]


def test_changes_draw_means_with_intervals_and_a_floor():
    means = {("lrp", "uniform"): 0.5, ("lrp", "kitten"): 0.2, ("gradient", "uniform"): 0.0}
    rows = pd.DataFrame([{"method": method, "shift": name, "relative": mean * (1 + off)}
                         for (method, name), mean in means.items() for off in SPREAD])
    figure = shift.changes(rows, "shift", {"uniform": "the same everywhere", "kitten": "a kitten"})
    axis, = figure.axes
    assert lies(line(axis, "the same everywhere"), 0.5, -0.11) and lies(line(axis, "a kitten"), 0.2, 0.11)
    assert any(lies(one, bootstrap(0.5 * (1 + SPREAD)), [-0.11, -0.11]) for one in axis.get_lines())
    assert any(lies(one, 1e-17, 0.89) for one in axis.get_lines())         # zero has no place on a log scale
    assert not any(1.0 < one.get_ydata()[0] < 1.5 for one in axis.get_lines())
    assert np.allclose(line(axis, "identical to the left").get_xdata(), 1e-5) and axis.get_xscale() == "log"
    assert texts(axis.get_yticklabels()) == ["LRP (z rule)", "simple gradient"] and axis.yaxis_inverted()
    assert texts(figure.legends[0].get_texts()) == ["the same everywhere", "a kitten", "identical to the left"]


def test_both_runs_stand_side_by_side():
    known = {f"{run}.{kind}.{method}": {"text": f"{run} {kind}", "interval": "1 to 2" if run == "full" else ""}
             for run in ("full", "live") for kind, method in (("change", "lrp"), ("ahead", "ig_zero"))}
    drawn = shift.both_runs({**known, "live.images": {"text": "6", "interval": ""}}).data
    assert drawn.to_numpy().tolist() == [
        ["change under the uniform shift, %", "LRP (z rule)", "live change", "full change [1 to 2]"],
        ["pairs that go the kitten's way, %", "IG, zero", "live ahead", "full ahead [1 to 2]"]]
