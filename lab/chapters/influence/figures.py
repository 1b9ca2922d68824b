"""Figures of the influence of training images, of fragile directions, and of the effect of dimension."""

from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch
from matplotlib.figure import Figure
from torch import Tensor

from fragility import attribution
from lab.chapters.influence.directions import random_angles
from lab.core.statistics import bootstrap
from lab.drawing.maps import picture
from lab.drawing.style import PALETTE, epsilon_axis, legend_below

_ATTACKS = {"gradient_sign": ("gradient sign", PALETTE[3], "o"), "random_sign": ("random sign", PALETTE[2], "^")}
_PERTURBATIONS = {"random": ("random signs", "--", "^"), "sign": ("signs of the worst direction", "-", "o")}


def influence_example(tests: Sequence[Tensor], train: Tensor, influences: Sequence[Tensor], titles: Sequence[str],
                      rank_correlation: float) -> Figure:
    """A test image (c, h, w), clean and perturbed, with its three most helpful training images.

    `influences` holds those of all training images (n,) before and after; each is divided by its largest absolute
    value. Images in [0, 1].
    """
    rows = [[f"{name}{row}" for name in ("test", "a", "b", "c")] + ["all", "all"] for row in (0, 1)]
    figure, axes = plt.subplot_mosaic(rows, figsize=(7.6, 2.9))
    for row, (test, share, title) in enumerate(zip(tests, influences, titles)):
        size = share.abs().max()
        axes[f"test{row}"].imshow(picture(test), cmap="gray", vmin=0, vmax=1)
        axes[f"test{row}"].set_title(title, fontsize=7.5)
        for name, place in zip("abc", share.topk(3).indices.tolist()):
            axes[f"{name}{row}"].imshow(picture(train[place]), cmap="gray", vmin=0, vmax=1)
            axes[f"{name}{row}"].set_title(f"{share[place] / size:.2f}", fontsize=7.5)
    for name, axis in axes.items():
        if name != "all":
            axis.axis("off")
    before, after = ((share / share.abs().max()).cpu().numpy() for share in influences)
    ends = [min(before.min(), after.min()), 1.0]
    axes["all"].plot(ends, ends, color="0.6", linewidth=0.8)
    axes["all"].plot(before, after, ".", color=PALETTE[0], markersize=3, alpha=0.6)
    axes["all"].set(xlabel="influence, clean image (largest size = 1)", ylabel="influence, perturbed image",
                    title=f"all training images, rank correlation {rank_correlation:.2f}")
    return figure


def influence_scatters(table: pd.DataFrame) -> Figure:
    """Influence of every training image before and after the attack, a panel a test image, a colour a class.

    Both are divided by their largest absolute value; the five images that were most helpful before have a ring.
    """
    parts = dict(list(table.groupby("place", sort=False)))
    classes = dict(zip(sorted(table.training_class.unique()), zip((PALETTE[0], PALETTE[3]), "o^")))
    figure, axes = plt.subplots(1, len(parts), figsize=(7.6, 2.9), squeeze=False)
    for axis, (place, part) in zip(axes[0], parts.items()):
        both = part[["before", "after"]] / part[["before", "after"]].abs().max()
        ends = [both.to_numpy().min(), 1.0]
        axis.plot(ends, ends, color="0.6", linewidth=0.8)
        for name, (color, marker) in classes.items():
            rows = (part.training_class == name).to_numpy()
            axis.plot(both.before[rows], both.after[rows], marker, color=color, markersize=3, alpha=0.5,
                      markeredgewidth=0, label=f"training image of class {name}")
        strongest = both.nlargest(5, "before")
        axis.plot(strongest.before, strongest.after, "o", color="none", markeredgecolor="0.2", markersize=7,
                  label="the five most helpful before")
        axis.set(title=f"{place} correlation, {part.spearman.iloc[0]:.2f}\n(a test image of class "
                       f"{part.test_class.iloc[0]})", xlabel="influence before (largest = 1)")
    axes[0, 0].set_ylabel("influence after (largest = 1)")
    legend_below(figure, axes[0, 0], 3, fontsize=7.5)
    return figure


def influence_curves(table: pd.DataFrame, survivors: int, training_images: int, *, paper: bool = False) -> Figure:
    """Rank correlation and survivors over epsilon, with chance.

    `paper` adds the same by the published code, dotted, and what the paper states, as stars.
    """
    epsilons = sorted(table.epsilon.unique())
    panels = {"spearman": ("rank correlation of all influences", 0.0),
              "survivors": (f"of the top {survivors}, still there", survivors**2 / training_images)}
    figure, axes = plt.subplots(1, 2, figsize=(7.4, 3.0))
    for axis, (column, (label, chance)) in zip(axes, panels.items()):
        for attack, (name, color, marker) in _ATTACKS.items():
            groups = [table[(table.attack == attack) & (table.epsilon == e)] for e in epsilons]
            _band(axis, range(len(epsilons)), [group[column] for group in groups], color=color, marker=marker,
                  label=name)
            if paper:
                axis.plot([group[f"{column}_published"].mean() for group in groups], ":", color=color, linewidth=1.4,
                          label=f"{name}, published code's measure")
        axis.axhline(chance, color="0.35", linestyle="--", linewidth=1, label="chance")
        for attack, grey_levels, value in _STATED[column] if paper else ():
            axis.plot(np.argmin(np.abs(np.array(epsilons) - grey_levels / 255)), value, "*", markersize=11,
                      color=_ATTACKS[attack][1], markeredgecolor="0.2",
                      label="paper, second-hand" if attack == "gradient_sign" else None)
        epsilon_axis(axis, epsilons)
        axis.set_ylabel(label)
    legend_below(figure, axes[0], 3, fontsize=7.5)
    return figure


