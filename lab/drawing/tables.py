"""Tables: claims and verdicts, benchmarks, anything short."""

from html import escape

import pandas as pd
from pandas.io.formats.style import Styler

VERDICT_MARKS = {"holds": "✓", "contradicted": "✗", "mixed": "◐", "undecided": "?", "saturated": "=",
                 "not tested here": "–"}
PAPERS = {"ghorbani2019": "Ghorbani et al. (2019)", "kindermans2019": "Kindermans et al. (2019)",
          "hooker2019": "Hooker et al. (2019)", "kamath2024": "Kamath et al. (2024)"}
#: How a reported number is known to us.
KNOWN = {"predicted": "predicted, before it was measured",
         "text": "read in the paper", "table": "from a table of the paper", "code": "from the authors' code",
         "digitised": "read off a figure", "second-hand": "second-hand", "recalled": "recalled, unchecked",
         "construction": "follows from the definition", "none": ""}
#: What stands beside a verdict whose test is worth less than another's.
TELLS = {"cannot tell": "a placebo passes the same test", "tells in part": "a placebo passes in part",
         "a theorem": "it follows from definitions", "": ""}
MUST_HOLD = "≈ holds, as a placebo does or by a theorem"
FOLD_FROM = 6      # semicolons from which a list is folded into the number of cells for and against the claim


def ledger_table(ledger: pd.DataFrame) -> Styler:
    """Claims, one a row; a mark beside each verdict, so that colour is not needed. Long lists are folded."""
    def lines(text: str) -> str:
        return "".join(f"<div>{line}</div>" for line in escape(text).split("; "))

    def name(row) -> str:
        return f"<a href='{row.chapter}.html'>{row.id}</a>" if row.chapter else row.id

    def folded(summary: str, text: str) -> str:
        return f"<details><summary>{escape(summary)}</summary>{lines(text)}</details>" if text else ""

    def measured(row) -> str:
        text = row.measured_with_interval or row.reason
        long = row.support and text.count("; ") >= FOLD_FROM
        lost, _, cells = row.lost.partition("; ")
        missing = row.missing and f"<i>{lines(f'not measured: {row.missing}')}</i>"
        return ((folded(row.support, text) if long else lines(text)) + folded(lost, cells)
                + (row.size and f"<i>{lines(row.size)}</i>") + missing)

    def verdict(row) -> str:
        tells = TELLS[row.tells] and f"<i>{TELLS[row.tells]}</i>"
        parts = [f"<b>{VERDICT_MARKS[row.verdict]} {row.verdict}</b>", tells, f"{row.scale} scale",
                 row.support if row.verdict in ("mixed", "undecided") else ""]
        return "<br>".join(filter(None, parts))

    def claim(row) -> str:
        history = folded("The test was changed", row.changes)
        caveat = row.caveat and f"<div><i>Caveat:</i> {escape(row.caveat)}.</div>"
        return f"<b>{name(row)}</b>, {escape(row.figure)}<br>{escape(row.statement.strip())}{caveat}{history}"

    rows = [{"verdict": verdict(row), "claim": claim(row),
             "the paper reports": lines(row.reported) + (row.known and f"<i>{KNOWN[row.known]}</i>"),
             "measured [95 % interval]": measured(row)}
            for row in ledger.itertuples()]
    return plain_table(pd.DataFrame(rows)).set_table_attributes('class="ledger"')


def verdict_counts(ledger: pd.DataFrame) -> Styler:
    """How many claims of each paper have each verdict; controls and predictions of this book, which are no paper's, in
    rows of their own, and claims that could hardly have come out otherwise in a column of their own."""
    apart = ["predictions of this book", "controls"]
    whose = ledger.paper.map(PAPERS).fillna(apart[0]).where(~ledger.control, apart[1])
    names = {verdict: f"{mark} {verdict}" for verdict, mark in VERDICT_MARKS.items()}
    must = (ledger.verdict == "holds") & ledger.tells.isin(["cannot tell", "a theorem"])
    columns = [names["holds"], MUST_HOLD, *list(names.values())[1:]]
    counts = pd.crosstab(whose, ledger.verdict.map(names).mask(must, MUST_HOLD))
    counts = counts.reindex(index=[*PAPERS.values(), *apart], columns=columns, fill_value=0)
    counts.loc["all papers"] = counts.drop(apart).sum()
    counts = counts.reindex([*PAPERS.values(), "all papers", *apart])
    return plain_table(counts.rename_axis("").rename_axis(None, axis=1).reset_index())


def plain_table(table: pd.DataFrame) -> Styler:
    """A table without row numbers, its text set to the left and wrapped."""
    wrapped = [{"selector": "td, th", "props": "text-align: left; white-space: normal; vertical-align: top"}]
    return table.style.hide(axis="index").set_table_styles(wrapped).set_uuid("table").format(na_rep="")


def benchmark_table(measured: dict) -> Styler:
    """Ratios of the committed benchmark run, with what each compares."""
    rows = [{"benchmark": f"<b>{row['name']}</b><br>{escape(row['description'])}", "ratio": f"{row['ratio']:.2f}",
             "quartile range": f"{row['spread']:.2f}", "bar": f"{'≤' if row['at_most'] else '≥'} {row['bar']:g}",
             "": "✓" if row["passed"] else "✗ not reached", "seconds and settings": escape(row["note"])}
            for row in measured["benchmarks"]]
    return plain_table(pd.DataFrame(rows))


def benchmark_setting(measured: dict) -> Styler:
    """Versions, threads and date of the committed benchmark run."""
    setting = {name: value for name, value in measured.items() if name not in ("benchmarks", "versions")}
    rows = {**setting, **measured.get("versions", {})}
    return plain_table(pd.DataFrame({"what": list(rows), "value": [str(value) for value in rows.values()]}))
