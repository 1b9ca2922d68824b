"""The board as a picture, what maps cost, and how the questions and the networks agree."""

from collections.abc import Mapping

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from fragility.audit.verdicts import FAIL, NOT_JUDGED, PASS, UNDECIDED
from fragility.audit.words import fixed
from lab.chapters.scoreboard.agreement import ORDERING, Agreement
from lab.chapters.scoreboard.board import MARKS, NETWORKS, QUESTIONS, networks
from lab.chapters.scoreboard.methods import CONTROLS, METHODS
from lab.core.frames import select
from lab.drawing.names import NAMES
from lab.drawing.style import PALETTE

WORDS = {**NAMES, "grad_cam": "Grad-CAM", "lrp_epsilon": "LRP (epsilon)", "lrp_zplus": "LRP (z+)",
         "occlusion": "occlusion", "attn_lrp": "AttnLRP", "attention_rollout": "attention rollout",
         "gradient_attention_rollout": "gradient rollout", "constant": "constant", "centre": "bright centre",
         "the_input": "the image itself", "another_class": "gradient of another class",
         "corner": "gradient, corner network"}
#: Fill behind a mark: blue, orange and greys that stay apart for the colour-blind, and in print by their lightness.
FILLS = {PASS: "#cfe3f5", FAIL: "#f3b48b", UNDECIDED: "#f4f1d9", NOT_JUDGED: "white"}
HEADS = {"attack-lens": "attack-\nlens", "completeness": "complete-\nness"}     # as columns have room for


def board(judged: pd.DataFrame, network: str) -> Figure:
    """Maps in rows and questions in columns: the verdict's mark and the effect against the closest control; below a
    line the controls, which do not know the network. Intervals, too small to read here, are in the figure's data."""
    rows = select(judged, network=network)
    found = {(row.method, row.criterion): row for row in rows.itertuples()}
    shown = [name for name in METHODS if _measured(found, name)]
    controls = [name for name in CONTROLS if _measured(found, name)]
    names = [*shown, *controls]
    figure, axis = plt.subplots(figsize=(8.2, 0.27 * len(names) + 0.9))
    for place, name in enumerate(names):
        height = place + (0.25 if name in CONTROLS else 0)
        for column, question in enumerate(QUESTIONS):
            _cell(axis, column, height, found.get((name, question)))
    axis.set_xticks(range(len(QUESTIONS)), [HEADS.get(each, each) for each in QUESTIONS])
    heights = [place + (0.25 if name in CONTROLS else 0) for place, name in enumerate(names)]
    axis.set_yticks(heights, [WORDS.get(name, name) for name in names])
    axis.axhline(len(shown) - 0.375, color="0.2", linewidth=0.8)
    _bare(axis, len(QUESTIONS), len(names) + 0.25)
    axis.set_title(f"{NETWORKS.get(network, network)}: {_key()}", loc="left")
    return figure


def _measured(found: Mapping, name: str) -> bool:
    return any(found[name, each].n for each in QUESTIONS if (name, each) in found)


def _key() -> str:
    return ", ".join(f"{mark} {word}" for word, mark in MARKS.items())


def _cell(axis, column: float, height: float, row) -> None:
    word = row.verdict if row is not None else NOT_JUDGED
    axis.add_patch(Rectangle((column - 0.48, height - 0.46), 0.96, 0.92, facecolor=FILLS[word], edgecolor="0.75",
                             linewidth=0.4))
    if row is None or not row.n:
        axis.text(column, height, MARKS[NOT_JUDGED], ha="center", va="center", color="0.45")
        return
    axis.text(column - 0.43, height, MARKS[word], ha="left", va="center", fontsize=9,
              fontweight="bold" if word == FAIL else "normal")
    axis.text(column + 0.44, height, _effect(row), ha="right", va="center", fontsize=8.5)


def _effect(row) -> str:
    """The effect in words; of what is exact the score."""
    if row.effect is None or np.isnan(row.effect):
        return "undef." if row.undefined else fixed(row.score, 2)
    if row.low == row.high:
        return "0" if abs(row.score) < 1e-5 else fixed(row.score, 2)
    return fixed(row.effect, 2)


def _bare(axis, columns: float, rows: float) -> None:
    axis.set(xlim=(-0.5, columns - 0.5), ylim=(rows - 0.5, -0.5))
    axis.xaxis.tick_top()
    axis.tick_params(length=0)
    axis.grid(False)
    axis.spines[:].set_visible(False)


def front(judged: pd.DataFrame) -> Figure:
    """The front page's figure: which map passes which question, marks alone; on photographs where these are there."""
    network = networks(judged)[0]
    found = {(row.method, row.criterion): row for row in select(judged, network=network).itertuples()}
    names = [name for name in (*METHODS, *CONTROLS) if _measured(found, name)]
    names.sort(key=lambda name: -sum(found[name, each].verdict == PASS for each in QUESTIONS if (name, each) in found))
    figure, axis = plt.subplots(figsize=(7.2, 0.25 * len(names) + 1.0))
    for place, name in enumerate(names):
        for column, question in enumerate(QUESTIONS):
            row = found.get((name, question))
            word = row.verdict if row is not None else NOT_JUDGED
            axis.add_patch(Rectangle((column - 0.47, place - 0.45), 0.94, 0.9, facecolor=FILLS[word], linewidth=0))
            axis.text(column, place, MARKS[word], ha="center", va="center",
                      fontweight="bold" if word == FAIL else "normal", color="0.1" if word != NOT_JUDGED else "0.55")
    axis.set_xticks(range(len(QUESTIONS)), QUESTIONS, rotation=35, ha="left")
    axis.set_yticks(range(len(names)), [WORDS.get(name, name) + (" (control)" if name in CONTROLS else "")
                                        for name in names])
    _bare(axis, len(QUESTIONS), len(names))
    axis.set_xlabel(f"{NETWORKS.get(network, network)}. {_key()}")
    axis.xaxis.set_label_position("bottom")
    return figure


