"""Small networks of today's kinds, by torchvision's own classes: vision transformers and ConvNeXts.

All take images in [0, 1] and normalise inside themselves.
"""

from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import nn

from fragility import Normalised

HALF = 0.5, 0.25        # mean and deviation of the normalisation, of every channel


def vit(side: int, channels: int, patch: int, width: int, depth: int) -> nn.Module:
    """A vision transformer [dosovitskiy2021] of `depth` layers of four heads, on patches of that side.

    Its head starts from small random weights: torchvision's zeros give the logits no derivative in the image, and every
    map of a network that was not trained would be empty.
    """
    from torchvision.models.vision_transformer import VisionTransformer

    network = VisionTransformer(side, patch, depth, num_heads=4, hidden_dim=width, mlp_dim=4 * width, num_classes=10)
    network.conv_proj = nn.Conv2d(channels, width, patch, patch)        # torchvision's is for three channels
    nn.init.trunc_normal_(network.conv_proj.weight, std=(channels * patch**2) ** -0.5)
    nn.init.zeros_(network.conv_proj.bias)
    nn.init.trunc_normal_(network.heads.head.weight, std=0.02)
    return _normalised(network, channels)


def convnext(channels: int, stem: int, widths: Sequence[int], blocks: int) -> nn.Module:
    """A ConvNeXt [liu2022] of as many blocks at each width; its stem takes patches of side `stem`, not of four pixels,
    after which a small image would have few places left."""
    from torchvision.models.convnext import CNBlockConfig, ConvNeXt

    following = [*widths[1:], None]
    network = ConvNeXt([CNBlockConfig(width, after, blocks) for width, after in zip(widths, following)], num_classes=10)
    network.features[0][0] = nn.Conv2d(channels, widths[0], stem, stem)
    nn.init.trunc_normal_(network.features[0][0].weight, std=0.02)
    nn.init.zeros_(network.features[0][0].bias)
    return _normalised(network, channels)


def _normalised(network: nn.Module, channels: int) -> nn.Module:
    mean, deviation = (torch.full((channels,), value) for value in HALF)
    return Normalised(network, mean, deviation)


#: name -> function that makes the network with its initial weights.
MODERN: dict[str, Callable[[], nn.Module]] = {
    "mnist-vit": partial(vit, 28, 1, patch=7, width=64, depth=3),
    "mnist-convnext": partial(convnext, 1, stem=2, widths=(16, 32), blocks=1),
    "cifar-vit": partial(vit, 32, 3, patch=4, width=128, depth=5),
    "cifar-convnext": partial(convnext, 3, stem=2, widths=(48, 96, 192), blocks=2),
}
#: Those with attention between all tokens of an image, of which there are rollouts.
TRANSFORMERS = ("mnist-vit", "cifar-vit")
