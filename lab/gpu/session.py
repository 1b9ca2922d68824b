"""A session on a card: tests, notebooks, benchmarks, then the cells of the paper profiles by worth a minute."""

import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import nbformat

from lab import book, catalogue
from lab.core import device, folders, results
from lab.core.store import Store, write
from lab.gpu import worker, worth
from lab.gpu.journal import Journal, Line, last_words, start, stop

TESTS = ("tests/kernels/test_gpu.py", "tests/lab/test_experiments.py::test_canary")
TESTS_MINUTES, BENCHMARKS_MINUTES = 10.0, 20.0      # where no journal says how long they take
PLAN_MINUTES = 10.0
_LOOK = 0.2             # seconds between two looks at running processes


class Step(NamedTuple):
    """What a session does once for each commit, as a process of its own."""

    name: str
    command: list[str]
    minutes: float
    variables: dict[str, str] = {}
    keep: Callable[[Path], None] = lambda log: None     # what is done with the log of a finished step


def steps(journal: Journal, where: str) -> list[Step]:
    """Tests, each notebook at the quick scale, benchmarks."""
    found = [Step("tests", _python("-m", "pytest", "-q", *TESTS), TESTS_MINUTES)]
    # A store of their own, kept: a notebook that was stopped goes on, and no record of its is published.
    quick = {"FRAGILITY_STORE": str(journal.folder / "quick"), "FRAGILITY_DATA": ""}
    for name in book.notebooks():
        metadata = nbformat.read(folders.NOTEBOOKS / f"{name}.ipynb", as_version=4).metadata
        seconds = metadata.get("fragility", {}).get("seconds", 60.0)
        code = f"from lab import book; book.run({name!r}, {{}})"
        found.append(Step(f"notebook {name}", _python("-c", code), seconds / 60 + 0.5, quick))
    command = _python("-m", "benchmarks", "--device", where, "--json")
    for folder in folders.data_roots():
        if (folder / "squeezenet1_0.safetensors").is_file():
            command += ["--weights", str(folder / "squeezenet1_0.safetensors")]
    found.append(Step("benchmarks", command, BENCHMARKS_MINUTES, keep=_keep_benchmarks if where == "cuda" else
                      Step._field_defaults["keep"]))
    return [step._replace(minutes=journal.minutes(step.name) or step.minutes) for step in found]


def _python(*words: str) -> list[str]:
    return [sys.executable, *words]


def _keep_benchmarks(log: Path) -> None:
    """Put the ratios measured on a card beside those of a processor."""
    text = log.read_text()
    measured, _ = json.JSONDecoder().raw_decode(text, text.index("{"))      # warnings may stand before and after it
    write(folders.RESULTS / "benchmarks-cuda.json", (json.dumps(measured, indent=2) + "\n").encode())


