"""Figures of the chapter on networks of today: what is drawn is what the frame says."""

import numpy as np
import pandas as pd
import pytest

from fragility.audit.verdicts import FAIL, PASS
from lab.chapters.scoreboard.board import MARKS
from lab.chapters.transformers import figures
from lab.core.statistics import student
from tests.lab.test_figures import SPREAD, closed  # noqa: F401 (closed: a fixture)

LEVELS = {"random_sign": 0.8, "topk": 0.5, "other_image": 0.2}


@pytest.fixture
def table():
    rows = [{"image": place, "kind": kind, "method": method, "attack": attack, "epsilon": epsilon,
             "topk": base - epsilon + off, "spearman": base + off, "recall": base + 0.1 + off}
            for kind, methods in {"ViT": ("gradient", "attention_rollout"), "convolutional": ("gradient",)}.items()
            for method in methods for attack, base in LEVELS.items()
            for epsilon in ((0.0,) if attack == "other_image" else (0.1, 0.2)) for place, off in enumerate(SPREAD)]
    return pd.DataFrame(rows)


@pytest.fixture
def levels(table):
    return figures.means(table)


def test_means_have_students_intervals(table):
    row = figures.means(table).query("kind == 'ViT' and method == 'gradient' and attack == 'topk' and epsilon == 0.2 "
                       "and metric == 'topk'").iloc[0]
    assert row["mean"] == pytest.approx(0.3) and (row.low, row.high) == pytest.approx(student(0.3 + SPREAD))


def test_curves_go_from_one_over_epsilon_beside_the_other_image(levels):
    figure = figures.over_epsilon(levels)
    noise, attack = np.array(figure.axes).reshape(2, 2)
    assert [axis.get_title() for axis in noise] == ["convolutional", "ViT"]
    for row, base in ((noise, 0.8), (attack, 0.5)):
        curves = [[one for one in axis.get_lines() if one.get_marker() not in ("", "None")] for axis in row]
        assert [len(some) for some in curves] == [1, 2]
        drawn = next(one for one in row[1].get_lines() if one.get_label() == "attention rollout")
        assert np.allclose(drawn.get_ydata(), [1, base - 0.1, base - 0.2]) and list(drawn.get_xdata()) == [0, 1, 2]
        assert any(np.allclose(one.get_ydata(), 0.2) and one.get_linestyle() == "-." for one in row[0].get_lines())
    assert [label.get_text() for label in attack[0].get_xticklabels()] == ["0", "0.1", "0.2"]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["simple gradient", "attention rollout"]


def test_the_largest_size_by_three_metrics(levels):
    figure = figures.at_largest(levels)
    assert [axis.get_xlabel() for axis in figure.axes] == list(figures.AXES.values())
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == [
        "convolutional: simple gradient", "ViT: simple gradient", "ViT: attention rollout"]
    for axis, (noise, attack, other) in zip(figure.axes, ((0.6, 0.3, 0.2), (0.8, 0.5, 0.2), (0.9, 0.6, 0.3))):
        marks = {mark: [one.get_xdata()[0] for one in axis.get_lines() if one.get_marker() == mark] for mark in "^sD"}
        assert np.allclose(marks["^"], noise) and np.allclose(marks["s"], attack) and np.allclose(marks["D"], other)
        assert all(len(found) == 3 for found in marks.values())


def test_the_cascade_starts_at_one_and_leaves_out_what_has_no_map():
    rows = [{"kind": "ViT", "method": method, "criterion": "parameters", "random 1": one + off, "random 2": two + off}
            for method, one, two in (("gradient", 0.3, 0.0), ("sobel", 0.9, 0.8)) for off in SPREAD]
    rows += [{"kind": "ViT", "method": "deeplift", "criterion": "parameters", "random 1": None, "random 2": None},
             {"kind": "ViT", "method": "gradient", "criterion": "noise", "random 1": None, "random 2": None}]
    levels = figures.cascade_means(pd.DataFrame(rows))
    assert set(levels.method) == {"gradient", "sobel"} and list(levels.n) == [3] * 4
    axis, = figures.cascade(levels).axes
    curves = {one.get_label(): one.get_ydata() for one in axis.get_lines()}
    assert np.allclose(curves["simple gradient"], [1, 0.3, 0.0]) and np.allclose(curves["Sobel"], [1, 0.9, 0.8])
    assert [label.get_text() for label in axis.get_xticklabels()] == ["none", "output", "all"]


def test_verdicts_have_a_mark_for_each_kind():
    judged = pd.DataFrame([{"method": method, "criterion": question, "kind": kind, "verdict": verdict}
                           for method, verdict in (("gradient", PASS), ("sobel", FAIL))
                           for question in ("noise", "shift") for kind in ("ViT", "convolutional")])
    judged = judged[(judged.method != "gradient") | (judged.kind != "ViT") | (judged.criterion != "shift")]
    noise, shift = figures.verdicts(judged).axes
    assert [axis.get_title() for axis in (noise, shift)] == ["noise", "shift"]
    assert [label.get_text() for label in noise.get_xticklabels()] == ["convolutional", "ViT"]
    marks = {text.get_position(): text.get_text() for text in shift.texts}
    assert marks == {(0, 0): MARKS[PASS], (1, 0): "–", (0, 1): MARKS[FAIL], (1, 1): MARKS[FAIL]}
