"""Two free photographs under attack, with the pictures: figures 1 and 2 of [ghorbani2019] for everyone to see.

The photographs are `chelsea` and `coffee` of scikit-image (CC0), so perturbed images and maps may be published.
"""

from collections.abc import Iterable, Sequence

import torch
from pydantic import Field, field_validator
from torch import Tensor
from torchvision.models import get_model_weights
from torchvision.transforms.functional import center_crop, resize

from fragility import attacks, attribution, checks, models
from fragility.attribution.output import logits_of
from fragility.experiments import fragile
from fragility.experiments.base import Experiment, Factor, Outcome, Parameters, device
from fragility.store import Record, Store, fingerprint, weights_fingerprint

#: Photograph -> a point (row, column) of the region that a targeted attack aims at, in parts of the side.
POINTS = {"chelsea": (0.9, 0.12), "coffee": (0.12, 0.88)}
SEGMENTS = 12           # superpixels of an image; the region is the one at the point
TARGET = "target"
SHORTER_SIDE = 256      # of a photograph before the cut, as the networks were trained


class Portraits(Parameters):
    """Parameters of the pictures: which attacks each photograph meets; the rest is the comparison's."""

    pictured: dict[str, list[str]]
    network: str
    images: dict[str, int]
    steps: dict[str, int]
    epsilons: list[float] = Field(min_length=1)
    k: int = Field(ge=1)
    path_steps: int = Field(ge=1)
    path_points: int = Field(ge=1)
    precision: str = "float32"
    seed: int = 0

    @field_validator("pictured")
    @classmethod
    def known_portraits(cls, wanted):
        return {checks.choice("Photograph", name, POINTS): [checks.choice("Attack", one, (*fragile.ATTACKS, TARGET))
                                                            for one in found] for name, found in wanted.items()}


def cells(parameters: Portraits) -> list[dict]:
    p = parameters
    shared = {"network": p.network, "epsilon": max(p.epsilons), "k": p.k, "seed": p.seed}
    grid = []
    for photograph, wanted in p.pictured.items():
        for method in p.images:
            one = {**shared, "photograph": photograph, "method": method, "steps": p.steps[method]}
            one |= fragile.path_settings(p, method)
            grid += [{**one, "attack": attack} for attack in wanted]
    return grid


def inputs(cell: dict, store: Store) -> dict:
    return {"photograph": fingerprint(photograph(cell["photograph"], cell["network"])),
            "weights": weights_fingerprint(models.load(cell["network"], weights="DEFAULT").state_dict())}


def run(cell: dict, store: Store) -> Outcome:
    model = models.load(cell["network"], weights="DEFAULT").to(device())
    x = photograph(cell["photograph"], cell["network"]).to(device())
    label, mask = logits_of(model, x).argmax(1), region(cell["photograph"], x[0])
    method, arguments = fragile.method_of(cell)
    objective = attacks.Target(mask) if cell["attack"] == TARGET else None
    moved, found, steps = fragile.attacked(model, x, cell, arguments, objective)
    before, after = (attribution.pixel_map(method(model, one, label, **arguments)) for one in (x, moved))
    classes = class_names(cell["network"])
    table = fragile.scores(before, after, cell["k"]).assign(
        found=found.tolist(), step=steps.tolist(), label=classes[label.item()],
        label_after=classes[logits_of(model, moved).argmax(1).item()],
        confidence=fragile.confidence(model, x, label).tolist(),
        confidence_after=fragile.confidence(model, moved, label).tolist(), area=mask.double().mean().item(),
        share=(before * mask).sum((1, 2)).tolist(), share_after=(after * mask).sum((1, 2)).tolist())
    pictures = {"before": shade(before[0]), "after": shade(after[0]), "attacked": (255 * moved[0]).round().byte()}
    return Outcome(table, pictures)


def photograph(name: str, network: str) -> Tensor:
    """A photograph (1, 3, h, w) in [0, 1], its shorter side scaled to 256 and cut to the network's size."""
    from skimage import data as pictures  # slow to import: only where it is needed

    image = torch.from_numpy(getattr(pictures, name)()).permute(2, 0, 1)[None] / 255
    side = models.IMAGE_SIDE.get(network, SHORTER_SIDE)
    return center_crop(resize(image, [SHORTER_SIDE], antialias=True), [side, side]).clamp(0, 1)


def region(name: str, image: Tensor) -> Tensor:
    """Mask (h, w) of the superpixel that the photograph's targeted attack aims at."""
    row, column = (int(part * side) for part, side in zip(POINTS[name], image.shape[1:]))
    return attacks.superpixel(image, row, column, segments=SEGMENTS)


def class_names(network: str) -> list[str]:
    """Names of a torchvision network's classes."""
    return get_model_weights(network).DEFAULT.meta["categories"]


def shade(maps: Tensor) -> Tensor:
    """A pixel map (h, w) in 256 shades of itself; the top 0.2 % of its pixels share the brightest."""
    return (255 * maps / maps.flatten().quantile(0.998)).clamp(0, 255).round().byte()


def gallery(records: Iterable[Record], name: str, wanted: Sequence[str]) -> tuple[Tensor, Tensor, list, list]:
    """A photograph, clean and after each attack: images (methods, 1 + attacks, 3, h, w), their maps (methods,
    1 + attacks, h, w), titles with label and confidence, and the methods, in the order of the records."""
    known = {(r.parameters["method"], r.parameters["attack"]): r for r in records if r.parameters["photograph"] == name}
    methods = list(dict.fromkeys(method for method, _ in known))
    images, maps, titles = [], [], []
    for method in methods:
        found = [(record.table.iloc[0], record.tensors()) for record in (known[method, attack] for attack in wanted)]
        clean = photograph(name, next(iter(known.values())).parameters["network"])[0]
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
