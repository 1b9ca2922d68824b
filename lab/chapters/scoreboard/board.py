"""The board: the audit's verdicts on records, and what they say of maps, of questions, and of planted maps."""

from dataclasses import asdict

import numpy as np
import pandas as pd

from fragility.audit.criteria import CRITERIA
from fragility.audit.verdicts import FAIL, NOT_JUDGED, PASS, UNDECIDED, Result, judge
from lab.chapters.scoreboard.methods import CORNER, METHODS, PLANTED
from lab.core.frames import select

#: Questions that are judged, in the order of the audit.
QUESTIONS = tuple(name for name, each in CRITERIA.items() if each.margin is not None and not each.over_trainings)
CHEATS = tuple(name for name in PLANTED if name != CORNER)      # all but the map that is right
#: Marks of the verdicts, which need no colour.
MARKS = {PASS: "✓", FAIL: "✕", UNDECIDED: "?", NOT_JUDGED: "–"}
#: The networks by name, photographs before small images.
NETWORKS = {"squeezenet1_0": "SqueezeNet 1.0, photographs", "efficientnet_lite0": "EfficientNet-Lite0, photographs",
            "cifar-resnet": "residual network, CIFAR-10", "mnist-cnn": "CNN, digits"}
_DETAILS = ("found", "moved", "noise", "repaired", "rank", "near")      # what is said beside the scores


def verdicts(table: pd.DataFrame) -> pd.DataFrame:
    """One row a network, map and question: the fields of the audit's `Verdict`, as it judges them on the records.

    Networks are the first level of the families that hold together: all methods of one network and question.
    """
    key = tuple(table.record.unique()) if len(table) else ()
    if key not in _JUDGED:
        if len(_JUDGED) == _KEPT:
            _JUDGED.pop(next(iter(_JUDGED)))
        _JUDGED[key] = _judged(table)
    return _JUDGED[key]


#: The last ones are kept, since every number of a page asks for them: of the live run, and of the published board.
_JUDGED: dict[tuple, pd.DataFrame] = {}
_KEPT = 4


def _judged(table: pd.DataFrame) -> pd.DataFrame:
    rows = []
    parts = table.groupby(["network", "criterion"], sort=False) if len(table) else ()
    for (network, name), part in parts:
        if name not in QUESTIONS:
            continue
        found = {method: result(method, name, one) for method, one in part.groupby("method", sort=False)}
        family = sum(not one.refused for method, one in found.items() if method in METHODS)
        rows += [{"network": network, **asdict(judge(CRITERIA[name], one, family=family)),
                  "record": part.record[part.method == method].iloc[0]} for method, one in found.items()]
    return pd.DataFrame(rows, columns=None if rows else ["network", "method", "criterion", "verdict", "record"])


def result(method: str, criterion: str, rows: pd.DataFrame) -> Result:
    """What the audit had of a method and criterion, from a record's rows."""
    if "refused" in rows and rows.refused.notna().any():
        return Result(method, criterion, refused=rows.refused.dropna().iloc[0])

    def held(names: list[str]) -> dict[str, np.ndarray]:
        return {name: rows[name].to_numpy(float) for name in names if name in rows and rows[name].notna().any()}
    controls = held([name for name in rows if name.startswith("control: ")])
    return Result(method, criterion, rows.image.to_numpy(float).astype(int), rows.score.to_numpy(float),
                  {name.removeprefix("control: "): values for name, values in controls.items()},
                  held(list(_DETAILS)), rows.undefined.astype(bool).to_numpy())


def networks(table: pd.DataFrame) -> list[str]:
    """Networks of which there are records, photographs first; those of which maps are still missing come last."""
    if table.empty:
        return []
    maps = select(table, method=list(METHODS)).groupby("network").method.nunique().reindex(table.network.unique())
    order = {name: place for place, name in enumerate(NETWORKS)}
    return sorted(maps.index, key=lambda name: (maps[name] < maps.max(), order.get(name, len(order))))


def passes(judged: pd.DataFrame) -> pd.DataFrame:
    """How many questions each map passes, fails and leaves open, of one network; the most passed first."""
    counts = pd.crosstab(judged.method, judged.verdict).reindex(columns=list(MARKS), fill_value=0)
    return counts.sort_values([PASS, FAIL], ascending=[False, True], kind="stable")


def refused(table: pd.DataFrame) -> dict[str, str]:
    """Maps that a network refuses altogether, and why."""
    if "refused" not in table:
        return {}
    parts = ((method, rows) for method, rows in table.groupby("method", sort=False) if rows.refused.notna().all())
    return {method: rows.refused.iloc[0] for method, rows in parts}


def caught(judged: pd.DataFrame, cheats=CHEATS) -> pd.DataFrame:
    """Which planted maps fail which questions, of one network: a row a map, a column a question."""
    rows = select(judged, method=list(cheats))
    wide = rows.assign(fails=rows.verdict == FAIL).pivot_table(index="method", columns="criterion", values="fails",
                                                               aggfunc="any")
    order = [name for name in cheats if name in wide.index], [name for name in QUESTIONS if name in wide.columns]
    return wide.reindex(index=order[0], columns=order[1]).fillna(False).astype(bool)


def adds_nothing(fails: pd.DataFrame) -> dict[str, str]:
    """Questions that catch no planted map beyond those of another one, which is named: the one that catches most."""
    found = {}
    for one in fails:
        wider = [other for other in fails if other != one and (fails[one] <= fails[other]).all()
                 and (fails[other].sum() > fails[one].sum() or list(fails).index(other) < list(fails).index(one))]
        if wider:
            found[one] = max(wider, key=lambda other: fails[other].sum())
    return found
