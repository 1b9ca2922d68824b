"""Grids in chunks: what is missing, once, in pieces of equal time, after what it reads."""

import dataclasses
import json
import os
import subprocess
import sys
import time

import pytest
from click.testing import CliRunner

from lab import catalogue, cli
from lab.core import costs, folders, grid, profiles, results
from lab.core.experiment import Factor
from lab.core.running import run_cells
from lab.core.store import Store
from tests.lab.checkout import EDITION
from tests.lab.grid import GRID, Numbers

CELLS = GRID.cells(Numbers(cells=10))


def call(*arguments):
    return CliRunner().invoke(cli.main, list(map(str, arguments)))


@pytest.fixture
def priced(monkeypatch):
    """The grid of ten cells, each of which takes a minute but the fourth, which takes five."""
    monkeypatch.setattr(results, "published_keys", lambda one: frozenset())
    monkeypatch.setattr(costs, "costs", lambda one, cells, store: [
        costs.Cost(300.0 if cell["cell"] == 3 else 60.0, 1e6, 1234.5, 0.0) for cell in cells])
    return GRID


@pytest.fixture
def tiny(tmp_path, monkeypatch):
    monkeypatch.setenv("FRAGILITY_STORE", str(tmp_path / "store"))
    monkeypatch.setattr(folders, "RESULTS", tmp_path / "results")
    whole = profiles.parameters("roar", "quick") | EDITION
    monkeypatch.setattr(profiles, "parameters", lambda name, profile: whole)


def test_chunks_take_equal_time_and_leave_out_what_is_finished(priced, tmp_path):
    store = Store(tmp_path)
    whole = grid.chunks(priced, CELLS, store, minutes=3)
    assert [(one.first, one.last, one.minutes) for one in whole] == [(0, 3, 3), (3, 4, 5), (4, 7, 3), (7, 10, 3)]
    assert all(one.memory_mb == 1300 and one.gpu_mb == 0 and one.grid == GRID.digest(CELLS) for one in whole)
    run_cells(priced, CELLS[:3] + CELLS[5:6], store, progress=False)
    rest = grid.chunks(priced, CELLS, store, minutes=3)
    assert [(one.first, one.last, one.cells) for one in rest] == [(3, 4, 1), (4, 8, 3), (8, 10, 2)]
    assert rest[0].id == whole[1].id and rest[1].id not in {one.id for one in whole}


def test_a_published_record_is_finished(priced, tmp_path, monkeypatch):
    store = Store(tmp_path)
    done = frozenset(GRID.key(cell, store) for cell in CELLS[:9])
    monkeypatch.setattr(results, "published_keys", lambda one: done)
    (left,) = grid.chunks(priced, CELLS, store, minutes=3)
    assert (left.first, left.last) == (9, 10)


def test_a_chunk_is_named_by_experiment_version_and_cells(priced, tmp_path):
    first, *_ = grid.chunks(priced, CELLS, Store(tmp_path), minutes=2)
    others = [dataclasses.replace(GRID, version=2), dataclasses.replace(GRID, name="other")]
    assert len({first.id, *(grid.chunks(one, CELLS, Store(tmp_path), minutes=2)[0].id for one in others)}) == 3
    assert grid.chunks(priced, CELLS[:5], Store(tmp_path), minutes=2)[0].id == first.id     # of another grid


def test_a_cost_is_measured_once_for_a_sketch_and_not_for_a_cell(tmp_path, monkeypatch):
    ran = []

    def run(cell, store):
        ran.append(cell)
        return GRID.run(cell, store)
    one = dataclasses.replace(GRID, run=run, sketch=lambda cell: ({"cell": -1}, Factor(cell["cell"], 2)))
    found = costs.costs(one, CELLS, Store(tmp_path))
    assert ran == [{"cell": -1}] * 2
    assert found[4].seconds == pytest.approx(2 * found[2].seconds) and found[4].size == 2 * 200_000 * 4
    assert 50 < found[0].memory_mb < 100_000 and found[0].gpu_mb == 0 or found[0].gpu_mb > 0


def test_the_command_cuts_the_closure_and_its_chunks_can_be_swept(tiny, tmp_path):
    told = call("grid", "roar", "--minutes-per-job", 0.02)
    cut = json.loads(told.stdout)
    assert cut["names"] == ["roar"] and list(cut["experiments"]) == ["trainings", "rankings", "roar"]
    assert cut["experiments"]["roar"]["reads"] == ["trainings", "rankings"]
    assert [one["cells"] for one in cut["experiments"].values()] == [4, 2, 10]
    for chunk in cut["chunks"]:
        mark = tmp_path / "marks" / chunk["id"]
        swept = call("sweep", chunk["experiment"], "--for", "roar", "--cells", f"{chunk['first']}:{chunk['last']}",
                     "--grid", chunk["grid"], "--mark", mark)
        assert swept.exit_code == 0, swept.output
        noted = json.loads(mark.read_text())
        assert noted["seconds"] >= 0 and noted["host"]
    assert json.loads(call("grid", "roar").stdout)["chunks"] == []


