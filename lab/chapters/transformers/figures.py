"""Kinds of networks side by side: overlap over epsilon, three metrics at the largest, the cascade, and verdicts."""

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle

from fragility.audit.verdicts import FAIL, NOT_JUDGED
from lab.chapters.scoreboard.board import MARKS
from lab.chapters.scoreboard.figures import FILLS, WORDS
from lab.chapters.scoreboard.methods import CONTROLS, METHODS
from lab.chapters.transformers.kinds import ORDER
from lab.core.frames import intervals, select
from lab.drawing.names import NAMES
from lab.drawing.style import ATTACK_STYLE, PALETTE, band, epsilon_axis, legend_below

AXES = {"topk": "top-k overlap", "spearman": "rank correlation", "recall": "LENS recall"}
DISTURBED = {"random_sign": "random signs", "topk": "top-k attack"}
CONTROL = "other_image"
STYLE = {"gradient": {"color": PALETTE[0], "marker": "o"}, "gradient_x_input": {"color": PALETTE[9], "marker": "v"},
         "integrated_gradients": {"color": PALETTE[1], "marker": "s"},
         "smoothgrad": {"color": PALETTE[8], "marker": "p"},
         "guided_backprop": {"color": PALETTE[6], "marker": ">"}, "grad_cam": {"color": PALETTE[5], "marker": "P"},
         "attn_lrp": {"color": PALETTE[3], "marker": "D"},
         "attention_rollout": {"color": PALETTE[2], "marker": "^"},
         "gradient_attention_rollout": {"color": PALETTE[4], "marker": "<"},
         "sobel": {"color": "0.45", "marker": "x", "linestyle": "--"}}


def means(table: pd.DataFrame) -> pd.DataFrame:
    """Means over images, and seeds, of the three metrics with Student's 95 % interval: a row a kind of network, map,
    attack, size and metric."""
    return intervals(table, ["kind", "method", "attack", "epsilon"], list(AXES))


def over_epsilon(levels: pd.DataFrame) -> Figure:
    """Top-k overlap over epsilon: kinds in columns, random signs above and the attack below, a curve a map.

    Lines of dots and dashes, in the same colours, are what maps of other images share."""
    levels = levels[levels.metric == "topk"]
    kinds, sizes = _kinds(levels), sorted(levels.epsilon.unique())
    figure, axes = plt.subplots(2, len(kinds), figsize=(2.6 * len(kinds), 4.6), squeeze=False, sharex=True, sharey=True)
    for row, (attack, words) in zip(axes, DISTURBED.items()):
        row[0].set_ylabel(f"top-k overlap,\n{words}")
        for axis, kind in zip(row, kinds):
            part = select(levels, kind=kind)
            for method in _methods(part):
                curve = select(part, method=method, attack=attack).sort_values("epsilon")
                band(axis, range(len(sizes)), curve, start=1.0, label=WORDS[method], markersize=3.5, **STYLE[method])
                other = select(part, method=method, attack=CONTROL)["mean"]
                axis.axhline(other.item(), color=STYLE[method]["color"], linestyle="-.", linewidth=0.8)
    for axis, kind in zip(axes[0], kinds):
        axis.set_title(kind)
    for axis in axes[-1]:
        epsilon_axis(axis, sizes)
        axis.set_xlabel("ε")
    axes[0, 0].set_ylim(-0.03, 1.03)
    legend_below(figure, axes, 5)
    return figure


def at_largest(levels: pd.DataFrame) -> Figure:
    """The three metrics at the largest epsilon, a row a map of a kind of network; diamonds are maps of other images."""
    levels = levels[(levels.epsilon == levels.epsilon.max()) | (levels.attack == CONTROL)]
    rows = [(kind, method) for kind in _kinds(levels) for method in _methods(select(levels, kind=kind))]
    figure, axes = plt.subplots(1, len(AXES), figsize=(8.4, 0.3 * len(rows) + 1.1), sharey=True)
    for axis, (metric, label) in zip(axes, AXES.items()):
        for place, (kind, method) in enumerate(rows):
            part = select(levels, kind=kind, method=method, metric=metric).set_index("attack")
            for attack, shift in zip(DISTURBED, (-0.13, 0.13)):
                one, style = part.loc[attack], ATTACK_STYLE[attack]
                axis.plot([one.low, one.high], [place + shift] * 2, color=style["color"], linewidth=1)
                axis.plot(one["mean"], place + shift, style["marker"], color=style["color"], markersize=4.5)
            axis.plot(part.loc[CONTROL, "mean"], place, "D", color="none", markeredgecolor="0.35", markersize=4.5)
        for place in range(1, len(rows)):
            if rows[place][0] != rows[place - 1][0]:
                axis.axhline(place - 0.5, color="0.6", linewidth=0.8)
        axis.set(xlabel=label, xlim=(min(-0.03, axis.get_xlim()[0]), 1.03))
    axes[0].set_yticks(range(len(rows)), [f"{kind}: {WORDS[method]}" for kind, method in rows])
    axes[0].invert_yaxis()
    styles = [ATTACK_STYLE[attack] for attack in DISTURBED]
    handles = [Line2D([], [], color=style["color"], marker=style["marker"]) for style in styles]
    diamond = Line2D([], [], marker="D", color="none", markeredgecolor="0.35")
    figure.legend([*handles, diamond], [*map(NAMES.get, DISTURBED), "map of another image"],
                  loc="outside lower center", ncols=3)
    return figure


