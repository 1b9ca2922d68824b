"""Figures of the attack's variants: targeted regions, number of steps, directions, choices of the published code."""

from collections.abc import Sequence

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.colors import PowerNorm
from matplotlib.figure import Figure
from torch import Tensor

from fragility import metrics
from lab.chapters.attacks.numbers import STEPS_TO_BOUND
from lab.core.frames import intervals
from lab.drawing.maps import picture
from lab.drawing.names import NAMES, in_order
from lab.drawing.style import PALETTE, label_ends, legend_below

AXES = {"topk": "top-k overlap", "spearman": "rank correlation", "center": "centre shift (pixels)"}
OURS, PUBLISHED = PALETTE[0], PALETTE[3]
#: The choices of the published code, as a figure names them.
CHOICES = {"start": "start", "random": "random signs", "output": "explained output", "selection": "iterate kept by",
           "twin": "softplus twin"}


def sent_pictures(images: Tensor, maps: Tensor, titles: Sequence[Sequence[str]], methods: Sequence[str],
                  mask: Tensor) -> Figure:
    """A row a map: image and map, clean and attacked, with the outline of the region that the attack aims at.

    Images (rows, 2, c, h, w), maps (rows, 2, h, w), `titles[row]` over the two images, mask (h, w). Dark parts of the
    maps are brightened; where both maps are the same, no attack was found.
    """
    figure, axes = plt.subplots(len(images), 4, figsize=(5.6, 1.36 * len(images) + 0.2), squeeze=False)
    for axis, title in zip(axes[0, 1::2], ("map", "map, attacked")):
        axis.set_title(title, fontsize=8, fontweight="bold")
    for row, pair, drawn, names, method in zip(axes, images, maps, titles, methods):
        for axis, image, title in zip(row[::2], pair, names):
            axis.imshow(picture(image), cmap="gray", vmin=0, vmax=1)
            axis.set_title(title, fontsize=8)
        for axis, one in zip(row[1::2], drawn):
            axis.imshow(one.cpu().numpy(), norm=PowerNorm(0.6, vmin=0))
        if drawn[0].equal(drawn[1]):
            row[3].text(0.5, 0.5, "no attack found", transform=row[3].transAxes, ha="center", va="center", fontsize=8,
                        bbox={"facecolor": "white", "edgecolor": "none", "pad": 2})
        row[0].set_ylabel(NAMES[method], fontsize=8.5)
        for axis in row:
            axis.contour(mask.cpu().numpy(), levels=[0.5], colors=[PALETTE[9]], linewidths=2)
            _bare(axis)
    return figure


def shares(table: pd.DataFrame) -> pd.DataFrame:
    """Mean shares of the map in each region before and after the attack on it, a row a method and region."""
    levels = intervals(table, ["method", "region"], ["after"])
    before = table.groupby(["method", "region"]).before.mean()
    places = pd.MultiIndex.from_frame(levels[["method", "region"]])
    return levels.assign(before=before.reindex(places).to_numpy(), area=table.area.iloc[0])


def targeted_shares(levels: pd.DataFrame) -> Figure:
    """The clean and the attacked share of :func:`shares` side by side, a panel a map."""
    methods, regions = in_order(levels.method), list(dict.fromkeys(levels.region))
    figure, axes = plt.subplots(1, len(methods), figsize=(7.2, 3.0), sharey=True, squeeze=False)
    for axis, method in zip(axes[0], methods):
        part = levels[levels.method == method].set_index("region").loc[regions].reset_index()
        high = part.high.clip(upper=1)      # a share: an interval of few images goes beyond its ends
        axis.plot(part.index - 0.12, part.before, "o", color=PALETTE[7], label="clean")
        axis.errorbar(part.index + 0.12, part["mean"], [part["mean"] - part.low, high - part["mean"]], fmt="s",
                      color=PALETTE[3], elinewidth=1.2, label="attacked")
        axis.axhline(levels.area.iloc[0], color="0.35", linestyle="--", linewidth=1, label="area of the region")
        axis.set_xticks(range(len(regions)), regions, rotation=35, ha="right")
        axis.set_title(NAMES[method])
        axis.set_ylim(0, 1.03)
    axes[0, 0].set_ylabel("share of the map in the region")
    legend_below(figure, axes[0, 0], 3)
    return figure


def by_steps(table: pd.DataFrame) -> pd.DataFrame:
    """Means of the metrics by method and number of steps, with the share of ε that so many steps can reach."""
    levels = intervals(table[table.question == "steps"], ["method", "steps"], tuple(AXES))
    chance = {"topk": table.k.iloc[0] / table.pixels.iloc[0], "spearman": 0.0}
    return levels.assign(reach=(levels.steps / STEPS_TO_BOUND).clip(upper=1.0), chance=levels.metric.map(chance))


def saturation(levels: pd.DataFrame) -> Figure:
    """Curves of :func:`by_steps` over the number of steps, below each the share of ε that it can reach."""
    figure, axes = plt.subplots(1, len(AXES), figsize=(7.2, 2.7))
    steps = sorted(levels.steps.unique())
    for axis, (metric, label) in zip(axes, AXES.items()):
        ends = {}
        for (method, part), color, marker in zip(levels[levels.metric == metric].groupby("method"), PALETTE, "so^"):
            axis.fill_between(part.steps, part.low, part.high, color=color, alpha=0.18, linewidth=0)
            axis.plot(part.steps, part["mean"], color=color, marker=marker, label=NAMES[method])
            ends[NAMES[method].replace(" ", "\n")] = (part["mean"].iloc[-1], color)
        if metric != "center":
            axis.axhline(part.chance.iloc[0], color="0.35", linestyle="--", linewidth=1, label="chance")
            axis.set_ylim(-0.03, 1.03)
        axis.axvline(STEPS_TO_BOUND, color="0.35", linestyle=":", linewidth=1, label="all of ε can be reached")
        axis.set(xscale="log", ylabel=label, xlabel="attack steps (below: reach, in ε)")
        axis.set_xticks(steps, [f"{count}\n{min(1, count / STEPS_TO_BOUND):.2g}".replace("0.", ".") for count in steps])
        axis.minorticks_off()
    label_ends(axes[-1], ends, 0.2)
    return figure


