"""What records say of a claim: its cells, each with an interval and a side, and the direction they point to."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import pandas as pd

from lab.core.frames import select
from lab.core.selections import Selections
from lab.core.statistics import deciding, equivalence, holm, student, two_sided

HOLDS, CONTRADICTED, MIXED, UNDECIDED = "holds", "contradicted", "mixed", "undecided"
SATURATED, UNTESTED = "saturated", "not tested here"
LEVEL = 0.05        # of a claim as a whole: its cells are held to it together, by Holm's procedure
_MOST = 10_000      # a number of images or trainings beyond which no one would go


class Cell(NamedTuple):
    """What a test measures in one cell; the interval is over `n` images or seeds."""

    name: tuple
    mean: float
    interval: tuple[float, float]
    n: int
    p: float            #: p of the test against the side that the mean lies on.
    for_claim: bool     #: Whether that side is the claim's.
    spread: float       #: Standard deviation over images or seeds.
    distance: float     #: From the mean to the claim's bound.
    saturated: bool = False     #: Both sides have one and the same value in every unit, so the score is at its end.


class Verdict(NamedTuple):
    """What the records say of a claim: the direction, an interval for each cell, and how many cells support it."""

    verdict: str
    measured: str = ""
    interval: str = ""
    reason: str = ""
    measured_with_interval: str = ""
    scale: str = ""
    support: str = ""
    caveat: str = ""    #: What the test cannot tell.
    size: str = ""      #: How many of the paper's numbers of these cells lie in our intervals, and the others.


def evaluate(test: dict, table: pd.DataFrame, paper: dict[str, float] | None = None) -> Verdict:
    """Apply a test to a tidy frame of records; `paper` has the paper's numbers of cells, by the cells' names.

    A test names a `column`, or a difference of two ("a - b"), and selects rows; one interval is computed for each
    value of the column `each`:

    * `where` with `below` or `above`: the mean lies on that side of the number. With `of` "smallest" every value
      has to, which needs no interval.
    * `larger` and `smaller`: the paired difference of two selections is above zero (or `margin`).
    * `between` (two selections) with `within`: the paired difference lies inside the tolerance, by two one-sided tests.

    `among` restricts the frame first. `one_of` {column: values} fills that column in the first selection that lacks it,
    with one cell for each value. Values are paired and averaged `over` images, or over trainings ("seed"), and a
    difference of two selections over trainings is first paired by image where the records have images. An image or seed
    with several values counts by their mean, or with `of` by their "range" or standard "deviation"; `over` may then be
    several columns, whose combinations are the units. Intervals and tests are Student's.

    A cell is for or against the claim where its test says so at 5 % of the whole family of cells. The claim **holds**
    where all cells are for it; it is **contradicted** where most are against, or some are and none is for it; **mixed**
    where some are for and some against; **undecided** where none is against and some are open; **saturated** where no
    cell could differ.
    """
    cells = _cells(test, table)
    if not cells:
        return Verdict(UNTESTED, reason="the records hold no such cells")
    sides = _sides(cells)
    return Verdict(_direction(cells, sides), _listed(cells, lambda cell: f"{cell.mean:.3g}"),
                   _listed(cells, lambda cell: f"{cell.interval[0]:.3g} to {cell.interval[1]:.3g}"), "",
                   _with_counts(test, cells, sides),
                   support=f"{len(sides)} cell{'s' if len(sides) > 1 else ''}: "
                           f"{sides.count(1)} for, {sides.count(-1)} against", size=_size(cells, paper or {}))


def _cells(test: dict, table: pd.DataFrame) -> list[Cell]:
    table = select(_with_column(_needed(test, table), test["column"]), **test.get("among", {}))
    asked = Selections(table, test["column"])
    groups = asked.groups(test["each"]) if test.get("each") else [("", asked.everything())]
    cells = []
    for name, group in groups:
        for value, variant in _variants(test):
            values, saturated = _values(variant, asked, group)
            if values.size:     # a group may hold no row that the test selects
                names = (*value, *(name if isinstance(name, tuple) else (name,)))
                cells.append(_cell(names, test, values)._replace(saturated=saturated))
    return cells


def _cell(name: tuple, test: dict, values: np.ndarray) -> Cell:
    mean, spread = float(values.mean()), float(values.std(ddof=1)) if len(values) > 1 else np.inf
    if "within" in test:
        margin = test["within"]
        distance, inside = abs(abs(mean) - margin), abs(mean) < margin
        p = equivalence(values, margin) if inside else two_sided(values, margin if mean > 0 else -margin)
        return Cell(name, mean, student(values), len(values), p, inside, spread, distance)
    bound = test.get("below", test.get("above", test.get("margin", 0.0)))
    toward = -1 if "below" in test else 1
    if test.get("of") == "smallest":        # a rule without exceptions: one value decides
        return Cell(name, mean, (mean, mean), 1, 0.0, toward * (mean - bound) > 0, 0.0, 1.0)
    return Cell(name, mean, student(values), len(values), two_sided(values, bound), toward * (mean - bound) > 0,
                spread, abs(mean - bound))


def _sides(cells: list[Cell]) -> list[int]:
    """+1 where a cell is for the claim, -1 where it is against, 0 where it is open, all at one level together."""
    adjusted = holm([cell.p for cell in cells])
    return [0 if cell.saturated or p >= LEVEL else 1 if cell.for_claim else -1 for cell, p in zip(cells, adjusted)]


def _direction(cells: list[Cell], sides: list[int]) -> str:
    if all(cell.saturated for cell in cells):
        return SATURATED
    if all(side > 0 for side in sides):
        return HOLDS
    in_favour, against = sides.count(1), sides.count(-1)
    if against and (against > len(sides) / 2 or not in_favour):
        return CONTRADICTED
    return MIXED if against else UNDECIDED


def _size(cells: list[Cell], paper: dict[str, float]) -> str:
    """How many of the paper's numbers lie in our intervals; of the others, how many times theirs ours are."""
    named = {_name(cell): cell for cell in cells}
    paper = {name: value for name, value in paper.items() if name in named}     # a smaller scale lacks some cells
    outside = [f"{name}: {_factor(named[name].mean, value)}".removeprefix(": ") for name, value in paper.items()
               if not named[name].interval[0] <= value <= named[name].interval[1]]
    inside = f"{len(paper) - len(outside)} of {len(paper)} numbers of the paper in our interval"
    return "; ".join([inside, *outside]) if paper else ""


