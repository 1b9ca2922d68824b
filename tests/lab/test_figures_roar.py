"""Figures of removal: what is drawn is what the frame says."""

import numpy as np
import pandas as pd
import pytest
import torch
from matplotlib.colors import to_hex

from lab.chapters.roar import figures, overview, tables
from lab.core.frames import select
from lab.core.pages import Page
from lab.core.store import from_body
from tests.lab.test_figures import band, closed, lies, line, shown, texts  # noqa: F401 (closed: a fixture)


def trained(estimator, replaced, *accuracies, data_set="mnist-5k"):
    return [{"data_set": data_set, "estimator": estimator, "replaced": replaced, "accuracy": accuracy}
            for accuracy in accuracies]


def test_the_papers_accuracies_are_by_replaced_share():
    table = figures.reported_roar().query("data_set == 'Birdsnap' and estimator == 'Random' and percent == 10")
    replaced = dict(zip(table["mode"], table.replaced))
    assert replaced == {"KAR": 0.9, "ROAR": 0.1} and table[table["mode"] == "KAR"].accuracy.tolist() == [37.24]


def test_degraded_images_stand_in_rows_of_estimators():
    images = torch.randint(256, (2, 3, 1, 4, 4), dtype=torch.uint8)
    figure = figures.degraded_images({"GRAD": list(images[0]), "Random": list(images[1])}, ["10 %", "50 %", "90 %"],
                                     {("GRAD", 1): "88 %", ("Random", 2): "70 %"})
    axes = np.array(figure.axes).reshape(2, 3)
    for axis, image in zip(axes.flat, images.flatten(0, 1)):
        assert np.allclose(shown(axis), image[0] / 255) and axis.images[0].get_clim() == (0, 1)
    assert [axis.get_title() for axis in axes.flat] == ["", "88 %", "", "", "", "70 %"]
    assert [axis.get_ylabel() for axis in axes[:, 0]] == ["GRAD", "Random"]
    assert [axis.get_xlabel() for axis in axes.flat] == ["", "", "", "10 %", "50 %", "90 %"]


def test_notes_are_means_of_what_was_measured():
    rows = pd.DataFrame([*trained("GRAD", 0.5, 60, 71), *trained("GRAD", 0.9, 40), *trained("Random", 0.2, 10)])
    assert figures.mean_notes(rows, [0.1, 0.5, 0.9]) == {("GRAD", 1): "65.5 %", ("GRAD", 2): "40.0 %"}


def test_toy_curves_tell_fits_apart():
    rows = [{"ranking": ranking, "retrained": retrained, "removed": removed,
             "accuracy": level - removed + 10 * retrained + seed}
            for ranking, level in (("true", 60), ("random", 80), ("worst", 90)) for retrained in (False, True)
            for removed in (0, 4, 16) for seed in range(11)]
    figure = figures.toy_curves(pd.DataFrame(rows))
    once, anew = figure.axes
    assert once.get_ylabel() == "test accuracy (%)" and once.get_xlabel() == "inputs removed (%)"
    assert texts(figure.legends[0].get_texts()) == ["true ranking", "random ranking", "worst ranking", "chance"]
    assert (once.get_title(), anew.get_title()) == ("not fitted anew", "fitted anew (ROAR)")
    for axis, more in ((once, 5), (anew, 15)):
        assert lies(line(axis, "true ranking"), [0, 25, 100], np.array([60, 56, 44]) + more)
        assert lies(line(axis, "worst ranking"), [0, 25, 100], np.array([90, 86, 74]) + more)
        assert np.allclose(band(axis, 1), np.array([[80], [76], [64]]) + more + [-4, 4])    # ten to ninety percent
        assert np.allclose(line(axis, "chance").get_ydata(), 50)
    means = figures.toy_means(pd.DataFrame(rows)).set_index(["ranking", "retrained", "removed"]).accuracy
    assert len(means) == 18 and means["true", True, 4] == 60 - 4 + 10 + 5


