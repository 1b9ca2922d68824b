"""The chapter at a glance: how far each estimator's ROAR lies from that of a random ranking, at the largest share."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from lab.chapters.roar import published
from lab.chapters.roar.figures import DATA_NAMES, reported_roar
from lab.core.frames import select
from lab.core.pages import Page
from lab.drawing.style import PALETTE

ROWS = {"GRAD": "gradient (GRAD)", "IG": "integrated gradients (IG)", "GB": "guided backprop (GB)",
        "SG-GRAD": "SmoothGrad (SG-GRAD)", "SG-SQ-GRAD": "SmoothGrad squared (SG-SQ-GRAD)",
        "VAR-GRAD": "VarGrad (VAR-GRAD)", "Sobel": "edges of the image (Sobel)"}
PAPER = "ImageNet (the paper's)"


def against_random(page: Page) -> pd.DataFrame:
    """Points that each estimator leaves more than a random ranking: the paper's means on ImageNet, and ours of the
    trainings with the same seed, with their 95 % interval and how many there are."""
    theirs = select(reported_roar(), data_set="ImageNet", mode="ROAR", percent=90).set_index("estimator").accuracy
    rows = [{"panel": PAPER, "estimator": name, "points": theirs[name] - theirs["Random"]} for name in ROWS]
    for data in ("cifar", "clothes"):
        for name in ROWS:
            found = published.change(page, data, name)
            low, high = found.interval or (np.nan, np.nan)
            rows.append({"panel": f"{DATA_NAMES[published.DATA[data]]} (ours)", "estimator": name,
                         "points": found.value, "low": low, "high": high, "trainings": found.n})
    return pd.DataFrame(rows)


def differences(table: pd.DataFrame) -> Figure:
    """The frame of :func:`against_random`: panels on one axis, an estimator a row; left of 0 is better than random.

    Hollow: a mean without interval. Grey: Sobel, which looks at no network.
    """
    panels = list(table.panel.unique())
    figure, axes = plt.subplots(1, len(panels), figsize=(7.2, 2.9), sharex=True, sharey=True, squeeze=False)
    for panel, axis in zip(panels, axes[0]):
        axis.axvline(0, color="0.35", linewidth=1)
        for row, name in enumerate(ROWS):
            color = "0.45" if name == "Sobel" else PALETTE[0]
            for one in table[(table.panel == panel) & (table.estimator == name)].itertuples():
                known = np.isfinite([one.low, one.high]).all()
                if known:
                    axis.plot([one.low, one.high], [row] * 2, color=color, linewidth=1.6)
                axis.plot(one.points, row, "o", color=color, markerfacecolor=color if known else "white")
        axis.set_title(panel, fontsize=9)
        axis.xaxis.set_major_formatter(lambda value, _: f"{value:+.0f}".replace("-", "−") if value else "0")
    axes[0, 0].set_yticks(range(len(ROWS)), ROWS.values())
    axes[0, 0].invert_yaxis()
    figure.supxlabel("accuracy less that of a random ranking (points); left of 0: better than random", fontsize=9)
    return figure
