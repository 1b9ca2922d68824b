"""Run a grid by Snakemake, on this machine or on a cluster: start it, watch it, clean up, keep a record of it.

Each run has a folder of its own in the store, `.runs/<name>/`: the grid, a mark for each finished chunk, written by its
sweep, logs, and `run.json`. So runs never lock each other out, and no mark of an earlier run is believed: the store
alone says what is done.
"""

import getpass
import json
import os
import platform
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

import pandas as pd
from tqdm.auto import tqdm

from lab import catalogue
from lab.core import costs, folders, profiles, results
from lab.core.running import BAR
from lab.core.store import Store, write
from lab.core.surroundings import surroundings

WORKFLOW = folders.ROOT / "workflow"
ENVIRONMENT = folders.ROOT / ".venv-workflow"
PLACES = ("local", "one-gpu", "slurm", "kubernetes")
_LOOK = 5.0             # seconds between two looks at the store
_SILENT = 600.0         # seconds after which a run of another machine counts as killed


class Place(NamedTuple):
    """Where jobs run: a profile of Snakemake and the executor that it names."""

    name: str
    folder: Path
    executor: str


def place(on: str) -> Place:
    """One of the profiles in `workflow/profiles`, or a folder with one of the user's own."""
    folder = WORKFLOW / "profiles" / on if on in PLACES else Path(on).absolute()
    if not (folder / "config.yaml").is_file():
        raise ValueError(f"--on must be one of {', '.join(PLACES)}, or a folder with a config.yaml, but it is {on!r}.")
    executor = profiles.read_yaml(folder / "config.yaml").get("executor", "local")
    if executor == "slurm" and not (shutil.which("sbatch") and shutil.which("squeue")):
        raise ValueError("SLURM's commands sbatch and squeue are not found here. Start this on a login node of the "
                         "cluster, or take --on local.")
    return Place(folder.name, folder, executor)


def mark(file: Path, cells: int, start: float) -> None:
    """Write the mark of a chunk whose records are all there: who made them, and when."""
    file.parent.mkdir(parents=True, exist_ok=True)
    write(file, json.dumps({"host": platform.node(), "job": os.environ.get("SLURM_JOB_ID"), "cells": cells,
                            "started": _moment(start), "seconds": round(time.time() - start, 1)}).encode())


def _moment(seconds: float) -> str:
    return datetime.fromtimestamp(seconds).astimezone().isoformat(timespec="seconds")


def environment() -> Path:
    """The folder of Snakemake's commands: its own environment, made when it is first needed, since Snakemake needs an
    older `packaging` than the book."""
    wanted, stamp = (WORKFLOW / "requirements.txt").read_text(), ENVIRONMENT / ".installed"
    if not stamp.is_file() or stamp.read_text() != wanted:
        print(f"Installing Snakemake into {ENVIRONMENT}, once.", file=sys.stderr, flush=True)
        python = ENVIRONMENT / "bin" / "python"
        steps = ([sys.executable, "-m", "venv", "--clear", ENVIRONMENT],
                 [python, "-m", "pip", "install", "--disable-pip-version-check", "-q", "-r",
                  WORKFLOW / "requirements.txt"])
        if any(subprocess.run(step).returncode for step in steps):
            raise ValueError("Snakemake could not be installed; the messages above say why.")
        stamp.write_text(wanted)        # last, so that a killed installation is repeated
    return ENVIRONMENT / "bin"


def command(where: Place, folder: Path, jobs: int | None) -> list[str]:
    """The command line of Snakemake for the run in a folder."""
    line = [environment() / "snakemake", "--snakefile", WORKFLOW / "Snakefile", "--directory", folder,
            "--profile", where.folder]
    if jobs:
        line += ["--cores" if where.executor == "local" else "--jobs", jobs]
    if where.executor == "slurm":
        line += ["--slurm-jobname-prefix", folder.name, "--slurm-logdir", folder / "slurm"]
    return [str(part) for part in line]


def show(grid: dict, where: Place, jobs: int | None) -> None:
    """Let Snakemake say what it would do."""
    with tempfile.TemporaryDirectory() as folder:
        _prepare(grid, Path(folder))
        done = subprocess.run([*command(where, Path(folder), jobs), "--dry-run", "--quiet", "rules", "host", "reason"])
    if done.returncode:
        raise ValueError("Snakemake refuses this grid; its messages above say why.")


def _prepare(grid: dict, folder: Path) -> None:
    write(folder / "grid.json", json.dumps({**grid, "python": sys.executable}, indent=1).encode())


