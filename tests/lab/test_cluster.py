"""Running grids by Snakemake: profiles, command lines, what is found and said; and real runs on this machine."""

import getpass
import json
import os
import platform
import re
import signal
import sys
import tomllib
from importlib.metadata import version
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner
from packaging.requirements import Requirement

from lab import cluster
from lab.cli import main
from lab.core import folders, runs
from lab.core.surroundings import commit
from tests.lab.checkout import Checkout, require_snakemake, until

PROFILES = {name: yaml.safe_load((cluster.WORKFLOW / "profiles" / name / "config.yaml").read_text())
            for name in cluster.PLACES}
DEAD = 2**22 + 1        # above the largest number that a process has


@pytest.fixture
def store(tmp_path, monkeypatch):
    monkeypatch.setenv("FRAGILITY_STORE", str(tmp_path / "store"))
    return tmp_path / "store"


@pytest.fixture
def queue(tmp_path, monkeypatch):
    """A squeue that prints a file, and a scancel that writes down what it is told."""
    (tmp_path / "bin").mkdir()
    for name, does in {"squeue": f"cat {tmp_path}/queue", "scancel": f"echo $* >> {tmp_path}/cancelled", "sbatch": "",
                       }.items():
        (tmp_path / "bin" / name).write_text(f"#!/bin/sh\n{does}\n")
        (tmp_path / "bin" / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    return tmp_path


def noted(store, name, **changes):
    """The record of a run, as the command writes it when it starts."""
    folder = store / ".runs" / name
    folder.mkdir(parents=True)
    record = {"who": getpass.getuser(), "where": platform.node(), "on": "slurm", "executor": "slurm",
              "names": ["toy"], "profile": "quick", "started": "2020-01-02T03:04:05+00:00", "commit": commit(),
              "versions": {}, "chunks": 2, "cells": 8, "engine": DEAD, **changes}
    (folder / "run.json").write_text(json.dumps(record))
    chunks = [{"experiment": "toy", "id": name, "cells": 4} for name in ("one", "two")]
    (folder / "grid.json").write_text(json.dumps({"chunks": chunks}))
    return folder


@pytest.mark.parametrize("name", cluster.PLACES)
def test_profiles_go_on_and_never_trust_what_failed_in_the_trial(name):
    profile = PROFILES[name]
    assert profile["keep-going"] and profile["retries"] >= 1 and profile["rerun-incomplete"]
    assert profile["rerun-triggers"] == ["mtime", "input"] and profile["scheduler"] == "greedy"
    assert not any("array" in option for option in profile)
    text = (cluster.WORKFLOW / "profiles" / name / "config.yaml").read_text()
    assert ("NOT TRIED" in text) == (name == "kubernetes")
    assert profile["executor"] == (name if name in ("slurm", "kubernetes") else "local")


def test_the_snakefile_reads_the_grid_alone_and_touches_nothing():
    text = (cluster.WORKFLOW / "Snakefile").read_text()
    assert set(re.findall(r"^(?:import|from) (\w+)", text, re.M)) == {"json", "math", "pathlib", "shlex"}
    assert "touch(" not in text and len(text.splitlines()) <= 50


def test_the_pins_are_what_the_project_asks_for_and_not_in_this_environment():
    extras = tomllib.loads((folders.ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    asked = {one.name: one.specifier for one in map(Requirement, extras["cluster"])}
    pins = dict(line.split("==") for line in (cluster.WORKFLOW / "requirements.txt").read_text().splitlines()
                if "==" in line)
    assert pins.keys() == asked.keys() and all(asked[name].contains(pin) for name, pin in pins.items())
    assert not Requirement("packaging<26").specifier.contains(version("packaging"))     # why it has its own


def test_the_command_line_names_the_run_and_its_profile(queue, monkeypatch):
    monkeypatch.setattr(cluster, "environment", lambda: queue)
    line = cluster.command(cluster.place("slurm"), queue / "fragility-1", 7)
    assert line[0] == str(queue / "snakemake") and line[line.index("--jobs") + 1] == "7"
    assert line[line.index("--slurm-jobname-prefix") + 1] == "fragility-1"
    assert line[line.index("--profile") + 1] == str(cluster.WORKFLOW / "profiles" / "slurm")
    here = cluster.command(cluster.place("local"), queue / "fragility-2", 2)
    assert here[here.index("--cores") + 1] == "2" and not any("slurm" in part for part in here)
    assert "--cores" not in cluster.command(cluster.place("one-gpu"), queue / "fragility-3", None)


def test_a_folder_of_the_users_own_is_a_place(tmp_path):
    (tmp_path / "config.yaml").write_text("executor: local\n")
    assert cluster.place(str(tmp_path)) == cluster.Place(tmp_path.name, tmp_path, "local")


@pytest.mark.parametrize("words, said", [
    ("cluster --on local", "names of experiments, or --grid FILE"), ("cluster toy", "--on"),
    ("cluster toy --on mars", "local, one-gpu, slurm, kubernetes"), ("cluster toy --on slurm", "login node"),
    ("cluster toys --on local", "toys"), ("cluster toy --on local --jobs 0", "--jobs")])
def test_mistakes_are_sentences(words, said, store, monkeypatch):
    monkeypatch.setattr(cluster.shutil, "which", lambda name: None)
    told = CliRunner().invoke(main, words.split())
    assert told.exit_code != 0 and said in told.output and "Traceback" not in told.output and not store.exists()


def test_orphans_are_those_of_dead_runs_of_this_user(queue, store):
    noted(store, "fragility-a")
    noted(store, "fragility-b", outcome="finished")
    noted(store, "fragility-c", who="somebody else")
    noted(store, "fragility-d", where="another machine")
    gone = noted(store, "fragility-e")
    (queue / "queue").write_text("".join(f"{number} fragility-{run}_uuid\n" for number, run in
                                         enumerate("aabcd", 1)) + "9 somethingelse\n")
    (left,) = cluster.leftovers()
    assert left.folder.name == "fragility-a" and left.jobs == ["1", "2"]
    assert "fragility-a" in str(left) and "2 of its jobs" in str(left)
    assert json.loads((gone / "run.json").read_text())["outcome"] == "killed"       # it left nothing
    left.cancel()
    assert (queue / "cancelled").read_text() == "1 2\n" and cluster.leftovers() == []


def test_a_run_of_another_machine_is_dead_when_it_is_silent(queue, store):
    folder = noted(store, "fragility-a", where="another machine")
    (queue / "queue").write_text("1 fragility-a_uuid\n")
    assert cluster.leftovers() == []
    os.utime(folder / "run.json", (1e9, 1e9))
    assert [left.jobs for left in cluster.leftovers()] == [["1"]]


def test_a_number_that_another_program_has_by_now_is_no_engine(queue, store):
    noted(store, "fragility-a", engine=os.getpid())
    (queue / "queue").write_text("1 fragility-a_uuid\n")
    assert len(cluster.leftovers()) == (1 if sys.platform == "linux" else 0)


def test_the_history_is_a_frame_also_without_a_run(store):
    assert runs.history().empty
    folder = noted(store, "fragility-a")
    noted(store, "fragility-b")
    (folder / "marks" / "toy").mkdir(parents=True)
    for name, seconds in (("one", 1800.0), ("two", 5400.0)):
        (folder / "marks" / "toy" / name).write_text(json.dumps({"seconds": seconds, "host": "n1"}))
    runs.close(folder, json.loads((folder / "run.json").read_text()), "finished")
    table = runs.history().set_index("run")
    assert list(table.index) == ["fragility-b", "fragility-a"] and list(table.outcome) == ["goes on", "finished"]
    done = table.loc["fragility-a"]
    assert (done.jobs, done.cells, done["hours of jobs"]) == ("2 of 2", "8 of 8", 2.0) and done["to"] > done["from"]


def test_a_grid_from_elsewhere_must_be_one_and_fit(store, tmp_path, monkeypatch):
    file = tmp_path / "grid.json"
    cut = CliRunner().invoke(main, ["grid", "toy"]).stdout
    for text, said in (("{", "is not what python -m lab grid prints"), ("[1]", "is not what"),
                       (cut.replace(json.loads(cut)["chunks"][0]["grid"], "0" * 12), "grids of toy have changed")):
        file.write_text(text)
        told = CliRunner().invoke(main, ["cluster", "--grid", str(file), "--on", "local"])
        assert told.exit_code == 1 and said in told.output and "Traceback" not in told.output


@pytest.mark.slow
def test_a_dry_run_starts_nothing_and_counts_the_jobs(tmp_path):
    require_snakemake()
    checkout = Checkout(tmp_path, 0, 0, 0)
    for place, names in (("local", ("trial", "roar")), ("one-gpu", ("trial",))):
        said = checkout.lab("cluster", *names, "--profile", "edition", "--on", place, "--dry-run")
        jobs = dict(re.findall(r"^(\w+) +(\d+)$", said, re.M))
        made = ("trial", "trainings", "rankings", "roar") if "roar" in names else names
        assert jobs == {**dict.fromkeys((*made, "all"), "1"), "total": str(len(made) + 1)}
    assert not checkout.runs() and not checkout.store.records("trial")


@pytest.mark.slow
def test_a_run_on_the_cores_of_this_machine_and_its_record(tmp_path):
    require_snakemake()
    checkout = Checkout(tmp_path, 0, 0, 0, 0, fails=(2,))
    words = ("cluster", "trial", "--profile", "edition", "--on", "local", "--jobs", 2, "--minutes-per-job", 1e-9)
    said = checkout.lab(*words, code=1)
    assert "3 of 4 records of trial are there; 1 are missing" in said and "python -m lab publish trial" in said
    (log,) = re.findall(r"Not finished: (.*)", said)
    assert "told to fail" in Path(log).read_text()
    checkout.tell(0, 0, 0, 0)
    file = tmp_path / "grid.json"
    file.write_text(checkout.lab("grid", "trial", "--profile", "edition"))
    assert "4 of 4 records" in checkout.lab("cluster", "--grid", file, "--on", "one-gpu")
    first, second = checkout.runs()
    assert (first["outcome"], second["outcome"]) == ("incomplete", "finished") and second["cells"] == 1
    assert first["versions"].keys() >= {"torch", "snakemake", "snakemake-executor-plugin-slurm"}
    assert len(first["jobs"]) == 3 == sum(job["cells"] for job in first["jobs"])
    assert all(job["started"] >= first["started"] for job in first["jobs"])


@pytest.mark.slow
def test_an_interrupt_ends_all_processes_here(tmp_path):
    require_snakemake()
    checkout = Checkout(tmp_path, 0, 300)
    run = checkout.start("cluster", "trial", "--profile", "edition", "--on", "local", "--jobs", 2, "--minutes-per-job",
                         1e-9)
    until(lambda: checkout.store.records("trial"))
    run.send_signal(signal.SIGTERM), run.send_signal(signal.SIGINT)
    assert "1 of 2 records of trial are there; 1 are missing" in checkout.end(run, code=1)
    (record,) = checkout.runs()
    assert record["outcome"] == "interrupted" and len(record["jobs"]) == 1
    with pytest.raises(ProcessLookupError):
        os.killpg(record["engine"], 0)
