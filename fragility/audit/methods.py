"""The map methods under audit: those that come with the package, Captum's, and a user's own."""

import functools
import hashlib
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from types import CodeType

import torch
from torch import Tensor

from fragility import attribution, checks
from fragility.attribution.method import method_info
from fragility.audit.criterion import NotApplicable

#: Looked at beside the methods; they know nothing of the model, and what passes with them is no evidence.
CONTROLS = ("sobel", "random")
#: Methods whose map must add up to the logit at the image minus the logit at the baseline.
COMPLETE = ("integrated_gradients", "deeplift")


@dataclass(frozen=True)
class Method:
    """A map method under audit: a function (model, x, target) -> signed maps (n, c, h, w), or (n, h, w)."""

    name: str
    function: Callable
    is_control: bool = False

    def __call__(self, model, x: Tensor, target: Tensor, *, draw: int, chunk: int | None = None, **options) -> Tensor:
        """Signed maps of x's shape, detached; NaN in images whose map is not finite.

        `draw` seeds the random numbers of a method that needs any; `chunk` bounds the images in flight.
        """
        size = chunk or len(x)
        if "chunk" in self.options:
            options["chunk"] = chunk
        if "generator" in self.options:
            options["generator"] = torch.Generator(x.device).manual_seed(draw)
            size = len(x)
        with torch.enable_grad():
            maps = torch.cat([self._finite(model, part, classes, options)
                              for part, classes in zip(x.split(size), target.split(size))])
        return maps

    def _finite(self, model, x: Tensor, target: Tensor, options: dict) -> Tensor:
        try:
            maps = self.function(model, x.clone(), target.clone(), **options)
        except ValueError as error:
            if "must be finite" not in str(error):
                raise
            if len(x) == 1:
                return torch.full_like(x, torch.nan)
            return torch.cat([self._finite(model, *one, options) for one in zip(x.split(1), target.split(1))])
        return _finite_only(_of_shape(maps, x, self.name))

    @property
    def attacked(self) -> Callable:
        """Its function as attacks take it, itself where it knows its form; a user's own gives maps of x's shape."""
        inner = self.function
        while isinstance(inner, functools.partial):
            inner = inner.func
        if hasattr(inner, "form_of"):
            return self.function

        @functools.wraps(self.function)
        def shaped(model, x, target=None, **options):
            return _of_shape(self.function(model, x, target, **options), x, self.name)
        return shaped

    @functools.cached_property
    def options(self) -> tuple[str, ...]:
        """Names of the options that its function has."""
        return method_info(self.function).names

    @property
    def complete(self) -> bool:
        """Whether its maps promise to add up to the logit's difference from black, whatever name they go by."""
        info = method_info(self.function)
        baseline = info.options.get("baseline", 0.0)
        return info.name in COMPLETE and isinstance(baseline, (int, float)) and baseline == 0

    def seed(self, *purpose) -> int:
        """A seed of its own for each purpose."""
        return seed_of(self.name, *purpose)


def seed_of(*purpose) -> int:
    """The same number below 2**31 for the same purpose, in every process."""
    digest = hashlib.sha256(repr(purpose).encode()).digest()
    return int.from_bytes(digest[:4], "big") >> 1


def said(error: Exception) -> str:
    """What an exception says, in one line."""
    text = str(error).strip().splitlines()
    kind = "" if isinstance(error, (ValueError, NotApplicable)) and text else f"{type(error).__name__}: "
    return f"{kind}{text[0]}" if text else type(error).__name__


def written(function: Callable) -> str:
    """A digest of a function's code and of the file it stands in: another one of the same name has another."""
    parts = []
    while isinstance(function, functools.partial):
        parts.append(re.sub(r" at 0x[0-9a-f]+", "", repr(sorted(function.keywords.items()))))
        function = function.func
    parts.append(getattr(function, "__qualname__", type(function).__qualname__))
    code = getattr(function, "__code__", None)
    if code is not None:
        parts += [code.co_code.hex(), repr(code.co_names), repr([one for one in code.co_consts
                                                                 if not isinstance(one, CodeType)])]
        file = Path(code.co_filename)
        parts.append(file.read_text(encoding="utf-8", errors="replace") if file.is_file() else "")
    return hashlib.sha256(repr(parts).encode()).hexdigest()


def _finite_only(maps: Tensor) -> Tensor:
    """Detached maps; NaN in images whose map is not finite."""
    maps = maps.detach()
    return torch.where(torch.isfinite(maps).flatten(1).all(1).view(-1, 1, 1, 1), maps, torch.nan)


def _of_shape(maps, x: Tensor, name: str) -> Tensor:
    """Maps of x's shape; one value a pixel is shared evenly among its channels."""
    if not isinstance(maps, Tensor):
        raise ValueError(f"The method {name} must return a tensor of maps, but it returned a {type(maps).__name__}.")
    maps = maps.to(x)
    if maps.shape == (len(x), *x.shape[2:]):
        maps = maps[:, None]
    if maps.shape == (len(x), 1, *x.shape[2:]):
        maps = (maps / x.shape[1]).expand_as(x)
    if maps.shape != x.shape:
        raise ValueError(f"The method {name} must return maps of the images' shape {tuple(x.shape)} or one value a "
                         f"pixel, {(len(x), *x.shape[2:])}, but it returned {tuple(maps.shape)}.")
    return maps


def methods(asked: str | Callable | Iterable | dict | None = None) -> list[Method]:
    """Methods by name or as functions, and after them the controls, each name once.

    Parameters
    ----------
    asked
        None or "auto": all in `attribution.METHODS`. Otherwise names of these, names of Captum's classes as
        "captum:Occlusion", functions (model, x, target) -> maps, or a dictionary of such functions by name.

    Raises
    ------
    ValueError
        An unknown name, two methods of one name, or what is neither a name nor a function.
    """
    if asked is None or asked == "auto":
        asked = [name for name in attribution.METHODS if name not in CONTROLS]
    elif isinstance(asked, str) or callable(asked):
        asked = [asked]
    elif not isinstance(asked, Iterable):
        raise ValueError(f"methods must be names, functions (model, x, target) -> maps, or a dictionary of these by "
                         f"name, not {asked!r}.")
    pairs = list(asked.items()) if isinstance(asked, dict) else [(None, one) for one in asked]
    made = [_method(name, one) for name, one in pairs]
    names = [one.name for one in made]
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"Two methods are called {name}; pass a dictionary of functions by name.")
    if all(one.is_control for one in made):
        raise ValueError(f"At least one method is needed beside the controls {' and '.join(CONTROLS)}; choose among: "
                         f"{', '.join(name for name in attribution.METHODS if name not in CONTROLS)}.")
    controls = [Method(name, attribution.METHODS[name], is_control=True) for name in CONTROLS if name not in names]
    return made + controls


def _method(name: str | None, function) -> Method:
    if isinstance(function, str):
        if function.startswith("captum:"):
            from fragility.interop import captum_by_name
            return Method(name or function, captum_by_name(function.removeprefix("captum:")))
        checks.choice("Method", function, attribution.METHODS)
        return Method(name or function, attribution.METHODS[function], is_control=function in CONTROLS)
    if not callable(function):
        raise ValueError(f"A method must be a name or a function (model, x, target) -> maps, not {function!r}.")
    return Method(name or method_info(function).name, function)
