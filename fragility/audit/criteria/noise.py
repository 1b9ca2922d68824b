"""Does the map stay under noise that no attacker chose?"""

import torch
from torch import Tensor

from fragility.audit.criterion import Cost, Criterion, Measured
from fragility.audit.group import Group, pixels, where_defined
from fragility.audit.margins import MARGINS
from fragility.audit.methods import Method
from fragility.audit.settings import Settings
from fragility.metrics import lens_recall, spearman, topk_intersection

#: Shares of epsilon at which the overlap is drawn as a curve.
RADII = (0.25, 0.5, 1.0)


def overlap(group: Group, a: Tensor, b: Tensor) -> Tensor:
    """Share (n,) of the top pixels that two batches of signed maps have in common."""
    return where_defined(lambda p, q: topk_intersection(p, q, group.k), pixels(a), pixels(b))


def another_image(group: Group, method: Method) -> Tensor:
    """Overlap (n,) of each map with that of its partner in the group: what unrelated maps of this method share."""
    return group.shared((method.name, "another image"),
                        lambda: overlap(group, group.clean(method), group.clean(method)[group.partners]))


def measure(group: Group, method: Method, settings: Settings) -> Measured:
    """Overlap of the top pixels with and without random signs of epsilon."""
    clean, noisy = group.clean(method), group.under_noise(method)
    signs = (group.noisy - group.x).sign()
    curve = []
    for share in RADII[:-1]:
        x = (group.x + share * settings.epsilon * signs).clamp(0, 1)
        curve.append(overlap(group, clean, group.maps(method, x, purpose=f"noise {share}")))
    score = overlap(group, clean, noisy)
    a, b = pixels(clean), pixels(noisy)
    return Measured(score, {"another image": another_image(group, method)}, {
        "curve": torch.stack([*curve, score], 1),
        "rank": where_defined(spearman, a, b),
        "near": where_defined(lambda p, q: lens_recall(p, q, group.k, group.window), a, b)}, maps=noisy)


CRITERION = Criterion(
    name="noise", question="Does the map stay when the image is disturbed by noise that can hardly be seen?",
    measure=measure, cost=lambda settings, form: Cost(maps=2 + len(RADII)),
    source="ghorbani2019", margin=MARGINS["noise"], best=1.0,
    score="share of the top pixels that stay")
