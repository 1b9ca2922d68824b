"""Which maps change when all images are shifted by a constant and the network does not notice [kindermans2019]."""

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import NamedTuple

import pandas as pd
import torch
from pydantic import Field
from torch import Tensor, nn

from fragility import attribution, metrics, training
from fragility import shift as shifted
from fragility.passes import logits_of
from lab.chapters.shift import patterns, shifts
from lab.core.device import device, repeatable
from lab.core.experiment import Experiment, Factor, Outcome, shrink
from lab.core.parameters import Parameters, one_of
from lab.core.store import Store, fingerprint
from lab.material import data
from lab.material.data import DataSet
from lab.trained import natural

AGREES = 1e-4        # relative difference of logits above which two networks are not compared


class Side(NamedTuple):
    """One of the two networks, its images, and what reference points are made of."""

    model: nn.Module
    x: Tensor             #: Images in this network's encoding.
    m: Tensor             #: Shift of that encoding, (c, h, w).
    lowest: Tensor        #: Smallest value of each pixel in the data set, (c, h, w), before any shift.
    floor: float          #: Smallest value of the data set in this encoding.
    mean: Tensor          #: Mean image of the data set in it, (c, h, w).
    cell: dict
    store: Store
    refit: str            #: Shift in whose encoding re-fitted patterns are fitted; "none" for network 1.


def _ig_from(reference: Callable[[Side], float | Tensor]):
    return lambda model, x, target, side: attribution.integrated_gradients(
        model, x, target, baseline=reference(side), steps=side.cell["path_steps"])


def _lrp_from(root: Callable[[Side], float | Tensor]):
    return lambda model, x, target, side: attribution.lrp(model, x, target, root=root(side))


def _with_patterns(method, estimator: str, refit: bool = False):
    def run(model, x, target, side: Side):
        encoding = side.refit if refit or side.refit == shifts.REBUILT else "none"
        fitted = patterns.fitted_patterns(side.cell, estimator, encoding, side.store)
        return method(model, x, target, patterns=fitted)
    return run


def _with_options(name: str):
    def run(model, x, target, side):
        options = {"steps": side.cell["path_steps"]} if name == "integrated_gradients" else {}
        if name in ("smoothgrad", "smoothgrad_squared", "vargrad", "random"):
            options["generator"] = torch.Generator().manual_seed(0)       # the same draws for both networks
        if name in ("smoothgrad", "smoothgrad_squared", "vargrad"):
            options["samples"] = side.cell["samples"]
        return attribution.METHODS[name](model, x, target, **options)
    return run


# Written out, so that a new method in `attribution.METHODS` does not change the published cells.
METHODS = ("gradient", "gradient_x_input", "integrated_gradients", "guided_backprop", "deconvnet", "deeplift", "lrp",
         "deep_taylor", "smoothgrad", "smoothgrad_squared", "vargrad", "sobel", "random")
#: Name -> function (model, x, target, side): all methods that are compared, each with its reference point.
SUBJECTS = {
    **{name: _with_options(name) for name in METHODS},
    "ig_black": _ig_from(lambda side: side.floor),
    "ig_zero": _ig_from(lambda side: 0.0),
    "ig_mean": _ig_from(lambda side: side.mean),
    "ig_moving": _ig_from(lambda side: side.m),
    "lrp_black": _lrp_from(lambda side: side.floor),
    "lrp_mean": _lrp_from(lambda side: side.mean),
    "lrp_moving": _lrp_from(lambda side: side.m),
    "deeplift_moving": lambda model, x, target, side: attribution.deeplift(model, x, target, baseline=side.m),
    "deep_taylor_moving": lambda model, x, target, side: attribution.deep_taylor(model, x, target, low=side.m,
                                                                                 high=1 + side.m),
    "pattern_net": _with_patterns(attribution.pattern_net, "relu"),
    "pattern_attribution": _with_patterns(attribution.pattern_attribution, "relu"),
    "pattern_attribution_refit_relu": _with_patterns(attribution.pattern_attribution, "relu", refit=True),
    "pattern_attribution_refit_linear": _with_patterns(attribution.pattern_attribution, "linear", refit=True),
    "pattern_attribution_refit_conditional": _with_patterns(attribution.pattern_attribution, "conditional", refit=True),
}
EXTRA_SUBJECTS = tuple(name for name in SUBJECTS if name not in METHODS)
NOISE_METHODS = ("gradient", "guided_backprop", "deconvnet", "pattern_net", "pattern_attribution", "gradient_x_input",
            "ig_black", "ig_zero", "lrp")