def _factor(ours: float, theirs: float) -> str:
    """How ours compares to a number outside our interval; a factor says nothing of numbers about zero."""
    if ours * theirs <= 0:
        return f"ours {ours:.2g}, theirs {theirs:.2g}"
    return f"ours {ours / theirs:.2g} times theirs"


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


def _variants(test: dict) -> list[tuple[tuple, dict]]:
    """The test itself; with `one_of`, a test for each value, which fills the column in the selection that lacks it."""
    if "one_of" not in test:
        return [((), test)]
    (column, values), = test["one_of"].items()
    open_side = next(side for side in ("where", "smaller", "larger") if side in test and column not in test[side])
    return [((value,), {**test, open_side: {**test[open_side], column: value}}) for value in values]


def _values(test: dict, asked: Selections, group: np.ndarray) -> tuple[np.ndarray, bool]:
    """The numbers whose mean is tested, values of a selection or paired differences of two, and whether both sides of
    these have one and the same value everywhere."""
    over, of = test.get("over", "image"), test.get("of", "mean")
    if "where" in test:
        rows = asked.select(group, test["where"])
        if of == "smallest":
            return np.sort(asked.values[rows])[:1], False
        values = asked.units(rows, over, of)
        values = values[~np.isnan(values)]
        gain = test.get("above") == 0       # the column is a difference of two scores, or a gain
        return values, gain and len(values) > 1 and not values.any()
    sides = test["between"] if "between" in test else (test["larger"], test["smaller"])
    one, other = (asked.select(group, side) for side in sides)
    both = asked.values[np.concatenate([one, other])]
    saturated = len(both) > 2 and bool((both == both[0]).all())
    if "image" in asked and over == "seed" and of == "mean":
        # Where trainings were measured image by image, first compare the images that both sides have.
        units = ("seed", "image")
        return asked.means(asked.units(one, units) - asked.units(other, units), units, "seed"), saturated
    values = asked.units(one, over, of) - asked.units(other, over, of)
    return values[~np.isnan(values)], saturated


def _with_counts(test: dict, cells: list[Cell], sides: list[int]) -> str:
    """Means and intervals, on how many units each stands, once if all have as many; and how many would decide an open
    cell, or that it cannot be decided."""
    over, same_n = test.get("over", "image"), len({cell.n for cell in cells}) == 1
    unit = f"{over}s" if isinstance(over, str) else "groups of trainings"

    def text(cell: Cell, side: int) -> str:
        low, high = cell.interval
        shown = f"{cell.mean:.3g} [{low:.3g}, {high:.3g}]" + ("" if same_n else f", n = {cell.n} {unit}")
        if cell.saturated:
            return f"{shown} (saturated)"
        # At the level of the first of Holm's steps, and no fewer than there are: those did not decide.
        enough = max(cell.n + 1, deciding(cell.spread, cell.distance, LEVEL / len(cells)))
        wanted = f"about {enough:,.0f}" if enough <= _MOST else f"more than {_MOST:,}"
        return shown if side else f"{shown} (open, {wanted} {unit} would decide)"

    texts = iter([text(cell, side) for cell, side in zip(cells, sides)])
    whole = test.get("of") == "smallest" or not same_n
    return _listed(cells, lambda cell: next(texts)) + ("" if whole else f"; n = {cells[0].n} {unit}")


def _listed(cells: list[Cell], text: Callable[[Cell], str]) -> str:
    return "; ".join(f"{_name(cell)}: {text(cell)}".removeprefix(": ") for cell in cells)


def _name(cell: Cell) -> str:
    return " ".join(map(str, cell.name)).replace("_", " ")
