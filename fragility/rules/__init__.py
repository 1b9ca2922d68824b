"""Derivatives swapped everywhere in a model, without touching it: one mechanism for every back-propagation method."""

from fragility.rules.first import first_weighted, refuse_bypass
from fragility.rules.twin import Twin, aside

__all__ = ["Twin", "aside", "first_weighted", "refuse_bypass"]