_STATED = {"spearman": [("gradient_sign", 8, 0.0), ("random_sign", 10, 0.8)], "survivors": [("gradient_sign", 8, 2.0)]}


def _band(axis, places: Sequence[float], groups: Sequence[pd.Series], **style) -> None:
    """Means of groups of values over places, with their bootstrap intervals."""
    bands = np.array([bootstrap(group.to_numpy(float)) for group in groups])
    axis.fill_between(places, *bands.T, color=style["color"], alpha=0.18, linewidth=0)
    axis.plot(places, [group.mean() for group in groups], **style)


def angle_histograms(table: pd.DataFrame) -> Figure:
    """Angles of each kind and network, with the density of the angle between random directions of that dimension."""
    parts = dict(list(table.groupby(["kind", "network"], sort=False)))
    figure, axes = plt.subplots(1, len(parts), figsize=(7.4, 2.8), sharex=True, squeeze=False)
    for axis, ((kind, network), part) in zip(axes[0], parts.items()):
        axis.hist(part.angle, bins=np.arange(0, 93, 3), density=True, color=PALETTE[0], alpha=0.75, label="measured")
        degrees = np.linspace(0.1, 90, 900)
        expected = random_angles(degrees, int(part.pixels.iloc[0]))
        axis.plot(degrees, np.minimum(expected, 1.15 * axis.get_ylim()[1]), color="0.3", linewidth=1.2,
                  label="random directions (cut off)")
        axis.axvline(part.angle.mean(), color=PALETTE[3], linestyle="--", linewidth=1.2, label="mean")
        axis.set(title=f"{kind}\n{network}", xlabel="angle (degrees)", xlim=(0, 91))
    axes[0, 0].set_ylabel("density (per degree)")
    legend_below(figure, axes[0, 0], 3)
    return figure


def kink(model, points: Tensor) -> Figure:
    """The logit of a network of two inputs as contours, and its gradient at points (n, 2) as arrows."""
    grid = torch.stack(torch.meshgrid(torch.linspace(-1, 1, 200), torch.linspace(-1, 1, 200), indexing="xy"), -1)
    heights = model(grid.reshape(-1, 1, 1, 2)).detach()[:, 0].reshape(200, 200)
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


def dimension_curves(table: pd.DataFrame) -> Figure:
    """Change of the gradient of random networks over the dimension of the input, a colour a width, with bands."""
    widths = sorted(table.width.unique())
    panels = {"relative": "relative change of the gradient", "cosine": "cosine of the gradients",
              "spearman": "Spearman of |gradient|", "angle": "fragile direction to gradient (°)"}
    figure, axes = plt.subplots(2, 2, figsize=(7.6, 5.6), sharex=True)
    for axis, (column, label) in zip(axes.flat, panels.items()):
        for width, color in zip(widths, PALETTE):
            for perturbation, (name, line, marker) in _PERTURBATIONS.items():
                if (column, perturbation) == ("angle", "random"):
                    continue      # the angle is the direction's, which random signs do not have
                part = table[(table.width == width) & (table.perturbation == perturbation)]
                groups = dict(list(part.groupby("dimension")[column]))
                _band(axis, list(groups), list(groups.values()), linestyle=line, marker=marker, markersize=4,
                      color=color, label=f"width {width}, {name}" if column == "relative" else None)
        axis.set(xscale="log", ylabel=label)
    for axis in axes[1]:
        axis.set_xlabel("dimension of the input")
    axes[0, 0].set_yscale("log")
    axes[1, 1].set_ylim(-2, 92)
    axes[1, 1].axhline(90, color="0.35", linestyle="--", linewidth=1)
    legend_below(figure, figure.axes, 2, fontsize=7.5)
    return figure


def resolution_curves(table: pd.DataFrame) -> Figure:
    """Rank correlation and overlap of maps over the number of input values, for two perturbations."""
    figure, axes = plt.subplots(1, 2, figsize=(7.0, 2.8))
    styles = {"random_sign": ("random sign", PALETTE[2], "^"), "topk": ("top-k attack", PALETTE[0], "s")}
    panels = {"spearman": "Spearman rank correlation", "topk": "overlap of the top 2 %"}
    for axis, (column, label) in zip(axes, panels.items()):
        for attack, (name, color, marker) in styles.items():
            groups = dict(list(table[table.attack == attack].groupby("values")[column]))
            if groups:      # published records may still lack one of the two
                _band(axis, [values / 1000 for values in groups], list(groups.values()), color=color, marker=marker,
                      label=name)
        axis.axhline(0.02 if column == "topk" else 0.0, color="0.35", linestyle="--", linewidth=1, label="chance")
        axis.set(xlabel="values of an input image (thousands)", ylabel=label, ylim=(-0.03, 1.02))
    legend_below(figure, axes[0], 3)
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
