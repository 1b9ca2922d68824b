"""Claims of the papers and their verdicts, which are computed from records."""

import gc
import hashlib
import json
from collections.abc import Callable, Mapping
from contextlib import contextmanager
from functools import cache, partial

import numpy as np
import pandas as pd

from lab import catalogue, linking
from lab.core import folders, results
from lab.core.profiles import PROFILES, read_yaml
from lab.core.selections import Selections
from lab.core.store import Record, Store, canonical
from lab.evidence import HOLDS, UNTESTED, Verdict, evaluate

CANNOT, IN_PART, THEOREM = "cannot tell", "tells in part", "a theorem"     # what a test is worth, where it is not all
OURS = "ours"       # in place of a paper: a prediction of this book, written down before it was measured


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


@contextmanager
def _without_collector():
    """Records are millions of small objects and none of them is garbage, but the collector looks at all of them again
    and again: without it a ledger takes four fifths of the time."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


@_without_collector()
def ledger(profile: str, store: Store | None = None) -> pd.DataFrame:
    """One row a claim: id, paper, statement, figure, reported, the figures of the book that show it, changes of its
    test, the fields of its `Verdict`."""
    store, rows, pages = store or Store(), [], linking.figure_pages()
    claims = load()
    linking.check(claims, pages)

    @cache      # many claims use the same records
    def measured_cells(experiment: str, scale: str) -> results.Measured:
        return results.measured_cells(catalogue.experiment(experiment), scale, store if scale == profile else None)

    for claim in claims:
        verdict = judge(claim, profile, measured_cells)
        shown = {name: claim.get(name, "") for name in ("id", "paper", "statement", "figure", "reported", "known")}
        shown["control"] = is_control(claim)
        shown["shown"] = [f"{pages[figure]}.html#{figure}" for figure in linking.shown(claim)]
        chapter = catalogue.experiment(claim["experiment"]).notebook if "experiment" in claim else ""
        rows.append({**shown, **verdict._asdict(), "chapter": chapter or "", "changes": _changes(claim)})
    return pd.DataFrame(rows)


def by_figure() -> dict[str, list[str]]:
    """The claims that each figure of the book shows; ValueError where one is said to be shown in no figure there is."""
    claims, pages = load(), linking.figure_pages()
    linking.check(claims, pages)
    return {name: [claim["id"] for claim in claims if name in linking.shown(claim)] for name in pages}


def is_control(claim: dict) -> bool:
    """Whether no paper makes the claim, but this book, to see what another one is worth."""
    return claim["statement"].startswith("(Control)")


def _changes(claim: dict) -> str:
    """What was tested before, one change a line."""
    return "; ".join(f"{one['date']}, {'after' if one['seen'] else 'before'} data were seen: from {one['before']} to "
                     f"{one['after']}, since {one['why']}".replace(";", ",") for one in claim.get("changes", []))


def test_digest(claim: dict) -> str:
    """Twelve digits that tell a claim's test from any other."""
    return hashlib.sha256(canonical(claim["test"]).encode()).hexdigest()[:12]


def publish() -> dict[str, tuple[str | None, str]]:
    """Write `results/verdicts.json`: the verdict on each claim at the edition scale, and the digest of its test.

    Returns the claims whose verdict changed, with the one that was published before, or None, and the new one.
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
                             "support": verdict.support, "measured": verdict.measured_with_interval,
                             "lost": verdict.lost, "tells": verdict.tells, "control": verdict.control}
    target.write_text(json.dumps(rows, indent=1, ensure_ascii=False) + "\n")
    return {name: (was, row["verdict"]) for name, row in rows.items()
            if (was := before.get(name, {}).get("verdict")) != row["verdict"]}


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
        one = measured[place]
        if any(one.found < smaller.found for smaller in measured[:place]):
            continue
        table = one.table
        seconds = cache(partial(_with_sources, experiment, one.seconds, "nested" in claim["test"]))
        verdict = evaluate(claim["test"], table, claim.get("numbers"), unit=claim.get("unit", ""), seconds=seconds,
                           codes=one.codes) if len(table) else Verdict(UNTESTED)
        if verdict.verdict == UNTESTED:
            continue
        if PROFILES.index(scale) < PROFILES.index(claim["scale"]):
            reason = f"needs the {claim['scale']} scale; for comparison, at the {scale} scale: "
            return Verdict(UNTESTED, reason=reason + verdict.measured_with_interval, scale=scale)
        text = verdict.measured_with_interval + _of_one_training(claim["test"], one) + _progress_note(table)
        tells, caveat = _caveat(claim, table, measured_cells, scale)
        return verdict._replace(scale=scale, measured_with_interval=text, caveat=caveat, tells=tells)
    return Verdict(UNTESTED, reason=f"no records of {experiment} at the {profile} scale hold it", scale=profile)


def _with_sources(name: str, seconds: Mapping[str, float], trainings: bool) -> Mapping[str, float]:
    """The seconds of records with those of the records that they are made of, whose keys are among their fingerprints.

    A further image needs no new training of its network; a further seed does.
    """
    sources = [catalogue.experiment(other) for other in catalogue.experiment(name).reads]
    made_of = {record.key: record for source in sources if trainings or source.serves is None     # a network
               for record in results.published(source)}

    def total(record: Record) -> float:
        return record.about["seconds"] + sum(total(made_of[key]) for key in record.about["fingerprints"].values()
                                             if key in made_of)

    if not made_of:
        return seconds
    return {**seconds, **{record.key: total(record) for record in results.published(catalogue.experiment(name))}}


def _of_one_training(test: dict, one: results.Measured) -> str:
    """That an interval over images is one of these networks alone: it says nothing of the next training."""
    if test.get("over", "image") != "image" or "network" not in one.table:
        return ""
    asked = Selections(one.table, np.empty(0), one.codes)
    rows = asked.select(asked.everything(), test.get("among", {}))
    if len(asked.distinct(rows, "seed")) > 1:
        return ""
    return "; of this network" if len(asked.distinct(rows, "network")) == 1 else "; of one training of each network"


def _caveat(claim: dict, table: pd.DataFrame, measured_cells: Callable, scale: str) -> tuple[str, str]:
    """Whether the test tells the claim from its opposite, and what it cannot tell: as the claim says, and as the same
    test of a placebo shows, which has to fail it."""
    said = claim.get("caveat", "")
    if "theorem" in claim:
        return THEOREM, "; ".join(filter(None, [said, claim["theorem"]]))
    if "placebo" not in claim:
        return "", said
    changed = {name: value for name, value in claim["placebo"].items() if name not in ("of", "experiment")}
    test = {name: part for name, part in {**claim["test"], **changed}.items() if part is not None}
    if "experiment" in claim["placebo"]:
        table = measured_cells(claim["placebo"]["experiment"], scale).table
    placebo = evaluate(test, table)
    passes = placebo.verdict == HOLDS
    tells, so = (CANNOT, "so the test cannot tell") if passes else (IN_PART, "so it can tell, in part")
    shown = f"the same test of {claim['placebo']['of']}: {placebo.support}, {so}"
    return tells, "; ".join(filter(None, [said, shown]))


def _progress_note(table: pd.DataFrame) -> str:
    """How many of the scale's cells have records, where some are missing."""
    done, cells = table.attrs["done"], table.attrs["cells"]
    return "" if done == cells else f"; so far {done} of {cells} cells"
