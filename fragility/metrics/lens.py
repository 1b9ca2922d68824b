r"""Agreement of two maps up to small shifts: LENS, locality and diversity of the top pixels.

The top-k overlap counts a pixel that moved by one as lost. LENS [kamath2024] forgives a shift of up to
`window` pixels, the Chebyshev radius w: N_w(S) are the pixels within the (2w+1) x (2w+1) square of a
pixel of S, cut off at the border of the map. The diverse top-k S^div skips the neighbours of pixels that it
already holds, so that one bright object does not take all k places.
"""

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d, max_pool1d, pad

from fragility import checks
from fragility.metrics.agreement import _nonconstant, count, kendall, refuse_empty, spearman, topk_mask

_IN_CACHE = 210_000     # pixels that the passes of a greedy choice go over together on a CPU: four maps of 224 x 224


def lens_recall(a: Tensor, b: Tensor, k: int, window: int, *, diverse: bool = False) -> Tensor:
    r"""Share of b's top k that lies near a's top k [kamath2024, section 3].

    .. math:: |N_w(\mathrm{top}_k(a)) \cap \mathrm{top}_k(b)| \,/\, k

    Maps (n, h, w) in, (n,) in [0, 1] out. `diverse` takes :func:`diverse_topk` on both sides. Ties go to
    the lowest flat index. Compare with :func:`lens_chance`, which can be close to 1. Raises ValueError
    unless 1 <= k <= h w, window >= 0 and the batches match, and where fewer than k diverse pixels exist
    in a or b; it names the images and the largest k.
    """
    a, b = checks.map_pair(a, b)
    top_a, top_b = top_pixels((a, b), k, window, diverse)
    return _near(top_b, top_a, window).to(a.dtype) / k


def lens_precision(a: Tensor, b: Tensor, k: int, window: int, *, diverse: bool = False) -> Tensor:
    r"""Share of a's top k that lies near b's top k: :func:`lens_recall` of (b, a) [kamath2024, section 3].

    .. math:: |\mathrm{top}_k(a) \cap N_w(\mathrm{top}_k(b))| \,/\, k

    Shapes, options and errors as there.
    """
    a, b = checks.map_pair(a, b)
    top_a, top_b = top_pixels((a, b), k, window, diverse)
    return _near(top_a, top_b, window).to(a.dtype) / k


def lens_distance(a: Tensor, b: Tensor, k: int, window: int) -> Tensor:
    r"""Distance of two maps, in [0, 2]: it never grows with the window [kamath2024, section 3].

    .. math:: |S \setminus N_w(T)| / k + |T \setminus N_w(S)| / k,
              \qquad S = \mathrm{top}_k(a),\; T = \mathrm{top}_k(b)

    That is 2 - recall - precision, at the price of one of them. Maps (n, h, w) in, (n,) out; raises as
    :func:`lens_recall`. Not a metric: maps may differ at distance 0.
    """
    a, b = checks.map_pair(a, b)
    top_a, top_b = top_pixels((a, b), k, window)
    return 2 - (_near(top_a, top_b, window) + _near(top_b, top_a, window)).to(a.dtype) / k


def lens_spearman(a: Tensor, b: Tensor, window: int, *, zero_padding: bool = False) -> Tensor:
    """Spearman's rank correlation of two maps after :func:`box_mean` [kamath2024, section 3].

    Maps (n, h, w) in, (n,) in [-1, 1] out, in float64. With `zero_padding` the border of every map is
    dark, and maps that have nothing in common correlate. Raises as :func:`spearman`, and for window < 0.
    """
    return spearman(*_smooth_pair(a, b, window, zero_padding))


def lens_kendall(a: Tensor, b: Tensor, window: int, *, zero_padding: bool = False) -> Tensor:
    """Kendall's tau-b of two maps after :func:`box_mean`; otherwise as :func:`lens_spearman`."""
    return kendall(*_smooth_pair(a, b, window, zero_padding))


