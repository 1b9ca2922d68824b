"""Numbers on how well metrics tell noise from an attack, in the live run of the chapter on LENS."""

import pandas as pd

from lab.chapters.lens.figures import METRIC_NAMES
from lab.chapters.lens.numbers import METHODS, NUMBERS, first
from lab.chapters.lens.separation import EXPERIMENT
from lab.core.frames import select
from lab.core.numbers import Number, difference, mean, statistic
from lab.core.pages import Page

number = NUMBERS.number


def separated(page: Page, **where) -> pd.DataFrame:
    """Areas under the ROC curve of the natural network's maps."""
    return select(page.live(EXPERIMENT), data_set=first(page), training="natural", **where)


@number("auc.{metric}.{attack}.{method}", digits=2, metric=("topk", "recall"), attack=("topk", "lens"),
        method=METHODS)
def auc(page: Page, metric: str, attack: str, method: str) -> Number:
    """How often a map under noise scores higher than one under an attack: the area under the ROC curve."""
    return mean(separated(page, metric=metric, attack=attack, method=method), "separation")


@number("auc.over.topk", signed=True)
def auc_over_topk(page: Page) -> Number:
    """Area of LENS-Kendall less that of top-k, over both maps and all attacks."""
    return difference(separated(page, metric="lens_kendall"), separated(page, metric="topk"), "separation")


@number("auc.smooth.{attack}", signed=True, attack=("topk", "center"))
def auc_smooth(page: Page, attack: str) -> Number:
    """Area of LENS-Kendall less that of plain Kendall, over both maps, for one attack."""
    return difference(*(separated(page, metric=metric, attack=attack) for metric in ("lens_kendall", "kendall")),
                      "separation")


def _extreme(page: Page, end: str) -> str:
    """The metric of the largest mean area over both maps and all attacks, or of that closest to a half."""
    average = separated(page).groupby(["method", "attack", "metric"]).separation.mean().groupby("metric").mean()
    return average.idxmax() if end == "best" else (average - 0.5).abs().idxmin()


@number("auc.{end}", end=("best", "blindest"))
def auc_end(page: Page, end: str) -> Number:
    """The metric that tells noise from attacks best, over both maps and all attacks, or is closest to guessing."""
    return statistic(separated(page), lambda rows: METRIC_NAMES[_extreme(page, end)])


@number("auc.{end}.area", digits=2, end=("best", "blindest"))
def auc_end_area(page: Page, end: str) -> Number:
    """Its area."""
    return mean(separated(page, metric=_extreme(page, end)), "separation")
