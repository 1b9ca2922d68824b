"""From measured scores to verdicts: intervals of paired effects, held together for all methods of a criterion."""

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from scipy.special import stdtrit

from fragility.audit.criterion import Criterion
from fragility.audit.margins import LEAST, Margin

PASS, FAIL, UNDECIDED, NOT_JUDGED = "pass", "fail", "undecided", "not judged"
LEVEL = 0.95                # of the intervals of all methods of a criterion together
MOST_UNDEFINED = 0.05       # share of images whose map may be undefined
MOST_NEEDED = 100_000       # images; beyond, the question is not worth more of them


@dataclass
class Result:
    """What was measured of a method by a criterion; one entry an image in each array, NaN where there is nothing."""

    method: str
    criterion: str
    images: np.ndarray = field(default_factory=lambda: np.zeros(0, int))        #: places in the order of the audit
    score: np.ndarray = field(default_factory=lambda: np.zeros(0))
    controls: dict[str, np.ndarray] = field(default_factory=dict)
    details: dict[str, np.ndarray] = field(default_factory=dict)                #: (n,) or (n, points)
    undefined: np.ndarray = field(default_factory=lambda: np.zeros(0, bool))    #: whose map is zero, constant or NaN
    seconds: float = 0.0
    refused: str | None = None                                                  #: why nothing was measured

    def rows(self) -> Iterator[dict]:
        """One row an image: its score, controls, and details that are numbers."""
        single = {name: values for name, values in self.details.items() if np.ndim(values) == 1}
        for place in range(len(self.images)):
            yield {"score": float(self.score[place]), "undefined": bool(self.undefined[place]),
                   **{f"control: {name}": float(values[place]) for name, values in self.controls.items()},
                   **{name: float(values[place]) for name, values in single.items()}}


class Estimate(NamedTuple):
    """An effect, its interval, and what it must exceed."""

    effect: float
    low: float
    high: float
    threshold: float


@dataclass(frozen=True)
class Verdict:
    """The answer to a criterion's question for a method."""

    method: str
    criterion: str
    verdict: str                    #: one of "pass", "fail", "undecided", "not judged"
    reason: str                     #: a sentence
    n: int = 0                      #: images that were scored
    undefined: int = 0              #: images whose map is undefined
    score: float | None = None      #: mean, or that of the worst image where it decides
    control: str | None = None      #: the control that the method comes closest to
    control_score: float | None = None
    effect: float | None = None     #: mean of score minus control, or of control minus score where low is good
    low: float | None = None        #: its interval; of a measured threshold, of their difference, drawn above it
    high: float | None = None
    threshold: float | None = None  #: what the effect must exceed
    needed: int | None = None       #: images that would decide, where it is undecided

    @property
    def estimate(self) -> Estimate | None:
        """The effect with its interval; None where there is none, or it has no width."""
        if self.effect is None or self.low is None or self.high is None or self.threshold is None:
            return None
        return None if self.low == self.high else Estimate(self.effect, self.low, self.high, self.threshold)


def interval(effects: np.ndarray, level: float = LEVEL) -> tuple[float, float, float]:
    """Mean and Student's interval of effects (n,), n at least 1; infinitely wide for a single one."""
    mean, n = float(np.mean(effects)), len(effects)
    if n < 2:
        return mean, -math.inf, math.inf
    half = float(stdtrit(n - 1, (1 + level) / 2)) * float(np.std(effects, ddof=1)) / math.sqrt(n)
    return mean, mean - half, mean + half


def images_needed(mean: float, deviation: float, margin: float, level: float = LEVEL) -> int | None:
    """The smallest n at which an interval of this mean and deviation leaves the margin out; None beyond 100,000."""
    if not math.isfinite(deviation):
        return None
    gap = abs(mean - margin)

    def decides(n: int) -> bool:
        return float(stdtrit(n - 1, (1 + level) / 2)) * deviation / math.sqrt(n) < gap
    low, high = 2, MOST_NEEDED
    if not decides(high):
        return None
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if decides(middle) else (middle + 1, high)
    return low


def family_level(family: int) -> float:
    """Level of each of `family` intervals at which all of them hold together with 95 % (Bonferroni)."""
    return 1 - (1 - LEVEL) / max(1, family)


