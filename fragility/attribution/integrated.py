"""Integrated gradients: the mean gradient on the straight line from a baseline."""

from typing import Any

import torch
from torch import Tensor

from fragility import checks
from fragility.attribution.method import method
from fragility.passes import explain, recomputed, repeats


@method(form="path")
def integrated_gradients(model, x: Tensor, target: Any = None, *, baseline=0.0, steps: int = 50,
                         chunk: int | None = None) -> Tensor:
    r"""Integrated gradients [sundararajan2017] by the mid-point rule.

    .. math:: R = (x - x_0) \odot \frac1K \sum_{k=1}^{K} \nabla S_t\bigl(x_0 + t_k (x - x_0)\bigr),
              \qquad t_k = (k - \tfrac12) / K

    The mid-point rule converges one order faster than the right-hand sum of [ghorbani2019].
    The maps sum to S(x) - S(x0) up to the error of the rule (completeness).

    Parameters
    ----------
    baseline
        Reference image x0: a number, a tensor (c, h, w), or one of x's shape; in units of x.
    steps
        Points K on the path, at least 1.

    Notes
    -----
    Memory holds at most `chunk` path points, whatever `steps` is, even where x.requires_grad: each chunk is then
    recomputed in the backward pass. Other parameters and errors as for :func:`gradient`.
    """
    checks.integer("steps", steps, 1)
    start = checks.baseline(baseline, x)
    targets = target.resolved(model, x, chunk)
    points = (torch.arange(steps, dtype=torch.promote_types(x.dtype, torch.float32), device=x.device) + 0.5) / steps
    return ((x - start) * mean_gradient(model, x, targets, start, points, chunk)).to(x.dtype)


def mean_gradient(model, x: Tensor, targets, start: Tensor, points: Tensor, chunk: int | None = None) -> Tensor:
    """Mean gradient, of x's shape and float32 at least, over path points t, (K,) shared or (K, n) per image."""
    points = points if points.ndim == 2 else points[:, None].expand(-1, len(x))
    points = points.view(*points.shape, *[1] * (x.ndim - 1))
    start, wide = start.expand_as(x).to(points.dtype), x.to(points.dtype)
    total = torch.zeros_like(wide)
    for segments in repeats(len(points), x, chunk):
        batch = torch.cat([torch.lerp(start[rows], wide[rows], points[k, rows]) for k, rows in segments]).to(x.dtype)
        repeated = targets.join([targets[rows] for _, rows in segments])
        gradients = recomputed(_gradient, model, batch, repeated)
        for (_, rows), part in zip(segments, gradients.split([r.stop - r.start for _, r in segments])):
            total[rows] += part
    return total / len(points)


def _gradient(model, batch: Tensor, targets) -> Tensor:
    return explain(model, batch, targets, len(batch))[0]
