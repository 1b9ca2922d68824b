"""Which images the metrics of [kamath2024] are compared on, and whose maps are the control of which."""

import torch
from torch import Tensor, nn

from fragility import training
from lab.core.experiment import device
from lab.core.store import Store
from lab.material import networks
from lab.trained import natural, robust
from lab.trained.subjects import correctly_classified

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
        is_trained = cell["epochs"] > 0 or cell["network"] not in networks.ARCHITECTURES
        _CHOSEN[key] = _choose(model, *key[:3], is_trained=is_trained)
    return model, *_CHOSEN[key]


_CHOSEN: dict[tuple, tuple] = {}        # the last choice: a network is looked at in many cells


def _choose(model: nn.Module, data_set: str, seed: int, images: int, is_trained: bool) -> tuple[Tensor, Tensor, Tensor]:
    test, _ = natural.load_split(data_set, "test")
    most = max(20 * images, 400)      # enough for partners of the same class
    choose = correctly_classified if is_trained else _any
    x, labels, places = choose(model, test.images, test.labels, seed, most=most)
    if len(x) < images:
        raise ValueError(f"Only {len(x)} of {min(most, len(test.images))} images are classified correctly, fewer than "
                         f"the {images} that were asked for.")
    rows = torch.arange(len(x), device=x.device)
    rows, more = rows[:5 * images], rows[5 * images:]
    alike = labels[rows[:images], None] == labels[rows]
    alone = labels[rows[:images]][alike.sum(1) == 1]        # of a class so rare that no partner is among them
    rows = torch.cat([rows, more[torch.isin(labels[more], alone)]])
    return x[rows], labels[rows], places[rows.cpu()]


def _any(model: nn.Module, images: Tensor, labels: Tensor, seed: int, most: int) -> tuple[Tensor, Tensor, Tensor]:
    """The same images whatever the model says of them."""
    order = torch.randperm(len(images), generator=torch.Generator().manual_seed(seed))[:most]
    return training.as_float(images[order]).to(device()), labels[order].to(device()), order


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
