"""What the page says in tables: the grid, the evidence behind each verdict, agreement, and what was not judged."""

from collections import defaultdict
from typing import NamedTuple

import numpy as np

from fragility.audit.criterion import Criterion
from fragility.audit.drawing import Axis, Strip, spanning
from fragility.audit.report import Report
from fragility.audit.verdicts import FAIL, NOT_JUDGED, PASS, UNDECIDED, Verdict
from fragility.audit.words import effect, number, seconds

SIGNS = {PASS: "✓", FAIL: "✕", NOT_JUDGED: "–"}     # beside the words, for who reads by shape
#: Keys of the criteria's sources, as readers look them up.
SOURCES = {
    "ghorbani2019": ("Ghorbani, Abid and Zou 2019", "https://arxiv.org/abs/1710.10547"),
    "kindermans2019": ("Kindermans et al. 2019", "https://arxiv.org/abs/1711.00867"),
    "kamath2024": ("Kamath et al. 2024", "https://arxiv.org/abs/2312.10534"),
    "rong2022": ("Rong et al. 2022", "https://arxiv.org/abs/2202.00449"),
    "petsiuk2018": ("Petsiuk, Das and Saenko 2018", "https://arxiv.org/abs/1806.07421"),
    "adebayo2018": ("Adebayo et al. 2018", "https://arxiv.org/abs/1810.03307"),
    "sundararajan2017": ("Sundararajan, Taly and Yan 2017", "https://arxiv.org/abs/1703.01365"),
    "yeh2019": ("Yeh et al. 2019", "https://arxiv.org/abs/1901.09392"),
}


class Cell(NamedTuple):
    """A verdict in the grid."""

    verdict: Verdict
    sign: str
    small: list[str]        #: what stands below it in small print
    anchor: str             #: of its row in the evidence


class Row(NamedTuple):
    """A method in the grid; None where a criterion has nothing to say of it."""

    method: str
    cells: list[Cell | None]


def counts(report: Report) -> dict[str, int | None]:
    """Images scored by each criterion, where they are the same for all methods that were."""
    seen = {each.name: {one.n for one in report.verdicts if one.criterion == each.name and one.n}
            for each in report.criteria}
    return {name: found.pop() if len(found) == 1 else None for name, found in seen.items()}


def grid(report: Report) -> tuple[list[Row], list[Row]]:
    """Rows of the methods, and of the controls."""
    found = {(one.method, one.criterion): one for one in report.verdicts}
    common = counts(report)
    rows: tuple[list[Row], list[Row]] = [], []
    for method, about in report.methods.items():
        if not about["refused"]:
            seen = [found.get((method, each.name)) for each in report.criteria]
            cells = [one and _cell(report, one, common[one.criterion]) for one in seen]
            rows[about["control"]].append(Row(method, cells))
    return rows


def _cell(report: Report, one: Verdict, common: int | None) -> Cell:
    """Its number of images is left out where the criterion has one in common."""
    small = []
    if one.estimate:
        small += effect(*one.estimate)
    elif one.criterion == "cost" and one.score is not None:
        megabytes = report.methods[one.method]["megabytes"]
        small += [seconds(one.score), *([f"{number(megabytes)} MB"] if megabytes and megabytes >= 0.1 else [])]
    elif one.score is not None:
        small.append(number(one.score))
    small += [f"n\N{NO-BREAK SPACE}=\N{NO-BREAK SPACE}{one.n}"] if one.n and not common else []
    small += [f"{one.undefined} undefined"] if one.undefined else []
    small += [f"needs {one.needed:,}"] if one.needed else []
    return Cell(one, SIGNS.get(one.verdict, "?"), small, anchor(report, one))


def anchor(report: Report, one: Verdict) -> str:
    """Name of a verdict's row in the evidence; made of places, since names may hold anything."""
    return f"v-{[each.name for each in report.criteria].index(one.criterion)}-{list(report.methods).index(one.method)}"


class Evidence(NamedTuple):
    """A criterion with the reasons of its verdicts, those that were judged first."""

    criterion: Criterion
    source: tuple[str, str | None] | None       #: words, and where it can be read
    scale: Strip | None                         #: of the intervals, where there are any
    rows: list[tuple[Cell, Strip | None]]

    @property
    def summary(self) -> str:
        """How many methods have each verdict, the controls among them."""
        words = [cell.verdict.verdict for cell, _ in self.rows]
        return ", ".join(f"{words.count(word)} {word}" for word in (PASS, FAIL, UNDECIDED, NOT_JUDGED) if word in words)


