"""Objectives of attacks: each grows as the map changes in the desired way."""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from fragility import checks
from fragility.draws import normal_like
from fragility.metrics.agreement import center_of_mass, topk_mask
from fragility.metrics.lens import dilate


class PreparedObjective(NamedTuple):
    """An objective for a batch: `score` of its maps (n, h, w), and `loss`, which is maximised on some of its rows."""

    score: Callable[[Tensor], Tensor]
    loss: Callable[[Tensor, slice], Tensor]


class TopK:
    r"""Push importance out of the k most important pixels B of the clean map [ghorbani2019, algorithm 1].

    .. math:: D = -\sum_{i \in B} I(x)_i

    ValueError unless k is at least 1 and less than the pixels of a map.
    """

    def __init__(self, k: int):
        self.k = checks.integer("k", k, 1)

    def prepare(self, clean: Tensor, generator: torch.Generator | None = None) -> PreparedObjective:
        checks.integer("k", self.k, 1, clean[0].numel() - 1)
        top = topk_mask(clean, self.k)

        def score(maps, rows=slice(None)):
            return -(maps * top[rows]).sum((1, 2))
        return PreparedObjective(score, score)


class LensTopK:
    r"""Push importance out of the neighbourhood of the clean map's top k [kamath2024].

    .. math:: D = -\sum_{i \in N_w(B)} I(x)_i

    B as for :class:`TopK`; N_w adds all pixels within `window` rows and columns. A small shift, which
    :func:`fragility.metrics.lens_recall` forgives, gains nothing here. ValueError unless k is at least 1
    and less than the pixels of a map, and window at least 0, or where N_w(B) covers a whole map.
    """

    def __init__(self, k: int, window: int):
        self.k, self.window = checks.integer("k", k, 1), checks.integer("window", window, 0)

    def prepare(self, clean: Tensor, generator: torch.Generator | None = None) -> PreparedObjective:
        checks.integer("k", self.k, 1, clean[0].numel() - 1)
        near = dilate(topk_mask(clean, self.k), self.window)
        covered = near.flatten(1).all(1)
        if checks.any_true(covered):
            raise ValueError(f"LensTopK(k={self.k}, window={self.window}) covers the whole map in "
                             f"{checks.image_list(covered)} and leaves nowhere to push to; use a smaller k or window.")

        def score(maps, rows=slice(None)):
            return -(maps * near[rows]).sum((1, 2))
        return PreparedObjective(score, score)


class MassCenter:
    r"""Move the centre of mass C of the map [ghorbani2019, algorithm 1].

    .. math:: D = \lVert C(x) - C(x_0) \rVert_2 \quad\text{in pixels}

    At the clean image the direction of D is exactly zero. The attack therefore measures its loss from an origin
    that is displaced by a hundredth of a pixel in a random direction; the score is the true distance. (The code of
    [ghorbani2019] truncates C(x_0) to whole pixels and so always starts to the lower right.)
    """

    def prepare(self, clean: Tensor, generator: torch.Generator | None = None) -> PreparedObjective:
        start = center_of_mass(clean)
        angle = normal_like(start, generator)
        origin = start - 0.01 * angle / angle.norm(dim=1, keepdim=True)
        return PreparedObjective(lambda maps: (center_of_mass(maps) - start).norm(dim=1),
                                 lambda maps, rows: (center_of_mass(maps) - origin[rows]).square().sum(1))


class Target:
    r"""Gather importance in a chosen region A [ghorbani2019, algorithm 1].

    .. math:: D = \sum_{i \in A} I(x)_i

    `mask` is boolean, (h, w) for all images or (n, h, w); ValueError where it is empty or full.
    """

    def __init__(self, mask: Tensor):
        if not isinstance(mask, Tensor) or mask.dtype != torch.bool or mask.ndim not in (2, 3):
            raise ValueError("The mask must be a boolean tensor (h, w) or (n, h, w).")
        if checks.any_true(~mask.flatten(-2).any(-1) | mask.flatten(-2).all(-1)):
            raise ValueError("The mask must mark some pixels, but not all, of every image.")
        self.mask = mask

    def prepare(self, clean: Tensor, generator: torch.Generator | None = None) -> PreparedObjective:
        if self.mask.shape not in {clean.shape, clean.shape[1:]}:
            raise ValueError(f"The mask has the shape {tuple(self.mask.shape)}, but the maps have "
                             f"{tuple(clean.shape)}.")
        mask = checks.for_autograd(self.mask.to(clean.device)).expand_as(clean)

        def score(maps, rows=slice(None)):
            return (maps * mask[rows]).sum((1, 2))
        return PreparedObjective(score, score)
