"""Figures: what is drawn is what the frame says. Here fragility, attacks and what all share; the rest is beside it."""

import ast
import importlib
import inspect
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import torch

from lab.chapters.attacks import figures as attacks
from lab.chapters.fragility.figures import against_paper, beside_paper, comparison, sizes, validity
from lab.chapters.fragility.reported import reported_comparison
from lab.core import folders
from lab.core.statistics import bootstrap, student
from lab.drawing import maps, tables
from lab.drawing.style import PALETTE

MODULES = [*(".".join(file.relative_to(folders.ROOT).with_suffix("").parts)
             for file in sorted(folders.ROOT.glob("lab/chapters/*/figures.py"))),
           "lab.chapters.lens.neighbourhoods", "lab.chapters.lens.training_figures",
           "lab.drawing.maps", "lab.drawing.tables"]
SPREAD = np.array([-0.1, 0.0, 0.1])     # of the images around the mean that a test asks for


@pytest.fixture(autouse=True)
def closed():
    yield
    plt.close("all")


@pytest.fixture
def table():
    rows = [{"image": i, "pixels": 784, "method": method, "attack": attack, "epsilon": epsilon, "k": 50,
             "topk": 0.9 - epsilon + (i - 1.5) / 50, "spearman": 0.8 - epsilon, "center": 28 * epsilon / 10,
             "found": i > 0, "confidence": 0.9, "confidence_change": -0.1}
            for method in ("gradient", "integrated_gradients") for i in range(4)
            for attack, epsilons in {"topk": (0.1, 0.2), "center": (0.1, 0.2), "random_sign": (0.1, 0.2),
                                     "other_image": (0.0,)}.items() for epsilon in epsilons]
    return pd.DataFrame(rows)


def line(axis, label):
    return next(line for line in axis.get_lines() if line.get_label() == label)


def lies(drawn, x, y):
    """Whether a line, or a mark, goes through these places and no others."""
    return (np.shape(drawn.get_xdata()) == np.shape(np.atleast_1d(x)) and np.allclose(drawn.get_xdata(), x)
            and np.allclose(drawn.get_ydata(), y))


def interval(axis, x, values):
    """Whether an upright line at x spans the bootstrap interval of some values."""
    return any(lies(one, [x, x], bootstrap(values)) for one in axis.get_lines())


def band(axis, number):
    """Ends (n, 2) of the band of the curve of this number, from left to right."""
    points = axis.collections[number].get_paths()[0].vertices
    return [(y.min(), y.max()) for x in np.unique(points[:, 0]) if len(y := points[points[:, 0] == x, 1])]


def shown(axis):
    """Values of the image in an axis."""
    return np.asarray(axis.images[0].get_array())


def texts(found):
    return [one.get_text() for one in found]


def test_every_public_function_is_called_here():
    """By their text: each function of the modules of figures stands as a call in a test of these files."""
    public = {(name, function.__name__) for name in MODULES for function in vars(importlib.import_module(name)).values()
              if inspect.isfunction(function) and function.__module__ == name and function.__name__[0] != "_"}
    called = set()
    for file in Path(__file__).parent.glob("test_figures*.py"):
        scope = vars(importlib.import_module(f"tests.lab.{file.stem}"))
        tests = [one for one in ast.parse(file.read_text()).body if getattr(one, "name", "").startswith("test_")]
        for call in (node.func for test in tests for node in ast.walk(test) if isinstance(node, ast.Call)):
            if isinstance(call, ast.Attribute) and isinstance(call.value, ast.Name):        # figures.cost(...)
                function = getattr(scope.get(call.value.id), call.attr, None)
            else:                                                                           # cost(...)
                function = scope.get(getattr(call, "id", None))
            if inspect.isfunction(function):
                called.add((function.__module__, function.__name__))
    missing = sorted(public - called)
    assert len(public) > 40 and not missing, f"No test of a figure calls {missing}."


# Maps and tables of all chapters.

