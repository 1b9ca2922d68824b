"""Tables: claims and verdicts, benchmarks, anything short."""

from html import escape

import pandas as pd
from pandas.io.formats.style import Styler

VERDICT_MARKS = {"holds": "✓", "contradicted": "✗", "mixed": "◐", "undecided": "?", "saturated": "=",
                 "not tested here": "–"}
PAPERS = {"ghorbani2019": "Ghorbani et al. (2019)", "kindermans2019": "Kindermans et al. (2019)",
          "hooker2019": "Hooker et al. (2019)", "kamath2024": "Kamath et al. (2024)"}
#: How a reported number is known to us.
KNOWN = {"text": "read in the paper", "table": "from a table of the paper", "code": "from the authors' code",
         "digitised": "read off a figure", "second-hand": "second-hand", "recalled": "recalled, unchecked",
         "construction": "follows from the definition", "none": ""}
FOLD_FROM = 6      # semicolons from which a list is folded into the number of cells for and against the claim


def ledger_table(ledger: pd.DataFrame) -> Styler:
    """Claims, one a row; a mark beside each verdict, so that colour is not needed. Long lists are folded."""
    def lines(text: str) -> str:
        return "".join(f"<div>{line}</div>" for line in escape(text).split("; "))

    def name(row) -> str:
        return f"<a href='{row.chapter}.html'>{row.id}</a>" if row.chapter else row.id

    def measured(row) -> str:
        text = row.measured_with_interval or row.reason
        long = row.support and text.count("; ") >= FOLD_FROM
        return f"<details><summary>{row.support}</summary>{lines(text)}</details>" if long else lines(text)

    def verdict(row) -> str:
        counts = f"<br>{row.support}" if row.verdict in ("mixed", "undecided") else ""
        return f"<b>{VERDICT_MARKS[row.verdict]} {row.verdict}</b><br>{row.scale} scale{counts}"

    def claim(row) -> str:
        history = row.changes and f"<details><summary>The test was changed</summary>{lines(row.changes)}</details>"
        caveat = row.caveat and f"<div><i>Caveat:</i> {escape(row.caveat)}.</div>"
        return f"<b>{name(row)}</b>, {escape(row.figure)}<br>{escape(row.statement.strip())}{caveat}{history}"

    rows = [{"verdict": verdict(row), "claim": claim(row),
             "the paper reports": lines(row.reported) + (row.known and f"<i>{KNOWN[row.known]}</i>"),
             "measured [95 % interval]": measured(row) + (row.size and f"<i>{lines(row.size)}</i>")}
            for row in ledger.itertuples()]
    return plain_table(pd.DataFrame(rows)).set_table_attributes('class="ledger"')


def verdict_counts(ledger: pd.DataFrame) -> Styler:
    """How many claims of each paper have each verdict; controls, which are no paper's, in a row of their own."""
    control = ledger.statement.str.startswith("(Control)")
    whose = ledger.paper.map(PAPERS).where(~control, "controls")
    counts = pd.crosstab(whose, ledger.verdict).reindex(index=[*PAPERS.values(), "controls"],
                                                        columns=list(VERDICT_MARKS), fill_value=0)
    counts.loc["all papers"] = counts.drop("controls").sum()
    counts = counts.reindex([*PAPERS.values(), "all papers", "controls"])
    counts.columns = [f"{mark} {verdict}" for verdict, mark in VERDICT_MARKS.items()]
    return plain_table(counts.rename_axis("").reset_index())


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
