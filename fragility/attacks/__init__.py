"""Perturb images so that their maps change and their labels do not."""

from fragility.attacks.directions import DoubleBackprop, FiniteDifference
from fragility.attacks.loop import Attacked, attack
from fragility.attacks.objectives import LensTopK, MassCenter, Target, TopK
from fragility.attacks.random import random_sign, random_walk
from fragility.attacks.regions import rectangle

__all__ = [
    "Attacked", "DoubleBackprop", "FiniteDifference", "LensTopK", "MassCenter", "Target", "TopK", "attack",
    "random_sign", "random_walk", "rectangle",
]
