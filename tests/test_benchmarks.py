"""Every benchmark runs; its numbers mean nothing at this length."""

import json
import subprocess
import sys

from benchmarks.registry import BENCHMARKS
from fragility import paths


def call(*arguments):
    command = [sys.executable, "-m", "benchmarks", *arguments]
    return subprocess.run(command, cwd=paths.ROOT, capture_output=True, text=True)


def test_every_benchmark_runs():
    done = call("--quick", "--json", "spearman", "guided-backprop")
    assert done.returncode == 0, done.stderr
    rows = json.loads(done.stdout)["benchmarks"]
    assert {row["name"] for row in rows} == {"spearman", "guided-backprop"}
    assert all(row["ratio"] > 0 and row["bar"] > 0 for row in rows)


def test_an_unknown_name_is_said():
    done = call("speerman")
    assert done.returncode != 0 and "speerman" in done.stderr and "Traceback" not in done.stderr


def test_the_published_table_holds_every_benchmark():
    published = json.loads((paths.RESULTS / "benchmarks.json").read_text())
    import benchmarks.__main__ as command
    command.load_topics()
    assert {row["name"] for row in published["benchmarks"]} == set(BENCHMARKS)
