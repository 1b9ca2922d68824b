"""Figures of the metrics of [kamath2024], with chance and the map of another image in the same axes."""

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from fragility import metrics as scores
from lab.chapters.fragility.reported import curve
from lab.chapters.lens.training_figures import DATA_NAMES, TRAINING_NAMES
from lab.core.statistics import bootstrap
from lab.drawing.names import NAMES
from lab.drawing.style import ATTACK_STYLE, PALETTE, epsilon_axis, legend_below

METRIC_NAMES = {
    "topk": "top-k", "recall": "LENS recall", "precision": "LENS precision", "topk_div": "diverse top-k",
    "recall_div": "diverse LENS recall", "precision_div": "diverse LENS precision", "spearman": "Spearman",
    "kendall": "Kendall", "lens_spearman": "LENS-Spearman", "lens_kendall": "LENS-Kendall",
    "lens_spearman_padded": "LENS-Spearman,\nzero-padded",
    "topk_corrected": "top-k\nabove chance", "recall_corrected": "LENS recall\nabove chance",
    "recall_div_corrected": "diverse LENS recall\nabove chance",
}
_STYLES = {**ATTACK_STYLE, "random_walk": {"color": PALETTE[7], "marker": "v"},
           "lens": {"color": PALETTE[4], "marker": "D"},
           "topk_for_lens": {"color": PALETTE[1], "marker": "P"}}
_CONTROLS = {"same_class": ("-.", "another image, same class"), "other_class": (":", "another image, other class"),
             "other_image": ("-.", "map of another image")}
_AT_ZERO = ("spearman", "kendall", "lens_spearman", "lens_kendall")      # what unrelated maps give


def metric_name(metric: str, table: pd.DataFrame) -> str:
    """The name of a metric with the window that all rows have, "3-LENS recall"."""
    windows = set(table["window"]) if "window" in table else set()
    return METRIC_NAMES[metric].replace("LENS", f"{windows.pop()}-LENS" if len(windows) == 1 else "LENS")


def means(table: pd.DataFrame, metrics: Sequence[str]) -> pd.DataFrame:
    """The mean of each metric, by data set, training, map, perturbation and size: what bars and curves draw."""
    by = [name for name in ("data_set", "training", "method", "attack", "epsilon") if name in table]
    return table.groupby(by, sort=False)[list(metrics)].mean().reset_index()


