"""The attack that gathers a map in a region, here each quarter of the image in turn [ghorbani2019, section 3]."""

import pandas as pd
from pydantic import Field
from torch import Tensor

from fragility import attacks
from lab.chapters.attacks.variants import sketch
from lab.chapters.fragility import comparison
from lab.core.experiment import Experiment, Outcome, generator_for
from lab.core.parameters import Parameters
from lab.core.store import Store
from lab.trained import subjects
from lab.trained.maps import method_of, pixel_maps, step_size


class Targeted(Parameters):
    """Parameters of the attack that targets a region: each quarter of the image in turn."""

    data_set: str
    network: str
    epochs: int = Field(ge=0)
    targeted_methods: list[str] = Field(min_length=1)
    targeted_images: int = Field(ge=2)
    targeted_steps: int = Field(ge=1)
    close_epsilon: float = Field(gt=0, le=1)
    path_steps: int = Field(ge=1)
    seed: int = 0


QUARTERS = {"upper left": (0, 0), "upper right": (0, 1), "lower left": (1, 0), "lower right": (1, 1)}


def cells(parameters: Targeted) -> list[dict]:
    p = parameters
    shared = {"data_set": p.data_set, "network": p.network, "epochs": p.epochs, "images": p.targeted_images,
              "epsilon": p.close_epsilon, "steps": p.targeted_steps, "path_steps": p.path_steps, "seed": p.seed}
    return [{**shared, "method": method, "region": region} for method in p.targeted_methods for region in QUARTERS]


def run(cell: dict, store: Store) -> Outcome:
    model, x, labels = subjects.subjects(cell, store)
    _, before, after, found, mask = targeted(model, x, labels, cell)
    shares = [(maps * mask).sum((1, 2)).tolist() for maps in (before, after)]
    return Outcome(pd.DataFrame({"image": range(len(x)), "found": found.tolist(), "before": shares[0],
                                 "after": shares[1], "gain": [b - a for a, b in zip(*shares)],
                                 "area": mask.double().mean().item()}))


def targeted(model, x: Tensor, labels: Tensor, cell: dict) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Attacked images, pixel maps before and after, whether the label was kept, and the mask (h, w) of a cell."""
    mask = quarter(cell["region"], x.shape[2:]).to(x.device)
    result = attacks.attack(model, x, method=cell["method"], objective=attacks.Target(mask), epsilon=cell["epsilon"],
                            steps=cell["steps"], step_size=step_size(cell), curvature=comparison.curvature_of(cell),
                            generator=generator_for(cell), method_args=method_of(cell)[1])
    before, after = (pixel_maps(model, images, labels, cell) for images in (x, result.x))
    return result.x, before, after, result.found, mask


def quarter(name: str, shape: tuple[int, int]) -> Tensor:
    """Mask (h, w) of a quarter of an image."""
    (height, width), (row, column) = shape, QUARTERS[name]
    return attacks.rectangle((height, width), row * (height // 2), column * (width // 2), height // 2, width // 2)


EXPERIMENT = Experiment(
    "targeted", 1, Targeted, cells, subjects.inputs, run, sketch,
    canary={"data_set": "mnist-5k", "network": "mnist-cnn", "epochs": 1, "images": 16, "epsilon": 0.1, "steps": 4,
            "path_steps": 8, "seed": 0, "method": "gradient", "region": "lower right"},
    canary_values={"before": 0.305, "after": 0.345}, notebook="attacks", reads=("networks",))