def box_mean(a: Tensor, window: int, *, zero_padding: bool = False) -> Tensor:
    r"""Mean of each pixel's square neighbourhood, maps (n, h, w) in and out [kamath2024, section 3].

    .. math:: \tilde a_{ij} = \frac{1}{|N_w(i, j)|} \sum_{(p, q) \in N_w(i, j)} a_{pq}

    N_w holds the true neighbours, so there are fewer at the border. `zero_padding` divides by
    (2w+1)^2 everywhere instead, as published. ValueError for window < 0.
    """
    checks.maps(a)
    checks.integer("window", window, 0)
    count = (2 * window + 1) ** 2 if zero_padding else _box_sum(torch.ones_like(a[:1]), window)
    return _box_sum(a, window) / count


def dilate(mask: Tensor, window: int) -> Tensor:
    """Boolean (n, h, w): the pixels within `window` rows and columns of a marked one; boolean (n, h, w) in."""
    checks.integer("window", window, 0)
    if not isinstance(mask, Tensor) or mask.dtype != torch.bool or mask.ndim != 3:
        raise ValueError("A mask to dilate must be a boolean tensor (n, h, w).")
    radius = min(window, max(mask.shape[1:]))
    return _slide(mask, 2 * radius + 1, radius, torch.logical_or)


