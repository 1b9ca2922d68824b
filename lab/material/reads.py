"""Which images and weights are read: noted while somebody asks, so that a pack brings these and no others."""

import functools
import gc
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property
from typing import NamedTuple

import torch
from torch import Tensor

from lab.material.sources import Dataset


class Split(NamedTuple):
    """A split that was read."""

    data: Dataset
    rows: Tensor | None         #: Which images, in order; None where all of them were needed.


class Reads:
    """What was read so far."""

    def __init__(self):
        self._watched: dict[tuple[str, str], Watched] = {}
        self.weights: dict[str, Mapping[str, Tensor]] = {}      #: State dicts by the name of their file.

    def note(self, name: str, split: str, found: Dataset) -> Dataset:
        """The split with images that note what is taken of them."""
        watched = self._watched.setdefault((name, split), Watched(found))
        return watched.data._replace(images=watched)

    @property
    def splits(self) -> dict[tuple[str, str], Split]:
        """The splits by name and split; those of which no image was needed are left out."""
        return {key: Split(one.data, one.rows) for key, one in self._watched.items() if one.whole or len(one.rows)}


class Watched:
    """Images (n, c, h, w) that note which rows are taken; whatever else is done with them needs all."""

    def __init__(self, data: Dataset):
        self.data, self.whole = data, False
        self._taken = torch.zeros(len(data.images), dtype=torch.bool)

    @property
    def rows(self) -> Tensor | None:
        return None if self.whole or self._taken.all() else self._taken.nonzero().flatten()

    @cached_property
    def shape(self) -> torch.Size:
        return self.data.images.shape

    def __len__(self) -> int:
        return len(self.data.images)

    def __getitem__(self, rows) -> Tensor:
        self._taken[rows] = True
        return self.data.images[rows]

    def __getattr__(self, name: str):
        self.whole = True
        return getattr(self.data.images, name)

    @classmethod
    def __torch_function__(cls, function, types, args=(), kwargs=None):
        return function(*map(_unwatched, args), **{name: _unwatched(one) for name, one in (kwargs or {}).items()})


def _unwatched(value):
    if isinstance(value, Watched):
        value.whole = True
        return value.data.images
    return type(value)(map(_unwatched, value)) if isinstance(value, (list, tuple)) else value


_active: list[Reads] = []


@contextmanager
def recorded() -> Iterator[Reads]:
    """Note what is read inside."""
    forget()           # what a cache already holds would not be read again
    _active.append(Reads())
    try:
        yield _active[-1]
    finally:
        _active.pop()
        forget()       # images that note their rows are of no use to anyone else


def forget() -> None:
    """Empty the caches of all functions of the laboratory, many of which hold images."""
    for one in gc.get_objects():
        if type(one) is functools._lru_cache_wrapper and one.__module__.partition(".")[0] == "lab":
            one.cache_clear()


def noted(name: str, split: str, found: Dataset) -> Dataset:
    """The split as its reader gets it."""
    return _active[-1].note(name, split, found) if _active else found


def noted_weights(file: str, state: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    """The weights as their reader gets them; `file` is the name under which a data folder would hold them."""
    if _active:
        _active[-1].weights[file] = state
    return state
