"""This book's own predictions about the scoreboard, cell by cell (`claims/scoreboard.yaml`): images are the units.

Effects and excesses are computed from scores and controls, by the words of the claims' file and of the audit's table of
margins. Where a map refuses a question, a network lacks a map or no network has records, there is no cell.
"""

from functools import cache

import numpy as np
import pandas as pd

from tests.oracles.ledger import Cell, above, below, gap, per
from tests.oracles.records import frame

PHOTOGRAPHS = ["squeezenet1_0", "efficientnet_lite0"]
MAPS = ["gradient", "gradient_x_input", "guided_backprop", "deconvnet", "grad_cam", "lrp", "lrp_epsilon", "lrp_zplus",
        "deep_taylor", "deeplift", "pattern_net", "pattern_attribution", "smoothgrad", "smoothgrad_squared", "vargrad",
        "integrated_gradients", "occlusion"]
FOLLOW = ["gradient", "gradient_x_input", "lrp", "integrated_gradients"]
PAINT = ["guided_backprop", "deconvnet", "smoothgrad_squared"]
BLIND = ["sobel", "random", "centre", "the_input"]

LOW_IS_GOOD = ["parameters", "class", "sensitivity", "infidelity"]
#: The best scores, of questions whose margin is half of the way there from the control, but at least a tenth.
BEST = {"noise": 1.0, "attack": 1.0, "attack-lens": 1.0, "parameters": 0.0, "class": 0.0}


def compared(rows):
    """The effect and excess of one map by one question: the control is the one with the best mean, of the images whose
    map has a score."""
    question = rows.criterion.iloc[0]
    sign = -1 if question in LOW_IS_GOOD else 1
    controls = rows.filter(like="control: ").dropna(axis=1, how="all").astype(float)
    control = controls[(sign * controls).mean().idxmax()]
    rows = rows.assign(effect=sign * (rows.score - control))
    if question in BEST:
        margin = sign * (BEST[question] - control) / 2
        rows["excess"] = rows.effect - (margin if margin.mean() > 0.1 else 0.1)
    return rows


@cache
def board():
    """All rows with a score and a control; an attack that found nothing has no score."""
    rows = frame("scoreboard").drop(columns=["effect", "excess"]).dropna(subset=["image", "score"])
    controls = rows.filter(like="control: ").columns
    rows = rows.dropna(subset=controls, how="all")
    return pd.concat([compared(group) for _, group in rows.groupby(["network", "method", "criterion"])])


def asked(*questions, maps=None, networks=None):
    """The rows of some questions, maps and networks; None: all."""
    rows = board()
    chosen = rows.criterion.isin(questions)
    for column, names in {"method": maps, "network": networks}.items():
        chosen &= names is None or rows[column].isin(names)
    return rows[chosen]


def judged(side, *questions, **where):
    """1 to 3b, 8, 8c: the excess of each network, map and question lies on a side of zero."""
    cells = asked(*questions, **where).groupby(["network", "method", "criterion"])
    return {cell: side(per(rows, "excess"), 0.0) for cell, rows in cells}


def ahead(question, column, larger, smaller, margin=0.0, networks=None):
    """4, 8b, 9, 10: what some maps have more than others have, by network; an image's maps of a side are averaged."""
    cells = {}
    for network, rows in asked(question, networks=networks).groupby("network"):
        differences = gap(rows[rows.method.isin(larger)], rows[rows.method.isin(smaller)], column)
        if len(differences):
            cells[network, *smaller] = above(differences, margin)
    return cells


def ahead_of_each(question, column, larger, others, networks):
    """10: a map against each of the others."""
    cells = {}
    for other in others:
        cells |= ahead(question, column, [larger], [other], networks=networks)
    return cells


def spearman(one, other):
    """Rank correlation along the last axis."""
    ranks = [pd.DataFrame(np.atleast_2d(side)).rank(axis=1) for side in (one, other)]
    return ranks[0].corrwith(ranks[1], axis=1).to_numpy()


