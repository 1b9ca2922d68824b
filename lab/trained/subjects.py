"""The images on which a network's maps are compared: those it classifies correctly, in the order of a seed."""

from functools import lru_cache

import torch
from torch import Tensor, nn

from fragility import training
from fragility.passes import logits_of
from lab.core.device import device
from lab.core.store import Store, fingerprint
from lab.material import data, networks
from lab.trained import natural


def correctly_classified(model: nn.Module, images: Tensor, labels: Tensor, seed: int, *, side: int | None = None,
                         most: int | None = None) -> tuple[Tensor, Tensor, Tensor]:
    """Images (n, c, h, w) in [0, 1] that a model classifies correctly, their labels and their rows in `images`.

    Candidates are the first `most` of the uint8 `images` in the random order of `seed`, cut at the centre to `side`.
    """
    order = torch.randperm(len(images), generator=torch.Generator().manual_seed(seed))[:most]
    side = side or images.shape[-1]
    x, labels = training.as_float(data.centre_crop(images[order], side)).to(device()), labels[order].to(device())
    correct = logits_of(model, x).argmax(1) == labels
    return x[correct], labels[correct], order[correct.cpu()]


def inputs(cell: dict, store: Store) -> dict:
    """Fingerprints of the data and weights of a cell whose network is trained naturally."""
    weights = natural.weights_identity(cell, store)
    return {"data": fingerprint(*_sample(cell["data_set"])[:2]), "weights": weights}


def subjects(cell: dict, store: Store) -> tuple[nn.Module, Tensor, Tensor]:
    """Model, clean images in [0, 1] and labels of a cell: the first correctly classified ones of its seed."""
    model, _ = natural.trained(cell, store)
    x = candidates(cell, store)
    if len(x) < cell["images"]:
        raise ValueError(f"Only {len(x)} images of {cell['data_set']} are classified correctly, fewer than the "
                         f"{cell['images']} that were asked for.")
    x = x[:cell["images"]]
    return model, x, logits_of(model, x).argmax(1)


def candidates(cell: dict, store: Store) -> Tensor:
    """All images (n, c, h, w) that the cell's network classifies correctly, in the order of the cell's seed."""
    model, weights = natural.trained(cell, store)
    key = (cell["data_set"], cell["network"], cell["seed"], weights)
    if key not in _CHOSEN:
        images, labels, _, _ = _sample(cell["data_set"])
        _CHOSEN.clear()
        _CHOSEN[key], _, _ = correctly_classified(model, images, labels, cell["seed"],
                                                  side=networks.IMAGE_SIDE.get(cell["network"]))
    return _CHOSEN[key]


_CHOSEN: dict[tuple, Tensor] = {}       # the last choice is kept, since many cells share a network


@lru_cache(maxsize=2)
def _sample(name: str) -> data.Dataset:
    return data.load(name, "all" if data.is_unsplit(name) else "test")
