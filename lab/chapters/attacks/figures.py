"""Figures of the attack's variants: number of steps, cost, targeted regions, choices of the published code."""

from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter
from pandas.io.formats.style import Styler
from torch import Tensor

from fragility import metrics
from lab.core.statistics import bootstrap
from lab.drawing.maps import picture
from lab.drawing.style import NAMES, PALETTE, legend_below
from lab.drawing.tables import plain_table


def saturation(table: pd.DataFrame, k: int) -> Figure:
    """Overlap, rank correlation and centre shift over the number of steps, a colour a map."""
    panels = {"topk": f"top-{k} overlap", "spearman": "Spearman rank correlation", "center": "centre shift (pixels)"}
    figure, axes = plt.subplots(1, 3, figsize=(8.2, 2.8))
    for axis, (column, label) in zip(axes, panels.items()):
        for (method, part), color, marker in zip(table.groupby("method"), PALETTE, "so^"):
            groups = [(steps, group[column].to_numpy(float)) for steps, group in part.groupby("steps")]
            bands = np.array([bootstrap(values) for _, values in groups])
            places = [steps for steps, _ in groups]
            axis.fill_between(places, *bands.T, color=color, alpha=0.18, linewidth=0)
            axis.plot(places, [values.mean() for _, values in groups], color=color, marker=marker, label=NAMES[method])
        if column != "center":
            axis.axhline(k / table.pixels.iloc[0] if column == "topk" else 0, color="0.35", linestyle="--", linewidth=1,
                         label="chance")
            axis.set_ylim(-0.03, 1.03)
        axis.set(xscale="log", xlabel="attack steps", ylabel=label)
    legend_below(figure, axes[0], 3)
    return figure


def cost(table: pd.DataFrame, k: int) -> Figure:
    """Overlap after attacks with the same number of steps, over the seconds that they take for an image.

    One colour for finite differences, another for double backprop; a marker for each setting.
    """
    methods = list(dict.fromkeys(table.method))
    figure, axes = plt.subplots(1, len(methods), figsize=(3.9 * len(methods), 3.0), sharey=True, squeeze=False)
    for axis, method in zip(axes[0], methods):
        part = table[table.method == method]
        markers = {False: iter("os^Dv"), True: iter("os^Dv")}
        for variant, group in part.groupby("variant", sort=False):
            published = variant.startswith("double backprop")
            color, low, high = PALETTE[3 if published else 0], *bootstrap(group.topk.to_numpy(float))
            seconds = group.seconds.mean()
            axis.plot([seconds] * 2, [low, high], color=color, linewidth=1.2)
            axis.plot(seconds, group.topk.mean(), next(markers[published]), color=color, label=_setting(variant, group))
        axis.set(xscale="log", xlabel="seconds an image", title=NAMES[method],
                 xlim=(part.seconds.min() / 2, part.seconds.max() * 2))
        axis.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axis.xaxis.set_major_formatter("{x:g}")
        axis.xaxis.set_minor_formatter(NullFormatter())
        axis.legend(fontsize=7.5)
    axes[0, 0].set_ylabel(f"top-{k} overlap left")
    return figure


def _setting(variant: str, group: pd.DataFrame) -> str:
    """The variant's name, completed by the beta of softplus where it lacks it."""
    beta = "" if "beta" in variant or not variant.startswith("double") else f", beta {group.beta.iloc[0]:g}"
    return variant.replace("1 random points", "1 random point") + beta