def run(grid: dict, where: Place, jobs: int | None = None) -> Path:
    """Run all chunks of a grid and return the run's folder. When it returns, by whatever way, nothing of it is queued
    or running any more."""
    folders.settle()
    store = Store()
    store.require_writable()
    folder = _runs() / f"fragility-{time.strftime('%Y%m%d-%H%M%S')}-{uuid.uuid4().hex[:4]}"
    folder.mkdir(parents=True)
    _prepare(grid, folder)
    line = command(where, folder, jobs)
    pins = dict(pin.split("==") for pin in (WORKFLOW / "requirements.txt").read_text().split() if "==" in pin)
    made = surroundings()
    record = {"who": getpass.getuser(), "where": platform.node(), "on": where.name, "executor": where.executor,
              "names": grid["names"], "profile": grid["profile"], "started": _moment(time.time()),
              "commit": made["commit"], "versions": made["versions"] | pins, "chunks": len(grid["chunks"]),
              "cells": sum(chunk["cells"] for chunk in grid["chunks"])}
    print(f"{record['chunks']} jobs of {record['cells']} cells; what happens is in {folder}", flush=True)
    with open(folder / "engine.log", "w") as log, _signals_interrupt():
        # A session of its own: a Ctrl-C reaches this process alone, which then stops the engine in order.
        engine = subprocess.Popen(line, stdout=log, stderr=log, start_new_session=True,
                                  env={**os.environ, "FRAGILITY_STORE": str(store.root)})
        record["engine"] = engine.pid
        _save(folder, record)
        try:
            _watch(engine, grid, store, folder)
            outcome = {0: "finished"}.get(engine.returncode, "incomplete")
        except KeyboardInterrupt:
            outcome = "interrupted"
            print("\nStopping; what is finished stays in the store.", flush=True)
        finally:
            _stop(engine)
            if queued := _queued(record, folder.name):
                subprocess.run(["scancel", *queued])
            _close(folder, record, outcome)
    return folder


@contextmanager
def _signals_interrupt() -> Iterator[None]:
    """Let a polite kill, and a terminal that closes, end the run as Ctrl-C does."""
    def interrupt(number, frame):
        raise KeyboardInterrupt
    kinds = [kind for kind in (signal.SIGTERM, signal.SIGHUP) if signal.getsignal(kind) is signal.SIG_DFL]
    for kind in kinds:
        signal.signal(kind, interrupt)
    try:
        yield
    finally:
        for kind in kinds:
            signal.signal(kind, signal.SIG_DFL)


def _watch(engine: subprocess.Popen, grid: dict, store: Store, folder: Path) -> None:
    """Show cells done and time left until the engine ends."""
    minutes = dict.fromkeys(grid["experiments"], 0.0)
    for chunk in grid["chunks"]:
        minutes[chunk["experiment"]] += chunk["minutes"]
    lacking = {name: one["missing"] for name, one in grid["experiments"].items()}
    before, start = {name: _count(store, name) for name in lacking}, time.perf_counter()
    with tqdm(total=sum(lacking.values()), desc=folder.name, unit="cell", bar_format=BAR, mininterval=_LOOK) as bar:
        while engine.returncode is None:
            try:
                engine.wait(_LOOK)
            except subprocess.TimeoutExpired:
                os.utime(folder / "run.json")       # a sign of life for other machines
            done = {name: min(_count(store, name) - before[name], most) for name, most in lacking.items()}
            share = sum(minutes[name] * done[name] / lacking[name] for name in done if lacking[name])
            left = (sum(minutes.values()) - share) / share * (time.perf_counter() - start) / 3600 if share else None
            bar.set_postfix_str("" if left is None else f"about {left:.2g} hours left", refresh=False)
            bar.update(sum(done.values()) - bar.n)


def _count(store: Store, experiment: str) -> int:
    folder = store.root / experiment
    return sum(name.endswith(".json") for name in os.listdir(folder)) if folder.is_dir() else 0


def _stop(engine: subprocess.Popen) -> None:
    """End an engine and the sweeps it started here; it has a minute to cancel its jobs itself."""
    for kind in (signal.SIGINT, signal.SIGKILL):
        try:
            os.killpg(engine.pid, kind)
            engine.wait(60)
        except ProcessLookupError:
            return
        except subprocess.TimeoutExpired:
            continue


