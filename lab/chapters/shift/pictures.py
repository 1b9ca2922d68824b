"""What the pictures of the chapter need of a page's run: a cell, its maps, and why a gradient changes at all."""

from collections.abc import Sequence

import torch
from torch import Tensor

from fragility import attribution, metrics
from lab.chapters.shift import invariance
from lab.core.frames import select
from lab.core.pages import Page


def cell(page: Page, shift: str, noise: str = "none", network: str | None = None) -> dict:
    """The cell of the page's run of a shift and a noise, of the paper's network where no other is asked for."""
    network = network or page.settings["networks"][0]
    return next(one for one in invariance.cells(page.parameters(invariance.EXPERIMENT))
                if (one["network"], one["shift"], one["noise"]) == (network, shift, noise))


def encoded(page: Page, shift: str, methods: Sequence[str],
            noise: str = "none") -> tuple[list[Tensor], dict[str, tuple], dict[str, float]]:
    """One image in both encodings, its maps by both networks, and the mean relative change of each map over images:
    what `figures.encodings` draws."""
    chosen = cell(page, shift, noise)
    rows = select(page.live(invariance.EXPERIMENT), network=chosen["network"], shift=shift, noise=noise)
    return *invariance.shown(chosen, page.store, methods), rows.groupby("method").relative.mean().to_dict()


def largest_change(pair: tuple[invariance.Side, invariance.Side], noise: float) -> float:
    """Largest relative change of the gradient of any image from one network to the other, with uniform noise up to
    `noise` on the images, the same for both. Noise breaks ties between the values that a max-pooling compares."""
    one, two = pair
    drawn = torch.rand(one.x.shape, generator=torch.Generator().manual_seed(0), dtype=one.x.dtype).to(one.x)
    maps = [attribution.gradient(side.model, side.x + noise * drawn) for side in (one, two)]
    return metrics.invariance(*maps).relative.max().item()
