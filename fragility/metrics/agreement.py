"""Agreement of two maps of an image: overlap of the top pixels, rank correlation, centre of mass."""

import torch
from torch import Tensor

from fragility import checks

_BLOCK = 8


def topk_intersection(a: Tensor, b: Tensor, k: int) -> Tensor:
    r"""Share of the k most important pixels that two maps have in common [ghorbani2019, section 3].

    .. math:: |\mathrm{top}_k(a) \cap \mathrm{top}_k(b)| \,/\, k

    Maps (n, h, w) in, (n,) in [0, 1] out. Ties go to the lowest flat index. Raises ValueError unless
    1 <= k <= h w and the batches match, and for a map that is zero everywhere; :func:`ties` counts zeros in the top.
    """
    a, b = checks.map_pair(a, b)
    checks.integer("k", k, 1, a[0].numel())
    for name, side in (("a", a), ("b", b)):
        refuse_empty(side, name)
    return count(topk_mask(a, k) & topk_mask(b, k)).to(a.dtype) / k


def refuse_empty(a: Tensor, name: str) -> None:
    """Raise ValueError naming the images whose map is zero everywhere: any k of its pixels are as good as the top."""
    empty = (a == 0).flatten(1).all(1)
    if checks.any_true(empty):
        raise ValueError(f"A map that is zero everywhere has no top pixels; {name} is zero in "
                         f"{checks.image_list(empty)}.")


def ties(a: Tensor, k: int) -> Tensor:
    """How many of each map's top k pixels are zeros, which tie with all other zeros.

    Maps (n, h, w) in, (n,) int64 out. Where the number is not zero, :func:`topk_intersection` counts pixels that are
    in the top only by their position.
    """
    checks.maps(a)
    checks.integer("k", k, 1, a[0].numel())
    return count(topk_mask(a.detach(), k) & (a == 0)).long()


def topk_mask(a: Tensor, k: int) -> Tensor:
    """Boolean (n, h, w): the k largest values of each map (n, h, w); ties go to the lowest flat index.

    Unchecked, for kernels: needs 1 <= k <= h w.
    """
    values = a.flatten(1)
    smallest = _kth_largest(values, k)
    top = values >= smallest
    # On a CPU it is worth looking whether there are ties at all; a GPU would have to wait for the answer.
    if not values.is_cpu or (count(top) > k).any():
        above, tied = values > smallest, values == smallest
        room = k - above.sum(1, keepdim=True)
        top = above | (tied & (tied.cumsum(1) <= room))
    return top.view_as(a)


def count(mask: Tensor) -> Tensor:
    """Number (n,) of marks of boolean masks (n, …), int32. Torch would make eight bytes of each mark before it adds."""
    return mask.flatten(1).view(torch.uint8).sum(1, dtype=torch.int32)


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
    return correlation(ranks(_nonconstant(a, "a")), ranks(_nonconstant(b, "b")))


def kendall(a: Tensor, b: Tensor) -> Tensor:
    """Kendall's tau-b of two maps' pixels, exact: by SciPy, image by image, on the CPU; on a GPU by sorts of the batch.

    Maps (n, h, w) in, (n,) in [-1, 1] out, in float64. Raises as :func:`spearman`.
    """
    a, b = checks.map_pair(a, b)
    a, b = _nonconstant(a, "a"), _nonconstant(b, "b")
    if not a.is_cpu:
        return kendall_tau_b(a, b)
    from scipy.stats import kendalltau  # nearly a second to import: only where it is needed

    wide = (part.float() if part.dtype == torch.bfloat16 else part for part in (a, b))     # NumPy has no bfloat16
    return torch.tensor([kendalltau(p, q)[0] for p, q in zip(*(part.numpy() for part in wide))],
                        dtype=torch.float64)


def kendall_tau_b(a: Tensor, b: Tensor) -> Tensor:
    r"""Kendall's tau-b (n,) of rows (n, p), float64, in O(p log^2 p) and without leaving the device.

    .. math:: \tau_b = \frac{n_0 - n_a - n_b + n_{ab} - 2 n_d}{\sqrt{(n_0 - n_a)(n_0 - n_b)}}

    n_0 counts all pairs of pixels; n_a, n_b, n_ab those tied in a, in b and in both; n_d those in opposite order.
    Unchecked, for kernels.
    """
    pixels = a.shape[1]
    a, b = _dense_ranks(a), _dense_ranks(b)
    both = (a * pixels + b).sort(dim=1).values      # by a, then by b
    tied_a, tied_b, tied = (_tied_pairs(ranks.sort(dim=1).values) for ranks in (a, b, both))
    pairs = pixels * (pixels - 1) // 2
    excess = pairs - tied_a - tied_b + tied - 2 * _inversions(both % pixels)
    return excess / ((pairs - tied_a).double() * (pairs - tied_b)).sqrt()


