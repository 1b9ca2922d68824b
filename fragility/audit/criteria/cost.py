"""What does a map cost?"""

import torch

from fragility.audit.criterion import Cost, Criterion, Measured
from fragility.audit.group import Group
from fragility.audit.methods import Method
from fragility.audit.settings import Settings


def measure(group: Group, method: Method, settings: Settings) -> Measured:
    """Seconds an image of the clean maps, when the group's are made together."""
    return Measured(torch.full((len(group),), group.seconds(method) / len(group), dtype=torch.float64))


CRITERION = Criterion(
    name="cost", question="What does a map cost?", measure=measure, cost=lambda settings, form: Cost(),
    source="", margin=None, score="seconds an image", high_is_good=False, exact=True)
