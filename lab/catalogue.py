"""All experiments by name."""

from fragility import checks
from lab.chapters.attacks import targeted, variants
from lab.chapters.fragility import comparison, portraits
from lab.chapters.influence import dimension, directions, influences, pairs, resolution
from lab.chapters.lens import metric_comparison, photographs, seeds, separation
from lab.chapters.roar import path_steps, rankings, removal, toy, trainings
from lab.chapters.shift import invariance, kittens, patterns, references
from lab.core.experiment import Experiment
from lab.trained import natural, robust

EXPERIMENTS: dict[str, Experiment] = {one.name: one for one in (
    natural.EXPERIMENT, comparison.EXPERIMENT, comparison.SMALL, patterns.EXPERIMENT, invariance.EXPERIMENT,
    kittens.EXPERIMENT, references.EXPERIMENT, references.SHOWN, influences.EXPERIMENT, pairs.EXPERIMENT,
    directions.EXPERIMENT, dimension.EXPERIMENT, resolution.EXPERIMENT, variants.EXPERIMENT, targeted.EXPERIMENT,
    robust.EXPERIMENT, metric_comparison.EXPERIMENT, seeds.EXPERIMENT, separation.EXPERIMENT,
    photographs.ATTACKED, photographs.NOISE, portraits.EXPERIMENT, trainings.EXPERIMENT, rankings.EXPERIMENT,
    path_steps.EXPERIMENT, removal.EXPERIMENT, toy.EXPERIMENT)}


def experiment(name: str) -> Experiment:
    """The experiment of a name; ValueError lists the names."""
    return EXPERIMENTS[checks.choice("Experiment", name, EXPERIMENTS)]
