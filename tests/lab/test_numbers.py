"""Numbers of the text: their digits, their records, what happens where one is missing or changes, and `lab why`."""

import json
import math
import subprocess
import sys

import nbformat
import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

from lab import catalogue, why
from lab.chapters.fragility import comparison
from lab.chapters.scoreboard import scoreboard
from lab.chapters.transformers import perturbed, questions
from lab.cli import main
from lab.core import folders, numbers, profiles, results
from lab.core.frames import select
from lab.core.numbers import MISSING, Chapter, Number, difference, mean, sourced, statistic, written
from lab.core.pages import NotRun, Page
from lab.core.store import Store

EDITION = {name: Page.at(name, "quick", None) for name in catalogue.CHAPTERS}
#: Chapters whose edition need not be whole, and what it is made of.
MAY_WAIT = {"scoreboard": [scoreboard.EXPERIMENT], "transformers": [perturbed.EXPERIMENT, questions.EXPERIMENT]}
ROWS = pd.DataFrame({"image": [0, 0, 1, 1, 2, 2], "seed": [0, 1, 0, 1, 0, 1], "kind": ["a"] * 6,
                     "x": [0.0, 2.0, 1.0, 3.0, 5.0, 7.0], "record": ["k", "l", "k", "l", "k", "l"]})


@pytest.mark.parametrize("value, interval, text", [
    (0.000641, (0.000359, 0.000922), "0.0006"), (5.10, (4.28, 5.91), "5.1"), (0.323, (0.298, 0.349), "0.32"),
    (63.94, (61.0, 67.0), "64"), (1234.5, (1200.0, 1260.0), "1,234"), (-0.004, (-0.03, 0.03), "0.00"),
    (-0.22, (-0.4, -0.1), "−0.2")])
def test_digits_follow_the_interval(value, interval, text):
    assert written(Number(value, 9, interval)) == text
    step, half = 10.0 ** -len(text.partition(".")[2]), (interval[1] - interval[0]) / 2
    assert half > step / 1.0001 or step == 1


def test_more_digits_than_are_asked_for_are_not_written():
    assert written(Number(89.05, 7, (88.96, 89.14)), 0) == "89" and written(Number(57.0, 3, (50.0, 64.0)), 1) == "57"


@pytest.mark.parametrize("number, options, text", [
    (Number(3), {}, "3"), (Number(60000), {}, "60,000"), (Number(0.5), {"digits": 3}, "0.500"),
    (Number(None), {}, MISSING), (Number(math.nan), {}, MISSING), (Number("GRAD"), {}, "GRAD"),
    (Number(2.0, 1, (-np.inf, np.inf)), {"digits": 1}, "2.0"),
    (Number(4.2), {"digits": 0, "signed": True}, "+4"), (Number(-4.2), {"digits": 0, "signed": True}, "−4"),
    (Number(7.0, 3, (7.0, 7.0)), {"digits": 1}, "7.0")])
def test_text_of_numbers_without_an_interval(number, options, text):
    assert written(number, **options) == text


def test_mean_is_over_units_and_knows_its_records():
    number = mean(ROWS, "x", over="seed", scale=10)
    assert number.value == 30.0 and number.n == 2 and number.keys == ["k", "l"] and number.selection == {"kind": "a"}
    half = 12.706 * np.std([20, 40], ddof=1) / np.sqrt(2)
    assert number.interval == pytest.approx((30 - half, 30 + half), rel=1e-4)
    assert mean(ROWS, "x").n == 3 and mean(ROWS, "x").value == pytest.approx(3.0)


def test_difference_is_paired():
    first, second = select(ROWS, seed=1), select(ROWS, seed=0, image=[0, 1])
    number = difference(first, second, "x")
    assert number.value == 2.0 and number.n == 2 and number.interval == (2.0, 2.0) and set(number.keys) == {"k", "l"}


@pytest.mark.parametrize("make", [lambda rows: mean(rows, "x"), lambda rows: difference(rows, ROWS, "x"),
                                  lambda rows: statistic(rows, lambda table: table.x.max())])
@pytest.mark.parametrize("empty", [ROWS[:0], pd.DataFrame()])
def test_a_missing_number_says_so(make, empty):
    assert make(empty).missing and written(make(empty)) == MISSING


def _chapter(make) -> Chapter:
    chapter = Chapter("fragility")
    chapter.number("left.{kind}", "%", kind=("A B", "C"))(make)
    return chapter


def test_families_name_their_members_and_no_name_comes_twice():
    chapter = _chapter(lambda page, kind: sourced(kind, "here"))
    assert list(chapter.numbers) == ["left.a_b", "left.c"]
    assert chapter.describe("left.a_b", EDITION["fragility"])["text"] == "A B"
    with pytest.raises(ValueError, match="Two numbers of fragility have the name left.c"):
        chapter.number("left.c")(lambda page: None)


def test_a_text_with_a_number_that_nothing_makes_is_refused(monkeypatch):
    text = {"cell_type": "markdown", "source": ["It is {glue:text}`left.c` or {glue:text}`left.d` %."]}
    monkeypatch.setattr(profiles, "cells", lambda name: [text])
    with pytest.raises(ValueError, match="has the number left.d, which its numbers do not make"):
        _chapter(lambda page, kind: sourced(kind, "here")).hand_over(EDITION["fragility"])


def test_statements_that_do_not_hold_are_shown_to_the_reader(monkeypatch):
    monkeypatch.setattr(profiles, "cells", lambda name: [])
    chapter = _chapter(lambda page, kind: sourced(kind, "here"))

    @chapter.statement
    def all_is_well(page):
        """All is
        well."""
        return False

    assert "All is well." in chapter.hand_over(EDITION["fragility"]).data
    chapter.statements["all_is_well"] = lambda page: True
    assert chapter.hand_over(EDITION["fragility"]) is None