class Session:
    """One call of the command: what it may use, and what it says."""

    def __init__(self, minutes: float, where: str, *, profile: str = worth.PROFILE, say: Callable[[str], None] = print):
        folders.make_absolute()
        self.device, self.profile, self.say = device.choose(where), profile, say
        self.store = Store()
        self.store.require_writable()
        self.end = time.time() + 60 * minutes
        self.journal = Journal(self.store.root / ".gpu")
        self.ended: list[Line] = []

    @property
    def minutes_left(self) -> float:
        return max(0.0, (self.end - time.time()) / 60)

    def run(self) -> list[Line]:
        """Do what is not done yet and fits; a step that fails is noted and stops nothing."""
        with self.journal.alone():
            for step in steps(self.journal, self.device.type):
                self._once(step)
            for estimate in self._queue():
                self._compute(estimate)
        return self.ended

    def _once(self, step: Step) -> None:
        if self.journal.done(step.name):
            self.say(f"{step.name}: done before, for this commit")
        elif step.minutes > self.minutes_left:
            self._leave_out(step.name, step.minutes)
        else:
            began, log = time.time(), self._log(step.name)
            process = start(step.command, log, step.variables)
            try:
                process.wait(60 * self.minutes_left)
            except subprocess.TimeoutExpired:
                self._note(step.name, "stopped", began, "the time was over")
            else:
                self._finish(step.name, process.returncode, began, log, step.keep)
            finally:
                stop(process)

    def _finish(self, name: str, code: int, began: float, log: Path, keep: Callable[[Path], None]) -> None:
        """Note how a process ended; a failure with its last words and the place of all others."""
        if code == 0:
            try:
                keep(log)
            except (ValueError, OSError) as error:
                return self._note(name, "failed", began, str(error))
            return self._note(name, "done", began)
        return self._note(name, "failed", began, f"exit code {code}: {last_words(log)} (all of it: {log})")

    def _queue(self) -> list[worth.Estimate]:
        """The queue as a process of its own measures it; what an earlier session left in the store is published."""
        for name in dict.fromkeys(name for entry in worth.entries() for name in entry.experiments):
            self._publish(name)
        if self.minutes_left <= 0:
            self._leave_out("cells of the paper profiles", PLAN_MINUTES)
            return []
        began, log = time.time(), self._log("plan")
        share = self.minutes_left / 3           # the rest is for the cells
        process = start(_python("-m", "lab.gpu.worker", "plan", self.profile, str(share)), log, {})
        try:
            process.wait(60 * self.minutes_left)
        except subprocess.TimeoutExpired:
            self._note("plan", "stopped", began, "the time was over")
            return []
        finally:
            stop(process)
        if process.returncode:
            self._finish("plan", process.returncode, began, log, lambda log: None)
            return []
        return worker.planned(log.read_text().rstrip().splitlines()[-1])

    def _compute(self, estimate: worth.Estimate) -> None:
        """The chunks of an entry, each experiment after those it reads."""
        name = estimate.entry.name
        if estimate.hindrance:
            self._note(f"cells of {name}", "left out", time.time(), estimate.hindrance)
            return
        for experiment in dict.fromkeys(chunk.experiment for chunk in estimate.chunks):
            chunks = [chunk for chunk in estimate.chunks if chunk.experiment == experiment]
            if not self._together(f"{name}: {experiment}", chunks):
                self.say(f"{name}: what comes after {experiment} waits for it")
                return

    def _together(self, name: str, chunks: list[worth.Cells]) -> bool:
        """Compute chunks of one experiment, as many at once as the device's memory holds; whether all of them were."""
        most = device.processes_for(self.device, max(chunk.memory for chunk in chunks))
        waiting, running, whole = list(enumerate(chunks, 1)), {}, True
        try:
            while waiting or running:
                while waiting and len(running) < most:
                    number, chunk = waiting.pop(0)
                    step = f"{name} {number}/{len(chunks)} ({len(chunk.cells)} cells)"
                    if chunk.minutes > self.minutes_left:
                        self._leave_out(step, chunk.minutes)
                        whole = False
                        continue
                    log = self._log(f"{name}-{number}")
                    file = log.with_suffix(".json")
                    write(file, json.dumps({"experiment": chunk.experiment, "cells": chunk.cells}).encode())
                    process = start(_python("-m", "lab.gpu.worker", "cells", str(file)), log, {"OMP_NUM_THREADS": "1"})
                    running[process] = step, chunk, log, time.time()
                for process in [one for one in running if one.poll() is not None or not self.minutes_left]:
                    step, chunk, log, began = running[process]
                    if process.poll() is None:
                        stop(process)
                        self._note(step, "stopped", began, "the time was over; its finished cells are kept")
                        whole = False
                    else:
                        self._finish(step, process.returncode, began, log, lambda log: None)
                        whole &= process.returncode == 0
                    del running[process]
                    self._publish(chunk.experiment)
                time.sleep(_LOOK)
        finally:
            for process in running:
                stop(process)
        return whole

    def _publish(self, name: str) -> None:
        began = time.time()
        try:
            results.publish(catalogue.experiment(name), self.profile, self.store)
        except ValueError as error:
            self._note(f"publish {name}", "failed", began, str(error))

    def _leave_out(self, step: str, minutes: float) -> None:
        self._note(step, "left out", time.time(), f"it takes about {minutes:.2g} minutes, and "
                                                  f"{self.minutes_left:.2g} are left")

    def _note(self, step: str, outcome: str, began: float, says: str = "") -> None:
        line = self.journal.note(step, outcome, began, says)
        self.ended.append(line)
        self.say(f"{line.step}: {line.outcome} ({line.seconds:.0f} s){'; ' + says if says else ''}")

    def _log(self, name: str) -> Path:
        safe = "".join(letter if letter.isalnum() else "-" for letter in name)
        return self.journal.folder / "logs" / f"{safe}.log"
