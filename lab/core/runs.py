"""Records of runs of many jobs: who ran what, where, when, with which versions, and what each job took.

A run has a folder of its own in the store, `.runs/<name>/`: grid.json, a mark for each finished chunk, written by its
sweep, logs, and run.json. So runs never lock each other out, and no mark of an earlier run is believed: the store alone
says what is done.
"""

import getpass
import json
import os
import platform
import time
import uuid
from datetime import datetime
from pathlib import Path

import pandas as pd

from lab.core import folders
from lab.core.store import write
from lab.core.surroundings import surroundings

_SILENT = 600.0         # seconds after which a run of another machine counts as killed


def new(grid: dict, **about) -> tuple[Path, dict]:
    """The folder of a new run of a grid, and the record of it so far."""
    folder = _root() / f"fragility-{time.strftime('%Y%m%d-%H%M%S')}-{uuid.uuid4().hex[:4]}"
    folder.mkdir(parents=True)
    made = surroundings()
    return folder, {"who": getpass.getuser(), "where": platform.node(), "started": _moment(time.time()), **about,
                    "names": grid["names"], "profile": grid["profile"], "chunks": len(grid["chunks"]),
                    "cells": sum(chunk["cells"] for chunk in grid["chunks"]), "commit": made["commit"],
                    "versions": made["versions"]}


def save(folder: Path, record: dict) -> None:
    write(folder / "run.json", json.dumps(record, indent=1).encode())


def still_here(folder: Path) -> None:
    """A sign of life for other machines."""
    os.utime(folder / "run.json")


def mark(file: Path, start: float) -> None:
    """Write the mark of a chunk whose records are all there: where they were made, and when."""
    file.parent.mkdir(parents=True, exist_ok=True)
    write(file, json.dumps({"host": platform.node(), "job": os.environ.get("SLURM_JOB_ID"), "started": _moment(start),
                            "seconds": round(time.time() - start, 1)}).encode())


def marked(folder: Path, chunk: dict) -> bool:
    return _mark(folder, chunk).is_file()


def _mark(folder: Path, chunk: dict) -> Path:
    return folder / "marks" / chunk["experiment"] / chunk["id"]


def close(folder: Path, record: dict, outcome: str) -> None:
    """Complete the record of a run by its end and by what its jobs noted in their marks."""
    done = [chunk for chunk in json.loads((folder / "grid.json").read_text())["chunks"] if marked(folder, chunk)]
    jobs = [{**{name: chunk[name] for name in ("experiment", "id", "cells")},
             **json.loads(_mark(folder, chunk).read_text())} for chunk in done]
    save(folder, {**record, "outcome": outcome, "ended": _moment(time.time()), "jobs": jobs})


def killed() -> list[tuple[Path, dict]]:
    """Folders and records of this user's runs that never ended and of which no engine is there any more."""
    return [(folder, record) for folder, record in _all()
            if "outcome" not in record and record["who"] == getpass.getuser() and not _lives(folder, record)]


def _lives(folder: Path, record: dict) -> bool:
    """Whether a run's engine is still there; of another machine only its signs of life are seen."""
    if record["where"] != platform.node():
        return time.time() - (folder / "run.json").stat().st_mtime < _SILENT
    try:
        os.kill(record["engine"], 0)
    except OSError:         # gone, or another user's by now
        return False
    line = Path(f"/proc/{record['engine']}/cmdline")    # numbers are given out again, and a zombie has no command
    return not line.is_file() or b"snakemake" in line.read_bytes()


def history() -> pd.DataFrame:
    """The runs that the store has a record of, the last one first."""
    rows = []
    for folder, record in reversed(_all()):
        jobs = record.get("jobs", [])
        rows.append({"run": folder.name, "who": record["who"], "where": f"{record['where']}, {record['on']}",
                     "experiments": " ".join(record["names"]), "scale": record["profile"], "from": record["started"],
                     "to": record.get("ended", ""), "jobs": f"{len(jobs)} of {record['chunks']}",
                     "cells": f"{sum(job['cells'] for job in jobs)} of {record['cells']}",
                     "hours of jobs": round(sum(job["seconds"] for job in jobs) / 3600, 2),
                     "outcome": record.get("outcome", "goes on"), "commit": record["commit"]})
    return pd.DataFrame(rows)


def _all() -> list[tuple[Path, dict]]:
    return [(file.parent, json.loads(file.read_text())) for file in sorted(_root().glob("*/run.json"))]


def _root() -> Path:
    return folders.store() / ".runs"


def _moment(seconds: float) -> str:
    return datetime.fromtimestamp(seconds).astimezone().isoformat(timespec="seconds")
