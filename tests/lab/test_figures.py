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
from bs4 import BeautifulSoup

from lab.chapters.attacks import figures as attacks
from lab.chapters.fragility import figures as fragility
from lab.chapters.fragility.reported import reported_comparison
from lab.core import folders
from lab.core.statistics import bootstrap, student
from lab.drawing import claims, maps, tables
from lab.drawing.names import in_order
from lab.drawing.style import PALETTE, label_ends

MODULES = [*(".".join(file.relative_to(folders.ROOT).with_suffix("").parts)
             for file in sorted(folders.ROOT.glob("lab/chapters/*/figures.py"))),
           "lab.chapters.influence.geometry_figures", "lab.chapters.lens.neighbourhoods",
           "lab.chapters.lens.training_figures", "lab.drawing.maps", "lab.drawing.tables"]
SPREAD = np.array([-0.1, 0.0, 0.1])     # of the images around the mean that a test asks for


@pytest.fixture(autouse=True)
def closed():
    yield
    plt.close("all")


@pytest.fixture
def table():
    references = {"gradient": "none", "integrated_gradients": "black"}
    rows = [{"image": i, "pixels": 784, "method": method, "reference": references[method], "attack": attack,
             "epsilon": epsilon, "k": 50, "topk": 0.9 - epsilon + (i - 1.5) / 50, "spearman": 0.8 - epsilon,
             "center": 28 * epsilon / 10, "found": i > 0, "confidence": 0.9, "confidence_change": -0.1}
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
    here = Path(__file__).parent
    for file in [*here.glob("test_figures*.py"), here / "test_scoreboard.py"]:
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
    ledger = pd.DataFrame({
        "paper": ["hooker2019", "hooker2019", "kamath2024", "kamath2024", "kamath2024", "chefer2021"],
        "verdict": [*["mixed"] * 3, "holds", "holds", "mixed"], "control": [False, True, *[False] * 4],
        "tells": ["", "", "cannot tell", "cannot tell", "tells in part", ""]})
    counts = tables.verdict_counts(ledger).data.set_index("")
    assert counts["◐ mixed"].to_dict() == {
        "Ghorbani et al. (2019)": 0, "Kindermans et al. (2019)": 0, "Hooker et al. (2019)": 1,
        "Kamath et al. (2024)": 1, "all papers": 2, "later papers": 1, "predictions of this book": 0,
        "controls": 1}
    assert counts.loc["Kamath et al. (2024)", ["✓ holds", tables.MUST_HOLD]].tolist() == [1, 1]


ROW = {"id": "p-1", "paper": "hooker2019", "figure": "Fig. <1>", "statement": "a & b", "reported": "1; 2", "reason": "",
       "measured_with_interval": "x: 1 [0, 2]", "verdict": "holds", "scale": "quick", "chapter": "fragility",
       "changes": "", "known": "digitised", "size": "", "caveat": "", "support": "1 cell: 1 for, 0 against",
       "lost": "", "missing": "", "tells": "", "control": False, "shown": ["fragility.html#fig-a"]}


def ledger_rows(*rows):
    """The parsed rows of a ledger's table."""
    html = claims.ledger_table(pd.DataFrame(rows)).to_html()
    return BeautifulSoup(html, "html.parser").select("table.ledger tbody tr")


def test_a_ledger_escapes_marks_and_folds():
    row, = ledger_rows(ROW)
    assert {name: row[f"data-{name}"] for name in ("paper", "verdict", "scale", "chapter")} == {
        "paper": "hooker2019", "verdict": "holds", "scale": "quick", "chapter": "fragility"}
    verdict, claim, evidence = row.select("td")
    assert verdict.b.text == "✓ holds" and [one.text for one in verdict.select("span")] == ["quick scale"]
    assert "a & b" in claim.text and "Fig. <1>" in claim.text
    assert [link["href"] for link in claim.select("a")] == ["#p-1", "fragility.html#fig-a", "fragility.html"]
    assert row["id"] == "p-1" and evidence.summary.text == "1 cell: 1 for, 0 against"
    told = dict(zip((name.text for name in evidence.select("dt")), evidence.select("dd"), strict=True))
    assert list(told) == ["the paper reports", "measured [95 % interval]"]
    assert [line.text for line in told["the paper reports"].select("div")] == ["1", "2"]
    assert told["the paper reports"].i.text == "read off a figure"


def test_evidence_has_the_names_that_figures_have():
    row, = ledger_rows({**ROW, "measured_with_interval": "topk deeplift: 0.3 [0.2, 0.4]; integrated gradients: 1; "
                                                         "fashion-mnist gradient: 2; GRAD cifar10 0.1: 3; of a map",
                        "lost": "with those: 2 cells; efficientnet lite0: 4; ig sum norm mnist: 5"})
    assert [line.text for line in row.select("dd div")][2:] == [
        "top-k attack DeepLIFT: 0.3 [0.2, 0.4]", "integrated gradients: 1", "Fashion-MNIST simple gradient: 2",
        "GRAD CIFAR-10 0.1: 3", "of a map", "EfficientNet-Lite0: 4", "IG-SUM-NORM MNIST: 5"]


def test_a_ledger_says_what_is_missing_lost_and_weak():
    row, untested, control = ledger_rows(
        {**ROW, "lost": "with those: 1 cell; x: 2", "missing": "IG; GB", "tells": "cannot tell"},
        {**ROW, "id": "p-2", "verdict": "not tested here", "scale": "no", "support": "", "measured_with_interval": "",
         "reason": "no data", "chapter": "", "shown": []},
        {**ROW, "id": "p-3", "control": True})
    assert [one.text for one in row.select("td.verdict span")] == ["quick scale", "a placebo passes the same test"]
    told = dict(zip((name.text for name in row.select("dt")), (text.text for text in row.select("dd")), strict=True))
    assert told["with those: 1 cell"] == "x: 2" and told["not measured"] == "IGGB"
    assert untested.summary.text == "why not" and "no data" in untested.text and "scale" not in untested.text
    assert control["data-paper"] == claims.CONTROLS


def test_the_filter_offers_what_there_is_and_the_verdicts_are_kept_as_data():
    rows = [ROW, {**ROW, "id": "p-2", "control": True, "verdict": "mixed"}, {**ROW, "id": "p-3", "chapter": ""}]
    shown = claims.ledger_table(pd.DataFrame(rows))._repr_mimebundle_()
    form = BeautifulSoup(shown["text/html"], "html.parser").form
    assert "hidden" in form.attrs
    offered = {select["name"]: [option.text for option in select.select("option")] for select in form.select("select")}
    assert offered == {"paper": ["all", "Hooker et al. (2019) (2)", "controls (1)"],
                       "verdict": ["all", "✓ holds (2)", "◐ mixed (1)"], "scale": ["all", "quick (3)"],
                       "chapter": ["all", "Fragility (2)"]}
    kept = shown[claims.VERDICTS]["claims"]
    assert [(one["id"], one["paper"], one["verdict"]) for one in kept] == [
        ("p-1", "hooker2019", "holds"), ("p-2", claims.CONTROLS, "mixed"), ("p-3", "hooker2019", "holds")]


def test_a_plain_table_has_no_row_numbers_and_blanks_for_what_is_missing():
    html = tables.plain_table(pd.DataFrame({"name": ["a", "b"], "value": [1.5, np.nan]}, index=[77, 78])).to_html()
    assert "<td" in html and ">a</td>" in html and "1.5" in html and "text-align: left" in html
    assert "77" not in html and "nan" not in html.lower()


def test_benchmarks_are_told_with_their_bars():
    row = {"name": "ours", "description": "them / us < 1", "ratio": 1.234, "spread": 0.056, "bar": 2.0,
           "at_most": False, "passed": True, "note": "a & b"}
    measured = {"date": "2026-11-25T17:12:12+00:00", "threads": 2, "versions": {"torch": "2.9"},
                "benchmarks": [row, {**row, "name": "less", "at_most": True, "bar": 0.9, "passed": False}]}
    cells = tables.benchmark_table(measured).data
    assert list(cells) == ["benchmark", "ratio", "bar", "", "quartile range", "seconds and settings"]
    assert cells.iloc[0].tolist() == ["<b>ours</b><br>them / us &lt; 1", "1.23", "≥\u00a02", "✓", "0.06", "a &amp; b"]
    assert cells.iloc[1, [0, 2, 3]].tolist() == ["<b>less</b><br>them / us &lt; 1", "≤\u00a00.9", "✗ not reached"]
    setting = tables.benchmark_setting(measured).data
    assert dict(zip(setting.what, setting.value)) == {"date": "2026-11-25", "threads": "2", "torch": "2.9"}


# Fragility.

REPORTED = reported_comparison()


@pytest.fixture
def photographs(table):
    """The table at the paper's four sizes: the first two of the fixture's, each twice."""
    sizes = {1 / 255: 0.1, 2 / 255: 0.2, 4 / 255: 0.1, 8 / 255: 0.2}
    parts = [table[table.epsilon == old].assign(epsilon=new) for new, old in sizes.items()]
    return pd.concat([table[table.epsilon == 0], *parts], ignore_index=True)


def test_means_have_students_intervals_and_chance(table):
    levels = fragility.means(table)
    row = levels.query("method == 'gradient' and attack == 'topk' and epsilon == 0.1 and metric == 'topk'").iloc[0]
    assert (row.n, row.reference) == (4, "none") and row.ours == pytest.approx(0.8) and row.chance == 50 / 784
    assert (row.low, row.high) == pytest.approx(student(0.8 + (np.arange(4) - 1.5) / 50))
    assert set(levels.chance[levels.metric == "spearman"]) == {0.0}
    assert levels.chance[levels.metric == "center"].isna().all()


def test_every_number_of_the_paper_stands_beside_ours(photographs):
    paper = REPORTED["top1000_intersection"]["SimpleGradient"]["topk"]
    gaps = dict(zip(sorted(photographs.epsilon[photographs.epsilon > 0].unique()), (0.0, 0.5, -0.5, 0.0)))
    theirs = dict(zip(gaps, paper[1:]))
    rows = photographs[photographs.attack.isin(["topk", "other_image"]) & (photographs.method == "gradient")].assign(
        topk=lambda t: t.epsilon.map(theirs).fillna(0.3) + t.epsilon.map(gaps).fillna(0.0) + (t.image - 1.5) / 50)
    levels = fragility.beside_paper(rows, REPORTED)
    attacked = levels[(levels.metric == "topk") & (levels.attack == "topk")].sort_values("epsilon")
    assert attacked.paper.tolist() == paper[1:]
    assert attacked["where"].tolist() == ["inside", "higher", "lower", "inside"]
    control = levels[levels.attack == "other_image"]
    assert control.paper.isna().all() and control["where"].isna().all() and len(control) == 3


def test_comparison_draws_from_zero_with_controls_and_the_paper(photographs):
    axes = np.array(fragility.comparison(fragility.beside_paper(photographs, REPORTED)).axes).reshape(3, 2)
    (overlap, other), (rank, _), (center, _) = axes
    assert np.allclose(line(overlap, "top-k attack").get_ydata(), [1, 0.8, 0.7, 0.8, 0.7])
    assert np.allclose(line(overlap, "paper").get_ydata(),
                       [1, *REPORTED["top1000_intersection"]["SimpleGradient"]["topk"][1:]])
    assert np.allclose(line(center, "mass-centre attack").get_ydata(), [0, 0.28, 0.56, 0.28, 0.56])
    assert any(np.allclose(one.get_ydata(), 50 / 784) for one in overlap.get_lines())            # chance
    assert any(np.allclose(one.get_ydata(), 0.9) for one in overlap.get_lines())                 # another image
    low, high = student(0.8 + (np.arange(4) - 1.5) / 50)
    assert np.allclose(band(overlap, 0)[1], (low, high)) and np.allclose(band(overlap, 0)[0], (1, 1))
    assert texts(center.get_xticklabels()) == ["0", "1", "2", "4", "8"] and "255" in center.get_xlabel()
    assert (overlap.get_title(), other.get_title()) == ("simple gradient", "integrated gradients")
    assert set(texts(other.texts)) == {"top-k", "mass-centre", "random signs"} and not len(overlap.texts)
    assert np.allclose(line(overlap, "top-k attack").get_xdata(), np.array([0, 1, 2, 4, 8]) / 255)
    assert rank.get_ylabel() == "rank correlation"


def test_comparison_without_a_paper_names_shares(table):
    figure = fragility.comparison(fragility.means(table[table.method == "gradient"]))
    assert texts(figure.axes[2].get_xticklabels()) == ["0", ".1", ".2"]
    assert "paper" not in texts(figure.legends[0].get_texts())


def test_the_largest_size_stands_beside_the_papers(photographs):
    levels = fragility.beside_paper(photographs, REPORTED)
    figure = fragility.at_largest(levels)
    assert texts(figure.axes[0].get_yticklabels()) == ["simple gradient", "integrated gradients, from black"]
    drawn = [container[0].get_xdata() for container in figure.axes[0].containers]
    assert np.allclose(drawn[0], 0.7) and len(drawn) == 3
    diamonds = [one.get_xdata() for one in figure.axes[0].get_lines() if one.get_marker() == "D"]
    assert np.allclose(diamonds[0], [0.005, 0.183], atol=0.001)
    assert texts(figure.legends[0].get_texts())[-1] == "the paper's"
    alone = fragility.at_largest(levels[levels.attack == "random_sign"])
    assert texts(alone.legends[0].get_texts()) == ["ours", "the paper's"]
    ours, theirs = (alone.axes[0].containers[0][0].get_ydata(),
                    next(one for one in alone.axes[0].get_lines() if one.get_marker() == "D").get_ydata())
    assert np.allclose(np.array(theirs) - np.array(ours), 0.25)


def test_sizes_tell_how_many_lie_inside(photographs):
    levels = fragility.beside_paper(photographs, REPORTED)
    figure = fragility.sizes(levels)
    for axis, (_, part) in zip(figure.axes, levels[levels.paper.notna()].groupby("metric", sort=False)):
        inside = int((part["where"] == "inside").sum())
        assert axis.get_title().startswith(f"{inside} of {len(part)} inside,")
        assert axis.get_xlim() == axis.get_ylim() and axis.get_aspect() == 1       # the diagonal is one
    assert texts(figure.legends[0].get_texts())[-2:] == ["paper inside our interval", "paper outside"]


def test_costs_are_drawn_in_percent(table):
    figure = fragility.validity(fragility.costs(table))
    lost, other, change, _ = figure.axes
    assert np.allclose(line(lost, "top-k attack").get_ydata(), [0, 25, 25])
    assert np.allclose(line(change, "top-k attack").get_ydata(), [0, -10, -10])
    assert (lost.get_title(), other.get_title()) == ("simple gradient", "integrated gradients")
    assert texts(change.get_xticklabels()) == ["0", ".1", ".2"]
    assert set(texts(other.texts)) == {"top-k", "mass-centre", "random signs"}


def test_before_and_after_stand_in_pairs():
    images, drawn = torch.rand(2, 3, 1, 4, 4), torch.rand(2, 3, 4, 4)
    figure = fragility.before_and_after(images, drawn, torch.tensor([[0.9] * 3, [0.5] * 3]), torch.tensor([7, 1, 2]))
    axes = np.array(figure.axes).reshape(3, 4)
    assert texts([axes[0, 0].title, axes[0, 2].title]) == ["label 7, 90%", "label 7, 50%"]
    assert np.array_equal(shown(axes[1, 2]), images[1, 1, 0]) and np.array_equal(shown(axes[1, 3]), drawn[1, 1])


def test_maps_have_one_order_and_unknown_ones_come_last():
    assert in_order(["mine", "deep_taylor", "lens", "integrated_gradients", "gradient", "gradient"]) == [
        "gradient", "integrated_gradients", "deep_taylor", "mine", "lens"]


def test_names_of_curves_do_not_touch():
    axis = plt.figure().add_subplot(ylim=(0, 1))
    label_ends(axis, {"a": (0.5, "red"), "b": (0.52, "blue"), "c": (0.0, "green")}, gap=0.1)
    heights = {one.get_text(): one.xy[1] for one in axis.texts}
    assert heights["b"] - heights["a"] == pytest.approx(0.1) and heights["c"] >= 0
    assert [one.get_color() for one in axis.texts] == ["green", "red", "blue"]


# Attacks, close up.

def students(values):
    return pytest.approx(student(np.asarray(values)))


def test_pictures_of_a_targeted_attack_have_labels_and_outlines():
    images, pairs, mask = torch.rand(2, 2, 3, 6, 6), torch.rand(2, 2, 6, 6), torch.zeros(6, 6, dtype=torch.bool)
    mask[1:3, 2:5] = True
    titles = [["a, 90%", "a, 50%"], ["a, 90%", "a, 40%"]]
    figure = attacks.sent_pictures(images, pairs, titles, ["gradient", "deeplift"], mask)
    axes = np.array(figure.axes).reshape(2, 4)
    assert [axis.get_title() for axis in axes[0]] == ["a, 90%", "map", "a, 50%", "map, attacked"]
    assert [axis.get_title() for axis in axes[1, ::2]] == titles[1]
    assert [axis.get_ylabel() for axis in axes[:, 0]] == ["simple gradient", "DeepLIFT"]
    assert np.array_equal(shown(axes[1, 3]), pairs[1, 1]) and not axes[1, 3].texts
    same = attacks.sent_pictures(images, pairs[:, :1].expand(-1, 2, -1, -1), titles, ["gradient", "deeplift"], mask)
    assert texts(same.axes[3].texts) == ["no attack found"]
    for axis in axes.flat:                                              # half a pixel around the region
        outline = np.concatenate([path.vertices for path in axis.collections[0].get_paths()])
        assert np.allclose([*outline.min(0), *outline.max(0)], [1.5, 0.5, 4.5, 2.5])


def test_targeted_shares_go_from_clean_to_attacked():
    means = {"upper left": (0.2, 0.6), "lower right": (0.3, 0.8)}
    rows = pd.DataFrame([{"method": method, "region": region, "before": before + off / 2, "after": after + off - low,
                          "area": 0.25} for method, low in (("gradient", 0.0), ("deeplift", 0.1))
                         for region, (before, after) in means.items() for off in SPREAD])
    levels = attacks.shares(rows)
    assert levels.before.tolist() == pytest.approx([0.2, 0.3] * 2) and set(levels.area) == {0.25}
    assert (levels.low[0], levels.high[0]) == students(0.6 + SPREAD)
    first, second = attacks.targeted_shares(levels).axes
    assert (first.get_title(), second.get_title()) == ("simple gradient", "DeepLIFT")
    assert texts(first.get_xticklabels()) == list(means)
    for axis, low in ((first, 0.0), (second, 0.1)):
        assert lies(line(axis, "clean"), [-0.12, 0.88], [0.2, 0.3])
        assert lies(axis.containers[0][0], [0.12, 1.12], [0.6 - low, 0.8 - low])
        assert np.allclose(line(axis, "area of the region").get_ydata(), 0.25)


def test_saturation_draws_means_over_steps_and_their_reach():
    means = {("gradient", 4): 0.5, ("gradient", 32): 0.2, ("integrated_gradients", 4): 0.7,
             ("integrated_gradients", 32): 0.6}
    rows = pd.DataFrame([{"question": "steps", "method": method, "steps": steps, "pixels": 784, "k": 50,
                          "topk": mean + off, "spearman": mean / 2 + off, "center": 10 * (mean + off)}
                         for (method, steps), mean in means.items() for off in SPREAD])
    levels = attacks.by_steps(pd.concat([rows, rows.assign(question="cost", topk=9.0)]))
    assert levels.reach.tolist() == [0.25] * 3 + [1.0] * 3 + [0.25] * 3 + [1.0] * 3
    figure = attacks.saturation(levels)
    for axis, factor in zip(figure.axes, (1, 0.5, 10)):
        assert lies(line(axis, "simple gradient"), [4, 32], [0.5 * factor, 0.2 * factor])
        assert lies(line(axis, "integrated gradients"), [4, 32], [0.7 * factor, 0.6 * factor])
        assert texts(axis.get_xticklabels()) == ["4\n.25", "32\n1"] and axis.get_xscale() == "log"
        assert set(line(axis, "all of ε can be reached").get_xdata()) == {16}
    overlap, rank, center = figure.axes
    assert [tuple(ends) for ends in band(overlap, 0)] == [students(mean + SPREAD) for mean in (0.5, 0.2)]
    assert np.allclose(line(overlap, "chance").get_ydata(), 50 / 784)
    assert np.allclose(line(rank, "chance").get_ydata(), 0)
    assert set(texts(center.texts)) == {"simple\ngradient", "integrated\ngradients"}


def test_cost_has_a_row_a_direction():
    settings = {"1 random points": (0.1, 0.3), "2 random points": (0.2, 0.4),
                "double backprop, whole path": (9.0, 0.5), "double backprop, whole path, beta 20": (2.0, 0.6)}
    rows = pd.DataFrame([{"question": "cost", "method": "integrated_gradients", "variant": variant,
                          "beta": 20.0 if "20" in variant else 1.0, "topk": topk + off, "seconds": seconds * (1 + off)}
                         for variant, (seconds, topk) in settings.items() for off in SPREAD])
    levels = attacks.directions(rows)
    assert levels.setting.tolist() == ["ours, 1 random point", "ours, 2 random points",
                                       "published, whole path, β = 1", "published, whole path, β = 20"]
    assert levels.seconds.tolist() == pytest.approx([seconds for seconds, _ in settings.values()])
    left, right = attacks.cost(levels).axes
    assert texts(left.get_yticklabels()) == levels.setting.tolist()
    assert left.get_title(loc="left") == "integrated gradients"
    assert [one[0].get_xdata()[0] for one in left.containers] == pytest.approx([0.3, 0.4, 0.5, 0.6])
    assert [one.get_color() for one in right.get_lines()] == [PALETTE[0]] * 2 + [PALETTE[3]] * 2
    assert (left.get_xlabel(), right.get_xlabel()) == ("top-k overlap left", "seconds an image")


def test_traps_have_a_row_a_variant():
    rows = pd.DataFrame([{"question": question, "variant": variant, "topk": mean + off, "spearman": mean, "center": 4.0}
                         for question, variant, mean in (("twin", "beta 1", 0.3), ("start", "exact", 0.5),
                                                         ("start", "truncated", 0.2), ("cost", "1", 0.9))
                         for off in SPREAD])
    levels = attacks.choices(rows)
    assert levels.question.drop_duplicates().tolist() == ["start", "twin"]
    axes = attacks.traps(levels).axes
    assert texts(axes[0].get_yticklabels()) == ["start: exact", "truncated", "softplus twin: beta 1"]
    assert np.allclose(axes[0].containers[0][0].get_xdata(), [0.5, 0.2])
    assert np.allclose(axes[0].containers[1][0].get_ydata(), 2)


def test_degrees_have_their_scores_below():
    drawn = torch.zeros(2, 4, 4)
    drawn[0, 0, :2], drawn[1, 0, 1:3] = torch.tensor([2.0, 1.0]), torch.tensor([1.0, 2.0])
    scores = attacks.scored(drawn, [0, 1], 2)
    assert scores.topk.tolist() == [1.0, 0.5] and scores.center[1] == pytest.approx(4 / 3)
    first, second = attacks.degrees(drawn, scores).axes
    assert np.array_equal(shown(second), drawn[1])
    assert first.get_xlabel() == "0 steps\noverlap 1.00\nrank 1.00\nshift 0.0 px"
    assert second.get_xlabel().startswith("1 step\noverlap 0.50\nrank ")