def same_order(one, other, bound, side, draws=4000):
    """Two orders of the maps, by mean effects, have a rank correlation on a side of the bound (+1: above).

    A bootstrap of images, those of a data set being drawn together for all maps and for both orders. Draws and their
    mirror images about the estimate are the interval, within -1 and 1. None with fewer than three maps in common.
    """
    tables = [rows.pivot(index=["data_set", "image"], columns="method", values="effect") for rows in (one, other)]
    maps = [name for name in MAPS if all(name in table for table in tables)]
    if len(maps) < 3:
        return None
    images = tables[0].index.union(tables[1].index)
    generator = np.random.default_rng(77)
    counts = np.hstack([generator.multinomial(n, np.full(n, 1 / n), draws)
                        for n in images.to_frame(index=False).groupby("data_set").size()])
    effects = [table[maps].reindex(images).to_numpy(float) for table in tables]
    sums = [counts @ np.nan_to_num(values) for values in effects]
    sizes = [counts @ np.isfinite(values) for values in effects]
    complete = np.all([size.all(axis=1) for size in sizes], axis=0)      # draws in which every map has an image
    drawn = spearman(*(total[complete] / size[complete] for total, size in zip(sums, sizes, strict=True)))
    mean = spearman(*(np.nanmean(values, axis=0) for values in effects)).item()
    away = np.abs(drawn - mean)
    reach, p = np.quantile(away, 0.95), np.mean(away >= abs(mean - bound))
    low, high = max(-1.0, mean - reach), min(1.0, mean + reach)
    return Cell(mean, low, high, len(images), min(p, 1.0), side if mean > bound else -side, exact=False)


def orders(pairs, bound, side):
    """5 to 6: the orders by two questions on one network."""
    cells = {}
    for one, other in pairs:
        rows = asked(one, other, maps=MAPS)
        for network, group in rows.groupby("network"):
            cells[one, other, network] = same_order(
                group[group.criterion == one], group[group.criterion == other], bound, side)
    return {name: cell for name, cell in cells.items() if cell}


def carries_over(networks, questions, bound, side):
    """7, 7b: the orders by one question on two networks."""
    one, other = networks
    cells = {}
    for question in questions:
        rows = asked(question, maps=MAPS)
        cells[question] = same_order(rows[rows.network == one], rows[rows.network == other], bound, side)
    return {name: cell for name, cell in cells.items() if cell}


TWICE = [("parameters", "class"), ("noise", "attack"), ("removal", "deletion")]
OTHERS = ["gradient", "gradient_x_input", "lrp", "deeplift", "smoothgrad", "integrated_gradients", "occlusion"]

CLAIMS = {
    "score-1": lambda: judged(below, "attack", maps=MAPS, networks=PHOTOGRAPHS),
    "score-1b": lambda: judged(below, "attack-lens", maps=MAPS, networks=PHOTOGRAPHS),
    "score-2": lambda: judged(below, "noise", maps=["gradient", "gradient_x_input", "lrp"], networks=PHOTOGRAPHS),
    "score-3": lambda: judged(above, "parameters", "class",
                              maps=["gradient", "smoothgrad", "gradient_x_input", "integrated_gradients"]),
    "score-3b": lambda: judged(below, "parameters", maps=["guided_backprop", "deconvnet"]),
    "score-4": lambda: ahead("noise", "effect", PAINT, FOLLOW),
    "score-5": lambda: orders([("removal", "attack")], 0.5, -1),
    "score-5b": lambda: orders([("removal", "noise")], 0.5, -1),
    "score-6": lambda: orders(TWICE, 0.5, +1),
    "score-7": lambda: carries_over(PHOTOGRAPHS, ["noise", "attack", "removal", "parameters", "class", "sensitivity",
                                                  "infidelity"], 0.5, +1),
    "score-7b": lambda: carries_over(["mnist-cnn", "squeezenet1_0"], ["noise", "removal", "infidelity"], 0.5, -1),
    "score-8": lambda: judged(below, "parameters", "class", maps=BLIND),
    "score-8b": lambda: ahead("removal", "score", ["gradient"], ["another_class"], 0.02),
    "score-8c": lambda: judged(above, "parameters", "class", maps=["another_class"]),
    "score-9": lambda: ahead("noise", "score", ["smoothgrad"], ["gradient"], 0.05, PHOTOGRAPHS),
    "score-10": lambda: ahead_of_each("noise", "score", "grad_cam", OTHERS, PHOTOGRAPHS),
}
