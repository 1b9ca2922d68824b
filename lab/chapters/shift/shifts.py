"""Constant shifts of a data set, and a network rebuilt without changing its function [kindermans2019]."""

import copy

import torch
from torch import Tensor, nn

from fragility import attribution, checks

#: The drawing that a shift paints into maps. Draw your own: any character but "." and a blank is ink.
KITTEN = """
............................
....##................##....
....###..............###....
....####............####....
....#####..........#####....
....######........######....
....####################....
....####################....
...######################...
...######################...
..########################..
..#####..##########..#####..
..####....########....####..
..####.##.########.##.####..
..####....########....####..
..#####..##########..#####..
..########################..
###########......###########
..##########....##########..
############....############
..###########..###########..
####.########..########.####
...####.####.##.####.####...
....####....####....####....
.....##################.....
......################......
........############........
............................
"""
SHIFTS = ("uniform", "checkerboard", "kitten", "random")
REBUILT = "rebuilt"          # not a shift: the same function from other weights
SQUARE = 4                   # pixels, side of a square of the checkerboard
LIMIT = 3.0                  # a kitten's shift is clipped to [-3, 3], as in the paper


def drawing(text: str = KITTEN) -> Tensor:
    """A drawing of characters as an image (h, w) of zeros and ones; ValueError where lines differ in length."""
    lines = text.strip("\n").splitlines()
    if not lines or len({len(line) for line in lines}) > 1:
        raise ValueError("A drawing needs lines of one length, with '.' for nothing and any other character for ink.")
    return torch.tensor([[float(mark not in ". ") for mark in line] for line in lines])


def outline(image: Tensor) -> Tensor:
    """The edge of a drawing (h, w): ones of it that have a zero beside them, or the end of the image."""
    padded = torch.nn.functional.pad(image, (1, 1, 1, 1))
    inside = -torch.nn.functional.max_pool2d(-padded[None], 3, 1)[0]
    return image - inside


def shift(name: str, model, x: Tensor, *, square: int = SQUARE, scale: float = 0.01) -> Tensor:
    """The shift m (c, h, w) of that name, for images like those of x (n, c, h, w); "kitten" is made for the first one.

    "uniform" is -1, so that [0, 1] becomes [-1, 0]; "checkerboard" has squares of `square` pixels that are 0 or
    1; "random" is uniform noise in [-1, 1], always the same.
    """
    checks.choice("Shift", name, SHIFTS)
    if name == "uniform":
        return torch.full_like(x[0], -1.0)
    if name == "checkerboard":
        rows, columns = (torch.arange(side) // square for side in x.shape[2:])
        return ((rows[:, None] + columns) % 2).to(x).expand_as(x[0]).clone()
    if name == "random":
        return (2 * torch.rand(x[0].shape, generator=torch.Generator().manual_seed(0)) - 1).to(x)
    return painting(model, x[:1], drawing(), scale)[0][0]


def painting(model, x: Tensor, target: Tensor, scale: float = 0.01) -> tuple[Tensor, Tensor]:
    r"""Shifts that make gradient times input show `target` (h, w), one for each image of x [kindermans2019, section 4].

    .. math:: m = \frac{s}{\partial S / \partial x} - x, \qquad m \in [-3, 3]

    Returns the shifts (n, c, h, w) and the share (n,) of values that were clipped. s is `target` times `scale`
    times the largest gradient of the image: the smaller, the fewer values clip.
    """
    gradient = attribution.gradient(model, x)
    ink = target.to(x) * scale * gradient.abs().amax((1, 2, 3), keepdim=True)
    unclipped = torch.where(ink == 0, 0.0, ink / torch.where(gradient == 0, torch.finfo(x.dtype).tiny, gradient)) - x
    return unclipped.clamp(-LIMIT, LIMIT), (unclipped.abs() > LIMIT).double().mean((1, 2, 3))


def rebuilt(model: nn.Sequential, seed: int = 0) -> nn.Sequential:
    """A network of the same function with other weights: each unit of the last hidden layer is there twice.

    An outgoing weight w becomes w + c for one copy of the unit and -c for the other, with random c.
    """
    copied = copy.deepcopy(model)
    places = [place for place, layer in enumerate(copied) if isinstance(layer, nn.Linear)]
    hidden, last = (model[place] for place in places[-2:])
    extra = torch.randn(last.weight.shape, generator=torch.Generator().manual_seed(seed)).to(last.weight)
    extra *= last.weight.std()
    copied[places[-2]] = _linear(hidden.weight.repeat(2, 1), hidden.bias.repeat(2))
    copied[places[-1]] = _linear(torch.cat([last.weight + extra, -extra], 1), last.bias)
    return copied.eval()


def _linear(weight: Tensor, bias: Tensor) -> nn.Linear:
    layer = nn.Linear(weight.shape[1], weight.shape[0], dtype=weight.dtype)
    layer.weight.data, layer.bias.data = weight.detach().clone(), bias.detach().clone()
    return layer
