"""Figures of the influence of training images."""

from collections.abc import Sequence

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from torch import Tensor

from lab.chapters.influence.influences import SURVIVORS
from lab.core.frames import intervals
from lab.core.numbers import difference
from lab.drawing.maps import picture
from lab.drawing.style import PALETTE, band, label_ends, legend_below

ATTACKS = {"gradient_sign": ("gradient sign", PALETTE[3], "o"), "random_sign": ("random signs", PALETTE[2], "^")}
PANELS = {"survivors": f"of the top {SURVIVORS}, still there", "spearman": "rank correlation"}
START = {"survivors": SURVIVORS, "spearman": 1.0}
NETWORKS = {"squeezenet1_0": "SqueezeNet", "efficientnet_lite0": "EfficientNet-Lite0", "mnist-cnn": "small network"}
#: What we know of the paper's values, from second hand: attack, grey levels, value.
STATED = {"spearman": [("gradient_sign", 8, 0.0), ("random_sign", 10, 0.8)], "survivors": [("gradient_sign", 8, 2.0)]}
_STAR = {"linestyle": "none", "marker": "*", "markersize": 11, "markeredgecolor": "0.2", "zorder": 5}


def levels(table: pd.DataFrame) -> pd.DataFrame:
    """Means of what stays, in our measure and the published code's, a row a network, perturbation, size and metric."""
    columns = [f"{metric}{measure}" for metric in PANELS for measure in ("", "_published")]
    found = intervals(table, ["network", "attack", "epsilon"], columns)
    chance = {"survivors": SURVIVORS**2 / table.train_images.iloc[0], "spearman": 0.0}
    return found.assign(chance=found.metric.str.removesuffix("_published").map(chance))


def influence_curves(means: pd.DataFrame, *, paper: bool = False) -> Figure:
    """What stays of the influences over epsilon, of :func:`levels` in our measure, a row of panels a network; with
    `paper` what that states, as stars."""
    networks, epsilons = list(dict.fromkeys(means.network)), sorted(means.epsilon.unique())
    figure, axes = plt.subplots(len(networks), len(PANELS), figsize=(7.2, 0.4 + 2.0 * len(networks)), squeeze=False,
                                sharex=True, sharey="col")
    whole = all(abs(255 * size - round(255 * size)) < 0.01 for size in epsilons)
    for network, row in zip(networks, axes):
        for (metric, label), axis in zip(PANELS.items(), row):
            part, ends = means[(means.network == network) & (means.metric == metric)], {}
            for attack, (name, color, marker) in ATTACKS.items():
                rows, start = part[part.attack == attack].sort_values("epsilon"), START[metric]
                band(axis, [0, *rows.epsilon], rows, start=start, color=color, marker=marker, label=name)
                ends[name] = (rows["mean"].iloc[-1], color)
            axis.axhline(part.chance.iloc[0], color="0.35", linestyle="--", linewidth=1)
            for attack, grey_levels, value in STATED[metric] if paper else ():
                axis.plot(grey_levels / 255, value, color=ATTACKS[attack][1], **_STAR)
            axis.set(ylabel=label, ylim=(-0.04 * START[metric], 1.04 * START[metric]))
            label_ends(axis, ends, 0.13)
        row[0].set_title(NETWORKS[network], loc="left")
    for axis in axes[-1]:
        axis.set_xticks([0, *epsilons], ["0", *(f"{255 * e:.0f}" if whole else f"{e:.3g}" for e in epsilons)])
        axis.set_xlabel("ε (of 255 grey levels)" if whole else "ε (of 1)")
    handles = [Line2D([], [], color="0.35", linestyle="--", label="chance"),
               *([Line2D([], [], color="0.6", label="paper, second-hand", **_STAR)] if paper else [])]
    figure.legend(handles=handles, loc="outside lower center", ncols=2)
    return figure


def gains(table: pd.DataFrame) -> pd.DataFrame:
    """How many more of the top random signs leave than the gradient sign, on the same images, by network and size."""
    rows = []
    for (network, epsilon), part in table.groupby(["network", "epsilon"], sort=False):
        random, gradient = (part[part.attack == attack] for attack in ("random_sign", "gradient_sign"))
        gap = difference(random, gradient, "survivors")
        rows.append({"network": network, "epsilon": epsilon, "n": gap.n, "mean": gap.value, "low": gap.interval[0],
                     "high": gap.interval[1]})
    return pd.DataFrame(rows)


def beyond_noise(means: pd.DataFrame) -> Figure:
    """The :func:`gains` over epsilon, a curve a network."""
    figure, axis = plt.subplots(figsize=(5.4, 2.6))
    epsilons, ends = sorted(means.epsilon.unique()), {}
    for (network, part), color, marker in zip(means.groupby("network", sort=False), PALETTE, "so"):
        rows = part.sort_values("epsilon")
        band(axis, rows.epsilon, rows, color=color, marker=marker, label=NETWORKS[network])
        ends[NETWORKS[network]] = (rows["mean"].iloc[-1], color)
    axis.axhline(0, color="0.35", linewidth=0.8)
    axis.set_xticks([0, *epsilons], ["0", *(f"{255 * size:.0f}" for size in epsilons)])
    axis.set(xlabel="ε (of 255 grey levels)", ylabel=f"lost of the top {SURVIVORS}\nbeyond random signs")
    label_ends(axis, ends)
    return figure


