"""The questions of an audit, one module each. A criterion of your own is a `Criterion` passed to `audit.run`."""

from collections.abc import Iterable

from fragility import checks
from fragility.audit.criteria import (
    attack,
    completeness,
    cost,
    infidelity,
    noise,
    other_class,
    parameters,
    removal,
    retraining,
    sensitivity,
    shift,
)
from fragility.audit.criterion import Criterion

#: The criteria by name, in the order of the report.
CRITERIA: dict[str, Criterion] = {each.name: each for each in (
    noise.CRITERION, attack.ATTACK, attack.ATTACK_LENS, shift.CRITERION, removal.REMOVAL, removal.DELETION,
    retraining.CRITERION, parameters.CRITERION, other_class.CRITERION, completeness.CRITERION, sensitivity.CRITERION,
    infidelity.CRITERION, cost.CRITERION)}


def criteria(asked: str | Criterion | Iterable | None = None, *, trains: bool = False) -> list[Criterion]:
    """Criteria by name or as they are; None: all, but those with trainings only where `trains`.

    ValueError for an unknown name, one that is given twice, and trainings without training data.
    """
    if asked is None:
        return [each for each in CRITERIA.values() if trains or not each.over_trainings]
    if isinstance(asked, (str, Criterion)):
        asked = [asked]
    found = [one if isinstance(one, Criterion) else CRITERIA[checks.choice("Criterion", one, CRITERIA)]
             for one in asked]
    names = [one.name for one in found]
    if not names:
        raise ValueError(f"At least one criterion is needed; choose among: {', '.join(CRITERIA)}.")
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"The criterion {name} is given twice.")
    for each in found:
        if each.over_trainings and not trains:
            raise ValueError(f"The criterion {each.name} needs labelled images to train on (--train, train=).")
    return found
