"""The audit: against the bare cost of the passes and imputations that it makes."""
import copy
from collections import Counter
from functools import partial

import torch
from torch import nn

from fragility import audit, removal
from fragility.audit import run

from .registry import Outcome, benchmark
from .setup import synthetic
from .timing import clock

METHODS = ["gradient", "gradient_x_input", "integrated_gradients", "guided_backprop", "deeplift", "lrp", "smoothgrad"]
CRITERIA = ["noise", "shift", "removal", "deletion", "parameters", "class", "completeness", "sensitivity",
            "infidelity", "cost"]
COUNTED: Counter = Counter()        # images by (what, float64); copies of the model count here, too


class Counting(nn.Module):
    """A model that counts the images it sees, with and without a graph."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, x):
        tracked = x.requires_grad and torch.is_grad_enabled()
        COUNTED["gradient" if tracked else "forward", x.dtype == torch.float64] += len(x)
        return self.model(x)


def bare(setup, x):
    """Seconds an image of a pass of each kind, and of an imputation, in batches of eight."""
    model, target = setup.model, setup.labels(x)
    double = copy.deepcopy(model).double()

    def gradient(net, batch):
        leaf = batch.clone().requires_grad_()
        torch.autograd.grad(net(leaf).gather(1, target[:, None]).sum(), leaf)

    @torch.no_grad()
    def forward(net, batch):
        net(batch)

    calls = {(name, is_double): partial(call, double if is_double else model, x.double() if is_double else x)
             for name, call in (("gradient", gradient), ("forward", forward)) for is_double in (False, True)}
    scores = x.sum(1)
    calls["imputation", False] = lambda: [removal.degrade(x, scores, share, fill="noisy-linear") for share in
                                          audit.Settings().removed]
    seconds = {key: min(clock(call)() for _ in range(3)) / len(x) for key, call in calls.items()}
    seconds["imputation", False] /= len(audit.Settings().removed)
    return seconds


@benchmark("audit", bar=1.3, at_most=True, description="audit of seven methods without attacks: ours / the passes and "
           "imputations that it made, each timed alone")
def audit_against_its_passes(setup):
    n = 4 if setup.quick else 16
    x = synthetic(n, setup.size).to(setup.device) if setup.quick else setup.batch(n)
    settings = {"methods": METHODS[:2] if setup.quick else METHODS, "criteria": CRITERIA, "n": n, "progress": False}
    alone = bare(setup, x[:8])
    COUNTED.clear()
    impute = removal.impute

    def counted(x, *rest, **options):
        COUNTED["imputation", False] += len(x)
        return impute(x, *rest, **options)

    removal.impute = counted
    try:
        ours = clock(lambda: run(Counting(setup.model).eval(), x.cpu(), **settings))()
    finally:
        removal.impute = impute
    passes = sum(count * alone[key] for key, count in COUNTED.items())
    images = {kind: sum(count for (name, _), count in COUNTED.items() if name == kind)
              for kind in ("forward", "gradient", "imputation")}
    counts = ", ".join(f"{count / n:.0f} {kind}" for kind, count in images.items())
    return Outcome(ours / passes, 0.0, f"{n} images; an image takes {counts}; {ours:.3g} s against {passes:.3g} s")
