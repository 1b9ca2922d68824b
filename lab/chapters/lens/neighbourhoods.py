"""Figures of what LENS counts: top pixels, their neighbourhoods, and which of them lie near the other map's."""

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.patches import Patch, Rectangle
from torch import Tensor

from fragility import metrics
from fragility.metrics.lens import top_pixels
from lab.drawing.style import PALETTE

_SHADES = {"elsewhere": "white", "near a top pixel": "0.82", "top pixel, found near the other map's": PALETTE[0],
           "top pixel, not found": PALETTE[3]}


def top_sets(a: Tensor, b: Tensor, k: int, sets: Sequence[tuple[int, bool]], rows: Sequence[str]) -> Figure:
    """Top pixels of two maps (h, w), after [kamath2024, figs 3 and 4]: the maps in the first column, then `sets`.

    `sets` lists (window, diverse); rows are the two maps. Under the upper row precision, under the lower one recall.
    Sets are drawn in the quarter of the picture, framed in the maps, that has most top pixels of both; scores are of
    the whole picture.
    """
    figure, axes = plt.subplots(2, 1 + len(sets), figsize=(1.55 * (1 + len(sets)), 4.2))
    top, left, height, width = _densest_quarter(sum(mask[0].int() for mask in top_pixels((a[None], b[None]), k, 0)))
    for axis, side, name in zip(axes[:, 0], (a, b), rows):
        axis.imshow(side.cpu().numpy())
        axis.set_ylabel(name)
        axis.add_patch(Rectangle((left, top), width, height, fill=False, edgecolor="white", linewidth=1.2))
    axes[0, 0].set_title("map")
    for column, (window, diverse) in zip(axes.T[1:], sets):
        masks = [mask[0] for mask in top_pixels((a[None], b[None]), k, window, diverse)]
        near = [metrics.dilate(mask[None], window)[0] for mask in masks]
        column[0].set_title(("diverse top-k" if diverse else "top-k") + (f", w = {window}" if window else ""))
        for axis, own, near_own, near_other, name in zip(column, masks, near, near[::-1], ("precision", "recall")):
            axis.imshow(np.select([part.cpu().numpy() for part in (own & near_other, own, near_own)], [2, 3, 1], 0),
                        cmap=ListedColormap(list(_SHADES.values())), vmin=0, vmax=3)
            axis.set(xlim=(left - 0.5, left + width - 0.5), ylim=(top + height - 0.5, top - 0.5))
            found, chance = (own & near_other).sum().item() / k, near_other.double().mean().item()
            axis.set_xlabel(f"{name if window else 'overlap'} {found:.2f}\nchance {chance:.2f}", fontsize=8)
    _bare(axes)
    figure.legend([Patch(facecolor=colour, edgecolor="0.6") for colour in list(_SHADES.values())[1:]],
                  list(_SHADES)[1:], loc="outside lower center", ncols=3)
    return figure


def _densest_quarter(count: Tensor) -> tuple[int, int, int, int]:
    """Top, left, height and width of the quarter of a picture (h, w) in which its values have the largest sum."""
    height, width = (-(-size // 2) for size in count.shape)
    places = [(top, left) for top in (0, count.shape[0] - height) for left in (0, count.shape[1] - width)]
    return *max(places, key=lambda one: count[one[0]:one[0] + height, one[1]:one[1] + width].sum()), height, width


def models_before_after(panels: Mapping[str, Sequence[Tensor]], notes: Mapping[str, str]) -> Figure:
    """One image a column: its map before (above) and after an attack (below), beside the images.

    `panels` holds (image, perturbed image, map, map after) of each column, images (c, h, w), maps (h, w); `notes`
    stand under the columns.
    """
    figure, axes = plt.subplots(2, 2 * len(panels), figsize=(1.25 * 2 * len(panels), 2.9), squeeze=False)
    for place, (name, (image, perturbed, before, after)) in enumerate(panels.items()):
        for row, (picture, pixels) in enumerate(((image, before), (perturbed, after))):
            values = picture.numpy()
            axes[row, 2 * place].imshow(values[0] if len(values) == 1 else values.transpose(1, 2, 0), cmap="gray",
                                        vmin=0, vmax=1)
            axes[row, 2 * place + 1].imshow(pixels.numpy())
        axes[0, 2 * place + 1].set_title(name)
        axes[1, 2 * place + 1].set_xlabel(notes[name], fontsize=8)
    for axis, name in zip(axes[:, 0], ("before", "after")):
        axis.set_ylabel(name)
    _bare(axes)
    return figure


def _bare(axes) -> None:
    for axis in axes.flat:
        axis.set(xticks=[], yticks=[])
        axis.grid(False)
        axis.spines[:].set_color("0.8")
