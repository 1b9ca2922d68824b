"""Two free photographs under attack, as pictures: after figures 1 and 2 of [ghorbani2019].

The photographs are `chelsea` and `coffee` of scikit-image (CC0), so perturbed images and maps may be published.
"""

from collections.abc import Iterable, Sequence

import torch
from pydantic import Field
from torch import Tensor

from fragility import attacks
from fragility.passes import logits_of
from lab.chapters.fragility import comparison
from lab.core.device import device
from lab.core.experiment import Experiment, Factor, Outcome
from lab.core.parameters import Parameters, Precision, one_of
from lab.core.store import Record, Store, fingerprint, weights_fingerprint
from lab.drawing.names import in_order
from lab.material import networks
from lab.material.photographs import PhotographName, class_names, photograph, region
from lab.trained.maps import path_settings, pixel_maps

TARGET = "target"


class Portraits(Parameters):
    """Parameters of the pictures: the attacks on each photograph; all else is as in the comparison."""

    pictured: dict[PhotographName, list[one_of("Attack", (*comparison.ATTACKS, TARGET))]]
    network: str
    images: dict[str, int]
    steps: dict[str, int]
    epsilons: list[float] = Field(min_length=1)
    k: int = Field(ge=1)
    path_steps: int = Field(ge=1)
    path_points: int = Field(ge=1)
    precision: Precision = "float32"
    seed: int = 0


def cells(parameters: Portraits) -> list[dict]:
    p = parameters
    shared = {"network": p.network, "epsilon": max(p.epsilons), "k": p.k, "seed": p.seed}
    grid = []
    for name, chosen in p.pictured.items():
        for method in p.images:
            setting = {**shared, "photograph": name, "method": method, "steps": p.steps[method]}
            setting |= path_settings(p, method)
            grid += [{**setting, "attack": attack} for attack in chosen]
    return grid


def inputs(cell: dict, store: Store) -> dict:
    return {"photograph": fingerprint(photograph(cell["photograph"], cell["network"])),
            "weights": weights_fingerprint(networks.load(cell["network"], weights="DEFAULT").state_dict())}


def run(cell: dict, store: Store) -> Outcome:
    model = networks.load(cell["network"], weights="DEFAULT").to(device())
    x = photograph(cell["photograph"], cell["network"]).to(device())
    label, mask = logits_of(model, x).argmax(1), region(cell["photograph"], x[0])
    objective = attacks.Target(mask) if cell["attack"] == TARGET else None
    adversarial, found, steps = comparison.attacked(model, x, cell, objective)
    before, after = (pixel_maps(model, image, label, cell) for image in (x, adversarial))
    classes = class_names(cell["network"])
    table = comparison.scores(before, after, cell["k"]).assign(
        found=found.tolist(), step=steps.tolist(), label=classes[label.item()],
        label_after=classes[logits_of(model, adversarial).argmax(1).item()],
        confidence=comparison.confidence(model, x, label).tolist(),
        confidence_after=comparison.confidence(model, adversarial, label).tolist(), area=mask.double().mean().item(),
        share=(before * mask).sum((1, 2)).tolist(), share_after=(after * mask).sum((1, 2)).tolist())
    pictures = {"before": shade(before[0]), "after": shade(after[0]), "attacked": (255 * adversarial[0]).round().byte()}
    return Outcome(table, pictures)


def shade(maps: Tensor) -> Tensor:
    """A pixel map (h, w) scaled to 0 to 255, uint8; the top 0.2 % of its pixels are clipped to 255."""
    return (255 * maps / maps.flatten().quantile(0.998)).clamp(0, 255).round().byte()


def gallery(records: Iterable[Record], name: str, chosen: Sequence[str]) -> tuple[Tensor, Tensor, list, list]:
    """A photograph, clean and after each of the chosen attacks, by every method of the records.

    Returns images (methods, 1 + attacks, 3, h, w), their maps (methods, 1 + attacks, h, w), titles with label and
    confidence, and the methods in the order of all figures.
    """
    by_cell = {(record.parameters["method"], record.parameters["attack"]): record for record in records
               if record.parameters["photograph"] == name}
    methods = in_order(method for method, _ in by_cell)
    images, maps, titles = [], [], []
    for method in methods:
        found = [(record.table.iloc[0], record.tensors()) for record in (by_cell[method, attack] for attack in chosen)]
        clean = photograph(name, next(iter(by_cell.values())).parameters["network"])[0]
        images.append(torch.stack([clean, *(tensors["attacked"] / 255 for _, tensors in found)]))
        maps.append(torch.stack([found[0][1]["before"], *(tensors["after"] for _, tensors in found)]) / 255)
        titles.append([f"{found[0][0].label}, {found[0][0].confidence:.0%}",
                       *(f"{row.label_after}, {row.confidence_after:.0%}" for row, _ in found)])
    return torch.stack(images), torch.stack(maps), titles, methods


def sketch(cell: dict) -> tuple[dict, Factor]:
    steps = min(4, cell["steps"])
    return {**cell, "steps": steps}, Factor(cell["steps"] / steps if cell["attack"] != "random_sign" else 1)


EXPERIMENT = Experiment(
    "portraits", 1, Portraits, cells, inputs, run, sketch,
    canary={"network": "squeezenet1_0", "epsilon": 0.03137255, "k": 1000, "seed": 0, "photograph": "coffee",
            "method": "gradient", "steps": 2, "attack": "target"},
    canary_values={"topk": 0.276, "share": 0.0494, "share_after": 0.0776}, notebook="fragility", publishes_tensors=True)
