"""Figures of LENS, its neighbourhoods and its trainings: what is drawn is what the frame says."""

import numpy as np
import pandas as pd
import torch

from lab.chapters.fragility.reported import reported_comparison
from lab.chapters.lens import figures, neighbourhoods, training_figures
from lab.core.statistics import bootstrap
from lab.drawing.style import PALETTE
from tests.lab.test_figures import SPREAD, band, closed, interval, lies, line, shown, texts  # noqa: F401 (closed: fixture)

METRICS = ("topk", "recall", "recall_div")


def three(attack, topk, epsilon=0.3, **more):
    """Three images whose overlap has this mean, whose recall is 0.1 above and whose diverse recall is 0.2 above it."""
    return [{"method": "gradient", "training": "natural", "attack": attack, "epsilon": epsilon,
             **{name: topk + 0.1 * place + off for place, name in enumerate(METRICS)},
             "chance_topk": 0.06, "chance_recall": 0.3 + off, "chance_recall_div": 0.4 - off / 2, **more}
            for off in SPREAD]


def test_lens_curves_draw_attacks_controls_and_chance():
    rows = [*three("topk", 0.5, 0.1), *three("topk", 0.2), *three("random_sign", 0.7, 0.1), *three("random_sign", 0.6),
            *three("random_walk", 0.65), *three("same_class", 0.25, 0.0), *three("other_class", 0.15, 0.0),
            *three("topk", 0.4, 0.1, method="deeplift"), *three("topk", 0.35, method="deeplift")]
    table = pd.DataFrame(rows).assign(window=3)
    axes = np.array(figures.lens_curves(table, reported_comparison()).axes).reshape(2, 3).T
    assert [axis.get_title() for axis in axes[:, 0]] == ["top-k", "3-LENS recall", "diverse 3-LENS recall"]
    assert [axis.get_ylabel() for axis in axes[0]] == ["simple gradient", "DeepLIFT"]
    for more, (axis, other), chance in zip((0, 0.1, 0.2), axes, (0.06, 0.3, 0.4)):
        assert lies(line(axis, "top-k attack"), [0, 1], [0.5 + more, 0.2 + more])
        assert lies(line(axis, "random signs"), [0, 1], [0.7 + more, 0.6 + more])
        assert lies(line(axis, "best of a random walk"), 1, 0.65 + more)
        assert np.allclose(line(axis, "another image, same class").get_ydata(), 0.25 + more)
        assert np.allclose(line(axis, "another image, other class").get_ydata(), 0.15 + more)
        assert np.allclose(line(axis, "chance").get_ydata(), chance)
        assert lies(line(other, "top-k attack"), [0, 1], [0.4 + more, 0.35 + more])
        assert np.allclose(band(axis, 0), [bootstrap(mean + more + SPREAD) for mean in (0.5, 0.2)])
    assert np.allclose(line(axes[0, 0], "Ghorbani et al., read off").get_ydata(), [0.059, 0.005])
    assert not [one for one in axes[1, 0].get_lines() if one.get_linestyle() == ":" and len(one.get_xdata()) > 2]
    assert texts(axes[2, 1].get_xticklabels()) == ["0.1", "0.3"]


def bands(axis, place):
    """Edges x, y, x, y of a group's grey band of chance."""
    chance = [one for one in axis.collections if one.get_label() == "chance"][place]
    return chance.get_paths()[0].get_extents().extents.round(9)


