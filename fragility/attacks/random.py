"""Perturbations that follow no gradient: the controls every attack is measured against."""

from collections.abc import Callable

import torch
from torch import Tensor

from fragility import checks
from fragility.attacks.loop import Attacked, attack
from fragility.attacks.objectives import Goal
from fragility.draws import signs_like


def random_sign(x: Tensor, *, epsilon: float, generator: torch.Generator | None = None) -> Tensor:
    r"""Move every value by +epsilon or -epsilon, fair and independent, once [ghorbani2019, section 3].

    Images (n, c, h, w) in [0, 1] in and out (clipped). epsilon in (0, 1]. None takes torch's generator.
    The label is not looked at. (The code of [ghorbani2019] uses :func:`random_walk` in its place.)
    """
    checks.images(x, unit_range=True)
    checks.number("epsilon", epsilon, 0, 1, exclusive=True)
    checks.generator(generator)
    return (x + epsilon * signs_like(x, generator)).clamp(0, 1)


def random_walk(model, x: Tensor, *, method: str | Callable = "gradient", epsilon: float, steps: int = 100,
                step_size: float | None = None, score: Callable[[Tensor, Tensor], Tensor],
                generator: torch.Generator | None = None, method_args: dict | None = None) -> Attacked:
    """The best of a random walk's steps, which the code of [ghorbani2019] and [kamath2024] calls "random".

    Every step moves every value by +step_size or -step_size, fresh, fair and independent, back into the
    ball and [0, 1]; of the iterates that keep the label, the one with the largest `score` (clean maps,
    maps) -> (n,), each (n, h, w) normalised, wins. It differs from :func:`random_sign` twice: the walk is
    shorter, at most half of epsilon a value on average at the defaults, and it is chosen for what it does to the map.

    Other parameters, result and errors as for :func:`attack`.
    """
    if not callable(score):
        raise ValueError(f"score must be a function (clean maps, maps) -> (n,), larger for more change, not {score!r}.")
    return attack(model, x, method=method, objective=_Scored(score), epsilon=epsilon, steps=steps,
                  step_size=step_size, curvature=_RandomSign(), select=score, generator=generator,
                  method_args=method_args)


class _RandomSign:
    """A direction that knows nothing: fair signs, drawn anew each step."""

    every = 1

    def prepare(self, method, epsilon: float, options: dict) -> None:
        """Nothing: it does not look at the method."""

    def draw(self, x: Tensor, generator) -> Tensor:
        return signs_like(x, generator)[None]

    def __call__(self, model, x: Tensor, output, loss, maps, draws: Tensor) -> Tensor:
        return draws[0]


class _Scored:
    """An objective that is judged and never climbed."""

    def __init__(self, score: Callable[[Tensor, Tensor], Tensor]):
        self.score = score

    def prepare(self, clean: Tensor, generator: torch.Generator | None = None) -> Goal:
        return Goal(lambda maps: self.score(clean, maps), loss=None)
