"""What makes a public map method of a kernel, and how a method is found by its name."""

import functools
from collections.abc import Callable

import torch

from fragility import checks
from fragility.passes import Output


def method(kernel: Callable) -> Callable:
    """Make a public map function of a kernel: check the input, run it, check the maps.

    The kernel stays reachable as `__wrapped__`; other kernels call it there and skip the checks.
    """
    @functools.wraps(kernel)
    def checked(model, x, target=None, **options):
        checks.model(model)
        checks.images(x)
        if options.get("chunk") is not None:
            checks.whole("chunk", options["chunk"], 1)
        with torch.inference_mode(False):
            x = checks.plain(x)
            maps = kernel(model, x, Output(target, len(x), x.device), **options)
        for part in maps if isinstance(maps, tuple) else (maps,):
            checks.finite(part, "The map")
        return maps
    return checked


def kernel_of(function: Callable) -> Callable:
    """The unchecked kernel(model, x, output, …) of a public method, or of a user's (model, x, target, …)."""
    kernel = getattr(function, "__wrapped__", None)
    return kernel or (lambda model, x, output, **options: function(model, x, output.classes, **options))


def by_name(method: str | Callable) -> Callable:
    """The callable of a `METHODS` name; a callable is its own."""
    from fragility.attribution import METHODS  # the table is made of this module's functions, too
    return method if callable(method) else METHODS[checks.choice("Method", method, METHODS)]
