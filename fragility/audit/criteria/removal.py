"""Does the network need what the map marks? Pixels are removed in its order, and in that of the controls."""

import functools

import numpy as np
import torch
from torch import Tensor

from fragility.attribution import METHODS
from fragility.audit.criterion import Cost, Criterion, Measured
from fragility.audit.group import Group, pixels
from fragility.audit.margins import MARGINS
from fragility.audit.methods import CONTROLS, Method
from fragility.audit.settings import Settings
from fragility.removal import degrade


def curves(group: Group, method: Method, fill: str) -> tuple[Tensor, Tensor]:
    """Probability (n, shares) of the predicted class with the most, and with the least, important pixels removed."""
    return group.shared((method.name, "curves", fill), lambda: _curves(group, pixels(group.clean(method)), fill))


def _curves(group: Group, scores: Tensor, fill: str) -> tuple[Tensor, Tensor]:
    good = ~scores.isnan().flatten(1).any(1)
    scores = torch.where(good[:, None, None], scores, 0.0)
    noise = group.generator("imputation") if fill == "noisy-linear" else None
    sides = []
    for mode in ("remove", "keep"):
        side = []
        for share in group.settings.removed:
            kept = share if mode == "remove" else round(1 - share, 10)
            side.append(group.probability(degrade(group.x, scores, kept, mode=mode, fill=fill,
                                                          generator=noise)))
        sides.append(torch.where(good[:, None], torch.stack(side, 1).double(), torch.nan))
    return sides[0], sides[1]


def measure(group: Group, method: Method, settings: Settings, *, fill: str) -> Measured:
    """Area between the two curves: what the least important pixels leave, minus what the most important ones do.

    The two orders cancel much of what the filling itself does to the network.
    """
    most, least = curves(group, method, fill)
    controls = {}
    for name in CONTROLS:
        if name != method.name:
            one, other = _of_control(group, name, fill)
            controls[name] = (other - one).mean(1)
    return Measured((least - most).mean(1), controls, {"most": most, "least": least})


def objection(details: dict) -> str | None:
    """Why no map can be judged: the network answers the same whatever is removed."""
    sides = np.concatenate([details[side] for side in ("most", "least") if side in details] or [np.zeros((0, 1))], -1)
    sides = sides[~np.isnan(sides).any(-1)]
    reach = float(np.ptp(sides, -1).mean()) if len(sides) else np.inf
    if reach >= MARGINS["removal"].value:
        return None
    return (f"Whatever share of the pixels is removed, in either order, the probability of the class changes by "
            f"{reach:.2g} on average, which is less than the margin: removal cannot tell maps of this network apart.")


def _of_control(group: Group, name: str, fill: str) -> tuple[Tensor, Tensor]:
    """Curves of a control, made once for all methods of a group."""
    control = Method(name, METHODS[name], is_control=True)
    return group.shared(f"curves of {name} by {fill}", lambda: _curves(group, pixels(group.maps(control)), fill))


def _cost(settings: Settings, form: str | None, imputed: bool) -> Cost:
    images = 2 * len(settings.removed) * 1.3        # and those of the controls, shared among methods
    return Cost(forwards=images, imputations=images if imputed else 0)


REMOVAL = Criterion(
    name="removal", question="Does removing what it marks cost the network more than removing at random?",
    measure=functools.partial(measure, fill="noisy-linear"), cost=functools.partial(_cost, imputed=True),
    source="rong2022", margin=MARGINS["removal"],
    score="probability left without the least important pixels, minus without the most important", objection=objection)

DELETION = Criterion(
    name="deletion", question="The same with the image's mean colour in place of what is removed",
    measure=functools.partial(measure, fill="mean"), cost=functools.partial(_cost, imputed=False),
    source="petsiuk2018", margin=MARGINS["deletion"], score=REMOVAL.score, objection=objection)
