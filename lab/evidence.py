"""What records say of a claim: its cells, each with an interval and a side, and the direction they point to."""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import pandas as pd

from lab.claim_cells import Cell, measure
from lab.core.statistics import deciding, holm

HOLDS, CONTRADICTED, MIXED, UNDECIDED = "holds", "contradicted", "mixed", "undecided"
SATURATED, UNTESTED = "saturated", "not tested here"
LEVEL = 0.05        # of a claim as a whole: its cells are held to it together, by Holm's procedure
LABEL_KEPT = ("found", "kept")      # columns that say whether a perturbed image kept its label
_MOST = 10_000      # a number of images or trainings beyond which no one would go


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
    lost: str = ""      #: The same with the images that lost their label.
    missing: str = ""   #: What the test asks for and no record has.
    tells: str = ""     #: "cannot tell", "tells in part" or "a theorem", where another outcome was hardly possible.


def evaluate(test: dict, table: pd.DataFrame, paper: dict[str, float] | None = None, *, unit: str = "",
             seconds: Callable[[], Mapping[str, float]] = dict, codes: dict | None = None) -> Verdict:
    """Apply a test to a tidy frame of records.

    `paper` has the paper's numbers of cells, by the cells' names; `unit` is the plural of what is called an image;
    `seconds()` are those of each record, by its key; `codes` keeps what tests of one table share, empty at first.

    A test names a `column`, or a difference of two ("a - b"), and selects rows; one interval is computed for each
    value of the column `each`:

    * `where` with `below` or `above`: the mean lies on that side of the number. With `of` "smallest" every value
      has to, which needs no interval.
    * `larger` and `smaller`: the paired difference of two selections, the second `times` a number, is above zero (or
      `margin`).
    * `between` (two selections, or such pairs by name) with `within`: the paired difference lies inside the tolerance,
      by two one-sided tests.
    * `between` with `ranks` "method" and `below` or `above`: the order of methods that the means of one selection give
      has a rank correlation with that of the other on that side of the number; images are drawn for both at once.

    `among` restricts the frame first. `one_of` {column: values} fills that column in the first selection that lacks it,
    with one cell for each value. Values are paired and averaged `over` images, or over trainings ("seed"). An image or
    seed with several values counts by their mean, or with `of` by their "range" or standard "deviation"; `over` may
    then be several columns, whose combinations are the units.

    Intervals and tests are Student's. With `nested` "image", a seed has images of its own, paired within it, and both
    are resampled. With `pooled` "estimator", groups of that column share one variance where Levene's test allows.

    A cell is for or against the claim where its test says so at 5 % of the whole family of cells that could differ. The
    claim **holds** where all cells are for it; it is **contradicted** where most are against, or some are and none is
    for it; **mixed** where some are for and some against; **undecided** where none is against and some are open;
    **saturated** where no cell could differ. Selections by a column of `LABEL_KEPT` leave out the images whose label
    was lost; `lost` says what the same test gives with them.
    """
    codes = {} if codes is None else codes
    cells, missing = measure(test, table, seconds, codes)
    if not cells:
        return Verdict(UNTESTED, reason="the records hold no such cells")
    sides = _sides(cells)
    return Verdict(_direction(cells, sides), _listed(cells, lambda cell: f"{cell.estimate.mean:.3g}"),
                   _listed(cells, lambda cell: _ends(cell, " to ")), "", _with_counts(test, cells, sides, unit),
                   support=_support(cells, sides), size=_size(cells, paper or {}),
                   lost=_with_lost(test, table, cells, unit, codes), missing=_missing(missing))


def _sides(cells: list[Cell]) -> list[int]:
    """+1 where a cell is for the claim, -1 where it is against, 0 where it is open, all at one level together."""
    adjusted = iter(holm([cell.p for cell in cells if not cell.saturated]))
    return [0 if cell.saturated or next(adjusted) >= LEVEL else 1 if cell.for_claim else -1 for cell in cells]


def _direction(cells: list[Cell], sides: list[int]) -> str:
    if all(cell.saturated for cell in cells):
        return SATURATED
    if all(side > 0 for side in sides):
        return HOLDS
    in_favour, against = sides.count(1), sides.count(-1)
    if against and (against > len(sides) / 2 or not in_favour):
        return CONTRADICTED
    return MIXED if against else UNDECIDED


def _support(cells: list[Cell], sides: list[int]) -> str:
    saturated = sum(cell.saturated for cell in cells)
    return (f"{len(sides)} cell{'s' if len(sides) > 1 else ''}: {sides.count(1)} for, {sides.count(-1)} against"
            + (f", {saturated} saturated" if saturated else ""))


