"""Rankings of all pixels of a data set by each estimator, computed once and shared by all trainings on them."""

import json
from collections.abc import Callable
from functools import lru_cache

import pandas as pd
import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from fragility import attribution, removal, training
from lab.chapters.roar import trainings
from lab.core.device import device
from lab.core.experiment import Experiment, Factor, Outcome, distinct, generator_for, shrink
from lab.core.parameters import grids, one_of
from lab.core.store import Store, canonical

BASES = ("GRAD", "IG", "GB")
#: Family -> its estimators, which are computed in the same passes and share a record.
FAMILIES = {**{base: (base, f"SQ-{base}") for base in BASES},
            **{f"SG-{base}": (f"SG-{base}", f"SG-SQ-{base}", f"VAR-{base}") for base in BASES},
            "Sobel": ("Sobel",), "Random": ("Random",)}
CONTROLS = ("Sobel", "Random")          # they need no network
FAMILY = {estimator: family for family, members in FAMILIES.items() for estimator in members}
ESTIMATORS = tuple(FAMILY)
Estimator = one_of("Estimator", ESTIMATORS)
_BATCH = 128            # images that are ranked together
_IN_FLIGHT = 100_000    # image values a pass on a CPU: small images are fastest while they fit its cache


class Ranked(trainings.Recipe):
    """Parameters of the rankings; those of a training are the explained network's."""

    estimators: list[Estimator] = Field(min_length=1)
    filtered: list[Estimator]                        # those that are also ranked after filtering their maps
    unit: one_of("Unit", removal.UNITS)        # see removal.top_mask
    path_steps: int = Field(ge=1)              # of IG
    ensemble_path_steps: int = Field(ge=1)     # of IG inside a noise ensemble
    samples: int = Field(ge=1)
    explained: int                             # seed of the explained network


SHARED = (*trainings.RECIPE, "unit", "explained")


def cells(parameters: Ranked) -> list[dict]:
    return distinct(family_cell(one.model_dump(), family) for one in grids(parameters)
                    for family in dict.fromkeys(FAMILY[name] for name in one.estimators))


def family_cell(values: dict, family: str) -> dict:
    """The cell of a family; `values` are parameters, or a cell that holds more."""
    base = family.removeprefix("SG-")
    cell = {name: values[name] for name in SHARED}
    if base == "IG":
        cell["path_steps"] = values["path_steps" if family == base else "ensemble_path_steps"]
    if base != family:
        cell["samples"] = values["samples"]
    return {**cell, "family": family, "filtered": [name for name in values["filtered"] if name in FAMILIES[family]]}


def inputs(cell: dict, store: Store) -> dict:
    """Without the explained network's weights: the cell's parameters and the data decide how it is trained."""
    return {**trainings.inputs(cell, store), "trainings": trainings.EXPERIMENT.version}


def run(cell: dict, store: Store) -> Outcome:
    model = None if cell["family"] in CONTROLS else trainings.explained(cell, store)
    splits, generator = trainings.sets(cell), generator_for(cell)
    tensors = {}
    for split in ("train", "test"):
        parts = [_ranks(cell, model, part, generator) for part in getattr(splits, split).split(_BATCH)]
        tensors |= {f"{name}|{split}": torch.cat([part[name] for part in parts]) for name in parts[0]}
    edges = torch.cat([pixel_ranks(attribution.sobel(training.as_float(part)), cell["unit"])
                       for part in splits.test.split(_BATCH)])
    table = pd.DataFrame([{"estimator": name, "edges": _shared_top(tensors[f"{name}|test"], edges)}
                          for name in parts[0]])
    return Outcome(table, tensors)