def targeted_shares(table: pd.DataFrame) -> Figure:
    """Share of the importance inside the region, before and after the attack, by map and region."""
    methods, regions = (list(dict.fromkeys(table[column])) for column in ("method", "region"))
    figure, axes = plt.subplots(1, len(methods), figsize=(2.1 * len(methods) + 0.4, 2.9), sharey=True, squeeze=False)
    for axis, method in zip(axes[0], methods):
        for place, region in enumerate(regions):
            group = table[(table.method == method) & (table.region == region)]
            before, after = group.before.mean(), group.after.mean()
            axis.annotate("", (place, after), (place, before), arrowprops={"arrowstyle": "->", "color": "0.5"})
            axis.plot(place, before, "o", color=PALETTE[7], label="clean" if place == 0 else None)
            axis.plot(place, after, "s", color=PALETTE[3], label="attacked" if place == 0 else None)
            axis.plot([place] * 2, bootstrap(group.after.to_numpy(float)), color=PALETTE[3], linewidth=1.2)
        axis.axhline(table.area.iloc[0], color="0.35", linestyle="--", linewidth=1, label="chance: area of the region")
        axis.set_xticks(range(len(regions)), regions, rotation=35, ha="right")
        axis.set_title(NAMES[method])
    axes[0, 0].set_ylabel("share of the map in the region")
    legend_below(figure, axes[0, 0], 3)
    return figure


def region_rows(images: Sequence[Tensor], maps: Sequence[Sequence[Tensor]], masks: Sequence[Tensor],
                titles: Sequence[str]) -> Figure:
    """One image a row: the image, its map, and its map after an attack on the outlined region."""
    figure, axes = plt.subplots(len(images), 3, figsize=(4.6, 1.6 * len(images) + 0.2), squeeze=False)
    for row, image, pair, mask, title in zip(axes, images, maps, masks, titles):
        row[0].imshow(picture(image), cmap="gray", vmin=0, vmax=1)
        row[0].set_ylabel(title, fontsize=8)
        for axis, drawn in zip(row[1:], pair):
            axis.imshow(drawn.cpu().numpy())
        for axis in row:
            axis.contour(mask.cpu().numpy(), levels=[0.5], colors=[PALETTE[9]], linewidths=1.4)
            axis.set(xticks=[], yticks=[])
            axis.grid(False)
            axis.spines[:].set_visible(False)
    for axis, name in zip(axes[0], ("image", "map", "map, attacked")):
        axis.set_title(name)
    return figure


def degrees(maps: Sequence[Tensor], captions: Sequence[str]) -> Figure:
    """Maps (h, w) of one image, each with its caption below."""
    figure, axes = plt.subplots(1, len(maps), figsize=(1.45 * len(maps), 2.1))
    for axis, drawn, caption in zip(axes, maps, captions):
        axis.imshow(drawn.cpu().numpy())
        axis.set_xlabel(caption, fontsize=7.5)
        axis.set(xticks=[], yticks=[])
        axis.grid(False)
        axis.spines[:].set_visible(False)
    return figure


def scored(maps: Sequence[Tensor], steps: Sequence[int], k: int) -> list[str]:
    """What the metrics say of each map (h, w) beside the first, below the steps that led to it."""
    rows = torch.stack(list(maps))
    clean = rows[:1].expand_as(rows)
    scores = zip(metrics.topk_intersection(clean, rows, k), metrics.spearman(clean, rows),
                 metrics.center_shift(clean, rows))
    return [f"{count} step{'s' * (count != 1)}\noverlap {overlap:.2f}\nrank corr. {rank:.2f}\nshift {shift:.1f} px"
            for count, (overlap, rank, shift) in zip(steps, scores)]


#: The choices of the published code, as a table names them.
CHOICES = {"start": "start of the mass-centre attack", "random": "random signs", "output": "explained output",
           "selection": "iterate that is kept", "twin": "softplus"}


SCORES = {"topk": "overlap", "spearman": "rank correlation"}
SHIFT = {"center": "centre shift (pixels)"}


def variant_table(table: pd.DataFrame, columns: dict[str, str] = SCORES) -> Styler:
    """Means and 95 % bootstrap intervals of each variant; `columns` maps a column to its heading.

    Variants of several choices have the choice in front.
    """
    rows = []
    for (choice, variant), group in table.groupby(["question", "variant"], sort=False):
        cells = {"choice": CHOICES[choice], "variant": variant}
        for column, heading in columns.items():
            values = group[column].to_numpy(float)
            low, high = bootstrap(values)
            cells[heading] = f"{values.mean():.2f} [{low:.2f}, {high:.2f}]"
        rows.append(cells)
    several = table.question.nunique() > 1
    return plain_table(pd.DataFrame(rows).drop(columns=[] if several else "choice"))
