"""Figures and tables of the accuracy that is left when the top of a ranking is removed or kept."""

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from torch import Tensor

from lab.chapters.roar import benchmarks
from lab.core import folders
from lab.core.frames import select
from lab.drawing.maps import picture
from lab.drawing.style import PALETTE, legend_below
from lab.material import data

REPORTED_CLEAN = {"Birdsnap": 66.65, "Food-101": 84.54, "ImageNet": 76.68}       # [hooker2019, table 2]
CLASSES = {"mnist-5k": 10, "mnist": 10, "fashion-mnist": 10, "cifar10": 10, "gtsrb": 43, "food101": 101,
           "imagenet": 1000, "Birdsnap": 500, "Food-101": 101, "ImageNet": 1000}    # for the accuracy of guessing
_BASES = {"GRAD": PALETTE[0], "IG": PALETTE[1], "GB": PALETTE[2]}
_MARKERS = {"": "o", "SQ": "v", "SG": "s", "SG-SQ": "D", "VAR": "X"}
# How far the base's colour is mixed with white (1) or black (0): amount, target.
_SHADES = {"": (0, 1), "SQ": (0.45, 1), "SG": (0.3, 1), "SG-SQ": (0.25, 0), "VAR": (0.5, 0)}
_OWN = {"VAR-GRAD": PALETTE[4]}     # its curve lies on SG-SQ-GRAD's, so its hue must not be that of the gradient
_CONTROLS = {"Random": {"color": "0.15", "marker": "None", "linestyle": "--"},
             "Sobel": {"color": "0.55", "marker": "P", "linestyle": "-."}}
_ROOM = {1: 112, 2: 128}     # where an axis ends, by the panels in a row, so that names of curves have room
_NEAR = 0.3     # guessing is shown where it lies this near below the curves, as a share of what they span
_GUESSING = {"color": "0.35", "linestyle": (0, (1, 1.5)), "linewidth": 1.2}
FILTERS = {"none": "as it is", "gauss": "Gaussian blur, 1 pixel", "max": "3 x 3 maximum"}
#: Title -> the estimators of a panel, each with both controls.
GROUPS = {"base and SmoothGrad": ["GRAD", "IG", "GB", "SG-GRAD", "Sobel", "Random"],
          "squared, variance": ["SG-SQ-GRAD", "VAR-GRAD", "Sobel", "Random"]}
ENSEMBLES = {title: [f"{kind}-{name}" for name in ("GRAD", "IG", "GB")] + ["Random"]
             for title, kind in (("SmoothGrad", "SG"), ("squared", "SG-SQ"), ("variance", "VAR"))}
DATA_NAMES = {"cifar10": "CIFAR-10", "fashion-mnist": "Fashion-MNIST"}
_TOY = {"true": PALETTE[0], "random": PALETTE[7], "worst": PALETTE[3]}


def reported_roar() -> pd.DataFrame:
    """The accuracies of [hooker2019, table 2], with columns data_set, estimator, mode, percent and accuracy, and
    `replaced`, the share of the image that is replaced."""
    table = pd.read_csv(folders.CLAIMS / "reported" / "hooker2019_table2.csv")
    share = table.percent / 100
    return table.assign(replaced=share.where(table["mode"] == "ROAR", 1 - share))


def degraded_images(rows: Mapping[str, Sequence[Tensor]], columns: Sequence[str],
                    notes: Mapping[tuple[str, int], str]) -> Figure:
    """One image, uint8 (c, h, w), degraded by each estimator (rows) at each fraction (columns).

    `notes` {(estimator, column): text} stand over the pictures.
    """
    figure, axes = plt.subplots(len(rows), len(columns), figsize=(1.15 * len(columns) + 0.6, 1.25 * len(rows) + 0.3),
                                squeeze=False)
    for (name, images), line in zip(rows.items(), axes):
        for place, (axis, image) in enumerate(zip(line, images)):
            axis.imshow(picture(image.float() / 255), cmap="gray", vmin=0, vmax=1)
            axis.set_title(notes.get((name, place), ""), fontsize=7.5)
            axis.set(xticks=[], yticks=[])
            axis.grid(False)
        line[0].set_ylabel(name)
    for axis, column in zip(axes[-1], columns):
        axis.set_xlabel(column)
    return figure


