"""Long measurements as grids of cells; one module an experiment, each cell a record of the store."""

from fragility import checks
from fragility.experiments import fragile, invariance, kittens, networks, patterns, references
from fragility.experiments.base import Experiment, collect, plan, run_cells

EXPERIMENTS: dict[str, Experiment] = {one.EXPERIMENT.name: one.EXPERIMENT for one in (
    networks, fragile, patterns, invariance, kittens, references)}


def named(name: str) -> Experiment:
    """The experiment of a name; ValueError lists the names."""
    return EXPERIMENTS[checks.choice("Experiment", name, EXPERIMENTS)]


__all__ = ["EXPERIMENTS", "Experiment", "collect", "named", "plan", "run_cells"]
