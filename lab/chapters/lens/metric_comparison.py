"""Is it the map or the metric that is fragile? Every metric of [kamath2024] on the same pairs of maps."""

import pandas as pd
from pydantic import Field, field_validator, model_validator
from torch import Tensor, nn

from fragility import attacks, attribution, checks, metrics
from fragility.passes import logits_of
from lab.chapters.lens.image_choice import CONTROLS, PARTNERS, partners, subjects
from lab.chapters.lens.scores import scores
from lab.core.device import device, repeatable
from lab.core.experiment import Experiment, Factor, Outcome, generator_for, shrink
from lab.core.frames import select
from lab.core.parameters import PRECISIONS, Epsilon, Precision, grids, one_of
from lab.core.profiles import PROFILES
from lab.core.store import Store
from lab.trained import natural, robust
from lab.trained.maps import method_of, pixel_maps

_OBJECTIVES = {"topk": lambda cell: attacks.TopK(cell["k"]), "center": lambda cell: attacks.MassCenter(),
               "lens": lambda cell: attacks.LensTopK(cell["k"], cell["window"]),
               "topk_for_lens": lambda cell: attacks.TopK(cell["k"])}
ATTACKS = ("random_sign", "random_walk", *_OBJECTIVES)
AT_LARGEST = ("random_walk", "lens", "topk_for_lens")      # only at the largest epsilon
SEARCHING = ("random_walk", *_OBJECTIVES)                  # they may find no image that keeps the label
METHODS = ("gradient", "integrated_gradients")


class Lens(robust.Robust):
    """Parameters of the chapter; `epsilons` of each data set, as shares of the range [0, 1].

    `photographs` names the profile of the fragility chapter whose attacked images are scored, too; empty for none.
    The fields after it are for :mod:`lab.chapters.lens.photographs`.
    """

    methods: list[one_of("Method", METHODS)] = Field(min_length=1)
    attacks: list[one_of("Attack", ATTACKS)]
    epsilons: dict[str, list[Epsilon]]
    images: int = Field(ge=2)
    steps: int = Field(ge=1)
    k: int = Field(ge=1)
    window: int = Field(ge=0)
    path_steps: int = Field(ge=1)
    path_points: int = Field(ge=1)
    precision: Precision = "float32"
    noise_methods: list[one_of("Method", attribution.METHODS)]
    photographs: one_of("Profile", ("", *PROFILES))
    photo_network: str
    photo_trainings: list[str]
    photo_k: int = Field(ge=1)
    photo_window: int = Field(ge=0)
    photo_path_steps: int = Field(ge=1)

    @field_validator("others")
    @classmethod
    def others_name_parameters(cls, others):
        for name in (name for change in others for name in change):
            checks.choice("Parameter of others", name, cls.model_fields)
        return others

    @model_validator(mode="after")
    def same_sets(self):
        if self.networks.keys() != self.epsilons.keys():
            raise ValueError("networks and epsilons must name the same data sets.")
        return self


def cells(parameters: Lens) -> list[dict]:
    return [cell for one in grids(parameters) for cell in grid(one)]


def grid(parameters: Lens) -> list[dict]:
    """The cells of one set of parameters, without those of `others`."""
    shared = parameters.model_dump(include={"images", "k", "window"})
    found = []
    for network in map(robust.training_cell, robust.settings(parameters)):
        for method in parameters.methods:
            setting = {**network, **shared, "method": method}
            if method == "integrated_gradients":
                setting |= {"path_steps": parameters.path_steps, "path_points": parameters.path_points}
            found += [{**setting, "attack": control, "epsilon": 0.0, "steps": 0} for control in CONTROLS]
            found += [{**setting, "attack": attack, "epsilon": epsilon, **_search_settings(attack, parameters)}
                     for attack in parameters.attacks
                     for epsilon in _sizes(attack, parameters.epsilons[network["data_set"]])]
    return found


def _search_settings(attack: str, parameters: Lens) -> dict:
    """The number of steps of a cell's attack, and the precision in which it finds its directions."""
    if attack == "random_sign":
        return {"steps": 1}
    return {"steps": parameters.steps} | ({"precision": parameters.precision} if attack in _OBJECTIVES else {})


def without_search(cell: dict, **changes) -> dict:
    """A cell of the same network and map whose attack does not search: a control, or a random sign."""
    return {name: value for name, value in cell.items() if name != "precision"} | changes


def _sizes(attack: str, epsilons: list[float]) -> list[float]:
    return [max(epsilons)] if attack in AT_LARGEST else epsilons


def inputs(cell: dict, store: Store) -> dict:
    return {"data": natural.load_split(cell["data_set"], "test")[1], "weights": robust.weights_identity(cell, store)}