def _queued(record: dict, name: str) -> list[str]:
    """Numbers of the jobs of a run that SLURM has queued or running: their names begin with the run's."""
    if record["executor"] != "slurm" or shutil.which("squeue") is None:
        return []
    asked = subprocess.run(["squeue", "--noheader", "--format=%i %j", "--user", getpass.getuser()],
                           capture_output=True, text=True)
    return [line.split()[0] for line in asked.stdout.splitlines() if line.split()[1].startswith(name)]


class Leftover(NamedTuple):
    """A run that was killed, of which jobs are still queued or running."""

    folder: Path
    record: dict
    jobs: list[str]

    def __str__(self) -> str:
        return (f"The run {self.folder.name}, started {self.record['started']} on {self.record['where']}, was killed, "
                f"but {len(self.jobs)} of its jobs are queued or running. Their records would be kept.")

    def cancel(self) -> None:
        subprocess.run(["scancel", *self.jobs])
        _close(self.folder, self.record, "killed")


def leftovers() -> list[Leftover]:
    """Killed runs that left jobs; runs that left none are noted as killed."""
    found = []
    for folder, record in _records():
        if "outcome" in record or record["who"] != getpass.getuser() or _lives(folder, record):
            continue
        if jobs := _queued(record, folder.name):
            found.append(Leftover(folder, record, jobs))
        else:
            _close(folder, record, "killed")
    return found


def _lives(folder: Path, record: dict) -> bool:
    """Whether a run's engine is still there; of another machine only its signs of life are seen."""
    if record["where"] != platform.node():
        return time.time() - (folder / "run.json").stat().st_mtime < _SILENT
    try:
        os.kill(record["engine"], 0)
    except ProcessLookupError:
        return False
    line = Path(f"/proc/{record['engine']}/cmdline")    # numbers are given out again, and a zombie has no command
    return not line.is_file() or b"snakemake" in line.read_bytes()


def _runs() -> Path:
    return folders.store() / ".runs"


def _records() -> list[tuple[Path, dict]]:
    return [(file.parent, json.loads(file.read_text())) for file in sorted(_runs().glob("*/run.json"))]


def _save(folder: Path, record: dict) -> None:
    write(folder / "run.json", json.dumps(record, indent=1).encode())


def _close(folder: Path, record: dict, outcome: str) -> None:
    """Complete the record of a run by its end and by what its jobs noted in their marks."""
    jobs = [{"chunk": f"{file.parent.name}/{file.name}", **json.loads(file.read_text())}
            for file in sorted(folder.glob("marks/*/*")) if file.suffix != ".tmp"]
    _save(folder, {**record, "outcome": outcome, "ended": _moment(time.time()), "jobs": jobs})


def history() -> pd.DataFrame:
    """The runs that the store has a record of, the last one first: who, where, when, how much, how it ended."""
    rows = []
    for folder, record in reversed(_records()):
        jobs = record.get("jobs", [])
        rows.append({"run": folder.name, "who": record["who"], "where": f"{record['where']}, {record['on']}",
                     "experiments": " ".join(record["names"]), "scale": record["profile"], "from": record["started"],
                     "to": record.get("ended", ""), "jobs": f"{len(jobs)} of {record['chunks']}",
                     "cells": f"{sum(job['cells'] for job in jobs)} of {record['cells']}",
                     "hours of jobs": round(sum(job["seconds"] for job in jobs) / 3600, 2),
                     "outcome": record.get("outcome", "goes on"), "commit": record["commit"]})
    return pd.DataFrame(rows)


def summary(grid: dict, folder: Path) -> tuple[list[str], int]:
    """What is there after a run, what is missing and where to look for the reason; and how many cells are missing."""
    lines, lacking, store = [], 0, Store()
    for one, cells in catalogue.with_sources(grid["names"], grid["profile"]):
        missing = len(costs.missing(one, cells, store, results.published_keys(one)))
        lines.append(f"{len(cells) - missing} of {len(cells)} records of {one.name} are there; {missing} are missing.")
        lacking += missing
    if lacking:
        chunks = [f"{chunk['experiment']}/{chunk['id']}" for chunk in grid["chunks"]]
        open_ones = [chunk for chunk in chunks if not (folder / "marks" / chunk).exists()]
        lines += [f"Not finished: {folder / 'logs' / chunk}.log" for chunk in open_ones[:10]]
        lines.append(f"The engine's own words: {folder / 'engine.log'}. The same command goes on.")
    lines += [f"python -m lab publish {name} --profile {grid['profile']}   writes what is there into results/"
              for name in grid["names"]]
    return lines, lacking