def test_removal_curves_start_at_the_untouched_images():
    ours = pd.DataFrame([*trained("GRAD", 0.9, 60, 70), *trained("GRAD", 0.5, 80, 90), *trained("Random", 0.5, 75)])
    paper = pd.DataFrame([one for name in ("GRAD", "Random") for one in trained(name, 0.9, 30, data_set="ImageNet")])
    panels = {"a": (ours, 97.0), "b": (ours, 98.0), "c": (ours, 99.0), "paper": (paper, 76.7)}
    figure = figures.removal_curves(panels)
    a, b, _, theirs, *empty = figure.axes
    assert [axis.get_title() for axis in figure.axes] == ["a", "b", "c", "paper", "", ""]
    assert lies(line(a, "GRAD"), [0, 50, 90], [97, 85, 65]) and lies(line(b, "GRAD"), [0, 50, 90], [98, 85, 65])
    assert lies(line(a, "Random"), [0, 50], [97, 75]) and line(a, "Random").get_linestyle() == "--"
    marks = [one for one in a.get_lines() if one.get_marker() == "."]
    assert lies(marks[0], [90, 90, 50, 50], [60, 70, 80, 90]) and lies(marks[1], [50], [75]) and len(marks) == 2
    assert np.allclose(line(a, "guessing").get_ydata(), 10) and np.allclose(line(theirs, "guessing").get_ydata(), 0.1)
    assert lies(line(theirs, "GRAD"), [0, 90], [76.7, 30]) and line(theirs, "GRAD").get_linestyle() == ":"
    assert line(theirs, "Random").get_linestyle() == "--" and line(a, "GRAD").get_linestyle() == "-"
    assert not [one for one in theirs.get_lines() if one.get_marker() == "."]
    assert [axis.get_xlabel() for axis in figure.axes[:4]] == ["", *3 * ["pixels replaced (%)"]]    # lowest of a column
    assert [axis.axison for axis in empty] == [False, False] and a.get_ylabel() == "test accuracy (%)"
    table = figures.drawn(panels).query("panel == 'a'")
    assert table[["estimator", "replaced", "mean", "count"]].values.tolist() == [
        ["GRAD", 0.5, 85, 2], ["GRAD", 0.9, 65, 2], ["Random", 0.5, 75, 1]]


def test_panels_of_one_data_set_share_an_axis_that_shows_their_curves():
    far, near = pd.DataFrame(trained("GRAD", 0.9, 70, 80)), pd.DataFrame(trained("IG", 0.9, 76))
    other = pd.DataFrame(trained("IG", 0.9, 12, data_set="cifar10"))
    first, second, low = figures.removal_curves({"a": (far, 90.0), "b": (near, 90.0), "c": (other, 72.0)}).axes
    assert first.get_ylim() == second.get_ylim() == pytest.approx((70 - 1.2, 90 + 1.2))
    assert low.get_ylim() == pytest.approx((10 - 3.72, 72 + 3.72))      # guessing is near: it is on the axis
    assert low.get_xticks().tolist() == [0, 30, 50, 70, 90]


def test_differences_to_a_random_ranking():
    table = overview.against_random(Page.at("roar", "quick", None))
    rows = table.set_index(["panel", "estimator"])
    assert len(table) == 3 * 7 and rows.loc[(overview.PAPER, "SG-SQ-GRAD"), "points"] == pytest.approx(11.09 - 63.53)
    ours = rows.loc["CIFAR-10 (ours)", "VAR-GRAD"]
    assert ours.low < ours.points < ours.high < 0 and ours.trainings == 3
    theirs, cifar, _ = overview.differences(table).axes
    assert texts(theirs.get_yticklabels())[5] == "VarGrad (VAR-GRAD)" and theirs.yaxis_inverted()
    dots = [[one for one in axis.get_lines() if one.get_marker() == "o"] for axis in (theirs, cifar)]
    assert lies(dots[0][4], 11.09 - 63.53, 4) and dots[0][4].get_markerfacecolor() == "white"
    assert lies(dots[1][5], ours.points, 5) and dots[1][5].get_markerfacecolor() != "white"
    assert any(lies(one, [ours.low, ours.high], [5, 5]) for one in cifar.get_lines())


