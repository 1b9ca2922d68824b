"""Experiments without values: their cells run on tensors that claim to be on another device, and every wait is noted.

A host has to wait for a device wherever it needs a value: `.item()`, `bool()`, a mask as an index. Here such a value is
zero, or one for `.item()`, a mask takes half of the rows, and the function that asked is noted. `.cpu()` and
`.tolist()` are how results reach the table and the store, and are free. What reads a device's memory, as `.numpy()`,
or mixes devices, is an error.
The device is torch's "meta": torch asks CUDA's driver for a stream as soon as a graph is made of tensors there.
"""

import contextlib
import sys
import traceback
from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode

from fragility import checks, influence
from fragility.metrics import lens
from fragility.training import loop
from lab.chapters.influence import influences
from lab.chapters.lens import image_choice
from lab.chapters.roar import trainings
from lab.core.experiment import Experiment
from lab.core.folders import ROOT
from lab.core.store import Store
from lab.material import data, networks, reads
from lab.trained import natural, robust, subjects

META = torch.device("meta")


class Waits:
    """Functions in which a host waited for a value of the device, as `module.function`."""

    def __init__(self):
        self.places: set[str] = set()

    def value(self, tensor: Tensor) -> int:
        """The value that a host gets of a tensor."""
        if tensor.device.type != "cpu":
            self.note()
        return 0

    def note(self) -> None:
        ours = [frame for frame in traceback.extract_stack() if frame.filename.startswith((f"{ROOT}/lab/",
                                                                                         f"{ROOT}/fragility/"))]
        file = ours[-1].filename.removeprefix(f"{ROOT}/").removesuffix(".py").replace("/", ".")
        self.places.add(f"{file}.{ours[-1].name}")


@contextlib.contextmanager
def blind(folder):
    """Run cells of experiments on a device without values; gives the waits, and a store."""
    waits = Waits()
    try:
        with pytest.MonkeyPatch.context() as patch, FakeTensorMode(allow_non_fake_inputs=True):
            _without_values(patch, waits)
            _without_training(patch)
            for name, module in list(sys.modules.items()):
                if name.startswith("lab.") and callable(getattr(module, "device", None)):
                    patch.setattr(module, "device", lambda: META)
            yield waits, Store(folder)
    finally:
        _forget()


def _forget() -> None:
    """Empty all caches, which hold tensors without values now: whoever computes next would be given these."""
    reads.forget()
    for kept in (subjects._CHOSEN, image_choice._CHOSEN, influences._SETTINGS):
        kept.clear()


def _without_values(patch, waits: Waits) -> None:
    def taken(tensor, index):
        """`tensor[index]` where an index's values would decide the shape, or name one row."""
        parts = list(index) if isinstance(index, tuple) else [index]
        for place, part in enumerate(parts):
            if isinstance(part, Tensor) and (part.dtype == torch.bool or part.ndim == 0):
                if part.device.type != "cpu":
                    waits.note()
                if part.ndim > 1:
                    flat = tensor.flatten(0, part.ndim - 1)
                    return plain(flat, slice(0, part.numel() // 2)).clone(memory_format=torch.contiguous_format)
                parts[place] = slice(0, max(1, len(part) // 2)) if part.ndim else 0
        found = plain(tensor, tuple(parts) if isinstance(index, tuple) else parts[0])
        # No view: without memory forward mode cannot tell which tangent belongs to a part.
        return found.clone(memory_format=torch.contiguous_format) if tensor.device.type != "cpu" else found

    def zeros(tensor):
        kind = bool if tensor.dtype == torch.bool else float if tensor.is_floating_point() else int
        return np.zeros(tuple(tensor.shape), kind).tolist()

    def places(tensor):
        if tensor.device.type != "cpu":
            waits.note()
        return torch.zeros(max(1, tensor.numel() // 2), tensor.ndim, dtype=torch.int64, device=tensor.device)

    plain = Tensor.__getitem__
    patch.setattr(Tensor, "__getitem__", taken)
    patch.setattr(Tensor, "nonzero", places)
    patch.setattr(FakeTensor, "tolist", zeros)
    patch.setattr(FakeTensor, "item", lambda tensor: waits.value(tensor) + (1.0 if tensor.is_floating_point() else 0),
                  raising=False)
    for name, kind in {"__bool__": bool, "__int__": int, "__float__": float, "__index__": int}.items():
        patch.setattr(FakeTensor, name, lambda tensor, kind=kind: kind(waits.value(tensor)), raising=False)

    def array(tensor, *args, **kwargs):
        if tensor.device.type != "cpu":
            raise TypeError("can't convert a tensor of another device to numpy; use .cpu() first")
        return np.zeros(tuple(tensor.shape))
    patch.setattr(FakeTensor, "numpy", array, raising=False)
    # Checks at entry may wait for a device: once a call, and before its work.
    patch.setattr(checks, "any_true", lambda mask: False)
    patch.setattr(checks, "bounds", lambda classes: (0, 0))
    patch.setattr(loop, "check_examples", lambda model, images, labels: None)
    # Rounds that end by their values: a diverse top-k when every map is decided, a head when it has converged.
    patch.setattr(influence, "fit_head", lambda features, labels, *, loss="cross-entropy", l2: influence.Head(
        torch.zeros(1, features.shape[1] + 1, dtype=torch.float64, device=features.device), loss, l2))
    patch.setattr(lens, "_greedy", lambda a, k, window: torch.zeros_like(a, dtype=torch.bool))


def _without_training(patch) -> None:
    """Networks of initial weights, and records of other cells as these would be made now."""
    load = networks.load
    patch.setattr(networks, "load", lambda name, *, weights=None: load(name))
    patch.setattr(nn.Module, "_apply", _apply)
    patch.setattr(torch, "autocast", lambda *args, **kwargs: contextlib.nullcontext())
    patch.setattr(torch.optim, "AdamW", partial(_without_fused, torch.optim.AdamW))
    for module in (natural, robust):
        patch.setattr(module, "trained", lambda cell, store: (networks.load(cell["network"]).to(META), "weights"))
    patch.setattr(natural, "load_split", lambda name, split: (data.load(name, split), "data"))
    patch.setattr(trainings, "explained", lambda cell, store: networks.load(cell["network"]).to(META))
    patch.setattr(Experiment, "key", lambda one, cell, store: "key")

    def record(one, cell, store):
        table, tensors = one.run(cell, store)
        return SimpleNamespace(key="key", table=table, tensors=lambda: tensors, companion=None,
                               about={"seconds": 1.0})
    patch.setattr(Experiment, "record", record)


def _without_fused(kind, parameters, *, fused, **options):
    return kind(parameters, **options)


def _apply(module, function, recurse=True):
    """Module.to and its kin; torch's own cannot swap what a fake mode refers to."""
    for child in module.children():
        child._apply(function)
    for name, value in module._parameters.items():
        if value is not None:
            module._parameters[name] = nn.Parameter(function(value.detach()), value.requires_grad)
    for name, value in module._buffers.items():
        if value is not None:
            module._buffers[name] = function(value)
    return module
