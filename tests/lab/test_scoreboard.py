"""The scoreboard: its cells are the audit's own rows, planted maps are caught, a board that is not whole is drawn."""

import json
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from matplotlib import pyplot as plt

from fragility import attribution, audit
from lab import catalogue
from lab.chapters.scoreboard import agreement, board, figures, methods, reports, retrained, scoreboard, tables
from lab.core import results
from lab.core.frames import frame, select
from lab.core.pages import NotRun, Page
from lab.core.running import run_cells
from lab.core.store import Store
from lab.trained import subjects
from tests.oracles.records import by_hand

SCORED = {"network": "mnist-cnn", "data_set": "mnist-5k", "epochs": 2, "images": 12, "attacked": 4, "steps": 3,
          "planted": list(methods.PLANTED)}
MAPS = ["gradient", "gradient_x_input", "guided_backprop", "integrated_gradients", "pattern_net", "attention_rollout",
        "sobel", "random"]


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return Store(tmp_path_factory.mktemp("store"))


@pytest.fixture(scope="module")
def cells():
    return scoreboard.cells(scoreboard.Scoreboard.of({"scored": [SCORED], "maps": MAPS, "pattern_images": 100}))


@pytest.fixture(scope="module")
def table(cells, store):
    made = frame(run_cells(scoreboard.EXPERIMENT, cells, store, progress=False))
    made.attrs.update(done=len(cells), cells=len(cells) + 1)
    return made


@pytest.fixture(scope="module")
def judged(table):
    return board.verdicts(table)


def word(judged, method, criterion):
    return select(judged, method=method, criterion=criterion).verdict.item()


@pytest.fixture(scope="module")
def report(cells, store):
    """The audit of the same network and images, all methods at once."""
    model, x, _ = subjects.subjects(cells[0], store)
    return audit.run(model, x, n=len(x), attacked=4, steps=3, progress=False, names=[str(row) for row in range(len(x))],
                     methods=["gradient", "gradient_x_input", "integrated_gradients", "attention_rollout"])


@pytest.mark.parametrize("method", ["gradient", "gradient_x_input", "integrated_gradients", "sobel", "random"])
def test_the_audit_of_the_same_network_gives_the_same_rows_to_the_last_digit(method, cells, store, report):
    cell = next(one for one in cells if one["method"] == method)
    ours = scoreboard.run(cell, store).table        # before the store rounds
    theirs = [row for row in report.rows() if row["method"] == method and row["criterion"] != "cost"]
    assert len(theirs) > 60
    ours = {(row.image, row.criterion): row for row in ours[ours.criterion != "cost"].dropna(
        subset="image").itertuples(index=False)}
    columns = [name for name in scoreboard.run(cell, store).table.columns]
    for row in theirs:
        mine = ours[float(row["image"]), row["criterion"]]
        assert mine.score == row["score"] or np.isnan([mine.score, row["score"]]).all()
        for name, value in row.items():
            if name.startswith("control: "):
                assert mine[columns.index(name)] == value or np.isnan(value)


def test_the_verdicts_on_records_are_those_of_the_audit(judged, report):
    """But for the level of the intervals, since the board judges a larger family of methods at once."""
    for one in report.verdicts:
        if one.criterion == "cost":
            continue
        mine = select(judged, method=one.method, criterion=one.criterion).iloc[0]
        assert (mine.n, mine.undefined) == (one.n, one.undefined)
        for name in ("score", "effect", "threshold"):
            value = getattr(one, name)
            assert pd.isna(mine[name]) if value is None else mine[name] == pytest.approx(value, rel=1e-5, abs=1e-6)
        assert mine.control == one.control if one.control else pd.isna(mine.control)