def test_pictures_are_as_matplotlib_draws_them():
    grey, colours = torch.rand(1, 2, 3), torch.rand(3, 2, 4)
    assert np.array_equal(maps.picture(grey), grey[0].numpy())
    drawn = maps.picture(colours)
    assert drawn.shape == (2, 4, 3) and np.array_equal(drawn[1, 2], colours[:, 1, 2].numpy())


def test_map_rows_shows_every_image_beside_its_map():
    images, drawn = torch.rand(3, 2, 1, 8, 8), torch.rand(3, 2, 8, 8)
    titles = [[f"{row}{column}" for column in range(2)] for row in range(3)]
    axes = np.array(maps.map_rows(images, drawn, titles, ["x", "y"], ["p", "q", "r"]).axes).reshape(3, 2, 2)
    for row, column in np.ndindex(3, 2):
        left, right = axes[row, column]
        assert np.array_equal(shown(left), images[row, column, 0]) and left.images[0].get_clim() == (0, 1)
        assert np.array_equal(shown(right), drawn[row, column]) and left.get_title() == titles[row][column]
        assert np.allclose(right.images[0].get_clim(), (drawn[row, column].min(), drawn[row, column].max()))
    assert [axis.get_title() for axis in axes[:, :, 1].flat] == ["x", "y", "", "", "", ""]
    assert [texts(axis.texts) for axis in axes[:, 0, 0]] == [["p"], ["q"], ["r"]]


def test_map_table_has_images_on_top_and_a_row_a_method():
    images, drawn = torch.rand(3, 3, 4, 5), torch.rand(2, 3, 4, 5)
    titles = [[f"{row}{column}" for column in range(3)] for row in range(2)]
    axes = np.array(maps.map_table(images, drawn, titles, ["x", "y", "z"], ["p", "q"]).axes).reshape(3, 3)
    assert [axis.get_title() for axis in axes.flat] == ["x", "y", "z", "00", "01", "02", "10", "11", "12"]
    assert all(np.array_equal(shown(axis), one.permute(1, 2, 0)) for axis, one in zip(axes[0], images))
    assert all(np.array_equal(shown(axis), one) for axis, one in zip(axes[1:].flat, drawn.flatten(0, 1)))
    assert [texts(axis.texts) for axis in axes.flat] == [[], [], [], ["p"], [], [], ["q"], [], []]


def test_verdicts_are_counted_by_paper_and_controls_apart():
    ledger = pd.DataFrame({"paper": ["hooker2019", "hooker2019", "kamath2024", "kamath2024", "kamath2024"],
                           "verdict": ["mixed"] * 3 + ["holds"] * 2, "control": [False, True, False, False, False],
                           "tells": ["", "", "cannot tell", "cannot tell", "tells in part"]})
    counts = tables.verdict_counts(ledger).data.set_index("")
    assert counts["◐ mixed"].to_dict() == {
        "Ghorbani et al. (2019)": 0, "Kindermans et al. (2019)": 0, "Hooker et al. (2019)": 1,
        "Kamath et al. (2024)": 1, "all papers": 2, "controls": 1}
    assert counts.loc["Kamath et al. (2024)", ["✓ holds", tables.MUST_HOLD]].tolist() == [1, 1]