def test_names_stand_at_the_ends_of_lines_and_apart():
    rows = pd.DataFrame([one for name, left in (("GRAD", 99), ("IG", 98), ("GB", 50), ("Random", 49), ("Sobel", 48))
                         for one in trained(name, 0.9, left)])
    axis, = figures.removal_curves({"a": (rows, 97.0)}).axes
    written = {text.get_text(): text for text in axis.texts}
    assert {name: text.xy for name, text in written.items()} == {
        name: (90, left) for name, left in (("GRAD", 99), ("IG", 98), ("GB", 50), ("Random", 49), ("Sobel", 48))}
    heights = sorted(text.get_position()[1] for text in written.values())
    low, high = axis.get_ylim()
    assert min(np.diff(heights)) > 0.06 * (high - low) and low < heights[0] and heights[-1] < high
    order = sorted(written, key=lambda name: written[name].get_position()[1])
    assert order == ["Sobel", "Random", "GB", "IG", "GRAD"]
    assert to_hex(written["GRAD"].get_color()) == to_hex(line(axis, "GRAD").get_color())


def cells(estimator, kind, *accuracies, mode="remove", filtering="none", fraction=0.9, data_set="mnist-5k"):
    return [{"data_set": data_set, "estimator": estimator, "kind": kind, "mode": mode, "filter": filtering,
             "fraction": fraction, "seed": seed, "accuracy": accuracy} for seed, accuracy in enumerate(accuracies)]


CONTROLS = pd.DataFrame({"data_set": ["mnist-5k", "mnist-5k", "cifar10"], "pipeline": ["direct", "resized", "direct"],
                         "accuracy": [97.0, 90.0, 72.0]})


def test_panels_stand_beside_the_papers():
    rows = pd.DataFrame([*cells("GRAD", "retrain", 60), *cells("VAR-GRAD", "retrain", 50), *cells("GB", "road", 50),
                         *cells("Random", "retrain", 40), *cells("SG-GB", "retrain", 30, data_set="cifar10"),
                         *cells("GB", "retrain", 20, data_set="cifar10"), *cells("IG", "retrain", 10, mode="keep")])
    panels = figures.beside_the_paper(rows, CONTROLS)
    ours = {title: (list(table.estimator), control) for title, (table, control) in panels.items() if "ours" in title}
    assert ours == {"CIFAR-10 (ours)\nbase and SmoothGrad": (["GB"], 72.0),
                    "CIFAR-10 (ours)\nsquared, variance": ([], 72.0),
                    "mnist-5k (ours)\nbase and SmoothGrad": (["GRAD", "Random"], 97.0),
                    "mnist-5k (ours)\nsquared, variance": (["VAR-GRAD", "Random"], 97.0)}
    table, control = panels["ImageNet (the paper's)\nbase and SmoothGrad"]
    assert set(table.estimator) == {"GRAD", "IG", "GB", "SG-GRAD", "Sobel", "Random"} and control == 76.68
    assert set(table.data_set) == {"ImageNet"} and set(table["mode"]) == {"ROAR"} and len(table) == 6 * 5
    kept = figures.keeping_and_removing(select(rows.assign(replaced=0.9), data_set="mnist-5k"), 97.0)
    assert list(kept) == ["KAR, ImageNet (the paper's)", "ROAR, ImageNet (the paper's)", "KAR, mnist-5k (ours)",
                          "ROAR, mnist-5k (ours)"]
    assert list(kept["KAR, mnist-5k (ours)"][0].estimator) == ["IG"]
    assert set(kept["KAR, ImageNet (the paper's)"][0]["mode"]) == {"KAR"}