def mean_notes(table: pd.DataFrame, shares: Sequence[float]) -> dict[tuple[str, int], str]:
    """Notes for :func:`degraded_images`: the mean accuracy of an estimator's ROAR, at the shares that were measured."""
    means = table.groupby(["estimator", "replaced"]).accuracy.mean()
    return {(name, shares.index(share)): f"{mean:.1f} %" for (name, share), mean in means.items() if share in shares}


def toy_curves(table: pd.DataFrame) -> Figure:
    """Accuracy over removed features without and with a new fit, after [hooker2019, fig. 2]; bands span the seeds."""
    figure, axes = plt.subplots(1, 2, figsize=(7.2, 3.0), sharey=True)
    for axis, retrained in zip(axes, (False, True)):
        for (ranking, color), marker in zip(_TOY.items(), "os^"):
            part = table[(table.ranking == ranking) & (table.retrained == retrained)].groupby("removed").accuracy
            share = 100 * np.array(list(part.groups)) / table.removed.max()
            axis.fill_between(share, part.quantile(0.1), part.quantile(0.9), color=color, alpha=0.15, linewidth=0)
            axis.plot(share, part.mean(), color=color, marker=marker, label=f"{ranking} ranking")
        axis.axhline(50, color="0.35", linestyle="--", linewidth=1, label="chance")
        axis.set(xlabel="inputs removed (%)", title="fitted anew (ROAR)" if retrained else "not fitted anew")
    axes[0].set_ylabel("test accuracy (%)")
    legend_below(figure, axes[0], 4)
    return figure


def toy_means(table: pd.DataFrame) -> pd.DataFrame:
    """The means that :func:`toy_curves` draws."""
    return table.groupby(["ranking", "retrained", "removed"]).accuracy.mean().reset_index()


def removal_curves(panels: Mapping[str, tuple[pd.DataFrame, float]], *, width: int = 3) -> Figure:
    """Accuracy over the replaced share, a line an estimator with its name at its end; small marks are single trainings.

    `panels` {title: (frame, accuracy with nothing replaced)}, `width` of them to a row; frames hold data_set,
    estimator, replaced and accuracy. Those of the paper, whose frame is :func:`reported_roar`'s, are drawn dotted.
    Panels of one data set share their axis; guessing is on it where it is near.
    """
    width = min(width, len(panels))
    height = -(-len(panels) // width)
    figure, axes = plt.subplots(height, width, figsize=(7.2, 2.4 * height + 0.3), squeeze=False, sharex=True)
    spans = _spans(panels)
    for axis, (title, (table, control)) in zip(axes.flat, panels.items()):
        data_set, ends = table.data_set.iloc[0], {}
        for name in dict.fromkeys(table.estimator):
            ends[name] = _line(axis, table[table.estimator == name], name, control, data_set in REPORTED_CLEAN)
        axis.axhline(guessing(data_set), label="guessing", **_GUESSING)
        axis.set(ylim=spans[data_set], xlim=(-3, _ROOM.get(width, 145)), xticks=[0, 30, 50, 70, 90])
        axis.yaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 5, 10], integer=True))
        axis.set_title(title, fontsize=8.5)
        _name_ends(axis, ends)
    for axis in axes[:, 0]:
        axis.set_ylabel("test accuracy (%)")
    for axis in axes.flat[len(panels) - width:len(panels)]:      # the lowest of each column
        axis.set_xlabel("pixels replaced (%)", loc="left")
        axis.tick_params(labelbottom=True)
    for axis in axes.flat[len(panels):]:
        axis.set_axis_off()
    return figure


def _spans(panels: Mapping[str, tuple[pd.DataFrame, float]]) -> dict[str, tuple[float, float]]:
    """Limits of the panels of each data set, which share them: from the lowest accuracy to the highest, and down to
    guessing where that is near."""
    found = {}
    for table, control in panels.values():
        values = found.setdefault(table.data_set.iloc[0], [])
        values += [table.accuracy.min(), table.accuracy.max(), control]
    spans = {}
    for data_set, values in found.items():
        low, high = np.nanmin(values), np.nanmax(values)
        if low - guessing(data_set) < _NEAR * (high - low):
            low = min(low, guessing(data_set))
        spans[data_set] = low - 0.06 * (high - low), high + 0.06 * (high - low)
    return spans


