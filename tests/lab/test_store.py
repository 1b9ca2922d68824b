"""Records: whole after any kill, refused when damaged, the same text for the same values."""

import dataclasses
import json
import logging
import os
import random
import shutil
import signal
import subprocess
import sys
import time

import pandas as pd
import pytest
import torch

from lab.core import folders
from lab.core import store as store_module
from lab.core.running import collect, run_cells
from lab.core.store import Store, fingerprint, weights_fingerprint
from tests.lab.grid import GRID, Numbers


def start(root):
    process = subprocess.Popen([sys.executable, "-m", "tests.lab.grid", str(root)], cwd=folders.ROOT, text=True,
                               stdout=subprocess.PIPE)
    assert process.stdout.readline() == "ready\n"
    return process


def test_a_run_killed_many_times_ends_with_the_same_table(tmp_path):
    uninterrupted = collect(GRID, Numbers(), Store(tmp_path / "calm"), progress=False)
    moments, killed = random.Random(0), 0
    for _ in range(6):
        process = start(tmp_path / "killed")
        time.sleep(moments.uniform(0.01, 0.12))
        process.send_signal(signal.SIGKILL)
        killed += process.wait() == -signal.SIGKILL
        process.stdout.close()
        for file in (tmp_path / "killed").rglob("*.json"):   # what carries a final name is whole
            json.loads(file.read_text())
    assert killed >= 3
    resumed = collect(GRID, Numbers(), Store(tmp_path / "killed"), progress=False)
    pd.testing.assert_frame_equal(resumed, uninterrupted)
    assert len(Store(tmp_path / "killed").records("grid")) == 40


def test_a_record_is_computed_once(tmp_path):
    store = Store(tmp_path)
    first = GRID.record({"cell": 1}, store)
    written = next((tmp_path / "grid").glob("*.json")).stat().st_mtime_ns
    again = GRID.record({"cell": 1}, store)
    assert again.key == first.key and next((tmp_path / "grid").glob("*.json")).stat().st_mtime_ns == written
    assert torch.equal(again.tensors()["draws"], first.tensors()["draws"])


@pytest.mark.parametrize("damage", ["cut", "number", "not json", "a list", "tensors cut", "tensors gone"])
def test_damage_is_found_reported_and_repaired(tmp_path, caplog, damage):
    store = Store(tmp_path)
    whole = GRID.record({"cell": 2}, store)
    text = tmp_path / "grid" / f"{whole.key}.json"
    if damage == "cut":
        text.write_text(text.read_text()[:200])
    elif damage == "number":
        value = f"{whole.table.value[0]}"
        assert value in text.read_text()
        text.write_text(text.read_text().replace(value, "0.5"))
    elif damage == "not json":
        text.write_bytes(b"\x00" * 500)
    elif damage == "a list":
        text.write_text("[]")
    elif damage == "tensors cut":
        os.truncate(whole.companion, 1000)
    else:
        whole.companion.unlink()
    with caplog.at_level(logging.WARNING):
        assert store.get("grid", whole.key) is None
    assert "damaged" in caplog.text and whole.key in caplog.text
    repaired = GRID.record({"cell": 2}, store)
    pd.testing.assert_frame_equal(repaired.table, whole.table)
    assert store.get("grid", whole.key) is not None


def test_what_a_kill_leaves_is_swept_after_an_hour(tmp_path):
    store = Store(tmp_path)
    GRID.record({"cell": 3}, store)
    old, new = (tmp_path / "grid" / f"{name}.tmp" for name in ("old", "new"))
    old.touch(), new.touch()
    os.utime(old, (time.time() - 7200,) * 2)
    GRID.record({"cell": 4}, store)
    assert not old.exists() and new.exists()


def test_keys_depend_on_everything_that_matters_and_on_no_order(tmp_path):
    store = Store(tmp_path)
    key = store.key("grid", 1, {"a": 1, "b": 2.5}, {"data": "x"})
    assert key == store.key("grid", 1, {"b": 2.5, "a": 1}, {"data": "x"})
    others = [("grid", 2, {"a": 1, "b": 2.5}, {"data": "x"}), ("grid", 1, {"a": 1, "b": 2.6}, {"data": "x"}),
              ("grid", 1, {"a": 1, "b": 2.5}, {"data": "y"}), ("other", 1, {"a": 1, "b": 2.5}, {"data": "x"})]
    assert len({key, *(store.key(*other) for other in others)}) == 5
    with pytest.raises(ValueError):
        store.key("grid", 1, {"a": float("nan")}, {})