def diverse_topk(a: Tensor, k: int, window: int) -> Tensor:
    """The k largest pixels no two of which lie within one window, chosen greedily [kamath2024, section 3].

    Pixels are visited in descending order, ties by the lowest flat index; a pixel is taken if it lies outside
    the windows of all pixels taken before, until k are taken. Maps (n, h, w) in, boolean (n, h, w) out, with fewer
    than k marks where no more exist. Raises ValueError unless 1 <= k <= h w and window >= 0.

    Notes
    -----
    A pixel that tops its own window is taken whatever happens elsewhere. So each round takes all of them
    and blocks their windows. Pixels smaller than k taken ones can no longer matter, so most maps are
    finished in a few rounds; a map that rises steadily needs about as many rounds as windows fit along it.
    """
    checks.maps(a)
    checks.integer("k", k, 1, a[0].numel())
    checks.integer("window", window, 0)
    size = max(1, _IN_CACHE // a[0].numel()) if a.is_cpu else len(a)
    return torch.cat([_diverse(part, k, window) for part in a.detach().split(size)])


def top_pixels(batches: tuple[Tensor, ...], k: int, window: int, diverse: bool = False) -> list[Tensor]:
    """Masks of the (diverse) top k of each batch of maps, k each; ValueError where they do not exist."""
    checks.integer("k", k, 1, batches[0][0].numel())
    checks.integer("window", window, 0)
    for name, a in zip("ab", batches):
        refuse_empty(a, name)
    if not diverse:
        return [topk_mask(a, k) for a in batches]
    masks = [diverse_topk(a, k, window) for a in batches]
    found = torch.stack([count(mask) for mask in masks]).amin(0)
    if checks.any_true(found < k):
        raise ValueError(f"Fewer than k = {k:,} diverse pixels exist at window {window} in "
                         f"{checks.image_list(found < k)}; k can be at most {int(found.min()):,}.")
    return masks


def _near(mask: Tensor, other: Tensor, window: int) -> Tensor:
    """Number (n,) of marks within the window of a mark of the other."""
    return count(mask & dilate(other, window))


def _smooth_pair(a: Tensor, b: Tensor, window: int, zero_padding: bool) -> list[Tensor]:
    a, b = checks.map_pair(a, b)
    for name, side in (("a", a), ("b", b)):
        _nonconstant(side, name)    # the means of a constant map may differ by rounding
    return [box_mean(side.double(), window, zero_padding=zero_padding) for side in (a, b)]


def _diverse(a: Tensor, k: int, window: int) -> Tensor:
    """:func:`diverse_topk` of maps that are looked at together."""
    taken = _greedy(a, k, window)
    tied = _collide(taken, window) | (count(taken) > k)
    if tied.any():      # equal values matter there: ranks tell them apart, but cost a sort
        taken[tied] = _greedy(_unique_ranks(a[tied]), k, window)
    return taken


def _greedy(left: Tensor, k: int, window: int) -> Tensor:
    """The diverse top k of maps without ties; of equal values that top a window all are taken."""
    radius = min(window, max(left.shape[1:]))
    while True:
        peaks = left == _slide(left, 2 * radius + 1, radius, torch.maximum)
        tops = torch.where(peaks, left, -torch.inf)
        lowest = _kth_largest_peak(tops, k, radius)
        decided = dilate(peaks, radius).logical_or_(left < lowest)
        if decided.all():
            return (tops >= lowest).logical_and_(tops > -torch.inf)
        left = torch.where(decided, tops, left, out=tops)


def _collide(taken: Tensor, window: int) -> Tensor:
    """Whether (n,) marks of a map lie in each other's window: then their squares of side w + 1 overlap."""
    radius = min(window, max(taken.shape[1:]))
    squares = _slide(taken, radius + 1, radius, torch.logical_or)
    return count(squares) < (radius + 1) ** 2 * count(taken)


def _unique_ranks(a: Tensor) -> Tensor:
    """Ranks (n, h, w) from 1 to h w, the largest value's rank the highest; of equal values the first one's."""
    values = a.flatten(1) + 0.0    # -0 and 0 are a tie
    pixels = values.shape[1]
    if values.is_cpu:
        # One row of integers is sorted by radix there, ten times as fast. Read as an integer, a float keeps
        # its order if it is positive, and inverts it if not.
        bits = values.view({2: torch.int16, 4: torch.int32, 8: torch.int64}[values.element_size()])
        falling = torch.where(bits < 0, bits & torch.iinfo(bits.dtype).max, ~bits)
        order = torch.stack([row.argsort(stable=True) for row in falling])
    else:
        order = values.argsort(dim=1, descending=True, stable=True)
    exact = torch.float32 if pixels <= 2 ** 24 else torch.float64
    ranks = torch.arange(pixels, 0, -1, dtype=exact, device=a.device).expand_as(order)
    return torch.empty_like(ranks).scatter_(1, order, ranks).view_as(a)


def _kth_largest_peak(tops: Tensor, k: int, radius: int) -> Tensor:
    """The k-th largest (n, 1, 1) of pixels that top their windows; -inf where fewer than k do."""
    # No block of w + 1 rows and columns holds two of them: its maximum stands for it.
    blocks = tops
    for _ in range(2):
        blocks = max_pool1d(blocks, radius + 1, stride=radius + 1, ceil_mode=True).mT.contiguous()
    blocks = blocks.flatten(1)
    return blocks.topk(min(k, blocks.shape[1]), sorted=False).values.amin(1)[:, None, None]


def _slide(a: Tensor, size: int, padding: int, combine) -> Tensor:
    """Maximum, or logical or, over every square with sides of `size` pixels, in maps padded by `padding`.

    Two squares of a side make one of up to twice the side, so this takes about 2 log2(size) passes.
    """
    a = pad(a, (padding,) * 4, value=False if a.dtype == torch.bool else -torch.inf)
    for dim in (2, 1):
        side = 1
        while side < size:
            step = min(side, size - side)
            length = a.shape[dim] - step
            a = combine(a.narrow(dim, 0, length), a.narrow(dim, step, length))
            side += step
    return a


def _box_sum(a: Tensor, window: int) -> Tensor:
    radius = min(window, max(a.shape[1:]))
    for kernel in ((1, 2 * radius + 1), (2 * radius + 1, 1)):
        a = avg_pool2d(a, kernel, 1, [side // 2 for side in kernel], divisor_override=1)
    return a
