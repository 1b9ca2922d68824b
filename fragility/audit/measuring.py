"""One question, asked of one method on one group of images: the line that a journal keeps of it."""

import time
from typing import NamedTuple

import torch
from torch import Tensor

from fragility.audit.criterion import Criterion, Measured, NotApplicable
from fragility.audit.group import Group, defined
from fragility.audit.methods import Method, said
from fragility.audit.settings import Settings


class Line(NamedTuple):
    """What a journal keeps, and signed maps that the report is to show."""

    entry: dict                     #: lists of numbers, or the reason of a refusal under "refused"
    maps: Tensor | None = None


def is_asked(criterion: Criterion, first: int, settings: Settings) -> bool:
    """Whether a criterion looks at a group that begins with the image of that place."""
    if criterion.exact or criterion.over_trainings:
        return first == 0
    return not criterion.attacks or first < settings.attacked


def measure(group: Group, method: Method, criterion: Criterion, settings: Settings) -> Line:
    """Measure a group; whatever a user's own method raises is the reason of a refusal, but for want of memory."""
    start = time.perf_counter()
    try:
        measured = criterion.measure(group, method, settings)
        undefined = ~defined(group.clean(method))[measured.rows]
        if not criterion.attacks:   # where the label is lost there is no score, though there is a map
            undefined = undefined | _lost(measured).to(undefined.device)
    except NotApplicable as reason:
        return Line({"refused": str(reason)})
    except (MemoryError, torch.OutOfMemoryError):
        raise
    except Exception as error:      # of whatever kind a user's own method raises, and be it at the last image
        return Line({"refused": f"It failed on an image: {said(error)}"})
    return Line(_entry(group, measured, undefined, time.perf_counter() - start), measured.maps)


def _lost(measured: Measured) -> Tensor:
    """Images whose score is missing though all of its controls are there: their map was undefined elsewhere."""
    lost = measured.score.isnan()
    for control in measured.controls.values():
        lost = lost & ~control.isnan()
    return lost


def _entry(group: Group, measured: Measured, undefined: Tensor, seconds: float) -> dict:
    """Lists of numbers, NaN as JSON's dialect of Python writes it."""
    places = list(range(group.first, group.first + len(group)))[measured.rows]
    lists = lambda values: {name: value.double().cpu().tolist() for name, value in values.items()}
    return {"images": places, "score": measured.score.double().cpu().tolist(), "controls": lists(measured.controls),
            "details": lists(measured.details), "undefined": undefined.cpu().tolist(), "seconds": seconds}
