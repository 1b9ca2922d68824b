"""Perturbations that know no network: the control every attack is measured against."""

import torch
from torch import Tensor

from fragility import checks


def random_sign(x: Tensor, *, epsilon: float, generator: torch.Generator | None = None) -> Tensor:
    r"""Move every value by +epsilon or -epsilon, fair and independent, once [ghorbani2019, section 3].

    Images (n, c, h, w) in [0, 1] in and out (clipped). epsilon in (0, 1]. None takes torch's generator.
    The label is not looked at. (The code of [ghorbani2019] walks 300 random steps and keeps the best.)
    """
    checks.images(x, unit_range=True)
    checks.number("epsilon", epsilon, 0, 1, exclusive=True)
    device = generator.device if generator is not None else x.device
    sign = torch.randint(0, 2, x.shape, device=device, generator=generator).to(x) * 2 - 1
    return (x + epsilon * sign).clamp(0, 1)
