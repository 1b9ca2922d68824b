"""Agreement of clean and perturbed maps over the size of the perturbation."""

from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from pandas.io.formats.style import Styler

from lab.chapters.fragility.reported import WIDTH, curve
from lab.core.statistics import bootstrap, student
from lab.drawing.style import ATTACK_STYLE, NAMES, epsilon_axis, legend_below
from lab.drawing.tables import plain_table

AXES = {"topk": "top-{k} overlap", "spearman": "Spearman rank correlation", "center": "centre shift (% of image width)"}


def comparison(table: pd.DataFrame, reported: dict | None = None) -> Figure:
    """Curves over epsilon, metrics in rows and methods in columns, as [ghorbani2019, fig. 3].

    Lines are means over images with 95 % bootstrap bands; dotted lines the paper's means, their grid of
    epsilon laid over ours position by position (upper axis); dashed the chance level; dash-dotted the map
    of another image.
    """
    methods = list(dict.fromkeys(table.method))
    table = table.assign(center=100 * table.center / table.pixels**0.5)
    k, epsilons = int(table.k.iloc[0]), sorted(table.epsilon[table.epsilon > 0].unique())
    if len(methods) == 1:      # side by side
        figure, axes = plt.subplots(1, len(AXES), figsize=(9.0, 3.5), squeeze=False)
        axes = axes.T
    else:
        figure, axes = plt.subplots(len(AXES), len(methods), figsize=(1 + 3.4 * len(methods), 8.2), squeeze=False,
                                    sharex=True, sharey="row")
    for (metric, label), row in zip(AXES.items(), axes):
        for method, axis in zip(methods, row):
            part = table[table.method == method]
            _curves(axis, part, metric, epsilons)
            _controls(axis, part, metric, k)
            if reported:
                _paper_curves(axis, reported, metric, method, len(epsilons))
        for axis in row:        # after all panels of a row are drawn, since they share their limits
            axis.set_ylim(*((0, None) if metric == "center" else (min(-0.02, axis.get_ylim()[0]), 1.02)))
        row[0].set_ylabel(label.format(k=k))
    for method, column in zip(methods, axes.T):
        column[0].set_title(NAMES[method])
        for axis in column if len(methods) == 1 else column[-1:]:
            epsilon_axis(axis, epsilons)
        if reported and not _published_sizes(epsilons, reported):
            above = column[0].secondary_xaxis("top")
            above.set_xticks(range(len(reported["x"]) - 1), [f"{x}/255" for x in reported["x"][1:]])
            above.tick_params(labelsize=7, colors="0.4", length=2)
    legend_below(figure, axes[0, 0], 3)
    if "ties" in table and table.ties.max() > 0:
        figure.supxlabel(f"Up to {table.ties.max():.0f} of the top {k} pixels are zeros, chosen by their place.",
                         fontsize=8)
    return figure


def against_paper(table: pd.DataFrame, reported: dict) -> Styler:
    """Means at the largest size beside the paper's: overlap, rank correlation and centre shift, a row an attack."""
    headings = {"topk": "overlap", "spearman": "rank correlation", "center": "shift (pixels)"}
    rows = []
    for (method, attack), part in table[table.epsilon == table.epsilon.max()].groupby(["method", "attack"], sort=False):
        paper = {metric: curve(reported, metric, method, attack)[-1] for metric in headings}
        intervals = {metric: student(part[metric].to_numpy(float)) for metric in headings}
        cells = {heading: f"{part[metric].mean():.3g} [{intervals[metric][0]:.3g}, {intervals[metric][1]:.3g}]"
                          f" / {paper[metric]:.3g}" for metric, heading in headings.items()}
        rows.append({"map": NAMES[method], "attack": NAMES[attack], "n": len(part),
                     **{f"{name}: ours / paper": value for name, value in cells.items()}})
    return plain_table(pd.DataFrame(rows))


def beside_paper(table: pd.DataFrame, reported: dict) -> pd.DataFrame:
    """Each number of the paper's picture beside our mean: metric, method, attack, epsilon, paper, ours, low, high, and
    whether the paper's lies in our 95 % interval ("inside"), or ours is "lower" or "higher"."""
    rows = []
    for (method, attack), part in table[table.epsilon > 0].groupby(["method", "attack"], sort=False):
        for place, (epsilon, cell) in enumerate(part.groupby("epsilon"), 1):
            for metric in AXES:
                theirs, values = curve(reported, metric, method, attack)[place], cell[metric].to_numpy(float)
                low, high = student(values)
                where = "inside" if low <= theirs <= high else "lower" if high < theirs else "higher"
                rows.append({"metric": metric, "method": method, "attack": attack, "epsilon": epsilon, "paper": theirs,
                             "ours": values.mean(), "low": low, "high": high, "where": where})
    return pd.DataFrame(rows)


