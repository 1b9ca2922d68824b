"""The table of benchmarks: what is compared, and the ratio it has to reach."""
from collections.abc import Callable
from typing import NamedTuple


class Outcome(NamedTuple):
    """What one benchmark measured."""

    ratio: float            # peer / ours, unless the description says otherwise
    spread: float           # inter-quartile range of the repeated ratios
    note: str = ""          # what a reader needs to judge the ratio: the peer's setting, both times


class Benchmark(NamedTuple):
    function: Callable      # Setup -> Outcome
    bar: float
    at_most: bool           # True: the ratio must not exceed the bar; False: it must reach it
    description: str

    def passes(self, ratio):
        return bool(ratio <= self.bar if self.at_most else ratio >= self.bar)

    @property
    def wanted(self):
        return f"{'<=' if self.at_most else '>='} {self.bar}"


BENCHMARKS: dict[str, Benchmark] = {}


def benchmark(name, *, bar, description, at_most=False):
    """Register the decorated function under `name`."""
    def register(function):
        BENCHMARKS[name] = Benchmark(function, bar, at_most, description)
        return function
    return register
