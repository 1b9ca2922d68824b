"""A wrapper that normalises inside the model, so that images stay in [0, 1]."""

import torch
from torch import Tensor, nn


class Normalised(nn.Module):
    """A network behind the normalisation it was trained with, so that x stays in [0, 1].

    Images (n, c, h, w) go to the network as (x - mean) / std; `mean` and `std` hold one number per channel, (c,), in
    units of x.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, network: nn.Module, mean, std):
        super().__init__()
        self.network = network
        self.register_buffer("mean", torch.as_tensor(mean).clone()[:, None, None])
        self.register_buffer("std", torch.as_tensor(std).clone()[:, None, None])

    def forward(self, x: Tensor) -> Tensor:
        return self.network((x - self.mean) / self.std)
