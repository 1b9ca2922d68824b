"""Does the map change when another class is explained?"""

from fragility.audit.criterion import Cost, Criterion, Measured, NotApplicable
from fragility.audit.group import Group, rank_correlation
from fragility.audit.margins import MARGINS
from fragility.audit.methods import Method
from fragility.audit.settings import Settings
from fragility.checks import unwrapped


def measure(group: Group, method: Method, settings: Settings) -> Measured:
    """Rank correlation of the map with that of a class drawn at random; the control is the map under noise."""
    if group.shared("single logit", lambda: unwrapped(group.model(group.x[:1].clone())).shape[1] == 1):
        raise NotApplicable("A model of one logit has no other class: the map of the other side is the same, negated.")
    clean = group.clean(method)
    other = group.maps(method, target=group.other_class, purpose="other class")
    return Measured(rank_correlation(clean, other, gone=0.0),
                    {"noise": rank_correlation(clean, group.under_noise(method))})


CRITERION = Criterion(
    name="class", question="Does it change when another class is explained?",
    measure=measure, cost=lambda settings, form: Cost(maps=1), source="adebayo2018sanity",
    margin=MARGINS["class"], best=0.0,
    score="rank correlation with the map of another class", high_is_good=False)
