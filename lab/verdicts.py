"""Claims of the papers and their verdicts, which are computed from records."""

from collections.abc import Callable
from functools import cache
from typing import NamedTuple

import numpy as np
import pandas as pd

from lab import catalogue
from lab.core import folders, results
from lab.core.profiles import PROFILES, read_yaml
from lab.core.statistics import bootstrap, student
from lab.core.store import Store

REPRODUCED, PARTLY, REFUTED, UNTESTED = "reproduced", "partly", "not reproduced", "not tested here"


class Cell(NamedTuple):
    """What a test measures in one cell; the interval is over `n` images or seeds."""

    name: tuple
    mean: float
    interval: tuple[float, float]
    n: int


class Verdict(NamedTuple):
    """What the records say of a claim: the verdict, an interval for each cell, and how many cells support it."""

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
    """One row a claim: id, paper, statement, figure, reported, and the fields of its :class:`Verdict`."""
    store, rows = store or Store(), []

    @cache      # many claims use the same records
    def measured_cells(experiment: str, scale: str) -> results.Measured:
        return results.measured_cells(catalogue.experiment(experiment), scale, store if scale == profile else None)

    for claim in load():
        verdict = judge(claim, profile, measured_cells)
        shown = {name: claim.get(name, "") for name in ("id", "paper", "statement", "figure", "reported")}
        chapter = catalogue.experiment(claim["experiment"]).notebook if "experiment" in claim else ""
        rows.append({**shown, **verdict._asdict(), "chapter": chapter or ""})
    return pd.DataFrame(rows)


def judge(claim: dict, profile: str, measured_cells: Callable[[str, str], results.Measured]) -> Verdict:
    """The verdict on one claim, at the largest scale that has records for it.

    `measured_cells(experiment, scale)` gives the records: at `profile` those of the store and the published ones, at
    larger scales the published ones alone. Scales may share cells: a scale whose records are all among those of a
    smaller scale, which has more, is passed over.
    """
    if "untested" in claim:
        return Verdict(UNTESTED, reason=claim["untested"], scale="no")
    experiment, lowest = claim["experiment"], PROFILES.index(profile)
    scales = PROFILES[lowest:]
    measured = [measured_cells(experiment, scale) for scale in scales]
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
        text = verdict.measured_with_interval + _progress_note(table)
        return verdict._replace(scale=scale, measured_with_interval=text)
    return Verdict(UNTESTED, reason=f"no records of {experiment} at the {profile} scale hold it", scale=profile)


def _progress_note(table: pd.DataFrame) -> str:
    """How many of the scale's cells have records, where some are missing."""
    done, cells = table.attrs["done"], table.attrs["cells"]
    return "" if done == cells else f"; so far {done} of {cells} cells"


def evaluate(test: dict, table: pd.DataFrame) -> Verdict:
    """Apply a test to a tidy frame of records.

    A test names a `column`, or a difference of two ("a - b"), and selects rows; one interval is computed for each
    value of the column `each`:

    * `where` with `below` or `above`: the mean lies on that side of the number. With `of` "smallest" every value
      has to, which needs no interval.
    * `larger` and `smaller`: the paired difference of two selections is above zero (or `margin`).
    * `between` (two selections) with `within`: the paired difference lies inside the tolerance.

    `among` restricts the frame first. `one_of` {column: values} fills that column in the first selection that lacks it,
    with one cell for each value. Values are paired and resampled `over` images, or over trainings ("seed"), which are
    few: then the interval is Student's, the number of seeds is shown, and a difference of two selections is first
    paired by image where the records have images. An image or seed with several values counts by their mean, or with
    `of` by their "range" or standard "deviation"; `over` may then be several columns, whose combinations are the units.
    """
    table = _select(_with_column(_needed(test, table), test["column"]), test.get("among", {}))
    groups = table.groupby(test["each"]) if test.get("each") else [("", table)]
    interval = bootstrap if test.get("over", "image") == "image" else student
    cells = []
    for name, group in groups:
        for value, variant in _variants(test):
            differences = _differences(variant, group)
            if differences.size:   # a group may hold no row that the test selects
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
    """The columns that a test uses, without the frame's `attrs`.

    Every selection copies all columns and `attrs`, and records of LENS have eighty columns.
    """
    selections = [test[name] for name in ("where", "larger", "smaller", "among", "one_of") if name in test]
    named = {"image", "seed", *test["column"].split(" - ")}
    named |= {name for selection in [*selections, *test.get("between", [])] for name in selection}
    for columns in (test.get("each", []), test.get("over", [])):
        named |= {columns} if isinstance(columns, str) else set(columns)
    part = table[[name for name in table.columns if name in named]]
    part.attrs = {}
    return part


