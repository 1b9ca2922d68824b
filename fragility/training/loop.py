"""The training loop, on data that live on the device: no loader processes, no copies an epoch."""

import copy
from collections.abc import Callable
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fragility import checks
from fragility.passes import logits_of, predict

Augment = Callable[[Tensor, torch.Generator], Tensor]
Loss = Callable[[nn.Module, Tensor, Tensor], Tensor]

DECAYS = (30, 60, 80)        # epochs after which the rate of the staircase falls to a tenth [hooker2019, table 1]
WARM_UP = 5                  # epochs of its linear rise
_ACCURACY_BATCH = 256


def train(model: nn.Module, images: Tensor, labels: Tensor, *, epochs: int, batch_size: int = 128,
          learning_rate: float = 2e-3, label_smoothing: float = 0.1, recipe: str = "one-cycle",
          augment: Augment | None = None, loss: Loss | None = None, generator: torch.Generator) -> nn.Module:
    """Train a classifier in place; returns it in evaluation mode, its weights in the usual memory format.

    Convolutions run channels-last, and in bfloat16 where the processor multiplies it fast (:func:`fast_bf16`); on one,
    networks with layer normalisation or attention stay in float32.

    Parameters
    ----------
    images, labels
        uint8 (n, c, h, w), or floats in [0, 1], and int64 (n,); moved to the model's device once.
    epochs, batch_size
        Passes over the data; the last, smaller batch of an epoch is dropped.
    learning_rate
        Peak of the schedule.
    recipe
        "one-cycle": AdamW on a one-cycle schedule. "staircase": Nesterov momentum with a warm-up and three
        tenfold drops of the learning rate, as [hooker2019] trains a ResNet-50.
    augment
        Function (x, generator) of each float batch, on the device, such as :class:`FlipShift`.
    loss
        What is minimised: (model, x, labels) -> scalar, such as :func:`pgd` makes, in float32. None takes
        the cross-entropy with `label_smoothing`.
    generator
        Draws the order of the batches and what `augment` needs; with the initial weights it determines the result.

    Raises
    ------
    ValueError
        Images of another type, shape or range, labels that do not fit, or a number out of range.
    """
    checks.integer("epochs", epochs, 1)
    checks.choice("recipe", recipe, RECIPES)
    checks.real("learning_rate", learning_rate, 0, exclusive=True)
    checks.real("label_smoothing", label_smoothing, 0, 1)
    check_examples(copy.deepcopy(model).eval(), images, labels)
    checks.integer("batch_size", batch_size, 1, len(images))
    device = next(model.parameters()).device
    images, labels = images.to(device), labels.to(device)
    default_loss = partial(_label_smoothed_loss, label_smoothing)
    steps = len(images) // batch_size
    optimiser, schedule = RECIPES[recipe](model, learning_rate, epochs, steps)
    in_bf16 = loss is None and _gains_from_bf16(model, device)
    model.train().to(memory_format=torch.channels_last)
    for _ in range(epochs):
        order = torch.randperm(len(images), generator=generator).to(device)
        for rows in order[:steps * batch_size].view(steps, batch_size):
            x = as_float(images[rows])
            x = (augment(x, generator) if augment else x).contiguous(memory_format=torch.channels_last)
            with torch.autocast(device.type, torch.bfloat16, enabled=in_bf16):
                value = (loss or default_loss)(model, x, labels[rows])
            optimiser.zero_grad()
            value.backward()
            optimiser.step()
            schedule.step()
    return model.eval().to(memory_format=torch.contiguous_format)


def _label_smoothed_loss(smoothing: float, model: nn.Module, x: Tensor, labels: Tensor) -> Tensor:
    return F.cross_entropy(model(x), labels, label_smoothing=smoothing)


def _one_cycle(model: nn.Module, rate: float, epochs: int, steps: int):
    optimiser = torch.optim.AdamW(model.parameters(), lr=rate, weight_decay=1e-2, fused=True)
    return optimiser, torch.optim.lr_scheduler.OneCycleLR(optimiser, rate, total_steps=epochs * steps)


