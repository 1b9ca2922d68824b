"""The papers' own small networks, and by name all that are trained here.

They take images in [0, 1] and normalise inside themselves.
"""

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn

from lab.material.modern import MODERN


def mnist_cnn() -> nn.Module:
    """Two convolutions and two linear layers for 28 x 28 digits, about 54,000 weights."""
    return nn.Sequential(
        nn.Conv2d(1, 8, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(8, 16, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(16 * 49, 64), nn.ReLU(), nn.Linear(64, 10))


def mnist_mlp() -> nn.Module:
    """Three hidden layers of 1,024 ReLU, the network of [kindermans2019, section 2]."""
    sizes = (784, 1024, 1024, 1024)
    hidden = [part for pair in zip(sizes, sizes[1:]) for part in (nn.Linear(*pair), nn.ReLU())]
    return nn.Sequential(nn.Flatten(), *hidden, nn.Linear(1024, 10))


class Residual(nn.Module):
    """x + two convolutions of x, with batch norm, as in a ResNet; a strided one where the width changes."""

    def __init__(self, width_in: int, width: int):
        super().__init__()
        stride = 1 if width_in == width else 2
        self.body = nn.Sequential(nn.Conv2d(width_in, width, 3, stride, 1, bias=False), nn.BatchNorm2d(width),
                                  nn.ReLU(), nn.Conv2d(width, width, 3, 1, 1, bias=False), nn.BatchNorm2d(width))
        self.shortcut = nn.Identity() if stride == 1 else nn.Conv2d(width_in, width, 1, stride, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(self.shortcut(x) + self.body(x))


def mnist_resnet() -> nn.Module:
    """A small ResNet for 28 x 28 digits: three residual blocks of 8, 16 and 32 channels, batch norm."""
    return nn.Sequential(nn.Conv2d(1, 8, 3, 2, 1, bias=False), nn.BatchNorm2d(8), nn.ReLU(), Residual(8, 8),
                         Residual(8, 16), Residual(16, 32), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(32, 10))


def cifar_resnet() -> nn.Module:
    """A small ResNet for 32 x 32 colour images: three residual blocks of 24, 48 and 96 channels, batch norm."""
    return nn.Sequential(nn.Conv2d(3, 24, 3, 2, 1, bias=False), nn.BatchNorm2d(24), nn.ReLU(), Residual(24, 24),
                         Residual(24, 48), Residual(48, 96), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(96, 10))


def cifar_cnn() -> nn.Module:
    """Six convolutions and a linear layer of 1,024: the CIFAR-10 network of [ghorbani2019, appendix A]."""
    widths = ((3, 96, 1), (96, 96, 1), (96, 96, 2), (96, 192, 1), (192, 192, 1), (192, 192, 2))
    features = [part for c, d, stride in widths for part in (nn.Conv2d(c, d, 3, stride, 1), nn.ReLU())]
    return nn.Sequential(*features, nn.Flatten(), nn.Linear(192 * 64, 1024), nn.ReLU(), nn.Linear(1024, 10))


def kamath_mnist() -> nn.Module:
    """Two convolutions of 5 x 5 and a linear layer of 1,024: [kamath2024]'s network for MNIST and Fashion-MNIST.

    Weights start from a truncated normal of deviation 0.1 and biases from 0.1, as in [chen2019].
    """
    network = nn.Sequential(
        nn.Conv2d(1, 32, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(32, 64, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(64 * 49, 1024), nn.ReLU(), nn.Linear(1024, 10))
    for part in network:
        if isinstance(part, (nn.Conv2d, nn.Linear)):
            nn.init.trunc_normal_(part.weight, std=0.1, a=-0.2, b=0.2)
            nn.init.constant_(part.bias, 0.1)
    return network


class PreActivation(nn.Module):
    """x + two convolutions of activated x, without batch norm; leaky ReLU of slope 0.1 [chen2019].

    Where the width grows, the shortcut is averaged down and padded with zero channels. The rules of modified
    back-propagation do not know leaky ReLU; gradients and integrated gradients do.
    """

    def __init__(self, width_in: int, width: int, stride: int):
        super().__init__()
        self.body = nn.Sequential(nn.LeakyReLU(0.1), _he(nn.Conv2d(width_in, width, 3, stride, 1)),
                                  nn.LeakyReLU(0.1), _he(nn.Conv2d(width, width, 3, 1, 1)))
        self.shortcut = nn.AvgPool2d(stride) if stride > 1 else nn.Identity()
        self.extra = (width - width_in) // 2

    def forward(self, x: Tensor) -> Tensor:
        shortcut = self.shortcut(x)
        if self.extra:      # padding by nothing would be a copy
            shortcut = nn.functional.pad(shortcut, (0, 0, 0, 0, self.extra, self.extra))
        return shortcut + self.body(x)


class Standardised(nn.Module):
    """Each image less its mean and over its deviation, which is at least 1 / sqrt(values) of the 255 of a byte."""

    def forward(self, x: Tensor) -> Tensor:
        values = x[0].numel()
        deviation = x.flatten(1).std(1, correction=0).clamp_min(values ** -0.5 / 255)
        return (x - x.mean((1, 2, 3), keepdim=True)) / deviation[:, None, None, None]


def kamath_resnet(classes: int, units: int) -> nn.Module:
    """A pre-activation ResNet of 16, 32 and 64 channels: [kamath2024]'s networks for GTSRB and Flower.

    `units` residual blocks a stage; images are standardised inside.
    """
    stages = [(16, 16, 1), (16, 32, 2), (32, 64, 2)]
    blocks = [PreActivation(width if unit else width_in, width, 1 if unit else stride)
              for width_in, width, stride in stages for unit in range(units)]
    return nn.Sequential(Standardised(), _he(nn.Conv2d(3, 16, 3, 1, 1)), *blocks, nn.LeakyReLU(0.1),
                         nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, classes))


def _he(part: nn.Conv2d) -> nn.Conv2d:
    nn.init.normal_(part.weight, std=(2 / (9 * part.out_channels)) ** 0.5)
    nn.init.zeros_(part.bias)
    return part


#: name -> function that makes the network with its initial weights.
ARCHITECTURES: dict[str, Callable[[], nn.Module]] = {
    "mnist-cnn": mnist_cnn, "mnist-mlp": mnist_mlp, "mnist-resnet": mnist_resnet, "cifar-cnn": cifar_cnn,
    "cifar-resnet": cifar_resnet,
    "kamath-mnist": kamath_mnist, "kamath-gtsrb": partial(kamath_resnet, 43, 2),
    "kamath-flower": partial(kamath_resnet, 17, 1), **MODERN,
}
