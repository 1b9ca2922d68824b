"""Angles between the directions that change a map and a score fastest [ghorbani2019, figure 5]."""

import numpy as np
import pandas as pd
import torch
from pydantic import Field
from scipy.special import gammaln
from torch import Tensor, nn

from fragility import attribution, curvature, influence
from lab.chapters.influence import influences
from lab.core.experiment import Experiment, Factor, Outcome, generator_for, shrink
from lab.core.parameters import Parameters
from lab.core.store import Store
from lab.trained import natural, subjects

KINDS = ("feature importance", "sample importance")
STEP = 0.1      # Euclidean length of the step along the dominant direction, for images in [0, 1]


class Directions(Parameters):
    """Parameters of the angles; those of sample importance use images and head of the experiment on influences."""

    data_set: str
    direction_network: str
    network: str
    epochs: int = Field(ge=0)
    classes: list[str] = Field(min_length=2, max_length=2)
    train_images: int = Field(ge=10)
    test_images: int = Field(ge=2)
    l2: float = Field(gt=0)
    direction_images: int = Field(ge=2)
    beta: float = Field(gt=0)
    iterations: int = Field(ge=1)
    direction_data_set: str
    bound_data_set: str
    bound_network: str
    seed: int = 0


def cells(parameters: Directions) -> list[dict]:
    """For feature importance `direction_network` and, where it is another one, `bound_network`, which has a bound."""
    p = parameters
    pairs = dict.fromkeys([(p.direction_data_set, p.direction_network), (p.bound_data_set, p.bound_network)])
    features = [{"kind": KINDS[0], "data_set": data_set, "network": network, "epochs": p.epochs,
                 "images": p.direction_images, "beta": p.beta, "iterations": p.iterations, "seed": p.seed}
                for data_set, network in pairs]
    shared = p.model_dump(include={"data_set", "network", "epochs", "classes", "train_images", "test_images", "l2",
                                   "seed"})
    return [*features, {"kind": KINDS[1], **shared}]


def inputs(cell: dict, store: Store) -> dict:
    return (subjects if cell["kind"] == KINDS[0] else influences).inputs(cell, store)


def run(cell: dict, store: Store) -> Outcome:
    return Outcome(_of_features(cell, store) if cell["kind"] == KINDS[0] else _of_samples(cell, store))


def _of_features(cell: dict, store: Store) -> pd.DataFrame:
    """Angle of the dominant eigenvector of the smooth twin's Hessian to its gradient; and how tight a norm bound is."""
    model, x, labels = subjects.subjects(cell, store)
    twin = curvature.smoothed(model, cell["beta"])
    dominant = curvature.dominant_direction(twin, x, labels, iterations=cell["iterations"],
                                            generator=generator_for(cell))
    gradients = attribution.gradient(twin, x, labels)
    of_network = attribution.gradient(model, x, labels)
    cosine = torch.cosine_similarity(gradients.flatten(1), of_network.flatten(1))
    return pd.DataFrame({"image": range(len(x)), "pixels": x[0].numel(),
                         "angle": curvature.angle(dominant.direction, gradients).tolist(),
                         "eigenvalue": dominant.eigenvalue.tolist(), "twin_cosine": cosine.tolist(),
                         "change": gradient_change(twin, x, labels, dominant.direction).tolist(),
                         "bound": norm_bound(model, labels, cell["beta"])})


def _of_samples(cell: dict, store: Store) -> pd.DataFrame:
    """Angle of the gradient of the influence of the most influential training images to the gradient of the logit."""
    context = influences.setting(cell, store)
    model = lambda x: influence.logits(context.head, context.extract(x)).to(x)
    steepest = influence.influence_gradient(context.extract, context.head, context.train, context.x,
                                            top=influences.ATTACKED)
    gradients = attribution.gradient(model, context.x, torch.ones(len(context.x), dtype=torch.int64))
    return pd.DataFrame({"image": range(len(context.x)), "pixels": context.x[0].numel(),
                         "angle": curvature.angle(steepest, gradients).tolist()})


def gradient_change(twin: nn.Module, x: Tensor, labels: Tensor, direction: Tensor) -> Tensor:
    r"""Change (n,) of the gradient per unit of length, in a step of length `STEP` along a direction of length one.

    .. math:: \lVert \nabla S(x + d) - \nabla S(x) \rVert / \lVert d \rVert

    The larger one of d and -d, since an eigenvector has no sign.
    """
    before = attribution.gradient(twin, x, labels)
    after = [attribution.gradient(twin, x + step * direction, labels) for step in (STEP, -STEP)]
    return torch.stack([(gradient - before).flatten(1).norm(dim=1) / STEP for gradient in after]).amax(0)


def norm_bound(model: nn.Module, labels: Tensor, beta: float) -> list[float] | None:
    r"""Bound by operator norms on the eigenvalues of the Hessian of each explained logit of an MLP with softplus.

    .. math:: \lVert H \rVert \le \frac{\beta}{4} \sum_i
              \prod_{j \le i} \lVert W_j \rVert^2 \prod_{j > i} \lVert W_j \rVert

    after [ghorbani2019, appendix J], where a single product gives a looser bound. None for a network that is no MLP.
    """
    layers = [layer for layer in model.modules() if isinstance(layer, (nn.Linear, nn.Conv2d))]
    if not all(isinstance(layer, nn.Linear) for layer in layers):
        return None
    norms = [torch.linalg.matrix_norm(layer.weight.double(), 2) for layer in layers[:-1]]
    ends = layers[-1].weight.double()[labels].norm(dim=1)
    total = sum(torch.stack(norms[:i + 1]).prod()**2 * torch.stack([*norms[i + 1:], norms[0].new_ones(())]).prod()
                for i in range(len(norms)))
    return (beta / 4 * total * ends).tolist()


def random_angles(degrees: np.ndarray, dimension: int) -> np.ndarray:
    """Density (per degree) of the angle, 0 to 90, between two random lines in a space of some dimension."""
    log_scale = np.log(2) + gammaln(dimension / 2) - gammaln((dimension - 1) / 2) - np.log(np.pi) / 2
    return np.exp(log_scale + (dimension - 2) * np.log(np.sin(np.radians(degrees)))) * np.pi / 180


def mean_random_angle(dimension: int) -> float:
    """Mean angle (degrees) of two random lines, from its density."""
    degrees = np.linspace(0.005, 89.995, 9000)
    return float(np.average(degrees, weights=random_angles(degrees, dimension)))


def sketch(cell: dict) -> tuple[dict, Factor]:
    name = "images" if "images" in cell else "test_images"
    tiny, times = shrink(natural.untrained(cell), **{name: 2})
    return tiny, Factor(times[name])


EXPERIMENT = Experiment(
    "directions", 2, Directions, cells, inputs, run, sketch,
    canary={"kind": KINDS[0], "data_set": "mnist-5k", "network": "mnist-cnn", "epochs": 1, "images": 8, "beta": 5.0,
            "iterations": 10, "seed": 0},
    canary_values={"angle": 80.3, "twin_cosine": 0.956, "change": 1.163}, notebook="influence", reads=("networks",))
