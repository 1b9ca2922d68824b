"""Derivatives swapped everywhere in a model, without touching it: one mechanism for every back-propagation method."""

from fragility.rules.first import first_weighted, refuse_bypass
from fragility.rules.model import RuleModel, rules_suspended

__all__ = ["RuleModel", "first_weighted", "refuse_bypass", "rules_suspended"]