def _name_ends(axis, ends: Mapping[str, tuple[float, float]]) -> None:
    """Write each line's name beside its end, in its colour; names that would overlap are moved apart."""
    names = sorted(ends, key=lambda name: ends[name][1])
    heights = np.array([ends[name][1] for name in names])
    low, high = axis.get_ylim()
    gap = 0.061 * (high - low)      # what a line of text takes
    for _ in range(200):        # push neighbours apart, and back from the edges
        close = np.clip(gap - np.diff(heights), 0, None) / 2
        heights[:-1] -= close
        heights[1:] += close
        heights = np.clip(heights, low + gap * (0.5 + np.arange(len(names))),
                          high - gap * (0.5 + np.arange(len(names))[::-1]))
    for name, height in zip(names, heights):
        x, y = ends[name]
        axis.annotate(name, (x, y), (98, height), fontsize=7, va="center", color=_readable(name),
                      arrowprops={"arrowstyle": "-", "color": "0.8", "linewidth": 0.5, "shrinkA": 0, "shrinkB": 1})


def beside_the_paper(table: pd.DataFrame, controls: pd.DataFrame,
                     groups: Mapping[str, list[str]] = GROUPS) -> dict[str, tuple[pd.DataFrame, float]]:
    """Panels of :func:`removal_curves`: ROAR of groups of estimators, the paper's ImageNet beside our data sets;
    `controls` is the frame of the trainings on untouched images."""
    paper = select(reported_roar(), data_set="ImageNet", mode="ROAR")
    panels = {}
    for title, members in groups.items():
        panels[f"ImageNet (the paper's)\n{title}"] = (select(paper, estimator=members), REPORTED_CLEAN["ImageNet"])
        for data_set in sorted(table.data_set.unique()):
            rows = select(benchmarks.retrained(table, data_set), estimator=members)
            name = DATA_NAMES.get(data_set, data_set)
            panels[f"{name} (ours)\n{title}"] = rows, benchmarks.untouched(controls, data_set)
    return panels


def keeping_and_removing(table: pd.DataFrame, control: float) -> dict[str, tuple[pd.DataFrame, float]]:
    """Panels of :func:`removal_curves`: KAR and ROAR of the paper on ImageNet, and of one data set of ours."""
    shown = [name for group in GROUPS.values() for name in group]
    paper, data_set = select(reported_roar(), data_set="ImageNet", estimator=shown), table.data_set.iloc[0]
    panels = {f"{name}, ImageNet (the paper's)": (select(paper, mode=name), REPORTED_CLEAN["ImageNet"])
              for name in ("KAR", "ROAR")}
    for name, mode in (("KAR", "keep"), ("ROAR", "remove")):
        rows = select(benchmarks.retrained(table, data_set, mode), estimator=shown)
        panels[f"{name}, {DATA_NAMES.get(data_set, data_set)} (ours)"] = rows, control
    return panels


def drawn(panels: Mapping[str, tuple[pd.DataFrame, float]]) -> pd.DataFrame:
    """What :func:`removal_curves` draws as a table: an estimator's mean at each share, and over how many trainings."""
    parts = [rows.groupby(["estimator", "replaced"]).accuracy.agg(["mean", "count"]).reset_index()
             .assign(panel=title, nothing_replaced=control) for title, (rows, control) in panels.items()]
    return pd.concat(parts, ignore_index=True)


def _line(axis, table: pd.DataFrame, name: str, control: float, dotted: bool) -> tuple[float, float]:
    """Draw an estimator; returns where its line ends."""
    style = _style(name)
    means = table.groupby("replaced").accuracy.mean()
    if not dotted:
        axis.plot(100 * table.replaced, table.accuracy, ".", color=style["color"], markersize=3, alpha=0.7)
    axis.plot([0, *(100 * means.index)], [control, *means], label=name,
              **style | ({"linestyle": ":"} if dotted and name not in _CONTROLS else {}))
    return 100 * means.index[-1], float(means.iloc[-1])