REBUILT_METHODS = ("gradient", "gradient_x_input", "guided_backprop", "deconvnet", "lrp", "deeplift", "deep_taylor",
           "pattern_net")


class Invariance(Parameters):
    """Parameters of the comparison of two encodings: all methods on the first network, `METHODS` on the others."""

    data_set: DataSet
    networks: list[str] = Field(min_length=1)
    epochs: int = Field(ge=0)
    images: int = Field(ge=2)
    shift_names: list[one_of("Shift", shifts.SHIFTS)] = Field(min_length=1)
    # Not the kitten: its shift is made for one image, and patterns are fitted on others.
    refits: list[one_of("Shift of refits", [name for name in shifts.SHIFTS if name != "kitten"])]
    path_steps: int = Field(ge=1)
    samples: int = Field(ge=1)
    pattern_images: int = Field(ge=2)
    seed: int = 0


def cells(parameters: Invariance) -> list[dict]:
    shared = {name: getattr(parameters, name)
              for name in ("data_set", "epochs", "images", "path_steps", "samples", "pattern_images", "seed")}
    main, *others = parameters.networks
    grid = []
    for shift in parameters.shift_names:
        extra = [name for name in EXTRA_SUBJECTS if "refit" not in name or shift in parameters.refits]
        grid.append({**shared, "network": main, "shift": shift, "noise": "none", "methods": [*METHODS, *extra]})
        grid += [{**shared, "network": other, "shift": shift, "noise": "none", "methods": list(METHODS)}
                 for other in others]
    grid += [{**shared, "network": main, "shift": shift, "noise": noise, "methods": list(NOISE_METHODS)}
             for shift in parameters.refits for noise in ("equal", "own")]
    return [*grid, {**shared, "network": main, "shift": shifts.REBUILT, "noise": "none",
                    "methods": list(REBUILT_METHODS)}]


def inputs(cell: dict, store: Store) -> dict:
    weights = natural.weights_identity(cell, store)
    train, test = (data.load(cell["data_set"], split) for split in ("train", "test"))
    found = {"train": fingerprint(train.images), "test": fingerprint(test.images, test.labels), "weights": weights,
             "patterns": patterns.EXPERIMENT.version}
    return found | ({"drawing": fingerprint(shifts.drawing())} if cell["shift"] == "kitten" else {})


def run(cell: dict, store: Store) -> Outcome:
    first, second = sides(cell, store)
    target = logits_of(first.model, first.x).argmax(1)
    agreement = shifted.agreement(first.model, second.model, first.x, second.m)
    if (agreement > AGREES).any():
        raise ValueError(f"The two networks differ by {agreement.max():.2g} in their logits; their maps cannot be "
                         "compared.")
    shared = pd.DataFrame({"image": range(len(target)), "agreement": agreement.tolist()})
    if cell["shift"] == "uniform":      # the paper's pair of networks
        shared["accuracy"], shared["accuracy_shifted"] = accuracy(first), accuracy(second)
    parts = [shared.assign(method=method, **_compared(method, first, second, target)) for method in cell["methods"]]
    return Outcome(pd.concat(parts, ignore_index=True))


def _compared(method: str, first: Side, second: Side, target: Tensor) -> dict:
    """Columns of one method: the measures of invariance, or the message where its rules refuse the network."""
    try:
        a, b = (maps(side, method, target) for side in (first, second))
    except ValueError as refusal:      # which is a result, too
        return {**dict.fromkeys(metrics.Invariance._fields), "refused": str(refusal)}
    measured = metrics.invariance(a, b)._asdict()
    return {**{name: value.tolist() for name, value in measured.items()}, "refused": ""}


