"""A few images that are measured together, and what the criteria share: maps, noise, random networks, curves."""

import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from fragility.attacks import random_sign
from fragility.attribution.pixel import normalised
from fragility.audit.methods import Method, seed_of
from fragility.audit.randomised import Randomised
from fragility.audit.settings import Settings
from fragility.passes import logits_of


class Group:
    """Images (n, c, h, w) in [0, 1] with their predicted classes (n,), and everything computed of them once.

    Groups depend on the images alone, never on the memory that is allowed, and random numbers on the group and their
    purpose: so the result of an audit does not depend on `chunk`, nor on where it was interrupted.
    """

    def __init__(self, model, x: Tensor, target: Tensor, *, place: int, first: int, settings: Settings,
                 chunk: int | None = None, randomised: Randomised | str | None = None, training: Any = None):
        self.model, self.x, self.target = model, x, target
        self.place, self.first, self.settings, self.chunk = place, first, settings, chunk
        self.randomised, self.training = randomised, training
        self._shared: dict = {}
        self.k = settings.top(*x.shape[2:])
        self.window = settings.window(*x.shape[2:])

    def __len__(self) -> int:
        return len(self.x)

    def shared(self, key, make: Callable):
        """What `make` returns, made once in the life of the group."""
        if key not in self._shared:
            self._shared[key] = make()
        return self._shared[key]

    def forget(self, method: Method) -> None:
        """Drop the maps of a method that is done."""
        for key in [key for key in self._shared if isinstance(key, tuple) and key[0] == method.name]:
            del self._shared[key]

    def generator(self, *purpose) -> torch.Generator:
        """Random numbers of this group for one purpose, the same at every call and for every method."""
        return torch.Generator(self.x.device).manual_seed(self._seed(*purpose))

    def _seed(self, *purpose) -> int:
        return seed_of("", self.settings.seed, self.place, *purpose)

    # What all methods are compared on.

    @property
    def partners(self) -> Tensor:
        """For each image the place of another one in the group, (n,): of the same predicted class where there is one.

        Images are ordered by class, so those of a class stand side by side.
        """
        def make():
            partners = torch.arange(len(self)).roll(-1)
            for one in self.target.unique():
                places = (self.target == one).nonzero().flatten().cpu()
                if len(places) > 1:
                    partners[places] = places.roll(-1)
            return partners.to(self.x.device)
        return self.shared("partners", make)

    @property
    def noisy(self) -> Tensor:
        """The images under random signs of epsilon, clipped to [0, 1]."""
        return self.shared("noisy", lambda: random_sign(self.x, epsilon=self.settings.epsilon,
                                                        generator=self.generator("noise")))

    @property
    def logits(self) -> Tensor:
        """Logits (n, classes) of the images."""
        return self.shared("logits", lambda: logits_of(self.model, self.x, self.chunk))

    @property
    def other_class(self) -> Tensor:
        """For each image a class other than the predicted one, (n,), drawn at random."""
        def make():
            classes = self.logits.shape[1]
            generator = self.generator("other class")
            step = torch.randint(1, classes, (len(self),), generator=generator, device=self.x.device)
            return (self.target + step) % classes
        return self.shared("other class", make)

    def probability(self, x: Tensor) -> Tensor:
        """Probability (n,) of the predicted classes at other images of the same shape."""
        return logits_of(self.model, x, self.chunk).softmax(1).gather(1, self.target[:, None]).squeeze(1)

    # Maps of a method.

    def maps(self, method: Method, x: Tensor | None = None, *, purpose: str = "clean", target: Tensor | None = None,
             model=None) -> Tensor:
        """Signed maps (n, c, h, w); random numbers of the method differ from purpose to purpose."""
        return method(model or self.model, self.x if x is None else x, self.target if target is None else target,
                      draw=method.seed(self.settings.seed, self.place, purpose), chunk=self.chunk)

    def clean(self, method: Method) -> Tensor:
        """Signed maps of the images themselves."""
        return self.shared((method.name, "clean"), lambda: self._timed(method))

    def seconds(self, method: Method) -> float:
        """Seconds that the clean maps took."""
        self.clean(method)
        return self._shared[method.name, "seconds"]

    def _timed(self, method: Method) -> Tensor:
        start = time.perf_counter()
        maps = self.maps(method)
        if maps.is_cuda:
            torch.cuda.synchronize(maps.device)
        self._shared[method.name, "seconds"] = time.perf_counter() - start
        return maps

    def under_noise(self, method: Method) -> Tensor:
        """Signed maps of the images under random signs, of the class predicted without them."""
        return self.shared((method.name, "noise"), lambda: self.maps(method, self.noisy, purpose="noise"))


def pixels(maps: Tensor) -> Tensor:
    """Importance of each pixel (n, h, w), non-negative, with sum one; NaN where a map is undefined."""
    found = defined(maps)
    return torch.where(found[:, None, None], normalised(torch.where(found.view(-1, 1, 1, 1), maps, 1.0)), torch.nan)


def defined(maps: Tensor) -> Tensor:
    """Which signed maps (n, c, h, w) are finite and not the same everywhere, so that they have top pixels and ranks."""
    values = maps.flatten(1)
    strength = maps.abs().sum(1).flatten(1)
    return torch.isfinite(values).all(1) & (strength.amax(1) != strength.amin(1))


def where_defined(metric: Callable[[Tensor, Tensor], Tensor], a: Tensor, b: Tensor) -> Tensor:
    """A metric (n,) of two batches, in float64; NaN where either holds NaN."""
    both = ~(a.flatten(1).isnan().any(1) | b.flatten(1).isnan().any(1))
    values = torch.full((len(a),), torch.nan, dtype=torch.float64, device=a.device)
    if bool(both.any()):
        values[both] = metric(a[both], b[both]).double()
    return values


def rank_correlation(a: Tensor, b: Tensor, *, gone: float = torch.nan) -> Tensor:
    """Spearman's correlation (n,) of all signed values of two batches of maps (n, c, h, w), in float64.

    NaN where `a` is undefined or `b` not finite; `gone` where `b` alone is the same everywhere: 0 where a map that is
    gone counts as one that has changed.
    """
    from fragility.metrics.agreement import correlation, ranks

    def metric(p, q):
        return correlation(ranks(p.flatten(1)), ranks(q.flatten(1)))
    undefined = torch.tensor(torch.nan, dtype=a.dtype, device=a.device)
    values = where_defined(metric, *(torch.where(defined(maps).view(-1, 1, 1, 1), maps, undefined) for maps in (a, b)))
    flat = ~defined(b) & torch.isfinite(b).flatten(1).all(1)
    return torch.where(defined(a) & flat, gone, values)
