"""Long measurements as grids of cells; one module an experiment, each cell a record of the store."""

from fragility import checks
from fragility.experiments import (
    dimension,
    directions,
    fragile,
    influence_pairs,
    influences,
    invariance,
    kittens,
    lens,
    networks,
    path_steps,
    patterns,
    photographs,
    portraits,
    rankings,
    references,
    repeats,
    roar,
    robust,
    separation,
    toy,
    trainings,
    variants,
)
from fragility.experiments.base import Experiment, collect, plan, run_cells

EXPERIMENTS: dict[str, Experiment] = {one.name: one for one in (
    networks.EXPERIMENT, fragile.EXPERIMENT, fragile.SMALL, patterns.EXPERIMENT, invariance.EXPERIMENT,
    kittens.EXPERIMENT, references.EXPERIMENT, references.SHOWN, influences.EXPERIMENT, influence_pairs.EXPERIMENT,
    directions.EXPERIMENT,
    dimension.EXPERIMENT, dimension.RESOLUTION, variants.EXPERIMENT, variants.TARGETED, robust.EXPERIMENT,
    lens.EXPERIMENT, repeats.EXPERIMENT, separation.EXPERIMENT, photographs.ATTACKED, photographs.NOISE,
    portraits.EXPERIMENT, trainings.EXPERIMENT, rankings.EXPERIMENT, path_steps.EXPERIMENT, roar.EXPERIMENT,
    toy.EXPERIMENT)}


def named(name: str) -> Experiment:
    """The experiment of a name; ValueError lists the names."""
    return EXPERIMENTS[checks.choice("Experiment", name, EXPERIMENTS)]


__all__ = ["EXPERIMENTS", "Experiment", "collect", "named", "plan", "run_cells"]
