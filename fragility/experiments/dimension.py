r"""Does fragility grow with the dimension of the input? [ghorbani2019, section 5 and appendix]

Simulation: random networks :math:`S(x) = \sum_j v_j\, g(w_j^\top x)` with g = softplus, unit rows w, v normal with
variance 1 / width, and standard normal x; width 1 is a single neuron. The paper gives no settings; these are ours.
Photographs: the same images and network at several resolutions.
"""

import pandas as pd
import torch
import torch.nn.functional as F
from pydantic import Field, field_validator
from torch import Tensor

from fragility import attacks, attribution, checks, curvature, data, metrics
from fragility.attribution.output import logits_of
from fragility.experiments import fragile
from fragility.experiments.base import Experiment, Factor, Outcome, Parameters, generator_for
from fragility.store import Store

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
        before, steepest = _gradient(w, v, x), _dominant(w, v, x, generator)
        angle = curvature.angle(steepest[None], before[None]).item()
        random = torch.randint(0, 2, x.shape, generator=generator).to(x) * 2 - 1
        # An eigenvector has no sign of its own: the worse of its two signs is the worst perturbation.
        steps = {"random": [random], "sign": [steepest.sign(), -steepest.sign()]}
        for name, signs in steps.items():
            ends = [_gradient(w, v, x + cell["epsilon"] * step) for step in signs]
            after = max(ends, key=lambda end: (end - before).norm().item())
            rows.append({"image": network, "perturbation": name, "angle": angle,
                         "relative": ((after - before).norm() / before.norm()).item(),
                         "cosine": torch.cosine_similarity(after, before, dim=0).item(),
                         "spearman": metrics.spearman(before.abs()[None, None], after.abs()[None, None]).item(),
                         "bound": _bound(w, v, x, cell["epsilon"])})
    return Outcome(pd.DataFrame(rows))


def _gradient(w: Tensor, v: Tensor, x: Tensor) -> Tensor:
    return (v * torch.sigmoid(w @ x)) @ w


def _bent(w: Tensor, v: Tensor, x: Tensor) -> Tensor:
    """v g'' of every unit: the Hessian is w^T diag(.) w."""
    on = torch.sigmoid(w @ x)
    return v * on * (1 - on)


def _dominant(w: Tensor, v: Tensor, x: Tensor, generator: torch.Generator) -> Tensor:
    """Eigenvector of the Hessian of largest absolute eigenvalue; from its small side, since it has rank <= width."""
    bent = _bent(w, v, x)
    if len(w) <= len(x):
        basis, triangle = torch.linalg.qr(w.mT)                       # w = triangle^T basis^T
        values, vectors = torch.linalg.eigh((triangle * bent) @ triangle.mT)
        return basis @ vectors[:, values.abs().argmax()]
    values, vectors = torch.linalg.eigh((w.mT * bent) @ w)
    return vectors[:, values.abs().argmax()]


def _bound(w: Tensor, v: Tensor, x: Tensor, epsilon: float) -> float:
    """What the paper's formula gives for a single neuron, |g'' / g'| epsilon ||w||_1, to first order; NaN for more."""
    if len(w) > 1:
        return float("nan")
    return ((1 - torch.sigmoid(w @ x)) * epsilon * w.abs().sum()).item()


def sketch(cell: dict) -> tuple[dict, Factor]:
    return {**cell, "networks": 2}, Factor(cell["networks"] / 2)


EXPERIMENT = Experiment(
    "dimension", 2, Simulation, cells, lambda cell, store: {}, run, sketch,
    canary={"width": 10, "dimension": 100, "networks": 40, "epsilon": 0.1, "seed": 0},
    canary_values={"angle": 58.9, "relative": 0.134}, notebook="influence")


class Resolution(Parameters):
    """Parameters of the comparison of resolutions."""

    resolution_data_set: str
    resolution_network: str
    epochs: int = Field(ge=0)
    resolutions: list[int] = Field(min_length=2)
    resolution_images: int = Field(ge=2)
    resolution_epsilon: float = Field(gt=0, le=1)
    resolution_steps: int = Field(ge=1)
    seed: int = 0

    @field_validator("resolution_data_set")
    @classmethod
    def known_data(cls, name):
        return checks.choice("Data set", name, data.NAMES)


def resolution_cells(parameters: Resolution) -> list[dict]:
    p = parameters
    return [{"data_set": p.resolution_data_set, "network": p.resolution_network, "epochs": p.epochs,
             "images": p.resolution_images, "epsilon": p.resolution_epsilon, "steps": p.resolution_steps,
             "resolutions": p.resolutions, "side": side, "attack": attack, "seed": p.seed}
            for side in p.resolutions for attack in ("random_sign", "topk")]


def run_resolution(cell: dict, store: Store) -> Outcome:
    """A fiftieth of the pixels is the top; images that the network classifies alike at every resolution."""
    model, _ = fragile.networks.trained(cell["network"], cell["data_set"], cell["epochs"], cell["seed"], store)
    x = fragile.candidates(cell, store)[:16 * cell["images"]]
    labels = logits_of(model, x).argmax(1)
    alike = torch.stack([logits_of(model, _resized(x, side)).argmax(1) == labels
                         for side in cell["resolutions"]]).all(0)
    if alike.sum() < cell["images"]:
        raise ValueError(f"Only {int(alike.sum())} images keep their class at all of the resolutions "
                         f"{cell['resolutions']}, fewer than the {cell['images']} that were asked for.")
    x, labels = _resized(x[alike][:cell["images"]], cell["side"]), labels[alike][:cell["images"]]
    k, generator = max(1, cell["side"]**2 // 50), generator_for(cell)
    if cell["attack"] == "topk":
        moved = attacks.attack(model, x, objective=attacks.TopK(k), epsilon=cell["epsilon"], steps=cell["steps"],
                               generator=generator).x
    else:
        moved = attacks.random_sign(x, epsilon=cell["epsilon"], generator=generator)
    signed = [attribution.gradient(model, images, labels) for images in (x, moved)]
    a, b = map(attribution.pixel_map, signed)
    return Outcome(pd.DataFrame({"image": range(len(x)), "values": x[0].numel(),
                                 "topk": metrics.topk_intersection(a, b, k).tolist(),
                                 "spearman": metrics.spearman(a, b).tolist(),
                                 "relative": metrics.invariance(*signed).relative.tolist()}))


def _resized(x: Tensor, side: int) -> Tensor:
    return F.interpolate(x, (side, side), mode="bilinear", antialias=True, align_corners=False).clamp(0, 1)


def resolution_sketch(cell: dict) -> tuple[dict, Factor]:
    images, steps = min(2, cell["images"]), min(4, cell["steps"])
    return {**fragile.networks.untrained(cell), "images": images, "steps": steps}, Factor(
        cell["images"] / images * (cell["steps"] / steps if cell["attack"] == "topk" else 1))


RESOLUTION = Experiment(
    "resolution", 1, Resolution, resolution_cells, fragile.inputs, run_resolution, resolution_sketch,
    canary={"data_set": "mnist-5k", "network": "mnist-resnet", "epochs": 1, "images": 8, "epsilon": 0.05, "steps": 2,
            "resolutions": [28], "side": 28, "attack": "topk", "seed": 0},
    canary_values={"topk": 0.775, "spearman": 0.933}, notebook="influence")