def test_live_numbers_say_that_there_is_no_run(tmp_path):
    page = Page.at("fragility", "quick", None)
    with pytest.raises(NotRun, match="of the live run"):
        page.live(comparison.EXPERIMENT)
    about = catalogue.chapter("fragility").describe("other.gradient", Page.at("fragility", "quick", Store(tmp_path)))
    assert about["text"] == MISSING and "0 of 26 cells of fragility; run the book" in about["source"]


def test_a_live_run_is_of_the_pages_own_experiments(tmp_path):
    """The parameters of another notebook are others, under the same names."""
    with pytest.raises(ValueError, match="fragility takes its parameters from fragility, so a live run of it in shift"):
        Page.at("shift", "quick", Store(tmp_path)).live(comparison.EXPERIMENT)


@pytest.mark.parametrize("name", catalogue.CHAPTERS)
def test_without_publications_numbers_say_so_and_statements_wait(name, monkeypatch):
    """Instead of an old value, or of a page that does not build."""
    monkeypatch.setattr(results, "published", lambda experiment: [])
    report = catalogue.chapter(name).report(Page.at(name, "quick", None))
    assert all(about["text"] == MISSING or not about["records"] for about in report["numbers"].values())
    assert any("is published at the edition scale" in about["source"] for about in report["numbers"].values())
    assert {one["holds"] for one in report["statements"].values()} <= {None, True}     # True of what a paper reports


def test_a_changed_record_changes_the_number():
    page = Page.at("fragility", "quick", None)
    chapter, before = catalogue.chapter("fragility"), page.edition(comparison.EXPERIMENT).copy()
    old = chapter.describe("photo.topk.topk.gradient", page)
    page.edition(comparison.EXPERIMENT)["topk"] = before.topk + 0.5
    new = chapter.describe("photo.topk.topk.gradient", page)
    assert new["value"] == pytest.approx(old["value"] + 0.5) and new["records"] == old["records"] != []


@pytest.mark.parametrize("name", catalogue.CHAPTERS)
def test_every_number_has_a_function_and_records_or_a_source(name):
    """Those of the live run are without records here, since there is none; nor are there any of an edition that is not
    whole yet, which only that of some chapters may be."""
    report = catalogue.chapter(name).report(EDITION[name])
    waiting = [one for one in MAY_WAIT.get(name, ()) if not _whole(one)]
    absent = ("of the live run", *(f"nothing of {one.name} is published" for one in waiting),
              *(["not published yet"] if waiting else []))
    for number, about in report["numbers"].items():
        assert about["about"].endswith("."), f"{number} lacks a docstring"
        assert about["records"] or about["source"], f"{number} comes from nowhere"
        assert about["text"] != MISSING or about["source"].startswith(absent), f"{number} is not measured"


def _whole(experiment) -> bool:
    """Whether all cells of an experiment's edition are published."""
    table = results.measured(experiment, "edition", None)
    return not table.empty and table.attrs["done"] == table.attrs["cells"]


@pytest.mark.parametrize("name", catalogue.CHAPTERS)
def test_the_text_uses_numbers_that_are_made(name):
    chapter = catalogue.chapter(name)
    assert chapter.used() and {one.removesuffix(".interval").removesuffix(".n") for one in chapter.used()} <= {
        *chapter.numbers}


@pytest.mark.parametrize("name, statement", [(name, one) for name in catalogue.CHAPTERS
                                             for one in catalogue.chapter(name).statements])
def test_statements_hold_on_what_is_published(name, statement):
    """Those of the live run are held by the book's tests, to the run that the book was built from."""
    held = numbers.holds(catalogue.chapter(name).statements[statement], EDITION[name])
    assert held is not False, numbers.said(catalogue.chapter(name).statements[statement])


def test_why_prints_where_a_number_comes_from():
    text = why.explain("fragility.photo.topk.topk.gradient", "quick", Store("nowhere"))
    record, = catalogue.chapter("fragility").describe("photo.topk.topk.gradient", EDITION["fragility"])["records"]
    for part in ("fragility.photo.topk.topk.gradient = 0.0006", "n: 64", "method=gradient", "attack=topk",
                 "photo in lab/chapters/fragility/numbers.py:", f"  {record} fragility, ", " s on CPU", "commit"):
        assert part in text


def test_why_lists_a_chapter_and_refuses_unknown_names():
    listed = list(why.listing("fragility", "quick", Store("nowhere")))
    assert len(listed) == len(catalogue.chapter("fragility").numbers) and all(": " in line for line in listed)
    for name, message in (("nowhere.x", "Chapter 'nowhere' is unknown"), ("fragility.x", "is unknown; choose")):
        result = CliRunner().invoke(main, ["why", name])
        assert result.exit_code == 1 and message in result.output


def test_ruff_reads_code_and_notebooks():
    rooms = ["fragility", "lab", "tests", "benchmarks", "notebooks"]
    done = subprocess.run([sys.executable, "-m", "ruff", "check", *rooms], cwd=folders.ROOT, capture_output=True,
                          text=True)
    assert done.returncode == 0, done.stdout


def test_the_report_is_kept_with_the_notebook():
    for name in catalogue.CHAPTERS:
        notebook = nbformat.read(folders.NOTEBOOKS / f"{name}.ipynb", as_version=4)
        report = json.loads(numbers.kept(notebook))
        assert report["chapter"] == name and set(report["numbers"]) == set(catalogue.chapter(name).numbers)
        assert all(one["holds"] is not False for one in report["statements"].values())
