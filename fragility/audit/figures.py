"""What the page draws: overlap under noise, removal, the cascade, and cost against quality; a panel a method."""

import math
from typing import NamedTuple

import numpy as np

from fragility.audit.criteria.noise import RADII
from fragility.audit.drawing import SHARES, Axis, Labelled, Panel, by_tens, scatter, spanning
from fragility.audit.report import Report
from fragility.audit.verdicts import Result, interval
from fragility.audit.words import MINUS, fixed, number, plain, seconds


class Figure(NamedTuple):
    """A method's panel, and what stands above it."""

    method: str
    note: str
    panel: Panel


class Curve(NamedTuple):
    """Mean and 95 % interval at each point of a curve over images."""

    mean: np.ndarray
    low: np.ndarray
    high: np.ndarray


def measured(report: Report, criterion: str, detail: str | None = None) -> dict[str, Result]:
    """Results of a criterion by method, of those that were measured and have that detail; controls come last."""
    found = {method: report.results.get((method, criterion)) for method in
             sorted(report.methods, key=lambda method: report.methods[method]["control"])}
    return {method: one for method, one in found.items()
            if one is not None and not one.refused and np.isfinite(one.score).any()
            and (detail is None or detail in one.details)}


def curve(values: np.ndarray) -> Curve:
    """Of values (n, points), without the images that are NaN."""
    values = values[np.isfinite(values).all(1)]
    return Curve(*(np.array(one) for one in zip(*(interval(column) for column in values.T))))


def mean(values: np.ndarray) -> float:
    """Without NaN; NaN of nothing."""
    values = values[np.isfinite(values)]
    return float(values.mean()) if len(values) else math.nan


def judged(report: Report, method: str, *criteria: str) -> str:
    """The verdicts on a method in a few words; none where nothing was measured."""
    words = {(one.method, one.criterion): one.verdict for one in report.verdicts if one.n}
    return " · ".join(f"{each}: {words[method, each]}" for each in criteria if (method, each) in words)


def overlap(report: Report) -> list[Figure]:
    """Share of the top pixels that stay, over the size of the noise, beside another image's map, chance and attack."""
    results, attacks = measured(report, "noise", "curve"), measured(report, "attack")
    epsilon, (height, width) = report.settings["epsilon"], report.subject["shape"][1:]
    chance = report.settings["top pixels"] / (height * width)
    sizes = [share * epsilon for share in RADII]
    x = Axis(0, 1.15 * epsilon, [(size, plain(255 * size)) for size in sizes], "noise, grey levels of 255")
    y, curves = SHARES._replace(label="share that stays"), {name: curve(one.details["curve"])
                                                            for name, one in results.items()}
    figures = []
    for name, one in results.items():
        here, attack = curves[name], attacks.get(name)
        other = mean(one.controls["another image"]) if "another image" in one.controls else math.nan
        said = (f"{name}: {fixed(here.mean[-1], 2)} of the top pixels stay under noise of epsilon, "
                f"{fixed(other, 2)} are shared with another image, {number(chance)} by chance")
        if attack is not None:
            middle, low, high = interval(attack.score[np.isfinite(attack.score)])
            said += f"; {fixed(middle, 2)} stay under attack"
        panel = Panel(said + ".", "Horizontal: size of the noise. Vertical: share of the top pixels that stay.", x, y)
        _behind(panel, sizes, (each.mean for rest, each in curves.items() if rest != name))
        panel.level(chance, "chance")
        panel.level(other, "other")
        panel.band(sizes, here.low, here.high, "own")
        panel.line(sizes, here.mean, "own")
        if attack is not None:
            panel.point(1.07 * epsilon, middle, low, high, "attack", "diamond")
        figures.append(Figure(name, judged(report, name, "noise", "attack"), panel))
    return figures


def _behind(panel: Panel, xs, lines) -> None:
    for ys in lines:
        panel.line(xs, ys, "behind")