def test_the_command_gives_the_row_too(cells, store, report, tmp_path):
    """python -m fragility audit, on the network as a file and the images as an npz, to the last digit."""
    from safetensors.torch import save_file
    model, x, _ = subjects.subjects(cells[0], store)
    save_file({name: value.contiguous() for name, value in model.state_dict().items()}, tmp_path / "w.safetensors")
    (tmp_path / "model.py").write_text(
        "from pathlib import Path\nfrom lab.material import networks\n\n\n"
        "def load():\n    return networks.load('mnist-cnn', weights=Path(__file__).parent / 'w.safetensors')\n")
    np.savez(tmp_path / "images.npz", images=(x * 255).round().byte().numpy())
    done = subprocess.run([sys.executable, "-m", "fragility", "audit", f"{tmp_path / 'model.py'}:load", "--data",
                           tmp_path / "images.npz", "-n", str(len(x)), "--attacked", "4", "--steps", "3", "--methods",
                           "gradient", "--criteria", "noise,removal,parameters,class", "--budget", "1h", "--quiet",
                           "--out", tmp_path / "out"], capture_output=True, text=True)
    assert done.returncode in (0, 3), done.stderr
    found = json.loads((tmp_path / "out" / "report.json").read_text())
    measured = {one["criterion"]: one for one in found["measured"] if one["method"] == "gradient"}
    for name, one in measured.items():
        assert one["score"] == report.results["gradient", name].score.tolist(), name
    assert set(measured) == {"noise", "removal", "parameters", "class"}


def test_a_map_that_the_network_refuses_says_why(table, judged):
    refused = board.refused(table)
    assert set(refused) == {"attention_rollout"} and "attention" in refused["attention_rollout"]
    assert set(select(judged, method="attention_rollout").verdict) == {"not judged"}
    assert len(tables.left_out(table).data) == 1


def test_attacks_that_take_hours_are_left_out_by_name(cells, store):
    found = scoreboard.run({**cells[0], "attacked": 0}, store).table.set_index("criterion").refused
    assert "left out" in found["attack"] and "left out" in found["attack-lens"] and pd.isna(found["removal"]).all()


def test_effects_are_scores_minus_the_closest_control_and_excess_decides(table, judged):
    names = ["score", "effect", "excess", *(name for name in table if name.startswith("control: "))]
    table = table.astype(dict.fromkeys(names, float))
    rows = select(table, method="gradient", criterion="noise")
    assert np.allclose(rows.effect, rows.score - rows["control: another image"], atol=1e-6)
    one = select(judged, method="gradient", criterion="noise").iloc[0]
    assert rows.effect.mean() == pytest.approx(one.effect, abs=1e-6)
    assert rows.excess.mean() == pytest.approx(one.effect - one.threshold, abs=1e-6)
    removal = select(table, method="gradient", criterion="removal")
    controls = {name: (removal.score - removal[f"control: {name}"]).mean() for name in ("random", "sobel")}
    assert removal.effect.mean() == pytest.approx(min(controls.values()), abs=1e-6)
    exact = select(table, method="gradient_x_input", criterion="shift")
    assert np.allclose(exact.excess, -exact.score + 1e-5, atol=1e-6) and (exact.excess < -0.1).all()


@pytest.mark.parametrize("cheat, criteria", [
    ("constant", ["noise", "removal", "parameters", "class"]), ("centre", ["parameters", "class"]),
    ("the_input", ["shift", "parameters", "class"]), ("sobel", ["parameters", "class"]),
    ("random", ["noise", "removal", "parameters", "class"]), ("another_class", ["infidelity"])])
def test_planted_maps_are_caught(judged, cheat, criteria):
    assert {word(judged, cheat, name) for name in criteria} == {"fail"}


def test_what_catches_blind_maps_does_not_catch_a_map_of_another_class(table, judged):
    assert word(judged, "another_class", "shift") == "pass"
    means = select(table, criterion="parameters").groupby("method").excess.mean()
    assert means["another_class"] > 0 > means[["sobel", "random", "centre", "the_input"]].max()
    removal = select(table, criterion="removal").groupby("method").score.mean()
    assert removal["another_class"] < removal["gradient"] - 0.1


def test_the_right_map_of_a_network_that_reads_a_corner_is_not_caught_by_removal(table, judged):
    assert word(judged, "corner", "removal") != "fail" and word(judged, "corner", "parameters") != "fail"
    assert word(judged, "corner", "shift") == "pass"


def test_a_question_that_catches_nothing_beyond_another_is_named():
    fails = pd.DataFrame({"a": [True, True, False], "b": [True, False, False], "c": [False, False, True],
                          "d": [False, False, False], "e": [False, False, True]}, index=list("xyz"))
    found = board.adds_nothing(fails)
    assert found["b"] == "a" and found["e"] == "c" and "a" not in found and "c" not in found and "d" in found


