"""Does the map add up to what it promises?"""

import torch

from fragility.audit.criterion import Cost, Criterion, Measured, NotApplicable
from fragility.audit.group import Group
from fragility.audit.margins import MARGINS
from fragility.audit.methods import Method
from fragility.audit.settings import Settings
from fragility.passes import logits_of


def measure(group: Group, method: Method, settings: Settings) -> Measured:
    """Distance of a map's sum from the logit at the image minus that at the baseline.

    It is relative to the mean difference of the group, since that of a single image may be close to zero.
    """
    if not method.complete:
        raise NotApplicable("The method promises no sum.")
    baseline = group.shared("logits at black", lambda: logits_of(group.model, torch.zeros_like(group.x[:1])))
    own = group.target[:, None]
    promised = (group.logits.gather(1, own) - baseline.expand_as(group.logits).gather(1, own)).squeeze(1).double()
    total = group.clean(method).double().flatten(1).sum(1)
    return Measured((total - promised).abs() / promised.abs().mean(), {}, {"sum": total, "promised": promised})


CRITERION = Criterion(
    name="completeness", question="Does it add up to what it promises?",
    measure=measure, cost=lambda settings, form: Cost(), source="sundararajan2017", margin=MARGINS["completeness"],
    score="relative error of the sum", high_is_good=False, exact=True)
