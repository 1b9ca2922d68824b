"""Published numbers in the text of the chapter on LENS: digits, clothes, traffic signs, flowers, photographs."""

import pandas as pd

from lab.chapters.fragility.comparison import CONTROL
from lab.chapters.lens import metric_comparison, photographs, seeds, separation
from lab.chapters.lens.numbers import METHODS, NUMBERS
from lab.core.frames import select
from lab.core.numbers import Number, difference, mean, statistic
from lab.core.pages import Page
from lab.trained import robust

number = NUMBERS.number
DATA = {"mnist": "mnist", "fashion": "fashion-mnist", "gtsrb": "gtsrb", "flowers": "flowers"}
REPEATED = ("mnist", "fashion", "gtsrb")        # of several seeds
PHOTO_PAIRS = ("topk", "center", "random_sign", CONTROL)
EXPERIMENTS = (robust.EXPERIMENT, metric_comparison.EXPERIMENT, seeds.EXPERIMENT, photographs.ATTACKED,
               photographs.NOISE)


def edition(page: Page, data: str, attack: str, method: str = "gradient", training: str = "natural") -> pd.DataFrame:
    """Published rows of images that can be compared, of a control or of an attack at its largest size."""
    table = select(page.edition(metric_comparison.EXPERIMENT), data_set=DATA[data], method=method, training=training)
    return metric_comparison.at_largest(metric_comparison.comparable(table), attack)


@number("published.{count}", count=("done", "cells"))
def published_cells(page: Page, count: str) -> Number:
    """Cells of the edition's five grids of this chapter that are published, of all there are."""
    tables = [page.edition(experiment) for experiment in EXPERIMENTS]
    rows = pd.concat([table[["record"]] for table in tables if len(table)] or [pd.DataFrame()])
    return Number(sum(table.attrs[count] for table in tables), rows=rows)


# Small data sets.

@number("{data}.topk.{attack}.{training}", digits=2, data=DATA, attack=("topk",), training=("natural", "pgd"))
def topk(page: Page, data: str, attack: str, training: str) -> Number:
    """Top-k overlap of gradient maps under an attack of the largest size."""
    return mean(edition(page, data, attack, training=training), "topk")


@number("{data}.recall.{attack}.{training}", digits=2, data=DATA, training=("natural", "pgd"),
        attack=("random_sign", "topk", "lens", "other_class"))
def recall(page: Page, data: str, attack: str, training: str) -> Number:
    """LENS recall of gradient maps under an attack of the largest size, or of the map of another class's image."""
    return mean(edition(page, data, attack, training=training), "recall")


@number("{data}.chance.{training}", digits=2, data=DATA, training=("natural", "pgd"))
def chance(page: Page, data: str, training: str) -> Number:
    """Chance level of the LENS recall of gradient maps under the top-k attack."""
    return mean(edition(page, data, "topk", training=training), "chance_recall")


@number("{data}.beyond.{method}.{training}", digits=2, signed=True, data=DATA, method=METHODS,
        training=("natural", "pgd"))
def beyond(page: Page, data: str, method: str, training: str) -> Number:
    """LENS recall under the top-k attack less that of the map of another class's image."""
    return mean(edition(page, data, "topk", method, training), "recall_over_other")


@number("{data}.diverse.{attack}", digits=2, data=("flowers",), attack=("topk", "other_class"))
def diverse(page: Page, data: str, attack: str) -> Number:
    """LENS recall of diverse pixels of the natural network's gradient maps."""
    return mean(edition(page, data, attack), "recall_div")


@number("ties.{metric}.{attack}", digits=2, metric=("recall_div", "recall_div_any"),
        attack=("random_sign", "other_class"))
def tied(page: Page, metric: str, attack: str) -> Number:
    """LENS recall of diverse pixels of integrated gradients of MNIST on the natural network, ties by the lowest index
    or, "any", in another order in each map."""
    return mean(edition(page, "mnist", attack, "integrated_gradients"), metric)


@number("ties.zeros", "%", digits=0)
def tied_zeros(page: Page) -> Number:
    """Diverse top pixels of integrated gradients of MNIST that are exact zeros."""
    return mean(edition(page, "mnist", "other_class", "integrated_gradients"), "zeros_div", scale=100)


