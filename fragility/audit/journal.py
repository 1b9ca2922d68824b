"""What an audit has measured so far, in a file, so that one that was interrupted goes on where it was."""

import json
from pathlib import Path

import numpy as np

from fragility.audit.verdicts import Result

FILE = "measured.jsonl"


class Journal:
    """One line a group, method and criterion, written as it is measured; without a folder, in memory only.

    The first line names the audit: its fingerprint, and the plan that was made at its start. A file of another audit
    is begun anew.
    """

    def __init__(self, folder: Path | None, fingerprint: str):
        self.file, self.fingerprint, self.plan = folder and folder / FILE, fingerprint, None
        self.lines: dict[tuple[int, str, str], dict] = {}
        if self.file and self.file.exists():
            self._read(self.file)

    def _read(self, file: Path) -> None:
        lines = []
        for text in file.read_text(encoding="utf-8").splitlines():
            try:
                lines.append(dict(json.loads(text)))
            except (TypeError, ValueError):     # the line that an interruption cut, or a file of something else
                break
        if lines and lines[0].get("fingerprint") == self.fingerprint:
            self.plan = lines[0]["plan"]
            self.lines = {(line["group"], line["method"], line["criterion"]): line for line in lines[1:]}

    def begin(self, plan: dict) -> None:
        """Write the first line, and again what is known already."""
        self.plan = plan
        if self.file:
            self.file.parent.mkdir(parents=True, exist_ok=True)
            temporary = self.file.with_suffix(".new")
            temporary.write_text("".join(json.dumps(line) + "\n" for line in (
                {"fingerprint": self.fingerprint, "plan": plan}, *self.lines.values())), encoding="utf-8")
            temporary.replace(self.file)

    def __contains__(self, key: tuple[int, str, str]) -> bool:
        return key in self.lines

    def add(self, group: int, method: str, criterion: str, entry: dict) -> None:
        """Keep what was measured of a group; `entry` holds lists of numbers, or the reason of a refusal."""
        line = {"group": group, "method": method, "criterion": criterion, **entry}
        self.lines[group, method, criterion] = line
        if self.file:
            with self.file.open("a", encoding="utf-8") as file:
                file.write(json.dumps(line) + "\n")

    def result(self, method: str, criterion: str) -> Result:
        """All groups of a method and criterion as one result; a refusal of one group is one of all."""
        lines = [self.lines[key] for key in sorted(self.lines) if key[1:] == (method, criterion)]
        lines = [line for line in lines if line.get("refused") or line["images"]]
        refused = next((line["refused"] for line in lines if line.get("refused")), None)
        if refused or not lines:
            return Result(method, criterion, refused=refused or "It was not measured.")
        joined = {name: np.concatenate([np.asarray(line[name]) for line in lines])
                  for name in ("images", "score", "undefined")}
        return Result(method, criterion, joined["images"].astype(int), joined["score"].astype(float),
                      _joined(lines, "controls"), _joined(lines, "details"), joined["undefined"].astype(bool),
                      sum(line["seconds"] for line in lines))


def _joined(lines: list[dict], part: str) -> dict[str, np.ndarray]:
    """Columns of all lines; where a line lacks one, its images have NaN there."""
    columns = {}
    for name in dict.fromkeys(name for line in lines for name in line[part]):
        shape = next(np.shape(line[part][name])[1:] for line in lines if name in line[part])
        columns[name] = np.concatenate([np.asarray(line[part][name], dtype=float) if name in line[part] else
                                        np.full((len(line["images"]), *shape), np.nan) for line in lines])
    return columns