def center_shift(a: Tensor, b: Tensor) -> Tensor:
    r"""Distance in pixels between the centres of mass of two maps [ghorbani2019, section 3].

    .. math:: \lVert C(a) - C(b) \rVert_2, \qquad C(a) = \sum_{ij} a_{ij} (i, j) \,/\, \sum_{ij} a_{ij}

    Non-negative maps (n, h, w) in, (n,) pixels out. Centres are not rounded (the code of [ghorbani2019]
    truncates them). Raises ValueError naming the images whose map is negative somewhere or has no mass.
    """
    a, b = checks.map_pair(a, b)
    for name, side in (("a", a), ("b", b)):
        bad = (side < 0).flatten(1).any(1) | (side.sum((1, 2)) == 0)
        if checks.any_true(bad):
            raise ValueError(f"A centre of mass needs a non-negative map that is not zero everywhere; {name} "
                             f"has none in {checks.image_list(bad)}. Use attribution.pixel_map first.")
    return (center_of_mass(a) - center_of_mass(b)).norm(dim=1)


def center_of_mass(a: Tensor) -> Tensor:
    """Centre of mass (n, 2) in pixels, row and column, of maps (n, h, w). Unchecked, for kernels."""
    a = a / a.sum((1, 2), keepdim=True).clamp_min(torch.finfo(a.dtype).tiny)
    rows, columns = (torch.arange(size, dtype=a.dtype, device=a.device) for size in a.shape[1:])
    return torch.stack([a.sum(2) @ rows, a.sum(1) @ columns], 1)


def _nonconstant(a: Tensor, name: str) -> Tensor:
    values = a.flatten(1)
    constant = values.amax(1) == values.amin(1)
    if checks.any_true(constant):
        raise ValueError(f"Rank correlation needs maps that vary; {name} is constant in "
                         f"{checks.image_list(constant)}.")
    return values


def ranks(values: Tensor) -> Tensor:
    """Average ranks (n, p) of values (n, p), from 0, in float64."""
    ordered, order = values.sort(dim=1)
    place = torch.arange(values.shape[1], device=values.device).expand_as(order)
    if values.is_cpu and not (ordered[:, 1:] == ordered[:, :-1]).any():   # the usual case, at half the cost
        return torch.empty_like(values, dtype=torch.float64).scatter_(1, order, place.double())
    new = _starts(ordered)
    first = torch.where(new, place, 0).cummax(1).values
    # The last place of a run of ties is one before the next run's first.
    ends = torch.where(new.roll(-1, 1).index_fill(1, place[0, -1:], True), place, values.shape[1])
    last = ends.flip(1).cummin(1).values.flip(1)
    return torch.empty_like(values, dtype=torch.float64).scatter_(1, order, (first + last).double() / 2)


def _dense_ranks(values: Tensor) -> Tensor:
    """Ranks (n, p) of values (n, p), int64 from 0; equal values share one, and none is left out."""
    ordered, order = values.sort(dim=1)
    return torch.zeros_like(order).scatter_(1, order, _starts(ordered).cumsum(1) - 1)


def _starts(ordered: Tensor) -> Tensor:
    """Where a run of equal values begins in sorted rows (n, p)."""
    return torch.cat([torch.ones_like(ordered[:, :1], dtype=torch.bool), ordered[:, 1:] != ordered[:, :-1]], 1)


def _tied_pairs(ordered: Tensor) -> Tensor:
    """Pairs (n,) of equal values in sorted rows (n, p): each value counts those before it in its run."""
    place = torch.arange(ordered.shape[1], device=ordered.device).expand_as(ordered)
    return (place - torch.where(_starts(ordered), place, 0).cummax(1).values).sum(1)


def _inversions(ranks: Tensor) -> Tensor:
    """Pairs (n,) of ranks (n, p) below p of which the first is the larger one.

    For any two different ranks there is a highest bit in which they differ. So for each bit, from the highest down,
    count the ones before each zero among the ranks that share all higher bits, in their original order.
    """
    found = torch.zeros_like(ranks[:, 0])
    for bit in reversed(range((ranks.shape[1] - 1).bit_length())):
        ranks = ranks.gather(1, (ranks >> bit + 1).argsort(dim=1, stable=True))
        ones = ranks >> bit & 1
        before = ones.cumsum(1) - ones
        others = torch.where(_starts(ranks >> bit + 1), before, 0).cummax(1).values     # of the runs before
        found += ((before - others) * (1 - ones)).sum(1)
    return found


def correlation(a: Tensor, b: Tensor) -> Tensor:
    """Pearson's correlation (n,) of the rows of a and b."""
    a, b = a - a.mean(1, keepdim=True), b - b.mean(1, keepdim=True)
    return (a * b).sum(1) / (a.norm(dim=1) * b.norm(dim=1))