def lens_curves(table: pd.DataFrame, reported: dict | None = None,
                metrics: Sequence[str] = ("topk", "recall", "recall_div")) -> Figure:
    """Maps in rows and metrics in columns over epsilon, after [kamath2024, fig. 2]; bands are bootstrap intervals.

    An attack of one size is a mark with its interval. `reported` adds the digitised curves of top-k as dotted lines,
    position by position; give it only for photographs.
    """
    methods, epsilons = list(table.method.unique()), sorted(table.epsilon[table.epsilon > 0].unique())
    figure, axes = plt.subplots(len(methods), len(metrics), figsize=(7.2, 2.1 * len(methods) + 1.1), squeeze=False,
                                sharex=True, sharey=True)
    for method, row in zip(methods, axes):
        for metric, axis in zip(metrics, row):
            part = table[table.method == method]
            for attack in (*ATTACK_STYLE, "random_walk"):
                _curve(axis, {place: values for place, epsilon in enumerate(epsilons)
                              if len(values := _values(part, metric, attack, epsilon))}, attack)
                if reported and metric == "topk" and attack in ATTACK_STYLE:
                    values = curve(reported, metric, method, attack)
                    axis.plot(values[1:1 + len(epsilons)], ":", linewidth=1.2, color=_STYLES[attack]["color"],
                              label="Ghorbani et al., read off" if attack == "topk" else None)
            axis.axhline(_chance(part, metric), color="0.35", linestyle="--", linewidth=1, label="chance")
            for control, (line, label) in _CONTROLS.items():
                values = _values(part, metric, control)
                if len(values):
                    axis.axhline(values.mean(), color="0.35", linestyle=line, linewidth=1.2, label=label)
            axis.set_ylim(-0.02, 1.02)
        row[0].set_ylabel(NAMES[method])
    for metric, top, bottom in zip(metrics, axes[0], axes[-1]):
        top.set_title(metric_name(metric, table))
        epsilon_axis(bottom, epsilons)
        bottom.set_xlabel("")
    axes[-1, len(metrics) // 2].set_xlabel("largest change of a pixel, ε")
    legend_below(figure, axes[0, 0], 4)
    return figure


def _curve(axis, groups: dict[int, np.ndarray], attack: str) -> None:
    """Means and intervals of the values at each place."""
    if groups:
        bands, colour = np.array([bootstrap(values) for values in groups.values()]).T, _STYLES[attack]["color"]
        axis.fill_between([*groups], *bands, alpha=0.18, color=colour, linewidth=0)
        axis.vlines([*groups], *bands, color=colour, linewidth=1.2 if len(groups) == 1 else 0)
        axis.plot([*groups], [values.mean() for values in groups.values()], label=NAMES[attack], **_STYLES[attack])


def lens_bars(table: pd.DataFrame, metrics: Sequence[str], attacks: Sequence[str], by: str = "training",
              rows: str = "method") -> Figure:
    """Metrics in columns, maps in rows: a group of bars for each value of column `by`, a bar an attack.

    With `rows` "data_set" data sets are in rows, and the metrics of each map side by side in columns. Behind each group
    stands a grey band up to its chance level; across it lie lines at the scores of maps of another image. Where chance
    leaves a corrected metric no room, the images without a number are counted as saturated.
    """
    lines, groups, methods = list(table[rows].unique()), list(table[by].unique()), list(table.method.unique())
    panels = [(method, metric) for method in ([None] if rows == "method" else methods) for metric in metrics]
    figure, axes = plt.subplots(len(lines), len(panels), squeeze=False, sharex=True, sharey=True,
                                figsize=(7.2, 1.75 * len(lines) + 1.1))
    width = 0.7 / len(attacks)
    for line, row in zip(lines, axes):
        for (method, metric), axis in zip(panels, row):
            for place, group in enumerate(groups):
                part = table[(table[rows] == line) & (table[by] == group)]
                part = part if method is None else part[part.method == method]
                for number, attack in enumerate(attacks):
                    _bar(axis, part, metric, attack, place + (number - (len(attacks) - 1) / 2) * width, width)
                _group_controls(axis, part, metric, place)
            axis.set_xticks(range(len(groups)), [_group_name(group) for group in groups],
                            rotation=25 if len(groups) > 2 else 0)
            axis.axhline(0, color="0.35", linewidth=0.7)
            axis.grid(axis="x", visible=False)
            axis.set_axisbelow(True)
        row[0].set_ylabel(NAMES[line] if rows == "method" else DATA_NAMES.get(line, line))
    # Not before all panels are drawn, since they share their limits: those of the first would cut negative bars.
    axes[0, 0].set_ylim(min(0, axes[0, 0].get_ylim()[0]), 1.02)
    for (method, metric), axis in zip(panels, axes[0]):
        axis.set_title((f"{NAMES[method]}\n" if method else "") + metric_name(metric, table), fontsize=8.5)
    legend_below(figure, axes, 3)
    return figure


def _group_name(group: str) -> str:
    """A training or a data set, on as little room as a tick has."""
    return TRAINING_NAMES.get(group, DATA_NAMES.get(group, group)).replace("IG-SUM-NORM", "IG-S-N")


def _bar(axis, part: pd.DataFrame, metric: str, attack: str, x: float, width: float) -> None:
    values, saturated = _values(part, metric, attack), _saturated(part, metric, attack)
    if len(values):
        low, high = bootstrap(values)
        axis.bar(x, values.mean(), 0.92 * width, color=_STYLES[attack]["color"], label=NAMES[attack], ecolor="0.25",
                 yerr=[[values.mean() - low], [high - values.mean()]], error_kw={"linewidth": 0.8})
    if saturated:
        text = f"{saturated} saturated" if len(values) else "saturated"
        axis.text(x, 0.04, text, rotation=90, ha="center", va="bottom", fontsize=7)


def _group_controls(axis, part: pd.DataFrame, metric: str, place: int) -> None:
    """Chance and the maps of another image, as wide as the group that they belong to."""
    ends = [place - 0.46, place + 0.46]
    axis.fill_between(ends, 0, _chance(part, metric), color="0.85", linewidth=0, zorder=0, label="chance")
    for control, width in (("same_class", 0.9), ("other_class", 2.0)):
        values = _values(part, metric, control)
        if len(values):
            axis.plot(ends, [values.mean()] * 2, color="black", linewidth=width, solid_capstyle="butt",
                      label=_CONTROLS[control][1])


def separations(table: pd.DataFrame) -> Figure:
    """Area under the ROC curve of telling noise from an attack: a row a metric, that with the best mean first, a marker
    an attack.

    A row of panels a map, a panel a data set, with 95 % bootstrap intervals over images.
    """
    methods, attacks, data_sets = (list(table[name].unique()) for name in ("method", "attack", "data_set"))
    metrics = list(table.groupby("metric").separation.mean().sort_values(ascending=False).index)
    figure, axes = plt.subplots(len(methods), len(data_sets), squeeze=False, sharey=True, sharex=True,
                                figsize=(7.2, len(methods) * (0.24 * len(metrics) + 0.35) + 0.8))
    for (method, data_set), axis in zip([(one, other) for one in methods for other in data_sets], axes.flat):
        for place, attack in enumerate(attacks):
            part = table[(table.method == method) & (table.attack == attack) & (table.data_set == data_set)]
            for row, metric in enumerate(metrics):
                values = part[part.metric == metric].separation.dropna().to_numpy(float)
                height = row + 0.24 * (place - (len(attacks) - 1) / 2)
                if len(values):
                    axis.plot(bootstrap(values), [height] * 2, color=_STYLES[attack]["color"], linewidth=1.2)
                    axis.plot(values.mean(), height, label=NAMES[attack] if row == 0 else None, linestyle="",
                              **_STYLES[attack])
        axis.axvline(0.5, color="0.35", linestyle="--", linewidth=1, label="blind")
        axis.set_title(f"{NAMES[method]}\n{DATA_NAMES.get(data_set, data_set)}", fontsize=8.5)
    axes[-1, 0].set_xlabel("area under the ROC curve", loc="left")
    axes[0, 0].set_yticks(range(len(metrics)), [metric_name(metric, table) for metric in metrics])
    axes[0, 0].invert_yaxis()
    legend_below(figure, axes[0, 0], len(attacks) + 1)
    return figure


def tie_rules(table: pd.DataFrame, pairs: Mapping[str, str]) -> Figure:
    """Diverse metrics of integrated gradients under three rules for ties, a marker a kind of pair; panels metrics.

    Dashed: chance under each rule, since what the neighbourhoods cover depends on where the ties fall.
    """
    rules = {"": "first pixel", "_last": "last pixel", "_any": "any pixel"}
    figure, axes = plt.subplots(1, 2, figsize=(6.4, 2.7), sharey=True)
    for metric, axis in zip(("topk_div", "recall_div"), axes):
        for place, (kind, label) in enumerate(pairs.items()):
            for row, rule in enumerate(rules):
                values = table[table.attack == kind][metric + rule].to_numpy(float)
                x = row + 0.16 * (place - (len(pairs) - 1) / 2)
                axis.plot([x, x], bootstrap(values), color=PALETTE[place], linewidth=1.2)
                axis.plot(x, values.mean(), "os^D"[place], color=PALETTE[place], label=label if row == 0 else None)
        for row, rule in enumerate(rules):
            axis.plot([row - 0.4, row + 0.4], [_chance(table, metric + rule)] * 2, color="0.35", linestyle="--",
                      linewidth=1, label=None if row else "chance")
        axis.set_xticks(range(len(rules)), rules.values())
        axis.set_title(metric_name(metric, table))
        axis.set_xlabel("which of the tied pixels comes first")
        axis.set_ylim(0, 1)
    axes[0].set_ylabel("agreement")
    legend_below(figure, axes[0], 3)
    return figure


def noise_dots(table: pd.DataFrame) -> Figure:
    """Each method's agreement under random signs, a panel a metric, a marker a training; after [kamath2024, table 1].

    Crosses: the map of another image. The dashed tick: chance.
    """
    methods, trainings = list(table.method.unique()), list(table.training.unique())
    names = TRAINING_NAMES if len(trainings) > 1 else {trainings[0]: "same image, random signs"}
    figure, axes = plt.subplots(1, 3, figsize=(7.2, 0.42 * len(methods) + 1.3), sharey=True)
    for metric, axis in zip(("topk", "recall", "recall_div"), axes):
        for row, method in enumerate(methods):
            for place, training in enumerate(trainings):
                part = table[(table.method == method) & (table.training == training)]
                values, other = (part[name].to_numpy(float) for name in (metric, f"other_{metric}"))
                height = row + 0.26 * (place - (len(trainings) - 1) / 2)
                axis.plot(bootstrap(values), [height] * 2, color=PALETTE[place], linewidth=1.2)
                axis.plot(values.mean(), height, "os^D"[place], color=PALETTE[place],
                          label=None if row else names[training])
                first = row == place == 0
                axis.plot(other.mean(), height, "x", color="0.25", label="another image" if first else None)
                axis.plot(part[f"chance_{metric}"].astype(float).mean(), height, "|", color="0.25", markersize=8,
                          label="chance" if first else None)
        axis.set_title(metric_name(metric, table))
        axis.set_xlim(0, 1.02)
    axes[0].set_yticks(range(len(methods)), [NAMES[method] for method in methods])
    axes[0].invert_yaxis()
    legend_below(figure, axes[0], len(trainings) + 2)
    return figure


def _values(part: pd.DataFrame, metric: str, attack: str, epsilon: float | None = None) -> np.ndarray:
    """Scores (n,) of an attack, at its largest epsilon where none is given; missing ones left out."""
    part = part[part.attack == attack]
    return part[part.epsilon == (part.epsilon.max() if epsilon is None else epsilon)][metric].dropna().to_numpy(float)


def _saturated(part: pd.DataFrame, metric: str, attack: str) -> int:
    """For how many images chance is too high to correct for it."""
    name = metric.removesuffix("_corrected")
    return 0 if name == metric else int((_values(part, f"chance_{name}", attack) > scores.SATURATED).sum())


def _chance(part: pd.DataFrame, metric: str) -> float:
    if metric in _AT_ZERO or metric.endswith("corrected"):
        return 0.0
    name = "topk" if metric.startswith("topk_div") else metric
    return part[f"chance_{name}"].astype(float).mean()
