"""Does the map change when the network's weights are randomised?"""

import torch

from fragility.audit.criterion import Cost, Criterion, Measured, NotApplicable
from fragility.audit.group import Group, rank_correlation
from fragility.audit.margins import MARGINS
from fragility.audit.methods import Method
from fragility.audit.randomised import Randomised
from fragility.audit.settings import Settings


def measure(group: Group, method: Method, settings: Settings) -> Measured:
    """Mean rank correlation of a map with those of networks whose layers are random from the output down.

    The control is the map of the intact network under noise: a random map changes, too, but with noise as with weights.
    """
    clean, randomised = group.clean(method), group.randomised
    if not isinstance(randomised, Randomised):
        raise NotApplicable(randomised or "The audit has made no random twins of the network.")
    cascade = torch.stack([rank_correlation(clean, group.maps(method, model=randomised.at(depth),
                                                             purpose=f"random to {depth}"), gone=0.0)
                           for depth in range(1, randomised.depths + 1)], 1)
    return Measured(cascade.mean(1), {"noise": rank_correlation(clean, group.under_noise(method))},
                    {"cascade": cascade})


CRITERION = Criterion(
    name="parameters", question="Does it change when the network's weights are randomised?",
    measure=measure, cost=lambda settings, form: Cost(maps=settings.depths), source="adebayo2018sanity",
    margin=MARGINS["parameters"], best=0.0,
    score="rank correlation with the maps of randomised networks", high_is_good=False)
