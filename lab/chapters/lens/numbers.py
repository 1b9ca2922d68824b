"""Numbers in the text of the chapter on LENS that are of the live run, and its parameters."""

import math

import pandas as pd
import torch

from fragility import metrics
from lab.chapters.lens import gains, metric_comparison, pictures, published_code
from lab.core.frames import select
from lab.core.numbers import Chapter, Number, difference, mean, sourced, statistic
from lab.core.pages import Page

NUMBERS = Chapter("lens")
number = NUMBERS.number
RUN = "a parameter of the run"
METHODS = metric_comparison.METHODS


def first(page: Page) -> str:
    """The data set of the live run; further grids may have others."""
    return next(iter(page.settings["networks"]))


def measured(page: Page, **where) -> pd.DataFrame:
    """Rows of the live run on its first data set, those of images that an attack gave back among them."""
    return select(page.live(metric_comparison.EXPERIMENT), data_set=first(page), **where)


def live(page: Page, attack: str, method: str = "gradient", training: str = "natural") -> pd.DataFrame:
    """Rows of images that can be compared, of a control or of an attack at its largest size."""
    table = metric_comparison.comparable(measured(page, method=method, training=training))
    return metric_comparison.at_largest(table, attack)


def _natural(page: Page, **where) -> pd.DataFrame:
    """Rows of the natural network, all attacks and sizes, of images that can be compared."""
    return metric_comparison.comparable(measured(page, training="natural", **where))


@number("largest", digits=2)
def largest(page: Page) -> Number:
    """Largest size of a perturbation in the live run."""
    return sourced(max(page.settings["epsilons"][first(page)]), RUN)


# Which images count.

def _lost(page: Page, attack: str) -> pd.DataFrame:
    """All images of integrated gradients of the natural network under an attack; `lost` where it found none."""
    rows = metric_comparison.at_largest(measured(page, method="integrated_gradients", training="natural"), attack)
    return rows.assign(lost=1 - rows.found.astype(float))


@number("lost.{attack}", "%", digits=0, attack=("topk", "lens"))
def lost(page: Page, attack: str) -> Number:
    """Images for which the attack on integrated gradients of the natural network finds none that keeps the label."""
    return mean(_lost(page, attack), "lost", scale=100)


def left_out_shares(table: pd.DataFrame) -> pd.Series:
    """Per cent of the images that cannot be compared, by map and training."""
    asked, kept = (part.groupby(["method", "training"]).image.nunique()
                   for part in (table, metric_comparison.comparable(table)))
    return 100 * (1 - kept.reindex(asked.index, fill_value=0) / asked)


@number("left_out", "%", digits=0)
def left_out(page: Page) -> Number:
    """Images that cannot be compared, of integrated gradients of the natural network."""
    return statistic(measured(page, method="integrated_gradients", training="natural"),
                     lambda rows: left_out_shares(rows).iloc[0])


@number("left_out.most", "%", digits=0)
def left_out_most(page: Page) -> Number:
    """Largest share of images that cannot be compared, of the other maps and trainings."""
    rows = measured(page)
    others = rows[(rows.method != "integrated_gradients") | (rows.training != "natural")]
    return statistic(others, lambda table: left_out_shares(table).max())


@number("topk.with_lost")
def with_lost(page: Page) -> Number:
    """Top-k overlap of integrated gradients of the natural network under the top-k attack, of all images."""
    return mean(_lost(page, "topk"), "topk")


@number("lost.effect", digits=2)
def lost_effect(page: Page) -> Number:
    """How much higher that overlap is than the one of images that can be compared."""
    everything, compared = with_lost(page), live(page, "topk", "integrated_gradients")
    return statistic(everything.rows, lambda rows: everything.value - compared.topk.astype(float).mean())


@number("random.kept", "%")
def random_kept(page: Page) -> Number:
    """Images that keep their label under random signs of the largest size, over all networks and maps."""
    rows = metric_comparison.at_largest(measured(page), "random_sign")
    return mean(rows, "found", scale=100)


# What the metrics give.

@number("chance.{metric}", "%", digits=0, metric=("topk", "recall", "recall_div"))
def chance(page: Page, metric: str) -> Number:
    """Chance level of a metric on gradients of the natural network, over all attacks and controls."""
    return mean(_natural(page, method="gradient"), f"chance_{metric}", scale=100)


@number("{metric}.{attack}.{method}", method=METHODS, metric=("topk", "recall", "recall_div"),
        attack=("random_sign", "random_walk", "topk", "lens", "same_class", "other_class"))
def agreement(page: Page, metric: str, attack: str, method: str) -> Number:
    """Agreement of the natural network's maps under an attack of the largest size, or with the map of another image."""
    return mean(live(page, attack, method), metric)