def test_lens_bars_are_means_beside_their_controls():
    rows = [*three("topk", 0.2), *three("random_sign", 0.6), *three("topk", 0.5, 0.1), *three("same_class", 0.25, 0.0),
            *three("other_class", 0.15, 0.0), *three("topk", 0.3, training="pgd", chance_topk=0.1)]
    table = pd.DataFrame(rows)
    figure = figures.lens_bars(table, ["topk", "recall"], ["random_sign", "topk"])
    first, second = figure.axes
    assert (first.get_title(), second.get_title()) == ("top-k", "LENS recall")
    assert texts(first.get_xticklabels()) == ["natural", "PGD"] and first.get_ylabel() == "simple gradient"
    bars = [(bar.get_x() + bar.get_width() / 2, bar.get_height()) for bar in first.patches]
    assert np.allclose(bars, [(-0.175, 0.6), (0.175, 0.2), (1.175, 0.3)])      # of the largest size
    assert [bar.get_facecolor()[:3] for bar in first.patches] == [PALETTE[2], PALETTE[0], PALETTE[0]]
    assert np.allclose([bar.get_height() for bar in second.patches], [0.7, 0.3, 0.4])
    whiskers = [one.get_segments()[0][:, 1] for one in first.collections
                if one.get_label() != "chance"]
    assert np.allclose(whiskers, [bootstrap(mean + SPREAD) for mean in (0.6, 0.2, 0.3)])
    assert [bands(first, place).tolist() for place in (0, 1)] == [[-0.46, 0.0, 0.46, 0.06], [0.54, 0.0, 1.46, 0.1]]
    same, other = (line(first, f"another image, {kind} class") for kind in ("same", "other"))
    assert lies(same, [-0.46, 0.46], 0.25) and lies(other, [-0.46, 0.46], 0.15)     # as wide as their own group
    assert other.get_linewidth() > same.get_linewidth()
    assert set(texts(figure.legends[0].get_texts())) == {"random signs", "top-k attack", "chance",
                                                         "another image, same class", "another image, other class"}
    axis, = figures.lens_bars(table.assign(topk_corrected=table.topk - 0.5), ["topk_corrected"], ["topk"]).axes
    assert np.isclose(axis.patches[0].get_height(), -0.3) and axis.get_ylim()[0] < -0.3
    assert bands(axis, 0)[3] == 0       # nothing is left to chance
    axes = figures.lens_bars(table.assign(topk_corrected=table.topk - 0.5), ["topk", "topk_corrected"], ["topk"]).axes
    assert all(one.get_ylim()[0] < -0.3 for one in axes)       # panels share limits: a later one's bars count, too


def test_lens_bars_are_grouped_by_any_column():
    rows = [*three("topk", 0.2, data_set="mnist"), *three("topk", 0.4, data_set="gtsrb"),
            *three("topk", 0.1, data_set="gtsrb", method="deeplift")]
    first, second = figures.lens_bars(pd.DataFrame(rows), ["topk"], ["topk"], by="data_set").axes
    assert texts(second.get_xticklabels()) == ["MNIST", "traffic signs"] and second.get_ylabel() == "DeepLIFT"
    assert np.allclose([bar.get_height() for bar in first.patches], [0.2, 0.4])
    assert np.allclose([(bar.get_x() + bar.get_width() / 2, bar.get_height()) for bar in second.patches], [(1, 0.1)])


def test_lens_bars_stand_in_rows_of_data_sets():
    rows = [*three("topk", 0.2, data_set="mnist", window=1), *three("topk", 0.4, data_set="gtsrb", window=1),
            *three("topk", 0.1, data_set="gtsrb", window=1, method="deeplift")]
    figure = figures.lens_bars(pd.DataFrame(rows), ["topk", "recall"], ["topk"], rows="data_set")
    axes = np.array(figure.axes).reshape(2, 4)
    assert [axis.get_title() for axis in axes[0]] == [
        "simple gradient\ntop-k", "simple gradient\n1-LENS recall", "DeepLIFT\ntop-k", "DeepLIFT\n1-LENS recall"]
    assert [axis.get_ylabel() for axis in axes[:, 0]] == ["MNIST", "traffic signs"]
    heights = [[bar.get_height() for bar in axis.patches] for axis in axes.flat]
    assert heights[2:4] == [[], []] and np.allclose([one[0] for one in heights if one], [0.2, 0.3, 0.4, 0.5, 0.1, 0.2])
    kept = figures.means(pd.DataFrame(rows), ["topk", "recall"])
    assert np.allclose(kept.topk, [0.2, 0.4, 0.1]) and kept.data_set.tolist() == ["mnist", "gtsrb", "gtsrb"]


def test_a_metric_has_its_window_where_all_rows_have_one():
    assert figures.metric_name("lens_kendall", pd.DataFrame({"window": [2, 2]})) == "2-LENS-Kendall"
    assert figures.metric_name("recall", pd.DataFrame({"window": [1, 3]})) == "LENS recall"
    assert figures.metric_name("topk", pd.DataFrame({"window": [3]})) == "top-k"


