"""Records: each holds the result of one experiment cell, as text, and is safe if its writer is killed."""

import hashlib
import json
import logging
import os
import tempfile
import time
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import pandas as pd
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from lab.core import folders
from lab.core.surroundings import surroundings

log = logging.getLogger(__name__)

CARRIED = "carried.json"        # in a store's root; experiments are folders there


@dataclass(frozen=True, eq=False)
class Record:
    """The stored result of one cell."""

    key: str                    #: Hash of experiment, version, parameters and fingerprints.
    parameters: dict
    columns: list[str]          #: Columns of the table.
    rows: list[list]            #: Its rows; null where a value is missing.
    about: dict                 #: Version, fingerprints, device, library versions, commit, seconds.
    companion: Path | None      #: File of tensors that belong to the record.

    @cached_property
    def table(self) -> pd.DataFrame:
        """The cell's tidy table, made at the first access."""
        return pd.DataFrame(self.rows, columns=self.columns)

    @cached_property
    def cell(self) -> str:
        """The canonical text of the parameters, by which the cells of a grid find their record."""
        return canonical(self.parameters)

    def tensors(self) -> dict[str, Tensor]:
        """The companion's tensors; ValueError where there are none here."""
        if self.companion is None:
            raise ValueError(f"Record {self.key} has no tensors here; they are not published. Recompute it.")
        return load_file(self.companion)


class Damaged(Exception):
    """A record that cannot be trusted, with the reason."""


#: Made once, since a ledger writes thousands of texts and `json.dumps` would make an encoder for each.
_ENCODER = json.JSONEncoder(sort_keys=True, separators=(",", ":"), allow_nan=False)


def canonical(value) -> str:
    """The text of plain parameters, the same for equal ones: sorted keys, no spaces, no NaN."""
    return _ENCODER.encode(value)


