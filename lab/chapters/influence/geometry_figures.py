"""Figures of fragile directions, a bound on them, and the effect of dimension."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from torch import Tensor

from fragility import attribution
from lab.chapters.influence.directions import random_angles
from lab.core.frames import intervals
from lab.drawing.names import DATA_NAMES
from lab.drawing.style import PALETTE, band, label_ends, legend_below

_CHANGES = {"relative": "relative change of the gradient", "cosine": "cosine of the gradients",
            "spearman": "rank correlation of |gradient|", "angle": "fragile direction to gradient (°)"}
_PERTURBATIONS = {"sign": ("signs of the worst direction", "-", "o"), "random": ("random signs", "--", "^")}
_KINDS = {"feature importance": "pixels", "sample importance": "training images"}
_GRID = 801        # points on a side of the kink: fewer draw its contours as stairs


def angle_histograms(table: pd.DataFrame) -> Figure:
    """Angles of each kind and network, with the density of the angle between random directions of that dimension."""
    parts = dict(list(table.groupby(["kind", "network", "data_set"], sort=False)))
    figure, axes = plt.subplots(1, len(parts), figsize=(7.2, 2.8), sharex=True, squeeze=False)
    for axis, ((kind, _, data_set), part) in zip(axes[0], parts.items()):
        axis.hist(part.angle, bins=np.arange(0, 93, 3), density=True, color=PALETTE[0], alpha=0.75, label="measured")
        degrees = np.linspace(0.1, 90, 900)
        expected = random_angles(degrees, int(part.pixels.iloc[0]))
        expected = np.minimum(expected, 1.15 * axis.get_ylim()[1])
        axis.plot(degrees, expected, color="0.6", linewidth=1.2, label="random directions (cut off)")
        axis.fill_between(degrees, expected, color="0.9", linewidth=0, zorder=0)
        axis.axvline(part.angle.mean(), color=PALETTE[3], linestyle="--", linewidth=1.2, label="mean")
        axis.set(title=f"{_KINDS[kind]},\n{DATA_NAMES.get(data_set, data_set)}", xlabel="angle (degrees)", xlim=(0, 92))
    axes[0, 0].set_ylabel("density (per degree)")
    legend_below(figure, axes[0, 0], 3)
    return figure


def kink(model, points: Tensor) -> Figure:
    """The logit of a network of two inputs as contours, and its gradient at points (n, 2) as arrows."""
    grid = torch.stack(torch.meshgrid(torch.linspace(-1, 1, _GRID), torch.linspace(-1, 1, _GRID), indexing="xy"), -1)
    heights = model(grid.reshape(-1, 1, 1, 2)).detach()[:, 0].reshape(_GRID, _GRID)
    slopes = attribution.gradient(model, points[:, None, None], 1)[:, 0, 0]      # of the one logit itself
    figure, axis = plt.subplots(figsize=(3.6, 3.3))
    axis.contour(grid[..., 0], grid[..., 1], heights, levels=14, cmap="cividis", linewidths=1)
    for (x, y), (dx, dy) in zip(points.tolist(), (0.45 * slopes / slopes.norm(dim=1, keepdim=True)).tolist()):
        axis.annotate("", (x + dx, y + dy), (x, y), arrowprops={"arrowstyle": "->", "color": PALETTE[3], "lw": 1.6})
        axis.plot(x, y, "o", color=PALETTE[3], markersize=4)
    ticks = [-1, 0, 1]      # more of them run into each other
    axis.set(xlabel="first input", ylabel="second input", aspect="equal", xticks=ticks, yticks=ticks)
    axis.grid(False)
    return figure


def bound_scatter(table: pd.DataFrame) -> Figure:
    """Bound by operator norms on the change of the gradient along a step, over the measured change, a mark an image."""
    figure, axis = plt.subplots(figsize=(3.9, 3.1))
    axis.plot(table.change, table.bound, "o", color=PALETTE[0], markersize=4, label="an image")
    ends = [table.change.min() / 2, table.bound.max() * 2]
    axis.plot(ends, ends, color="0.35", linestyle="--", linewidth=1, label="bound reached")
    axis.set(xscale="log", yscale="log", xlabel="change of the gradient, over the step", ylabel="operator-norm bound")
    axis.legend()
    return figure


def by_dimension(table: pd.DataFrame) -> pd.DataFrame:
    """Means of what happens to the gradient of random networks, by width, perturbation and dimension of the input."""
    return intervals(table, ["width", "perturbation", "dimension"], tuple(_CHANGES))


def dimension_curves(means: pd.DataFrame) -> Figure:
    """Curves of :func:`by_dimension`, a shade a width, the widest darkest; dashed under random signs, whose
    direction has no angle."""
    widths = sorted(means.width.unique())
    shades = plt.get_cmap("viridis_r")(np.linspace(0.15, 0.9, len(widths)))       # ordered, as the widths are
    figure, axes = plt.subplots(2, 2, figsize=(7.2, 5.2), sharex=True)
    for axis, (column, label) in zip(axes.flat, _CHANGES.items()):
        ends = {}
        for width, color in zip(widths, shades):
            for perturbation, (_, line, marker) in _PERTURBATIONS.items():
                rows = means[(means.width == width) & (means.perturbation == perturbation) & (means.metric == column)]
                if rows.empty or (column, perturbation) == ("angle", "random"):
                    continue
                rows = rows.sort_values("dimension")
                band(axis, rows.dimension, rows, linestyle=line, marker=marker, markersize=4, color=color)
                if perturbation == "sign":
                    ends[f"width {width}"] = (rows["mean"].iloc[-1], color)
        axis.set(xscale="log", ylabel=label)
        if column == "relative":
            axis.set_yscale("log")
        if column == "angle":
            axis.set_ylim(-2, 92)
            axis.axhline(90, color="0.35", linestyle=":", linewidth=1)
        label_ends(axis, ends)
    for axis in axes[1]:
        axis.set_xlabel("dimension of the input")
    handles = [Line2D([], [], color="0.35", linestyle=line, marker=marker, markersize=4, label=name)
               for name, line, marker in _PERTURBATIONS.values()]
    figure.legend(handles=handles, loc="outside lower center", ncols=2)
    return figure


def by_side(table: pd.DataFrame) -> pd.DataFrame:
    """Means of the agreement of maps of resized images, by perturbation, side in pixels and number of values."""
    return intervals(table, ["attack", "side", "values"], ("spearman", "topk"))


def resolution_curves(means: pd.DataFrame) -> Figure:
    """Curves of :func:`by_side` over the number of input values, for two perturbations."""
    figure, axes = plt.subplots(1, 2, figsize=(7.2, 2.6))
    styles = {"random_sign": ("random signs", PALETTE[2], "^"), "topk": ("top-k attack", PALETTE[0], "s")}
    panels = {"spearman": "rank correlation", "topk": "overlap of the top 2 %"}
    for axis, (column, label) in zip(axes, panels.items()):
        ends = {}
        for attack, (name, color, marker) in styles.items():
            rows = means[(means.attack == attack) & (means.metric == column)].sort_values("values")
            if len(rows):      # published records may still lack one of the two
                band(axis, rows["values"] / 1000, rows, color=color, marker=marker, label=name)
                ends[name] = (rows["mean"].iloc[-1], color)
        axis.axhline(0.02 if column == "topk" else 0.0, color="0.35", linestyle="--", linewidth=1, label="chance")
        axis.set(xlabel="values of an input image (thousands)", ylabel=label, ylim=(-0.03, 1.02))
        label_ends(axis, ends)
    return figure
