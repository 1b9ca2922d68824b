"""What changed since another audit: a baseline of the same question, asked of an older model."""

import json
from pathlib import Path

from fragility.audit.report import SCHEMA, Report
from fragility.audit.verdicts import FAIL

SAME = ("epsilon", "k", "steps", "removed", "samples", "depths", "top pixels", "window")


def read(path: str | Path) -> dict:
    """A report written by :meth:`fragility.audit.Report.to_json`; ValueError where it is none."""
    try:
        found = json.loads(Path(path).expanduser().read_text(encoding="utf-8"))
    except OSError as error:
        raise ValueError(f"The baseline {path} cannot be read ({error.strerror}).") from error
    except ValueError as error:
        raise ValueError(f"The baseline {path} is not JSON ({error}).") from error
    if not isinstance(found, dict) or found.get("schema") != SCHEMA:
        seen = found.get("schema") if isinstance(found, dict) else type(found).__name__
        raise ValueError(f"The baseline {path} is not a report of this version: its schema is {seen!r}, not "
                         f"{SCHEMA!r}.")
    return found


def refuse_other(old: dict, subject: dict) -> None:
    """ValueError where a baseline is of another model or of images of another size."""
    for what, words in (("model", "model"), ("classes", "number of classes"), ("shape", "size of images")):
        before, now = old["subject"][what], subject[what]
        if before != now:
            raise ValueError(f"The baseline is of another {words}: {before} there, {now} here.")


def with_baseline(report: Report, old: dict) -> None:
    """Fill in `report.compared`: a row for each method and criterion that both audits judged.

    A method *dropped* where the interval of its effect lies below the one it had, or where it failed for a reason that
    has no interval and did not before.
    """
    refuse_other(old, report.subject)
    for name in SAME:
        if name in old["settings"] and old["settings"][name] != report.settings.get(name):
            report.notices.append(f"The baseline was measured with {name} = {old['settings'][name]}, this audit with "
                                  f"{report.settings.get(name)}.")
    before = {(one["method"], one["criterion"]): one for one in old["verdicts"]}
    for now in report.verdicts:
        was = before.get((now.method, now.criterion))
        if was is None or was["effect"] is None or now.effect is None:
            continue
        both = was["high"] is not None and now.high is not None and was["low"] is not None and now.low is not None
        dropped = both and now.high < was["low"]
        risen = both and now.low > was["high"]
        if now.verdict == FAIL != was["verdict"] and now.low == now.high:
            dropped, risen = True, False
        report.compared.append({
            "method": now.method, "criterion": now.criterion, "before": was["effect"], "now": now.effect,
            "verdict_before": was["verdict"], "verdict": now.verdict,
            "change": "dropped" if dropped else "risen" if risen else "same"})
