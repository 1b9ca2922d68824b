"""LENS of a batch of maps against loops over pixels, as such metrics are usually written."""
import numpy as np
import torch

from fragility import metrics

from .registry import Outcome, benchmark
from .setup import require_same
from .timing import clock, paired

WINDOW = 3
CANDIDATES = 25_000     # what [kamath2024] allows this window: the loop need not search the dark half of a map


def neighbours(pixel, height, width):
    row, column = divmod(int(pixel), width)
    return [r * width + c for r in range(max(row - WINDOW, 0), min(row + WINDOW + 1, height))
            for c in range(max(column - WINDOW, 0), min(column + WINDOW + 1, width))]


def falling(map_):
    return np.argsort(-map_, axis=None, kind="stable")


def near(pixels, shape):
    return np.unique(np.concatenate([neighbours(pixel, *shape) for pixel in pixels]))


def diverse(map_, k):
    """Take the brightest candidate, strike out its window, and so on."""
    candidates, taken = falling(map_)[:CANDIDATES], []
    while len(taken) < k and len(candidates):
        taken.append(candidates[0])
        candidates = np.setdiff1d(candidates, neighbours(candidates[0], *map_.shape), assume_unique=True)
    return taken


def marked(map_, k):
    """The same by marks on a boolean map: what a reader who knows the trick would write."""
    height, width = map_.shape
    free, taken = np.ones(map_.shape, bool), []
    for pixel in falling(map_).tolist():
        row, column = divmod(pixel, width)
        if free[row, column]:
            taken.append(pixel)
            free[max(row - WINDOW, 0):row + WINDOW + 1, max(column - WINDOW, 0):column + WINDOW + 1] = False
            if len(taken) == k:
                break
    return taken


def by_loop(a, b, k, greedy):
    """Recall + precision, and a's diverse top k, one pair of maps after the other."""
    scores, masks = [], torch.zeros(a.shape, dtype=torch.bool)
    for mask, first, second in zip(masks, a.numpy(), b.numpy()):
        top_a, top_b = falling(first)[:k], falling(second)[:k]
        recall = len(np.intersect1d(near(top_a, first.shape), top_b)) / k
        precision = len(np.intersect1d(top_a, near(top_b, first.shape))) / k
        scores.append(recall + precision)
        mask.view(-1)[torch.tensor(np.array(greedy(first, k)))] = True
    return torch.tensor(scores), masks


@benchmark("lens", bar=50, description="LENS recall + precision at 1,000 and diverse top 1,000 of 16 pairs of 224x224 "
           "maps, window 3: a loop over pixels with lists of neighbours and numpy.setdiff1d, as published / ours")
def lens(setup):
    generator = torch.Generator().manual_seed(0)
    n, size, k = (2, 32, 20) if setup.quick else (16, 224, 1000)
    # A mean over 3 x 3 pixels: neighbours look alike, as they do in the map of a network.
    noise = torch.randn(2, n, size, size, generator=generator)
    a, b = (metrics.box_mean(part, 1).abs() for part in (noise[0], noise.sum(0)))

    def ours():
        return 2 - metrics.lens_distance(a, b, k, WINDOW), metrics.diverse_topk(a, k, WINDOW)

    def published():
        return by_loop(a, b, k, diverse)

    for mine, theirs in zip(ours(), published()):
        require_same(mine.float(), theirs.float(), tolerance=1e-6)
    pair = paired(clock(ours), clock(published), setup.repeats)
    informed = paired(clock(ours), clock(lambda: by_loop(a, b, k, marked)), 2)
    return Outcome(pair.ratio, pair.spread, pair.note(f"{CANDIDATES:,} candidates") +
                   f"; ratio {informed.ratio:.1f} where the greedy loop marks a boolean map")
