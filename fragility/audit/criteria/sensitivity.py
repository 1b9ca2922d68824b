"""How far does the map move within a small ball?"""

import torch
from torch import Tensor

from fragility.audit.criterion import Cost, Criterion, Measured
from fragility.audit.group import Group, defined
from fragility.audit.margins import MARGINS
from fragility.audit.methods import Method
from fragility.audit.settings import Settings


def measure(group: Group, method: Method, settings: Settings) -> Measured:
    """Largest relative distance of the map from those of a few images drawn evenly from the ball of epsilon.

    The control is the same distance between random maps of the same size.
    """
    clean = group.clean(method)
    worst = torch.zeros(len(group), dtype=torch.float64, device=group.x.device)
    for draw in range(settings.samples[0]):
        maps = group.maps(method, _nearby(group, draw), purpose=f"ball {draw}")
        worst = torch.maximum(worst, _distance(clean, maps))
    unrelated = group.shared("sensitivity of random maps", lambda: _of_random_maps(group))
    return Measured(worst, {"random": unrelated})


def _nearby(group: Group, draw: int) -> Tensor:
    def make() -> Tensor:
        generator = group.generator("ball", draw)
        noise = torch.rand(group.x.shape, generator=generator, dtype=group.x.dtype, device=group.x.device)
        return (group.x + group.settings.epsilon * (2 * noise - 1)).clamp(0, 1)
    return group.shared(f"ball {draw}", make)


def _distance(a: Tensor, b: Tensor) -> Tensor:
    """Euclidean distance (n,) of signed maps, relative to the first; NaN where either is undefined."""
    both = defined(a) & defined(b)
    a, b = a.flatten(1).double(), b.flatten(1).double()
    return torch.where(both, (a - b).norm(dim=1) / a.norm(dim=1), torch.nan)


def _of_random_maps(group: Group) -> Tensor:
    generator = group.generator("random maps")
    maps = [torch.randn(group.x.shape, generator=generator, dtype=group.x.dtype, device=group.x.device)
            for _ in range(1 + group.settings.samples[0])]
    return torch.stack([_distance(maps[0], other) for other in maps[1:]]).amax(0)


CRITERION = Criterion(
    name="sensitivity", question="How far does it move when the image moves a little?",
    measure=measure, cost=lambda settings, form: Cost(maps=settings.samples[0]), source="yeh2019",
    margin=MARGINS["sensitivity"], best=0.0, score="largest relative distance of the maps", high_is_good=False)
