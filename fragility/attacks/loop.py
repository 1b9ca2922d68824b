"""The attack loop: start, direction, project, select. Every attack is this loop with other parts."""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from fragility import checks
from fragility.attacks.directions import CURVATURES, FINITE, DoubleBackprop, FiniteDifference
from fragility.attribution.method import MethodInfo, method_info
from fragility.attribution.pixel import normalised
from fragility.passes import Targets, batches, explain, logits_of, predict


class Attacked(NamedTuple):
    """What :func:`attack` gives for a batch of n images."""

    x: Tensor           #: Images (n, c, h, w); the clean image where nothing was found.
    found: Tensor       #: Whether some iterate kept the label, (n,) bool.
    objective: Tensor   #: The objective of x, or the score of `select`, (n,).
    steps: Tensor       #: The step that gave x, (n,) int64; 0 where nothing was found.


def attack(model, x: Tensor, *, method: str | Callable = "gradient", objective, epsilon: float,
           steps: int = 100, step_size: float | None = None, curvature=None, select: Callable | None = None,
           generator: torch.Generator | None = None, method_args: dict | None = None,
           chunk: int | None = None) -> Attacked:
    r"""Change the map of each image, but not its label, within a small ball [ghorbani2019, algorithm 1].

    .. math:: x^{p} = \Pi\bigl(x^{p-1} + \alpha\, \mathrm{sign}\, \nabla_x D(x^{p-1})\bigr), \qquad
              \Pi: \lVert x^p - x \rVert_\infty \le \epsilon,\; x^p \in [0, 1]

    Of the iterates that the network classifies as it does the clean image, the one with the largest
    objective is returned.

    Parameters
    ----------
    model, x
        Model in evaluation mode; images (n, c, h, w) in [0, 1].
    method
        Map that is attacked: a name in `attribution.METHODS` or a callable (model, x, target).
    objective
        `TopK(k)`, `LensTopK(k, window)`, `MassCenter()` or `Target(mask)`.
    epsilon, step_size
        Radius of the ball and length of a step, both in (0, 1] and in units of x. A `step_size` of None means the
        larger of epsilon / 16 and epsilon / steps, so that even a short attack can reach the boundary of the ball.
    steps
        Number of steps P; 300 in the paper.
    curvature
        "finite-difference" (default for maps that are made of gradients: gradient, gradient x input, LRP by the z
        rule, integrated gradients, SmoothGrad and its variants), "double-backprop" (the published way; default for
        all others), or an instance of :class:`FiniteDifference` or :class:`DoubleBackprop` with your own settings.
    select
        Score that chooses the iterate instead of the objective: a function (clean maps, maps) -> (n,). Both maps
        are (n, h, w) and normalised; the largest score wins.
    generator
        Source of random numbers for the symmetry break of `MassCenter`, for random path points and for methods that
        draw noise; None uses torch's global generator.
    method_args
        Options of the method, such as `{"steps": 25}`.
    chunk
        Largest number of images processed at once; bounds the memory and does not change the result.

    Returns
    -------
    Attacked
        All of its images lie in the ball and in [0, 1]. An image counts as found if some iterate other than the
        image itself keeps the label and has a map that is not zero everywhere.

    Raises
    ------
    ValueError
        Bad input, an option that the method does not have, a method that `curvature` does not cover, a model
        outside the rules of :class:`fragility.rules.model.RuleModel`, or a map whose direction is zero for every image.
    """
    checks.model(model)
    checks.images(x, unit_range=True)
    checks.real("epsilon", epsilon, 0, 1, exclusive=True)
    checks.integer("steps", steps, 1)
    if step_size is not None:
        checks.real("step_size", step_size, 0, 1, exclusive=True)
    if isinstance(objective, type) or not hasattr(objective, "prepare"):
        raise ValueError(f"objective must be TopK(k), LensTopK(k, window), MassCenter() or Target(mask), "
                         f"not {objective!r}.")
    if select is not None and not callable(select):
        raise ValueError("select must be a function (clean maps, maps) -> (n,), larger for more change, "
                         f"not {select!r}.")
    if chunk is not None:
        checks.integer("chunk", chunk, 1)
    info = method_info(method)
    options = _options(info, dict(method_args or {}), checks.generator(generator))
    direction = _curvature(curvature, info, options)
    direction.prepare(info, epsilon, options)
    with torch.inference_mode(False), torch.no_grad():
        x = checks.for_autograd(x.detach())
        loop = _Attack(model, x, info, options, objective, direction, select, generator, chunk)
        return loop.run(epsilon, steps, step_size or max(epsilon / 16, epsilon / steps))


def _options(method: MethodInfo, given: dict, generator: torch.Generator | None) -> dict:
    """The method's options: those that are given, and the attack's generator where the method draws."""
    unknown = given.keys() - set(method.names)
    if unknown and not method.accepts_any_option:
        raise ValueError(f"method_args holds {', '.join(sorted(unknown))}, which the method {method.name} does not "
                         f"have; its options are: {', '.join(method.names) or 'none'}.")
    drawn = {"generator": generator} if "generator" in method.names else {}
    return {**drawn, **method.options, **given}


def _curvature(curvature, method: MethodInfo, options: dict):
    if curvature is None:
        return FiniteDifference() if method.form_of(options) in FINITE else DoubleBackprop()
    if isinstance(curvature, str):
        return CURVATURES[checks.choice("curvature", curvature, CURVATURES)]()
    if isinstance(curvature, type) or not hasattr(curvature, "prepare"):
        raise ValueError(f"curvature must be one of {', '.join(CURVATURES)}, or an instance such as "
                         f"FiniteDifference(points=4), not {curvature!r}.")
    return curvature


