"""Does the map stay when someone chooses the noise so that it does not?"""

import functools

import numpy as np
import torch
from torch import Tensor

from fragility.attacks import LensTopK, TopK, attack
from fragility.attacks.directions import FINITE
from fragility.audit.criteria.noise import another_image, overlap
from fragility.audit.criterion import Cost, Criterion, Measured, NotApplicable
from fragility.audit.group import Group, pixels, where_defined
from fragility.audit.margins import MARGINS
from fragility.audit.methods import Method
from fragility.audit.settings import Settings
from fragility.metrics import lens_recall

FOUND, MOVED = 0.8, 0.5     # shares of the images that an attack must find, and of epsilon that it must use


def near(group: Group, a: Tensor, b: Tensor) -> Tensor:
    """Share (n,) of the top pixels of signed maps b that lie near those of a."""
    return where_defined(lambda p, q: lens_recall(p, q, group.k, group.window), pixels(a), pixels(b))


def measure(group: Group, method: Method, settings: Settings, *, lens: bool) -> Measured:
    """Overlap after an attack that keeps the label; with `lens` one that must leave the neighbourhood of the marks."""
    rows = slice(0, max(0, min(len(group), settings.attacked - group.first)))
    if method.is_control:
        raise NotApplicable("A control does not look at the network; it is shown under noise.")
    objective = LensTopK(group.k, group.window) if lens else TopK(group.k)
    measured = functools.partial(near if lens else overlap, group)
    x, clean = group.x[rows], group.clean(method)[rows]
    alive = torch.isfinite(clean).flatten(1).all(1) & (clean != 0).flatten(1).any(1)
    attacked, found = x.clone(), torch.zeros(len(x), dtype=torch.bool, device=x.device)
    if bool(alive.any()):
        try:
            result = attack(group.model, x[alive], method=method.attacked, objective=objective,
                            epsilon=settings.epsilon, steps=settings.steps, chunk=group.chunk,
                            generator=group.generator(method.name, "attack"))
        except (ValueError, RuntimeError, TypeError, NotImplementedError) as error:
            raise NotApplicable(f"The attack refuses this method: {error}") from error
        attacked[alive], found[alive] = result.x, result.found
    maps = group.maps(method, attacked, purpose="attack", target=group.target[rows])
    missing = torch.tensor(torch.nan, dtype=torch.float64, device=x.device)

    def kept(values: Tensor) -> Tensor:
        return torch.where(found, values, missing)
    if lens:
        control = group.shared((method.name, "another image, near"),
                               lambda: near(group, group.clean(method), group.clean(method)[group.partners]))
        noise = near(group, clean, group.under_noise(method)[rows])
    else:
        control, noise = another_image(group, method), overlap(group, clean, group.under_noise(method)[rows])
    return Measured(kept(measured(clean, maps)), {"another image": kept(control[rows])}, {
        "found": found.double(), "moved": (attacked - x).abs().amax((1, 2, 3)).double() / settings.epsilon,
        "noise": kept(noise)}, rows, maps)


def objection(details: dict) -> str | None:
    """Why an attack says nothing: it found too few images, hardly moved them, or did less than noise does."""
    found = details["found"].mean()
    if found < FOUND:
        return (f"The attack found a disturbance that keeps the label for {found:.0%} of the images only; at least "
                f"{FOUND:.0%} are needed.")
    moved = details["moved"][details["found"] > 0].mean()
    if moved < MOVED:
        return f"The attack moved the images by {moved:.0%} of epsilon only; at least {MOVED:.0%} are needed."
    if np.nanmean(details["score"]) > np.nanmean(details["noise"]):
        return ("The attack changed the maps less than noise of the same size does, so it is too weak to show "
                "anything; give it more steps.")
    return None


def cost(settings: Settings, form: str | None) -> Cost:
    """A step takes a Hessian product and a score; of a path or an ensemble the score is taken at every fifth step."""
    steps = settings.steps
    if form in ("gradient", "times-input"):
        return Cost(maps=steps + 3, gradients=3 * steps)
    if form in FINITE:
        return Cost(maps=steps / 5 + 3, gradients=6 * steps)
    return Cost(maps=4 * steps + 3)


ATTACK = Criterion(
    name="attack", question="Does the map stay under an attack that keeps the label?",
    measure=functools.partial(measure, lens=False), cost=cost, source="ghorbani2019", margin=MARGINS["attack"],
    best=1.0,
    score="share of the top pixels that stay", attacks=True, objection=objection)

ATTACK_LENS = Criterion(
    name="attack-lens",
    question="Do the marks stay in their neighbourhood under an attack that tries to drive them out of it?",
    measure=functools.partial(measure, lens=True), cost=cost, source="kamath2024", margin=MARGINS["attack-lens"],
    best=1.0,
    score="share of the top pixels that stay near", attacks=True, objection=objection)