def areas(page: Page, **where) -> pd.DataFrame:
    """Mean areas under the ROC curve of the natural networks' maps: a row a data set, map, attack and metric."""
    rows = select(page.edition(separation.EXPERIMENT), training="natural", **where)
    return rows.groupby(["data_set", "method", "attack", "metric"]).separation.mean().reset_index()


@number("area.least.{metric}", digits=2, metric=("topk", "recall", "lens_kendall"))
def least_area(page: Page, metric: str) -> Number:
    """Least area under the ROC curve of telling noise from an attack, over data sets, maps and attacks."""
    rows = select(page.edition(separation.EXPERIMENT), training="natural", metric=metric)
    return statistic(rows, lambda _: areas(page, metric=metric).separation.min())


@number("rank.{data}.{attack}", digits=2, signed=True, data=DATA, attack=("topk", "other_class"))
def rank_gain(page: Page, data: str, attack: str) -> Number:
    """LENS-Spearman less Spearman, of attacked pairs of gradient maps and of maps of two classes."""
    return mean(edition(page, data, attack), "rank_gain")


@number("{data}.size", digits=1, data=("mnist", "fashion"))
def size(page: Page, data: str) -> Number:
    """Largest size of a perturbation."""
    return statistic(edition(page, data, "topk"), lambda rows: rows.epsilon.iloc[0])


@number("{data}.{parameter}", data=("mnist",), parameter=("images", "steps"))
@number("{data}.{parameter}", data=("flowers",), parameter=("images", "k"))
def parameter(page: Page, data: str, parameter: str) -> Number:
    """Images, attack steps or top pixels of a published grid; those of MNIST are of clothes and traffic signs, too."""
    return statistic(edition(page, data, "topk"), lambda rows: int(rows[parameter].iloc[0]))


@number("mnist.path_steps")
def path_steps(page: Page) -> Number:
    """Points on the path of integrated gradients."""
    rows = edition(page, "mnist", "topk", "integrated_gradients")
    return statistic(rows, lambda table: int(table.path_steps.iloc[0]))


def accuracies(page: Page, **where) -> pd.DataFrame:
    """Published accuracies of networks, of all seeds."""
    return select(page.edition(robust.EXPERIMENT), **where)


def compared_networks(page: Page) -> pd.DataFrame:
    """Published accuracies of the networks whose maps are compared, without further seeds."""
    used = page.edition(metric_comparison.EXPERIMENT)
    return accuracies(page, seed=list(used.seed.unique()) if len(used) else [])


@number("flowers.tested")
def flowers_tested(page: Page) -> Number:
    """Held-out flowers that the published accuracies are measured on."""
    return statistic(accuracies(page, data_set="flowers", training="natural"), lambda rows: rows.image.nunique())


# From one training to the next.

def repeats(page: Page, **where) -> pd.DataFrame:
    """Published rows of networks of several seeds, of images for which the top-k attack found one."""
    return select(page.edition(seeds.EXPERIMENT), found=1.0, **where)


@number("seeds")
def seed_count(page: Page) -> Number:
    """Trainings of each network."""
    return statistic(repeats(page), lambda rows: rows.seed.nunique())


def seed_means(rows: pd.DataFrame) -> pd.DataFrame:
    """Mean top-k overlap of each training, a row a map, data set and seed."""
    return rows.groupby(["method", "data_set", "seed", "training"]).topk.mean().unstack("training")


def seed_table(rows: pd.DataFrame) -> pd.DataFrame:
    """Mean top-k overlap and LENS recall of each training, a row a map, data set, training and seed."""
    return rows.groupby(["method", "data_set", "training", "seed"])[["topk", "recall"]].mean().reset_index()


@number("seeds.deviation", digits=3)
def deviation(page: Page) -> Number:
    """Largest standard deviation over seeds of the top-k overlap of a robust network."""
    return statistic(repeats(page, training=["pgd", "ig_sum_norm"]),
                     lambda rows: seed_means(rows).groupby(["method", "data_set"]).std().max().max())