def cost(table: pd.DataFrame, judged: pd.DataFrame, network: str) -> Figure:
    """What a map costs, in gradients, the cheapest first, beside its effects by removal and under noise."""
    spent = select(table, network=network, criterion="cost").groupby("method").gradients.mean().dropna().sort_values()
    spent = spent[[name for name in spent.index if name in METHODS]]
    figure, axes = plt.subplots(1, 3, figsize=(9.2, 0.27 * len(spent) + 1.1), sharey=True,
                                width_ratios=[1, 1.3, 1.3])
    axes[0].hlines(range(len(spent)), spent.min() / 1.5, spent, color=PALETTE[7], linewidth=1)
    axes[0].plot(spent, range(len(spent)), "s", color=PALETTE[7])
    axes[0].set(xscale="log", xlabel="cost of a map, in gradients")
    axes[0].set_yticks(range(len(spent)), [WORDS.get(name, name) for name in spent.index])
    axes[0].invert_yaxis()
    for axis, question in zip(axes[1:], ("removal", "noise")):
        rows = select(judged, network=network, criterion=question).set_index("method")
        for place, name in enumerate(spent.index):
            if name in rows.index and pd.notna(rows.effect[name]):
                row = rows.loc[name]
                axis.plot([row.low, row.high], [place] * 2, color=PALETTE[0], linewidth=1.2)
                axis.plot(row.effect, place, "o", color=PALETTE[0])
                axis.plot(row.threshold, place, "|", color="0.25", markersize=9)
        axis.set_xlabel(f"effect by {question}; a stroke: needed")
    return figure


def questions(found: Mapping[tuple[str, str], Agreement]) -> Figure:
    """Rank correlation of each pair of questions over maps; where its interval lies off zero the cell is framed and has
    the interval, too."""
    figure, axis = plt.subplots(figsize=(8.8, 5.6))
    count = len(ORDERING)
    values = np.full((count, count), np.nan)
    for (one, other), each in found.items():
        values[ORDERING.index(other), ORDERING.index(one)] = each.value
    drawn = axis.imshow(values, cmap="PuOr", vmin=-1, vmax=1)
    for (one, other), each in found.items():
        row, column = ORDERING.index(other), ORDERING.index(one)
        if np.isnan(each.value):
            axis.text(column, row, MARKS[NOT_JUDGED], ha="center", va="center", color="0.45")
            continue
        dark = "white" if abs(each.value) > 0.7 else "black"
        framed = each.low > 0 or each.high < 0
        axis.text(column, row - 0.16 * framed, fixed(each.value, 2), ha="center", va="center", fontsize=9, color=dark)
        if framed:
            axis.text(column, row + 0.24, f"{fixed(each.low, 2)} to {fixed(each.high, 2)}", ha="center", va="center",
                      fontsize=6.5, color=dark)
            axis.add_patch(Rectangle((column - 0.48, row - 0.48), 0.96, 0.96, fill=False, linewidth=1))
    axis.set_xticks(range(count - 1), ORDERING[:-1], rotation=35, ha="right")
    axis.set_yticks(range(1, count), ORDERING[1:])
    axis.set(xlim=(-0.5, count - 1.5), ylim=(count - 0.5, 0.5))
    axis.grid(False)
    axis.spines[:].set_visible(False)
    figure.colorbar(drawn, ax=axis, label="rank correlation over maps", shrink=0.7)
    return figure


def carried(found: Mapping[str, Mapping[str, Agreement]]) -> Figure:
    """Rank correlation of the orders of two networks, a row a question, a marker a pair of networks."""
    figure, axis = plt.subplots(figsize=(6.6, 3.9))
    for place, (pair, each) in enumerate(found.items()):
        for row, question in enumerate(ORDERING):
            one = each.get(question)
            if one is None or np.isnan(one.value):
                continue
            height = row + 0.2 * (place - (len(found) - 1) / 2)
            axis.plot([one.low, one.high], [height] * 2, color=PALETTE[place], linewidth=1.1)
            axis.plot(one.value, height, "os^Dv<"[place], color=PALETTE[place])
        axis.plot([], [], "os^Dv<"[place], color=PALETTE[place], label=pair)
    axis.axvline(0, color="0.35", linewidth=0.8)
    axis.set_yticks(range(len(ORDERING)), ORDERING)
    axis.set(xlim=(-1.03, 1.03), ylim=(len(ORDERING) - 0.5, -0.5), xlabel="rank correlation of the maps' orders")
    axis.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0))
    return figure
