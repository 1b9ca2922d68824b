"""Does fragility grow with resolution? The same photographs and network at several sizes [ghorbani2019, section 5]."""

import pandas as pd
import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

from fragility import attacks, attribution, metrics
from fragility.passes import logits_of
from lab.core.experiment import Experiment, Factor, Outcome, generator_for, shrink
from lab.core.parameters import Parameters
from lab.core.store import Store
from lab.material.data import DataSet
from lab.trained import natural, subjects
from lab.trained.maps import step_size


class Resolution(Parameters):
    """Parameters of the comparison of resolutions."""

    resolution_data_set: DataSet
    resolution_network: str
    epochs: int = Field(ge=0)
    resolutions: list[int] = Field(min_length=2)
    resolution_images: int = Field(ge=2)
    resolution_epsilon: float = Field(gt=0, le=1)
    resolution_steps: int = Field(ge=1)
    seed: int = 0


def cells(parameters: Resolution) -> list[dict]:
    p = parameters
    return [{"data_set": p.resolution_data_set, "network": p.resolution_network, "epochs": p.epochs,
             "images": p.resolution_images, "epsilon": p.resolution_epsilon, "steps": p.resolution_steps,
             "resolutions": p.resolutions, "side": side, "attack": attack, "seed": p.seed}
            for side in p.resolutions for attack in ("random_sign", "topk")]


def run(cell: dict, store: Store) -> Outcome:
    """Images that the network classifies alike at every resolution; the top k is a fiftieth of the pixels."""
    model, _ = natural.trained(cell, store)
    x = subjects.candidates(cell, store)[:16 * cell["images"]]
    labels = logits_of(model, x).argmax(1)
    same_class = torch.stack([logits_of(model, _resized(x, side)).argmax(1) == labels
                              for side in cell["resolutions"]]).all(0)
    if same_class.sum() < cell["images"]:
        raise ValueError(f"Only {int(same_class.sum())} images keep their class at all of the resolutions "
                         f"{cell['resolutions']}, fewer than the {cell['images']} that were asked for.")
    x, labels = _resized(x[same_class][:cell["images"]], cell["side"]), labels[same_class][:cell["images"]]
    k, generator = max(1, cell["side"]**2 // 50), generator_for(cell)
    if cell["attack"] == "topk":
        perturbed = attacks.attack(model, x, objective=attacks.TopK(k), epsilon=cell["epsilon"], steps=cell["steps"],
                                   step_size=step_size(cell), generator=generator).x
    else:
        perturbed = attacks.random_sign(x, epsilon=cell["epsilon"], generator=generator)
    signed = [attribution.gradient(model, images, labels) for images in (x, perturbed)]
    a, b = map(attribution.pixel_map, signed)
    return Outcome(pd.DataFrame({"image": range(len(x)), "values": x[0].numel(),
                                 "topk": metrics.topk_intersection(a, b, k).tolist(),
                                 "spearman": metrics.spearman(a, b).tolist(),
                                 "relative": metrics.invariance(*signed).relative.tolist()}))


def _resized(x: Tensor, side: int) -> Tensor:
    return F.interpolate(x, (side, side), mode="bilinear", antialias=True, align_corners=False).clamp(0, 1)


def sketch(cell: dict) -> tuple[dict, Factor]:
    tiny, times = shrink(natural.untrained(cell), images=2, steps=4)
    return tiny, Factor(times["images"] * (times["steps"] if cell["attack"] == "topk" else 1))


EXPERIMENT = Experiment(
    "resolution", 1, Resolution, cells, subjects.inputs, run, sketch,
    canary={"data_set": "mnist-5k", "network": "mnist-resnet", "epochs": 1, "images": 8, "epsilon": 0.05, "steps": 2,
            "resolutions": [28], "side": 28, "attack": "topk", "seed": 0},
    canary_values={"topk": 0.775, "spearman": 0.933}, notebook="influence", reads=("networks",))
