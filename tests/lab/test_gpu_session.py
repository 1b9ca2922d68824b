"""A session on a card, rehearsed on the processor: in order, within its minutes, killed and taken up again."""

import json
import os
import signal
import subprocess
import time

import pytest
import torch
import yaml
from click.testing import CliRunner

from lab import catalogue
from lab.cli import main
from lab.core import costs, folders, results
from lab.core.device import processes_for
from lab.core.store import Store
from lab.gpu import session, worth
from lab.gpu.journal import Journal, last_words, start, stop
from tests.lab.checkout import Checkout, contents, kill, until
from tests.lab.grid import GRID, Numbers

WORTH = {"trial": {"experiments": ["trial"], "worth": 10, "why": "a rehearsal"},
         "lost": {"experiments": ["robust"], "where": {"data_set": "gtsrb"}, "worth": 5, "why": "no data here"}}
BENCHMARKS = 'import sys\nprint("a warning")\nprint(\'{"device": "\' + sys.argv[2] + \'", "benchmarks": []}\')\n'
CANARY = "import pathlib\ndef test_canary(): assert not pathlib.Path('moved').exists(), 'a canary moved'\n"
NOTEBOOK = {"cells": [{"cell_type": "code", "id": "one", "execution_count": None, "metadata": {"tags": ["parameters"]},
                       "outputs": [], "source": ["number = 1"]},
                      {"cell_type": "code", "id": "two", "execution_count": None, "metadata": {}, "outputs": [],
                       "source": ["print(number + 1)"]}],
            "metadata": {"kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"}},
            "nbformat": 4, "nbformat_minor": 5}


@pytest.fixture
def checkout(tmp_path):
    """A copy of the checkout whose session is short: one test, one notebook, no benchmark, and cells of `trial`."""
    made = Checkout(tmp_path, *(6 * [0.1] + 6 * [1.0]))
    (made.root / "lab" / "gpu" / "worth.yaml").write_text(yaml.safe_dump(WORTH))
    (made.root / "_toc.yml").write_text(yaml.safe_dump({"root": "notebooks/tiny"}))
    (made.root / "notebooks" / "tiny.ipynb").write_text(json.dumps(NOTEBOOK))
    for file, text in {"tests/kernels/test_gpu.py": "def test_one(): assert True\n",
                       "tests/lab/test_experiments.py": CANARY,
                       "benchmarks/__init__.py": "", "benchmarks/__main__.py": BENCHMARKS}.items():
        (made.root / file).parent.mkdir(parents=True, exist_ok=True)
        (made.root / file).write_text(text)
    (made.root / "moved").touch()
    yield made
    made.clean()


def lines(checkout) -> list[dict]:
    file = checkout.store.root / ".gpu" / "journal.jsonl"
    return [json.loads(line) for line in file.read_text().splitlines()] if file.is_file() else []


def outcomes(checkout) -> dict[str, list[str]]:
    found = {}
    for line in lines(checkout):
        found.setdefault(line["step"], []).append(line["outcome"])
    return found