def on_both(first: pd.DataFrame, second: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The rows of either table whose seed and image the other has, too."""
    if first.empty or second.empty:
        return first, second
    keys = [pd.MultiIndex.from_frame(rows[["seed", "image"]]) for rows in (first, second)]
    return first[keys[0].isin(keys[1])], second[keys[1].isin(keys[0])]


@number("added.{data}.{method}", signed=True, data=REPEATED, method=METHODS)
def added(page: Page, data: str, method: str) -> Number:
    """Top-k overlap under the top-k attack of IG-SUM-NORM less that of the PGD network it starts from, over seeds."""
    sides = (repeats(page, data_set=DATA[data], method=method, training=one) for one in ("ig_sum_norm", "pgd"))
    return difference(*on_both(*sides), "topk", over="seed")


@number("fine.steps")
def fine_steps(page: Page) -> Number:
    """Most steps of IG-SUM-NORM, in batches of 50."""
    return statistic(accuracies(page, training="ig_sum_norm"), lambda rows: int(rows.fine_images.max() // 50))


@number("gtsrb.right.{training}", "%", training=("natural", "pgd", "ig_sum_norm"))
def right(page: Page, training: str) -> Number:
    """Accuracy on traffic signs, over seeds."""
    return mean(accuracies(page, data_set="gtsrb", training=training), "correct", over="seed", scale=100)


# Photographs.

def photos(page: Page, attack: str, method: str) -> pd.DataFrame:
    """Published rows of attacked photographs at the largest size, or of the map of another photograph."""
    where = {} if attack == CONTROL else {"epsilon": "largest"}
    return select(page.edition(photographs.ATTACKED), attack=attack, method=method, **where)


@number("photo.{metric}.{attack}.{method}", metric=("topk", "recall", "recall_div"), attack=PHOTO_PAIRS, method=METHODS)
def photo(page: Page, metric: str, attack: str, method: str) -> Number:
    """Agreement of maps of photographs at 8/255, or with the map of another photograph."""
    return mean(photos(page, attack, method), metric)


@number("photo.found.{attack}", "%", digits=0, attack=PHOTO_PAIRS)
def photo_found(page: Page, attack: str) -> Number:
    """Share of the gradient's top pixels that 3-LENS recall finds again on photographs at 8/255."""
    return mean(photos(page, attack, "gradient"), "recall", scale=100)


@number("photo.chance.{metric}.{method}", digits=2, metric=("recall", "recall_div"), method=METHODS)
def photo_chance(page: Page, metric: str, method: str) -> Number:
    """Chance level of a metric on photographs under the top-k attack."""
    return mean(photos(page, "topk", method), f"chance_{metric}")


@number("photo.diverse.{end}", digits=2, end=("least", "most"))
def photo_diverse(page: Page, end: str) -> Number:
    """Least and largest mean LENS recall of diverse pixels, over maps and perturbations of 8/255."""
    rows = pd.concat([photos(page, attack, method) for attack in PHOTO_PAIRS[:-1] for method in METHODS])

    def value(table: pd.DataFrame) -> float:
        means = table.groupby(["attack", "method"]).recall_div.mean()
        return means.min() if end == "least" else means.max()
    return statistic(rows, value)


def searched(page: Page) -> pd.DataFrame:
    """Published photographs under attacks that search, of all sizes."""
    return select(page.edition(photographs.ATTACKED), attack=list(metric_comparison.SEARCHING))


@number("photo.{count}", count=("pairs", "lost"))
def photo_pairs(page: Page, count: str) -> Number:
    """Pairs of a photograph and an attack of some size, and those of which none was found that keeps the label."""
    return statistic(searched(page), lambda rows: len(rows) if count == "pairs" else int((rows.found == 0).sum()))


@number("photo.k")
def photo_k(page: Page) -> Number:
    """Top pixels that are compared on photographs."""
    return statistic(searched(page), lambda rows: int(rows.lens_k.iloc[0]))


@number("photo.images.{method}", method=METHODS)
def photo_images(page: Page, method: str) -> Number:
    """Photographs on which a map is attacked."""
    return statistic(photos(page, "topk", method), lambda rows: rows.image.nunique())


@number("noise.{metric}.{end}", digits=2, metric=("topk", "recall", "other_recall"), end=("least", "most"))
def noise(page: Page, metric: str, end: str) -> Number:
    """Least and largest mean agreement of a map's photographs under random signs, or with another photograph's map."""
    def value(rows: pd.DataFrame) -> float:
        means = rows.groupby("method")[metric].mean()
        return means.min() if end == "least" else means.max()
    return statistic(select(page.edition(photographs.NOISE), training="natural"), value)