def maps(side: Side, method: str, target: Tensor, rows: slice = slice(None)) -> Tensor:
    """Maps of one side's images by a method of `SUBJECTS`; averaged over noise where the cell says so."""
    explain, x, noise = SUBJECTS[method], side.x[rows], side.cell["noise"]
    if noise == "none":
        return explain(side.model, x, target[rows], side)
    sigma = 0.15
    if noise == "equal":     # sigma is a share of the image's range; this gives both networks the same noise
        sigma = sigma * _range(x - side.m) / _range(x)
    return attribution.smoothgrad(side.model, x, target[rows], samples=side.cell["samples"], sigma=sigma,
                                  base=lambda model, x, target: explain(model, x, target, side),
                                  generator=torch.Generator().manual_seed(0))


def _range(x: Tensor) -> Tensor:
    return x.amax((1, 2, 3)) - x.amin((1, 2, 3))


def sides(cell: dict, store: Store) -> tuple[Side, Side]:
    """Network 1 on the clean images and network 2 on the shifted ones, in float64, so that rounding does not matter."""
    model, _ = natural.trained(cell, store)
    model = model.double()
    x, lowest, mean = _images(cell["data_set"], cell["images"], cell["seed"])
    nothing = torch.zeros_like(x[0])
    first = Side(model, x, nothing, lowest, lowest.min().item(), mean, cell, store, "none")
    if cell["shift"] == shifts.REBUILT:
        return first, first._replace(model=shifts.rebuilt(model), refit=shifts.REBUILT)
    m = shifts.shift(cell["shift"], model, x)
    return first, Side(shifted.compensate(model, m), x + m, m, lowest, (lowest + m).min().item(), mean + m,
                       cell, store, cell["shift"])


@lru_cache(maxsize=2)
def _images(data_set: str, count: int, seed: int) -> tuple[Tensor, Tensor, Tensor]:
    """Test images drawn by the seed, and the smallest value and the mean of each pixel over all training images."""
    test, train = data.load(data_set, "test"), training.as_float(data.load(data_set, "train").images)
    order = torch.randperm(len(test.images), generator=torch.Generator().manual_seed(seed))[:count]
    return tuple(part.double().to(device()) for part in (training.as_float(test.images[order]), train.amin(0),
                                                         train.double().mean(0)))


@repeatable
def shown(cell: dict, store: Store, methods: Sequence[str], image: int = 0) -> tuple[list[Tensor], dict[str, tuple]]:
    """For a picture, one image in both encodings, and its maps by both networks: {method: (map 1, map 2)}."""
    pair = sides(cell, store)
    target, rows = logits_of(pair[0].model, pair[0].x).argmax(1), slice(image, image + 1)
    drawn = {method: tuple(maps(side, method, target, rows)[0].cpu() for side in pair) for method in methods}
    return [side.x[image].cpu() for side in pair], drawn


def accuracy(side: Side) -> float:
    """Share of the test images, in the side's encoding, that its network classifies correctly."""
    test = data.load(side.cell["data_set"], "test")
    predicted = logits_of(side.model, training.as_float(test.images).double().to(side.m.device) + side.m).argmax(1)
    return (predicted.cpu() == test.labels).double().mean().item()


def sketch(cell: dict) -> tuple[dict, Factor]:
    """Two images and two draws of noise, each of which costs as much as a map."""
    tiny, times = shrink(natural.untrained(cell), images=2, samples=2)
    return tiny, Factor(times["images"] * (times["samples"] if cell["noise"] != "none" else 1))


EXPERIMENT = Experiment(
    "invariance", 1, Invariance, cells, inputs, run, sketch,
    canary={"data_set": "mnist-5k", "network": "mnist-cnn", "epochs": 1, "images": 8, "path_steps": 8, "samples": 2,
            "pattern_images": 16, "seed": 0, "shift": "checkerboard", "noise": "none",
            "methods": ["gradient_x_input", "ig_zero"]},
    canary_values={"relative": 1.0, "spearman": 0.54}, notebook="shift", reads=("networks", "patterns"))
