"""Train classifiers on data that live on the device: plainly, under augmentation, or to withstand attacks."""

from fragility.training.augmentation import FlipShift, RandomCrop
from fragility.training.loop import (
    DECAYS,
    RECIPES,
    WARM_UP,
    Augment,
    Loss,
    accuracy,
    as_float,
    check_examples,
    fast_bf16,
    train,
)
from fragility.training.robust import Ball, ig_norm, ig_sum_norm, loss_attribution, maximise_in_ball, pgd, withstands
from fragility.training.together import train_together

__all__ = ["DECAYS", "RECIPES", "WARM_UP", "Augment", "Ball", "FlipShift", "Loss", "RandomCrop", "accuracy", "as_float",
           "check_examples", "fast_bf16", "ig_norm", "ig_sum_norm", "loss_attribution", "maximise_in_ball", "pgd",
           "train", "train_together", "withstands"]