def _shared_top(first: Tensor, second: Tensor) -> float:
    """Share of the top tenth of the entries that two rankings have in common."""
    k = max(1, first[0].numel() // 10)
    return ((first < k) & (second < k)).flatten(1).sum(1).double().mean().item() / k


def _ranks(cell: dict, model: nn.Module | None, images: Tensor, generator: torch.Generator) -> dict[str, Tensor]:
    """Ranks of some uint8 images by every estimator of the cell's family, filtered ones as "name+filter"."""
    maps = family_maps(cell, model, training.as_float(images).to(device()), generator)
    found = {name: pixel_ranks(part, cell["unit"]) for name, part in maps.items()}
    for name in cell["filtered"]:
        found |= {f"{name}+{kind}": pixel_ranks(change(maps[name]), cell["unit"]) for kind, change in FILTERS.items()}
    return {name: part.cpu() for name, part in found.items()}


def family_maps(cell: dict, model: nn.Module | None, x: Tensor, generator: torch.Generator) -> dict[str, Tensor]:
    """Signed maps (n, c, h, w) of the predicted class's logit by every estimator of the cell's family."""
    family = cell["family"]
    if family in CONTROLS:
        return {family: attribution.sobel(x) if family == "Sobel" else attribution.random(x, generator=generator)}
    base = family.removeprefix("SG-")
    chunk = None if x.is_cuda else max(1, _IN_FLIGHT // x[0].numel())
    method = _base(base, cell, chunk)
    if family == base:
        maps = method(model, x, None)
        return {base: maps, f"SQ-{base}": maps.square()}
    return dict(zip(FAMILIES[family], attribution.noise_ensembles(model, x, base=method, samples=cell["samples"],
                                                                  generator=generator, chunk=chunk)))


def _base(name: str, cell: dict, chunk: int | None) -> Callable:
    """The method whose maps are ranked, squared or averaged; the baseline of IG is black."""
    if name == "IG":
        steps = cell["path_steps"]
        return lambda model, x, target: attribution.integrated_gradients(model, x, target, steps=steps, chunk=chunk)
    return {"GRAD": attribution.gradient, "GB": attribution.guided_backprop}[name]


def blurred(maps: Tensor) -> Tensor:
    """Maps after a Gaussian blur of one pixel, 7 x 7, borders replicated."""
    place = torch.arange(-3, 4, dtype=maps.dtype, device=maps.device)
    kernel = torch.exp(-place.square() / 2)
    kernel = torch.outer(kernel, kernel) / kernel.sum().square()
    n, c, h, w = maps.shape
    planes = F.pad(maps.reshape(n * c, 1, h, w), (3,) * 4, mode="replicate")
    return F.conv2d(planes, kernel[None, None]).view(n, c, h, w)


def max_filtered(maps: Tensor) -> Tensor:
    """Maps after a 3 x 3 maximum filter."""
    return F.max_pool2d(maps, 3, 1, 1)


#: Filters that [song2023] apply to a finished map; neither uses the model or the data.
FILTERS = {"gauss": blurred, "max": max_filtered}


def pixel_ranks(maps: Tensor, unit: str) -> Tensor:
    """Rank of each entry, 0 for the largest score, in the smallest integer type that holds it.

    Maps (n, c, h, w) in; (n, h, w) out for unit "pixel", by the sum over channels, else (n, c, h, w). Ties go to
    the lowest flat index, so the top k are the entries with ranks below k.
    """
    scores = maps.sum(1) if unit == "pixel" else maps
    order = scores.flatten(1).argsort(dim=1, descending=True, stable=True)
    kind = torch.int16 if order.shape[1] <= 2**15 else torch.int32
    ranks = torch.arange(order.shape[1], dtype=kind, device=order.device).expand_as(order)
    return torch.empty_like(order, dtype=kind).scatter_(1, order, ranks).view_as(scores)


def stored_ranks(cell: dict, name: str, split: str, store: Store) -> Tensor:
    """:func:`pixel_ranks` of all images of a split, from the record of an estimator such as "GRAD" or "GRAD+max"."""
    family = family_cell(cell, FAMILY[name.partition("+")[0]])
    return _stored(canonical(family), store)[f"{name}|{split}"]


@lru_cache(maxsize=1)       # cells of a family follow each other, and reading a companion with its checksum is slow
def _stored(family: str, store: Store) -> dict[str, Tensor]:
    return EXPERIMENT.record(json.loads(family), store).tensors()


def sketch(cell: dict) -> tuple[dict, Factor]:
    """Few images, explained by a network that is hardly trained."""
    few, _ = shrink(cell, train_images=128, test_images=128)
    images = min(few["train_images"], few["test_images"])
    tiny = {**cell, "train_images": images, "test_images": images, "epochs": 1, "batch_size": min(32, images)}
    factor = (cell["train_images"] + cell["test_images"]) / (2 * images)
    return tiny, Factor(factor, factor)


EXPERIMENT = Experiment(
    "rankings", 1, Ranked, cells, inputs, run, sketch,
    canary={**{name: trainings.EXPERIMENT.canary[name] for name in trainings.RECIPE}, "unit": "pixel", "explained": 0,
            "family": "SG-GRAD", "samples": 2, "filtered": ["SG-GRAD"]},
    canary_values={"edges": 0.2885}, notebook="roar", reads=("trainings",))
