"""Figures and tables of the accuracy that is left when the top of a ranking is removed or kept."""

from collections.abc import Iterator, Mapping, Sequence

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
_CONTROLS = {"Random": {"color": "0.15", "marker": "None", "linestyle": "--"},
             "Sobel": {"color": "0.55", "marker": "P", "linestyle": "-."}}
_GUESSING = {"color": "0.35", "linestyle": (0, (1, 1.5)), "linewidth": 1.2}
FILTERS = {"none": "as it is", "gauss": "Gaussian blur, 1 pixel", "max": "3 x 3 maximum"}
GROUPS = {"base": ["GRAD", "IG", "GB"], "SmoothGrad": ["SG-GRAD", "SG-IG", "SG-GB"],
          "squared, variance": [f"{kind}-{name}" for kind in ("SG-SQ", "VAR") for name in ("GRAD", "IG", "GB")]}
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
    figure, axes = plt.subplots(1, 2, figsize=(7.4, 3.0), sharey=True)
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


def removal_curves(panels: Mapping[str, tuple[pd.DataFrame, float]], *, published: Sequence[str] = ()) -> Figure:
    """Accuracy over the replaced share, a line an estimator, with that of guessing; small marks are single trainings.

    `panels` {title: (frame, accuracy with nothing replaced)}; frames hold data_set, estimator, replaced and accuracy.
    Titles in `published` are drawn dotted, but for the controls. Three panels to a row.
    """
    width = min(3, len(panels))
    height = -(-len(panels) // width)
    figure, axes = plt.subplots(height, width, figsize=(2.55 * width + 0.4, 2.6 * height + 0.7), squeeze=False,
                                sharex=True, sharey="row")
    for axis, (title, (table, control)) in zip(axes.flat, panels.items()):
        for name in dict.fromkeys(table.estimator):
            _line(axis, table[table.estimator == name], name, control, title in published)
        axis.axhline(guessing(table.data_set.iloc[0]), label="guessing", **_GUESSING)
        axis.set_title(title)
        axis.set_xticks([0, 10, 30, 50, 70, 90])
    for axis in axes[:, 0]:
        axis.set_ylabel("test accuracy (%)")
    for axis in axes.flat[len(panels) - width:len(panels)]:      # the lowest of each column
        axis.set_xlabel("inputs replaced (%)")
        axis.tick_params(labelbottom=True)
    for axis in axes.flat[len(panels):]:
        axis.set_axis_off()
    legend_below(figure, axes[::-1], 5)
    return figure


def by_group(table: pd.DataFrame, controls: pd.DataFrame) -> dict[str, tuple[pd.DataFrame, float]]:
    """Panels of :func:`removal_curves`: ROAR of each data set and group of estimators that was measured, with both
    controls; `controls` is the frame of the trainings on untouched images."""
    return {f"{title}, {data_set}": (rows, benchmarks.untouched(controls, data_set))
            for data_set in table.data_set.unique()
            for title, rows in _grouped(benchmarks.retrained(table, data_set))}


def reported_by_group() -> dict[str, tuple[pd.DataFrame, float]]:
    """The same panels of the paper's means on ImageNet."""
    table = select(reported_roar(), data_set="ImageNet", mode="ROAR")
    return {f"paper: {title}": (rows, REPORTED_CLEAN["ImageNet"]) for title, rows in _grouped(table)}


def _grouped(table: pd.DataFrame) -> Iterator[tuple[str, pd.DataFrame]]:
    for title, members in GROUPS.items():
        if table.estimator.isin(members).any():
            yield title, select(table, estimator=[*members, *_CONTROLS])


def _line(axis, table: pd.DataFrame, name: str, control: float, dotted: bool) -> None:
    style = _style(name)
    means = table.groupby("replaced").accuracy.mean()
    if not dotted:
        axis.plot(100 * table.replaced, table.accuracy, ".", color=style["color"], markersize=3, alpha=0.7)
    axis.plot([0, *(100 * means.index)], [control, *means], label=name,
              **style | ({"linestyle": ":"} if dotted and name not in _CONTROLS else {}))


def guessing(name: str) -> float:
    """What guessing gets right on a data set, in per cent."""
    return 100 / (CLASSES[name] if name in CLASSES else len(data.load(name, "test").class_names))


def _style(name: str) -> dict:
    if name in _CONTROLS:
        return _CONTROLS[name]
    kind, _, base = name.rpartition("-")
    amount, towards = _SHADES[kind]
    color = tuple((1 - amount) * np.array(_BASES[base]) + amount * towards)
    return {"color": color, "marker": _MARKERS[kind], "linestyle": "-"}


def training_dots(table: pd.DataFrame, control: float, label: str = "test accuracy (%)") -> Figure:
    """One row for each value of the column `setting`: a dot a training, a bar at the mean.

    Dashed: the control with nothing replaced. Dotted: the accuracy of guessing.
    """
    settings = list(dict.fromkeys(table.setting))
    figure, axis = plt.subplots(figsize=(6.6, 0.32 * len(settings) + 1.0))
    for row, name in enumerate(settings):
        values = table[table.setting == name].accuracy
        axis.plot([values.mean()] * 2, [row - 0.28, row + 0.28], color="0.2", linewidth=1.6)
        axis.plot(values, [row] * len(values), "o", color=PALETTE[0], alpha=0.8)
    axis.axvline(control, color="0.35", linestyle="--", linewidth=1, label="nothing replaced")
    axis.axvline(guessing(table.data_set.iloc[0]), label="guessing", **_GUESSING)
    axis.set_yticks(range(len(settings)), settings)
    axis.invert_yaxis()
    axis.set_xlabel(label)
    axis.xaxis.set_major_locator(MaxNLocator(8))
    axis.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0))
    return figure


def mask_dots(table: pd.DataFrame, controls: pd.DataFrame) -> Figure:
    """Trainings on masks alone and on the degraded images behind them, at the largest removed share of one data set."""
    masks = benchmarks.at_share(table, kind="masks").assign(seen=", mask alone")
    images = benchmarks.at_share(table, estimator=list(masks.estimator.unique())).assign(seen=", what ROAR sees")
    rows = pd.concat([masks, images])
    rows = rows.assign(setting=rows.estimator + rows.seen).sort_values("setting")
    return training_dots(rows, benchmarks.untouched(controls, table.data_set.iloc[0]))


def filter_dots(table: pd.DataFrame, estimators: Sequence[str], control: float) -> Figure:
    """Trainings on images degraded by maps as they are and after each filter, at the largest removed share."""
    rows = benchmarks.at_share(table, filter=list(FILTERS), estimator=list(estimators))
    return training_dots(rows.assign(setting=rows.estimator + ", " + rows["filter"].map(FILTERS)), control)
