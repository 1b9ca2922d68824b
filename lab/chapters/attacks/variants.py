"""The attack of the comparison with one thing changed at a time: steps, cost, and choices of the published code.

A variant has a name, the settings that it changes, and a question that it helps to answer. All use the same images.
"""

import time

import pandas as pd
import torch
from pydantic import Field
from torch import Tensor, nn

from fragility import attacks, attribution, metrics
from fragility.attacks.objectives import PreparedObjective
from fragility.metrics.agreement import center_of_mass
from lab.core.experiment import Experiment, Factor, Outcome, generator_for, shrink
from lab.core.parameters import Parameters
from lab.core.store import Store
from lab.trained import natural, subjects
from lab.trained.maps import method_of, step_size

METHODS = ("gradient", "integrated_gradients")


class Variants(Parameters):
    """Parameters of the variants; network and images are those of the comparison."""

    data_set: str
    network: str
    epochs: int = Field(ge=0)
    k: int = Field(ge=1)
    close_images: int = Field(ge=2)
    close_epsilon: float = Field(gt=0, le=1)
    close_steps: list[int] = Field(min_length=2)
    walk_steps: int = Field(ge=1)
    path_steps: int = Field(ge=1)
    betas: list[float] = Field(min_length=1)
    seed: int = 0


def cells(parameters: Variants) -> list[dict]:
    p = parameters
    shared = {"data_set": p.data_set, "network": p.network, "epochs": p.epochs, "k": p.k, "images": p.close_images,
              "epsilon": p.close_epsilon, "path_steps": p.path_steps, "seed": p.seed}
    usual, enough = p.close_steps[len(p.close_steps) // 2], p.close_steps[-2]
    variants = [("steps", "ours", method, {"steps": steps}) for method in METHODS for steps in p.close_steps]
    variants += [("cost", "finite difference", "gradient", {})]
    variants += [("cost", f"double backprop, beta {beta:g}", "gradient", {"beta": beta}) for beta in p.betas]
    variants += [("cost", f"{points} random points", "integrated_gradients", {"points": points})
                 for points in (1, 2, 4)]
    variants += [("cost", "double backprop, whole path", "integrated_gradients", {"beta": p.betas[0]})]
    variants += [("cost", f"double backprop, whole path, beta {p.betas[-1]:g}", "integrated_gradients",
                  {"beta": p.betas[-1]})]
    variants += [("start", start, "gradient", {"objective": start}) for start in CENTERS]
    # Enough steps to reach the boundary of the ball, as random signs do at once.
    variants += [("twin", f"beta {beta:g}", "gradient", {"beta": beta, "steps": enough}) for beta in p.betas]
    variants += [("random", "one draw", "gradient", {}),
                 ("random", "best of a walk", "gradient", {"steps": p.walk_steps})]
    variants += [("output", name, "gradient", {}) for name in ("logit", "probability")]
    variants += [("selection", name, "gradient", {}) for name in SELECTIONS]
    return [{**shared, "question": question, "variant": variant, "method": method, "steps": usual, **changes}
            for question, variant, method, changes in variants]


def run(cell: dict, store: Store) -> Outcome:
    model, x, labels = subjects.subjects(cell, store)
    method, options = method_of(cell)
    explained = _Probability(model) if cell["variant"] == "probability" else model
    clean = attribution.pixel_map(method(explained, x, labels, **options))
    start = time.perf_counter()
    adversarial, found = _attacked(explained, x, cell, options)
    seconds = (time.perf_counter() - start) / len(x)
    after = attribution.pixel_map(method(explained, adversarial, labels, **options))
    scores = {"topk": metrics.topk_intersection(clean, after, cell["k"]), "spearman": metrics.spearman(clean, after),
              "center": metrics.center_shift(clean, after), "center_truncated": _truncated_shift(clean, after)}
    return Outcome(pd.DataFrame({"image": range(len(x)), "pixels": clean[0].numel(), "found": found.tolist(),
                                 "seconds": seconds, **{name: value.tolist() for name, value in scores.items()}}))


def _attacked(model, x: Tensor, cell: dict, options: dict) -> tuple[Tensor, Tensor]:
    generator = generator_for(cell)
    if cell["variant"] == "one draw":
        noisy = attacks.random_sign(x, epsilon=cell["epsilon"], generator=generator)
        return noisy, torch.ones(len(x), dtype=torch.bool)
    shared = {"method": cell["method"], "epsilon": cell["epsilon"], "steps": cell["steps"], "generator": generator,
              "step_size": step_size(cell), "method_args": options}
    if cell["variant"] == "best of a walk":
        result = attacks.random_walk(model, x, score=SELECTIONS["overlap"](cell["k"]), **shared)
        return result.x, result.found
    curvature = None
    if "beta" in cell:
        curvature = attacks.DoubleBackprop(cell["beta"])
    elif cell["method"] == "integrated_gradients":
        curvature = attacks.FiniteDifference(cell.get("points", 2))
    objective = CENTERS[cell["objective"]] if "objective" in cell else attacks.TopK(cell["k"])
    if cell.get("objective") == EXACT:
        # The gradient of the distance from the clean centre is zero at the clean image, which the attack refuses.
        return x, torch.ones(len(x), dtype=torch.bool)
    result = attacks.attack(model, x, objective=objective, curvature=curvature,
                            select=SELECTIONS[cell["variant"]](cell["k"]) if cell["question"] == "selection" else None,
                            **shared)
    return result.x, result.found


class _Probability(nn.Module):
    """Softmax probabilities in place of logits, which the published attack on integrated gradients explains."""

    def __init__(self, model):
        super().__init__()
        self.model = model
        self.eval()

    def forward(self, x: Tensor) -> Tensor:
        return self.model(x).softmax(1)


class _MassCenterFrom:
    """The mass-centre objective whose loss is measured from `origin`, a function of the clean centre."""

    def __init__(self, origin):
        self.origin = origin

    def prepare(self, clean: Tensor, generator: torch.Generator | None = None) -> PreparedObjective:
        start, origin = center_of_mass(clean), self.origin(center_of_mass(clean))
        return PreparedObjective(lambda maps: (center_of_mass(maps) - start).norm(dim=1),
                                 lambda maps, rows: (center_of_mass(maps) - origin[rows]).square().sum(1))


EXACT = "exact"
CENTERS = {"set off at random": attacks.MassCenter(), "truncated to whole pixels": _MassCenterFrom(torch.floor),
           EXACT: _MassCenterFrom(torch.clone)}
#: Score by which an attack chooses its best iterate, from the number k of top pixels; None is its objective.
SELECTIONS = {"objective": lambda k: None, "overlap": lambda k: lambda a, b: -metrics.topk_intersection(a, b, k),
              "rank correlation": lambda k: lambda a, b: -metrics.spearman(a, b),
              "centre shift": lambda k: metrics.center_shift}


def _truncated_shift(a: Tensor, b: Tensor) -> Tensor:
    """Distance between centres of mass that are truncated to whole pixels, as the published code measures it."""
    return (center_of_mass(a).floor() - center_of_mass(b).floor()).norm(dim=1)


def sketch(cell: dict) -> tuple[dict, Factor]:
    tiny, times = shrink(natural.untrained(cell), images=2, steps=4)
    return tiny, Factor(times["images"] * times["steps"])


EXPERIMENT = Experiment(
    "variants", 1, Variants, cells, subjects.inputs, run, sketch,
    canary={"data_set": "mnist-5k", "network": "mnist-cnn", "epochs": 1, "images": 16, "k": 50, "epsilon": 0.1,
            "path_steps": 8, "seed": 0, "question": "start", "variant": "truncated to whole pixels",
            "method": "gradient", "objective": "truncated to whole pixels", "steps": 4},
    canary_values={"topk": 0.819, "center": 0.6165}, notebook="attacks", reads=("networks",))