def directions(table: pd.DataFrame) -> pd.DataFrame:
    """What each way of finding the direction leaves after as many steps, with the seconds that an image takes."""
    part = table[table.question == "cost"]
    part = part.assign(published=part.variant.str.startswith("double"),
                       setting=[_setting(row.variant, row.beta) for row in part.itertuples()])
    by = ["method", "setting", "published"]
    levels = intervals(part, by, ["topk"])
    seconds = part.groupby(by).seconds.mean()
    return levels.assign(seconds=seconds.reindex(pd.MultiIndex.from_frame(levels[by])).to_numpy())


def _setting(variant: str, beta: float) -> str:
    """The variant as the figure names it, with the sharpness of its twin where it has one."""
    if variant.startswith("double"):
        return f"published{', whole path' if 'path' in variant else ''}, β = {beta:g}"
    return "ours" if variant == "finite difference" else f"ours, {variant.replace('1 random points', '1 random point')}"


def cost(levels: pd.DataFrame) -> Figure:
    """Overlap left and seconds an image of :func:`directions`, a row a direction: ours blue, the published orange."""
    methods = list(dict.fromkeys(levels.method))
    heights = [(levels.method == method).sum() for method in methods]
    figure, axes = plt.subplots(len(methods), 2, figsize=(7.2, 1.0 + 0.27 * sum(heights)), sharex="col", squeeze=False,
                                height_ratios=heights)
    for (left, right), method in zip(axes, methods):
        part = levels[levels.method == method].reset_index(drop=True)
        for place, row in enumerate(part.itertuples()):
            color, marker = (PUBLISHED, "s") if row.published else (OURS, "o")
            left.errorbar(row.mean, place, xerr=[[row.mean - row.low], [row.high - row.mean]], fmt=marker, color=color)
            right.plot(row.seconds, place, marker, color=color)
        left.set_yticks(range(len(part)), part.setting)
        right.set_yticks(range(len(part)), [])
        left.set_title(NAMES[method], loc="left")
        right.set_xscale("log")
        for axis in (left, right):
            axis.set_ylim(len(part) - 0.5, -0.5)
            axis.tick_params(labelbottom=True)
    axes[-1, 0].set(xlabel="top-k overlap left", xlim=(0, None))        # an interval of few images goes below zero
    axes[-1, 1].set_xlabel("seconds an image")
    return figure


def choices(table: pd.DataFrame) -> pd.DataFrame:
    """Means of the metrics for each choice of the published code and each of its variants."""
    part = table[table.question.isin(list(CHOICES))]
    levels = intervals(part, ["question", "variant"], tuple(AXES))
    return levels.sort_values("question", key=lambda names: names.map(list(CHOICES).index), kind="stable")


def traps(levels: pd.DataFrame) -> Figure:
    """Means and intervals of :func:`choices`, a row a variant, lines between the choices."""
    rows = list(dict.fromkeys(zip(levels.question, levels.variant)))
    figure, axes = plt.subplots(1, len(AXES), figsize=(7.2, 0.7 + 0.24 * len(rows)), sharey=True)
    for axis, (metric, label) in zip(axes, AXES.items()):
        for _, part in levels[levels.metric == metric].groupby("question", sort=False):
            places = [rows.index(row) for row in zip(part.question, part.variant)]
            axis.errorbar(part["mean"], places, xerr=[part["mean"] - part.low, part.high - part["mean"]], fmt="o",
                          color=OURS, markersize=4.5)
            axis.axhline(max(places) + 0.5, color="0.6", linewidth=0.8)
        axis.set_xlabel(label)
    firsts = {question: variant for question, variant in reversed(rows)}
    axes[0].set_yticks(range(len(rows)), [f"{CHOICES[question]}: {variant}" if firsts[question] == variant else variant
                                          for question, variant in rows])
    axes[0].set_ylim(len(rows) - 0.5, -0.5)
    return figure


def scored(maps: Tensor, steps: Sequence[int], k: int) -> pd.DataFrame:
    """What the metrics say of each map (n, h, w) beside the first; `steps` led to it."""
    clean = maps[:1].expand_as(maps)
    return pd.DataFrame({"steps": list(steps), "topk": metrics.topk_intersection(clean, maps, k).tolist(),
                         "spearman": metrics.spearman(clean, maps).tolist(),
                         "center": metrics.center_shift(clean, maps).tolist()})


def degrees(maps: Tensor, scores: pd.DataFrame) -> Figure:
    """Maps (n, h, w) of one image, below each what :func:`scored` says of it."""
    figure, axes = plt.subplots(1, len(maps), figsize=(7.2, 2.0))
    for axis, drawn, row in zip(axes, maps, scores.itertuples()):
        axis.imshow(drawn.cpu().numpy())
        axis.set_xlabel(f"{row.steps} step{'s' * (row.steps != 1)}\noverlap {row.topk:.2f}\n"
                        f"rank {row.spearman:.2f}\nshift {row.center:.1f} px", fontsize=8)
        _bare(axis)
    return figure


def _bare(axis) -> None:
    """No ticks, grid or frame around a picture, which keeps its labels."""
    axis.set(xticks=[], yticks=[])
    axis.grid(False)
    axis.spines[:].set_visible(False)