class _Attack:
    """One attack on a batch: what stays the same from step to step.

    Images are scored and stepped `chunk` at a time; random numbers are drawn for the whole batch, so that the result
    does not depend on it.
    """

    def __init__(self, model, x: Tensor, method: MethodInfo, options: dict, objective, direction, select, generator,
                 chunk):
        self.model, self.x, self.method, self.options = model, x, method, options
        self.direction, self.generator, self.chunk = direction, generator, chunk
        # A method that draws inside its direction draws for the whole batch, so there the chunk cannot bound it.
        whole = chunk is None or getattr(direction, "draws_inside", False)
        self.rows = [slice(None)] if whole else list(batches(len(x), x, chunk))
        self.targets = Targets(predict(model, x, chunk), len(x), x.device)
        self.is_gradient = method.form_of(options) == "gradient"
        clean, _ = self.evaluate(x)
        self.maps = checks.finite(clean, "The map of x")
        self.clean = normalised(clean)
        self.nonzero = _is_nonzero(self.clean)
        self.objective = objective.prepare(self.clean, generator)
        self.select = select

    def evaluate(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Signed maps, and whether the network still gives the clean label."""
        if self.is_gradient:   # its pass has the logits already
            maps, logits = explain(self.model, x, self.targets, self.chunk)
        else:
            maps, logits = self._maps(x).detach(), logits_of(self.model, x, self.chunk)
        return maps, logits.argmax(1) == self.targets.classes

    @torch.enable_grad()        # a user's own method may differentiate as it likes
    def _maps(self, x: Tensor) -> Tensor:
        if "chunk" in self.method.names:
            return self.method.kernel(self.model, x, self.targets, **{"chunk": self.chunk, **self.options})
        return torch.cat([self.method.kernel(self.model, x[rows], self.targets[rows], **self.options)
                          for rows in self.rows])

    def score(self, pixels: Tensor) -> Tensor:
        """The score (n,) that chooses the best iterate; -inf where its map, or the clean map, is zero everywhere."""
        nonzero = self.nonzero & _is_nonzero(pixels)
        if self.select is None:
            return torch.where(nonzero, self.objective.score(pixels), -torch.inf)
        if not checks.any_true(~nonzero):
            return self.select(self.clean, pixels).to(pixels)
        scores = torch.full(nonzero.shape, -torch.inf, dtype=pixels.dtype, device=pixels.device)
        if checks.any_true(nonzero):
            scores[nonzero] = self.select(self.clean[nonzero], pixels[nonzero]).to(scores)
        return scores

    def step(self, x: Tensor, maps: Tensor) -> Tensor:
        """The ascent direction at x, for the whole batch."""
        draws = self.direction.draw(x, self.generator)
        parts = []
        for rows in self.rows:
            loss = lambda pixels, rows=rows: self.objective.loss(pixels, rows)
            drawn = None if draws is None else draws[:, rows]
            parts.append(self.direction(self.model, x[rows], self.targets[rows], loss, maps[rows], drawn))
        return torch.cat(parts)

    def run(self, epsilon: float, steps: int, step_size: float) -> Attacked:
        x = self.x
        low, high = (x - epsilon).clamp_min(0), (x + epsilon).clamp_max(1)
        best, best_step = x.clone(), torch.zeros(len(x), dtype=torch.int64, device=x.device)
        best_score = torch.full(best_step.shape, -torch.inf, dtype=self.clean.dtype, device=x.device)
        adversarial, maps = x, self.maps
        for step in range(1, steps + 1):
            gradient = self.step(adversarial, maps)
            if step == 1:
                self._refuse_flat(gradient)
            adversarial = torch.clamp(adversarial + step_size * gradient.sign(), low, high)
            if self.is_gradient or step % self.direction.score_every == 0 or step == steps:
                maps, kept = self.evaluate(adversarial)
                changed = (adversarial != x).flatten(1).any(1)
                score = torch.where(kept & changed, self.score(normalised(maps)), -torch.inf)
                better = score > best_score
                best = torch.where(better.view(-1, *[1] * (x.ndim - 1)), adversarial, best)
                best_score = torch.where(better, score, best_score)
                best_step = torch.where(better, step, best_step)
        found = best_step > 0
        start = torch.where(self.nonzero, self.score(self.clean), 0.0)
        return Attacked(best, found, torch.where(found, best_score, start), best_step)

    def _refuse_flat(self, gradient: Tensor) -> None:
        """Raise ValueError where the direction is zero for every image: not moving would look like robustness."""
        flat = ~((gradient != 0).flatten(1).any(1) & self.nonzero).any()
        if checks.any_true(flat):
            zero = "" if self.nonzero.all() else f" (and the map is zero in {checks.image_list(~self.nonzero)})"
            raise ValueError(f"The map of {self.method.name} does not change with the image as far as "
                             f"{type(self.direction).__name__} can tell: its direction is zero for every "
                             f"image{zero}, so no attack of this kind can move it. That says nothing of its "
                             "robustness; measure it under random signs, or attack it with another curvature.")


def _is_nonzero(pixels: Tensor) -> Tensor:
    """Which maps (n, h, w) are not zero everywhere."""
    return (pixels != 0).flatten(1).any(1)