def removal(report: Report, criterion: str) -> list[Figure]:
    """Probability of the predicted class over the share of pixels that is gone, in both orders, beside the controls."""
    results = {name: one for name, one in measured(report, criterion, "most").items() if "least" in one.details}
    shares = report.settings["removed"]
    x = Axis(0, 1, [(0, "0"), (0.5, "50 %"), (1, "100 %")], "pixels removed")
    y = SHARES._replace(label="probability of the class")
    curves = {name: {side: curve(one.details[side]) for side in ("most", "least")} for name, one in results.items()}
    figures = []
    for name, sides in curves.items():
        area = mean(results[name].score)
        panel = Panel(f"{name}: {fixed(area, 2)} lies between the two curves on average.",
                      "Horizontal: share of the pixels removed. Vertical: probability of the predicted class.", x, y)
        for control in ("sobel", "random"):
            if control in curves and control != name:
                _behind_as(panel, shares, curves[control], control)
        for side in ("least", "most"):
            panel.band(shares, sides[side].low, sides[side].high, side)
            panel.line(shares, sides[side].mean, side)
        figures.append(Figure(name, judged(report, name, criterion), panel))
    return figures


def _behind_as(panel: Panel, xs, sides: dict[str, Curve], kind: str) -> None:
    for side in sides.values():
        panel.line(xs, side.mean, f"behind-{kind}")


def cascade(report: Report) -> list[Figure]:
    """Rank correlation with the maps of networks that are random from the output down, beside that under noise."""
    results = measured(report, "parameters", "cascade")
    if not results:
        return []
    curves = {name: curve(one.details["cascade"]) for name, one in results.items()}
    depths = len(next(iter(curves.values())).mean)
    steps = list(range(1, depths + 1))
    x = Axis(0.8, depths + 0.2, [(1, "output"), (depths, "all")] if depths > 1 else [(1, "all")],
             "layers that are random")
    lowest = math.floor(4 * min(0.0, *(np.nanmin(one.low, initial=0) for one in curves.values()))) / 4
    y = Axis(max(-1, lowest), 1, SHARES.ticks if lowest > -0.5 else [(-0.5, f"{MINUS}0.5"), *SHARES.ticks],
             "rank correlation")
    figures = []
    for name, here in curves.items():
        noise = mean(results[name].controls["noise"]) if "noise" in results[name].controls else math.nan
        panel = Panel(f"{name}: rank correlation {', '.join(fixed(one, 2) for one in here.mean)} as more layers are "
                      f"random; {fixed(noise, 2)} under noise.",
                      "Horizontal: layers randomised, from the output down. Vertical: rank correlation of the maps.",
                      x, y)
        _behind(panel, steps, (each.mean for rest, each in curves.items() if rest != name))
        panel.level(noise, "other")
        panel.band(steps, here.low, here.high, "own")
        panel.line(steps, here.mean, "own")
        figures.append(Figure(name, judged(report, name, "parameters"), panel))
    return figures


class Cost(NamedTuple):
    """Cost against one criterion's effect; never against a count of tests, which would add unlike things."""

    criterion: str
    threshold: float | None     #: where all methods have the same
    panel: Panel


def cost(report: Report) -> Cost | None:
    """Seconds a map against the effect by removal, or by the first other criterion that has effects; None of one.

    Controls are left out: theirs is an effect against one another.
    """
    spent = {name: mean(one.score) for name, one in measured(report, "cost").items()}
    spent = {name: spent[name] if name in spent else one["seconds"] for name, one in report.methods.items()
             if not one["refused"]}
    for each in sorted(report.criteria, key=lambda each: each.name != "removal"):
        shown = {one.method: one.estimate for one in report.verdicts if one.criterion == each.name
                 and one.estimate and spent[one.method] > 0 and not report.methods[one.method]["control"]}
        if len(shown) > 1:
            break
    else:
        return None
    points = [Labelled(name, spent[name], one.effect, one.low, one.high, "own") for name, one in shown.items()]
    x = by_tens([one.x for one in points], seconds, "time a map")
    y = spanning([value for one in points for value in (one.low, one.y, one.high)], f"effect by {each.name}")
    needed = {one.threshold for one in shown.values()}
    threshold = needed.pop() if len(needed) == 1 else None
    panel = scatter(f"Time a map against the effect by {each.name}, for {len(points)} methods.",
                    "; ".join(f"{one.name}: {seconds(one.x)}, effect {number(one.y)}" for one in points) + ".",
                    x, y, points, {} if threshold is None else {"other": threshold})
    return Cost(each.name, threshold, panel)