def judge(criterion: Criterion, result: Result, *, family: int, margin: Margin | None = None) -> Verdict:
    """The verdict on a method; `family` counts the methods that are judged by this criterion."""
    margin = margin or criterion.margin

    def verdict(word: str, reason: str, **numbers) -> Verdict:
        return Verdict(result.method, criterion.name, word, reason, undefined=int(result.undefined.sum()), **numbers)
    if result.refused:
        return verdict(NOT_JUDGED, result.refused)
    scored = ~np.isnan(result.score)
    for control in result.controls.values():
        scored &= ~np.isnan(control)
    n, share = int(scored.sum()), float(result.undefined.mean()) if len(result.undefined) else 0.0
    score = float(result.score[scored].mean()) if n else None
    if margin is None:
        return verdict(NOT_JUDGED, "Reported, not judged.", n=n, score=score)
    if share > MOST_UNDEFINED:
        return verdict(FAIL, f"The map is undefined (zero everywhere, constant or not finite) in {share:.0%} of the "
                             "images.", n=n, score=score)
    if not n:
        return verdict(NOT_JUDGED, "No image could be scored.")
    found = {"n": n, "score": score}
    objection = criterion.objection({**result.details, "score": result.score})
    if objection:
        return verdict(NOT_JUDGED, objection, **found)
    if criterion.exact:
        return _exact(criterion, result, result.score[scored], margin, verdict, found)
    return _by_interval(criterion, result, scored, family, margin, verdict, found)


def _exact(criterion: Criterion, result: Result, scores: np.ndarray, margin: Margin, verdict, found: dict) -> Verdict:
    """Without an interval: by the mean, or by the worst image where a mean would hide the one that breaks the rule."""
    worst = scores.min() if criterion.high_is_good else scores.max()
    score = float(worst if criterion.worst else scores.mean())
    effect = score if criterion.high_is_good else -score
    word = PASS if effect >= margin.value else FAIL
    reason = (f"{criterion.score.capitalize()}: {score:.2g}{' at worst' if criterion.worst else ''}; allowed is "
              f"{abs(margin.value):g}.")
    found["score"] = score
    repaired = result.details.get("repaired")
    if word == FAIL and repaired is not None and np.nanmax(repaired) <= abs(margin.value):
        reason += " With a reference that moves with the data, such as their mean colour, it does not change."
    return verdict(word, reason, **found, effect=effect, low=effect, high=effect, threshold=margin.value)


def _by_interval(criterion, result, scored, family, margin, verdict, found) -> Verdict:
    """All controls must be beaten, so the closest one decides, and passing needs no correction for their number."""
    level, sign = family_level(family), 1 if criterion.high_is_good else -1
    against = [_against(criterion, name, sign * (result.score - control)[scored], control[scored], margin, level)
               for name, control in (result.controls or {"zero": 0 * result.score}).items()]
    failed = [one for one in against if one.high < one.threshold]
    closest = min(failed, key=lambda one: one.high - one.threshold) if failed else min(
        against, key=lambda one: one.low - one.threshold)
    found |= {"control": closest.control, "control_score": closest.level, "effect": closest.mean, "low": closest.low,
              "high": closest.high, "threshold": closest.threshold}
    near = "" if closest.control == "zero" else f", {closest.control} {closest.level:.2g}"
    seen = (f"{criterion.score.capitalize()}: {found['score']:.2g}{near}; effect {closest.mean:.2g} "
            f"[{closest.low:.2g}, {closest.high:.2g}], needed {closest.threshold:.2g}.")
    if criterion.high_is_good and criterion.best is not None and criterion.best - closest.level <= closest.threshold:
        return verdict(NOT_JUDGED, f"{seen} The control leaves less room than that even to a perfect map, so these "
                                   "images cannot answer the question.", **found)
    if failed:
        return verdict(FAIL, seen, **found)
    if closest.low > closest.threshold:
        return verdict(PASS, seen, **found)
    needed = images_needed(closest.mean, closest.deviation, closest.threshold, level)
    more = f" About {needed:,} images would decide." if needed else " More images than anyone has would be needed."
    return verdict(UNDECIDED, seen + more, **found, needed=needed)


def beyond(criterion: Criterion, effects: np.ndarray, control: np.ndarray,
           margin: Margin) -> tuple[np.ndarray, float]:
    """What effects (n,) have above what they need, one an image, and what they need in the mean."""
    sign = 1 if criterion.high_is_good else -1
    room = sign * (criterion.best - control) if criterion.best is not None else np.zeros(len(control))
    threshold = margin.threshold(float(room.mean()))
    varies = margin.is_share and threshold > LEAST
    return effects - (margin.value * room if varies else threshold), threshold


class Against(NamedTuple):
    """A method's mean effect against one control, with the interval of its distance from the threshold."""

    control: str
    level: float        # mean score of the control
    mean: float
    low: float
    high: float
    threshold: float
    deviation: float


def _against(criterion: Criterion, name: str, effects: np.ndarray, control: np.ndarray, margin: Margin,
             level: float) -> Against:
    """Where the margin is a share of the room, that is measured on the same images and varies with them, too: so the
    interval is that of the effects minus their own shares, which is what the verdict is about."""
    excess, threshold = beyond(criterion, effects, control, margin)
    middle, _, high = interval(excess, level)
    mean, half = float(effects.mean()), high - middle
    deviation = float(np.std(excess, ddof=1)) if len(excess) > 1 else math.inf
    return Against(name, float(control.mean()), mean, mean - half, mean + half, threshold, deviation)
