"""Influence as the published code computes it, step by step, to measure the effect of its choices [ghorbani2019].

The head is trained by Adam on the squared error of its sigmoid, without a penalty; its Hessian, undamped and in
single precision, is inverted as it is. With more weights than training images that Hessian has no inverse, and
with this loss it need not be positive definite: part of the result is then rounding error.
"""

import torch
from torch import Tensor

from fragility import influence

EPOCHS, BATCH, RATE, SEED = 10, 100, 1e-3, 22


def fit(features: Tensor, labels: Tensor) -> influence.Head:
    """A sigmoid unit on features (n, d), labels 0 and 1: Glorot's initial weights, 10 epochs of batches of 100."""
    generator = torch.Generator().manual_seed(SEED)
    inputs, targets = features.detach().cpu().float(), labels.cpu().float()      # random draws differ between devices
    bound = (6 / (inputs.shape[1] + 1)) ** 0.5
    weight = (bound * (2 * torch.rand(inputs.shape[1], 1, generator=generator) - 1)).requires_grad_()
    bias = torch.zeros(1, requires_grad=True)
    optimizer = torch.optim.Adam([weight, bias], lr=RATE)
    for _ in range(EPOCHS):
        for rows in torch.randperm(len(inputs), generator=generator).split(BATCH):
            predicted = (inputs[rows] @ weight + bias).sigmoid().squeeze(1)
            optimizer.zero_grad()
            (predicted - targets[rows]).square().sum().backward()
            optimizer.step()
    return influence.Head(torch.cat([weight.mT, bias[None]], 1).detach().double().to(features.device), "squared", 0.0)


def influences(head: influence.Head, train: tuple[Tensor, Tensor], features: Tensor, labels: Tensor) -> Tensor:
    """Influences (n, training images) on the loss of images with these features and labels."""
    # A pseudo-inverse that keeps every eigenvalue: what an inverse gives, and defined where one is exactly zero.
    inverse = torch.linalg.pinv(influence.hessian(head, *train).float(), rtol=0.0).double()
    return influence.gradients(head, features, labels) @ inverse @ influence.gradients(head, *train).mT


def spectrum(head: influence.Head, train: tuple[Tensor, Tensor]) -> tuple[int, int]:
    """Rank of the Hessian and how many of its eigenvalues are negative."""
    values = torch.linalg.eigvalsh(influence.hessian(head, *train))
    level = 1e-10 * values.abs().max()
    return int((values.abs() > level).sum()), int((values < -level).sum())
