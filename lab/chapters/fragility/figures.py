"""Agreement of clean and perturbed maps: over the size of the perturbation, at the largest, and beside the paper."""

from collections.abc import Sequence

import matplotlib.pyplot as plt
import pandas as pd
import torch
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from torch import Tensor

from lab.chapters.fragility.reported import curve
from lab.core.frames import intervals
from lab.drawing.maps import map_rows
from lab.drawing.names import NAMES, in_order
from lab.drawing.style import ATTACK_STYLE, label_ends

AXES = {"topk": "top-k overlap", "spearman": "rank correlation", "center": "centre shift (pixels)"}
COSTS = {"lost": "images that lost\ntheir label (%)", "change": "change of\nconfidence (points)"}
START = {"topk": 1.0, "spearman": 1.0, "center": 0.0, "lost": 0.0, "change": 0.0}     # of a map and itself
REFERENCES = {"black": ", from black", "mean": ", from the mean colour", "none": ""}


def means(table: pd.DataFrame, columns: Sequence[str] = tuple(AXES)) -> pd.DataFrame:
    """Means over images with Student's 95 % interval: a row a method, its reference image, attack, size and metric."""
    chance = {"topk": table.k.iloc[0] / table.pixels.iloc[0], "spearman": 0.0}
    levels = intervals(table, ["method", "reference", "attack", "epsilon"], columns).rename(columns={"mean": "ours"})
    return levels.assign(chance=levels.metric.map(chance))


def beside_paper(table: pd.DataFrame, reported: dict) -> pd.DataFrame:
    """The means with what the paper's picture has at the same place ("paper"), and whether that lies "inside" our 95 %
    interval, or ours is "lower" or "higher"; nothing of both for the map of another image."""
    levels = means(table)
    sizes = sorted(levels.epsilon.unique())         # zero, where there are controls, and the paper's

    def theirs(row) -> float | None:
        if row.attack not in ATTACK_STYLE:
            return None
        values = curve(reported, row.metric, row.method, row.attack)
        return values[sizes.index(row.epsilon) + (sizes[0] > 0)]

    levels["paper"] = pd.Series([theirs(row) for row in levels.itertuples()], dtype=float)
    levels["where"] = "inside"
    levels.loc[levels.high < levels.paper, "where"] = "lower"
    levels.loc[levels.low > levels.paper, "where"] = "higher"
    levels.loc[levels.paper.isna(), "where"] = None
    return levels


def comparison(levels: pd.DataFrame) -> Figure:
    """Curves of :func:`means` over epsilon from zero on, metrics in rows and methods in columns, as [ghorbani2019,
    fig. 3], and dotted, in the same colours, those of the paper where `levels` are :func:`beside_paper`."""
    figure, axes = _grid(levels, AXES, 1.75)
    for metric, row in zip(AXES, axes):
        for method, axis in zip(_methods(levels), row):
            part = levels[(levels.metric == metric) & (levels.method == method)]
            _curves(axis, part, metric)
            control = part[part.attack == "other_image"]
            if part.chance.notna().any():
                axis.axhline(part.chance.iloc[0], color="0.35", linestyle="--", linewidth=0.9)
            if len(control):
                axis.axhline(control.ours.iloc[0], color="0.35", linestyle="-.", linewidth=0.9)
        for axis in row:        # after all panels of a row are drawn, since they share their limits
            axis.set_ylim(*((0, None) if metric == "center" else (min(-0.03, axis.get_ylim()[0]), 1.03)))
        _name_curves(row[-1])
    _key(figure, {"ours, 95 % interval": "-", **({"paper": ":"} if "paper" in levels else {}),
                  "map of another image": "-.", "chance": "--"})
    return figure


def validity(levels: pd.DataFrame) -> Figure:
    """What an attack costs over epsilon: :func:`means` of :data:`COSTS`, which :func:`costs` has the columns of."""
    figure, axes = _grid(levels, COSTS, 1.7)
    for metric, row in zip(COSTS, axes):
        for method, axis in zip(_methods(levels), row):
            _curves(axis, levels[(levels.metric == metric) & (levels.method == method)], metric)
            axis.axhline(0, color="0.35", linewidth=0.8)
        if metric == "lost":
            row[0].set_ylim(-3, 103)        # a share: an interval of few images goes beyond its ends
        _name_curves(row[-1])
    return figure


