"""What every benchmark shares: the network, the images, and how much to measure."""
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import torch
from torch import nn
from torch.nn.functional import interpolate
from torchvision.io import ImageReadMode, decode_image
from torchvision.models import squeezenet1_0
from torchvision.transforms.v2.functional import center_crop, resize, to_dtype

SUFFIXES = {".jpg", ".jpeg", ".png"}


class Normalise(nn.Module):
    """Images in [0, 1] -> what torchvision's weights expect."""

    def __init__(self):
        super().__init__()
        self.register_buffer("mean", torch.tensor([0.485, 0.456, 0.406]).view(1, 3, 1, 1))
        self.register_buffer("std", torch.tensor([0.229, 0.224, 0.225]).view(1, 3, 1, 1))

    def forward(self, x):
        return (x - self.mean) / self.std


def squeezenet(weights=None):
    """SqueezeNet 1.0 in eval mode: seeded random weights, or a safetensors file with torchvision's keys."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = squeezenet1_0(weights=None)
    if weights:
        from safetensors.torch import load_file
        network.load_state_dict(load_file(weights))
    return nn.Sequential(Normalise(), network).eval()


def synthetic(n, size):
    """Smooth coloured images (n, 3, size, size): random grids of three scales, upsampled and summed."""
    generator = torch.Generator().manual_seed(0)
    image = torch.zeros(n, 3, size, size)
    for cells, height in ((3, 1.5), (7, 0.75), (15, 0.375)):
        grid = height * torch.randn(n, 3, cells, cells, generator=generator)
        image += interpolate(grid, (size, size), mode="bicubic", align_corners=False)
    return image.sigmoid()


def read_images(folder, n, size):
    """The first n pictures below `folder`, by path: shorter side to size * 256 / 227, then the centre."""
    paths = sorted(path for path in Path(folder).rglob("*") if path.suffix.lower() in SUFFIXES)[:n]
    if len(paths) < n:
        raise ValueError(f"{folder} holds {len(paths)} .jpg or .png images; this benchmark needs {n}.")
    pictures = (decode_image(str(path), mode=ImageReadMode.RGB) for path in paths)
    shorter = size * 256 // 227
    return torch.stack([to_dtype(center_crop(resize(picture, [shorter], antialias=True), [size, size]),
                                 torch.float32, scale=True) for picture in pictures])


@dataclass(frozen=True)
class Setup:
    quick: bool = False             # smallest work that runs every line: the ratios mean nothing
    weights: str | None = None      # SqueezeNet 1.0, torchvision's keys
    images: str | None = None       # a folder of pictures in place of the synthetic ones
    device: str = "cpu"             # where both sides run

    @property
    def repeats(self):
        return 2 if self.quick else 5

    @property
    def size(self):
        return 64 if self.quick else 227

    @cached_property
    def model(self):
        return squeezenet(self.weights).to(self.device)

    def batch(self, n=8):
        """Images (n, 3, size, size) in [0, 1]; one only when quick."""
        n = 1 if self.quick else n
        x = read_images(self.images, n, self.size) if self.images else synthetic(n, self.size)
        return x.to(self.device)

    @torch.no_grad()
    def labels(self, x):
        """Given to both sides, so that neither spends a forward pass on finding them."""
        return self.model(x).argmax(1)


def require_same(ours, peer, tolerance=0.02):
    """Refuse to time two calls that compute different things. The default allows for memory layouts."""
    distance = float((ours - peer).norm() / peer.norm())
    if not distance <= tolerance:
        raise RuntimeError(f"The two sides disagree: relative distance {distance:.3g}, allowed {tolerance}. "
                           "A ratio of their times would compare different work; find what is wrong first.")
