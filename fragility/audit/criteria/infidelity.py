"""Does the map predict what happens to the output when parts of the image are replaced?"""

import torch
from torch import Tensor

from fragility.attribution import sobel
from fragility.audit.criterion import Cost, Criterion, Measured
from fragility.audit.group import Group, defined
from fragility.audit.margins import MARGINS
from fragility.audit.methods import Method
from fragility.audit.settings import Settings
from fragility.passes import logits_of


def measure(group: Group, method: Method, settings: Settings) -> Measured:
    r"""Share of the output's changes that the map leaves unexplained, at the best scale [yeh2019, section 2].

    .. math:: \frac{\min_{\beta \ge 0} E_I (\beta\, I^\top \Phi - \Delta)^2}{E_I \Delta^2}, \qquad
              \Delta = f(x) - f(x - I)

    I takes a random square of the image to its mean colour. The controls are a random map and an edge detector: edges
    alone explain much, since a square without any changes nothing.
    """
    clean = group.clean(method)
    removed, change = group.shared("squares", lambda: _squares(group, settings.samples[1]))
    random = group.shared("infidelity of a random map", lambda: unexplained(
        torch.randn(group.x.shape, generator=group.generator("random map"), dtype=group.x.dtype,
                    device=group.x.device), removed, change, group.x))
    edges = group.shared("infidelity of edges", lambda: unexplained(sobel(group.x), removed, change, group.x))
    controls = {"random": random, "sobel": edges}
    return Measured(torch.where(defined(clean), unexplained(clean, removed, change, group.x), torch.nan),
                    {name: score for name, score in controls.items() if name != method.name})


def unexplained(maps: Tensor, squares: Tensor, change: Tensor, x: Tensor) -> Tensor:
    """Share (n,) of `change` (n, m) that maps (n, c, h, w) leave; squares (m, 4) are top, bottom, left, right."""
    difference = (x - x.mean((2, 3), keepdim=True)) * maps
    # Sums over rectangles, from sums over all that lies above and to the left.
    total = torch.nn.functional.pad(difference.sum(1).double().cumsum(1).cumsum(2), (1, 0, 1, 0))
    top, bottom, left, right = squares.unbind(1)
    predicted = total[:, bottom, right] - total[:, top, right] - total[:, bottom, left] + total[:, top, left]
    scale = ((predicted * change).sum(1) / predicted.square().sum(1).clamp_min(1e-300)).clamp_min(0)
    return (scale[:, None] * predicted - change).square().sum(1) / change.square().sum(1)


def _squares(group: Group, count: int) -> tuple[Tensor, Tensor]:
    """Squares (m, 4) of a quarter of the shorter side, and the change of the explained logit by each, (n, m)."""
    x, own = group.x, group.target[:, None]
    height, width = x.shape[2:]
    side = max(1, min(height, width) // 4)
    generator = group.generator("squares")
    top, left = (torch.randint(length - side + 1, (count,), generator=generator, device=x.device)
                 for length in (height, width))
    squares, mean = torch.stack([top, top + side, left, left + side], 1), x.mean((2, 3), keepdim=True)
    clean, changes = group.logits.gather(1, own).squeeze(1), []
    for upper, lower, start, end in squares.tolist():
        replaced = x.clone()
        replaced[:, :, upper:lower, start:end] = mean
        changes.append(clean - logits_of(group.model, replaced, group.chunk).gather(1, own).squeeze(1))
    return squares, torch.stack(changes, 1).double()


CRITERION = Criterion(
    name="infidelity", question="Does it predict what replacing a part of the image does to the output?",
    measure=measure, source="yeh2019",
    cost=lambda settings, form: Cost(forwards=settings.samples[1] / 5),     # made once for all methods, say five
    margin=MARGINS["infidelity"], best=0.0, score="share of the changes that it leaves unexplained", high_is_good=False)