def costs(table: pd.DataFrame) -> pd.DataFrame:
    """Means of the images without a result and of the change of confidence, in per cent, of the attacked rows."""
    attacked = table[table.epsilon > 0]
    return means(attacked.assign(lost=100 * (1 - attacked.found.astype(float)),
                                 change=100 * attacked.confidence_change.astype(float)), tuple(COSTS))


def at_largest(levels: pd.DataFrame) -> Figure:
    """Means and intervals at the largest size, a row a map, a colour an attack, beside the paper's, as diamonds; these
    stand below ours where there is one attack."""
    levels = levels[levels.epsilon == levels.epsilon.max()]
    levels = levels.assign(row=levels.method.map(NAMES) + levels.reference.map(REFERENCES))
    rows = list(dict.fromkeys(row for method in _methods(levels) for row in levels.row[levels.method == method]))
    attacks = [attack for attack in ATTACK_STYLE if attack in set(levels.attack)]
    height = 0.9 + (0.22 + 0.13 * len(attacks)) * len(rows)
    figure, axes = plt.subplots(1, len(AXES), figsize=(7.2, height), sharey=True)
    for (metric, label), axis in zip(AXES.items(), axes):
        for offset, attack in enumerate(attacks):
            part = levels[(levels.metric == metric) & (levels.attack == attack)]
            places = [rows.index(row) + 0.22 * (offset - (len(attacks) - 1) / 2) for row in part.row]
            style = ATTACK_STYLE[attack]
            axis.errorbar(part.ours, places, xerr=[part.ours - part.low, part.high - part.ours], fmt=style["marker"],
                          color=style["color"], markersize=4.5, elinewidth=1, label=NAMES[attack])
            below = [place + 0.25 * (len(attacks) == 1) for place in places]
            axis.plot(part.paper, below, "D", color="none", markeredgecolor=style["color"], markersize=5)
        left, right = axis.get_xlim()
        axis.set(xlabel=label, xlim=(0, right) if metric == "center" else (min(-0.03, left), 1.03))
    axes[0].set_yticks(range(len(rows)), rows)
    axes[0].invert_yaxis()
    handles, names = axes[0].get_legend_handles_labels()
    names = names if len(attacks) > 1 else ["ours"]
    diamond = Line2D([], [], marker="D", color="none", markeredgecolor="0.35", markersize=5)
    figure.legend([*handles, diamond], [*names, "the paper's"], loc="outside lower center", ncols=4)
    return figure


def before_and_after(images: Sequence[Tensor], maps: Sequence[Tensor], sure: Sequence[Tensor],
                     labels: Tensor) -> Figure:
    """Images (n, c, h, w) and their maps (n, h, w), clean and attacked, each a pair; `sure` (n,) is the confidence in
    the labels."""
    titles = [[f"label {label}, {share:.0%}" for share in shares]
              for label, *shares in zip(labels.tolist(), *(one.tolist() for one in sure))]
    return map_rows(torch.stack(list(images), 1), torch.stack(list(maps), 1), titles, ["map", "map, attacked"])


