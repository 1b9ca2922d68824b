"""Slow twins of the locality-aware comparisons of maps (Kamath et al. 2024): sets of pixels, plain loops.

A pixel is its flat index in a (h, w) map; N_w(i, j) = {(p, q): |p - i| <= w, |q - j| <= w} inside the map.
Every function takes one batch or two, (n, h, w), and goes through it map by map.
"""

from fractions import Fraction
from functools import cache

import torch

from tests.oracles import metrics as plain
from tests.oracles.metrics import top


@cache
def neighbours(pixel, shape, window):
    """N_w of one pixel: a (2w + 1) x (2w + 1) square, cut off at the borders of the map."""
    height, width = shape
    row, column = divmod(pixel, width)
    return frozenset(p * width + q for p in range(height) for q in range(width)
                     if abs(p - row) <= window and abs(q - column) <= window)


def grown(pixels, shape, window):
    """N_w of a set of pixels: the union over its members."""
    return set().union(*(neighbours(pixel, shape, window) for pixel in pixels))


def diverse(values, shape, k, window):
    """Greedy picks in order: down the ranking, a pixel outside N_w of all picked before; at most k of them."""
    picks, near = [], set()
    for pixel in sorted(range(len(values)), key=lambda index: (-values[index], index)):
        if len(picks) < k and pixel not in near:
            picks.append(pixel)
            near |= neighbours(pixel, shape, window)
    return picks


def _sets(a, k, window, diverse_picks=False):
    """(pixels, their neighbourhood) of every map."""
    shape = tuple(a.shape[1:])
    for one in a:
        values = one.flatten().tolist()
        pixels = set(diverse(values, shape, k, window)) if diverse_picks else top(values, k)
        yield pixels, grown(pixels, shape, window)


def _mask(pixels, shape):
    mask = torch.zeros(shape[0] * shape[1], dtype=torch.bool)
    mask[sorted(pixels)] = True
    return mask.view(shape)


def dilate(mask, window):
    """N_w of the marked pixels, as a mask."""
    shape = tuple(mask.shape[1:])
    return torch.stack([_mask(grown(one.flatten().nonzero().flatten().tolist(), shape, window), shape)
                        for one in mask])


def diverse_topk(a, k, window):
    shape = tuple(a.shape[1:])
    return torch.stack([_mask(diverse(one.flatten().tolist(), shape, k, window), shape) for one in a])


def capacity(a, window):
    """How many diverse pixels each map has."""
    return [len(diverse(one.flatten().tolist(), tuple(a.shape[1:]), one.numel(), window)) for one in a]


def lens_recall(a, b, k, window, *, diverse=False):
    """|N_w(S_k) & T_k| / k."""
    pairs = zip(_sets(a, k, window, diverse), _sets(b, k, window, diverse))
    return torch.tensor([len(wide & other) / k for (_, wide), (other, _) in pairs], dtype=torch.float64)


def lens_precision(a, b, k, window, *, diverse=False):
    """|S_k & N_w(T_k)| / k."""
    pairs = zip(_sets(a, k, window, diverse), _sets(b, k, window, diverse))
    return torch.tensor([len(pixels & wide) / k for (pixels, _), (_, wide) in pairs], dtype=torch.float64)


def lens_distance(a, b, k, window):
    """|S_k minus N_w(T_k)| / k + |T_k minus N_w(S_k)| / k."""
    return torch.tensor([(len(s - wide_t) + len(t - wide_s)) / k for (s, wide_s), (t, wide_t)
                         in zip(_sets(a, k, window), _sets(b, k, window))], dtype=torch.float64)


def symmetric_difference(a, b, k):
    """|S_k sym. diff. T_k| / k."""
    return torch.tensor([len(s ^ t) / k for (s, _), (t, _) in zip(_sets(a, k, 0), _sets(b, k, 0))],
                        dtype=torch.float64)


def coverage(a, k, window, *, diverse=False):
    """|N_w(S_k)| / (h w): the chance that a pixel drawn anywhere lies near S_k."""
    pixels = a[0].numel()
    return torch.tensor([len(wide) / pixels for _, wide in _sets(a, k, window, diverse)], dtype=torch.float64)


def box_mean(a, window, *, zero_padding=False):
    """Mean over N_w, by the number of pixels in it or by (2w + 1)^2; exact sums, rounded once at the end."""
    shape = tuple(a.shape[1:])
    boxes = [neighbours(pixel, shape, window) for pixel in range(a[0].numel())]
    means = []
    for one in a:
        values = [Fraction(value) for value in one.flatten().tolist()]
        means.append([float(sum(values[p] for p in box) / ((2 * window + 1) ** 2 if zero_padding else len(box)))
                      for box in boxes])
    return torch.tensor(means, dtype=torch.float64).view(a.shape)


def lens_spearman(a, b, window, *, zero_padding=False):
    return plain.spearman(*(box_mean(one, window, zero_padding=zero_padding) for one in (a, b)))


def lens_kendall(a, b, window, *, zero_padding=False):
    return plain.kendall(*(box_mean(one, window, zero_padding=zero_padding) for one in (a, b)))


def lens_topk(clean, values, k, window):
    """D = - sum of one (h, w) map over N_w of the k pixels that were largest on the clean image."""
    near = grown(top(clean.flatten().tolist(), k), tuple(clean.shape), window)
    values = values.flatten().tolist()
    return -sum(values[pixel] for pixel in near)


# ------------------------------------------------- the published scripts: flat indices and what they lead to
def published_window(pixel, shape, window):
    """x + dr W + dc, kept where 0 < index < H W: wraps around the sides, never holds the first pixel."""
    height, width = shape
    steps = range(-window, window + 1)
    return {index for dr in steps for dc in steps if 0 < (index := pixel + dr * width + dc) < height * width}


def published_dilation(pixels, shape, window):
    return set().union(*(published_window(pixel, shape, window) for pixel in pixels))


def published_diverse(values, shape, k, window, candidates):
    """Picks 1, 3, 4, ..., k + 1 of the greedy order among the `candidates` largest values.

    The second pick only takes its window away; the first pixel of the map is never a pick. IndexError where
    the list runs out, as in the scripts.
    """
    rest = sorted(range(len(values)), key=lambda index: -values[index])[:candidates]
    picks = [rest[0]]
    rest = [pixel for pixel in rest if pixel not in published_window(picks[0], shape, window)]
    for _ in range(k - 1):
        away = published_window(rest[0], shape, window)
        rest = [pixel for pixel in rest if pixel not in away and pixel > 0]
        picks.append(rest[0])
    return {pixel for pixel in picks if pixel > 0}