def test_ledger_table_escapes_marks_and_folds():
    one = {"id": "p-1", "figure": "Fig. <1>", "statement": "a & b", "reported": "1; 2", "reason": "",
           "measured_with_interval": "x: 1 [0, 2]", "verdict": "holds", "scale": "quick", "chapter": "fragility",
           "changes": "", "known": "digitised", "size": "", "caveat": "", "support": "1 cell: 1 for, 0 against",
           "lost": "", "missing": "", "tells": ""}
    many = {**one, "support": "9 cells: 8 for, 0 against", "measured_with_interval": "; ".join("abcdefghi")}
    ledger = tables.ledger_table(pd.DataFrame([one]))
    assert ledger.data.iloc[0].to_dict() == {
        "verdict": "<b>✓ holds</b><br>quick scale",
        "claim": "<b><a href='fragility.html'>p-1</a></b>, Fig. &lt;1&gt;<br>a &amp; b",
        "the paper reports": "<div>1</div><div>2</div><i>read off a figure</i>",
        "measured [95 % interval]": "<div>x: 1 [0, 2]</div>"}
    html = ledger.to_html()
    assert "✓ holds" in html and "a &amp; b" in html and "&lt;1&gt;" in html and "<div>1</div><div>2</div>" in html
    assert "1 cell" not in html and "<details>" not in html
    assert "1 cell" in tables.ledger_table(pd.DataFrame([{**one, "verdict": "mixed"}])).to_html()
    folded = tables.ledger_table(pd.DataFrame([one, many])).to_html()
    assert folded.count("<details><summary>9 cells: 8 for, 0 against</summary><div>a</div>") == 1
    told = tables.ledger_table(pd.DataFrame([{**one, "lost": "with those: 1 cell; x: 2", "missing": "IG; GB",
                                              "tells": "cannot tell"}])).data.iloc[0]
    assert told["verdict"] == "<b>✓ holds</b><br><i>a placebo passes the same test</i><br>quick scale"
    assert told["measured [95 % interval]"] == (
        "<div>x: 1 [0, 2]</div><details><summary>with those: 1 cell</summary><div>x: 2</div></details>"
        "<i><div>not measured: IG</div><div>GB</div></i>")


def test_a_plain_table_has_no_row_numbers_and_blanks_for_what_is_missing():
    html = tables.plain_table(pd.DataFrame({"name": ["a", "b"], "value": [1.5, np.nan]}, index=[77, 78])).to_html()
    assert "<td" in html and ">a</td>" in html and "1.5" in html and "text-align: left" in html
    assert "77" not in html and "nan" not in html.lower()


def test_benchmarks_are_told_with_their_bars():
    row = {"name": "ours", "description": "them / us < 1", "ratio": 1.234, "spread": 0.056, "bar": 2.0,
           "at_most": False, "passed": True, "note": "a & b"}
    measured = {"date": "today", "threads": 2, "versions": {"torch": "2.9"},
                "benchmarks": [row, {**row, "name": "less", "at_most": True, "bar": 0.9, "passed": False}]}
    cells = tables.benchmark_table(measured).data
    assert list(cells) == ["benchmark", "ratio", "quartile range", "bar", "", "seconds and settings"]
    assert cells.iloc[0].tolist() == ["<b>ours</b><br>them / us &lt; 1", "1.23", "0.06", "≥ 2", "✓", "a &amp; b"]
    assert cells.iloc[1, [0, 3, 4]].tolist() == ["<b>less</b><br>them / us &lt; 1", "≤ 0.9", "✗ not reached"]
    setting = tables.benchmark_setting(measured).data
    assert dict(zip(setting.what, setting.value)) == {"date": "today", "threads": "2", "torch": "2.9"}


# Fragility.

def test_comparison_draws_means_controls_and_the_paper(table):
    figure = comparison(table, reported_comparison())
    (overlap, other), (rank, _), (center, _) = np.array(figure.axes[:6]).reshape(3, 2)
    assert np.allclose(line(overlap, "top-k attack").get_ydata(), [0.8, 0.7])
    assert np.allclose(line(overlap, "chance").get_ydata(), 50 / 784)
    assert np.allclose(line(overlap, "map of another image").get_ydata(), 0.9)
    assert np.allclose(line(overlap, "paper, same colour").get_ydata(), [0.059, 0.005])
    assert np.allclose(line(center, "mass-centre attack").get_ydata(), [1.0, 2.0])      # % of 28 pixels
    assert np.allclose(line(center, "paper, same colour").get_ydata(), [100 * 15.3 / 227, 100 * 21.0 / 227])
    assert np.allclose(line(rank, "chance").get_ydata(), 0) and (overlap.get_title(), other.get_title()) == (
        "simple gradient", "integrated gradients")
    assert np.allclose(band(overlap, 0), [bootstrap(mean + (np.arange(4) - 1.5) / 50) for mean in (0.8, 0.7)])
    assert all(axis.get_ylabel() for axis in (overlap, center)) and "ε" in center.get_xlabel()
    assert texts(overlap.child_axes[0].get_xticklabels()) == ["1/255", "2/255", "4/255", "8/255"]       # the paper's


