"""Controls that look at no model: an edge detector and noise."""

import torch
import torch.nn.functional as F
from torch import Tensor

from fragility import checks
from fragility.draws import normal_like


def sobel(x: Tensor) -> Tensor:
    r"""Edge strength of each channel, the model-free control of [hooker2019, section 4].

    .. math:: R = \sqrt{(K * x)^2 + (K^\top * x)^2}, \qquad
              K = \tfrac18 \begin{pmatrix}1&0&-1\\2&0&-2\\1&0&-1\end{pmatrix}

    Images (n, c, h, w) in, non-negative maps of the same shape out, in units of x per pixel.
    The border is replicated, so a constant image has no edge there.
    """
    checks.images(x)
    planes = F.pad(x, (1, 1, 1, 1), mode="replicate")
    # Differences before sums: a constant image then gives exact zeros, not rounding noise.
    across = planes[..., 2:] - planes[..., :-2]
    down = planes[..., 2:, :] - planes[..., :-2, :]
    across = across[..., :-2, :] + 2 * across[..., 1:-1, :] + across[..., 2:, :]
    down = down[..., :-2] + 2 * down[..., 1:-1] + down[..., 2:]
    return (across.square() + down.square()).sqrt() / 8


def random(x: Tensor, *, generator: torch.Generator | None = None) -> Tensor:
    """Standard normal noise of the shape of x: a map without information. None means torch's global generator."""
    checks.images(x)
    return normal_like(x, checks.generator(generator))
