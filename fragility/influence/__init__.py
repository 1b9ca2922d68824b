"""Influence of training examples on a prediction, and how an image can be changed so that others matter."""

from fragility.influence.attack import influence_gradient, influence_sign
from fragility.influence.head import (
    LOSSES,
    Head,
    factor,
    fit_head,
    gradients,
    hessian,
    influences,
    logits,
    losses,
)

__all__ = ["LOSSES", "Head", "factor", "fit_head", "gradients", "hessian", "influence_gradient", "influence_sign",
           "influences", "logits", "losses"]