def test_separations_draw_a_row_a_metric():
    means = {("topk", "topk"): 0.7, ("topk", "kendall"): 0.9, ("center", "topk"): 0.55, ("center", "kendall"): 0.65}
    rows = [{"method": method, "attack": attack, "metric": metric, "separation": mean + off - low, "data_set": "gtsrb"}
            for method, low in (("gradient", 0.0), ("deeplift", 0.1)) for (attack, metric), mean in means.items()
            for off in (*SPREAD, np.nan)]
    figure = figures.separations(pd.DataFrame(rows))
    for axis, low, title in zip(figure.axes, (0.0, 0.1), ("simple gradient", "DeepLIFT"), strict=True):
        assert axis.get_title() == f"{title}\ntraffic signs" and np.allclose(line(axis, "blind").get_xdata(), 0.5)
        assert lies(line(axis, "top-k attack"), 0.9 - low, -0.12)       # the metric with the largest areas comes first
        assert lies(line(axis, "mass-centre attack"), 0.65 - low, 0.12)
        marks = [(*one.get_xdata(), *one.get_ydata()) for one in axis.get_lines() if len(one.get_xdata()) == 1]
        assert np.allclose(marks, [(0.9 - low, -0.12), (0.7 - low, 0.88), (0.65 - low, 0.12), (0.55 - low, 1.12)])
        assert any(lies(one, bootstrap(0.7 - low + SPREAD), [0.88, 0.88]) for one in axis.get_lines())
    assert figure.axes[1].get_xlabel() == "area under the ROC curve"
    assert texts(figure.axes[0].get_yticklabels()) == ["Kendall", "top-k"] and figure.axes[0].yaxis_inverted()


def test_tie_rules_draw_three_rules_with_their_chance():
    rules = {"": 0.0, "_last": 0.1, "_any": 0.2}
    rows = [{"attack": attack, "chance_topk": 0.05,
             **{f"topk_div{rule}": mean + more + off for rule, more in rules.items()},
             **{f"recall_div{rule}": mean + 2 * more + off for rule, more in rules.items()},
             **{f"chance_recall_div{rule}": 0.3 + more for rule, more in rules.items()}}
            for attack, mean in (("topk", 0.2), ("other_class", 0.4)) for off in SPREAD]
    figure = figures.tie_rules(pd.DataFrame(rows), {"topk": "an attack", "other_class": "another image"})
    overlap, recall = figure.axes
    assert texts(figure.legends[0].get_texts()) == ["an attack", "another image", "chance"]
    assert overlap.get_ylabel() == "agreement" and overlap.get_ylim() == (0, 1)
    assert (overlap.get_title(), recall.get_title()) == ("diverse top-k", "diverse LENS recall")
    assert texts(overlap.get_xticklabels()) == ["first pixel", "last pixel", "any pixel"]
    for axis, factor in ((overlap, 1), (recall, 2)):
        marks = [(*one.get_xdata(), *one.get_ydata()) for one in axis.get_lines() if len(one.get_xdata()) == 1]
        assert np.allclose(marks, [(row + x, mean + 0.1 * factor * row) for x, mean in ((-0.08, 0.2), (0.08, 0.4))
                                   for row in range(3)])
        assert lies(line(axis, "an attack"), -0.08, 0.2) and lies(line(axis, "another image"), 0.08, 0.4)
        assert interval(axis, 1 + 0.08, 0.4 + 0.1 * factor + SPREAD)
    dashed = [[one for one in axis.get_lines() if one.get_linestyle() == "--"] for axis in (overlap, recall)]
    assert [lies(one, [row - 0.4, row + 0.4], 0.05) for row, one in enumerate(dashed[0])] == 3 * [True]
    assert [lies(one, [row - 0.4, row + 0.4], 0.3 + 0.1 * row) for row, one in enumerate(dashed[1])] == 3 * [True]


