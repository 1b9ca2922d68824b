"""What changed since another audit: a baseline of the same question, asked of an older model."""

import json
import math
from pathlib import Path

from fragility.audit.report import SCHEMA, Report
from fragility.audit.verdicts import FAIL, NOT_JUDGED, Verdict

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
    try:
        refuse_other(found, found["subject"])       # itself: so it has what is compared
        found["settings"].items()
        for one in found["verdicts"]:
            [one[name] for name in ("method", "criterion", "verdict", "effect", "low", "high")]
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"The baseline {path} is damaged: it lacks {error}.") from error
    return found


def refuse_other(old: dict, subject: dict) -> None:
    """ValueError where a baseline is of another model or of images of another size."""
    for what, words in (("model", "model"), ("classes", "number of classes"), ("shape", "size of images")):
        before, now = old["subject"][what], subject[what]
        if before != now:
            raise ValueError(f"The baseline is of another {words}: {before} there, {now} here.")


def with_baseline(report: Report, old: dict) -> None:
    """Fill in `report.compared`: a row for each method and criterion that both audits judged.

    A method *dropped* where the interval of its effect lies below the one it had; where there is none, of what is exact
    or undefined, where it fails and did not before.
    """
    refuse_other(old, report.subject)
    for name in SAME:
        if name in old["settings"] and old["settings"][name] != report.settings.get(name):
            report.notices.append(f"The baseline was measured with {name} = {old['settings'][name]}, this audit with "
                                  f"{report.settings.get(name)}.")
    before = {(one["method"], one["criterion"]): one for one in old["verdicts"]}
    for now in report.verdicts:
        was = before.get((now.method, now.criterion))
        if was is None or NOT_JUDGED in (was["verdict"], now.verdict):
            continue
        number = lambda value: math.nan if value is None else value
        report.compared.append({
            "method": now.method, "criterion": now.criterion, "before": number(was["effect"]),
            "now": number(now.effect), "verdict_before": was["verdict"], "verdict": now.verdict,
            "change": _change(was, now)})
    judged = {(one.method, one.criterion) for one in report.verdicts if one.verdict != NOT_JUDGED}
    gone = [f"{method}: {criterion}" for (method, criterion), was in before.items()
            if was["verdict"] != NOT_JUDGED and (method, criterion) not in judged]
    if gone:
        report.notices.append(f"Judged in the baseline and not now: {', '.join(gone)}.")


def _change(was: dict, now: Verdict) -> str:
    """In a word: by the intervals where both audits have one, else by the verdicts, since exact numbers are rounded."""
    if None in (was["low"], was["high"], now.low, now.high) or now.low == now.high:
        worse, better = now.verdict == FAIL != was["verdict"], was["verdict"] == FAIL != now.verdict
    else:
        worse, better = now.high < was["low"], now.low > was["high"]
    return "dropped" if worse else "risen" if better else "same"