def measures(means: pd.DataFrame) -> Figure:
    """What stays at 8/255 of :func:`levels`: filled marks are of our measure, hollow ones of the published code's."""
    part = means[(255 * means.epsilon).round() == 8]
    rows = list(dict.fromkeys(zip(part.network, part.attack)))
    figure, axes = plt.subplots(1, len(PANELS), figsize=(7.2, 2.5), sharey=True)
    for (metric, label), axis in zip(PANELS.items(), axes):
        for place, (network, attack) in enumerate(rows):
            _, color, marker = ATTACKS[attack]
            chosen = part[(part.network == network) & (part.attack == attack)].set_index("metric")
            for suffix, shift, filled in (("", -0.13, color), ("_published", 0.13, "none")):
                one = chosen.loc[metric + suffix]
                axis.errorbar(one["mean"], place + shift, fmt=marker, color=color, markerfacecolor=filled,
                              xerr=[[one["mean"] - one.low], [one.high - one["mean"]]])
            for stated, grey_levels, value in STATED[metric]:
                if (stated, grey_levels) == (attack, 8):
                    axis.plot(value, place, color=color, **_STAR)
        axis.set(xlabel=label, xlim=(-0.03 * START[metric], None))
    axes[0].set_yticks(range(len(rows)), [f"{NETWORKS[network]}, {ATTACKS[attack][0]}" for network, attack in rows])
    axes[0].set_ylim(len(rows) - 0.5, -0.5)
    handles = [Line2D([], [], linestyle="none", marker="o", color="0.35", label="our measure"),
               Line2D([], [], linestyle="none", marker="o", color="0.35", markerfacecolor="none",
                      label="the published code's"), Line2D([], [], color="0.6", label="paper, second-hand", **_STAR)]
    figure.legend(handles=handles, loc="outside lower center", ncols=3)
    return figure


def influence_example(tests: Sequence[Tensor], train: Tensor, influences: Sequence[Tensor], titles: Sequence[str],
                      rank_correlation: float) -> Figure:
    """A test image (c, h, w), clean and perturbed, with its three most helpful training images.

    `influences` holds those of all training images (n,) before and after; above each image stands its own over the
    largest in absolute value, on the right the ranks of all. Images in [0, 1].
    """
    rows = [[f"{name}{row}" for name in ("test", "a", "b", "c")] + ["all", "all"] for row in (0, 1)]
    figure, axes = plt.subplot_mosaic(rows, figsize=(7.2, 2.8))
    for row, (test, share, title) in enumerate(zip(tests, influences, titles)):
        size = share.abs().max()
        axes[f"test{row}"].imshow(picture(test), cmap="gray", vmin=0, vmax=1)
        axes[f"test{row}"].set_title(title, fontsize=8)
        for name, place in zip("abc", share.topk(3).indices.tolist()):
            axes[f"{name}{row}"].imshow(picture(train[place]), cmap="gray", vmin=0, vmax=1)
            axes[f"{name}{row}"].set_title(f"influence {share[place] / size:.2f}", fontsize=8)
    for name, axis in axes.items():
        if name != "all":
            axis.axis("off")
    before, after = (_ranks(pd.Series(share.cpu().numpy())) for share in influences)
    axes["all"].plot([1, len(before)], [1, len(before)], color="0.6", linewidth=0.8)
    axes["all"].plot(before, after, ".", color=PALETTE[0], markersize=3, alpha=0.6)
    axes["all"].set(xlabel="rank, clean image", ylabel="rank, perturbed image",
                    title=f"all training images, rank correlation {rank_correlation:.2f}")
    return figure


def ranked(table: pd.DataFrame) -> pd.DataFrame:
    """Ranks of the influence of every training image on a test image, 1 the most helpful, before and after the step."""
    ranks = table.groupby("place", sort=False)[["before", "after"]].transform(_ranks)
    return table[["place", "spearman", "test_class", "training_class"]].assign(**ranks.astype(int))


def influence_ranks(table: pd.DataFrame) -> Figure:
    """Ranks after over ranks before the attack, of :func:`ranked`, a panel a test image, a colour a class of training
    images; the most helpful before have a ring."""
    parts = dict(list(table.groupby("place", sort=False)))
    classes = dict(zip(sorted(table.training_class.unique()), zip((PALETTE[0], PALETTE[3]), "o^")))
    figure, axes = plt.subplots(1, len(parts), figsize=(7.2, 2.9), squeeze=False, sharey=True)
    for axis, (place, part) in zip(axes[0], parts.items()):
        axis.plot([1, len(part)], [1, len(part)], color="0.6", linewidth=0.8)
        for name, (color, marker) in classes.items():
            rows = part[part.training_class == name]
            axis.plot(rows.before, rows.after, marker, color=color, markersize=2.5, alpha=0.5, markeredgewidth=0,
                      label=f"training image of class {name}")
        helpful = part[part.before <= SURVIVORS]
        axis.plot(helpful.before, helpful.after, "o", color="none", markeredgecolor="0.2", markersize=7,
                  label=f"the {SURVIVORS} most helpful before")
        axis.set(title=f"{place} correlation, {part.spearman.iloc[0]:.2f}\n(test image: {part.test_class.iloc[0]})",
                 xlabel="rank before", xticks=[1, len(part) // 2, len(part)], yticks=[1, len(part) // 2, len(part)])
    axes[0, 0].set_ylabel("rank after")
    legend_below(figure, axes[0, 0], 3, markerscale=2)
    return figure


def _ranks(values: pd.Series) -> pd.Series:
    return values.rank(ascending=False, method="first")
