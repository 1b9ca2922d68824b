"""Perturb images so that their maps change and their labels do not."""

from fragility.attacks.directions import DoubleBackprop, FiniteDifference
from fragility.attacks.influence import influence_sign, influence_slope
from fragility.attacks.loop import Attacked, attack
from fragility.attacks.noise import random_sign, random_walk
from fragility.attacks.objectives import LensTopK, MassCenter, Target, TopK
from fragility.attacks.regions import rectangle, superpixel

__all__ = [
    "Attacked", "DoubleBackprop", "FiniteDifference", "LensTopK", "MassCenter", "Target", "TopK", "attack",
    "influence_sign", "influence_slope", "random_sign", "random_walk", "rectangle", "superpixel",
]
