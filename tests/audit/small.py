"""Small networks, groups and audits for the tests of the audit."""

import torch
from torch import nn

from fragility import attribution, audit
from fragility.audit.group import Group
from fragility.audit.methods import Method
from fragility.audit.randomised import Randomised
from tests.networks import build, images, plain

METHODS = {name: Method(name, function, is_control=name in ("sobel", "random"))
           for name, function in attribution.METHODS.items()}


def settings(**changed) -> audit.Settings:
    """Numbers of an audit that takes a moment."""
    return audit.Settings(**{"k": 0.1, "steps": 3, "removed": (0.2, 0.5, 0.8), "samples": (2, 6), "depths": 3,
                             "epsilon": 0.05, **changed})


def group(n=5, *, make=plain, target=None, x=None, **changed) -> Group:
    """Images of noise in one group, with a float64 network of random weights, ordered by class."""
    model, numbers = build(make), settings(**changed)
    x = images(n) if x is None else x
    target = model(x).argmax(1).detach() if target is None else torch.as_tensor(target)
    order = target.argsort(stable=True)
    x, target = x[order], target[order]
    return Group(model, x, target, place=0, first=0, settings=numbers,
                 randomised=Randomised(model, x[:1], numbers.depths, numbers.seed))


def network(classes=4, channels=1, seed=0, dtype=torch.float32) -> nn.Module:
    """A network of random weights for images of any size."""
    return build(lambda: nn.Sequential(nn.Conv2d(channels, 6, 3, padding=1), nn.ReLU(), nn.Conv2d(6, 8, 3, stride=2),
                                       nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(32, classes)),
                 seed, dtype)


def pictures(n=8, channels=1, size=(12, 12), seed=0) -> torch.Tensor:
    """Images in [0, 1] of smooth noise, float32."""
    coarse = torch.rand(n, channels, 4, 4, generator=torch.Generator().manual_seed(seed))
    return nn.functional.interpolate(coarse, size, mode="bilinear").clamp(0, 1)


#: Options of `audit.run` under which a tiny audit takes a second.
QUICK = {"progress": False, "steps": 2, "attacked": 4, "removed": (0.3, 0.6), "samples": (2, 6), "depths": 2,
         "k": 0.1, "epsilon": 0.05}


def run(model=None, x=None, **options) -> audit.Report:
    """A tiny audit of a network of random weights."""
    return audit.run(network() if model is None else model, pictures() if x is None else x, **{**QUICK, **options})


def rows(report, *, without=("cost",)) -> list[dict]:
    """The rows of a report but those of the clock, NaN as None so that they compare."""
    plain_value = lambda value: None if isinstance(value, float) and value != value else value
    return [{name: plain_value(value) for name, value in row.items()} for row in report.rows()
            if row["criterion"] not in without]
