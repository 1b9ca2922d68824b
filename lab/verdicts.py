"""Claims of the papers and their verdicts: computed from records, never typed."""

from collections.abc import Callable
from functools import cache
from typing import NamedTuple

import numpy as np
import pandas as pd

from lab import catalogue
from lab.core import folders, results
from lab.core.frames import select
from lab.core.profiles import PROFILES, read_yaml
from lab.core.selections import Selections
from lab.core.statistics import bootstrap, student
from lab.core.store import Store

REPRODUCED, PARTLY, REFUTED, UNTESTED = "reproduced", "partly", "not reproduced", "not tested here"


class Cell(NamedTuple):
    """What a test measures in one cell: `n` images or seeds stand behind the interval."""

    name: tuple
    mean: float
    interval: tuple[float, float]
    n: int


class Verdict(NamedTuple):
    """What the records say of a claim: one interval a cell, the verdict over all, and how many support it."""

    verdict: str
    measured: str = ""
    interval: str = ""
    reason: str = ""
    measured_with_interval: str = ""
    scale: str = ""
    support: str = ""


def load() -> list[dict]:
    """All claims of `claims/*.yaml`; ValueError names a claim that lacks an entry."""
    claims = [claim for file in sorted(folders.CLAIMS.glob("*.yaml")) for claim in read_yaml(file)]
    for claim in claims:
        lacking = {"id", "paper", "statement", "figure", "reported", "experiment", "test", "scale"} - claim.keys()
        if lacking and "untested" not in claim:
            raise ValueError(f"The claim {claim.get('id', claim)} lacks {', '.join(sorted(lacking))}.")
    return claims


def ledger(profile: str, store: Store | None = None) -> pd.DataFrame:
    """One row a claim: id, paper, statement, figure, reported, and what :class:`Verdict` says of it."""
    store, rows = store or Store(), []

    @cache      # many claims look at the same records
    def known(experiment: str, scale: str) -> results.Measured:
        return results.known(catalogue.experiment(experiment), scale, store if scale == profile else None)

    for claim in load():
        judged = judge(claim, profile, known)
        shown = {name: claim.get(name, "") for name in ("id", "paper", "statement", "figure", "reported")}
        chapter = catalogue.experiment(claim["experiment"]).notebook if "experiment" in claim else ""
        rows.append({**shown, **judged._asdict(), "chapter": chapter or ""})
    return pd.DataFrame(rows)


def judge(claim: dict, profile: str, known: Callable[[str, str], results.Measured]) -> Verdict:
    """The verdict on one claim, at the largest scale that has records for it.

    `known(experiment, scale)` gives them: at `profile` the store's and the published ones, at larger scales the
    published ones alone. Scales may share cells; one whose records are a part of a smaller scale's is passed over.
    """
    if "untested" in claim:
        return Verdict(UNTESTED, reason=claim["untested"], scale="no")
    experiment, lowest = claim["experiment"], PROFILES.index(profile)
    scales = PROFILES[lowest:]
    measured = [known(experiment, scale) for scale in scales]
    for place, scale in reversed(list(enumerate(scales))):
        table, found = measured[place]
        if any(found < smaller.found for smaller in measured[:place]):
            continue
        verdict = evaluate(claim["test"], table) if len(table) else Verdict(UNTESTED)
        if verdict.verdict == UNTESTED:
            continue
        if PROFILES.index(scale) < PROFILES.index(claim["scale"]):
            reason = f"needs the {claim['scale']} scale; for comparison, at the {scale} scale: "
            return Verdict(UNTESTED, reason=reason + verdict.measured_with_interval, scale=scale)
        return verdict._replace(scale=scale, measured_with_interval=verdict.measured_with_interval + _so_far(table))
    return Verdict(UNTESTED, reason=f"no records of {experiment} at the {profile} scale hold it", scale=profile)


def _so_far(table: pd.DataFrame) -> str:
    """A note where the scale's records are not complete yet."""
    done, cells = table.attrs["done"], table.attrs["cells"]
    return "" if done == cells else f"; so far {done} of {cells} cells"


