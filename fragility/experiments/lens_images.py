"""Which images the metrics of [kamath2024] are compared on, and whose maps are the control of which."""

import torch
from torch import Tensor, nn

from fragility import data, models
from fragility.attribution.output import logits_of
from fragility.experiments import networks, robust
from fragility.experiments.base import device
from fragility.store import Store

CONTROLS = ("same_class", "other_class")    # not attacks: the map of another image, scored the same way
PARTNERS = 4                        # other images for each


def subjects(cell: dict, store: Store) -> tuple[nn.Module, Tensor, Tensor, Tensor]:
    """Model, images in [0, 1], labels and places in the test set: all that the model classifies correctly.

    In the order of the seed, so that networks share most of their first images. An untrained network is right by
    chance, perhaps about a single class: there all images count.
    """
    model, weights = robust.trained(cell, store)
    key = (cell["data_set"], cell["seed"], cell["images"], weights)
    if key not in _CHOSEN:
        _CHOSEN.clear()
        _CHOSEN[key] = _choose(model, *key[:3], is_trained=cell["epochs"] > 0 or cell["network"] not in models.OWN)
    return model, *_CHOSEN[key]


_CHOSEN: dict[tuple, tuple] = {}        # the last choice: a network is looked at in many cells


def _choose(model: nn.Module, data_set: str, seed: int, images: int, is_trained: bool) -> tuple[Tensor, Tensor, Tensor]:
    test, _ = networks.part(data_set, "test")
    order = torch.randperm(len(test.images), generator=torch.Generator().manual_seed(seed))
    order = order[:max(20 * images, 400)]      # enough for partners of the same class
    x, labels = data.unit(test.images[order]).to(device()), test.labels[order].to(device())
    rows = (logits_of(model, x).argmax(1) == labels if is_trained else labels >= 0).nonzero().flatten()
    if len(rows) < images:
        raise ValueError(f"Only {len(rows)} of {len(x)} images are classified correctly, fewer than the {images} "
                         "that were asked for.")
    rows, more = rows[:5 * images], rows[5 * images:]
    alike = labels[rows[:images], None] == labels[rows]
    alone = labels[rows[:images]][alike.sum(1) == 1]        # of a class so rare that no partner is among them
    rows = torch.cat([rows, more[torch.isin(labels[more], alone)]])
    return x[rows], labels[rows], order[rows.cpu()]


def partners(labels: Tensor, cell: dict) -> list[Tensor]:
    """For each image other images of the same class, or of another; PARTNERS rows (n,)."""
    labels, places = labels.cpu(), torch.arange(len(labels))
    chosen = []
    for place in range(cell["images"]):
        alike = labels == labels[place]
        fitting = ((alike if cell["attack"] == "same_class" else ~alike) & (places != place)).nonzero().flatten()
        if not len(fitting):
            raise ValueError(f"Image {place} has no partner of the {cell['attack'].replace('_', ' ')}; ask for more "
                             "images.")
        chosen.append(fitting.roll(-place)[torch.arange(PARTNERS) % len(fitting)])
    return list(torch.stack(chosen, 1))
