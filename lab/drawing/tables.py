"""Tables: counts of verdicts, benchmarks, anything short."""

from html import escape

import pandas as pd
from pandas.io.formats.style import Styler

VERDICT_MARKS = {"holds": "✓", "contradicted": "✗", "mixed": "◐", "undecided": "?", "saturated": "=",
                 "not tested here": "–"}
PAPERS = {"ghorbani2019": "Ghorbani et al. (2019)", "kindermans2019": "Kindermans et al. (2019)",
          "hooker2019": "Hooker et al. (2019)", "kamath2024": "Kamath et al. (2024)"}
#: Papers on later methods, of each of which the book tests a statement or two.
LATER = {"adebayo2018sanity": "Adebayo et al. (2018)", "chefer2021": "Chefer et al. (2021)",
         "achtibat2024": "Achtibat et al. (2024)"}
#: How a reported number is known to us.
KNOWN = {"predicted": "predicted, before it was measured",
         "text": "read in the paper", "table": "from a table of the paper", "code": "from the authors' code",
         "digitised": "read off a figure", "second-hand": "second-hand", "recalled": "recalled, unchecked",
         "construction": "follows from the definition", "none": ""}
#: What stands beside a verdict whose test is worth less than another's.
TELLS = {"cannot tell": "a placebo passes the same test", "tells in part": "a placebo passes in part",
         "a theorem": "it follows from definitions", "": ""}
MUST_HOLD = "≈ holds, weakly"


def verdict_counts(ledger: pd.DataFrame) -> Styler:
    """How many claims of each paper have each verdict; those of later papers, and controls and predictions of this
    book, which are no paper's, in rows of their own, and claims that could hardly have come out otherwise in a column
    of their own."""
    later, ours, controls = apart = ["later papers", "predictions of this book", "controls"]
    whose = ledger.paper.map({**PAPERS, **dict.fromkeys(LATER, later)}).fillna(ours).where(~ledger.control, controls)
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
    rows = [{"benchmark": f"<b>{row['name']}</b><br>{escape(row['description'])}", "ratio": f"{row['ratio']:.3g}",
             "bar": f"{'≤' if row['at_most'] else '≥'}\N{NO-BREAK SPACE}{row['bar']:g}",
             "": "✓" if row["passed"] else "✗ not reached", "quartile range": f"{row['spread']:.1g}",
             "seconds and settings": escape(row["note"])} for row in measured["benchmarks"]]
    return plain_table(pd.DataFrame(rows))


def benchmark_setting(measured: dict) -> Styler:
    """Versions, threads and date of the committed benchmark run."""
    setting = {name: value for name, value in measured.items() if name not in ("benchmarks", "versions")}
    rows = {**setting, "date": setting["date"].partition("T")[0], **measured.get("versions", {})}
    return plain_table(pd.DataFrame({"what": list(rows), "value": [str(value) for value in rows.values()]}))
