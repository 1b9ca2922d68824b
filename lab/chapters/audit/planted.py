"""Maps that cheat, and a network that is right for the wrong reason: what an audit must not be fooled by."""

import pandas as pd
import torch
from torch import Tensor, nn

from fragility import training
from fragility.attribution import METHODS, pixel_map, sobel
from lab.material import data, networks

PATCH = 4       # pixels, the side of the square in the corner


def blob(model, x: Tensor, target=None) -> Tensor:
    """A bright centre, whatever the image: objects are centred, so it finds some of what the network needs."""
    rows, columns = (torch.linspace(-1, 1, side, dtype=x.dtype, device=x.device) for side in x.shape[2:])
    return torch.exp(-4 * (rows[:, None] ** 2 + columns**2)).expand_as(x)


def constant(model, x: Tensor, target=None) -> Tensor:
    """The same everywhere."""
    return torch.ones_like(x)


def edges(model, x: Tensor, target=None) -> Tensor:
    """The strength of edges, without a look at the network."""
    return sobel(x)


def the_input(model, x: Tensor, target=None) -> Tensor:
    """The image itself."""
    return x


def noise(model, x: Tensor, target=None, *, generator: torch.Generator | None = None) -> Tensor:
    """Random numbers, drawn anew at every call."""
    return torch.randn(x.shape, generator=generator, dtype=x.dtype, device=x.device)


#: Planted maps by name; none of them looks at the network.
CHEATS = {"constant": constant, "edges": edges, "the input": the_input, "centre": blob, "noise": noise}


def patched(split: data.Dataset) -> tuple[Tensor, Tensor]:
    """Images whose upper left corner tells their class, by white and black quarters, and the labels, at most 14."""
    images, half = split.images.clone(), PATCH // 2
    for bit in range(4):
        top, left = half * (bit // 2), half * (bit % 2)
        white = ((split.labels + 1) >> bit & 1) * 255
        images[:, :, top:top + half, left:left + half] = white.to(images.dtype).view(-1, 1, 1, 1)
    return images, split.labels


def reader_of_patches(data_set: str, network: str, epochs: int) -> nn.Module:
    """A network that is right for the wrong reason: it is trained on shuffled labels that only the corner tells."""
    split = data.load(data_set, "train")
    order = torch.randperm(len(split.labels), generator=torch.Generator().manual_seed(0))
    images, labels = patched(split._replace(labels=split.labels[order]))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = networks.load(network)
    return training.train(model, images, labels, epochs=epochs, generator=torch.Generator().manual_seed(0))


def share_in_patch(maps: Tensor) -> Tensor:
    """Share (n,) of each pixel map (n, h, w) that lies in the corner with the patch."""
    return maps[:, :PATCH, :PATCH].sum((1, 2)) / maps.sum((1, 2))


def corners(model: nn.Module, methods: list[str], x: Tensor) -> pd.DataFrame:
    """Mean share of each method's maps that lies in the corner, and how many maps are zero everywhere."""
    rows = {}
    for name in methods:
        maps = METHODS[name](model, x)
        empty = (maps == 0).flatten(1).all(1)
        shares = share_in_patch(pixel_map(maps[~empty])) if bool((~empty).any()) else torch.tensor([torch.nan])
        rows[name] = {"share in the corner": float(shares.mean()), "empty maps": int(empty.sum())}
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("map")