def test_a_source_is_swept_by_what_its_readers_ask_of_it():
    """The networks that other chapters read are not those of their own grid."""
    differ = 0
    for name in catalogue.EXPERIMENTS:
        for one, cells in catalogue.with_sources([name], "edition"):
            assert cli._grid(one, "edition", (name,)) == cells
            differ += cells != cli._grid(one, "edition", ())
    assert differ
    refused = call("sweep", "toy", "--for", "roar")
    assert refused.exit_code == 1 and "roar at the quick scale read nothing of toy, only of trainings" in refused.output


def test_no_mark_unless_all_cells_are_there(tmp_path, monkeypatch):
    monkeypatch.setenv("FRAGILITY_STORE", str(tmp_path / "store"))
    one = catalogue.experiment("toy")

    def run(cell, store):
        if cell["seed"] == 1:
            raise RuntimeError("out of luck")
        return one.run(cell, store)
    monkeypatch.setitem(catalogue.EXPERIMENTS, "toy", dataclasses.replace(one, run=run))
    monkeypatch.setattr(results, "published_keys", lambda one: frozenset())
    mark = tmp_path / "marks" / "toy" / "one"
    assert call("sweep", "toy", "--cells", "0:3", "--keep-going", "--mark", mark).exit_code == 1
    assert not mark.exists() and len(Store().records("toy")) == 2
    monkeypatch.setitem(catalogue.EXPERIMENTS, "toy", one)
    assert call("sweep", "toy", "--cells", "0:3", "--mark", mark).exit_code == 0
    assert json.loads(mark.read_text())["job"] is None and list(mark.parent.iterdir()) == [mark]


def test_several_experiments_share_what_they_read(tiny):
    both = catalogue.with_sources(["path-steps", "roar"], "quick")
    assert [one.name for one, _ in both] == ["trainings", "path-steps", "rankings", "roar"]
    assert len(dict((one.name, cells) for one, cells in both)["trainings"]) == 4


@pytest.mark.parametrize("arguments, said", [
    (("grid", "roaring"), "roaring"), (("grid",), "Missing argument"), (("grid", "toy", "--minutes-per-job", 0), "0"),
    (("sweep", "toy", "--for", "roaring"), "roaring")])
def test_mistakes_are_sentences(arguments, said):
    told = call(*arguments)
    assert told.exit_code != 0 and said in told.output and "Traceback" not in told.output


WRITERS = """
import os, sys, time, pandas as pd
from lab.core.store import Store
root, records, writers = sys.argv[1], *map(int, sys.argv[2:])
Store(root).put("warm", 1, {}, {}, pd.DataFrame({"value": [0]}))    # what is looked up once: device, versions, commit
gate, start = os.pipe()
children = []
for first in range(writers):        # processes of one import, or 64 would fill a small machine's memory
    if not (child := os.fork()):
        os.close(start), os.read(gate, 1)
        for i in range(first, records, writers):
            Store(root).put("toy", 1, {"samples": 200, "seed": i}, {}, pd.DataFrame({"value": [i]}))
        os._exit(0)
    children.append(child)
begin = time.perf_counter()
os.close(start)                     # lets all of them go
assert not any(os.waitpid(child, 0)[1] for child in children)
print(time.perf_counter() - begin)
"""


def simulate(root, records: int, writers: int) -> tuple[float, float, float]:
    """Fill a store by so many processes at once; milliseconds a record, and seconds that `grid` and `sweep` take to see
    that nothing is missing."""
    made = subprocess.run([sys.executable, "-c", WRITERS, root, str(records), str(writers)], capture_output=True,
                          text=True, cwd=folders.ROOT)
    assert made.returncode == 0, made.stderr
    known = Store(root).records("toy")
    assert sorted(record.parameters["seed"] for record in known) == list(range(records))
    assert all(record.table.value[0] == record.parameters["seed"] for record in known)
    assert len(list((root / "toy").iterdir())) == records
    larger = ("from lab import cli\nfrom lab.core import profiles, results\nknown = profiles.parameters\n"
              f"profiles.parameters = lambda *a: known(*a) | dict(toy_samples=200, toy_seeds={records})\n"
              "results.published_keys = lambda one: frozenset()\n")
    times = []
    for command, answer in (("grid", '"chunks": []'), ("sweep", f"{records} of {records} cells of toy are in")):
        start = time.perf_counter()
        told = subprocess.run([sys.executable, "-c", f"{larger}cli.main(['{command}', 'toy'])"], cwd=folders.ROOT,
                              capture_output=True, text=True, env={**os.environ, "FRAGILITY_STORE": str(root)})
        times.append(time.perf_counter() - start)
        assert told.returncode == 0 and answer in told.stdout, told.stderr
    return 1000 * float(made.stdout) / records, *times


def test_writers_at_once_lose_nothing(tmp_path):
    simulate(tmp_path, 400, 4)


@pytest.mark.slow
def test_ten_thousand_records_of_64_writers(tmp_path, capsys):
    record, listed, swept = simulate(tmp_path, 10_000, 64)
    with capsys.disabled():
        print(f"\n10,000 records by 64 writers at once: {record:.1f} ms a record; then grid starts in {listed:.1f} s, "
              f"sweep in {swept:.1f} s")
    assert listed < 10 and swept < 10