def sizes(compared: pd.DataFrame) -> Figure:
    """Ours over the paper's, a panel a metric, of :func:`beside_paper`; on the line they are equal. Filled marks are
    numbers of the paper inside our 95 % interval."""
    figure, axes = plt.subplots(1, len(AXES), figsize=(10.5, 4.0))
    for (metric, label), axis in zip({**AXES, "center": "centre shift (pixels)"}.items(), axes):
        part = compared[compared.metric == metric]
        for attack, style in ATTACK_STYLE.items():
            for inside, rows in part[part.attack == attack].groupby(part["where"] == "inside"):
                axis.errorbar(rows.paper, rows.ours, [rows.ours - rows.low, rows.high - rows.ours], linestyle="none",
                              color=style["color"], marker=style["marker"], markersize=5, elinewidth=0.8,
                              markerfacecolor=style["color"] if inside else "none",
                              label=NAMES[attack] + ("" if inside else ", not in our interval"))
        ends = [min(part.paper.min(), part.low.min()), max(part.paper.max(), part.high.max())]
        axis.plot(ends, ends, color="0.35", linewidth=0.8, linestyle="--", label="equal")
        counts = part["where"].value_counts()
        axis.set_title(f"{counts.get('inside', 0)} of {len(part)} inside, {counts.get('lower', 0)} ours lower, "
                       f"{counts.get('higher', 0)} higher", fontsize=9)
        axis.set_xlabel("the paper's")
        axis.set_ylabel(f"ours, {label.format(k='k')}")
    legend_below(figure, axes, 4)
    return figure


def _published_sizes(epsilons: Sequence[float], reported: dict) -> bool:
    """Whether our sizes are the paper's, so that one axis serves both."""
    return np.allclose(epsilons, np.array(reported["x"][1:1 + len(epsilons)]) / 255, atol=1e-4)


def _curves(axis, part: pd.DataFrame, metric: str, epsilons: Sequence[float]) -> None:
    for attack, style in ATTACK_STYLE.items():
        groups = [part[(part.attack == attack) & (part.epsilon == e)][metric].to_numpy() for e in epsilons]
        if all(len(group) for group in groups):
            bands = np.array([bootstrap(group) for group in groups])
            axis.fill_between(range(len(epsilons)), *bands.T, color=style["color"], alpha=0.18, linewidth=0)
            axis.plot([group.mean() for group in groups], label=NAMES[attack], **style)


def _controls(axis, part: pd.DataFrame, metric: str, k: int) -> None:
    pixels = int(part.pixels.iloc[0])
    chance = {"topk": k / pixels, "spearman": 0.0}.get(metric)
    if chance is not None:
        axis.axhline(chance, color="0.35", linestyle="--", linewidth=1, label="chance")
    other = part[part.attack == "other_image"][metric]
    if len(other):
        axis.axhline(other.mean(), color="0.35", linestyle="-.", linewidth=1, label="map of another image")


def _paper_curves(axis, reported: dict, metric: str, method: str, positions: int) -> None:
    for attack, style in ATTACK_STYLE.items():
        values = np.array(curve(reported, metric, method, attack)[1:])
        values = 100 * values / WIDTH if metric == "center" else values
        axis.plot(values[:positions], linestyle=":", linewidth=1.2, color=style["color"],
                  label="paper, same colour" if attack == "topk" else None)


def validity(table: pd.DataFrame) -> Figure:
    """Two panels over epsilon: share of images with no valid iterate, and change of confidence."""
    attacked = table[table.epsilon > 0].assign(lost=lambda t: 100 * (1 - t.found.astype(float)),
                                               change=lambda t: 100 * t.confidence_change)
    methods, epsilons = list(dict.fromkeys(attacked.method)), sorted(attacked.epsilon.unique())
    figure, axes = plt.subplots(2, len(methods), figsize=(1 + 3.4 * len(methods), 4.8), squeeze=False,
                                sharex=True, sharey="row")
    labels = {"lost": "images without a result (%)", "change": "change of confidence\n(percentage points)"}
    for (column, label), row in zip(labels.items(), axes):
        for method, axis in zip(methods, row):
            _curves(axis, attacked[attacked.method == method], column, epsilons)
            axis.axhline(0, color="0.35", linewidth=0.8)
        row[0].set_ylabel(label)
    for method, top, bottom in zip(methods, axes[0], axes[-1]):
        top.set_title(NAMES[method])
        epsilon_axis(bottom, epsilons)
    legend_below(figure, axes[0, 0], 3)
    return figure