def test_caught_counts_failures_alone(judged):
    fails = board.caught(judged)
    assert list(fails.index) == list(board.CHEATS) and fails.loc["constant", "parameters"]
    assert not fails.loc["another_class", "shift"]


def test_cells_do_not_depend_on_which_ones_came_before(cells, store, table):
    """Groups are kept for the next cell of a network; a fresh process gives the same."""
    scoreboard._prepared.cache_clear()
    cell = next(one for one in cells if one["method"] == "guided_backprop")
    alone = scoreboard.EXPERIMENT.compute(cell, store).table
    kept = select(table, method="guided_backprop")
    for name in ("effect", "excess"):
        assert np.allclose(alone[name], kept[name], atol=1e-6, equal_nan=True)


def test_fewer_images_are_the_first_of_the_others(cells, store, table):
    fewer = scoreboard.run({**cells[0], "images": 6}, store).table
    assert set(fewer.image.dropna()) == set(range(6)) < set(select(table, method="gradient").image.dropna())


def test_grids_list_what_they_hold(monkeypatch):
    before = scoreboard.EXPERIMENT.cells(scoreboard.EXPERIMENT.at("edition"))
    monkeypatch.setitem(attribution.METHODS, "new", attribution.gradient)
    assert scoreboard.EXPERIMENT.cells(scoreboard.EXPERIMENT.at("edition")) == before
    assert before[0]["network"] == "squeezenet1_0" and len({json.dumps(one) for one in before}) == len(before)


@pytest.mark.parametrize("change, said", [
    ({"images": 1}, "images"), ({"planted": ["gradiant"]}, "gradiant"), ({"fewer": {"lrp": {"epochs": 1}}}, "epochs")])
def test_parameters_are_checked(change, said):
    with pytest.raises(ValueError, match=said):
        scoreboard.Scoreboard.of({"scored": [{**SCORED, **change}], "maps": MAPS, "pattern_images": 100})


def texts(figure) -> list[str]:
    return [one.get_text() for axis in figure.axes for one in axis.texts]


def test_the_board_has_a_mark_a_cell_and_words_beside_colours(table, judged):
    figure = figures.board(judged, "mnist-cnn")
    names = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert names[-2:] == ["Sobel", "random"] and "attention rollout" not in names and "constant" not in names
    shown = texts(figure)
    drawn = select(judged, method=["gradient", "gradient_x_input", "guided_backprop", "integrated_gradients",
                                   "pattern_net", "sobel", "random"])
    for verdict, mark in board.MARKS.items():
        assert shown.count(mark) == (drawn.verdict == verdict).sum(), verdict
    assert all(word in figure.axes[0].get_title(loc="left") for word in board.MARKS)
    plt.close(figure)


def test_the_front_pages_figure_is_made_of_the_same_verdicts(judged):
    figure = figures.front(judged)
    assert texts(figure).count("✕") == (select(judged, method=[*methods.METHODS, "sobel", "random"]).verdict
                                        == "fail").sum()
    plt.close(figure)


def test_a_board_that_is_not_whole_is_drawn_and_says_so(table):
    part = select(table, method=["gradient", "lrp", "sobel"], criterion=["noise", "removal", "cost"])
    part.attrs.update(done=2, cells=9)
    judged = board.verdicts(part)
    methods_there = select(part, method=["gradient"])
    for figure in (figures.board(judged, "mnist-cnn"), figures.front(judged), figures.cost(part, judged, "mnist-cnn"),
                   figures.questions(agreement.of_questions([methods_there])),
                   figures.carried({"a and b": agreement.of_networks(methods_there, methods_there)})):
        plt.close(figure)
    assert tables.progress(part).endswith("7 of 9 cells are still missing, and their maps with them.")
    assert tables.planted(judged, "mnist-cnn").data.empty and board.caught(judged).empty
    assert "yet" in tables.progress(pd.DataFrame())