def evaluate(test: dict, table: pd.DataFrame) -> Verdict:
    """Apply a test to a tidy frame of records.

    A test names a `column`, or a difference of two ("a - b"), and the cells it looks at; one interval is made for
    each value of `each`:

    * `where` with `below` or `above`: the mean lies on that side of the number. With `of` "smallest" every value
      has to, which needs no interval.
    * `larger` and `smaller`: the paired difference of two selections is above zero (or `margin`).
    * `between` (two selections) with `within`: the paired difference lies inside the tolerance.

    `among` narrows the frame first. `one_of` {column: values} completes the selection that leaves the column open,
    one cell a value. Values are paired and resampled `over` images, or over trainings ("seed"), which are few: then
    the interval is Student's, its number of seeds shown, and a difference of two selections is first paired by image
    where the records have images. Of several values an image or seed the mean counts, or with `of` their "range" or
    standard "deviation"; `over` may then be several columns, whose combinations are the units.
    """
    table = select(_with_column(_needed(test, table), test["column"]), **test.get("among", {}))
    asked = Selections(table, test["column"])
    groups = asked.groups(test["each"]) if test.get("each") else [("", asked.everything())]
    interval = bootstrap if test.get("over", "image") == "image" else student
    cells = []
    for name, group in groups:
        for value, one in _ones(test):
            differences = _differences(one, asked, group)
            if differences.size:   # a group may hold only cells the test does not look at
                names = (*value, *(name if isinstance(name, tuple) else (name,)))
                cells.append(Cell(names, differences.mean(), interval(differences), len(differences)))
    if not cells:
        return Verdict(UNTESTED, reason="the records hold no such cells")
    sides = [_side(test, cell.interval) for cell in cells]
    if all(side > 0 for side in sides):
        verdict = REPRODUCED
    else:
        verdict = REFUTED if sum(side < 0 for side in sides) > len(sides) / 2 else PARTLY
    return Verdict(verdict, _listed(cells, lambda cell: f"{cell.mean:.3g}"),
                   _listed(cells, lambda cell: f"{cell.interval[0]:.3g} to {cell.interval[1]:.3g}"), "",
                   _with_trainings(test, cells),
                   support=f"{len(sides)} cell{'s' if len(sides) > 1 else ''}: "
                           f"{sides.count(1)} for, {sides.count(-1)} against")


def _needed(test: dict, table: pd.DataFrame) -> pd.DataFrame:
    """The columns that a test looks at: records of LENS have eighty, and every selection copies all there are, and what
    the table says of itself."""
    sides = [test[name] for name in ("where", "larger", "smaller", "among", "one_of") if name in test]
    named = {"image", "seed", *test["column"].split(" - ")}
    named |= {name for side in [*sides, *test.get("between", [])] for name in side}
    for columns in (test.get("each", []), test.get("over", [])):
        named |= {columns} if isinstance(columns, str) else set(columns)
    part = table[[name for name in table.columns if name in named]]
    part.attrs = {}
    return part


def _with_column(table: pd.DataFrame, column: str) -> pd.DataFrame:
    """The table with a column of that name; "a - b" is the difference of two that it has."""
    first, minus, second = column.partition(" - ")
    return table.assign(**{column: table[first].astype(float) - table[second].astype(float)}) if minus else table


def _with_trainings(test: dict, cells: list[Cell]) -> str:
    """Means and intervals; where they are not over images, how many units each stands on, once if all have as many."""
    over, counts = test.get("over", "image"), {cell.n for cell in cells}
    unit = f"{over}s" if isinstance(over, str) else "groups of trainings"
    alike = over == "image" or len(counts) == 1

    def text(cell: Cell) -> str:
        low, high = cell.interval
        return f"{cell.mean:.3g} [{low:.3g}, {high:.3g}]" + ("" if alike else f", n = {cell.n} {unit}")

    return _listed(cells, text) + (f"; n = {cells[0].n} {unit}" if alike and over != "image" else "")


def _ones(test: dict) -> list[tuple[tuple, dict]]:
    """The test as it is; with `one_of`, one test a value, put where a selection leaves its column open."""
    if "one_of" not in test:
        return [((), test)]
    (column, values), = test["one_of"].items()
    open_side = next(side for side in ("where", "smaller", "larger") if side in test and column not in test[side])
    return [((value,), {**test, open_side: {**test[open_side], column: value}}) for value in values]


def _differences(test: dict, asked: Selections, group: np.ndarray) -> np.ndarray:
    """The numbers whose mean is judged: values of a selection, or paired differences of two."""
    over, of = test.get("over", "image"), test.get("of", "mean")
    if "where" in test:
        rows = asked.select(group, test["where"])
        if of == "smallest":
            return np.sort(asked.values[rows])[:1]
        values = asked.units(rows, over, of)
        return values[~np.isnan(values)]
    sides = test["between"] if "between" in test else (test["larger"], test["smaller"])
    one, other = (asked.select(group, side) for side in sides)
    if "image" in asked and over == "seed" and of == "mean":
        # Of trainings that were judged by images, too, the images that both sides have are compared first.
        units = ("seed", "image")
        return asked.means(asked.units(one, units) - asked.units(other, units), units, "seed")
    values = asked.units(one, over, of) - asked.units(other, over, of)
    return values[~np.isnan(values)]


def _side(test: dict, interval: tuple[float, float]) -> int:
    """+1 where the interval lies on the claim's side, -1 on the other, 0 where it is open."""
    low, high = interval
    if "within" in test:
        inside, outside = max(abs(low), abs(high)) <= test["within"], min(abs(low), abs(high)) > test["within"]
        return 1 if inside else -1 if outside and low * high > 0 else 0
    bound = test.get("below", test.get("above", test.get("margin", 0.0)))
    for_claim, against = (high < bound, low > bound) if "below" in test else (low > bound, high < bound)
    return 1 if for_claim else -1 if against else 0


def _listed(cells: list[Cell], text: Callable[[Cell], str]) -> str:
    return "; ".join((" ".join(map(str, cell.name)).replace("_", " ") + ": " if any(cell.name) else "") + text(cell)
                     for cell in cells)
