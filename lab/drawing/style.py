"""The house style: colours, axes and legends, and the repository's `matplotlibrc`."""

from collections.abc import Sequence

import matplotlib as mpl
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure

from lab.core import folders

PALETTE = sns.color_palette("colorblind")
#: Colour and mark of the attacks that several chapters draw.
ATTACK_STYLE = {"topk": {"color": PALETTE[0], "marker": "s"}, "center": {"color": PALETTE[3], "marker": "o"},
                "random_sign": {"color": PALETTE[2], "marker": "^"}}


def use_style() -> None:
    """Take the house style of the repository's `matplotlibrc`, for all figures that this process draws from now on."""
    style = folders.ROOT / "matplotlibrc"
    if style.is_file():
        mpl.rc_file(style)


def epsilon_axis(axis, epsilons: Sequence[float]) -> None:
    """One tick a size of a perturbation: in grey levels where all are whole ones, else as shares of the range."""
    levels = 255 * np.array(epsilons)
    whole = np.allclose(levels, levels.round(), atol=1e-3)
    axis.set_xticks(range(len(epsilons)), [f"{e:.0f}/255" if whole else f"{e / 255:.3g}" for e in levels])
    axis.set_xlabel("largest change of a pixel, ε" + ("" if whole else ", black 0 and white 1"))


def legend_below(figure: Figure, axes, columns: int, **options) -> None:
    """One legend under a figure, of all that is labelled in an axis or in several."""
    found = {label: handle for axis in np.ravel(axes) for handle, label in zip(*axis.get_legend_handles_labels())}
    figure.legend(found.values(), found.keys(), loc="outside lower center", ncols=columns, **options)


def label_ends(axis, ends: dict[str, tuple[float, object]], gap: float = 0.11) -> None:
    """Names of curves, in their colours, to the right of an axis at the height of their ends.

    `ends` maps a name to height and colour. Names that would touch are pushed apart; `gap` is the least distance, as a
    share of the axis."""
    to_share = axis.transData + axis.transAxes.inverted()
    x = axis.get_xlim()[1]
    wanted = sorted((to_share.transform((x, y))[1], name, color) for name, (y, color) in ends.items())
    places = []
    for share, *_ in wanted:
        places.append(max(share, places[-1] + gap) if places else share)
    pushed = np.mean([place - share for place, (share, *_) in zip(places, wanted)]) if places else 0.0
    lifted = max(0.0, -(places[0] - pushed)) if places else 0.0
    for place, (_, name, color) in zip(places, wanted):
        axis.annotate(name, (1.03, place - pushed + lifted), xycoords="axes fraction", color=color, va="center",
                      fontsize=8, annotation_clip=False)


def band(axis, places: Sequence[float], rows: pd.DataFrame, *, start: float | None = None, **style) -> None:
    """A curve of means over places, from a start without interval on, with its 95 % intervals."""
    first = [] if start is None else [start]
    axis.fill_between(places, [*first, *rows.low], [*first, *rows.high], color=style["color"], alpha=0.18, linewidth=0)
    axis.plot(places, [*first, *rows["mean"]], **style)
