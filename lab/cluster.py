"""Run a grid by Snakemake, on this machine or on a cluster: start it, watch it, clean up after it."""

import getpass
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple, TextIO

from tqdm.auto import tqdm

from lab import catalogue
from lab.core import costs, folders, profiles, results, runs
from lab.core.running import BAR
from lab.core.store import Store, write

WORKFLOW = folders.ROOT / "workflow"
ENVIRONMENT = folders.ROOT / ".venv-workflow"
PLACES = ("local", "one-gpu", "slurm", "kubernetes")
_LOOK = 5.0             # seconds between two looks at the store


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


def read(file: TextIO) -> dict:
    """A grid that was cut elsewhere; ValueError where it is none, or the experiments have changed since."""
    try:
        cut = json.load(file)
        now = {one.name: one.digest(cells) for one, cells in catalogue.with_sources(cut["names"], cut["profile"])}
        changed = {chunk["experiment"] for chunk in cut["chunks"] if chunk["grid"] != now.get(chunk["experiment"])}
    except (json.JSONDecodeError, KeyError, TypeError) as error:
        raise ValueError(f"{file.name} is not what python -m lab grid prints.") from error
    if changed:
        raise ValueError(f"The grids of {', '.join(sorted(changed))} have changed since {file.name} was cut. Cut it "
                         "again with python -m lab grid.")
    return cut


def environment() -> Path:
    """The folder of Snakemake's commands: its own environment, made when it is first needed, since Snakemake needs an
    older `packaging` than the book."""
    pinned, stamp = WORKFLOW / "requirements.txt", ENVIRONMENT / ".installed"
    if not stamp.is_file() or stamp.read_text() != pinned.read_text():
        print(f"Installing Snakemake into {ENVIRONMENT}, once.", file=sys.stderr, flush=True)
        install = [ENVIRONMENT / "bin" / "python", "-m", "pip", "install", "--disable-pip-version-check", "-q"]
        for step in ([sys.executable, "-m", "venv", "--clear", ENVIRONMENT], [*install, "-r", pinned]):
            if subprocess.run(step).returncode:
                raise ValueError("Snakemake could not be installed; the messages above say why.")
        shutil.copy(pinned, stamp)          # last, so that a killed installation is repeated
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
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        _write(grid, folder)
        line = [*command(where, folder, jobs), "--dry-run", "--quiet", "rules", "host", "reason"]
        if subprocess.run(line).returncode:
            raise ValueError("Snakemake refuses this grid; its messages above say why.")


def _write(grid: dict, folder: Path) -> None:
    write(folder / "grid.json", json.dumps({**grid, "python": sys.executable}, indent=1).encode())


def run(grid: dict, where: Place, jobs: int | None = None) -> Path:
    """Run all chunks of a grid and return the run's folder. When it returns, whatever ended it, nothing of it is queued
    or running any more."""
    folders.make_absolute()
    store = Store()
    store.require_writable()
    environment()
    folder, record = runs.new(grid, on=where.name, executor=where.executor)
    record["versions"] |= dict(pin.split("==") for pin in (WORKFLOW / "requirements.txt").read_text().split()
                               if "==" in pin)
    _write(grid, folder)
    print(f"{record['chunks']} jobs of {record['cells']} cells; what happens is in {folder}", flush=True)
    outcome = "incomplete"
    with open(folder / "engine.log", "w") as log, _one_interrupt():
        # A session of its own: a Ctrl-C reaches this process alone, which then stops the engine in order.
        engine = subprocess.Popen(command(where, folder, jobs), stdout=log, stderr=log, start_new_session=True,
                                  env={**os.environ, "FRAGILITY_STORE": str(store.root)}, preexec_fn=hear_interrupts)
        try:
            record["engine"] = engine.pid
            runs.save(folder, record)
            _watch(engine, grid, store, folder)
            outcome = "incomplete" if engine.returncode else "finished"
        except KeyboardInterrupt:
            outcome = "interrupted"
            print("\nStopping, which may take a minute; what is finished stays in the store.", flush=True)
        finally:
            _stop(engine)
            if queued := _queued(folder.name, where.executor):
                subprocess.run(["scancel", *queued])
            runs.close(folder, record, outcome)
    return folder


