"""An audit's verdicts as tables of the chapter."""

import pandas as pd

from fragility.audit import Report

SIGNS = {"pass": "pass", "fail": "FAIL", "undecided": "open", "not judged": "–"}


def grid(report: Report) -> pd.DataFrame:
    """Verdicts, a row a method and a column a criterion; failures in capitals, so that they are seen without colour."""
    judged = [each.name for each in report.criteria if each.margin is not None]
    rows = {name: {each: SIGNS[report.verdict(name, each).verdict] for each in judged}
            for name, one in report.methods.items() if not one["refused"]}
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("map")


def questions(report: Report) -> pd.DataFrame:
    """Criteria with their question and what passes: the margin, and why it is that."""
    rows = []
    for each in report.criteria:
        if each.margin is not None:
            margin = report.margins[each.name]
            unit = " of the way from the control to the best" if margin.is_share else ""
            rows.append({"criterion": each.name, "question": each.question, "margin": f"{margin.value:g}{unit}",
                         "reason": margin.reason})
    return pd.DataFrame(rows).set_index("criterion")


def effects(report: Report, criterion: str) -> pd.DataFrame:
    """Mean score, that of the control, effect with its interval and verdict of each method by one criterion."""
    rows = [report.verdict(name, criterion) for name, one in report.methods.items() if not one["refused"]]
    table = pd.DataFrame([{"map": row.method, "score": row.score, "control": row.control_score, "effect": row.effect,
                           "from": row.low, "to": row.high, "needed": row.threshold, "n": row.n,
                           "verdict": row.verdict} for row in rows])
    return table.set_index("map").round(2)