def cascade_means(table: pd.DataFrame) -> pd.DataFrame:
    """Means over images of the rank correlation with maps of networks whose layers are random from the output down."""
    rows = select(table, criterion="parameters")
    depths = [name for name in rows if name.startswith("random ")]
    return intervals(rows.dropna(subset=depths), ["kind", "method"], depths).rename(columns={"metric": "depth"})


def cascade(levels: pd.DataFrame) -> Figure:
    """Curves of :func:`cascade_means` from the intact network to one that is random throughout, a panel a kind."""
    kinds, depths = _kinds(levels), sorted(levels.depth.unique())
    figure, axes = plt.subplots(1, len(kinds), figsize=(2.9 * len(kinds), 3.3), squeeze=False, sharey=True)
    for axis, kind in zip(axes[0], kinds):
        part = select(levels, kind=kind)
        for method in (name for name in STYLE if name in set(part.method)):
            curve = select(part, method=method).sort_values("depth")
            band(axis, range(1 + len(depths)), curve, start=1.0, label=WORDS[method], markersize=3.5, **STYLE[method])
        axis.axhline(0, color="0.35", linewidth=0.8)
        axis.set(title=kind, xlabel="randomised, from the output down")
        axis.set_xticks(range(1 + len(depths)), ["none", "output", *("…" for _ in depths[2:]), "all"])
    axes[0, 0].set_ylabel("rank correlation with\nthe trained network's map")
    legend_below(figure, axes, 4)
    return figure


def verdicts(judged: pd.DataFrame) -> Figure:
    """A map a row, and for each question a column a kind of network: the verdict's mark; below a line the controls."""
    questions, kinds = list(dict.fromkeys(judged.criterion)), _kinds(judged)
    found = {(row.method, row.criterion, row.kind): row.verdict for row in judged.itertuples()}
    names = [name for name in (*METHODS, *CONTROLS) if name in set(judged.method)]
    figure, axes = plt.subplots(1, len(questions), figsize=(9.2, 0.27 * len(names) + 1.3), sharey=True)
    for axis, question in zip(axes, questions):
        for place, name in enumerate(names):
            for column, kind in enumerate(kinds):
                word = found.get((name, question, kind), NOT_JUDGED)
                axis.add_patch(Rectangle((column - 0.47, place - 0.45), 0.94, 0.9, facecolor=FILLS[word], linewidth=0))
                axis.text(column, place, MARKS[word], ha="center", va="center", color="0.1",
                          fontweight="bold" if word == FAIL else "normal")
        axis.axhline(sum(name not in CONTROLS for name in names) - 0.5, color="0.2", linewidth=0.8)
        axis.set(xlim=(-0.5, len(kinds) - 0.5), ylim=(len(names) - 0.5, -0.5))
        axis.set_title(question)
        axis.set_xticks(range(len(kinds)), kinds, rotation=35, ha="right", fontsize=8)
        axis.tick_params(length=0)
        axis.grid(False)
        axis.spines[:].set_visible(False)
    axes[0].set_yticks(range(len(names)), [WORDS[name] for name in names])
    figure.supxlabel(", ".join(f"{mark} {word}" for word, mark in MARKS.items()), fontsize=9)
    return figure


def _kinds(table: pd.DataFrame) -> list[str]:
    return [kind for kind in ORDER if kind in set(table.kind)]


def _methods(table: pd.DataFrame) -> list[str]:
    return [name for name in STYLE if name in set(table.method)]