def test_dots_of_masks_stand_beside_those_of_images():
    rows = pd.DataFrame([*cells("GRAD", "masks", 90, 92), *cells("GRAD", "retrain", 95, 97),
                         *cells("Random", "retrain", 40), *cells("GRAD", "retrain", 99, fraction=0.5)])
    found = figures.mask_rows(rows)
    image, mask = "the degraded image", "the mask alone"
    assert found[["setting", "seen", "accuracy"]].values.tolist() == [
        ["GRAD", image, 95], ["GRAD", image, 97], ["GRAD", mask, 90], ["GRAD", mask, 92]]
    nothing = found.assign(setting="IG", data_set="cifar10")
    figure = figures.training_dots({"all": (found, 98.0), "other": (nothing, 70.0)})
    axis, other = figure.axes
    dots = [one for one in axis.get_lines() if one.get_marker() == "o"]
    assert lies(dots[0], [95, 97], -0.208) and lies(dots[1], [90, 92], 0.208) and len(dots) == 2
    assert to_hex(dots[0].get_color()) != to_hex(dots[1].get_color())
    assert [(text.get_text().strip(), text.get_position()[1]) for text in axis.texts] == [("not trained", 1)]
    assert set(texts(figure.legends[0].get_texts())) == {image, mask, "nothing replaced", "guessing"}
    assert figures.trained({"all": (found, 98.0)}).seen.tolist() == [image, image, mask, mask]


def test_dots_of_filters():
    rows = pd.DataFrame([*cells("GRAD", "retrain", 95, 97), *cells("GRAD", "retrain", 80, filtering="max"),
                         *cells("IG", "retrain", 70)])
    assert list(dict.fromkeys(figures.filter_rows(rows, ["GRAD"]).setting)) == ["GRAD, as it is", "GRAD, 3 x 3 maximum"]


def test_no_two_estimators_look_alike():
    names = [f"{kind}{base}" for kind in ("", "SQ-", "SG-", "SG-SQ-", "VAR-") for base in ("GRAD", "IG", "GB")]
    names += ["Sobel", "Random"]
    rows = pd.DataFrame([one for name in names for one in trained(name, 0.5, 50)])
    axis, = figures.removal_curves({"all": (rows, 90)}).axes
    drawn = [line(axis, name) for name in names]
    assert len({to_hex(one.get_color()) for one in drawn}) == len(names)
    assert all(len({one.get_marker() for one in drawn[base:15:3]}) == 5 for base in range(3))   # without colours, too


def test_training_dots_have_a_row_a_setting():
    rows = pd.DataFrame([{"data_set": "gtsrb", "setting": setting, "accuracy": accuracy, "seed": seed}
                         for setting, accuracies in (("b", (60, 70, 80)), ("a", (20, 30)))
                         for seed, accuracy in enumerate(accuracies)])
    panels = {"all": (rows, 96.5), "some": (rows[rows.setting == "a"].assign(data_set="cifar10"), 70.0)}
    axis, other = figures.training_dots(panels).axes
    assert texts(axis.get_yticklabels()) == ["b", "a"] and axis.yaxis_inverted()
    assert axis.get_xlabel() == "test accuracy (%)" and (axis.get_title(), other.get_title()) == ("all", "some")
    dots = [one for one in axis.get_lines() if one.get_marker() == "o"]
    assert lies(dots[0], [60, 70, 80], 0) and lies(dots[1], [20, 30], 1) and len(dots) == 2
    bars = [one for one in axis.get_lines() if len(one.get_xdata()) == 2 and one.get_marker() == "None"]
    assert lies(bars[0], [70, 70], [-0.28, 0.28]) and lies(bars[1], [25, 25], [0.72, 1.28])
    assert np.allclose(line(axis, "nothing replaced").get_xdata(), 96.5)
    assert np.allclose(line(axis, "guessing").get_xdata(), 100 / 43)
    single, = [one for one in other.get_lines() if one.get_marker() == "o"]
    assert lies(single, [20, 30], 1) and np.allclose(line(other, "guessing").get_xdata(), 10)
    assert figures.trained(panels).panel.value_counts().to_dict() == {"all": 5, "some": 2}