def test_sizes_of_the_paper_need_one_axis(table):
    """Where the grids agree, the paper's sizes do not stand above the panels once more."""
    same = table.assign(epsilon=table.epsilon.map({0.0: 0.0, 0.1: 1 / 255, 0.2: 2 / 255}))
    axes = comparison(same[same.method == "gradient"], reported_comparison()).axes
    assert not any(axis.child_axes for axis in axes)
    assert texts(axes[0].get_xticklabels()) == ["1/255", "2/255"]


def test_one_map_is_compared_side_by_side(table):
    axes = comparison(table[table.method == "gradient"].assign(spearman=lambda t: t.spearman - 1)).axes
    assert [axis.get_ylabel() for axis in axes] == ["top-50 overlap", "Spearman rank correlation",
                                                    "centre shift (% of image width)"]
    assert lies(line(axes[1], "random sign"), [0, 1], [-0.3, -0.4]) and axes[1].get_ylim()[0] < -0.4
    assert axes[0].get_ylim() == (-0.02, 1.02) and axes[2].get_ylim()[0] == 0 and axes[2].get_ylim()[1] >= 2
    assert [axis.get_title() for axis in axes] == ["simple gradient", "", ""]
    assert all(texts(axis.get_xticklabels()) == ["0.1", "0.2"] for axis in axes)


def test_means_at_the_largest_size_stand_beside_the_papers(table):
    ours = table[table.attack != "other_image"]
    cells = against_paper(ours, reported_comparison()).data
    assert cells["map"].tolist() == 3 * ["simple gradient"] + 3 * ["integrated gradients"]
    assert cells.attack.tolist() == 2 * ["top-k attack", "mass-centre attack", "random sign"]
    low, high = student(0.7 + (np.arange(4) - 1.5) / 50)
    assert list(cells)[2:] == ["n", *(f"{name}: ours / paper" for name in ("overlap", "rank correlation",
                                                                           "shift (pixels)"))]
    assert cells.iloc[0, 2:].tolist() == [4, f"0.7 [{low:.3g}, {high:.3g}] / 0.005", "0.6 [0.6, 0.6] / 0.285",
                                          "0.56 [0.56, 0.56] / 22.6"]
    assert cells.iloc[4, 3] == f"0.7 [{low:.3g}, {high:.3g}] / 0.214" and low < 0.695


def test_every_number_of_the_paper_stands_beside_ours():
    reported = reported_comparison()
    paper = reported["top1000_intersection"]["SimpleGradient"]["topk"]
    rows = [{"method": "gradient", "attack": "topk", "epsilon": epsilon, "topk": theirs + gap + noise, "spearman": 2.0,
             "center": -1.0 + noise}
            for epsilon, theirs, gap in zip((0.1, 0.2, 0.3, 0.4), paper[1:], (0.0, 0.5, -0.5, 0.0))
            for noise in np.linspace(-0.1, 0.1, 9)]
    compared = beside_paper(pd.DataFrame(rows), reported)
    assert compared[compared.metric == "topk"]["where"].tolist() == ["inside", "higher", "lower", "inside"]
    assert compared[compared.metric == "topk"].paper.tolist() == paper[1:]
    assert set(compared[compared.metric == "spearman"]["where"]) == {"higher"}
    figure = sizes(compared)
    assert [axis.get_title() for axis in figure.axes] == [
        "2 of 4 inside, 1 ours lower, 1 higher", "0 of 4 inside, 0 ours lower, 4 higher",
        "0 of 4 inside, 4 ours lower, 0 higher"]
    filled, empty = figure.axes[0].containers[1], figure.axes[0].containers[0]
    assert sorted(filled[0].get_xdata()) == sorted([paper[1], paper[4]]) and len(empty[0].get_xdata()) == 2