def hear_interrupts() -> None:
    """Let a process that is being started hear interrupts, which a shell's background jobs ignore and pass on."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@contextmanager
def _one_interrupt() -> Iterator[None]:
    """Let a polite kill, and a terminal that closes, end the run as Ctrl-C does; a second one must not end the end."""
    before = {kind: signal.getsignal(kind) for kind in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    heard = [kind for kind, action in before.items() if action is not signal.SIG_IGN]       # nohup ignores some

    def interrupt(number, frame):
        for kind in heard:
            signal.signal(kind, signal.SIG_IGN)
        raise KeyboardInterrupt
    for kind in heard:
        signal.signal(kind, interrupt)
    try:
        yield
    finally:
        for kind in heard:
            signal.signal(kind, before[kind])


def _watch(engine: subprocess.Popen, grid: dict, store: Store, folder: Path) -> None:
    """Show cells done and hours left until the engine ends."""
    minutes = {name: sum(chunk["minutes"] for chunk in grid["chunks"] if chunk["experiment"] == name)
               for name in grid["experiments"]}
    lacking = {name: one["missing"] for name, one in grid["experiments"].items() if one["missing"]}
    before, start, total = {name: _count(store, name) for name in lacking}, time.perf_counter(), sum(minutes.values())
    with tqdm(total=sum(lacking.values()), desc=folder.name, unit="cell", bar_format=BAR, mininterval=_LOOK) as bar:
        while engine.returncode is None:
            try:
                engine.wait(_LOOK)
            except subprocess.TimeoutExpired:
                runs.still_here(folder)
            done = {name: min(_count(store, name) - before[name], most) for name, most in lacking.items()}
            past = sum(minutes[name] * done[name] / most for name, most in lacking.items())
            pace = (time.perf_counter() - start) / past / 60 if past else 1.0       # hours here an hour of a job
            bar.set_postfix_str(f"about {pace * (total - past) / 60:.2g} hours left", refresh=False)
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


def _queued(name: str, executor: str) -> list[str]:
    """Numbers of the jobs of a run that SLURM has queued or running: their names begin with the run's."""
    if executor != "slurm" or shutil.which("squeue") is None:
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
        runs.close(self.folder, self.record, "killed")


def leftovers() -> list[Leftover]:
    """Killed runs that left jobs; runs that left none are noted as killed."""
    found = []
    for folder, record in runs.killed():
        if jobs := _queued(folder.name, record["executor"]):
            found.append(Leftover(folder, record, jobs))
        else:
            runs.close(folder, record, "killed")
    return found


def summary(grid: dict, folder: Path) -> tuple[list[str], int]:
    """What is there after a run, what is missing and where to look for the reason; and how many cells are missing."""
    lines, lacking, store = [], 0, Store()
    for one, cells in catalogue.with_sources(grid["names"], grid["profile"]):
        missing = len(costs.missing(one, cells, store, results.published_keys(one)))
        lines.append(f"{len(cells) - missing} of {len(cells)} records of {one.name} are there; {missing} are missing.")
        lacking += missing
    if lacking:
        failed = [chunk for chunk in grid["chunks"] if not runs.marked(folder, chunk)]
        lines += [f"Not finished: {folder / 'logs' / chunk['experiment'] / chunk['id']}.log" for chunk in failed[:10]]
        lines.append(f"The engine's own words: {folder / 'engine.log'}. The same command goes on.")
    lines += [f"python -m lab publish {name} --profile {grid['profile']}   writes what is there into results/"
              for name in grid["names"]]
    return lines, lacking
