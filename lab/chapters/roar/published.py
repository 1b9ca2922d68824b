"""Numbers in the text of the chapter on removal that are published: our records on clothes and photographs, and the
paper's table."""

import pandas as pd

from lab.chapters.roar import benchmarks, path_steps, rankings, retraining, trainings
from lab.chapters.roar.figures import REPORTED_CLEAN, reported_roar
from lab.chapters.roar.numbers import MODES, NUMBERS, span
from lab.core.frames import select
from lab.core.numbers import Number, difference, mean, published_verdict, sourced, statistic
from lab.core.pages import Page

number = NUMBERS.number
TABLE = "claims/reported/hooker2019_table2.csv"
DATA = {"clothes": "fashion-mnist", "cifar": "cifar10"}
COMMON = ("GRAD", "IG", "GB", "SG-GRAD", "SG-SQ-GRAD", "VAR-GRAD", "Sobel", "Random")      # of both data sets
CLOTHES = tuple(name for name in rankings.ESTIMATORS if name not in COMMON)                # only of clothes
MASKED = ("GRAD", "VAR-GRAD", "Random")      # of both data sets
FILTERED = ("GRAD", "SG-SQ-GRAD")
VERDICTS = {"keeping": "hooker-11"}


def edition(page: Page, data: str, share: float | None = None, **where) -> pd.DataFrame:
    """Published rows of a data set at one replaced share, see :func:`lab.chapters.roar.benchmarks.at_share`."""
    rows = select(page.edition(retraining.EXPERIMENT), data_set=DATA[data])
    return benchmarks.at_share(rows, share, **where)


def untouched(page: Page, data: str, pipeline: str = "direct") -> pd.DataFrame:
    """Published trainings on a data set's untouched images."""
    return select(page.edition(trainings.EXPERIMENT), data_set=DATA[data], pipeline=pipeline)


@number("verdict.{what}", what=tuple(VERDICTS))
def verdict(page: Page, what: str) -> Number:
    """Published verdict on a claim of the paper."""
    return published_verdict(VERDICTS[what])


@number("published.{count}", count=("done", "cells"))
def published_cells(page: Page, count: str) -> Number:
    """Cells of the edition's grid that are published, of all there are."""
    table = page.edition(retraining.EXPERIMENT)
    return Number(table.attrs.get(count), rows=table)


@number("published.widest", "%", digits=0)
def published_widest(page: Page) -> Number:
    """Largest share of the pixels that is removed on clothes and photographs."""
    removed = select(page.edition(retraining.EXPERIMENT), mode="remove")
    return statistic(removed, lambda rows: 100 * rows.fraction.max())


@number("{data}.control", "%", digits=0, data=DATA)
def control(page: Page, data: str) -> Number:
    """Test accuracy of networks that are trained on untouched images."""
    return mean(untouched(page, data), "accuracy", over="seed")


@number("{data}.{estimator}.left", "%", digits=0, data=DATA, estimator=COMMON)
@number("{data}.{estimator}.left", "%", digits=0, data=("clothes",), estimator=CLOTHES)
def left(page: Page, data: str, estimator: str) -> Number:
    """Accuracy that ROAR leaves at the largest share."""
    return mean(edition(page, data, estimator=estimator), "accuracy", over="seed")


@number("{data}.{estimator}.change", "points", digits=0, signed=True, data=DATA, estimator=COMMON[:-1])
@number("{data}.{estimator}.change", "points", digits=0, signed=True, data=("clothes",), estimator=CLOTHES)
def change(page: Page, data: str, estimator: str) -> Number:
    """What ROAR leaves at the largest share less what it leaves of a random ranking, at the same seed."""
    return difference(edition(page, data, estimator=estimator), edition(page, data, estimator="Random"), "accuracy",
                      over="seed")


@number("{data}.{estimator}.masks", "%", digits=0, data=DATA, estimator=MASKED)
@number("{data}.{estimator}.masks", "%", digits=0, data=("clothes",), estimator=("SG-SQ-GRAD", "Sobel"))
def masks(page: Page, data: str, estimator: str) -> Number:
    """Accuracy of networks that see only the masks of the largest share."""
    return mean(edition(page, data, kind="masks", estimator=estimator), "accuracy", over="seed")


@number("{data}.{estimator}.road", "%", digits=1, data=DATA, estimator=COMMON)
@number("{data}.{estimator}.road", "%", digits=1, data=("clothes",), estimator=CLOTHES)
def road(page: Page, data: str, estimator: str) -> Number:
    """Accuracy that ROAD leaves at the largest share, of one network."""
    return mean(edition(page, data, kind="road", estimator=estimator), "accuracy", over="seed")


