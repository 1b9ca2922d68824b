"""Perturbations that follow no gradient: the controls every attack is measured against."""

from collections.abc import Callable

import torch
from torch import Tensor

from fragility import checks
from fragility.attacks.loop import Attacked, attack
from fragility.attacks.objectives import PreparedObjective
from fragility.draws import signs_like


def random_sign(x: Tensor, *, epsilon: float, generator: torch.Generator | None = None) -> Tensor:
    r"""Add +epsilon or -epsilon, with equal chance and independently, to every value once [ghorbani2019, section 3].

    Images (n, c, h, w) in [0, 1] in and out (clipped); epsilon in (0, 1]. A generator of None means torch's global one.
    Whether the label changes is not checked. (The code of [ghorbani2019] uses :func:`random_walk` in its place.)
    """
    checks.images(x, unit_range=True)
    checks.real("epsilon", epsilon, 0, 1, exclusive=True)
    checks.generator(generator)
    return (x + epsilon * signs_like(x, generator)).clamp(0, 1)


def random_walk(model, x: Tensor, *, method: str | Callable = "gradient", epsilon: float, steps: int = 100,
                step_size: float | None = None, score: Callable[[Tensor, Tensor], Tensor],
                generator: torch.Generator | None = None, method_args: dict | None = None) -> Attacked:
    """The best of a random walk's steps, which the code of [ghorbani2019] and [kamath2024] calls "random".

    Every step adds +step_size or -step_size to every value, with equal chance and independently, and clips the result
    to the ball and to [0, 1]. Of the iterates that keep the label, the one with the largest `score` is returned: a
    function (clean maps, maps) -> (n,) of normalised maps (n, h, w). This differs from :func:`random_sign` in two ways:
    the walk goes less far, at the defaults at most half of epsilon per value on average, and its end point is chosen
    by its effect on the map.

    Other parameters, result and errors as for :func:`attack`.
    """
    if not callable(score):
        raise ValueError(f"score must be a function (clean maps, maps) -> (n,), larger for more change, not {score!r}.")
    return attack(model, x, method=method, objective=_Scored(score), epsilon=epsilon, steps=steps,
                  step_size=step_size, curvature=_RandomSign(), select=score, generator=generator,
                  method_args=method_args)


class _RandomSign:
    """A direction that ignores the map: fair signs, drawn anew each step."""

    score_every = 1

    def prepare(self, method, epsilon: float, options: dict) -> None:
        """Nothing: it does not look at the method."""

    def draw(self, x: Tensor, generator) -> Tensor:
        return signs_like(x, generator)[None]

    def __call__(self, model, x: Tensor, targets, loss, maps, draws: Tensor) -> Tensor:
        return draws[0]


class _Scored:
    """An objective that scores iterates and gives no direction."""

    def __init__(self, score: Callable[[Tensor, Tensor], Tensor]):
        self.score = score

    def prepare(self, clean: Tensor, generator: torch.Generator | None = None) -> PreparedObjective:
        return PreparedObjective(lambda maps: self.score(clean, maps), loss=_undirected)


def _undirected(maps: Tensor, rows: slice) -> Tensor:
    raise RuntimeError("Fair signs follow no loss.")
