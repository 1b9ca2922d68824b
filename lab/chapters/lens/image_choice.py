"""The images on which the metrics of [kamath2024] are compared, and the partners whose maps are the control."""

import torch
from torch import Tensor, nn

from fragility import training
from lab.core.device import device
from lab.core.store import Store
from lab.material import networks
from lab.trained import natural, robust
from lab.trained.subjects import correctly_classified

CONTROLS = ("same_class", "other_class")    # not attacks: the map of another image is compared
PARTNERS = 4                        # other images that each image is compared with


def subjects(cell: dict, store: Store) -> tuple[nn.Module, Tensor, Tensor, Tensor]:
    """Model, images in [0, 1], labels and places in the test set: candidates that the model classifies correctly.

    In the order of the seed, so that networks share most of their first images. Of an untrained network, which may be
    right about a single class, all images are taken.
    """
    model, weights = robust.trained(cell, store)
    key = (cell["data_set"], cell["seed"], cell["images"], weights)
    if key not in _CHOSEN:
        _CHOSEN.clear()
        is_trained = cell["epochs"] > 0 or cell["network"] not in networks.ARCHITECTURES
        _CHOSEN[key] = _choose(model, *key[:3], is_trained=is_trained)
    return model, *_CHOSEN[key]


_CHOSEN: dict[tuple, tuple] = {}        # the last choice is kept, since many cells share a network


def _choose(model: nn.Module, data_set: str, seed: int, images: int, is_trained: bool) -> tuple[Tensor, Tensor, Tensor]:
    test, _ = natural.load_split(data_set, "test")
    most = max(20 * images, 400)      # enough for partners of the same class
    choose = correctly_classified if is_trained else _all_images
    x, labels, places = choose(model, test.images, test.labels, seed, most=most)
    if len(x) < images:
        raise ValueError(f"Only {len(x)} of {min(most, len(test.images))} images are classified correctly, fewer than "
                         f"the {images} that were asked for.")
    rows = torch.arange(len(x), device=x.device)
    rows, others = rows[:5 * images], rows[5 * images:]
    same_class = labels[rows[:images], None] == labels[rows]
    lonely = labels[rows[:images]][same_class.sum(1) == 1]      # classes so rare that an image has no partner yet
    rows = torch.cat([rows, others[torch.isin(labels[others], lonely)]])
    return x[rows], labels[rows], places[rows.cpu()]


def _all_images(model: nn.Module, images: Tensor, labels: Tensor, seed: int,
                most: int) -> tuple[Tensor, Tensor, Tensor]:
    """As :func:`correctly_classified`, but of all images, whatever the model predicts."""
    order = torch.randperm(len(images), generator=torch.Generator().manual_seed(seed))[:most]
    return training.as_float(images[order]).to(device()), labels[order].to(device()), order


def partners(labels: Tensor, cell: dict) -> list[Tensor]:
    """Rows of other images for each image, of its class or of another one: `PARTNERS` tensors (n,)."""
    labels, places = labels.cpu(), torch.arange(len(labels))
    chosen = []
    for place in range(cell["images"]):
        same_class = labels == labels[place]
        wanted = same_class if cell["attack"] == "same_class" else ~same_class
        eligible = (wanted & (places != place)).nonzero().flatten()
        if not len(eligible):
            raise ValueError(f"Image {place} has no partner of the {cell['attack'].replace('_', ' ')}; ask for more "
                             "images.")
        chosen.append(eligible.roll(-place)[torch.arange(PARTNERS) % len(eligible)])
    return list(torch.stack(chosen, 1))