def _size(cells: list[Cell], paper: dict[str, float]) -> str:
    """How many of the paper's numbers lie in our intervals; of the others, how many times theirs ours are."""
    named = {_name(cell.name): cell.estimate for cell in cells}
    paper = {name: value for name, value in paper.items() if name in named}     # a smaller scale lacks some cells
    outside = []
    for name, value in paper.items():
        low, high = named[name].interval()
        if not low <= value <= high:
            outside.append(f"{name}: {_factor(named[name].mean, value)}".removeprefix(": "))
    inside = f"{len(paper) - len(outside)} of {len(paper)} numbers of the paper in our interval"
    return "; ".join([inside, *outside]) if paper else ""


def _factor(ours: float, theirs: float) -> str:
    """How ours compares to a number outside our interval; a factor says nothing of numbers about zero."""
    if ours * theirs <= 0:
        return f"ours {ours:.2g}, theirs {theirs:.2g}"
    return f"ours {ours / theirs:.2g} times theirs"


def _with_lost(test: dict, table: pd.DataFrame, cells: list[Cell], unit: str, codes: dict) -> str:
    """The cells that differ where images count whose label was lost, and how many cells would then be for the claim."""
    everyone = _regardless(test)
    if everyone == test:
        return ""
    others = measure(everyone, table, codes=codes).cells
    counted = {cell.name: cell.estimate.n for cell in cells}
    changed = [cell for cell in others if counted.get(cell.name) != cell.estimate.n]
    unit = unit or _units(test)
    text = [f"{_name(cell.name)}: {_shown(cell)}, n = {cell.estimate.n} {unit}".removeprefix(": ") for cell in changed]
    return "; ".join([f"with those that lost their label: {_support(others, _sides(others))}", *text]) if text else ""


def _regardless(selection):
    """A test, or a part of one, without its conditions on labels."""
    if isinstance(selection, dict):
        return {name: _regardless(part) for name, part in selection.items() if name not in LABEL_KEPT}
    return [_regardless(part) for part in selection] if isinstance(selection, list) else selection


def _with_counts(test: dict, cells: list[Cell], sides: list[int], unit: str) -> str:
    """Means and intervals, on how many units each stands, once if all have as many; and how many would decide an open
    cell and in what time, or that it cannot be decided."""
    unit, same_n = unit or _units(test), len({cell.estimate.n for cell in cells}) == 1
    counted = test.get("of") != "smallest"
    tests = sum(not cell.saturated for cell in cells)

    def text(cell: Cell, side: int) -> str:
        shown = _shown(cell) + (f", n = {cell.estimate.n} {unit}" if counted and not same_n else "")
        if cell.saturated:
            return f"{shown} (saturated)"
        return shown if side else f"{shown} (open, {_wanted(cell, tests, unit)})"

    texts = iter([text(cell, side) for cell, side in zip(cells, sides)])
    shared = f"; n = {cells[0].estimate.n} {unit}" if counted and same_n else ""
    return _listed(cells, lambda cell: next(texts)) + shared


def _wanted(cell: Cell, tests: int, unit: str) -> str:
    """How many units would decide an open cell with a power of 80 %, and the time that the further ones take."""
    # At the level of the first of Holm's steps, and no fewer than there are: those did not decide.
    enough = max(cell.estimate.n + 1, deciding(cell.estimate.spread, cell.distance, LEVEL / tests))
    count = f"about {enough:,.0f}" if enough <= _MOST else f"more than {_MOST:,}"
    hours = (min(enough, _MOST) - cell.estimate.n) * cell.seconds() / 3600
    shown = f"{hours:,.0f}" if hours >= 10 else f"{max(hours, 0.01):.2g}"
    time = f", {'' if enough <= _MOST else 'over '}{shown} h more," if hours else ""
    return f"{count} {unit}{time} would decide"


def _units(test: dict) -> str:
    over = test.get("over", "image")
    return f"{over}s" if isinstance(over, str) else "groups of trainings"


def _missing(names: list[tuple]) -> str:
    """What is missing, named without numbers, such as fractions, where these are not all there is."""
    return "; ".join(dict.fromkeys(_name([part for part in name if isinstance(part, str)]) or _name(name)
                                   for name in names))


def _shown(cell: Cell) -> str:
    return f"{cell.estimate.mean:.3g} [{_ends(cell, ', ')}]"


def _ends(cell: Cell, between: str) -> str:
    return between.join(f"{end:.3g}" for end in cell.estimate.interval())


def _listed(cells: list[Cell], text: Callable[[Cell], str]) -> str:
    return "; ".join(f"{_name(cell.name)}: {text(cell)}".removeprefix(": ") for cell in cells)


def _name(name) -> str:
    return " ".join(str(part) for part in name if part != "").replace("_", " ")
