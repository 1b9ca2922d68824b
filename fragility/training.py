"""Training on data that live on the device: no loader processes, no copies an epoch."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fragility import checks
from fragility.attribution.output import predict
from fragility.data import unit


def train(model: nn.Module, images: Tensor, labels: Tensor, *, epochs: int, batch_size: int = 128,
          learning_rate: float = 2e-3, label_smoothing: float = 0.1, generator: torch.Generator) -> nn.Module:
    """Train a classifier in place with AdamW on a one-cycle schedule; returns it in evaluation mode.

    Parameters
    ----------
    images, labels
        uint8 (n, c, h, w) and int64 (n,), moved to the model's device once.
    epochs, batch_size
        Passes over the data; the last, smaller batch of an epoch is dropped.
    learning_rate
        Peak of the cycle.
    generator
        Order of the batches; with the initial weights it decides the result.
    """
    checks.whole("epochs", epochs, 1)
    checks.whole("batch_size", batch_size, 1, len(images))
    if images.dtype != torch.uint8 or images.ndim != 4 or labels.shape != images.shape[:1]:
        raise ValueError(f"Training needs uint8 images (n, c, h, w) and as many labels, but got {images.dtype} "
                         f"{tuple(images.shape)} and {tuple(labels.shape)}.")
    device = next(model.parameters()).device
    images, labels = images.to(device), labels.to(device)
    steps = len(images) // batch_size
    optimiser = torch.optim.AdamW(model.parameters(), lr=learning_rate, weight_decay=1e-2)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, learning_rate, total_steps=epochs * steps)
    model.train()
    for _ in range(epochs):
        order = torch.randperm(len(images), generator=generator).to(device)
        for rows in order[:steps * batch_size].view(steps, batch_size):
            loss = F.cross_entropy(model(unit(images[rows])), labels[rows], label_smoothing=label_smoothing)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
    return model.eval()


def accuracy(model: nn.Module, images: Tensor, labels: Tensor) -> float:
    """Share of uint8 images (n, c, h, w) whose label is predicted."""
    device = next(model.parameters()).device
    predicted = predict(model, unit(images).to(device))
    return (predicted == labels.to(device)).float().mean().item()
