"""LENS as the code of [kamath2024] computes it, pixel by pixel, to measure the effect of its index rules.

It differs from :mod:`fragility.metrics.lens` in four ways, none of which the paper mentions. Windows are
ranges of flat indices, so they wrap to the rows above and below at the left and right border. Pixel 0,
the top left one, is in no window and is never picked. The second diverse pick blocks its window and is
then dropped. And diverse picks come from a fixed number of candidates, which may run out.

Maps are NumPy arrays or CPU tensors (h, w); pixels are flat indices.
"""

import numpy as np

from fragility import checks


def topk_set(a, k: int) -> set[int]:
    """The last k pixels in ascending order. Equal values keep their order here: the highest index wins."""
    descending = _descending(a)
    return set(descending[:checks.integer("k", k, 1, len(descending))])


def dilate(indices, shape: tuple[int, int], window: int) -> set[int]:
    """All pixels in a window of one of the indices."""
    checks.integer("window", window, 0)
    return {pixel for index in indices for pixel in _window(index, shape, window)}


def diverse_topk(a, k: int, window: int, candidates: int) -> list[int]:
    """The first, third, fourth, … of the greedy picks among the largest `candidates` pixels.

    k of them, but k - 1 where pixel 0 is the largest: it is the first pick and, since it is in no window, not even its
    own, also the dropped second one; in the end it is removed. ValueError where the candidates run out (the code
    itself stops with an IndexError).
    """
    checks.integer("k", k, 1)
    checks.integer("window", window, 0)
    descending = _descending(a)
    left = descending[:checks.integer("candidates", candidates, 1, len(descending))]
    picks = left[:1]
    left = _outside(left, picks[0], a.shape, window)
    for _ in range(k - 1):
        if left:
            left = [pixel for pixel in _outside(left, left[0], a.shape, window) if pixel > 0]
        if not left:
            raise ValueError(f"The {candidates:,} candidates hold fewer than the {k + 1:,} diverse picks that "
                             f"the published code needs for k = {k:,} at window {window}; take more candidates or "
                             "a smaller k.")
        picks.append(left[0])
    return [pixel for pixel in picks if pixel > 0]


def lens_recall(a, b, k: int, window: int) -> float:
    """Share of b's top k in a window of a's top k."""
    return len(dilate(topk_set(a, k), a.shape, window) & topk_set(b, k)) / k


def lens_recall_diverse(a, b, k: int, window: int, candidates: int) -> float:
    """The same of the diverse top k; ValueError as :func:`diverse_topk`."""
    near = dilate(diverse_topk(a, k, window, candidates), a.shape, window)
    return len(near & set(diverse_topk(b, k, window, candidates))) / k


def _outside(pixels: list[int], pick: int, shape: tuple[int, int], window: int) -> list[int]:
    """The pixels that are not in the window of the pick."""
    near = set(_window(pick, shape, window))
    return [pixel for pixel in pixels if pixel not in near]


def _descending(a) -> list[int]:
    """All pixels, largest value first, of equal values the highest index first."""
    return np.argsort(np.asarray(a), axis=None, kind="stable")[::-1].tolist()


def _window(index: int, shape: tuple[int, int], window: int) -> list[int]:
    """The window of a pixel in flat indices: row steps of the map's width, whatever row that leads to."""
    height, width = shape
    steps = range(-window, window + 1)
    pixels = [index + row * width + column for row in steps for column in steps]
    return [pixel for pixel in pixels if 0 < pixel < height * width]
