"""All experiments, and the numbers of all chapters, by name."""

from collections.abc import Collection

from fragility import checks
from lab.chapters.attacks import targeted, variants
from lab.chapters.attacks.statements import NUMBERS as ATTACKS
from lab.chapters.fragility import comparison, portraits, unattacked
from lab.chapters.fragility.statements import NUMBERS as FRAGILITY
from lab.chapters.influence import dimension, directions, influences, pairs, resolution
from lab.chapters.influence.statements import NUMBERS as INFLUENCE
from lab.chapters.lens import metric_comparison, photographs, seeds, separation
from lab.chapters.roar import path_steps, rankings, retraining, toy, trainings
from lab.chapters.roar.statements import NUMBERS as ROAR
from lab.chapters.shift import invariance, kittens, patterns, references
from lab.chapters.shift.statements import NUMBERS as SHIFT
from lab.core.experiment import Experiment
from lab.core.numbers import Chapter
from lab.core.store import canonical
from lab.trained import natural, robust

EXPERIMENTS: dict[str, Experiment] = {one.name: one for one in (
    natural.EXPERIMENT, comparison.EXPERIMENT, comparison.SMALL, unattacked.EXPERIMENT,
    patterns.EXPERIMENT, invariance.EXPERIMENT, kittens.EXPERIMENT, references.EXPERIMENT,
    references.SHOWN, influences.EXPERIMENT, pairs.EXPERIMENT, directions.EXPERIMENT, dimension.EXPERIMENT,
    resolution.EXPERIMENT, variants.EXPERIMENT, targeted.EXPERIMENT,
    robust.EXPERIMENT, metric_comparison.EXPERIMENT, seeds.EXPERIMENT, separation.EXPERIMENT,
    photographs.ATTACKED, photographs.NOISE, portraits.EXPERIMENT, trainings.EXPERIMENT, rankings.EXPERIMENT,
    path_steps.EXPERIMENT, retraining.EXPERIMENT, toy.EXPERIMENT)}

CHAPTERS: dict[str, Chapter] = {one.notebook: one for one in (ATTACKS, FRAGILITY, INFLUENCE, ROAR, SHIFT)}


def experiment(name: str) -> Experiment:
    """The experiment of a name; ValueError lists the names."""
    return EXPERIMENTS[checks.choice("Experiment", name, EXPERIMENTS)]


def with_sources(names: Collection[str], profile: str) -> list[tuple[Experiment, list[dict]]]:
    """The experiments' cells at a profile, and before them those of all that they read, each after its own sources."""
    tops = [experiment(name) for name in names]
    cells = {top.name: {canonical(cell): cell for cell in top.cells(top.at(profile))} for top in tops}

    def visit(reader: Experiment) -> None:
        for source in map(experiment, reader.reads):
            if source.serves is None:
                asked = source.cells(source.at(profile))
            else:
                asked = [one for cell in cells[reader.name].values() for one in source.serves(cell)]
            cells.setdefault(source.name, {}).update({canonical(cell): cell for cell in asked})
            visit(source)

    for top in tops:
        visit(top)
    ordered = sorted((experiment(one) for one, asked in cells.items() if asked or one in names), key=_depth)
    return [(one, list(cells[one.name].values())) for one in ordered]


def _depth(one: Experiment) -> int:
    """How many experiments in a row have to come before this one."""
    return 1 + max((_depth(experiment(name)) for name in one.reads), default=-1)


def chapter(notebook: str) -> Chapter:
    """The numbers of a notebook's text; ValueError lists the notebooks that have some."""
    return CHAPTERS[checks.choice("Chapter", notebook, CHAPTERS)]
