"""All experiments, and the numbers of all chapters, by name."""

from collections.abc import Collection
from importlib import import_module

from fragility import checks
from lab.chapters.attacks import targeted, variants
from lab.chapters.fragility import comparison, portrait_sizes, portraits, unattacked
from lab.chapters.influence import dimension, directions, influences, pairs, resolution
from lab.chapters.lens import metric_comparison, photographs, seeds, separation
from lab.chapters.roar import path_steps, rankings, retraining, toy, trainings
from lab.chapters.scoreboard import scoreboard
from lab.chapters.shift import invariance, kittens, patterns, references
from lab.chapters.shift import portraits as digits
from lab.chapters.transformers import perturbed, questions
from lab.core.experiment import Experiment
from lab.core.numbers import Chapter
from lab.core.store import canonical
from lab.trained import natural, robust

EXPERIMENTS: dict[str, Experiment] = {each.name: each for each in (
    natural.EXPERIMENT, comparison.EXPERIMENT, comparison.SMALL, unattacked.EXPERIMENT,
    patterns.EXPERIMENT, invariance.EXPERIMENT, kittens.EXPERIMENT, references.EXPERIMENT,
    references.SHOWN, digits.EXPERIMENT, influences.EXPERIMENT, pairs.EXPERIMENT, directions.EXPERIMENT,
    dimension.EXPERIMENT,
    resolution.EXPERIMENT, variants.EXPERIMENT, targeted.EXPERIMENT,
    robust.EXPERIMENT, metric_comparison.EXPERIMENT, seeds.EXPERIMENT, separation.EXPERIMENT,
    photographs.ATTACKED, photographs.NOISE, portraits.EXPERIMENT, portrait_sizes.EXPERIMENT, trainings.EXPERIMENT,
    rankings.EXPERIMENT, path_steps.EXPERIMENT, retraining.EXPERIMENT, toy.EXPERIMENT, scoreboard.EXPERIMENT,
    perturbed.EXPERIMENT, questions.EXPERIMENT)}

#: Notebooks whose text has numbers.
CHAPTERS = ("attacks", "fragility", "influence", "lens", "roar", "scoreboard", "shift", "transformers")


def experiment(name: str) -> Experiment:
    """The experiment of that name; ValueError lists the names where there is none."""
    return EXPERIMENTS[checks.choice("Experiment", name, EXPERIMENTS)]


def with_sources(names: Collection[str], profile: str) -> list[tuple[Experiment, list[dict]]]:
    """The cells of experiments at a profile, and before them those of every experiment that these read, in an order in
    which they can be computed."""
    return closure({reader.name: reader.cells(reader.at(profile)) for reader in map(experiment, names)}, profile)


def closure(wanted: dict[str, list[dict]], profile: str) -> list[tuple[Experiment, list[dict]]]:
    """Cells by experiment, and before them the cells that they read, in an order in which they can be computed.

    Of an experiment that does not tell its readers' cells apart these are its whole grid at the profile.
    """
    cells = {name: {canonical(cell): cell for cell in some} for name, some in wanted.items()}

    def visit(reader: Experiment) -> None:
        for source in map(experiment, reader.reads):
            if source.serves is None:
                needed = source.cells(source.at(profile)) if cells[reader.name] else []
            else:
                needed = [served for cell in cells[reader.name].values() for served in source.serves(cell)]
            cells.setdefault(source.name, {}).update({canonical(cell): cell for cell in needed})
            visit(source)

    for name in wanted:
        visit(experiment(name))
    ordered = sorted((experiment(other) for other, needed in cells.items() if needed or other in wanted), key=_depth)
    return [(each, list(cells[each.name].values())) for each in ordered]


def _depth(reader: Experiment) -> int:
    """Length of the longest chain of experiments that this one reads, directly or not."""
    return 1 + max((_depth(experiment(name)) for name in reader.reads), default=-1)


def chapter(notebook: str) -> Chapter:
    """The numbers of a notebook's text; ValueError lists the notebooks that have some."""
    name = checks.choice("Chapter", notebook, CHAPTERS)
    # Only here, since they draw: the figures' libraries take longer to import than all verdicts to compute.
    return import_module(f"lab.chapters.{name}.statements").NUMBERS