def evidence(report: Report) -> list[Evidence]:
    """The criteria in the order of the report."""
    found = []
    for each in report.criteria:
        verdicts = [one for one in report.verdicts if one.criterion == each.name]
        ends = [value for one in verdicts if one.estimate for value in one.estimate[1:]]
        axis = spanning(ends, count=3) if ends else None
        rows = [(_cell(report, one, one.n), _strip(one, axis)) for one in verdicts]
        source = SOURCES.get(each.source, (each.source, None)) if each.source else None
        found.append(Evidence(each, source, axis and _scale(axis), sorted(
            rows, key=lambda row: row[0].verdict.verdict == NOT_JUDGED)))
    return found


def _strip(one: Verdict, axis: Axis | None) -> Strip | None:
    if axis is None or one.estimate is None:
        return None
    middle, low, high, threshold = one.estimate
    strip = Strip(axis, f"Effect {' '.join(effect(*one.estimate))}, needed {number(threshold)}.")
    strip.upright(threshold, "needed", 1, strip.height - 1)
    strip.interval(low, middle, high, one.verdict.replace(" ", "-"))
    return strip


def _scale(axis: Axis) -> Strip:
    strip = Strip(axis, f"Scale of the effect: {', '.join(label for _, label in axis.ticks)}.", height=16)
    for value, label in axis.ticks:
        strip.add("text", label, x=strip.along(value), y=12, text_anchor="middle")
    return strip


class Pair(NamedTuple):
    """How far two methods say the same."""

    same: int                   #: criteria with the same verdict
    of: int                     #: criteria that say pass or fail of both
    likeness: float | None      #: mean rank correlation of their maps, as the pictures hold them


def agreement(report: Report) -> tuple[list[str], dict[tuple[str, str], Pair]]:
    """Methods, and each pair of them with the later one first."""
    names = [name for name, one in report.methods.items() if not one["control"] and not one["refused"]]
    words = {(one.method, one.criterion): one.verdict for one in report.verdicts if one.verdict in (PASS, FAIL)}
    ranked = {name: _ranks(report.pictures[name, "clean"]) for name in names if (name, "clean") in report.pictures}
    pairs = {}
    for place, one in enumerate(names):
        for other in names[:place]:
            both = [each.name for each in report.criteria if (one, each.name) in words and (other, each.name) in words]
            pairs[one, other] = Pair(sum(words[one, each] == words[other, each] for each in both), len(both),
                                     _likeness(ranked.get(one), ranked.get(other)))
    return (names, pairs) if len(names) > 1 else ([], {})


def _ranks(maps: np.ndarray) -> np.ndarray:
    """Ranks (n, pixels) of small maps, centred and of length one; NaN where a map is the same everywhere."""
    from scipy.stats import rankdata
    ranks = rankdata(maps.reshape(len(maps), -1), axis=1)
    ranks -= ranks.mean(1, keepdims=True)
    length = np.linalg.norm(ranks, axis=1, keepdims=True)
    return np.divide(ranks, length, out=np.full_like(ranks, np.nan), where=length > 0).astype(np.float32)


def _likeness(a: np.ndarray | None, b: np.ndarray | None) -> float | None:
    if a is None or b is None or a.shape != b.shape:
        return None
    each = (a * b).sum(1)
    return float(np.nanmean(each)) if np.isfinite(each).any() else None


def not_judged(report: Report) -> list[tuple[str, list[str], list[str]]]:
    """A reason, and the criteria and methods that share it; what is reported without a threshold is not among them."""
    methods: dict[tuple[str, str], list[str]] = defaultdict(list)
    for one in report.verdicts:
        if one.verdict == NOT_JUDGED and one.criterion in report.margins:
            methods[one.reason, one.criterion].append(one.method)
    criteria: dict[tuple[str, tuple[str, ...]], list[str]] = defaultdict(list)
    for (reason, criterion), names in methods.items():
        criteria[reason, tuple(names)].append(criterion)
    return [(reason, found, list(names)) for (reason, names), found in criteria.items()]
