"""Every benchmark runs; its numbers mean nothing at this length."""

import json
import subprocess
import sys

from benchmarks.registry import BENCHMARKS
from lab.core import folders


def call(*arguments):
    command = [sys.executable, "-m", "benchmarks", *arguments]
    return subprocess.run(command, cwd=folders.ROOT, capture_output=True, text=True)


def test_every_benchmark_runs():
    done = call("--quick", "--json", "spearman", "guided-backprop")
    assert done.returncode == 0, done.stderr
    rows = json.loads(done.stdout)["benchmarks"]
    assert {row["name"] for row in rows} == {"spearman", "guided-backprop"}
    assert all(row["ratio"] > 0 and row["bar"] > 0 for row in rows)


def test_an_unknown_name_is_said():
    done = call("speerman")
    assert done.returncode != 0 and "speerman" in done.stderr and "Traceback" not in done.stderr


def test_the_published_table_holds_benchmarks_of_today():
    """Rows are measured on a quiet machine, so a new benchmark may wait for its row; a removed one may not stay."""
    published = json.loads((folders.RESULTS / "benchmarks.json").read_text())
    import benchmarks.__main__ as command
    command.load_topics()
    names = {row["name"] for row in published["benchmarks"]}
    assert len(names) >= 8 and names <= set(BENCHMARKS)
    assert not any("/" in published[name] for name in ("weights", "images"))     # names, no folders of a machine
