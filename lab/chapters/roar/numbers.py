"""Numbers in the text of the chapter on removal that are of the live run, and its parameters."""

import pandas as pd

from lab.chapters.roar import benchmarks, path_steps, rankings, retraining, toy, trainings
from lab.chapters.roar.figures import guessing
from lab.core.experiment import Experiment
from lab.core.frames import select
from lab.core.numbers import Chapter, Number, difference, mean, sourced, statistic
from lab.core.pages import Page
from lab.material import networks

NUMBERS = Chapter("roar")
number = NUMBERS.number
RUN = "a parameter of the run"
SHOWN = ("GRAD", "IG", "GB", "SG-GRAD", "SG-SQ-GRAD", "VAR-GRAD", "SQ-GRAD", "Sobel", "Random")
MASKS = ("GRAD", "VAR-GRAD", "Sobel", "Random")
MODES = {"roar": "remove", "kar": "keep"}
TOY = {"broken": {"ranking": "worst", "retrained": False, "removed": 1},
       "flat": {"ranking": "worst", "retrained": True, "removed": toy.FEATURES - toy.INFORMATIVE},
       "redundant": {"ranking": "true", "retrained": True, "removed": toy.INFORMATIVE - 1}}


def own(page: Page, experiment: Experiment) -> pd.DataFrame:
    """Rows of the live run on the notebook's own data set; further grids may have others."""
    return select(page.live(experiment), data_set=page.settings["data_set"])


def live(page: Page, share: float | None = None, **where) -> pd.DataFrame:
    """Rows of the live run at one replaced share, see :func:`lab.chapters.roar.benchmarks.at_share`."""
    return benchmarks.at_share(own(page, retraining.EXPERIMENT), share, **where)


@number("trainings", digits=0)
def trained(page: Page) -> Number:
    """Networks that the live run trains."""
    degraded = select(page.live(retraining.EXPERIMENT), kind=["retrain", "masks", "fresh"])
    return statistic(pd.concat([page.live(trainings.EXPERIMENT), degraded]), len)


@number("control", "%", digits=1)
def control(page: Page) -> Number:
    """Test accuracy of the live run's networks that are trained on untouched images."""
    return mean(select(own(page, trainings.EXPERIMENT), pipeline="direct"), "accuracy", over="seed")


@number("guessing", "%", digits=0)
def guessed(page: Page) -> Number:
    """What guessing gets right on the data set of the live run."""
    return sourced(guessing(page.settings["data_set"]), "one of the classes of the data set")


@number("{share}", "%", digits=0, share=("widest", "narrowest"))
def removed(page: Page, share: str) -> Number:
    """Largest and smallest share of the pixels that the live run removes."""
    return sourced(100 * _share(page, share), RUN)


def _share(page: Page, share: str) -> float:
    return (max if share == "widest" else min)(page.settings["fractions"])


@number("toy.{case}", "%", digits=1, case=TOY)
def toy_accuracy(page: Page, case: str) -> Number:
    """Accuracy on the artificial problem: one useless input gone without a new fit (broken); all useless ones gone, or
    all informative ones but the last, with a new fit (flat, redundant)."""
    return mean(select(page.live(toy.EXPERIMENT), **TOY[case]), "accuracy", over="seed")


@number("left.{estimator}", "%", digits=1, estimator=SHOWN)
def left(page: Page, estimator: str) -> Number:
    """Accuracy that ROAR leaves at the largest share in the live run."""
    return mean(live(page, estimator=estimator), "accuracy", over="seed")


@number("left.narrowest.{estimator}", "%", digits=1, estimator=("IG", "Random"))
def left_at_first(page: Page, estimator: str) -> Number:
    """Accuracy that ROAR leaves at the smallest share in the live run."""
    return mean(live(page, _share(page, "narrowest"), estimator=estimator), "accuracy", over="seed")


@number("original.{share}", "%", digits=1, share=("widest", "narrowest"))
def original(page: Page, share: str) -> Number:
    """Accuracy of the explained network, not trained again, on images that lose a share of their pixels at random."""
    return mean(live(page, _share(page, share), kind="original", estimator="Random"), "accuracy", over="seed")


@number("road.{estimator}", "%", digits=1, estimator=SHOWN)
def road(page: Page, estimator: str) -> Number:
    """Accuracy that ROAD leaves at the largest share in the live run, of one network."""
    return mean(live(page, kind="road", estimator=estimator), "accuracy", over="seed")


@number("masks.{estimator}", "%", digits=1, estimator=MASKS)
def masks(page: Page, estimator: str) -> Number:
    """Accuracy of networks that see only the masks of the largest share, in the live run."""
    return mean(live(page, kind="masks", estimator=estimator), "accuracy", over="seed")


@number("edges.{estimator}", "%", digits=0, estimator=("GRAD", "VAR-GRAD"))
def edges(page: Page, estimator: str) -> Number:
    """Share of the top tenth of a ranking's pixels that is in Sobel's top tenth, too, on the live run's test images."""
    return statistic(select(own(page, rankings.EXPERIMENT), estimator=estimator), lambda rows: 100 * rows.edges.iloc[0])


def means(page: Page, mode: str, looking: bool = False) -> pd.DataFrame:
    """Rows of ROAR or KAR at the largest share; with `looking`, only of the rankings that look at a network."""
    rows = live(page, mode=mode)
    return rows[~rows.estimator.isin(rankings.CONTROLS)] if looking else rows


