"""What a test of a claim measures: its cells, each an estimate from the rows that the test selects."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import NamedTuple

import numpy as np
import pandas as pd

from lab.core import ranks
from lab.core.estimates import Estimate, of_seeds, of_two_groups, of_units
from lab.core.selections import Selections


class Cell(NamedTuple):
    """One cell of a test, and how it lies to the claim."""

    name: tuple
    estimate: Estimate
    p: float                #: Of the test against the side that the mean lies on.
    for_claim: bool         #: Whether that side is the claim's.
    distance: float         #: From the mean to the claim's bound.
    saturated: bool         #: Both sides have one and the same value in every unit, so the score is at its end.
    seconds: Callable[[], float]    #: What one more unit costs, by the records; 0 where these do not say.


class Measured(NamedTuple):
    """The cells of a test, and the names of those that it asks for and the records lack."""

    cells: list[Cell]
    missing: list[tuple]


def measure(test: dict, table: pd.DataFrame, seconds: Callable[[], Mapping[str, float]] = dict,
            codes: dict | None = None) -> Measured:
    """The cells of a test in a tidy frame of records: :func:`lab.evidence.evaluate` says what these are."""
    asked = Selections(table, _column(table, test["column"]), codes)
    chosen = asked.select(asked.everything(), test.get("among", {}))
    groups = asked.groups(chosen, test["each"]) if test.get("each") else [("", chosen)]
    cells, missing = [], []
    for name, rows in groups:
        alike = [_units(test, asked, part) for part in _parts(test, asked, rows)]
        for value, variant in _variants(test):
            names = (*value, *(name if isinstance(name, tuple) else (name,)))
            sides = [asked.select(rows, side) for side in _selections(variant)]
            if estimate := _estimate(variant, asked, sides, alike):
                cells.append(_cell(names, variant, estimate, _saturated(variant, asked, sides),
                                   partial(_seconds, variant, asked, sides, seconds)))
            elif "where" not in test:       # which may leave out a whole group on purpose
                missing.append(names)
    return Measured(cells, missing)


def _cell(name: tuple, test: dict, estimate: Estimate, saturated: bool, seconds: Callable) -> Cell:
    mean = estimate.mean
    if "within" in test:
        margin = test["within"]
        inside = abs(mean) < margin
        p = estimate.equivalence(margin) if inside else estimate.two_sided(margin if mean > 0 else -margin)
        return Cell(name, estimate, p, inside, abs(abs(mean) - margin), saturated, seconds)
    bound = test.get("below", test.get("above", test.get("margin", 0.0)))
    for_claim = (-1 if "below" in test else 1) * (mean - bound) > 0
    if test.get("of") == "smallest":        # a rule without exceptions: one value decides
        return Cell(name, estimate, 0.0, for_claim, 1.0, saturated, seconds)
    return Cell(name, estimate, estimate.two_sided(bound), for_claim, abs(mean - bound), saturated, seconds)


def _column(table: pd.DataFrame, column: str) -> np.ndarray:
    """The values of a column, which for "a - b" are the differences of columns a and b."""
    first, minus, second = column.partition(" - ")
    values = table[first].to_numpy(float)
    return values - table[second].to_numpy(float) if minus else values


def _variants(test: dict) -> list[tuple[tuple, dict]]:
    """The test itself; or one for each pair of `between`, or for each value that fills a selection by `one_of`."""
    if isinstance(test.get("between"), dict):
        return [((name,), {**test, "between": pair}) for name, pair in test["between"].items()]
    if "one_of" not in test:
        return [((), test)]
    (column, values), = test["one_of"].items()
    open_side = next(side for side in ("where", "smaller", "larger") if side in test and column not in test[side])
    return [((value,), {**test, open_side: {**test[open_side], column: value}}) for value in values]


def _selections(test: dict) -> list[dict]:
    """The one selection whose values are tested, or the two whose difference is."""
    if "where" in test:
        return [test["where"]]
    return test["between"] if "between" in test else [test["larger"], test["smaller"]]


def _estimate(test: dict, asked: Selections, sides: list[np.ndarray], alike: list[np.ndarray]) -> Estimate | None:
    """The mean that is tested; None where the records have no unit of it."""
    over = test.get("over", "image")
    if test.get("of") == "smallest":
        values = asked.values[sides[0]]
        return Estimate(float(values.min()), 0.0, 1, len(values), 0.0) if len(values) else None
    if "ranks" in test:
        parts = [asked.table.iloc[rows].assign(value=asked.values[rows]) for rows in sides]
        return ranks.of_orders(*ranks.matrices(parts, test["ranks"], over, "value"))
    if "nested" in test:        # each training's images are images of that training
        units = (over, test["nested"])
        values = _difference([asked.units(rows, units) for rows in sides], test)
        kept = ~np.isnan(values)
        return of_seeds(values[kept], asked.coarse(units, over)[kept]) if kept.any() else None
    numbers = [asked.units(rows, over, test.get("of", "mean")) for rows in sides]
    values = _difference(numbers, test)
    values = values[~np.isnan(values)]
    if not len(values):         # a group may hold no row that the test selects
        return None
    pooled = of_two_groups(*(one[~np.isnan(one)] for one in numbers), alike) if alike else None
    return pooled or of_units(values)


def _difference(numbers: list[np.ndarray], test: dict) -> np.ndarray:
    return numbers[0] if len(numbers) == 1 else numbers[0] - test.get("times", 1) * numbers[1]


def _parts(test: dict, asked: Selections, rows: np.ndarray) -> list[np.ndarray]:
    """The rows of each value of the column over which the test pools variances; none where it pools nothing."""
    if "pooled" not in test:
        return []
    return [asked.select(rows, {test["pooled"]: [value]}) for value in asked.distinct(rows, test["pooled"])]


def _units(test: dict, asked: Selections, rows: np.ndarray) -> np.ndarray:
    values = asked.units(rows, test["over"])
    return values[~np.isnan(values)]


def _saturated(test: dict, asked: Selections, sides: list[np.ndarray]) -> bool:
    values = asked.values[np.concatenate(sides)]
    values = values[~np.isnan(values)]
    if "where" in test and test.get("above") != 0:      # not a gain, or a difference of two scores
        return False
    return len(values) > len(sides) and bool((values == (0 if "where" in test else values[0])).all())


def _seconds(test: dict, asked: Selections, sides: list[np.ndarray], seconds: Callable) -> float:
    """The seconds of all records that a unit of each side needs, shared by the units that they have."""
    took = seconds()
    if not took or "record" not in asked:
        return 0.0
    total, counted = 0.0, set()
    for rows in sides:
        records = set(asked.distinct(rows, "record")) - counted
        counted |= records
        units = asked.distinct(rows, test.get("over", "image"))
        total += sum(took[record] for record in records) / max(1, len(units))
    return total
