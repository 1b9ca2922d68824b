"""Pictures of the chapter: published ones, those of a page's run, and why a gradient changes at all."""

from collections.abc import Sequence
from typing import NamedTuple

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch
from torch import Tensor

from fragility import attribution, metrics
from lab.chapters.shift import figures, invariance, portraits, references, tables
from lab.chapters.shift.numbers import main, painted
from lab.core import results
from lab.core.frames import select
from lab.core.pages import Page
from lab.drawing.names import in_order
from lab.material.photographs import photograph


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


#: Shift -> names of the rows of a picture: what the images are before it and after.
ROWS = {"uniform": ("images in\n[0, 1]", "images in\n[−1, 0]"),
        "checkerboard": ("as they are", "with the\ncheckerboard"),
        "kitten": ("as they are", "with the\npaper's shift", "with a shift\nof its outline")}


class Portrait(NamedTuple):
    """A digit and its maps by the network at the paper's size, from published records."""

    inputs: list[Tensor]        #: The digit (1, h, w), and as it is shifted.
    maps: dict[str, list[Tensor]]


def portrait(shift: str, noise: str = "none", methods: Sequence[str] | None = None) -> Portrait:
    """The published pictures of a shift, of some methods or of all that were drawn."""
    record = next(record for record in results.published(portraits.EXPERIMENT)
                  if (record.parameters["shift"], record.parameters["noise"]) == (shift, noise))
    tensors = record.tensors()
    return Portrait(list(tensors["input"]), {name: [one.float()[None] for one in tensors[name]]
                                             for name in methods or in_order(record.parameters["methods"])})


def draw(page: Page, figure: str, shift: str, noise: str = "none", methods: Sequence[str] | None = None) -> None:
    """Draw a published picture; under each map its change over all published test images and the paper's verdict."""
    inputs, maps = portrait(shift, noise, methods)
    if shift == "kitten":       # and once more with the digit in sight
        other = portrait(portraits.OUTLINE, methods=methods)
        inputs, maps = [*inputs, other.inputs[1]], {name: [*both, other.maps[name][1]] for name, both in maps.items()}
        ours = tables.changes(painted(page, "full"))
    else:
        ours = tables.changes(main(page, "full", shift=shift, noise=noise))
    said = tables.reported(noise)
    theirs = {name: said.get((name, shift), np.nan) for name in maps}
    figures.encodings(inputs, maps, ours, ROWS[shift], theirs)
    page.keep(figure, listed({name: ours[name] for name in maps}, theirs))
    plt.show()


def draw_references(page: Page, figure: str) -> None:
    """Draw the published maps of a photograph from two references, and keep how far they differ."""
    titles = {"integrated_gradients": "IG", "deep_taylor": "deep Taylor"}
    found = {record.parameters["method"]: record for record in results.published(references.SHOWN)}
    about = found["deep_taylor"].parameters
    image = photograph(about["photograph"], about["network"])[0]
    maps = {title: [found[name].tensors()[end].float()[None] for end in ("first", "second")]
            for name, title in titles.items()}
    changes = {title: tables.change(found[name].table) for name, title in titles.items()}
    drawn = figures.encodings([image, image], maps, changes, ("", ""), end=0.98)
    for axis, name in zip(drawn.axes, ("photograph", "IG, black", "deep Taylor, zero", "", "IG, mean colour",
                                       "deep Taylor, pattern")):
        axis.set_title(name, fontsize=8)
    page.keep(figure, listed(changes))
    plt.show()


def listed(changes: dict[str, float], theirs: dict[str, float] | None = None) -> pd.DataFrame:
    """What a picture says under its maps as a table: the change of each and, where it has one, the paper's verdict."""
    table = pd.DataFrame({"method": list(changes), "relative change": list(changes.values())})
    return table.assign(paper=[figures.mark(theirs[name]) for name in changes]) if theirs else table


def largest_change(pair: tuple[invariance.Side, invariance.Side], noise: float) -> float:
    """Largest relative change of the gradient of any image from one network to the other, with uniform noise up to
    `noise` on the images, the same for both. Noise breaks ties between the values that a max-pooling compares."""
    one, two = pair
    drawn = torch.rand(one.x.shape, generator=torch.Generator().manual_seed(0), dtype=one.x.dtype).to(one.x)
    maps = [attribution.gradient(side.model, side.x + noise * drawn) for side in (one, two)]
    return metrics.invariance(*maps).relative.max().item()
