"""Many selections of one table and the means of their units, as arrays: what every cell of a test asks for."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from lab.core.frames import PLACES


class Selections:
    """A table with values, one a row, asked again and again.

    Rows are given by their positions. Columns are coded once: a selection compares whole numbers. `codes` are those of
    other selections of the same table, and are added to.
    """

    def __init__(self, table: pd.DataFrame, values: np.ndarray, codes: dict | None = None):
        self.table, self.values = table, values
        self._coded: dict[tuple[str, ...], tuple[np.ndarray, pd.Index]] = {} if codes is None else codes

    def __contains__(self, column: str) -> bool:
        return column in self.table

    def everything(self) -> np.ndarray:
        return np.arange(len(self.table))

    def groups(self, rows: np.ndarray, columns: Sequence[str]) -> list[tuple[tuple, np.ndarray]]:
        """Those of the rows that have each combination of values, in the order of these."""
        coded = [self._codes(column) for column in columns]
        complete = rows[np.all([codes[rows] >= 0 for codes, _ in coded], axis=0)]
        sizes = [len(known) for _, known in coded]
        if not len(complete):
            return []
        numbers = np.ravel_multi_index([codes[complete] for codes, _ in coded], sizes)
        found = np.flatnonzero(np.bincount(numbers))
        return [(tuple(known[code] for (_, known), code in zip(coded, np.unravel_index(number, sizes))),
                 complete[numbers == number]) for number in found]

    def select(self, rows: np.ndarray, where: dict) -> np.ndarray:
        """Those of the rows whose columns have the given values, as :func:`lab.core.frames.select`."""
        chosen = np.ones(len(rows), dtype=bool)
        for column, value in where.items():
            codes, known = self._codes(column)
            codes = codes[rows]
            if isinstance(value, str) and value in PLACES:
                grid = [code for code in _present(codes) if known[code] > 0]      # codes are in order
                place = PLACES[value]
                wanted = [grid[place]] if -len(grid) <= place < len(grid) else []
            else:
                values = value if isinstance(value, list) else [value]
                wanted = [code for code, one in enumerate(known) if one in values]
            among = np.zeros(len(known) + 1, dtype=bool)       # the last place is that of missing values, -1
            among[wanted] = True
            chosen &= among[codes]
        return rows[chosen]

    def _codes(self, *columns: str) -> tuple[np.ndarray, pd.Index]:
        """A whole number for each row, in the order of the values, -1 where one is missing; and what it stands for."""
        if columns not in self._coded:
            if len(columns) == 1:
                self._coded[columns] = pd.factorize(self.table[columns[0]], sort=True)
            else:
                numbers = self.table.groupby(list(columns), sort=True).ngroup().fillna(-1).to_numpy(int)
                self._coded[columns] = numbers, pd.RangeIndex(numbers.max(initial=-1) + 1)
        return self._coded[columns]

    def units(self, rows: np.ndarray, over: str | Sequence[str], of: str = "mean") -> np.ndarray:
        """One number for each unit of the table, of the rows that it has of these: NaN where it has none.

        The unit is an image, a seed, or a combination of columns; the number is their "mean", "range" or standard
        "deviation".
        """
        codes, known = self._codes(*([over] if isinstance(over, str) else over))
        rows = rows[(codes[rows] >= 0) & ~np.isnan(self.values[rows])]
        codes, values, count = codes[rows], self.values[rows], len(known)
        if of == "mean":
            return _means(values, codes, count)
        found = pd.Series(values).groupby(codes)
        number = found.max() - found.min() if of == "range" else found.std()
        return number.reindex(range(count)).to_numpy()

    def coarse(self, units: Sequence[str], over: str) -> np.ndarray:
        """For each unit, as seed and image, the code of one of its columns, as seed."""
        fine, known = self._codes(*units)
        codes = np.full(len(known), -1)
        codes[fine[fine >= 0]] = self._codes(over)[0][fine >= 0]
        return codes

    def distinct(self, rows: np.ndarray, columns: str | Sequence[str]) -> list:
        """The values that rows have in a column, or the codes of their combinations in several."""
        codes, known = self._codes(*([columns] if isinstance(columns, str) else columns))
        return [known[code] for code in _present(codes[rows])]


def _present(codes: np.ndarray) -> np.ndarray:
    """The codes that occur, in order, without that of missing values."""
    return np.flatnonzero(np.bincount(codes[codes >= 0]))


def _means(values: np.ndarray, codes: np.ndarray, count: int) -> np.ndarray:
    """Mean of the values of each code; NaN where a code has none."""
    counts = np.bincount(codes, minlength=count)
    with np.errstate(invalid="ignore"):
        return np.bincount(codes, values, minlength=count) / counts