def test_accuracies_are_ours_alone():
    rows = pd.DataFrame([{"data_set": "mnist-5k", "estimator": estimator, "mode": mode, "fraction": fraction,
                          "accuracy": accuracy}
                         for estimator, mode, fraction, accuracies in (("Random", "keep", 0.1, (90, 92)),
                                                                       ("Random", "remove", 0.9, (80,)),
                                                                       ("SQ-GRAD", "remove", 0.25, (70, 71)))
                         for accuracy in accuracies])
    cells = tables.accuracy_table(rows).data
    assert list(cells) == ["data", "estimator", "ROAR, 25 % removed", "ROAR, 90 % removed", "KAR, 10 % kept"]
    assert cells.iloc[0].tolist() == ["mnist-5k", "Random", "", "80.0 (1)", "91.0 ± 1.4 (2)"]
    assert cells.iloc[1].tolist() == ["mnist-5k", "SQ-GRAD", "70.5 ± 0.7 (2)", "", ""]


def test_the_papers_table_has_a_row_an_estimator_of_a_data_set():
    shown = tables.reported_table().data
    assert len(shown) == 3 * 14 and list(shown)[:3] == ["data", "estimator", "ROAR, 10 %"]
    first = shown.iloc[0]
    assert (first["data"], first["estimator"], first["ROAR, 90 %"], first["KAR, 10 %"]) == (
        "Birdsnap", "Random", "38.1", "37.2")


def test_trainings_on_untouched_images_are_summed_up():
    def record(pipeline, accuracy, seconds, data_set="mnist-5k"):
        parameters = {"data_set": data_set, "network": "mnist-cnn", "train_images": 4000, "epochs": 2}
        return from_body({"parameters": {**parameters, "pipeline": pipeline}, "seconds": seconds, "device": "CPU",
                          "table": {"columns": ["accuracy"], "rows": [[accuracy]]}}, "key")

    records = [record("direct", 97.0, 10.0), record("direct", 98.0, 14.0), record("retrain", 50.0, 99.0),
               record("direct", 70.0, 30.0, "cifar10"), record("direct", 72.0, 30.0, "cifar10")]
    cells = tables.training_table(records).data
    assert list(cells) == ["data", "network", "images x epochs", "trainings", "test accuracy (%)", "time of one (s)",
                           "device"]
    assert cells.values.tolist() == [
        ["mnist-5k", "mnist-cnn", "4,000 x 2", 2, "97.50 ± 0.71", "12 ± 3", "CPU"],
        ["cifar10", "mnist-cnn", "4,000 x 2", 2, "71.00 ± 1.41", "30 ± 0", "CPU"]]


def test_benchmarks_of_an_estimator_stand_in_a_row():
    rows = pd.DataFrame([*cells("Random", "retrain", 50, 52, 54), *cells("GRAD", "retrain", 40, 44),
                         *cells("GRAD", "masks", 30), *cells("GRAD", "road", 20), *cells("Random", "road", 22),
                         *cells("GRAD", "road", 60, fraction=0.5)])
    shown = tables.benchmark_table(rows).data
    assert shown.values.tolist() == [
        ["mnist-5k", "GRAD", "42.0 ± 2.8 (2)", "−9.0 [−21.7 to +3.7]", "30.0 (1)", "20.0", "60.0"],
        ["mnist-5k", "Random", "52.0 ± 2.0 (3)", "", "", "22.0", ""]]


@pytest.mark.parametrize("name, share", [("mnist-5k", 10), ("ImageNet", 0.1), ("Birdsnap", 0.2)])
def test_guessing_gets_one_class_right(name, share):
    assert figures.guessing(name) == pytest.approx(share)
