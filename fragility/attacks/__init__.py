"""Perturb images so that their maps change and their labels do not."""

from fragility.attacks.directions import DoubleBackprop, FiniteDifference
from fragility.attacks.loop import Attacked, attack
from fragility.attacks.noise import random_sign
from fragility.attacks.objectives import MassCenter, Target, TopK

__all__ = ["Attacked", "DoubleBackprop", "FiniteDifference", "MassCenter", "Target", "TopK", "attack", "random_sign"]