@number("above_chance.{attack}.{training}", attack=("topk", "lens"), training=("natural", "pgd"))
def above_chance(page: Page, attack: str, training: str) -> Number:
    """LENS recall of gradient maps under an attack, as a share of the way from chance (0) to agreement (1)."""
    return mean(live(page, attack, training=training), "recall_corrected")


@number("beyond.{method}.{training}", signed=True, method=METHODS, training=("natural", "pgd"))
def beyond(page: Page, method: str, training: str) -> Number:
    """LENS recall under the top-k attack less that of the map of another class's image."""
    return mean(live(page, "topk", method, training), "recall_over_other")


@number("verdict.{metric}", metric=tuple(gains.CLAIMS))
def verdict(page: Page, metric: str) -> Number:
    """Whether robust training makes maps more robust by a metric in the live run: the verdict of the claim's test."""
    return statistic(measured(page), lambda rows: gains.evaluate(rows)[metric].verdict)


@number("gain.with_lost", signed=True)
def gain_with_lost(page: Page) -> Number:
    """Top-k overlap of integrated gradients under the top-k attack, of the PGD network less the natural one, images
    that the attack gave back among them."""
    sides = (metric_comparison.at_largest(measured(page, method="integrated_gradients", training=one), "topk")
             for one in ("pgd", "natural"))
    return difference(*sides, "topk")


@number("alike.{method}", signed=True, method=METHODS)
def alike(page: Page, method: str) -> Number:
    """LENS recall of the maps of two classes, of the PGD network less the natural one."""
    sides = (measured(page, method=method, training=one, attack="other_class") for one in ("pgd", "natural"))
    return difference(*sides, "recall")


@number("padded.{method}", method=METHODS)
def padded(page: Page, method: str) -> Number:
    """Zero-padded LENS-Spearman of attacked pairs of maps whose pixels are shuffled."""
    return mean(live(page, "topk", method), "chance_lens_spearman_padded")


@number("padded.uniform", digits=2)
def padded_uniform(page: Page) -> Number:
    """Zero-padded LENS-Spearman of 100 pairs of maps of independent uniform pixels, of the run's size and window."""
    side = math.isqrt(int(measured(page).pixels.iloc[0]))
    maps = torch.rand(2, 100, side, side, generator=torch.Generator().manual_seed(0))
    value = metrics.lens_spearman(*maps, page.settings["window"], zero_padding=True).mean().item()
    return sourced(value, "computed from random maps")


@number("smoothed.{attack}.{method}", signed=True, attack=("topk", "other_class"), method=METHODS)
def smoothed(page: Page, attack: str, method: str) -> Number:
    """LENS-Spearman less Spearman, of attacked pairs of maps and of maps of two classes."""
    return mean(live(page, attack, method), "rank_gain")


# Ties.

@number("zeros", "%", digits=0)
def zeros(page: Page) -> Number:
    """Diverse top pixels of integrated gradients that are exact zeros."""
    return mean(live(page, "other_class", "integrated_gradients"), "zeros_div", scale=100)


@number("ties.chance", digits=2)
def ties_chance(page: Page) -> Number:
    """Chance of LENS recall of diverse pixels of integrated gradients, ties by the lowest index first."""
    return mean(_natural(page, method="integrated_gradients", epsilon=[0.0, largest(page).value]), "chance_recall_div")


@number("ties.chance.any", digits=2)
def ties_chance_any(page: Page) -> Number:
    """The same where the order of ties differs between the two maps."""
    rows = _natural(page, method="integrated_gradients", epsilon=[0.0, largest(page).value])
    return mean(rows, "chance_recall_div_any")


@number("published.gap.{pixels}", digits=2, pixels=("plain", "diverse"))
def published_gap(page: Page, pixels: str) -> Number:
    """Largest difference of LENS recall by the published code and by ours, of attacked gradient maps."""
    rows = metric_comparison.at_largest(measured(page, method="gradient", training="natural"), "topk")
    *_, before, after = metric_comparison.shown(pictures.attacked_cell(page), page.store, slice(None))
    k, window, diverse = page.settings["k"], page.settings["window"], pixels == "diverse"
    options = (k, window, before[0].numel()) if diverse else (k, window)      # all pixels are candidates
    code = published_code.lens_recall_diverse if diverse else published_code.lens_recall
    theirs = torch.tensor([code(a, b, *options) for a, b in zip(before, after)])
    return Number((metrics.lens_recall(before, after, k, window, diverse=diverse) - theirs).abs().max().item(),
                  len(theirs), rows=rows)
