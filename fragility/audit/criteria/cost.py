"""What does a map cost?"""

import time

import torch

from fragility.audit.criterion import Cost, Criterion, Measured
from fragility.audit.group import Group
from fragility.audit.methods import Method
from fragility.audit.settings import Settings


def measure(group: Group, method: Method, settings: Settings) -> Measured:
    """Seconds an image, when the group's maps are made together."""
    start = time.perf_counter()
    maps = group.maps(method, purpose="cost")
    if maps.is_cuda:
        torch.cuda.synchronize(maps.device)
    seconds = (time.perf_counter() - start) / len(group)
    return Measured(torch.full((len(group),), seconds, dtype=torch.float64))


CRITERION = Criterion(
    name="cost", question="What does a map cost?", measure=measure, cost=lambda settings, form: Cost(maps=1),
    source="", margin=None, score="seconds an image", high_is_good=False, exact=True)