@pytest.mark.slow
def test_a_session_does_all_in_order_and_a_killed_one_goes_on(checkout, tmp_path):
    session = checkout.start("gpu", "--device", "cpu", "--minutes", 60)
    until(lambda: len(checkout.store.records("trial")) >= 2, 300)       # in the middle of the cells
    kill(session.pid)
    session.communicate()
    until(lambda: not processes_of(checkout), 30)                       # what it had begun died with it
    before = {file: file.stat().st_mtime_ns for file in checkout.store.root.glob("trial/*.json")}
    assert 2 <= len(before) < 12
    assert {step: ends for step, ends in outcomes(checkout).items() if "cells" not in step} == {
        "tests": ["failed"], "notebook tiny": ["done"], "benchmarks": ["done"]}
    assert "exit code 1" in lines(checkout)[0]["says"] and [line["step"] for line in lines(checkout)][:3] == [
        "tests", "notebook tiny", "benchmarks"]

    (checkout.root / "moved").unlink()
    said = checkout.lab("gpu", "--device", "cpu", "--minutes", 60)
    assert "tests: done (" in said and "notebook tiny: done before" in said and "benchmarks: done before" in said
    assert all(file.stat().st_mtime_ns == moment for file, moment in before.items())    # nothing is done twice
    made = checkout.store.records("trial")
    assert sorted(record.parameters["number"] for record in made) == list(range(12))
    published = json.loads((checkout.root / "results" / "trial.json").read_text())
    assert sorted(body["parameters"]["number"] for body in published) == list(range(12))
    assert "gtsrb" in outcomes_says(checkout, "cells of lost")

    calm = Checkout(tmp_path / "calm", *(12 * [0.01]))
    calm.lab("sweep", "trial", "--profile", "paper")
    assert contents(calm.store, "trial") == contents(checkout.store, "trial")

    count = len(lines(checkout))
    again = checkout.lab("gpu", "--device", "cpu", "--minutes", 60)
    assert all(f"{step}: done before" in again for step in ("tests", "notebook tiny", "benchmarks"))
    assert {line["step"] for line in lines(checkout)[count:]} == {"cells of lost"}
    assert not (checkout.root / "results" / "benchmarks-cuda.json").exists()        # a rehearsal is no measurement


def outcomes_says(checkout, step: str) -> str:
    return next(line["says"] for line in lines(checkout) if line["step"] == step)


def processes_of(checkout) -> list[str]:
    """Processes that compute cells for the checkout."""
    listed = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True).stdout.splitlines()
    return [line for line in listed if str(checkout.store.root) in line]


def test_what_does_not_fit_is_left_out_and_named(checkout):
    said = checkout.lab("gpu", "--device", "cpu", "--minutes", 0.05)
    assert "tests: left out" in said and "benchmarks: left out" in said and "it takes about 20 minutes" in said
    assert not checkout.store.records("trial") and "0 failed" in said


# ------------------------------------------------------------------------------------------------ parts of it
def test_a_step_is_done_for_the_code_that_did_it_and_a_cut_line_is_none(tmp_path, monkeypatch):
    journal = Journal(tmp_path)
    journal.note("tests", "failed", time.time(), "why")
    assert not journal.done("tests")
    with open(tmp_path / "journal.jsonl", "ab") as file:
        file.write(b'{"step": "tests", "code": "' )         # a kill in the middle of a line
    journal.note("tests", "done", time.time() - 120)
    assert journal.done("tests") and journal.minutes("tests") == pytest.approx(2, abs=0.1) and len(journal.lines()) == 2
    assert journal.minutes("benchmarks") is None
    journal.code = "another"
    assert not journal.done("tests")


def test_two_sessions_of_one_store_are_not_at_work_at_once(tmp_path):
    with Journal(tmp_path).alone():
        with pytest.raises(ValueError, match="Another session is at work"), Journal(tmp_path).alone():
            pass
    with Journal(tmp_path).alone():
        pass


def test_a_command_is_stopped_with_all_that_it_started(tmp_path):
    process = start(["sh", "-c", f"sleep 77.{os.getpid()} & echo started; wait"], tmp_path / "log", {})
    until(lambda: last_words(tmp_path / "log") == "started", 20)
    stop(process)
    assert process.returncode == -signal.SIGKILL
    left = subprocess.run(["ps", "-eo", "stat,args"], capture_output=True, text=True).stdout.splitlines()
    assert not [line for line in left if f"sleep 77.{os.getpid()}" in line and not line.startswith("Z")]


def test_a_card_that_is_not_there_is_said_before_anything_runs(tmp_path, monkeypatch):
    monkeypatch.setenv("FRAGILITY_STORE", str(tmp_path / "store"))
    monkeypatch.setenv("FRAGILITY_DEVICE", "cpu")       # is put back when the test ends
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    told = CliRunner().invoke(main, ["gpu"])
    assert told.exit_code == 1 and "No GPU is found here" in told.output and not (tmp_path / "store").exists()


