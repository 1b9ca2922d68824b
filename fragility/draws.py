"""Random numbers from a caller's generator: drawn on the generator's device, handed over on the images'."""

import torch
from torch import Tensor


def normal_like(x: Tensor, generator: torch.Generator | None) -> Tensor:
    """Standard normal draws of x's shape; drawn where the generator lives, moved to x's device."""
    device = generator.device if generator is not None else x.device
    return torch.randn(x.shape, dtype=x.dtype, device=device, generator=generator).to(x.device)


def signs_like(x: Tensor, generator: torch.Generator | None) -> Tensor:
    """Fair and independent +1 or -1 of x's shape, drawn on the generator's device."""
    device = generator.device if generator is not None else x.device
    return torch.randint(0, 2, x.shape, device=device, generator=generator).to(x) * 2 - 1


def stratified(points: int, x: Tensor, generator: torch.Generator | None) -> Tensor:
    """Path points t (points, n), one drawn uniformly from each of `points` equal parts of [0, 1]."""
    device = generator.device if generator is not None else x.device
    drawn = torch.rand((points, len(x)), dtype=x.dtype, device=device, generator=generator).to(x.device)
    return (torch.arange(points, dtype=x.dtype, device=x.device)[:, None] + drawn) / points