@number("{data}.original", "%", digits=0, data=DATA)
def original(page: Page, data: str) -> Number:
    """Accuracy of the explained network, not trained again, on images that lose the largest share at random."""
    return mean(edition(page, data, kind="original", estimator="Random"), "accuracy", over="seed")


@number("clothes.span.{benchmark}", "points", digits=0, benchmark=MODES)
def spread(page: Page, benchmark: str) -> Number:
    """Points between the best and the worst estimator of both benchmarks with nine tenths replaced on clothes."""
    return statistic(edition(page, "clothes", mode=MODES[benchmark]), span)


@number("{data}.{estimator}.road.half", "%", digits=0, data=DATA, estimator=COMMON)
def road_half(page: Page, data: str, estimator: str) -> Number:
    """Accuracy that ROAD leaves with half of the pixels removed, of one network."""
    return mean(edition(page, data, 0.5, kind="road", estimator=estimator), "accuracy", over="seed")


@number("{data}.fresh", "points", signed=True, data=DATA)
def fresh(page: Page, data: str) -> Number:
    """Accuracy with fresh random masks in every batch less that with fixed ones, at the same seed."""
    fixed = edition(page, data, estimator="Random")
    return difference(edition(page, data, kind="fresh"), fixed, "accuracy", over="seed")


@number("{data}.resized", "points", signed=True, data=DATA)
def resized(page: Page, data: str) -> Number:
    """Change of the accuracy by images that are resized twice, at the same seed."""
    return difference(untouched(page, data, "resized"), untouched(page, data), "accuracy", over="seed")


@number("clothes.{estimator}.blur.{kind}", "points", digits=1, signed=True, estimator=FILTERED,
        kind=tuple(rankings.FILTERS))
def blur(page: Page, estimator: str, kind: str) -> Number:
    """Change of what ROAR leaves at the largest share by a filter of the maps, at the same seed."""
    return difference(edition(page, "clothes", estimator=estimator, filter=kind),
                      edition(page, "clothes", estimator=estimator), "accuracy", over="seed")


@number("clothes.agreements")
def agreeing(page: Page) -> Number:
    """Pairs of benchmarks, of five, whose agreement has an interval that excludes zero on clothes."""
    rows = select(page.edition(retraining.EXPERIMENT), data_set=DATA["clothes"])
    return statistic(rows, benchmarks.beyond_chance)


@number("clothes.path.{estimator}", digits=2, estimator=rankings.FAMILIES["SG-IG"])
def path(page: Page, estimator: str) -> Number:
    """Rank correlation of the maps of a short path with those of a long one, over images."""
    return mean(select(page.edition(path_steps.EXPERIMENT), estimator=estimator), "spearman")


@number("clothes.path.{length}", length=("short", "long"))
def path_length(page: Page, length: str) -> Number:
    """Points of the short path, and of the long one, on clothes."""
    column = "path_steps" if length == "short" else "long_steps"
    return statistic(page.edition(path_steps.EXPERIMENT), lambda rows: int(rows[column].iloc[0]))


def _reported(column: str = "percent", share: float = 90, mode: str = "ROAR", **where) -> pd.DataFrame:
    return select(reported_roar(), **{column: share, "mode": mode, **where})


@number("paper.left.{estimator}", "%", digits=1, estimator=("SG-SQ-GRAD", "VAR-GRAD", "Random"))
def paper_left(page: Page, estimator: str) -> Number:
    """What the paper's ROAR leaves on ImageNet at its largest share, nine tenths."""
    return sourced(_reported(data_set="ImageNet", estimator=estimator).accuracy.item(), TABLE)


@number("paper.gap", "points", digits=0)
def paper_gap(page: Page) -> Number:
    """Points between a random ranking and SG-SQ-GRAD in the paper's ROAR on ImageNet at its largest share."""
    return sourced(paper_left(page, "Random").value - paper_left(page, "SG-SQ-GRAD").value, TABLE)


@number("paper.first.{data_set}", "points", digits=1, data_set=tuple(REPORTED_CLEAN))
def paper_first(page: Page, data_set: str) -> Number:
    """Least loss of accuracy of any estimator in the paper's ROAR at its smallest share, a tenth."""
    return sourced(REPORTED_CLEAN[data_set] - _reported(share=10, data_set=data_set).accuracy.max(), TABLE)


@number("paper.span.{benchmark}.{end}", "points", digits=0, benchmark=MODES, end=("least", "most"))
def paper_span(page: Page, benchmark: str, end: str) -> Number:
    """Points between the best and the worst estimator with nine tenths replaced in the paper: least and most, by data
    set."""
    rows = _reported("replaced", 0.9, benchmark.upper())
    spans = [span(part) for _, part in rows.groupby("data_set")]
    return sourced(min(spans) if end == "least" else max(spans), TABLE)