def test_the_queue_is_by_worth_a_minute_and_holds_a_cell_once(tmp_path, monkeypatch):
    entries = [worth.Entry("slow", ["grid"], 50, "why", {}), worth.Entry("quick", ["grid"], 20, "", {"cell": [3, 5]})]
    monkeypatch.setattr(worth, "entries", lambda: entries)
    monkeypatch.setitem(catalogue.EXPERIMENTS, "grid", GRID)
    monkeypatch.setattr(results, "published_keys", lambda one: frozenset())
    monkeypatch.setattr(costs, "costs", lambda one, cells, store: [costs.Cost(120.0, 1e6, 100.0, 0.0) for _ in cells])
    store = Store(tmp_path)
    GRID.record({"cell": 7}, store)
    found = worth.queue(store, say=lambda line: None)
    assert [one.entry.name for one in found] == ["quick", "slow"]
    assert [cell["cell"] for chunk in found[0].chunks for cell in chunk.cells] == [3, 5]
    late = worth.queue(store, minutes=-1, say=lambda line: None)
    assert all(one.hindrance == "a measurement" and not one.chunks for one in late)
    assert [one.cells for one in late] == [40, 2]
    rest = [cell["cell"] for chunk in found[1].chunks for cell in chunk.cells]
    assert rest == [one for one in range(40) if one not in (3, 5, 7)]
    assert all(chunk.minutes <= worth.CHUNK and chunk.memory == 1e8 for one in found for chunk in one.chunks)
    monkeypatch.setattr(folders, "RESULTS", tmp_path / "results")
    worth.publish([*found, worth.Estimate(worth.Entry("far", ["grid"], 5, "why not", {}), 9, [], 0.0, "no data")])
    table = worth.waiting()
    assert table.minutes.tolist() == ["4", "74", ""] and table.missing.tolist() == ["2", "37", ""]
    assert table.cells.tolist() == [2, 40, 9] and table["waits for"].tolist() == ["a card", "a card", "no data"]
    assert table.attrs["device"]


def test_the_declaration_names_experiments_and_its_mistakes_are_sentences(tmp_path, monkeypatch):
    declared = worth.entries()
    assert len(declared) >= 10 and all(one.why and one.worth > 0 for one in declared)
    for one in declared:
        for name in one.experiments:
            cells = catalogue.experiment(name).cells(catalogue.experiment(name).at("paper"))
            assert any(one.keeps(cell) for cell in cells), (one.name, name)
    for wrong, said in ({"a": {"experiments": ["toy"], "worth": 1}}, "mind why"), (
            {"a": {"experiments": ["toys"], "worth": 1, "why": "w"}}, "toys"), (
            {"a": {"experiments": ["toy"], "worth": 0, "why": "w"}}, "worth of a"):
        (tmp_path / "worth.yaml").write_text(yaml.safe_dump(wrong))
        monkeypatch.setattr(worth, "DECLARED", tmp_path / "worth.yaml")
        with pytest.raises(ValueError, match=said):
            worth.entries()


def test_a_long_sweep_is_cut_by_the_minutes_of_its_cells():
    each = [costs.Cost(seconds, 0.0, 50.0, gpu) for seconds, gpu in ((200, 10), (200, 30), (900, 20), (10, 20))]
    parts = worth.cut("entry", GRID, GRID.cells(Numbers(cells=4)), each)
    assert [[cell["cell"] for cell in part.cells] for part in parts] == [[0], [1], [2], [3]]
    assert [part.memory for part in parts] == [10e6, 30e6, 20e6, 20e6]


@pytest.mark.parametrize("where, cell, memory, cores, most", [
    ("cuda", 1.3e9, 80e9, 64, 36), ("cuda", 1.3e9, 80e9, 8, 8), ("cuda", 70e9, 80e9, 16, 1),
    ("cuda", 900e9, 80e9, 16, 1), ("cpu", 1e9, 8e9, 16, 7), ("cpu", 1e9, 64e9, 2, 2), ("cpu", 0.0, 64e9, 2, 1)])