def test_noise_dots_mark_agreement_controls_and_chance():
    others = {f"other_{name}": 0.1 + 0.1 * place for place, name in enumerate(METRICS)}
    rows = [*three("random_sign", 0.5, **others), *three("random_sign", 0.6, training="pgd", **others),
            *three("random_sign", 0.3, method="lrp", **others),
            *three("random_sign", 0.4, method="lrp", training="pgd", **others)]
    figure = figures.noise_dots(pd.DataFrame(rows))
    axes = figure.axes
    assert texts(figure.legends[0].get_texts()) == ["natural", "another image", "chance", "PGD"]
    assert [axis.get_title() for axis in axes] == ["top-k", "LENS recall", "diverse LENS recall"]
    for place, (axis, chance) in enumerate(zip(axes, (0.06, 0.3, 0.4))):
        more = 0.1 * place
        assert lies(line(axis, "natural"), 0.5 + more, -0.13) and lies(line(axis, "PGD"), 0.6 + more, 0.13)
        dots, crosses, bars = ([(*one.get_xdata(), *one.get_ydata()) for one in axis.get_lines()
                                if str(one.get_marker()) in kind] for kind in (("o", "s"), "x", "|"))
        heights = (-0.13, 0.13, 0.87, 1.13)
        assert np.allclose(dots, [(mean + more, y) for mean, y in zip((0.5, 0.6, 0.3, 0.4), heights)])
        assert np.allclose(crosses, [(0.1 + more, y) for y in heights])
        assert np.allclose(bars, [(chance, y) for y in heights])
        assert any(lies(one, bootstrap(0.3 + more + SPREAD), [0.87] * 2) for one in axis.get_lines())
    assert texts(axes[0].get_yticklabels()) == ["simple gradient", "LRP (z rule)"] and axes[0].yaxis_inverted()


# Neighbourhoods.

def test_top_sets_show_what_the_other_map_has_nearby():
    a, b = torch.zeros(6, 6), torch.zeros(6, 6)
    a[0, 0], a[3, 3] = 2, 1
    b[0, 1], b[1, 0], b[5, 5] = 3, 2, 1
    figure = neighbourhoods.top_sets(a, b, 2, [(0, False), (1, False), (1, True)], ("before", "after"))
    axes = np.array(figure.axes).reshape(2, 4)
    assert np.array_equal(shown(axes[0, 0]), a) and np.array_equal(shown(axes[1, 0]), b)
    assert [axis.get_ylabel() for axis in axes[:, 0]] == ["before", "after"]
    assert [axis.get_title() for axis in axes[0]] == ["map", "top-k", "top-k, w = 1", "diverse top-k, w = 1"]
    assert [axis.get_xlabel() for axis in axes[:, 1:].flat] == [
        "overlap 0.00\nchance 0.06", "precision 0.50\nchance 0.22", "precision 0.50\nchance 0.28",
        "overlap 0.00\nchance 0.06", "recall 1.00\nchance 0.36", "recall 0.50\nchance 0.36"]
    upper, lower = np.zeros((6, 6)), np.zeros((6, 6))
    upper[:2, :2] = upper[2:5, 2:5] = 1             # near a top pixel of the first map
    upper[0, 0], upper[3, 3] = 2, 3                 # the one the second map has nearby, and the one it has not
    lower[:2, :3] = lower[:3, :2] = 1
    lower[0, 1] = lower[1, 0] = 2
    assert np.array_equal(shown(axes[0, 2]), upper) and np.array_equal(shown(axes[1, 2]), lower)
    lower[1, 0], lower[2, :2], lower[4:, 4:], lower[5, 5] = 1, 0, 1, 3      # (5, 5) for (1, 0), a neighbour of (0, 1)
    assert np.array_equal(shown(axes[0, 3]), upper) and np.array_equal(shown(axes[1, 3]), lower)
    assert np.array_equal(shown(axes[0, 1]), 3 * (upper > 1))
    assert texts(figure.legends[0].get_texts()) == ["near a top pixel", "top pixel, found near the other map's",
                                                    "top pixel, not found"]


def test_models_stand_side_by_side_before_and_after():
    grey, colours = torch.rand(2, 1, 4, 4), torch.rand(2, 3, 4, 4)
    maps = torch.rand(4, 4, 4)
    figure = neighbourhoods.models_before_after({"natural": (*grey, *maps[:2]), "PGD": (*colours, *maps[2:])},
                                                {"PGD": "top-k 0.5", "natural": "top-k 0.1"})
    axes = np.array(figure.axes).reshape(2, 4)
    for row in range(2):
        assert np.array_equal(shown(axes[row, 0]), grey[row, 0]) and np.array_equal(shown(axes[row, 1]), maps[row])
        assert np.array_equal(shown(axes[row, 2]), colours[row].permute(1, 2, 0))
        assert np.array_equal(shown(axes[row, 3]), maps[2 + row])
    assert [axis.get_title() for axis in axes[0]] == ["", "natural", "", "PGD"]
    assert [axis.get_xlabel() for axis in axes[1]] == ["", "top-k 0.1", "", "top-k 0.5"]
    assert [axis.get_ylabel() for axis in axes[:, 0]] == ["before", "after"]