def _with_column(table: pd.DataFrame, column: str) -> pd.DataFrame:
    """The table with a column of that name, which for "a - b" is the difference of its columns a and b."""
    first, minus, second = column.partition(" - ")
    return table.assign(**{column: table[first].astype(float) - table[second].astype(float)}) if minus else table


def _with_trainings(test: dict, cells: list[Cell]) -> str:
    """Means and intervals; where these are not over images, also the number of units, once if equal for all cells."""
    over, counts = test.get("over", "image"), {cell.n for cell in cells}
    unit = f"{over}s" if isinstance(over, str) else "groups of trainings"
    same_n = over == "image" or len(counts) == 1

    def text(cell: Cell) -> str:
        low, high = cell.interval
        return f"{cell.mean:.3g} [{low:.3g}, {high:.3g}]" + ("" if same_n else f", n = {cell.n} {unit}")

    return _listed(cells, text) + (f"; n = {cells[0].n} {unit}" if same_n and over != "image" else "")


def _variants(test: dict) -> list[tuple[tuple, dict]]:
    """The test itself; with `one_of`, a test for each value, which fills the column in the selection that lacks it."""
    if "one_of" not in test:
        return [((), test)]
    (column, values), = test["one_of"].items()
    open_side = next(side for side in ("where", "smaller", "larger") if side in test and column not in test[side])
    return [((value,), {**test, open_side: {**test[open_side], column: value}}) for value in values]


def _differences(test: dict, group: pd.DataFrame) -> np.ndarray:
    """The numbers whose mean is tested: values of a selection, or paired differences of two."""
    if "where" in test:
        rows = _select(group, test["where"])
        if test.get("of") == "smallest":
            return rows[test["column"]].nsmallest(1).to_numpy(float)
        return _units(test, rows).dropna().to_numpy(float)
    first, second = test["between"] if "between" in test else (test["larger"], test["smaller"])
    one, other = _select(group, first), _select(group, second)
    if "image" in group and test.get("over") == "seed" and "of" not in test:
        # Where trainings were measured image by image, first compare the images that both sides have.
        paired = {**test, "over": ["seed", "image"]}
        return (_units(paired, one) - _units(paired, other)).dropna().groupby("seed").mean().to_numpy(float)
    return (_units(test, one) - _units(test, other)).dropna().to_numpy(float)


_STATISTICS = {"mean": lambda values: values.mean(), "range": lambda values: values.max() - values.min(),
       "deviation": lambda values: values.std()}


def _units(test: dict, rows: pd.DataFrame) -> pd.Series:
    """One number for each unit that the test is over: an image, a seed or a combination."""
    return _STATISTICS[test.get("of", "mean")](rows.groupby(test.get("over", "image"))[test["column"]])


_PLACES = {"smallest": 0, "second smallest": 1, "second largest": -2, "largest": -1}


def _select(group: pd.DataFrame, where: dict) -> pd.DataFrame:
    """Rows whose columns have the given values; a number may be a place of `_PLACES`, such as 'largest'.

    Places are counted in the whole group: where cells are missing, its largest value may not be that of the grid.
    """
    chosen = np.ones(len(group), dtype=bool)
    for column, value in where.items():
        if isinstance(value, str) and value in _PLACES:
            grid, place = sorted(group.loc[group[column] > 0, column].unique()), _PLACES[value]
            value = grid[place] if -len(grid) <= place < len(grid) else []
        chosen &= group[column].isin(value if isinstance(value, list) else [value]).to_numpy()
    return group[chosen]


def _side(test: dict, interval: tuple[float, float]) -> int:
    """+1 where the interval lies on the claim's side, -1 where on the other, 0 where it covers the border."""
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