def test_processes_are_as_many_as_the_memory_holds(where, cell, memory, cores, most):
    assert processes_for(torch.device(where), cell, memory=memory, cores=cores) == most


# ------------------------------------------------------------------------------------------------ publishing
def test_the_records_of_two_profiles_are_published_beside_each_other(tmp_path, monkeypatch):
    monkeypatch.setattr(folders, "RESULTS", tmp_path / "results")
    monkeypatch.setattr(type(GRID), "at", lambda one, profile: Numbers(cells={"edition": 3, "paper": 5}[profile]))
    grids = {"edition": [{"cell": cell} for cell in range(3)], "paper": [{"cell": cell} for cell in range(2, 7)]}
    monkeypatch.setattr(type(GRID), "at", lambda one, profile: profile)
    one = GRID.__class__(**{**GRID.__dict__, "cells": lambda profile: grids[profile]})
    for profile in grids:
        store = Store(tmp_path / profile)
        for cell in grids[profile]:
            one.record(cell, store)
        assert results.publish(one, profile, store) == (len(grids[profile]), 0)
    assert [record.parameters["cell"] for record in results.published(one)] == list(range(7))
    grids["paper"] = grids["paper"][:3]                     # a cell that left every grid is still not lost unasked
    with pytest.raises(ValueError, match="2 published records"):
        results.publish(one, "paper", store)


# ------------------------------------------------------------------------------------------------ plans
class Card:
    """A clock of a device on which a hundredth of a second passes for 64 images, and for one as well."""

    def __init__(self):
        self.now = 0.0

    def run(self, images: int) -> None:
        self.now += 0.01 * -(-images // 64) if images > 64 else 0.01


@pytest.mark.parametrize("name, expected", [("cuda", 0.01 * 640 / 64), ("cpu", 0.01 * 640 / 2)])
def test_a_sketch_grows_until_it_fills_the_card(name, expected, tmp_path, monkeypatch):
    from dataclasses import replace

    from lab.core.experiment import Factor, shrink
    card, sizes = Card(), []

    def run(cell, store):
        sizes.append(cell["images"])
        card.run(cell["images"])
        return GRID.run({"cell": 0}, store)

    def sketch(cell):
        tiny, times = shrink(cell, images=2)
        return tiny, Factor(times["images"])
    monkeypatch.setattr(costs, "_clock", lambda: card.now)
    monkeypatch.setattr(costs, "device", lambda: torch.device(name))
    monkeypatch.setattr(costs, "_wait", lambda: None)
    one = replace(GRID, run=run, sketch=sketch)
    (cost,) = costs.costs(one, [{"images": 640}], Store(tmp_path))
    assert cost.seconds == pytest.approx(expected)
    assert sorted(set(sizes)) == ([2] if name == "cpu" else [2, 8, 32, 128, 512])


def test_plan_takes_a_device_and_refuses_one_that_is_not_there(tmp_path, monkeypatch):
    monkeypatch.setenv("FRAGILITY_STORE", str(tmp_path))
    monkeypatch.setenv("FRAGILITY_DEVICE", "cpu")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    refused = CliRunner().invoke(main, ["plan", "toy", "--device", "cuda"])
    assert refused.exit_code == 1 and "No GPU is found here" in refused.output
    told = CliRunner().invoke(main, ["plan", "toy", "--device", "cpu", "--json"])
    assert told.exit_code == 0 and json.loads(told.output)[0]["gpu"] is False


def test_benchmarks_of_a_card_are_kept_beside_those_of_a_processor(tmp_path, monkeypatch):
    monkeypatch.setattr(folders, "RESULTS", tmp_path)
    (tmp_path / "log").write_text('a warning\n{"device": "a card", "benchmarks": []}\nanother\n')
    session._keep_benchmarks(tmp_path / "log")
    assert json.loads((tmp_path / "benchmarks-cuda.json").read_text())["device"] == "a card"
