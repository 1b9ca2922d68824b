"""The table of claims: one a row, its evidence folded, with what a script needs to filter it."""

from collections.abc import Sequence
from html import escape

import pandas as pd

from lab.drawing.tables import KNOWN, PAPERS, TELLS, VERDICT_MARKS

VERDICTS = "application/vnd.fragility.verdicts+json"    # what the rest of the book is told of the table
CONTROLS = "controls"       # stands in for the paper of claims that no paper makes
CHAPTERS = {"fragility": "Fragility", "attacks": "Attacks", "influence": "Influence", "shift": "Constant shifts",
            "roar": "Remove and retrain", "lens": "Metrics"}
FOLD_FROM = 2      # semicolons from which a list is folded into the number of cells for and against the claim


class LedgerTable:
    """A ledger as a notebook shows it: a table with a filter, and beside it the verdicts as data."""

    def __init__(self, ledger: pd.DataFrame):
        self.ledger = ledger

    def to_html(self) -> str:
        rows = "\n".join(_row(row) for row in self.ledger.itertuples())
        heads = "".join(f"<th scope='col'>{name}</th>"
                        for name in ("verdict", "claim", "the paper reports", "measured [95 % interval]"))
        return (f"{_filter(self.ledger)}\n<table class='ledger'>\n<thead><tr>{heads}</tr></thead>\n"
                f"<tbody>\n{rows}\n</tbody>\n</table>")

    def verdicts(self) -> list[dict]:
        """What captions, chapters and the front page say of each claim."""
        return [{"id": row.id, "paper": _paper(row), "verdict": row.verdict, "scale": row.scale, "tells": row.tells,
                 "chapter": row.chapter} for row in self.ledger.itertuples()]

    def _repr_mimebundle_(self, **_) -> dict:
        return {"text/html": self.to_html(), "text/plain": f"{len(self.ledger)} claims",
                VERDICTS: {"claims": self.verdicts()}}


def ledger_table(ledger: pd.DataFrame) -> LedgerTable:
    """Claims, one a row; a mark beside each verdict, so that colour is not needed. Long lists are folded."""
    return LedgerTable(ledger)


def _paper(row) -> str:
    return CONTROLS if row.control else row.paper


def _filter(ledger: pd.DataFrame) -> str:
    """The form over the table: hidden until the script that it needs has come."""
    papers = [_paper(row) for row in ledger.itertuples()]
    choices = {"paper": (papers, {**PAPERS, CONTROLS: "controls"}), "verdict": (ledger.verdict, VERDICT_MARKS),
               "scale": (ledger.scale, {}), "chapter": (ledger.chapter, CHAPTERS)}
    lists = "".join(_choice(name, list(values), names) for name, (values, names) in choices.items())
    return (f"<form class='claim-filter' hidden aria-label='Filter the claims'>{lists}"
            "<label>words <input type='search' name='words' placeholder='a name, a map, a number' "
            "autocomplete='off'></label><button type='reset'>all</button>"
            f"<output aria-live='polite'>{len(ledger)} claims</output></form>")


def _choice(name: str, values: Sequence[str], names: dict[str, str]) -> str:
    known = [value for value in names if value in values]
    options = [*known, *(value for value in dict.fromkeys(values) if value and value not in known)]
    marks = names if name != "verdict" else {value: f"{mark} {value}" for value, mark in names.items()}
    listed = "".join(f"<option value='{value}'>{escape(marks.get(value, value))} ({values.count(value)})</option>"
                     for value in options)
    return f"<label>{name} <select name='{name}'><option value=''>all</option>{listed}</select></label>"


def _row(row) -> str:
    words = " ".join(f"data-{name}='{value}'" for name, value in (
        ("paper", _paper(row)), ("verdict", row.verdict), ("scale", row.scale), ("chapter", row.chapter)))
    reported = _lines(row.reported) + (KNOWN[row.known] and f"<i>{KNOWN[row.known]}</i>")
    cells = "".join(f"<td class='{name}'>{cell}</td>" for name, cell in (
        ("verdict", _verdict(row)), ("claim", _claim(row)), ("reported", reported), ("measured", _measured(row))))
    return f"<tr id='{row.id}' {words}>{cells}</tr>"


def _verdict(row) -> str:
    tells = TELLS[row.tells] and f"<i>{TELLS[row.tells]}</i>"
    scale = "" if row.scale == "no" else f"{row.scale} scale"
    return "<br>".join(filter(None, [f"<b>{VERDICT_MARKS[row.verdict]} {row.verdict}</b>", tells, scale]))


def _claim(row) -> str:
    caveat = row.caveat and f"<div><i>Caveat:</i> {escape(row.caveat)}.</div>"
    shown = [f"<a href='{link}'>{'its figure' if not place else 'and this'}</a>" for place, link in enumerate(row.shown)]
    links = [*shown, *([f"<a href='{row.chapter}.html'>its chapter</a>"] if row.chapter else [])]
    return (f"<a class='permalink' href='#{row.id}'>{row.id}</a> {escape(row.statement.strip())}{caveat}"
            f"<div class='where'>{' · '.join([escape(row.figure), *links])}</div>"
            + _folded("The test was changed", row.changes))


def _measured(row) -> str:
    text, size = row.measured_with_interval or row.reason, row.size and f"<i>{_lines(row.size)}</i>"
    lost, _, cells = row.lost.partition("; ")
    missing = row.missing and f"<i>{_lines(f'not measured: {row.missing}')}</i>"
    long = row.support and text.count("; ") >= FOLD_FROM
    return (_folded(row.support, text) if long else _lines(text)) + _folded(lost, cells) + size + missing


def _lines(text: str) -> str:
    return "".join(f"<div>{line}</div>" for line in escape(text).split("; "))


def _folded(summary: str, text: str) -> str:
    if not text:
        return _lines(summary) if summary else ""
    return f"<details><summary>{escape(summary)}</summary>{_lines(text)}</details>"
