"""Figures and tables that compare robust trainings: what they reach, and how much seeds differ."""

import json

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from pandas.io.formats.style import Styler

from lab.core import folders
from lab.drawing.names import NAMES
from lab.drawing.style import PALETTE, legend_below
from lab.drawing.tables import plain_table

DATA_NAMES = {"mnist": "MNIST", "mnist-5k": "digits", "fashion-mnist": "Fashion-MNIST", "gtsrb": "traffic signs",
              "flowers": "flowers"}
TRAINING_NAMES = {"natural": "natural", "pgd": "PGD", "ig_norm": "IG-NORM", "ig_sum_norm": "IG-SUM-NORM"}


def reported_trainings() -> dict:
    """What is recalled of the table of [chen2019], by data set and training."""
    return json.loads((folders.CLAIMS / "reported" / "chen2019_table.json").read_text())


def robust_table(accuracies: pd.DataFrame, table: pd.DataFrame, reported: dict) -> Styler:
    """Accuracy, accuracy under PGD, and agreement of integrated gradients under the top-k attack, a row a training.

    In parentheses the number recalled from [chen2019] for the data set of that name (for mnist-5k: MNIST).
    """
    rows = []
    for (data_set, training), group in accuracies.groupby(["data_set", "training"], sort=False):
        maps = table[(table.data_set == data_set) & (table.training == training) & (table.attack == "topk")]
        maps = maps[(maps.method == "integrated_gradients") & (maps.epsilon == maps.epsilon.max())]
        ours = [100 * group.correct.mean(), 100 * group.withstood.mean(), 100 * maps.topk.mean(), maps.kendall.mean()]
        theirs = reported.get(data_set.removesuffix("-5k"), {}).get(training, [np.nan] * 4)
        both = zip(ours, theirs, (".1f", ".1f", ".1f", ".3f"))
        cells = [f"{one:{form}} ({other:{form}})".replace("nan", "–") for one, other, form in both]
        rows.append([DATA_NAMES.get(data_set, data_set), TRAINING_NAMES[training], *cells])
    columns = ["accuracy (%)", "under PGD (%)", "top-k, IG attacked (%)", "Kendall, IG attacked"]
    columns = ["data", "training", *(f"{name}: ours (recalled)" for name in columns)]
    return plain_table(pd.DataFrame(rows, columns=columns))


def seed_dots(table: pd.DataFrame, metrics: dict[str, str]) -> Figure:
    """Agreement under one attack, for networks trained from several seeds: a mark a network, a line at their mean.

    Maps in rows, `metrics` {column: title} in columns; data sets and their trainings from top to bottom. Grey ticks:
    chance, where the table has a column of it, else zero. Crosses: the map of an image of another class.
    """
    methods, trainings = list(table.method.unique()), list(table.training.unique())
    subjects = list(dict.fromkeys(zip(table.data_set, table.training)))
    figure, axes = plt.subplots(len(methods), len(metrics), sharex="col", sharey=True, squeeze=False,
                                figsize=(min(7.2, 2.0 + 2.6 * len(metrics)), 0.19 * len(subjects) * len(methods) + 1.2))
    for method, row in zip(methods, axes):
        for (metric, title), axis in zip(metrics.items(), row):
            for height, (data_set, training) in enumerate(subjects):
                part = table[(table.method == method) & (table.data_set == data_set) & (table.training == training)]
                means, place = part.groupby("seed")[metric].mean(), trainings.index(training)
                first = data_set == subjects[0][0]
                axis.plot(means, np.full(len(means), height), "os^D"[place], color=PALETTE[place], alpha=0.55,
                          markersize=4.5, label=TRAINING_NAMES[training] if first else None)
                axis.plot([means.mean()] * 2, [height - 0.38, height + 0.38], color=PALETTE[place], linewidth=1.6)
                chance = part.get(f"chance_{metric}", pd.Series([0.0])).astype(float).mean()
                axis.plot(chance, height, "|", color="0.35", markersize=7, label=None if height else "chance")
                if f"{metric}_over_other" in part:
                    other = (part[metric] - part[f"{metric}_over_other"].astype(float)).mean()
                    axis.plot(other, height, "x", color="0.25", markersize=4.5,
                              label=None if height else "another class")
            if method == methods[0]:
                axis.set_title(title)
        row[0].set_ylabel(NAMES[method])
    for axis in axes[-1]:
        axis.set_xlabel("agreement")
    data_sets = [name for name, _ in subjects]
    for height, (one, other) in enumerate(zip(data_sets, data_sets[1:])):
        if one != other:
            for axis in axes.flat:
                axis.axhline(height + 0.5, color="0.8", linewidth=0.8)
    middles = {name: np.mean([place for place, one in enumerate(data_sets) if one == name]) for name in data_sets}
    axes[0, 0].set_yticks(list(middles.values()), [DATA_NAMES.get(name, name) for name in middles])
    axes[0, 0].invert_yaxis()
    legend_below(figure, axes[0, 0], len(trainings) + 2)
    return figure
