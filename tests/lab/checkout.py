"""A checkout of its own for tests of jobs: they are processes, so what they compute must be in files.

Its edition of ROAR is tiny, nothing is published in it, and its experiment `trial` has cells that sleep, fail or
wait as a file says.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from lab import cluster
from lab.core import folders, profiles
from lab.core.store import Store
from tests.lab import slurm

EDITION = {"train_images": 256, "test_images": 128, "epochs": 1, "batch_size": 16, "estimators": ["GRAD", "Random"],
           "filtered": [], "mask_estimators": [], "fractions": [0.9], "kept": [], "seeds": [0, 1], "others": []}
TRIAL = '''
"""Cells that do as a file says, which does not change their keys."""
import json, pathlib, time
import pandas as pd
from lab.core.experiment import Experiment, Factor, Outcome
from lab.core.parameters import Parameters

def orders():
    return json.loads(pathlib.Path(__file__).with_suffix(".json").read_text())

class Trial(Parameters):
    numbers: list[int] = list(range(len(orders())))

def run(cell, store):
    seconds, fails, _ = orders()[cell["number"]] if cell["number"] >= 0 else (0.01, False, 0)
    time.sleep(seconds)
    if fails:
        raise RuntimeError("told to fail")
    return Outcome(pd.DataFrame([{"value": 2 * cell["number"]}]))

EXPERIMENT = Experiment("trial", 1, Trial, lambda p: [{"number": number} for number in p.numbers],
                        lambda cell, store: {}, run,
                        lambda cell: ({"number": -1}, Factor(orders()[cell["number"]][2] / 0.01)), canary={})
'''
#: The profile that users get, but for times to wait.
PROFILE = profiles.read_yaml(cluster.WORKFLOW / "profiles" / "slurm" / "config.yaml") | {
    "slurm-init-seconds-before-status-checks": 5, "retries": 1}


def require_snakemake() -> None:
    """Make Snakemake's environment, or skip the test where it cannot be installed."""
    try:
        cluster.environment()
    except ValueError as error:
        pytest.skip(str(error))


class Checkout:
    """A copy of this checkout, with a store of its own."""

    def __init__(self, folder: Path, *seconds: float, fails: tuple[int, ...] = (), planned: float = 0.01):
        self.root, self.store, self.started = folder / "checkout", Store(folder / "store"), []
        for name in ("lab", "fragility", "workflow", "notebooks", "claims"):
            shutil.copytree(folders.ROOT / name, self.root / name, ignore=shutil.ignore_patterns("__pycache__"))
        (self.root / "notebooks" / "params" / "roar.edition.yaml").write_text(yaml.safe_dump(EDITION))
        (self.root / "lab" / "trial.py").write_text(TRIAL)
        self.tell(*seconds, fails=fails, planned=planned)
        with open(self.root / "lab" / "catalogue.py", "a") as catalogue:
            catalogue.write("\nfrom lab import trial\nEXPERIMENTS['trial'] = trial.EXPERIMENT\n")
        (self.root / "slurm-fast").mkdir()
        (self.root / "slurm-fast" / "config.yaml").write_text(yaml.safe_dump(PROFILE))
        # One environment of Snakemake for all of them and for the user of this checkout.
        (self.root / ".venv-workflow").symlink_to(folders.ROOT / ".venv-workflow")

    def tell(self, *seconds: float, fails: tuple[int, ...] = (), planned: float = 0.01) -> None:
        """How long each cell of `trial` takes from now on, which fail, and how many seconds are planned for each."""
        orders = [(each, number in fails, planned) for number, each in enumerate(seconds)]
        (self.root / "lab" / "trial.json").write_text(json.dumps(orders))

    def start(self, *words, store: Path | None = None) -> subprocess.Popen:
        """`python -m lab …` in the copy, for a user who has set nothing but the store."""
        variables = {name: value for name, value in os.environ.items() if not name.startswith("FRAGILITY_")}
        process = subprocess.Popen([sys.executable, "-m", "lab", *map(str, words)], cwd=self.root, text=True,
                                   stdout=subprocess.PIPE, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL,
                                   preexec_fn=cluster.hear_interrupts,
                                   env=variables | {"PYTHONPATH": str(self.root), "OMP_NUM_THREADS": "1",
                                                    "FRAGILITY_STORE": str(store or self.store.root)})
        self.started.append(process)
        return process

    def clean(self) -> None:
        """End what a failed test left."""
        for process in self.started:
            if process.returncode is None:
                process.terminate()
                process.communicate()

    def lab(self, *words, store: Path | None = None, code: int = 0) -> str:
        """What the command prints, once it has ended with the code."""
        return self.end(self.start(*words, store=store), code)

    def end(self, process: subprocess.Popen, code: int = 0) -> str:
        said, _ = process.communicate(timeout=400)
        assert process.returncode == code, said + self.log()[-5000:]
        return said

    def runs(self) -> list[dict]:
        return [json.loads(file.read_text()) for file in sorted(self.store.root.glob(".runs/*/run.json"))]

    def jobs(self) -> list[str]:
        """Numbers of the jobs that its runs have in SLURM's queue."""
        names = tuple(folder.name for folder in self.store.root.glob(".runs/*"))
        return slurm.jobs(names) if names else []

    def log(self) -> str:
        return "\n".join(file.read_text() for file in sorted(self.store.root.glob(".runs/*/engine.log")))


def until(happened, seconds: float = 180.0):
    """Wait for something to become true, and return it."""
    end = time.monotonic() + seconds
    while not (found := happened()):
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.2)
    return found


def kill(*numbers: int) -> None:
    for number in numbers:
        os.kill(number, signal.SIGKILL)


def contents(store: Store, *experiments: str) -> dict:
    """Everything in the records that does not depend on when and where they were made."""
    return {(name, record.key): (record.parameters, record.columns, record.rows, record.about["fingerprints"],
                                 record.companion and record.companion.name)
            for name in experiments for record in store.records(name)}
