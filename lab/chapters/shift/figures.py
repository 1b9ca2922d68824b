"""Maps of two networks that compute the same function, and how much they differ."""

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from pandas.io.formats.style import Styler
from torch import Tensor

from fragility.metrics import IDENTICAL
from lab.core.statistics import bootstrap
from lab.drawing.style import NAMES, PALETTE, legend_below
from lab.drawing.tables import plain_table

_FLOOR = 1e-17       # where a change of exactly zero is drawn
_SHADES = 0.995      # quantile at which the colour scale ends: a few larger values would leave all others pale


def encodings(images: Sequence[Tensor], maps: Mapping[str, Sequence[Tensor]],
              changes: Mapping[str, float] | None = None, rows: Sequence[str] = ("network 1", "network 2")) -> Figure:
    """Signed maps (c, h, w) of one image, methods in columns, networks (or references) in rows.

    `images` holds the input of each row. Maps are summed over channels; each has its own scale, zero in the middle,
    and the largest 0.5 % of its values share one colour.
    `changes` gives the measured relative change that stands under a column.
    """
    figure, axes = plt.subplots(len(rows), 1 + len(maps), figsize=(1.3 * (1 + len(maps)) + 0.3, 1.4 * len(rows) + 0.5),
                                squeeze=False)
    for row, (axis, image, name) in enumerate(zip(axes[:, 0], images, rows)):
        values = image.detach().cpu().numpy()
        axis.imshow(values[0] if len(values) == 1 else np.clip(values.transpose(1, 2, 0), 0, 1), cmap="gray")
        axis.set_ylabel(name)
        if row == 0:
            axis.set_title("input")
    for column, (method, pair) in enumerate(maps.items(), 1):
        for axis, signed in zip(axes[:, column], pair):
            values = signed.detach().sum(0).cpu().numpy()
            size = np.quantile(np.abs(values), _SHADES) or np.abs(values).max() or 1.0
            axis.imshow(values, cmap="RdBu_r", vmin=-size, vmax=size)
        axes[0, column].set_title(_wrapped(method))
        if changes:
            change = changes[method]
            axes[-1, column].set_xlabel("identical" if change < IDENTICAL else f"changed by {change:.0%}",
                                        color="0.25" if change < IDENTICAL else PALETTE[3], fontsize=8)
    for axis in axes.flat:
        axis.set(xticks=[], yticks=[])
        axis.grid(False)
        axis.spines[:].set_visible(False)
    return figure


def _wrapped(method: str) -> str:
    name = NAMES.get(method, method.replace("_", " "))
    words = name.split()
    return name if len(name) < 15 or len(words) < 2 else " ".join(words[:-1]) + "\n" + words[-1]


def invariance_matrix(table: pd.DataFrame) -> Figure:
    """Mean relative change of every method (rows) under every shift, a panel a network; a tick where it passes."""
    networks, shifts = (list(dict.fromkeys(table[column])) for column in ("network", "shift"))
    methods = list(dict.fromkeys(table.method))
    means = table.groupby(["method", "network", "shift"]).relative.mean()
    figure, axes = plt.subplots(1, len(networks), figsize=(1.6 + 2.6 * len(networks), 0.34 * len(methods) + 1.2),
                                sharey=True, squeeze=False)
    for axis, network in zip(axes[0], networks):
        values = np.array([[means.get((m, network, s), np.nan) for s in shifts] for m in methods], float)
        drawn = axis.imshow(np.clip(values, _FLOOR, None), norm=LogNorm(1e-16, 10), cmap="cividis", aspect="auto")
        for (row, column), value in np.ndenumerate(values):
            axis.text(column, row, _mark(value), ha="center", va="center", fontsize=7,
                      color="black" if value > 1e-3 else "white")
        axis.set_xticks(range(len(shifts)), shifts, rotation=35, ha="right")
        axis.set_yticks(range(len(methods)), [NAMES.get(m, m.replace("_", " ")) for m in methods])
        axis.set_title(network)
        axis.grid(False)
    figure.colorbar(drawn, ax=axes, label="relative change of the map", shrink=0.8)
    return figure


def _mark(value: float) -> str:
    if np.isnan(value):
        return "refused"
    return "✓ same" if value < IDENTICAL else f"{value:.0%}" if value >= 0.01 else f"{value:.0e}"


def changes(table: pd.DataFrame, by: str, labels: Mapping[str, str]) -> Figure:
    """Relative change of each method with its 95 % bootstrap interval; one marker for each value of column `by`."""
    methods = list(dict.fromkeys(table.method))
    figure, axis = plt.subplots(figsize=(6.4, 0.36 * len(methods) + 1.3))
    for place, (value, label) in enumerate(labels.items()):
        for row, method in enumerate(methods):
            group = table[(table.method == method) & (table[by] == value)].relative.to_numpy(float)
            if len(group):
                low, high = np.clip(bootstrap(group), _FLOOR, None)
                height = row + 0.22 * (place - (len(labels) - 1) / 2)
                axis.plot([low, high], [height] * 2, color=PALETTE[place], linewidth=1.2)
                axis.plot(max(group.mean(), _FLOOR), height, "os^D"[place], color=PALETTE[place],
                          label=label if row == 0 else None)
    axis.axvline(IDENTICAL, color="0.35", linestyle="--", linewidth=1, label="identical to the left")
    axis.set_xscale("log")
    axis.set_yticks(range(len(methods)), [NAMES.get(m, m.replace("_", " ")) for m in methods])
    axis.invert_yaxis()
    axis.set_xlabel("relative change of the map, ‖a − b‖ / ‖a‖")
    legend_below(figure, figure.axes, len(labels) + 1)
    return figure


#: Kinds of the numbers that stand in the table of both runs, and their names there.
BESIDE = {"change": "change under the uniform shift, %", "likeness": "correlation with the kitten",
          "ahead": "pairs that go the kitten's way, %"}


def both_runs(numbers: Mapping[str, Mapping]) -> Styler:
    """The chapter's numbers of this run beside those of the published one, with 95 % intervals; `numbers` describes
    each by its name, "live.change.lrp"."""
    def shown(name: str) -> str:
        about = numbers[name]
        return about["text"] + (f" [{about['interval']}]" if about["interval"] else "")

    wanted = [name.split(".")[1:] for name in numbers if name.startswith("live.") and name.split(".")[1] in BESIDE]
    return plain_table(pd.DataFrame([{
        "": BESIDE[kind], "map": NAMES[method], "this run": shown(f"live.{kind}.{method}"),
        "at the paper's size": shown(f"full.{kind}.{method}")} for kind, method in wanted]))
