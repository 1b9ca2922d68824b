r"""Does fragility grow with the dimension of the input? A simulation [ghorbani2019, section 5 and appendix].

Random networks :math:`S(x) = \sum_j v_j\, g(w_j^\top x)` with g = softplus, unit rows w, v normal with
variance 1 / width, and standard normal x; width 1 is a single neuron. The paper gives no settings; these are ours.
"""

import pandas as pd
import torch
from pydantic import Field
from torch import Tensor

from fragility import curvature, metrics
from lab.core.experiment import Experiment, Factor, Outcome, generator_for
from lab.core.parameters import Parameters
from lab.core.store import Store

PERTURBATIONS = ("random", "sign")


class Simulation(Parameters):
    """Parameters of the simulation."""

    widths: list[int] = Field(min_length=1)
    dimensions: list[int] = Field(min_length=1)
    random_networks: int = Field(ge=2)
    simulation_epsilon: float = Field(gt=0)
    seed: int = 0


def cells(parameters: Simulation) -> list[dict]:
    return [{"width": width, "dimension": dimension, "networks": parameters.random_networks,
             "epsilon": parameters.simulation_epsilon, "seed": parameters.seed}
            for width in parameters.widths for dimension in parameters.dimensions]


def run(cell: dict, store: Store | None = None) -> Outcome:
    generator, rows = generator_for(cell), []
    for network in range(cell["networks"]):
        w = torch.randn((cell["width"], cell["dimension"]), generator=generator, dtype=torch.float64)
        w /= w.norm(dim=1, keepdim=True)
        v = torch.randn(cell["width"], generator=generator, dtype=torch.float64) / cell["width"]**0.5
        x = torch.randn(cell["dimension"], generator=generator, dtype=torch.float64)
        before, dominant = _gradient(w, v, x), _dominant(w, v, x, generator)
        angle = curvature.angle(dominant[None], before[None]).item()
        random = torch.randint(0, 2, x.shape, generator=generator).to(x) * 2 - 1
        # An eigenvector has no sign of its own, so both are tried, and the larger change of the gradient counts.
        steps = {"random": [random], "sign": [dominant.sign(), -dominant.sign()]}
        for name, signs in steps.items():
            candidates = [_gradient(w, v, x + cell["epsilon"] * step) for step in signs]
            after = max(candidates, key=lambda end: (end - before).norm().item())
            rows.append({"image": network, "perturbation": name, "angle": angle,
                         "relative": ((after - before).norm() / before.norm()).item(),
                         "cosine": torch.cosine_similarity(after, before, dim=0).item(),
                         "spearman": metrics.spearman(before.abs()[None, None], after.abs()[None, None]).item(),
                         "bound": _bound(w, v, x, cell["epsilon"])})
    return Outcome(pd.DataFrame(rows))


def _gradient(w: Tensor, v: Tensor, x: Tensor) -> Tensor:
    return (v * torch.sigmoid(w @ x)) @ w


def _hessian_weights(w: Tensor, v: Tensor, x: Tensor) -> Tensor:
    """v g'' of every unit, with which the Hessian is w^T diag(v g'') w."""
    p = torch.sigmoid(w @ x)
    return v * p * (1 - p)


def _dominant(w: Tensor, v: Tensor, x: Tensor, generator: torch.Generator) -> Tensor:
    """Eigenvector of the Hessian of largest absolute eigenvalue, in the space of the units where that is smaller."""
    weights = _hessian_weights(w, v, x)
    if len(w) <= len(x):
        basis, triangle = torch.linalg.qr(w.mT)                       # w = triangle^T basis^T
        values, vectors = torch.linalg.eigh((triangle * weights) @ triangle.mT)
        return basis @ vectors[:, values.abs().argmax()]
    values, vectors = torch.linalg.eigh((w.mT * weights) @ w)
    return vectors[:, values.abs().argmax()]


def _bound(w: Tensor, v: Tensor, x: Tensor, epsilon: float) -> float:
    """The paper's formula for a single neuron, |g'' / g'| epsilon ||w||_1, to first order; NaN for more neurons."""
    if len(w) > 1:
        return float("nan")
    return ((1 - torch.sigmoid(w @ x)) * epsilon * w.abs().sum()).item()


def sketch(cell: dict) -> tuple[dict, Factor]:
    return {**cell, "networks": 2}, Factor(cell["networks"] / 2)


EXPERIMENT = Experiment(
    "dimension", 2, Simulation, cells, lambda cell, store: {}, run, sketch,
    canary={"width": 10, "dimension": 100, "networks": 40, "epsilon": 0.1, "seed": 0},
    canary_values={"angle": 58.9, "relative": 0.134}, notebook="influence")