def test_validity_draws_percent(table):
    figure = validity(table)
    lost, other, change, _ = figure.axes
    assert np.allclose(line(lost, "top-k attack").get_ydata(), 25)
    assert np.allclose(line(change, "top-k attack").get_ydata(), -10)
    assert (lost.get_title(), other.get_title()) == ("simple gradient", "integrated gradients")
    assert (lost.get_ylabel(), change.get_ylabel()) == ("images without a result (%)",
                                                        "change of confidence\n(percentage points)")
    assert texts(change.get_xticklabels()) == ["0.1", "0.2"]
    assert texts(figure.legends[0].get_texts()) == ["top-k attack", "mass-centre attack", "random sign"]


# Attacks, close up.

def test_saturation_draws_means_and_bands_over_steps():
    means = {("gradient", 3): 0.5, ("gradient", 30): 0.2, ("integrated_gradients", 3): 0.7,
             ("integrated_gradients", 30): 0.6}
    rows = pd.DataFrame([{"method": method, "steps": steps, "pixels": 784, "topk": mean + off,
                          "spearman": mean / 2 + off, "center": 10 * (mean + off)}
                         for (method, steps), mean in means.items() for off in SPREAD])
    figure = attacks.saturation(rows, 50)
    for axis, factor in zip(figure.axes, (1, 0.5, 10)):
        assert lies(line(axis, "simple gradient"), [3, 30], [0.5 * factor, 0.2 * factor])
        assert lies(line(axis, "integrated gradients"), [3, 30], [0.7 * factor, 0.6 * factor])
    overlap, rank, center = figure.axes
    assert np.allclose(band(overlap, 0), [bootstrap(mean + SPREAD) for mean in (0.5, 0.2)])
    assert np.allclose(line(overlap, "chance").get_ydata(), 50 / 784)
    assert np.allclose(line(rank, "chance").get_ydata(), 0) and len(center.get_lines()) == 2
    assert [axis.get_ylabel() for axis in figure.axes] == ["top-50 overlap", "Spearman rank correlation",
                                                           "centre shift (pixels)"]
    assert overlap.get_xscale() == "log" and overlap.get_xlabel() == "attack steps"
    assert texts(figure.legends[0].get_texts()) == ["simple gradient", "integrated gradients", "chance"]


def test_cost_marks_overlap_over_seconds():
    settings = {"1 random points": (0.1, 0.3), "2 random points": (0.2, 0.4),
                "double backprop, beta 5": (2.0, 0.6), "double backprop, whole path": (9.0, 0.5)}
    rows = pd.DataFrame([{"method": "integrated_gradients", "variant": variant, "beta": 20.0, "topk": topk + off,
                          "seconds": seconds * (1 + off)}
                         for variant, (seconds, topk) in settings.items() for off in SPREAD])
    axis, = attacks.cost(rows, 50).axes
    labels = ["1 random point", "2 random points", "double backprop, beta 5", "double backprop, whole path, beta 20"]
    assert texts(axis.get_legend().get_texts()) == labels
    for label, (seconds, topk) in zip(labels, settings.values()):
        mark = line(axis, label)
        assert lies(mark, seconds, topk) and interval(axis, seconds, topk + SPREAD)
        assert mark.get_color() == PALETTE[3 if "double" in label else 0]
    assert axis.get_title() == "integrated gradients" and axis.get_ylabel() == "top-50 overlap left"
    assert axis.get_xlabel() == "seconds an image"
    assert axis.get_xlim()[0] < 0.09 and axis.get_xlim()[1] > 9.9


