"""Numbers of the book's text: each has a name, one function that makes it, and the records that it is made of."""

import inspect
import itertools
import json
import math
import re
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from lab.core import folders, profiles
from lab.core.pages import NotRun, Page
from lab.core.statistics import student
from lab.core.store import canonical

MISSING = "(not measured)"
REPORT = "numbers"        # the name under which a notebook keeps all that is known of its numbers


class Number(NamedTuple):
    """A value, and where it comes from: rows of records, or a source of another kind."""

    value: float | int | str | None
    n: int | None = None                            #: Images or trainings behind it.
    interval: tuple[float, float] | None = None     #: 95 % interval of the value.
    rows: pd.DataFrame | None = None                #: What it is made of; the column `record` has the keys.
    source: str = ""                                #: Where a number that is of no record comes from.

    @property
    def keys(self) -> list[str]:
        """Keys of the records that it is made of."""
        return list(dict.fromkeys(self.rows.record)) if self.rows is not None and len(self.rows) else []

    @property
    def selection(self) -> dict:
        """What all its rows have in common."""
        if self.rows is None or self.rows.empty:
            return {}
        plain = self.rows.drop(columns="record").dropna(axis=1, how="all")
        return {name: plain[name].iloc[0] for name in plain if plain[name].nunique(dropna=False) == 1}

    @property
    def missing(self) -> bool:
        """Whether there was nothing to make it of."""
        return self.value is None or (isinstance(self.value, float) and math.isnan(self.value))


def mean(rows: pd.DataFrame, column: str, *, over: str = "image", scale: float = 1.0) -> Number:
    """Mean of a column with Student's 95 % interval, over images or over trainings (`over` "seed").

    Of several rows an image or training has, their mean counts. `scale` is 100 for a share in per cent. Missing
    where there are no rows.
    """
    if rows.empty:
        return Number(None, rows=rows)
    values = scale * rows.assign(value=rows[column].astype(float)).groupby(over).value.mean().dropna().to_numpy()
    return _estimate(values, rows)


def difference(first: pd.DataFrame, second: pd.DataFrame, column: str, *, over: str = "image",
               scale: float = 1.0) -> Number:
    """Mean of the paired differences, first minus second, of the images or trainings that both have."""
    rows = pd.concat([first, second])
    if first.empty or second.empty:
        return Number(None, rows=rows)
    one, other = (side.assign(value=side[column].astype(float)).groupby(over).value.mean() for side in (first, second))
    return _estimate(scale * (one - other).dropna().to_numpy(), rows)


def _estimate(values: np.ndarray, rows: pd.DataFrame) -> Number:
    if not len(values):
        return Number(None, rows=rows)
    return Number(float(values.mean()), len(values), student(values) if len(values) > 1 else None, rows)


def statistic(rows: pd.DataFrame, value: Callable[[pd.DataFrame], float | int | str]) -> Number:
    """Any other number that rows of records give; missing where there are none."""
    return Number(None if rows.empty else _plain(value(rows)), rows=rows)


def sourced(value: float | int | str, source: str) -> Number:
    """A number that no record holds, with its source: a paper's figure, the parameters of a run."""
    return Number(_plain(value), source=source)


def published_verdict(claim: str) -> Number:
    """The verdict that is published on a claim, a word, at the edition scale."""
    file = folders.RESULTS / "verdicts.json"
    return sourced(json.loads(file.read_text())[claim]["verdict"], f"results/verdicts.json, {claim}")


def _plain(value):
    """Python's own number in place of NumPy's."""
    return value.item() if isinstance(value, np.generic) else value


def written(number: Number, digits: int | None = None, signed: bool = False) -> str:
    """A number as the text has it, to the last digit that its interval allows, but to no more than `digits` after the
    point; without an interval to these, or two.

    An interval of 0.000359 to 0.000922 allows 0.0006: a step of the last digit is at least as large as a half of it
    and less than ten times as large.
    """
    if number.missing:
        return MISSING
    if isinstance(number.value, str):
        return number.value
    if number.interval and math.isfinite(half := (number.interval[1] - number.interval[0]) / 2) and half > 0:
        allowed = max(0, math.ceil(-math.log10(half)))
        digits = allowed if digits is None else min(digits, allowed)
    elif isinstance(number.value, int):
        digits = 0
    elif digits is None:
        digits = 2
    rounded = round(number.value, digits) + 0.0        # no minus before a zero
    return f"{rounded:{'+' if signed else ''},.{digits}f}".replace("-", "−")


class Entry(NamedTuple):
    """One name of a chapter's numbers, and how its number is made and written."""

    function: Callable[..., Number]
    chosen: dict                #: The arguments of this member of a family.
    unit: str
    digits: int | None
    signed: bool

    def make(self, page: Page) -> Number:
        return self.function(page, **self.chosen)

    def text(self, number: Number) -> str:
        return written(number, self.digits, self.signed)