def _staircase(model: nn.Module, rate: float, epochs: int, steps: int):
    """Weight decay of 1e-4 on everything but batch norm."""
    normalised = {p for part in model.modules() if isinstance(part, nn.modules.batchnorm._BatchNorm)
                  for p in part.parameters()}
    groups = [{"params": [p for p in model.parameters() if p not in normalised], "weight_decay": 1e-4},
              {"params": list(normalised)}]
    optimiser = torch.optim.SGD([group for group in groups if group["params"]], lr=rate, momentum=0.9, nesterov=True)

    def share(step: int) -> float:
        epoch = step / steps
        return min(1.0, (step + 1) / (WARM_UP * steps)) * 0.1 ** sum(epoch >= decay for decay in DECAYS)

    return optimiser, torch.optim.lr_scheduler.LambdaLR(optimiser, share)


#: name -> (model, rate, epochs, steps an epoch) -> optimiser and schedule.
RECIPES = {"one-cycle": _one_cycle, "staircase": _staircase}


def fast_bf16(device: torch.device) -> bool:
    """Whether the processor multiplies bfloat16 faster than float32: where it emulates it, it is slower."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    capabilities = torch.cpu.get_capabilities() if device.type == "cpu" else {}
    return bool(capabilities.get("amx_bf16") or capabilities.get("avx512_bf16"))    # 2 to 4 times the speed of float32


def _gains_from_bf16(model: nn.Module, device: torch.device) -> bool:
    """Layer normalisation and attention lose on a processor what the products gain: small ConvNeXts and vision
    transformers take 1.0 to 3.4 times as long a step as in float32, where convolutional networks take a half."""
    normalises = any(isinstance(part, (nn.LayerNorm, nn.MultiheadAttention)) for part in model.modules())
    return fast_bf16(device) and not (device.type == "cpu" and normalises)


def accuracy(model: nn.Module, images: Tensor, labels: Tensor) -> float:
    """Share of images (n, c, h, w), uint8 or floats in [0, 1], whose label (n,) is predicted.

    ValueError for a model in training mode, and for images and labels that do not fit.
    """
    check_examples(model, images, labels)
    device = next(model.parameters()).device
    predicted = torch.cat([predict(model, as_float(part.to(device))) for part in images.split(_ACCURACY_BATCH)])
    return (predicted == labels.to(device)).float().mean().item()


def as_float(images: Tensor) -> Tensor:
    """Images in [0, 1]: uint8 divided by 255, floats as they are."""
    return images.float() / 255 if images.dtype == torch.uint8 else images


def check_examples(model: nn.Module, images: Tensor, labels: Tensor) -> None:
    """ValueError unless `model`, in evaluation mode, can be trained or tested on these images and labels.

    Images (n, c, h, w), uint8 or floats in [0, 1] of the weights' precision; labels (n,), int64, among the model's
    classes. One image goes through the model, to count them.
    """
    checks.model(model)
    if not isinstance(images, Tensor) or images.ndim != 4 or not (
            images.dtype == torch.uint8 or images.is_floating_point()):
        seen = f"{images.dtype} {tuple(images.shape)}" if isinstance(images, Tensor) else type(images).__name__
        raise ValueError(f"images must be a tensor (n, c, h, w) of uint8, or of floats in [0, 1], but they are {seen}.")
    if not isinstance(labels, Tensor) or labels.dtype != torch.int64 or labels.shape != images.shape[:1]:
        seen = f"{labels.dtype} {tuple(labels.shape)}" if isinstance(labels, Tensor) else type(labels).__name__
        raise ValueError(f"labels must be an int64 tensor (n,), one for each of the {len(images)} images, but they are "
                         f"{seen}.")
    if not len(images):
        raise ValueError("images must not be empty.")
    if images.is_floating_point():
        checks.images(images, unit_range=True, name="images")
    weights = next(model.parameters())
    one = as_float(images[:1])
    if one.dtype != weights.dtype:
        raise ValueError(f"The model's weights are {weights.dtype}, but the images are {one.dtype}; convert one of "
                         "them.")
    classes, low, high = logits_of(model, one.to(weights.device)).shape[1], int(labels.min()), int(labels.max())
    if low < 0 or high >= classes:
        raise ValueError(f"labels span {low} to {high}, but the model has classes 0 to {classes - 1}.")