def span(rows: pd.DataFrame) -> float:
    """Points between the best and the worst estimator."""
    values = rows.groupby("estimator").accuracy.mean()
    return values.max() - values.min()


@number("span.{benchmark}", "points", digits=0, benchmark=MODES)
def spread(page: Page, benchmark: str) -> Number:
    """Points between the best and the worst estimator at the largest share in the live run."""
    return statistic(means(page, MODES[benchmark]), span)


@number("span.looking.{benchmark}", "points", digits=0, benchmark=MODES)
def spread_looking(page: Page, benchmark: str) -> Number:
    """The same over the rankings that look at a network: without Sobel and the random one."""
    return statistic(means(page, MODES[benchmark], looking=True), span)


@number("end.{end}", end=("least", "most"))
def end_of(page: Page, end: str) -> Number:
    """The estimator that leaves least, or most, at the largest share in the live run."""
    def name(rows: pd.DataFrame) -> str:
        values = rows.groupby("estimator").accuracy.mean()
        return values.idxmin() if end == "least" else values.idxmax()
    return statistic(means(page, "remove"), name)


def _bottom(page: Page, part: int) -> Number:
    rows = select(own(page, rankings.EXPERIMENT), estimator="Sobel")
    if rows.empty:
        return Number(None, rows=rows)
    cell = retraining.picture_cell(page.parameters(retraining.EXPERIMENT), "Sobel", _share(page, "widest"))
    return Number(retraining.in_last_rows(~retraining.replaced(cell, "test", page.store))[part], rows=rows)


@number("bottom.share", "%", digits=0)
def bottom_share(page: Page) -> Number:
    """Pixels that Sobel leaves at the largest share which lie in the last rows of their test image."""
    found = _bottom(page, 0)
    return found if found.missing else found._replace(value=100 * found.value)


@number("bottom.rows")
def bottom_rows(page: Page) -> Number:
    """How many rows the pixels that are left at the largest share would fill."""
    return _bottom(page, 1)


@number("agreements")
def agreeing(page: Page) -> Number:
    """Pairs of benchmarks, of five, whose agreement has an interval that excludes zero in the live run."""
    return statistic(own(page, retraining.EXPERIMENT), benchmarks.beyond_chance)


@number("blurred")
def blurred(page: Page) -> Number:
    """The first estimator whose maps are filtered in the live run."""
    return sourced(next(iter(page.settings["filtered"]), None), RUN)


@number("blur.{kind}", "points", signed=True, kind=tuple(rankings.FILTERS))
def blur(page: Page, kind: str) -> Number:
    """Change of its accuracy at the largest share by a filter of its maps, trainings of the same seed compared."""
    first = page.settings["filtered"][:1]
    return difference(live(page, estimator=first, filter=kind), live(page, estimator=first), "accuracy", over="seed")


@number("fresh.random", "%", digits=1)
def fresh(page: Page) -> Number:
    """Accuracy with random masks that are fresh in every batch, at the largest share of the live run."""
    return mean(live(page, kind="fresh"), "accuracy", over="seed")


@number("fresh.change", "points", signed=True)
def fresh_change(page: Page) -> Number:
    """Accuracy with fresh random masks less that with fixed ones, at the same seed of the live run."""
    return difference(live(page, kind="fresh"), live(page, estimator="Random"), "accuracy", over="seed")


@number("resized.change", "points", signed=True)
def resized_change(page: Page) -> Number:
    """Change of the accuracy by images that are resized twice, at the same seed of the live run."""
    rows = own(page, trainings.EXPERIMENT)
    return difference(*(select(rows, pipeline=name) for name in ("resized", "direct")), "accuracy", over="seed")


@number("path.{estimator}", estimator=rankings.FAMILIES["SG-IG"])
def path(page: Page, estimator: str) -> Number:
    """Rank correlation of the maps of a short path with those of a long one, over images of the live run."""
    return mean(select(page.live(path_steps.EXPERIMENT), estimator=estimator), "spearman")


@number("path.{length}", length=("short", "long"))
def path_length(page: Page, length: str) -> Number:
    """Points of the path of integrated gradients inside a noise ensemble, and of the long path."""
    return sourced(page.settings["ensemble_path_steps" if length == "short" else "path_steps"], RUN)


@number("{parameter}", parameter=("train_images", "test_images", "epochs", "toy_samples", "data_set", "network"))
def parameter(page: Page, parameter: str) -> Number:
    """A parameter of the live run."""
    return sourced(page.settings[parameter], RUN)


@number("weights")
def weights(page: Page) -> Number:
    """Weights of the network that is trained."""
    model = networks.load(page.settings["network"])
    return sourced(sum(part.numel() for part in model.parameters()), "the network of the run")


@number("seeds")
def seeds(page: Page) -> Number:
    """Trainings of each cell of the live run."""
    return sourced(len(page.settings["seeds"]), RUN)


@number("shares.{parameter}", "%", parameter=("fractions", "kept"))
def shares(page: Page, parameter: str) -> Number:
    """The shares of the pixels that the live run removes, and that it keeps."""
    return sourced(" and ".join(f"{100 * share:.0f}" for share in page.settings[parameter]), RUN)


@number("ensembles")
def ensembles(page: Page) -> Number:
    """The noise ensembles among the estimators of the live run."""
    return sourced(", ".join(name for name in page.settings["estimators"] if name.startswith(("SG", "VAR"))), RUN)