class Chapter:
    """The numbers and statements of one notebook's text."""

    def __init__(self, notebook: str):
        self.notebook = notebook
        self.numbers: dict[str, Entry] = {}
        self.statements: dict[str, Callable[[Page], bool]] = {}

    def number(self, name: str, unit: str = "", *, digits: int | None = None, signed: bool = False,
               **families: Sequence[str]):
        """Name what a function of the page gives; for a family, "left.{estimator}" and estimator=(…) name each member.

        Values enter names in lower case with underscores. `digits` after the point count where the number has no
        interval; `signed` writes a plus.
        """
        def register(function):
            for values in itertools.product(*families.values()):
                chosen = dict(zip(families, values))
                full = name.format(**{key: slug(value) for key, value in chosen.items()})
                if full in self.numbers:
                    raise ValueError(f"Two numbers of {self.notebook} have the name {full}.")
                self.numbers[full] = Entry(function, chosen, unit, digits, signed)
            return function
        return register

    def statement(self, function: Callable[[Page], bool]):
        """Name what the text says of its numbers: the function tells whether it holds, its docstring says it."""
        self.statements[function.__name__] = function
        return function

    def used(self) -> list[str]:
        """The names that the text and the captions of the notebook have, "left.gb" or, for its interval or n,
        "left.gb.interval"."""
        text = "\n".join("".join(cell["source"]) if cell["cell_type"] == "markdown"
                         else cell["metadata"].get("mystnb", {}).get("figure", {}).get("caption", "")
                         for cell in profiles.cells(self.notebook))
        return list(dict.fromkeys(re.findall(r"\{glue:text\}`([^`:]+)", text)))

    def hand_over(self, page: Page):
        """Give the notebook's text its numbers, and keep all that is known of them with the notebook.

        Returns a note for the reader where statements do not hold in this run. ValueError where the text has a name
        that no function makes.
        """
        from IPython.display import Markdown
        from myst_nb import glue

        report = self.report(page)
        for name in self.used():
            number, _, part = name.rpartition(".") if name.endswith(_PARTS) else (name, "", "text")
            if number not in report["numbers"]:
                raise ValueError(f"The text of {self.notebook} has the number {name}, which its numbers do not make.")
            glue(name, str(report["numbers"][number][part] or MISSING), display=False)
        glue(REPORT, _Text(canonical(report)), display=False)
        failed = [one["says"] for one in report["statements"].values() if one["holds"] is False]
        return Markdown("**Not so in this run:** " + " ".join(failed)) if failed else None

    def report(self, page: Page) -> dict:
        """All numbers and statements of the chapter as plain values."""
        return {"chapter": self.notebook, "profile": page.profile,
                "numbers": {name: self.describe(name, page) for name in self.numbers},
                "statements": {name: {"says": said(one), "holds": holds(one, page)}
                               for name, one in self.statements.items()}}

    def describe(self, name: str, page: Page) -> dict:
        """One number as plain values: text, value, unit, n, interval, keys of its records, selection, function."""
        entry = self.numbers[name]
        try:
            number = entry.make(page.strict())
        except NotRun as reason:
            number = Number(None, source=str(reason))
        function = f"{entry.function.__module__}.{entry.function.__name__}"
        shown = "" if number.interval is None else " to ".join(written(number._replace(value=end), entry.digits)
                                                               for end in number.interval)
        return {"text": entry.text(number), "value": None if number.missing else number.value, "unit": entry.unit,
                "n": number.n, "interval": shown, "records": number.keys, "source": number.source,
                "selection": {key: _plain(value) for key, value in number.selection.items()},
                "function": function, "about": said(entry.function)}


_PARTS = (".n", ".interval")


class _Text(str):
    """Text that a notebook keeps as it is, without quotes."""

    def __repr__(self) -> str:
        return str(self)


def kept(notebook) -> str | None:
    """The report that an executed notebook keeps, as JSON; None where it keeps none."""
    outputs = (output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs)
    return next((output.data["application/papermill.record/text/plain"] for output in outputs
                 if output.get("metadata", {}).get("scrapbook", {}).get("name") == REPORT), None)


def slug(value: str) -> str:
    """A value as names have it."""
    return re.sub(r"[^a-z0-9]+", "_", str(value).lower()).strip("_")


def said(function: Callable) -> str:
    """The first paragraph of a function's docstring, on one line."""
    return " ".join((inspect.getdoc(function) or "").partition("\n\n")[0].split())


def holds(statement: Callable[[Page], bool], page: Page) -> bool | None:
    """Whether a statement holds; None where the page lacks what it speaks of."""
    try:
        return bool(statement(page.strict()))
    except NotRun:
        return None


def place(function: Callable) -> str:
    """The file and line of a function, from the top of the checkout."""
    return f"{inspect.getsourcefile(function).removeprefix(f'{folders.ROOT}/')}:{inspect.getsourcelines(function)[1]}"