def guessing(name: str) -> float:
    """What guessing gets right on a data set, in per cent."""
    return 100 / (CLASSES[name] if name in CLASSES else len(data.load(name, "test").class_names))


def _readable(name: str):
    """The colour of an estimator's name: that of its base where its own is mixed with white."""
    kind, _, base = name.rpartition("-")
    return _BASES[base] if name not in _CONTROLS and _SHADES[kind][1] else _style(name)["color"]


def _style(name: str) -> dict:
    if name in _CONTROLS:
        return _CONTROLS[name]
    kind, _, base = name.rpartition("-")
    amount, towards = _SHADES[kind]
    color = _OWN.get(name, tuple((1 - amount) * np.array(_BASES[base]) + amount * towards))
    return {"color": color, "marker": _MARKERS[kind], "linestyle": "-"}


def training_dots(panels: Mapping[str, tuple[pd.DataFrame, float]], *, guess: bool = True) -> Figure:
    """One row for each value of the column `setting`: a dot a training, a bar at the mean.

    `panels` {title: (frame, accuracy with nothing replaced)}, side by side. Where frames have a column `seen`, its
    values lie below one another in a row, each in its colour. Dashed: that control. Dotted: guessing, which `guess`
    leaves out where all dots are far from it.
    """
    settings = list(dict.fromkeys(name for table, _ in panels.values() for name in table.setting))
    row_height = 0.42 if any("seen" in table for table, _ in panels.values()) else 0.27
    figure, axes = plt.subplots(1, len(panels), sharey=True, squeeze=False,
                                figsize=(7.2, row_height * len(settings) + 1.1))
    for axis, (title, (table, control)) in zip(axes[0], panels.items()):
        kinds = dict.fromkeys(table.get("seen", [None]))
        half = 0.28 if len(kinds) == 1 else 0.16
        for row, name in enumerate(settings):
            for place, seen in enumerate(kinds):
                rows = table[table.setting == name]
                values = (rows if seen is None else rows[rows.seen == seen]).accuracy
                height = row + 2.6 * half * (place - (len(kinds) - 1) / 2)
                if len(values):
                    axis.plot([values.mean()] * 2, [height - half, height + half], color="0.2", linewidth=1.6)
                    axis.plot(values, [height] * len(values), "o", color=PALETTE[place], alpha=0.8, label=seen)
            if name not in set(table.setting):
                axis.text(control, row, "not trained ", color="0.45", fontsize=8, ha="right", va="center")
        axis.axvline(control, color="0.35", linestyle="--", linewidth=1, label="nothing replaced")
        if guess:
            axis.axvline(guessing(table.data_set.iloc[0]), label="guessing", **_GUESSING)
        axis.xaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 5, 10], integer=True))
        axis.set(title=title, xlabel="test accuracy (%)")
    axes[0, 0].set_yticks(range(len(settings)), settings)
    axes[0, 0].invert_yaxis()
    legend_below(figure, axes, 4)
    return figure


def trained(panels: Mapping[str, tuple[pd.DataFrame, float]]) -> pd.DataFrame:
    """What :func:`training_dots` draws as a table, a row a training."""
    columns = ["setting", "seen", "seed", "accuracy"]
    return pd.concat([rows[[name for name in columns if name in rows]].assign(panel=title, nothing_replaced=control)
                      for title, (rows, control) in panels.items()], ignore_index=True)


def mask_rows(table: pd.DataFrame) -> pd.DataFrame:
    """Trainings on masks alone (column `seen`) and on the degraded images behind them, at the largest removed share of
    one data set."""
    masks = benchmarks.at_share(table, kind="masks").assign(seen="the mask alone")
    images = benchmarks.at_share(table, estimator=list(masks.estimator.unique())).assign(seen="the degraded image")
    rows = pd.concat([images, masks])
    return rows.assign(setting=rows.estimator).sort_values("setting", kind="stable")


def filter_rows(table: pd.DataFrame, estimators: Sequence[str]) -> pd.DataFrame:
    """Trainings on images degraded by maps as they are and after each filter, at the largest removed share."""
    rows = benchmarks.at_share(table, filter=list(FILTERS), estimator=list(estimators))
    return rows.assign(setting=rows.estimator + ", " + rows["filter"].map(FILTERS))