def test_numbers_are_those_of_the_board(table, judged, monkeypatch):
    page = Page.at("scoreboard", "quick", None)
    monkeypatch.setattr(Page, "edition", lambda self, experiment: table)
    chapter = catalogue.chapter("scoreboard")
    about = chapter.describe("shown.pass.noise", page)
    wanted = select(judged, method=list(methods.METHODS), criterion="noise").verdict == "pass"
    assert about["value"] == wanted.sum() and set(about["records"]) <= set(table.record)
    assert chapter.describe("shown.caught.constant", page)["value"] == board.caught(judged).loc["constant"].sum()
    assert chapter.describe("shown.passed.sobel", page)["value"] == (
        select(judged, method="sobel").verdict == "pass").sum()
    pair = chapter.describe("shown.agree.weights_and_class", page)
    expected = agreement.of_pair([select(table, method=list(methods.METHODS))], "parameters", "class")
    assert pair["value"] == expected.value and pair["n"] == 12
    assert "not published yet" in chapter.describe("carries.noise", page)["source"]


def test_the_published_board_is_shown_where_there_is_one(table, monkeypatch):
    from lab.chapters.scoreboard import numbers
    page = Page.at("scoreboard", "quick", None).strict()
    monkeypatch.setattr(Page, "live", lambda self, experiment: "live")
    monkeypatch.setattr(Page, "edition", lambda self, experiment: table)
    assert numbers.board_of(page, "shown") is table and numbers.board_of(page, "live") == "live"

    def nothing(self, experiment):
        raise NotRun("nothing")
    monkeypatch.setattr(Page, "edition", nothing)
    assert numbers.board_of(page, "shown") == "live"


def test_the_report_on_each_published_network_has_the_verdicts_of_the_board():
    """The board's network, read by another way: the audit's own page, without pictures."""
    found = reports.published()
    judged = board.verdicts(results.measured(scoreboard.EXPERIMENT, "edition", None))
    assert list(found) and set(found) == set(judged.network)
    for network, report in found.items():
        rows = select(judged, network=network)
        words = {(row.method, row.criterion): row.verdict for row in rows.itertuples()}
        shown = {(one.method, one.criterion): one.verdict for one in report.verdicts
                 if one.criterion in board.QUESTIONS}
        assert shown and shown.items() <= words.items()
        assert report.answer and "Can the maps of" in report.to_html() and not report.pictures


# ------------------------------------------------------------------------------------------------ retraining
def trainings(**accuracies):
    """Three trainings of each estimator without half of the pixels, in per cent."""
    half = {"data_set": "digits", "kind": "retrain", "mode": "remove", "filter": "none", "fraction": 0.5}
    return pd.DataFrame([{**half, "estimator": name.replace("_", "-"), "seed": seed, "accuracy": value}
                         for name, values in accuracies.items() for seed, value in enumerate(values)])


def test_retraining_is_judged_against_random_pixels():
    found = retrained.verdicts(trainings(GRAD=[60, 61, 62], IG=[85, 86, 87], SG_GRAD=[70, 80, 90], SQ_IG=[1, 1, 1],
                                         Sobel=[60, 61, 62], Random=[80, 81, 82])).set_index("method")
    assert found.verdict.to_dict() == {"gradient": "pass", "smoothgrad": "undecided", "integrated_gradients": "fail",
                                       "sobel": "pass"}
    assert found.effect["gradient"] == pytest.approx(0.2) and found.score["gradient"] == pytest.approx(0.61)


def test_published_trainings_by_hand():
    rows = by_hand("roar").query("kind == 'retrain' and mode == 'remove' and fraction == 0.5 and filter == 'none'")
    means = rows.groupby(["data_set", "estimator"]).accuracy.mean() / 100
    found = retrained.verdicts(results.measured(catalogue.experiment("roar"), "edition", None))
    for one in found[found.method == "gradient"].itertuples():
        assert one.effect == pytest.approx(means[one.data_set, "Random"] - means[one.data_set, "GRAD"])
    assert len(found[found.method == "gradient"]) == 2


def test_a_network_that_is_not_whole_comes_after_those_that_are():
    maps = {"cifar-resnet": ["gradient", "lrp", "sobel"], "squeezenet1_0": ["gradient"],
            "mnist-cnn": ["gradient", "lrp"]}
    made = pd.DataFrame([{"network": network, "method": name} for network, names in maps.items() for name in names])
    assert board.networks(made) == ["cifar-resnet", "mnist-cnn", "squeezenet1_0"]
    assert board.networks(select(made, method="gradient")) == ["squeezenet1_0", "cifar-resnet", "mnist-cnn"]
