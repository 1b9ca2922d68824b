"""Claims of the papers and their verdicts, which are computed from records."""

import hashlib
import json
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pandas as pd

from lab import catalogue
from lab.core import folders, results
from lab.core.profiles import PROFILES, read_yaml
from lab.core.store import Store, canonical
from lab.evidence import HOLDS, UNTESTED, Verdict, evaluate


def load() -> list[dict]:
    """All claims of `claims/*.yaml`; ValueError names a claim that lacks an entry."""
    claims = [claim for file in sorted(folders.CLAIMS.glob("*.yaml")) for claim in read_yaml(file)]
    for claim in claims:
        lacking = {"id", "paper", "statement", "figure", "reported", "experiment", "test", "scale"} - claim.keys()
        if lacking and "untested" not in claim:
            raise ValueError(f"The claim {claim.get('id', claim)} lacks {', '.join(sorted(lacking))}.")
        for change in claim.get("changes", []):
            if not {"date", "before", "after", "why", "seen"} <= change.keys():
                raise ValueError(f"A change of the claim {claim['id']} must have date, before, after, why and seen.")
    return claims


def ledger(profile: str, store: Store | None = None) -> pd.DataFrame:
    """One row a claim: id, paper, statement, figure, reported, changes of its test, the fields of its `Verdict`."""
    store, rows = store or Store(), []

    @cache      # many claims use the same records
    def measured_cells(experiment: str, scale: str) -> results.Measured:
        return results.measured_cells(catalogue.experiment(experiment), scale, store if scale == profile else None)

    for claim in load():
        verdict = judge(claim, profile, measured_cells)
        shown = {name: claim.get(name, "") for name in ("id", "paper", "statement", "figure", "reported", "known")}
        chapter = catalogue.experiment(claim["experiment"]).notebook if "experiment" in claim else ""
        rows.append({**shown, **verdict._asdict(), "chapter": chapter or "", "changes": _changes(claim)})
    return pd.DataFrame(rows)


def _changes(claim: dict) -> str:
    """What was tested before, one change a line."""
    return "; ".join(f"{one['date']}, {'after' if one['seen'] else 'before'} data were seen: from {one['before']} to "
                     f"{one['after']}, since {one['why']}".replace(";", ",") for one in claim.get("changes", []))


def test_digest(claim: dict) -> str:
    """Twelve digits that tell a claim's test from any other."""
    return hashlib.sha256(canonical(claim["test"]).encode()).hexdigest()[:12]


def publish() -> Path:
    """Write `results/verdicts.json`: the verdict on each claim at the edition scale, and the digest of its test.

    ValueError where a test differs from the one that was published, and no entry of the claim's `changes` says so.
    """
    target = folders.RESULTS / "verdicts.json"
    before = json.loads(target.read_text()) if target.is_file() else {}
    rows = {}
    for claim, verdict in zip(load(), ledger("edition").itertuples(), strict=True):
        digest = test_digest(claim) if "test" in claim else None
        published = before.get(claim["id"], {}).get("test")
        if published and digest != published and digest not in [one.get("test") for one in claim.get("changes", [])]:
            raise ValueError(f"The test of {claim['id']} has changed since its verdict was published. Add an entry to "
                             f"its `changes` in claims/: date, before, after, why, seen (whether data had been seen), "
                             f"and test: {digest}.")
        rows[claim["id"]] = {"test": digest, "verdict": verdict.verdict, "scale": verdict.scale,
                             "support": verdict.support, "measured": verdict.measured_with_interval}
    target.write_text(json.dumps(rows, indent=1, ensure_ascii=False) + "\n")
    return target


def judge(claim: dict, profile: str, measured_cells: Callable[[str, str], results.Measured]) -> Verdict:
    """The verdict on one claim, at the largest scale that has records for it.

    `measured_cells(experiment, scale)` gives the records: at `profile` those of the store and the published ones, at
    larger scales the published ones alone. Scales may share cells: a scale whose records are all among those of a
    smaller scale, which has more, is passed over.
    """
    if "untested" in claim:
        return Verdict(UNTESTED, reason=claim["untested"], scale="no")
    experiment, lowest = claim["experiment"], PROFILES.index(profile)
    scales = PROFILES[lowest:]
    measured = [measured_cells(experiment, scale) for scale in scales]
    for place, scale in reversed(list(enumerate(scales))):
        table, found = measured[place]
        if any(found < smaller.found for smaller in measured[:place]):
            continue
        verdict = evaluate(claim["test"], table, claim.get("numbers")) if len(table) else Verdict(UNTESTED)
        if verdict.verdict == UNTESTED:
            continue
        if PROFILES.index(scale) < PROFILES.index(claim["scale"]):
            reason = f"needs the {claim['scale']} scale; for comparison, at the {scale} scale: "
            return Verdict(UNTESTED, reason=reason + verdict.measured_with_interval, scale=scale)
        text = verdict.measured_with_interval + _progress_note(table)
        return verdict._replace(scale=scale, measured_with_interval=text, caveat=_caveat(claim, table))
    return Verdict(UNTESTED, reason=f"no records of {experiment} at the {profile} scale hold it", scale=profile)


def _caveat(claim: dict, table: pd.DataFrame) -> str:
    """What the test cannot tell, as the claim says, and as the same test of a placebo shows, which has to fail it."""
    said = claim.get("caveat", "")
    if "placebo" not in claim:
        return said
    changed = {name: value for name, value in claim["placebo"].items() if name != "of"}
    placebo = evaluate({**claim["test"], **changed}, table)
    tells = "so the test cannot tell" if placebo.verdict == HOLDS else "so it can tell, in part"
    return f"{said}; ".removeprefix("; ") + f"the same test of {claim['placebo']['of']}: {placebo.support}, {tells}"


def _progress_note(table: pd.DataFrame) -> str:
    """How many of the scale's cells have records, where some are missing."""
    done, cells = table.attrs["done"], table.attrs["cells"]
    return "" if done == cells else f"; so far {done} of {cells} cells"