# Trainings.

def test_the_robust_table_stands_beside_what_is_recalled():
    accuracies = pd.DataFrame([{"data_set": "mnist-5k", "training": training, "correct": image < right,
                                "withstood": image < 1}
                               for training, right in (("natural", 3), ("pgd", 2)) for image in range(4)])
    asked = {"data_set": "mnist-5k", "training": "natural", "attack": "topk", "method": "integrated_gradients",
             "epsilon": 0.3, "topk": 0.4, "kendall": 0.25}
    decoys = [{"attack": "lens"}, {"method": "gradient"}, {"epsilon": 0.1}, {"training": "ig_norm"},
              {"data_set": "gtsrb"}]
    rows = [asked, {**asked, "topk": 0.6, "kendall": 0.15}, {**asked, "training": "pgd", "topk": 0.8, "kendall": 0.5},
            *({**asked, "topk": 1.0, "kendall": 1.0, **other} for other in decoys)]
    recalled = {"mnist": {"natural": [99.2, 0.0, 46.6, 0.1758]}}
    cells = training_figures.robust_table(accuracies, pd.DataFrame(rows), recalled).data
    assert cells.values.tolist() == [
        ["digits", "natural", "75.0 (99.2)", "25.0 (0.0)", "50.0 (46.6)", "0.200 (0.176)"],
        ["digits", "PGD", "50.0 (–)", "25.0 (–)", "80.0 (–)", "0.500 (–)"]]
    assert list(cells) == ["data", "training", *(f"{name}: ours (recalled)" for name in (
        "accuracy (%)", "under PGD (%)", "top-k, IG attacked (%)", "Kendall, IG attacked"))]


def test_what_is_recalled_has_four_numbers_a_training_in_their_ranges():
    recalled = training_figures.reported_trainings()
    sets = {name: rows for name, rows in recalled.items() if name not in ("source", "columns")}
    assert recalled["columns"] == ["accuracy", "withstood", "topk", "kendall"] and {"mnist", "gtsrb"} <= set(sets)
    for rows in sets.values():
        # Robust training withstands more and keeps more of the map, as its authors report.
        assert all(rows["pgd"][place] > rows["natural"][place] for place in (1, 2, 3))
        assert all(0 <= share <= 100 for row in rows.values() for share in row[:3])
        assert all(0 <= row[3] <= 1 for row in rows.values())


def test_seed_dots_mark_every_network_and_their_mean():
    rows = [{"data_set": data_set, "method": "gradient", "training": training, "seed": seed, "image": image,
             "topk": 0.1 * seed + 0.3 * (training == "pgd") + 0.2 * (data_set == "gtsrb") + (image - 0.5) / 50,
             "chance_topk": 0.05, "topk_over_other": -0.1}
            for data_set in ("mnist", "gtsrb") for training in ("natural", "pgd") for seed in range(3)
            for image in range(2)]
    figure = training_figures.seed_dots(pd.DataFrame(rows), {"topk": "top-k"})
    axis, = figure.axes
    assert np.allclose(line(axis, "PGD").get_xdata(), [0.3, 0.4, 0.5]) and set(line(axis, "PGD").get_ydata()) == {1}
    assert np.allclose(line(axis, "chance").get_xdata(), 0.05)
    assert lies(line(axis, "another class"), 0.2, 0)                # the attacked map agrees 0.1 less than that one
    upright = [one.get_xdata()[0] for one in axis.get_lines() if len(one.get_xdata()) == 2 and np.ptp(one.get_ydata())]
    assert np.allclose(upright, [0.1, 0.4, 0.3, 0.6])
    assert any(lies(one, [0, 1], [1.5, 1.5]) for one in axis.get_lines())       # between the two data sets
    assert texts(figure.legends[0].get_texts()) == ["natural", "chance", "another class", "PGD"]
    bare = pd.DataFrame(rows).drop(columns=["chance_topk", "topk_over_other"])
    axis, = training_figures.seed_dots(bare, {"topk": "top-k"}).axes
    assert lies(line(axis, "chance"), 0, 0) and not [one for one in axis.get_lines() if one.get_marker() == "x"]
    assert texts(axis.get_yticklabels()) == ["MNIST", "traffic signs"] and axis.get_title() == "top-k"
    assert np.allclose(axis.get_yticks(), [0.5, 2.5])