def test_targeted_shares_go_from_clean_to_attacked():
    means = {"rectangle": (0.2, 0.6), "superpixel": (0.3, 0.8)}
    rows = pd.DataFrame([{"method": method, "region": region, "before": before + off / 2, "after": after + off - low,
                          "area": 0.25} for method, low in (("gradient", 0.0), ("deeplift", 0.1))
                         for region, (before, after) in means.items() for off in SPREAD])
    first, second = attacks.targeted_shares(rows).axes
    assert (first.get_title(), second.get_title()) == ("simple gradient", "DeepLIFT")
    assert texts(first.get_xticklabels()) == ["rectangle", "superpixel"]
    for axis, low in ((first, 0.0), (second, 0.1)):
        assert lies(line(axis, "clean"), 0, 0.2) and lies(line(axis, "attacked"), 0, 0.6 - low)
        assert any(lies(one, 1, 0.3) for one in axis.get_lines())
        assert any(lies(one, 1, 0.8 - low) for one in axis.get_lines())
        assert interval(axis, 0, 0.6 - low + SPREAD) and interval(axis, 1, 0.8 - low + SPREAD)
        assert np.allclose([[*arrow.xyann, *arrow.xy] for arrow in axis.texts],
                           [[0, 0.2, 0, 0.6 - low], [1, 0.3, 1, 0.8 - low]])
        assert np.allclose(line(axis, "chance: area of the region").get_ydata(), 0.25)


def test_regions_are_outlined_on_image_and_maps():
    images, pairs, mask = torch.rand(2, 1, 6, 6), torch.rand(2, 2, 6, 6), torch.zeros(6, 6, dtype=torch.bool)
    mask[1:3, 2:5] = True
    axes = np.array(attacks.region_rows(images, pairs, [mask, mask.T], ["p", "q"]).axes).reshape(2, 3)
    assert [axis.get_title() for axis in axes[0]] == ["image", "map", "map, attacked"]
    assert [axis.get_ylabel() for axis in axes[:, 0]] == ["p", "q"]
    assert all(axis.images[0].get_clim() == (0, 1) for axis in axes[:, 0])
    for row, ends in enumerate(([1.5, 0.5, 4.5, 2.5], [0.5, 1.5, 2.5, 4.5])):       # half a pixel around the region
        for axis, drawn in zip(axes[row], (images[row, 0], *pairs[row])):
            outline = np.concatenate([path.vertices for path in axis.collections[0].get_paths()])
            assert np.array_equal(shown(axis), drawn) and np.allclose([*outline.min(0), *outline.max(0)], ends)


def test_degrees_have_their_captions():
    drawn = torch.rand(3, 4, 4)
    axes = attacks.degrees(list(drawn), ["a", "b", "c"]).axes
    assert all(np.array_equal(shown(axis), one) for axis, one in zip(axes, drawn))
    assert [axis.get_xlabel() for axis in axes] == ["a", "b", "c"]


def test_variants_have_means_and_intervals():
    rows = pd.DataFrame([{"question": "start", "variant": variant, "topk": mean + off, "center": 4.0}
                         for variant, mean in (("exact", 0.5), ("truncated", 0.2)) for off in SPREAD])
    cells = attacks.variant_table(rows, {"topk": "overlap", "center": "shift"}).data
    low, high = bootstrap(0.5 + SPREAD)
    assert list(cells) == ["variant", "overlap", "shift"] and cells.variant.tolist() == ["exact", "truncated"]
    assert cells.iloc[0].tolist() == ["exact", f"0.50 [{low:.2f}, {high:.2f}]", "4.00 [4.00, 4.00]"]
    assert low < 0.47 and cells.overlap[1].startswith("0.20 [")
    both = attacks.variant_table(pd.concat([rows, rows.assign(question="twin", variant="beta 1")]), {"topk": "overlap"})
    assert both.data.choice.tolist() == ["start of the mass-centre attack"] * 2 + ["softplus"]


def test_maps_are_scored_beside_the_first():
    drawn = torch.zeros(2, 4, 4)
    drawn[0, 0, :2], drawn[1, 0, 1:3] = torch.tensor([2.0, 1.0]), torch.tensor([1.0, 2.0])
    first, second = attacks.scored(drawn, [0, 1], 2)
    assert first == "0 steps\noverlap 1.00\nrank corr. 1.00\nshift 0.0 px"
    assert second.startswith("1 step\noverlap 0.50\nrank corr. ") and second.endswith("shift 1.3 px")
