"""How much a signed map changes when nothing should change it."""

from typing import NamedTuple

import torch
from torch import Tensor

from fragility import checks
from fragility.metrics.agreement import correlation, ranks

#: Two maps whose relative change is below this are called identical [kindermans2019, section 3].
IDENTICAL = 1e-5


class Invariance(NamedTuple):
    """Change from maps a to maps b, image by image; each (n,) in float64."""

    relative: Tensor   #: ||a - b|| / ||a||, Euclidean; below 1e-5 the maps are the same.
    spearman: Tensor   #: Rank correlation of all values; NaN where a map is constant.
    pearson: Tensor    #: Correlation of all values; NaN where a map is constant.
    largest: Tensor    #: Largest absolute difference, in units of the map.


def invariance(a: Tensor, b: Tensor) -> Invariance:
    """Compare signed maps (n, c, h, w) before and after a change to which the network's output is invariant.

    Raises ValueError where the batches do not match, hold NaN, or a map of `a` is zero everywhere.
    """
    checks.images(a, name="a")
    checks.images(b, name="b")
    if a.shape != b.shape:
        raise ValueError(f"The two batches of maps must have the same shape, but they are {tuple(a.shape)} and "
                         f"{tuple(b.shape)}.")
    a, b = a.flatten(1).double(), b.to(a.device).flatten(1).double()
    size = a.norm(dim=1)
    if checks.any_true(size == 0):
        raise ValueError(f"A relative change needs a map that is not zero everywhere; a is zero in "
                         f"{checks.image_list(size == 0)}.")
    return Invariance((a - b).norm(dim=1) / size, _correlation(ranks, a, b), _correlation(torch.clone, a, b),
                      (a - b).abs().amax(1))


def _correlation(make, a: Tensor, b: Tensor) -> Tensor:
    """Correlation (n,) of make(a) and make(b); NaN where a row is constant."""
    constant = (a.amax(1) == a.amin(1)) | (b.amax(1) == b.amin(1))
    return torch.where(constant, torch.nan, correlation(make(a), make(b)))
