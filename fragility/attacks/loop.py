"""The attack loop: start, direction, project, select. Every attack is this loop with other parts."""

import inspect
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from fragility import attribution, checks
from fragility.attacks.directions import CURVATURES, DoubleBackprop, FiniteDifference
from fragility.attribution.method import by_name, kernel_of
from fragility.attribution.pixel import normalised
from fragility.passes import Output, explain, logits_of, predict


class Attacked(NamedTuple):
    """What :func:`attack` gives for a batch of n images."""

    x: Tensor           #: Images (n, c, h, w); the clean image where nothing was found.
    found: Tensor       #: Whether some iterate kept the label, (n,) bool.
    objective: Tensor   #: The objective of x, or the score of `select`, (n,).
    steps: Tensor       #: The step that gave x, (n,) int64; 0 where nothing was found.


def attack(model, x: Tensor, *, method: str | Callable = "gradient", objective, epsilon: float,
           steps: int = 100, step_size: float | None = None, curvature=None, select: Callable | None = None,
           generator: torch.Generator | None = None, method_args: dict | None = None) -> Attacked:
    r"""Change the map of each image within a small ball, and not its label [ghorbani2019, algorithm 1].

    .. math:: x^{p} = \Pi\bigl(x^{p-1} + \alpha\, \mathrm{sign}\, \nabla_x D(x^{p-1})\bigr), \qquad
              \Pi: \lVert x^p - x \rVert_\infty \le \epsilon,\; x^p \in [0, 1]

    Of the iterates that the network gives the label of the clean image, the one with the largest
    objective wins.

    Parameters
    ----------
    model, x
        Model in evaluation mode; images (n, c, h, w) in [0, 1].
    method
        Map that is attacked: a name in `attribution.METHODS` or a callable (model, x, target).
    objective
        `TopK(k)`, `LensTopK(k, window)`, `MassCenter()` or `Target(mask)`.
    epsilon, step_size
        Radius of the ball and length of a step, as shares of the range [0, 1]; the step is epsilon / 16
        where None.
    steps
        Number of steps P; 300 in the paper.
    curvature
        "finite-difference" (default for "gradient" and "integrated_gradients"), "double-backprop" (the
        published way; default for all others), or an instance of the class behind the name, with its
        own settings.
    select
        Another score (clean maps, maps) -> (n,), each (n, h, w) normalised, larger wins.
    generator
        For the symmetry break of `MassCenter`, random path points and methods that draw; None takes torch's global
        one.
    method_args
        Options of the method, such as `{"steps": 25}`.

    Returns
    -------
    Attacked
        Nothing in it lies outside the ball or [0, 1].

    Raises
    ------
    ValueError
        Bad input, an option that the method does not have, a method that `curvature` does not cover, or a model
        outside the rules of :class:`fragility.rules.twin.Twin`.
    """
    checks.model(model)
    checks.images(x, unit_range=True)
    checks.number("epsilon", epsilon, 0, 1, exclusive=True)
    checks.whole("steps", steps, 1)
    if step_size is not None:
        checks.number("step_size", step_size, 0, 1, exclusive=True)
    if isinstance(objective, type) or not hasattr(objective, "prepare"):
        raise ValueError(f"objective must be TopK(k), LensTopK(k, window), MassCenter() or Target(mask), "
                         f"not {objective!r}.")
    if select is not None and not callable(select):
        raise ValueError("select must be a function (clean maps, maps) -> (n,), larger for more change, "
                         f"not {select!r}.")
    method = by_name(method)
    method_args = _options(method, dict(method_args or {}), checks.generator(generator))
    direction = _curvature(curvature, method)
    direction.prepare(method, epsilon, method_args)
    with torch.inference_mode(False), torch.no_grad():
        return _climb(model, x.detach().clone(), kernel_of(method), method_args, objective, epsilon, steps,
                      step_size or epsilon / 16, direction, select, generator)


def _options(method: Callable, given: dict, generator: torch.Generator | None) -> dict:
    """The method's options: those that are given, and the attack's generator where the method draws."""
    parameters = inspect.signature(getattr(method, "options_of", method)).parameters
    known = list(parameters.values())[3:]       # after model, x, target
    names = [one.name for one in known if one.kind is not one.VAR_KEYWORD]
    unknown = given.keys() - set(names)
    if unknown and len(names) == len(known):
        raise ValueError(f"method_args holds {', '.join(sorted(unknown))}, which the method does not have; its options "
                         f"are: {', '.join(names) or 'none'}.")
    return {"generator": generator, **given} if "generator" in names else given


def _curvature(curvature, method: Callable):
    if curvature is None:
        smooth = (attribution.gradient, attribution.integrated_gradients)
        return FiniteDifference() if method in smooth else DoubleBackprop()
    if isinstance(curvature, str):
        return CURVATURES[checks.choice("curvature", curvature, CURVATURES)]()
    if isinstance(curvature, type) or not hasattr(curvature, "prepare"):
        raise ValueError(f"curvature must be one of {', '.join(CURVATURES)}, or an instance such as "
                         f"FiniteDifference(points=4), not {curvature!r}.")
    return curvature


def _climb(model, x, kernel, arguments, objective, epsilon, steps, step_size, direction, select, generator):
    output = Output(predict(model, x), len(x), x.device)
    is_gradient = kernel is kernel_of(attribution.gradient)

    def look(x):
        """The signed map, and whether the network still gives the clean label."""
        if is_gradient:   # its pass has the logits already
            maps, logits = explain(model, x, output)
        else:
            maps, logits = kernel(model, x, output, **arguments).detach(), logits_of(model, x)
        return maps, logits.argmax(1) == output.classes

    clean, _ = look(x)
    checks.finite(clean, "The map of x")
    clean_pixels = normalised(clean)
    goal = objective.prepare(clean_pixels, generator)
    judge = goal.score if select is None else (lambda pixels: select(clean_pixels, pixels))

    low, high = (x - epsilon).clamp_min(0), (x + epsilon).clamp_max(1)
    best, best_score = x.clone(), torch.full_like(x[:, 0, 0, 0], -torch.inf)
    best_step = torch.zeros(len(x), dtype=torch.int64, device=x.device)
    moving, maps = x, clean
    for step in range(1, steps + 1):
        slope = direction(model, moving, output, goal.drive, maps, generator)
        moving = torch.clamp(moving + step_size * slope.sign(), low, high)
        if is_gradient or step % direction.every == 0 or step == steps:
            maps, kept = look(moving)
            score = torch.where(kept, judge(normalised(maps)), -torch.inf)
            better = score > best_score
            best = torch.where(better[:, None, None, None], moving, best)
            best_score = torch.where(better, score, best_score)
            best_step = torch.where(better, step, best_step)
    found = best_step > 0
    return Attacked(best, found, torch.where(found, best_score, judge(clean_pixels)), best_step)