def run(cell: dict, store: Store) -> Outcome:
    model, x, labels, index = subjects(cell, store)
    n, control = cell["images"], cell["attack"] in CONTROLS
    rows = slice(None if control else n)        # partners may be any of the images
    clean = pixel_maps(model, x[rows], labels[rows], cell)
    shared = {"image": index[:n].tolist(), "pixels": clean[0].numel()}
    if control:
        parts = [scores(clean[:n], clean[rows], cell) for rows in partners(labels, cell)]
        return Outcome(pd.DataFrame({**shared, **(sum(parts) / PARTNERS).to_dict("list"), "found": None}))
    x, labels = x[:n], labels[:n]
    adversarial, found = perturbed(model, x, labels, cell)
    table = scores(clean, pixel_maps(model, adversarial, labels, cell), cell)
    other = EXPERIMENT.record(without_search(cell, attack="other_class", epsilon=0.0, steps=0), store).table
    for name in ("topk", "recall", "recall_div"):
        table[f"{name}_over_other"] = table[name] - other[name]
    return Outcome(pd.DataFrame({**shared, **table.to_dict("list"), "found": found.double().tolist()}),
                   {"delta": (adversarial - x).half()})


def comparable(table: pd.DataFrame) -> pd.DataFrame:
    """The rows of images for which all searching attacks on the network and map found one that keeps the label.

    Where an attack finds none, it returns the image unchanged, and its score of 1 would count as robustness.
    A random sign does not search and excludes no image.
    """
    if table.empty:
        return table
    images = table.set_index(["data_set", "network", "training", "method", "image"]).index
    lost = table.attack.isin(SEARCHING) & (table.found == 0)
    return table[~images.isin(images[lost])]


def at_largest(table: pd.DataFrame, attack: str) -> pd.DataFrame:
    """The rows of an attack at the largest epsilon of the table, which is of one data set; all rows of a control."""
    return select(table, attack=attack, **({} if attack in CONTROLS else {"epsilon": "largest"}))


def perturbed(model: nn.Module, x: Tensor, labels: Tensor, cell: dict) -> tuple[Tensor, Tensor]:
    """Images perturbed as the cell says, and whether the label was kept.

    Attacks keep the iterate with the smallest Kendall's tau, as the code of [kamath2024] does; "lens" and
    "topk_for_lens" keep the one with the smallest LENS recall.
    """
    generator, kind = generator_for(cell), cell["attack"]
    if kind == "random_sign":
        noisy = attacks.random_sign(x, epsilon=cell["epsilon"], generator=generator)
        return noisy, logits_of(model, noisy).argmax(1) == labels
    shared = {"method": cell["method"], "epsilon": cell["epsilon"], "steps": cell["steps"], "generator": generator,
              "step_size": min(1, 2.5 / cell["steps"]) * cell["epsilon"], "method_args": method_of(cell)[1]}
    if kind == "random_walk":
        result = attacks.random_walk(model, x, score=_kendall_drop, **shared)
    else:
        curvature = attacks.FiniteDifference(cell.get("path_points", 1), precision=PRECISIONS[cell["precision"]])
        result = attacks.attack(model, x, objective=_OBJECTIVES[kind](cell), curvature=curvature,
                                select=_recall_drop(cell) if "lens" in kind else _kendall_drop, **shared)
    return result.x, result.found


def _kendall_drop(clean: Tensor, changed: Tensor) -> Tensor:
    return -metrics.kendall(clean, changed)


def _recall_drop(cell: dict):
    return lambda clean, changed: -metrics.lens_recall(clean, changed, cell["k"], cell["window"])


@repeatable
def shown(cell: dict, store: Store, rows: slice) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """For a picture, some of a cell's images, clean and perturbed (n, c, h, w), and their pixel maps, on the CPU."""
    model, x, labels, _ = subjects(cell, store)
    delta = EXPERIMENT.record(cell, store).tensors()["delta"].float().to(device())
    x, labels = x[:len(delta)][rows], labels[:len(delta)][rows]
    adversarial = (x + delta[rows]).clamp(0, 1)
    drawn = (pixel_maps(model, images, labels, cell) for images in (x, adversarial))
    return tuple(part.cpu() for part in (x, adversarial, *drawn))


def sketch(cell: dict) -> tuple[dict, Factor]:
    """Two images and five steps; the cost does not depend on epsilon."""
    tiny, times = shrink({**robust.untrained(cell), "epsilon": 0.1 if cell["epsilon"] else 0.0}, images=2, steps=5)
    return tiny, Factor(times["images"] * times["steps"], times["images"])


EXPERIMENT = Experiment(
    "lens", 3, Lens, cells, inputs, run, sketch,
    canary={"data_set": "mnist-5k", "network": "mnist-cnn", "epochs": 1, "seed": 0, "training": "natural",
            "ball": [0.1, 1, 0.1], "test_images": 100, "test_steps": 1, "images": 32, "k": 100, "window": 1,
            "method": "gradient", "attack": "lens", "epsilon": 0.1, "steps": 4, "precision": "float32"},
    canary_values={"topk": 0.622, "recall": 0.803, "kendall": 0.38, "recall_over_other": 0.107, "distance_gain": 0.443},
    notebook="lens", reads=("networks", "robust"))
