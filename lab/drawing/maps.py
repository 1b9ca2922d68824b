"""Images and their maps side by side."""

from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure
from torch import Tensor


def map_rows(images: Tensor, maps: Tensor, titles: Sequence[Sequence[str]], columns: Sequence[str],
             row_names: Sequence[str] = ()) -> Figure:
    """Images and their maps in pairs: images (rows, columns, c, h, w) in [0, 1], maps (rows, columns, h, w).

    `titles[row][column]` stands over each image, `columns` over the pairs, `row_names` beside the rows. Each
    map has its own scale.
    """
    rows, pairs = images.shape[:2]
    figure, axes = plt.subplots(rows, 2 * pairs, figsize=(1.55 * 2 * pairs, 1.85 * rows + 0.3), squeeze=False)
    for row in range(rows):
        for pair in range(pairs):
            left, right = axes[row, 2 * pair], axes[row, 2 * pair + 1]
            left.imshow(picture(images[row, pair]), cmap="gray", vmin=0, vmax=1)
            right.imshow(maps[row, pair].cpu().numpy())
            left.set_title(titles[row][pair], fontsize=7.5)
            if row == 0:
                right.set_title(columns[pair], fontsize=7.5, fontweight="bold")
    for axis in axes.flat:
        axis.axis("off")
    for axis, name in zip(axes[:, 0], row_names):
        axis.text(-0.08, 0.5, name, transform=axis.transAxes, rotation=90, ha="right", va="center", fontsize=8)
    return figure


def map_table(images: Tensor, maps: Tensor, titles: Sequence[Sequence[str]], columns: Sequence[str],
              row_names: Sequence[str]) -> Figure:
    """Images (columns, c, h, w) on top, and below them their maps (rows, columns, h, w), a row a method.

    `titles[row][column]` stands over each map, `columns` over the images. Each map has its own scale.
    """
    rows = len(maps) + 1
    figure, axes = plt.subplots(rows, len(columns), figsize=(1.07 * len(columns) + 0.3, 1.25 * rows))
    for axis, image, name in zip(axes[0], images, columns):
        axis.imshow(picture(image), vmin=0, vmax=1)
        axis.set_title(name, fontsize=7.5, fontweight="bold")
    for row, row_maps, row_titles, name in zip(axes[1:], maps, titles, row_names):
        row[0].text(-0.08, 0.5, name, transform=row[0].transAxes, rotation=90, ha="right", va="center", fontsize=7.5)
        for axis, pixels, title in zip(row, row_maps, row_titles):
            axis.imshow(pixels.cpu().numpy())
            axis.set_title(title, fontsize=7.5)
    for axis in axes.flat:
        axis.axis("off")
    return figure


def picture(image: Tensor) -> np.ndarray:
    """An image (c, h, w) as matplotlib draws it."""
    image = image.cpu().numpy()
    return image[0] if len(image) == 1 else image.transpose(1, 2, 0)
