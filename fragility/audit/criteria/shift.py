"""Is the map the same when the network is the same function of images that are all shifted by a constant?"""

import inspect
from contextlib import suppress

import torch

from fragility import shift
from fragility.audit.criterion import Cost, Criterion, Measured, NotApplicable
from fragility.audit.group import Group, defined
from fragility.audit.margins import MARGINS
from fragility.audit.methods import Method
from fragility.audit.settings import Settings
from fragility.audit.subject import is_script

SHIFT = 1.0     # in units of the images: black becomes white
ENOUGH = 4      # images: the property is exact, and float64 is slow

#: Options that tie a method to black, and what they become when the images are shifted.
REPAIRS = {"baseline": lambda start: start + SHIFT, "root": lambda start: start + SHIFT,
           "low": lambda start: start + SHIFT, "high": lambda start: start + SHIFT}


def measure(group: Group, method: Method, settings: Settings) -> Measured:
    """Relative change of the maps in float64, on a copy of the model; and with references that move along."""
    if is_script(group.model):
        raise NotApplicable("The shifted network cannot be made of TorchScript, into which nobody sees.")
    clean = group.clean(method)[:ENOUGH]
    good = defined(clean)
    change = torch.full((len(clean),), torch.nan, dtype=torch.float64, device=group.x.device)
    details = {}
    if bool(good.any()):
        change[good] = _change(group, method, good, {})
        tied = _references(method)
        if tied and bool((change[good] > -MARGINS["shift"].value).any()):
            with suppress(NotApplicable):       # a rule that takes no such reference, as z+, has no repair
                repaired = _change(group, method, good, tied)
                details["repaired"] = torch.full_like(change, torch.nan).masked_scatter(good, repaired)
    return Measured(change, {}, details, slice(0, len(clean)))


def _change(group: Group, method: Method, rows, references: dict):
    """Relative change (n,) of each map; `references` are what the method takes for the shifted images."""
    calls = iter(({}, references))

    def of_both(model, x, target):
        return method(model, x, target, draw=method.seed(settings_seed, group.place, "shift"), chunk=group.chunk,
                      **next(calls))
    settings_seed = group.settings.seed
    try:
        return shift.invariance(group.model, group.x[:ENOUGH][rows], SHIFT, method=of_both,
                                target=group.target[:ENOUGH][rows]).relative
    except (TypeError, ValueError, RuntimeError) as error:
        raise NotApplicable(f"The shifted network cannot be made or explained: {error}") from error


def _references(method: Method) -> dict:
    """Options of the method that name a place in the space of images, moved by the shift."""
    parameters = inspect.signature(method.function).parameters
    return {name: move(parameters[name].default) for name, move in REPAIRS.items()
            if name in parameters and isinstance(parameters[name].default, (int, float))}


CRITERION = Criterion(
    name="shift", question="Is it the same when the network is the same function of shifted images?",
    measure=measure, cost=lambda settings, form: Cost(maps=3), source="kindermans2019", margin=MARGINS["shift"],
    score="relative change of the map", high_is_good=False, exact=True, worst=True)