def fingerprint(*tensors: Tensor) -> str:
    """Twelve hexadecimal digits of SHA-256 over dtypes, shapes and bytes."""
    digest = hashlib.sha256()
    for tensor in tensors:
        digest.update(f"{tensor.dtype}{tuple(tensor.shape)}".encode())
        digest.update(tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()[:12]


def weights_fingerprint(state: Mapping[str, Tensor]) -> str:
    """Fingerprint of a state dict, whatever the order of its entries."""
    return fingerprint(*(state[name] for name in sorted(state)))


def record_key(experiment: str, version: int, parameters: dict, fingerprints: dict) -> str:
    """The key of a record, the same wherever it was made."""
    identity = canonical([experiment, version, parameters, fingerprints])
    return hashlib.sha256(identity.encode()).hexdigest()[:20]


class Store:
    """A folder of records: `<experiment>/<key>.json`, beside it `<hash>.safetensors` where a record has one.

    A file is written under a temporary name of its own, flushed to disk and renamed, the companion before the text
    that names it; so whatever carries its final name is whole, however many write at once. The text carries a hash of
    itself, and a record whose hash does not fit is reported and counts as missing.
    """

    def __init__(self, root: str | Path | None = None):
        self.root = Path(root) if root else folders.store()
        self.reader, self.allowed = "", None

    def __eq__(self, other) -> bool:
        return isinstance(other, Store) and self.root == other.root

    def __hash__(self) -> int:
        return hash(self.root)

    def limited(self, reader: str, experiments: Iterable[str]) -> "Store":
        """The same store for cells of the experiment `reader`, which may use records of `experiments` only."""
        view = Store(self.root)
        view.reader, view.allowed, view.carried = reader, frozenset(experiments), self.carried
        return view

    @cached_property
    def carried(self) -> dict[str, dict[str, dict]]:
        """Fingerprints by experiment and canonical cell, which came with a part of the data and cannot be computed from
        it; none in a usual store."""
        file = self.root / CARRIED
        return json.loads(file.read_text()) if file.is_file() else {}

    def _folder(self, experiment: str) -> Path:
        if self.allowed is not None and experiment not in self.allowed:
            raise ValueError(f"Cells of the experiment {self.reader} ask for records of {experiment}, which its "
                             "`reads` do not name, so no plan would count them; name it there.")
        return self.root / experiment

    def require_writable(self) -> None:
        """ValueError where no record could be written; to be called before one is computed."""
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            tempfile.TemporaryFile(dir=self.root).close()
        except OSError as error:
            raise ValueError(f"Records cannot be written to the store {self.root} ({error.strerror}); name another "
                             "folder in FRAGILITY_STORE.") from error

    def key(self, experiment: str, version: int, parameters: dict, fingerprints: dict) -> str:
        return record_key(experiment, version, parameters, fingerprints)

    def get(self, experiment: str, key: str) -> Record | None:
        """The record, or None where it is missing or damaged (which is reported)."""
        file = self._folder(experiment) / f"{key}.json"
        if not file.is_file():
            return None
        try:
            return read(file)
        except Damaged as damage:
            log.warning("Record %s is damaged (%s) and will be computed again.", file, damage)
            return None

    def put(self, experiment: str, version: int, parameters: dict, fingerprints: dict, table: pd.DataFrame,
            tensors: dict[str, Tensor] | None = None, seconds: float = 0.0) -> Record:
        """Write a record and return it as read back."""
        folder = self._folder(experiment)
        folder.mkdir(parents=True, exist_ok=True)
        _remove_leftovers(folder)
        companion = self._put_tensors(folder, tensors) if tensors else None
        body = {"experiment": experiment, "version": version, "parameters": parameters,
                "fingerprints": fingerprints, "seconds": round(seconds, 3), **surroundings(),
                "companion": companion, "table": to_plain(table)}
        key = self.key(experiment, version, parameters, fingerprints)
        write(folder / f"{key}.json", seal(body).encode())
        return read(folder / f"{key}.json")

    def _put_tensors(self, folder: Path, tensors: dict[str, Tensor]) -> str:
        temporary = _temporary(folder)
        save_file({name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}, temporary)
        name = hashlib.sha256(temporary.read_bytes()).hexdigest()[:20] + ".safetensors"
        _flush(temporary)
        os.replace(temporary, folder / name)
        return name

    def records(self, experiment: str) -> list[Record]:
        """All whole records of an experiment, by key."""
        keys = sorted(file.stem for file in self._folder(experiment).glob("*.json"))
        return [record for key in keys if (record := self.get(experiment, key))]


def seal(body: dict) -> str:
    """A record's text: its body with the body's hash, one table row a line."""
    digest = hashlib.sha256(canonical(body).encode()).hexdigest()
    rows = body["table"]["rows"]
    text = json.dumps({**body, "table": {**body["table"], "rows": "@"}, "sha256": digest}, indent=1)
    lines = ",\n".join("   " + json.dumps(row) for row in rows)
    return text.replace('"@"', f"[\n{lines}\n  ]" if rows else "[]") + "\n"


def unseal(body: dict) -> dict:
    """The body of a record's parsed text; Damaged where its hash does not fit."""
    if not isinstance(body, dict):
        raise Damaged("it is not a JSON object")
    digest = body.pop("sha256", None)
    if digest != hashlib.sha256(canonical(body).encode()).hexdigest():
        raise Damaged("its content does not fit its hash")
    return body


def read(file: Path) -> Record:
    """Read and verify a record; raises Damaged."""
    try:
        body = unseal(json.loads(file.read_text()))
    except ValueError as error:
        raise Damaged(f"not a record: {error}") from error
    companion = file.parent / body["companion"] if body["companion"] else None
    if companion is not None:
        if not companion.is_file():
            raise Damaged(f"its tensors {companion.name} are missing")
        if hashlib.sha256(companion.read_bytes()).hexdigest()[:20] != companion.stem:
            raise Damaged(f"its tensors {companion.name} are not the ones it names")
    return from_body(body, file.stem, companion)


def from_body(body: dict, key: str, companion: Path | None = None) -> Record:
    """The record of a verified body."""
    about = {name: value for name, value in body.items() if name not in ("table", "parameters", "companion")}
    return Record(key, body["parameters"], body["table"]["columns"], body["table"]["rows"], about, companion)


def to_plain(table: pd.DataFrame) -> dict:
    """Columns and rows of a table; floats keep seven digits, which is what float32 holds; NaN becomes null."""
    def cell(value):
        if isinstance(value, float):
            return None if value != value else float(f"{value:.7g}")
        return value
    plain = [[cell(value) for value in row] for row in table.astype(object).values.tolist()]
    return {"columns": list(table.columns), "rows": plain}


def write(file: Path, content: bytes) -> None:
    """Write a file so that it is whole, or not there, at any moment."""
    temporary = _temporary(file.parent)
    temporary.write_bytes(content)
    _flush(temporary)
    os.replace(temporary, file)


def _temporary(folder: Path) -> Path:
    """A file name that no other writer uses: process numbers repeat between containers and between machines."""
    return folder / f"{uuid.uuid4().hex}.tmp"


def _flush(file: Path) -> None:
    with open(file, "rb") as handle:
        os.fsync(handle.fileno())


def _remove_leftovers(folder: Path) -> None:
    """Remove temporary files of killed runs: those older than an hour, so not those of runs beside this one."""
    for leftover in folder.glob("*.tmp"):
        try:
            if time.time() - leftover.stat().st_mtime > 3600:
                leftover.unlink()
        except FileNotFoundError:   # another run removed it first
            continue
