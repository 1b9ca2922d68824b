"""Agreement of two maps of an image: overlap of the top pixels, rank correlation, centre of mass."""

import torch
from scipy.stats import kendalltau
from torch import Tensor

from fragility import checks

_BLOCK = 8


def topk_intersection(a: Tensor, b: Tensor, k: int) -> Tensor:
    r"""Share of the k most important pixels that two maps have in common [ghorbani2019, section 3].

    .. math:: |\mathrm{top}_k(a) \cap \mathrm{top}_k(b)| \,/\, k

    Maps (n, h, w) in, (n,) in [0, 1] out. Ties go to the lowest flat index. Raises ValueError unless
    1 <= k <= h w and the batches match.
    """
    a, b = checks.map_pair(a, b)
    checks.whole("k", k, 1, a[0].numel())
    return (topk_mask(a, k) & topk_mask(b, k)).sum((1, 2)).to(a.dtype) / k


def topk_mask(a: Tensor, k: int) -> Tensor:
    """Boolean (n, h, w): the k largest values of each map (n, h, w); ties go to the lowest flat index.

    Unchecked, for kernels: needs 1 <= k <= h w.
    """
    values = a.flatten(1)
    smallest = _kth_largest(values, k)
    top = values >= smallest
    if (top.sum(1) > k).any():    # not the usual case, so that most maps are spared the counting
        above, tied = values > smallest, values == smallest
        room = k - above.sum(1, keepdim=True)
        top = above | (tied & (tied.cumsum(1) <= room))
    return top.view_as(a)


def _kth_largest(values: Tensor, k: int) -> Tensor:
    """The k-th largest value (n, 1) of each row (n, p)."""
    blocks = values.shape[1] // _BLOCK
    if not values.is_cpu or blocks < 2 * k:
        return values.topk(k, sorted=False).values.amin(1, keepdim=True)
    # k blocks hold a value as large as the k-th largest block maximum, so no smaller one can be in the top k. The
    # few that are left are searched row by row: a processor's topk looks at every value several times.
    peaks = values[:, :blocks * _BLOCK].unflatten(1, (blocks, _BLOCK)).amax(2)
    bounds = peaks.topk(k, sorted=False).values.amin(1)
    left = [row[row >= bound] for row, bound in zip(values, bounds)]
    return torch.stack([row.kthvalue(len(row) - k + 1).values for row in left])[:, None]


def spearman(a: Tensor, b: Tensor) -> Tensor:
    """Spearman's rank correlation of two maps' pixels, ties at their average rank [ghorbani2019, section 3].

    Maps (n, h, w) in, (n,) in [-1, 1] out, in float64. Raises ValueError naming the images where a map is
    constant, since it then has no ranks.
    """
    a, b = checks.map_pair(a, b)
    return correlation(ranks(_varied(a, "a")), ranks(_varied(b, "b")))


def kendall(a: Tensor, b: Tensor) -> Tensor:
    """Kendall's tau-b of two maps' pixels, exact in O(p log p) by SciPy; on the CPU, image by image.

    Maps (n, h, w) in, (n,) in [-1, 1] out, in float64. Raises as :func:`spearman`.
    """
    a, b = checks.map_pair(a, b)
    wide = (part.float() if part.dtype == torch.bfloat16 else part for part in (_varied(a, "a"), _varied(b, "b")))
    pairs = zip(*(part.cpu().numpy() for part in wide))         # NumPy has no bfloat16
    return torch.tensor([kendalltau(p, q).statistic for p, q in pairs], dtype=torch.float64, device=a.device)


def center_shift(a: Tensor, b: Tensor) -> Tensor:
    r"""Distance in pixels between the centres of mass of two maps [ghorbani2019, section 3].

    .. math:: \lVert C(a) - C(b) \rVert_2, \qquad C(a) = \sum_{ij} a_{ij} (i, j) \,/\, \sum_{ij} a_{ij}

    Non-negative maps (n, h, w) in, (n,) pixels out. Centres are not rounded (the code of [ghorbani2019]
    truncates them). Raises ValueError naming the images whose map is negative somewhere or has no mass.
    """
    a, b = checks.map_pair(a, b)
    for name, side in (("a", a), ("b", b)):
        bad = (side < 0).flatten(1).any(1) | (side.sum((1, 2)) == 0)
        if bad.any():
            raise ValueError(f"A centre of mass needs a non-negative map that is not zero everywhere; {name} "
                             f"has none in {checks.listing(bad)}. Use attribution.pixel_map first.")
    return (center(a) - center(b)).norm(dim=1)


def center(a: Tensor) -> Tensor:
    """Centre of mass (n, 2) in pixels, row and column, of maps (n, h, w). Unchecked, for kernels."""
    a = a / a.sum((1, 2), keepdim=True).clamp_min(torch.finfo(a.dtype).tiny)
    rows, columns = (torch.arange(size, dtype=a.dtype, device=a.device) for size in a.shape[1:])
    return torch.stack([a.sum(2) @ rows, a.sum(1) @ columns], 1)


def _varied(a: Tensor, name: str) -> Tensor:
    values = a.flatten(1)
    constant = values.amax(1) == values.amin(1)
    if constant.any():
        raise ValueError(f"Rank correlation needs maps that vary; {name} is constant in "
                         f"{checks.listing(constant)}.")
    return values


def ranks(values: Tensor) -> Tensor:
    """Average ranks (n, p) of values (n, p), from 0, in float64."""
    ordered, order = values.sort(dim=1)
    place = torch.arange(values.shape[1], device=values.device).expand_as(order)
    if not (ordered[:, 1:] == ordered[:, :-1]).any():   # the usual case, at half the cost
        return torch.empty_like(values, dtype=torch.float64).scatter_(1, order, place.double())
    new = torch.ones_like(order, dtype=torch.bool)
    new[:, 1:] = ordered[:, 1:] != ordered[:, :-1]
    first = torch.where(new, place, 0).cummax(1).values
    # The last place of a run of ties is one before the next run's first.
    ends = torch.where(new.roll(-1, 1).index_fill(1, place[0, -1:], True), place, values.shape[1])
    last = ends.flip(1).cummin(1).values.flip(1)
    return torch.empty_like(values, dtype=torch.float64).scatter_(1, order, (first + last).double() / 2)


def correlation(a: Tensor, b: Tensor) -> Tensor:
    """Pearson's correlation (n,) of rows, centred in place."""
    a, b = a - a.mean(1, keepdim=True), b - b.mean(1, keepdim=True)
    return (a * b).sum(1) / (a.norm(dim=1) * b.norm(dim=1))