def sizes(compared: pd.DataFrame) -> Figure:
    """Ours over the paper's, a panel a metric, of :func:`beside_paper`; on the line they are equal. Filled marks are
    numbers of the paper inside our 95 % interval."""
    figure, axes = plt.subplots(1, len(AXES), figsize=(7.2, 3.0))
    compared = compared[compared.paper.notna()]
    for (metric, label), axis in zip(AXES.items(), axes):
        part = compared[compared.metric == metric]
        for attack, style in ATTACK_STYLE.items():
            for inside, rows in part[part.attack == attack].groupby(part["where"] == "inside"):
                axis.errorbar(rows.paper, rows.ours, [rows.ours - rows.low, rows.high - rows.ours], linestyle="none",
                              color=style["color"], marker=style["marker"], markersize=4.5, elinewidth=0.8,
                              markerfacecolor=style["color"] if inside else "none",
                              label=NAMES[attack] if inside else None)
        low, high = min(part.paper.min(), part.low.min()), max(part.paper.max(), part.high.max())
        ends = low - 0.03 * (high - low), high + 0.03 * (high - low)
        axis.plot(ends, ends, color="0.35", linewidth=0.8, linestyle="--")
        counts = part["where"].value_counts()
        axis.set_title(f"{counts.get('inside', 0)} of {len(part)} inside,\n{counts.get('lower', 0)} ours lower, "
                       f"{counts.get('higher', 0)} higher", fontsize=8.5)
        axis.set(xlabel=f"paper: {label}", ylabel="ours", xlim=ends, ylim=ends, aspect="equal")
    handles, names = axes[0].get_legend_handles_labels()
    for filled, name in (("0.5", "paper inside our interval"), ("none", "paper outside")):
        handles.append(Line2D([], [], linestyle="none", marker="o", color="0.5", markerfacecolor=filled))
        names.append(name)
    figure.legend(handles, names, loc="outside lower center", ncols=3)
    return figure


def _methods(levels: pd.DataFrame) -> list[str]:
    return in_order(levels.method)


def _grid(levels: pd.DataFrame, rows: dict[str, str], height: float):
    """Panels, metrics in rows and methods in columns, with one tick a size from zero on."""
    methods, epsilons = _methods(levels), _sizes(levels)
    figure, axes = plt.subplots(len(rows), len(methods), figsize=(2.0 + 1.3 * len(methods), 0.7 + height * len(rows)),
                                squeeze=False, sharex=True, sharey="row")
    whole = all(abs(255 * size - round(255 * size)) < 0.01 for size in epsilons)
    names = [f"{255 * size:.0f}" if whole else f"{size:.3g}".lstrip("0") if size > max(epsilons) / 6 else ""
             for size in epsilons]      # the smallest shares stand too close to each other for a name
    axes[0, 0].set_xticks([0, *epsilons], ["0", *names])
    for axis, method in zip(axes[0], methods):
        axis.set_title(NAMES[method], fontsize=9)
    for axis, label in zip(axes[:, 0], rows.values()):
        axis.set_ylabel(label)
    for axis in axes[-1]:
        axis.set_xlabel("ε (of 255 grey levels)" if whole else "ε (of 1)")
    return figure, axes


def _sizes(levels: pd.DataFrame) -> list[float]:
    return sorted(levels.epsilon[levels.epsilon > 0].unique())


def _curves(axis, part: pd.DataFrame, metric: str) -> None:
    """Of each attack the means from zero on, with their band, and the paper's."""
    for attack, style in ATTACK_STYLE.items():
        rows = part[(part.attack == attack) & (part.epsilon > 0)].sort_values("epsilon")
        if rows.empty:
            continue
        start, places, color = START[metric], [0, *rows.epsilon], style["color"]
        axis.fill_between(places, [start, *rows.low], [start, *rows.high], color=color, alpha=0.18, linewidth=0)
        axis.plot(places, [start, *rows.ours], label=NAMES[attack], **{**style, "markersize": 3.5})
        if "paper" in rows:
            axis.plot(places, [start, *rows.paper], linestyle=":", linewidth=1.3, color=color, label="paper")


def _name_curves(axis) -> None:
    """The attacks' names beside the ends of their curves."""
    named = {NAMES[attack]: style["color"] for attack, style in ATTACK_STYLE.items()}
    lines = [line for line in axis.get_lines() if line.get_label() in named]
    label_ends(axis, {line.get_label().replace(" attack", ""): (line.get_ydata()[-1], line.get_color())
                      for line in lines})


def _key(figure: Figure, lines: dict[str, str]) -> None:
    """What each kind of line is, below the figure."""
    handles = [Line2D([], [], color="0.35", linestyle=line, linewidth=1.3) for line in lines.values()]
    figure.legend(handles, lines, loc="outside lower center", ncols=len(lines))
