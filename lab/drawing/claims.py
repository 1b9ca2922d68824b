"""The table of claims: one a row, its evidence folded, with what a script needs to filter it."""

import re
from collections.abc import Sequence
from html import escape

import pandas as pd

from lab.drawing.names import DATA_NAMES, NAMES, NETWORK_NAMES
from lab.drawing.tables import KNOWN, LATER, PAPERS, TELLS, VERDICT_MARKS

VERDICTS = "application/vnd.fragility.verdicts+json"    # what the rest of the book is told of the table
CONTROLS = "controls"       # stands in for the paper of claims that no paper makes
WHOSE = {**PAPERS, **LATER, "ours": "predictions of this book", CONTROLS: "controls"}
CHAPTERS = {"scoreboard": "Scoreboard", "fragility": "Fragility", "attacks": "Attacks", "influence": "Influence",
            "shift": "Constant shifts", "roar": "Remove and retrain", "lens": "Metrics",
            "transformers": "Networks of today"}
_WORDS = {code.replace("_", " "): name for code, name in {
    **NAMES, **DATA_NAMES, **NETWORK_NAMES, "pgd": "PGD", "ig_sum_norm": "IG-SUM-NORM"}.items()}
#: A code of the records, the longest first: "integrated gradients" before "gradient".
_CODE = re.compile(rf"(?<![\w-])({'|'.join(map(re.escape, sorted(_WORDS, key=len, reverse=True)))})(?![\w-])")


class LedgerTable:
    """A ledger as a notebook shows it: a table with a filter, and beside it the verdicts as data."""

    def __init__(self, ledger: pd.DataFrame):
        self.ledger = ledger

    def to_html(self) -> str:
        rows = "\n".join(_row(row) for row in self.ledger.itertuples())
        heads = "".join(f"<th scope='col'>{name}</th>" for name in ("verdict", "claim", "evidence"))
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
    """Claims, one a row; a mark beside each verdict, so that colour is not needed. The evidence is folded."""
    return LedgerTable(ledger)


def _paper(row) -> str:
    return CONTROLS if row.control else row.paper


def _filter(ledger: pd.DataFrame) -> str:
    """The form over the table: hidden until the script that it needs has come."""
    papers = [_paper(row) for row in ledger.itertuples()]
    choices = {"paper": (papers, WHOSE), "verdict": (ledger.verdict, VERDICT_MARKS),
               "scale": (ledger.scale, {}), "chapter": (ledger.chapter, CHAPTERS)}
    lists = "".join(_choice(name, list(values), names) for name, (values, names) in choices.items())
    return (f"<form class='claim-filter' hidden aria-label='Filter the claims'>{lists}"
            "<label>words <input type='text' name='words' placeholder='a name, a map, a number' "
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
    cells = "".join(f"<td class='{name}'>{cell}</td>" for name, cell in (
        ("verdict", _verdict(row)), ("claim", _claim(row)), ("evidence", _evidence(row))))
    return f"<tr id='{row.id}' {words}>{cells}</tr>"


def _verdict(row) -> str:
    scale = "" if row.scale == "no" else f"{row.scale} scale"
    beside = "".join(f"<span>{text}</span>" for text in (scale, TELLS[row.tells]) if text)
    return f"<b>{VERDICT_MARKS[row.verdict]} {row.verdict}</b>{beside}"


def _claim(row) -> str:
    shown = [f"<a href='{link}'>{'and this' if place else 'its figure'}</a>" for place, link in enumerate(row.shown)]
    links = [*shown, *([f"<a href='{row.chapter}.html'>its chapter</a>"] if row.chapter else [])]
    return (f"<a class='permalink' href='#{row.id}'>{row.id}</a> {escape(row.statement.strip())}"
            f"<div class='where'>{' · '.join([escape(row.figure), *links])}</div>")


def _evidence(row) -> str:
    """All that a verdict rests on, folded behind the number of cells for and against the claim."""
    lost, _, cells = row.lost.partition("; ")
    reported = _lines(row.reported) + (KNOWN[row.known] and f"<i>{KNOWN[row.known]}</i>")
    measured = _lines(_named(row.measured_with_interval) or row.reason)
    parts = {"the paper reports": reported, "measured [95 % interval]": measured,
             escape(lost): _lines(_named(cells)), "size": _lines(row.size), "not measured": _lines(row.missing),
             "caveat": _lines(row.caveat), "the test was changed": _lines(row.changes)}
    listed = "".join(f"<dt>{name}</dt><dd>{text}</dd>" for name, text in parts.items() if name and text)
    summary = row.support or ("why not" if row.verdict == "not tested here" else "evidence")
    return f"<details><summary>{escape(summary)}</summary><dl>{listed}</dl></details>"


def _named(text: str) -> str:
    """Lines of cells, "deeplift: 0.35; …", with the names that figures have before the colon."""
    parts = (line.partition(": ") for line in text.split("; "))
    return "; ".join((_CODE.sub(lambda code: _WORDS[code[1]], head) if colon else head) + colon + rest
                     for head, colon, rest in parts)


def _lines(text: str) -> str:
    return "".join(f"<div>{line}</div>" for line in escape(text).split("; ")) if text else ""
