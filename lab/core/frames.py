"""Tidy frames of records, and selections of their rows."""

from collections.abc import Callable, Iterable, Sequence

import numpy as np
import pandas as pd

from lab.core.statistics import student
from lab.core.store import Record


def frame(records: Iterable[Record], further: Callable[[dict], dict] = lambda cell: {}) -> pd.DataFrame:
    """One tidy frame of records, with their parameters as columns and the key of its record in each row; empty without.

    `further` gives columns that follow from a cell's parameters. A measured column hides a parameter of the same
    name: `precision` is LENS precision where that was measured.
    """
    groups: dict[tuple, list[tuple[int, dict, Record]]] = {}     # of the same columns and parameters: one table at once
    for place, record in enumerate(records):
        values = {**record.parameters, **further(record.parameters)}
        names = tuple(name for name in values if name not in record.columns)
        groups.setdefault((tuple(record.columns), names), []).append((place, values, record))
    parts, order = [], []
    for (columns, names), members in groups.items():
        counts = [len(record.rows) for *_, record in members]
        part = pd.DataFrame([row for *_, record in members for row in record.rows], columns=list(columns))
        extra = {name: [_plain(values[name]) for _, values, _ in members] for name in names}
        extra["record"] = [record.key for *_, record in members]
        parts.append(part.assign(**{name: pd.Series(column).repeat(counts).array for name, column in extra.items()}))
        order.append(np.repeat([place for place, *_ in members], counts))
    if len(parts) < 2:
        return parts[0] if parts else pd.DataFrame()
    ordered = np.argsort(np.concatenate(order), kind="stable")
    return pd.concat(parts, ignore_index=True).iloc[ordered].reset_index(drop=True)


def _plain(value):
    """A parameter as a column holds it: lists and dictionaries as text."""
    return str(value) if isinstance(value, (list, dict)) else value


#: Places of a number among the positive values of its column.
PLACES = {"smallest": 0, "second smallest": 1, "second largest": -2, "largest": -1}


def select(table: pd.DataFrame, **where) -> pd.DataFrame:
    """Rows whose columns have the given values, or one of a list of them; a number may be a place, such as 'largest'.

    Places are counted in the whole table: where cells are missing, its largest value may not be that of the grid.
    An empty table, of which nothing was measured, has no rows of any kind.
    """
    chosen = np.ones(len(table), dtype=bool)
    for column, value in where.items() if len(table) else ():
        if isinstance(value, str) and value in PLACES:
            grid, place = sorted(table.loc[table[column] > 0, column].unique()), PLACES[value]
            value = grid[place] if -len(grid) <= place < len(grid) else []
        chosen &= table[column].isin(value if isinstance(value, list) else [value]).to_numpy()
    return table[chosen]


def intervals(table: pd.DataFrame, by: Sequence[str], columns: Sequence[str]) -> pd.DataFrame:
    """What a figure of means draws: for each group of rows and each column a row with how many values there are, their
    mean and Student's 95 % interval."""
    rows = []
    for place, group in table.groupby(list(by), sort=False):
        for metric in columns:
            values = group[metric].to_numpy(float)
            low, high = student(values)
            rows.append({**dict(zip(by, place)), "metric": metric, "n": len(values), "mean": values.mean(), "low": low,
                         "high": high})
    return pd.DataFrame(rows)
