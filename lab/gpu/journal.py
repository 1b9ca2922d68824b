"""What a session did: one line a step, written when the step ends, so that a killed session goes on after the last."""

import hashlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

try:
    import fcntl
except ImportError:         # Windows
    fcntl = None

from lab.core import folders
from lab.core.surroundings import commit

OUTCOMES = ("done", "failed", "stopped", "left out")
_CODE = ("fragility", "lab", "benchmarks", "notebooks", "tests")


class Line(NamedTuple):
    """A step that ended, or was not begun."""

    step: str
    code: str                   #: The commit, or a digest of the files where they are not a commit's.
    outcome: str                #: One of `OUTCOMES`.
    started: str
    seconds: float
    says: str = ""              #: Why, where it is not done.


class Journal:
    """The lines of all sessions in a folder. A step counts as done for the code that did it."""

    def __init__(self, folder: Path):
        folder.mkdir(parents=True, exist_ok=True)
        self.folder, self._file, self.code = folder, folder / "journal.jsonl", code_of_now()

    def lines(self) -> list[Line]:
        """All whole lines; one that a kill cut is none."""
        found = []
        for text in self._file.read_text().splitlines() if self._file.is_file() else []:
            try:
                found.append(Line(**json.loads(text)))
            except (json.JSONDecodeError, TypeError):
                continue
        return found

    def done(self, step: str) -> bool:
        return any(line.step == step and line.code == self.code and line.outcome == "done" for line in self.lines())

    def minutes(self, step: str) -> float | None:
        """How long the step took when it was done last, whatever the code; None where it never was."""
        took = [line.seconds / 60 for line in self.lines() if line.step == step and line.outcome == "done"]
        return took[-1] if took else None

    def note(self, step: str, outcome: str, started: float, says: str = "") -> Line:
        """Write that a step ended now, or was left out."""
        moment = datetime.fromtimestamp(started).astimezone().isoformat(timespec="seconds")
        line = Line(step, self.code, outcome, moment, round(time.time() - started, 1), says)
        with open(self._file, "ab") as file:
            # A line of its own, also after one that a kill cut.
            file.write(b"\n" * (file.tell() > 0 and not _ends_line(self._file)) + json.dumps(line._asdict()).encode()
                       + b"\n")
            file.flush()
            os.fsync(file.fileno())
        return line

    @contextmanager
    def alone(self) -> Iterator[None]:
        """ValueError where another session is at work in this folder; a killed one is not."""
        with open(self.folder / "lock", "w") as lock:
            try:
                if fcntl:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                raise ValueError(f"Another session is at work with the store {folders.store()}; wait for its end, or "
                                 "name another store in FRAGILITY_STORE.") from error
            yield


def _ends_line(file: Path) -> bool:
    with open(file, "rb") as handle:
        handle.seek(-1, os.SEEK_END)
        return handle.read() == b"\n"


def code_of_now() -> str:
    """The commit of a clean checkout, else a digest of its files."""
    known = commit()
    if known != "unknown" and not known.endswith("+"):
        return known
    digest = hashlib.sha256()
    for room in _CODE:
        for file in sorted((folders.ROOT / room).rglob("*")):
            if file.suffix in (".py", ".ipynb", ".yaml"):
                digest.update(str(file.relative_to(folders.ROOT)).encode() + file.read_bytes())
    return f"files-{digest.hexdigest()[:10]}"


def start(command: list[str], log: Path, variables: dict[str, str]) -> subprocess.Popen:
    """Start a command in the checkout, with all that it says in a file. It dies with this process."""
    log.parent.mkdir(parents=True, exist_ok=True)
    path = os.pathsep.join(filter(None, [str(folders.ROOT), os.environ.get("PYTHONPATH")]))
    with open(log, "wb") as said:
        return subprocess.Popen(command, cwd=folders.ROOT, stdin=subprocess.DEVNULL, stdout=said,
                                stderr=subprocess.STDOUT, start_new_session=True, preexec_fn=_die_with_parent,
                                env={**os.environ, "PYTHONPATH": path, **variables})


def _die_with_parent() -> None:
    """Ask Linux to kill this process when its parent is killed: else what a killed session began would go on beside
    the next one, which would do it again."""
    if sys.platform == "linux":
        import ctypes
        ctypes.CDLL(None).prctl(1, 9)           # PR_SET_PDEATHSIG, SIGKILL


def stop(process: subprocess.Popen) -> None:
    """End a command with all that it started."""
    try:
        os.killpg(process.pid, 9)
    except ProcessLookupError:
        pass
    process.wait()


def last_words(log: Path) -> str:
    """The last line that a command wrote."""
    lines = [line for line in log.read_text(errors="replace").splitlines() if line.strip()]
    return lines[-1].strip()[:300] if lines else ""
