"""Maps of two networks that compute the same function, and whether they differ."""

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from pandas.io.formats.style import Styler
from torch import Tensor

from fragility.metrics import IDENTICAL
from lab.drawing.names import NAMES
from lab.drawing.style import PALETTE
from lab.drawing.tables import plain_table

CHANGED = PALETTE[3]         # colour of what changes
_SHADE = ("0.95", "#cfe8e0", "#f8d9c4")     # not asked, the same, changed
_END = 0.995         # quantile at which the colour scale ends: a few larger values would leave all others pale


def encodings(images: Sequence[Tensor], maps: Mapping[str, Sequence[Tensor]],
              changes: Mapping[str, float] | None = None, rows: Sequence[str] = ("network 1", "network 2"),
              reported: Mapping[str, float] | None = None, end: float = _END) -> Figure:
    """Signed maps (c, h, w) of one image, methods in columns, networks (or references) in rows; more than seven methods
    stand in two bands.

    `images` holds the input of each row; grey ones share one scale, which ends at -1 and 2, so that a shift shows.
    Maps are summed over channels; each has its own scale, zero in the middle, and its values from the
    quantile `end` on share one colour. `changes` gives the measured relative change that stands under a column,
    `reported` the paper's verdict.
    """
    grey = [image for image in images if len(image) == 1]
    ends = {"vmin": max(-1.0, min((float(image.min()) for image in grey), default=0.0)),
            "vmax": min(2.0, max((float(image.max()) for image in grey), default=1.0))}
    bands = 1 if len(maps) < 8 else 2
    width = -(-(1 + len(maps)) // bands)
    size = min(1.3, 7.0 / width)
    figure, grid = plt.subplots(bands * len(rows), width, squeeze=False,
                                figsize=(size * width + 0.3, bands * (1.04 * size * len(rows) + 0.75)))
    axes = np.concatenate(np.split(grid, bands), axis=1)        # one band, a column a method
    for column in axes[:, ::width].T:
        for axis, name in zip(column, rows):
            axis.set_ylabel(name, fontsize=8)
    for row, (axis, image) in enumerate(zip(axes[:, 0], images)):
        values = image.detach().cpu().numpy()
        axis.imshow(values[0] if len(values) == 1 else np.clip(values.transpose(1, 2, 0), 0, 1), cmap="gray", **ends)
        if row == 0:
            axis.set_title("input", fontsize=8)
    for column, (method, pair) in enumerate(maps.items(), 1):
        for axis, signed in zip(axes[:, column], pair):
            values = signed.detach().sum(0).cpu().numpy()
            most = np.quantile(np.abs(values), end) or np.abs(values).max() or 1.0
            axis.imshow(values, cmap="RdBu_r", vmin=-most, vmax=most)
        axes[0, column].set_title(_wrapped(method), fontsize=8)
        if changes:
            theirs = {"": "", "✓": "\npaper: same", "✗": "\npaper: changes"}
            said = theirs[mark(reported[method])[:1]] if reported else ""
            axes[-1, column].set_xlabel(mark(changes[method]) + said, fontsize=8,
                                        color="0.25" if changes[method] < IDENTICAL else CHANGED)
    for axis in axes.flat:
        axis.set(xticks=[], yticks=[])
        axis.grid(False)
        axis.spines[:].set_visible(False)
    return figure


def _wrapped(method: str) -> str:
    """A method's name on two lines, where it is long."""
    name = NAMES.get(method, method.replace("_", " ")).replace("PatternAttribution", "Pattern- Attribution")
    return name if len(name) < 12 else name.replace(" ", "\n", 1)


def mark(change: float) -> str:
    """A tick where a map stays the same, else a cross and by how much of its length it changes, where that is known."""
    if np.isnan(change):
        return ""
    if change < IDENTICAL:
        return "✓ same"
    if np.isinf(change):
        return "✗"
    return "✗ " + (">999%" if change > 9.99 else "<1%" if change < 0.01 else f"{change:.0%}")


def ticks(values: pd.DataFrame, rows: Mapping[str, str] | None = None) -> Figure:
    """Which maps change: methods in rows, columns in panels; pale colours, so that the text reads on each.

    Where there are many columns, a mark is a tick or the change alone. `values` has columns (panel, title) and holds
    relative changes: infinite where a change has no size, NaN where nothing was asked. `rows` renames its rows.
    """
    names = [(rows or NAMES).get(name, NAMES.get(name, name.replace("_", " "))) for name in values.index]
    panels = list(dict.fromkeys(values.columns.get_level_values(0)))
    widths, brief = [values[panel].shape[1] for panel in panels], values.shape[1] > 8
    figure, axes = plt.subplots(1, len(panels), sharey=True, squeeze=False, width_ratios=widths,
                                figsize=(min(7.2, 2.1 + 1.3 * sum(widths)), 0.21 * len(names) + 0.75))
    for axis, panel in zip(axes[0], panels):
        part = values[panel].to_numpy(float)
        shade = np.where(np.isnan(part), 0, np.where(part < IDENTICAL, 1, 2))
        axis.imshow(shade, cmap=ListedColormap(_SHADE), vmin=0, vmax=2, aspect="auto")
        for (row, column), change in np.ndenumerate(part):
            text = mark(change) or "–"
            axis.text(column, row, text.replace(" same", "").removeprefix("✗ ") if brief else text,
                      ha="center", va="center", fontsize=7 if brief else 7.5,
                      color="black" if mark(change) else "0.6")
        axis.set_xticks(range(part.shape[1]), values[panel].columns, fontsize=7.5, rotation=40 if brief else 0,
                        ha="left" if brief else "center")
        axis.set_yticks(range(len(names)), names, fontsize=8)
        axis.set_xticks(np.arange(part.shape[1] - 1) + 0.5, minor=True)
        axis.set_yticks(np.arange(len(names) - 1) + 0.5, minor=True)
        axis.grid(False)
        axis.grid(which="minor", color="white", linewidth=1.5)
        axis.tick_params(which="both", length=0)
        axis.xaxis.tick_top()
        axis.spines[:].set_visible(False)
        axis.set_title(panel, fontsize=8.5, fontweight="bold")
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

    live = [name.split(".")[1:] for name in numbers if name.startswith("live.")]
    wanted = [(kind, *method) for kind, *method in live if kind in BESIDE and method[0] in NAMES]
    return plain_table(pd.DataFrame([{
        "": BESIDE[kind], "map": NAMES[method], "this run": shown(f"live.{kind}.{method}"),
        "at the paper's size": shown(f"full.{kind}.{method}")} for kind, method in wanted]))