def test_fingerprints_see_values_shapes_and_types():
    a = torch.arange(6.0)
    assert len({fingerprint(a), fingerprint(a.view(2, 3)), fingerprint(a.double()), fingerprint(a + 1)}) == 4
    assert weights_fingerprint({"a": a, "b": a + 1}) == weights_fingerprint({"b": a + 1, "a": a})


def test_a_record_says_how_it_was_made(tmp_path):
    record = GRID.record({"cell": 5}, Store(tmp_path))
    assert {"device", "threads", "commit", "versions", "seconds", "fingerprints", "version"} <= record.about.keys()
    assert record.parameters == {"cell": 5} and "torch" in record.about["versions"]


def test_missing_values_survive(tmp_path):
    table = pd.DataFrame({"found": [True, None], "value": [0.1, float("nan")]})
    record = Store(tmp_path).put("holes", 1, {}, {}, table)
    assert record.table.value.isna().tolist() == [False, True] and record.table.found[0] is True


def test_a_store_that_cannot_be_written_is_refused_before_anything_runs(tmp_path):
    file = tmp_path / "file"
    file.touch()
    ran = []
    counted = dataclasses.replace(GRID, run=lambda cell, store: ran.append(cell))
    with pytest.raises(ValueError, match="cannot be written.*FRAGILITY_STORE"):
        run_cells(counted, [{"cell": 1}], Store(file / "store"), progress=False)
    assert not ran


def test_folders_of_the_environment_are_absolute_wherever_a_process_starts(tmp_path, monkeypatch):
    monkeypatch.setenv("FRAGILITY_STORE", "records")
    monkeypatch.setenv("FRAGILITY_DATA", "~/data")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    folders.make_absolute()
    (tmp_path / "notebooks").mkdir()
    monkeypatch.chdir(tmp_path / "notebooks")
    assert folders.store() == tmp_path / "records" and folders.data_roots() == [tmp_path / "home" / "data"]


WRITER = """
import sys, time, torch, pandas as pd
from lab.core.store import Store
store, name = Store(sys.argv[1]), sys.argv[2]
print("ready", flush=True)
sys.stdin.readline()
for i in range(60):
    value = float(sum(map(ord, name)) * 1000 + i)
    table, tensors = pd.DataFrame({"value": [value]}), {"v": torch.full((2000,), value)}
    record = store.put("many", 1, {"writer": name, "i": i}, {}, table, tensors)
    assert record.table.value[0] == value and (record.tensors()["v"] == value).all(), (name, i)
print("done", flush=True)
"""


def namespaces() -> str:
    """Why processes of equal number cannot be had here; empty where they can."""
    if shutil.which("unshare") is None:
        return "unshare is not installed"
    tried = subprocess.run([*APART, "true"], capture_output=True, text=True)
    return tried.stderr.strip() if tried.returncode else ""


APART = ("unshare", "--fork", "--pid", "--mount-proc", "--user", "--map-root-user")


def write_together(commands, root):
    """Run writers that start at one signal; every record must hold its own writer's values."""
    writers = [subprocess.Popen([*command, sys.executable, "-c", WRITER, str(root), name], cwd=folders.ROOT, text=True,
                                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
               for name, command in commands.items()]
    assert all(writer.stdout.readline() == "ready\n" for writer in writers)
    for writer in writers:
        writer.stdin.write("go\n")
        writer.stdin.flush()
    ended = [writer.communicate(timeout=120) for writer in writers]
    assert all(out.endswith("done\n") for out, _ in ended), [error[-300:] for _, error in ended]
    records = Store(root).records("many")
    assert len(records) == 60 * len(commands)
    for record in records:
        value = sum(map(ord, record.parameters["writer"])) * 1000 + record.parameters["i"]
        assert record.table.value[0] == value and (record.tensors()["v"] == value).all()


@pytest.mark.skipif(bool(namespaces()), reason=f"processes of equal number need PID namespaces: {namespaces()}")
def test_writers_with_equal_process_numbers_in_two_containers(tmp_path):
    write_together({"a": APART, "b": APART}, tmp_path)


def test_writers_that_all_believe_they_have_the_same_process_number(tmp_path, monkeypatch):
    """The same fault where namespaces are forbidden: the number that a name was made of."""
    monkeypatch.setattr(os, "getpid", lambda: 7)
    (tmp_path / "many").mkdir()
    names = {store_module._temporary(tmp_path / "many").name for _ in range(1000)}
    assert len(names) == 1000
    write_together({"c": (), "d": (), "e": ()}, tmp_path)
