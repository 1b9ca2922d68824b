"""What an audit found: rows, verdicts, the answer in words, and files that hold them."""

import csv
import io
import json
import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any
from xml.sax.saxutils import quoteattr

import numpy as np

from fragility.audit.criterion import Criterion
from fragility.audit.margins import Margin
from fragility.audit.verdicts import FAIL, NOT_JUDGED, PASS, UNDECIDED, Result, Verdict

SCHEMA = "fragility-audit-1"


@dataclass(repr=False)
class Report:
    """An audit's result. In a notebook it shows itself as the page that :meth:`to_html` writes."""

    subject: dict                       #: what was audited, with its images, classes and accuracy
    settings: dict                      #: every number that the result depends on, versions and seed
    criteria: list[Criterion]
    margins: dict[str, Margin]
    methods: dict[str, dict]            #: method -> control, seconds and megabytes a map, refused (a sentence or None)
    results: dict[tuple[str, str], Result]      #: (method, criterion) -> what was measured
    verdicts: list[Verdict]
    notices: list[str] = field(default_factory=list)        #: sentences on what the reader should know
    #: Small pictures, uint8, of the images under "images", (m, c, h, w), and of maps under (method, kind), (m, h, w).
    pictures: dict = field(default_factory=dict)
    compared: list[dict] = field(default_factory=list)      #: changes since a baseline, see `compare.with_baseline`

    def verdict(self, method: str, criterion: str) -> Verdict:
        """The verdict of that method on that criterion; KeyError where there is none."""
        for one in self.verdicts:
            if (one.method, one.criterion) == (method, criterion):
                return one
        raise KeyError((method, criterion))

    @property
    def passed(self) -> dict[str, list[str]]:
        """Names of the methods that pass each criterion."""
        return {each.name: [one.method for one in self.verdicts if (one.criterion, one.verdict) == (each.name, PASS)]
                for each in self.criteria}

    @property
    def answer(self) -> list[str]:
        """The answer in words, a sentence each."""
        from fragility.audit.answer import sentences
        return sentences(self)

    def rows(self) -> Iterator[dict]:
        """One row an image, method and criterion: its score, controls, and details that are numbers."""
        names = self.subject["images"]
        over_trainings = {each.name for each in self.criteria if each.over_trainings}
        for result in self.results.values():
            trainings = result.criterion in over_trainings
            for image, row in zip(result.images, result.rows()):
                yield {"image": f"training {image}" if trainings else names[image], "method": result.method,
                       "criterion": result.criterion, **row}

    @property
    def frame(self):
        """The rows as a pandas DataFrame; ImportError says what to install where pandas is missing."""
        try:
            import pandas
        except ImportError as error:
            raise ImportError("A frame needs pandas; pip install 'fragility[audit]' brings it, and .rows() does "
                              "without.") from error
        return pandas.DataFrame(list(self.rows()))

    def to_dict(self) -> dict:
        """Everything but the pictures, as JSON holds it; `schema.json` beside this module describes it."""
        return _finite({
            "schema": SCHEMA, "subject": self.subject, "settings": self.settings, "notices": self.notices,
            "answer": self.answer, "methods": self.methods,
            "criteria": [{"name": each.name, "question": each.question, "source": each.source, "score": each.score,
                          "high_is_good": each.high_is_good,
                          "margin": self.margins[each.name]._asdict() if each.name in self.margins else None}
                         for each in self.criteria],
            "verdicts": [asdict(one) for one in self.verdicts],
            "compared": self.compared,
            "measured": [{"method": one.method, "criterion": one.criterion, "seconds": one.seconds,
                          "images": one.images.tolist(), "score": one.score.tolist(),
                          "controls": {name: values.tolist() for name, values in one.controls.items()},
                          "details": {name: np.asarray(values).tolist() for name, values in one.details.items()},
                          "undefined": one.undefined.tolist()} for one in self.results.values() if not one.refused]})

    def to_json(self, path: str | Path | None = None) -> str:
        """The report as JSON, written to `path` where one is given."""
        return _written(json.dumps(self.to_dict(), indent=1, allow_nan=False), path)

    def to_csv(self, path: str | Path | None = None) -> str:
        """The rows as CSV, written to `path` where one is given."""
        rows = list(self.rows())
        columns = list(dict.fromkeys(name for row in rows for name in row))
        text = io.StringIO()
        table = csv.DictWriter(text, columns, restval="", lineterminator="\n")
        table.writeheader()
        table.writerows(rows)
        return _written(text.getvalue(), path)

    def to_junit(self, path: str | Path | None = None) -> str:
        """The verdicts as JUnit XML, which CI systems show: a suite a criterion, a case a method."""
        suites = []
        for each in self.criteria:
            cases = [one for one in self.verdicts if one.criterion == each.name]
            lines = [_case(one) for one in cases]
            count = {word: sum(one.verdict == word for one in cases) for word in (FAIL, UNDECIDED, NOT_JUDGED)}
            suites.append(f'<testsuite name={_quoted(each.name)} tests="{len(cases)}" failures="{count[FAIL]}" '
                          f'skipped="{count[UNDECIDED] + count[NOT_JUDGED]}">\n' + "\n".join(lines) + "\n</testsuite>")
        return _written('<?xml version="1.0" encoding="UTF-8"?>\n<testsuites name="fragility audit">\n'
                        + "\n".join(suites) + "\n</testsuites>\n", path)

    def to_html(self, path: str | Path | None = None) -> str:
        """The report as one page that needs nothing else, written to `path` where one is given."""
        from fragility.audit.page import render
        return _written(render(self), path)

    def __repr__(self) -> str:
        judged = sum(one.verdict != NOT_JUDGED for one in self.verdicts)
        return (f"<Report on {self.subject['model']}: {len(self.methods)} methods, {self.subject['n']} images, "
                f"{judged} verdicts>")

    def _repr_html_(self) -> str:
        from html import escape
        # A link to a place in the page would lead to the notebook around it without a base of its own.
        page = self.to_html().replace("<head>", '<head><base href="about:srcdoc">', 1)
        return (f'<iframe srcdoc="{escape(page)}" style="width:100%;height:40rem;border:0" '
                'title="Audit of saliency maps"></iframe>')


def _case(one: Verdict) -> str:
    head = f"<testcase classname={_quoted(one.criterion)} name={_quoted(one.method)}"
    if one.verdict == PASS:
        return head + "/>"
    tag = "failure" if one.verdict == FAIL else "skipped"
    return f"{head}><{tag} message={_quoted(one.verdict + ': ' + one.reason)}/></testcase>"


def _quoted(text: str) -> str:
    """An attribute of XML, without the control characters that it cannot hold."""
    return quoteattr("".join(one if one >= " " else " " for one in text))


def _written(text: str, path: str | Path | None) -> str:
    if path is not None:
        Path(path).write_text(text, encoding="utf-8")
    return text


def _finite(value) -> Any:
    """The same value with None in place of NaN and infinity, which JSON does not know."""
    if isinstance(value, dict):
        return {name: _finite(one) for name, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(one) for one in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
