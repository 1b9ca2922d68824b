"""A question asked of every map: how it is measured, against which control, and how far it must be above that."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

from torch import Tensor

from fragility.audit.margins import Margin


class NotApplicable(Exception):
    """Raised by a measurement that makes no sense of this method or model; its text is the reason in the report."""


class Measured(NamedTuple):
    """What a criterion measures of one method on a group of n images.

    Entries are NaN where an image's map is undefined: zero everywhere, constant or not finite.
    """

    score: Tensor                               #: (n,)
    controls: dict[str, Tensor] = {}            #: name -> the same score of a control, (n,); none where it is exact.
    details: dict[str, Tensor] = {}             #: name -> further numbers (n,) or curves (n, points), for the report.
    rows: slice = slice(None)                   #: The images of the group that were measured.
    maps: Tensor | None = None                  #: Signed maps of these images that the report is to show.


class Cost(NamedTuple):
    """What a measurement of one image costs, counted in passes."""

    maps: float = 0             #: maps of the method
    gradients: float = 0        #: forward and backward passes
    forwards: float = 0         #: forward passes
    imputations: float = 0      #: images filled by linear imputation


@dataclass(frozen=True)
class Criterion:
    """A question, with everything that a verdict on it needs.

    The effect on an image is score minus control, or control minus score where a low score is good. A method passes
    where the interval of the mean effect lies above the margin, and fails where it lies below.
    """

    name: str
    question: str                               #: in words, as the report asks it
    measure: Callable[..., Measured]            #: (group, method, settings) -> Measured
    cost: Callable[..., Cost]                   #: (settings, form of the method's map) -> Cost
    source: str
    margin: Margin | None                       #: None where it is reported and never judged
    score: str                                  #: what the score is, in a few words with its unit
    high_is_good: bool = True
    best: float | None = None                   #: the best score there is, for margins that are shares of the way to it
    exact: bool = False                         #: a property that holds or does not; a few images are enough
    over_trainings: bool = False                #: entries are trainings, not images; asked once
    worst: bool = False                         #: whether the worst image decides what is exact, not the mean
    attacks: bool = False                       #: measured on the attacked images only
    objection: Callable[[dict], str | None] = field(default=lambda details: None)   #: why it is not to be judged
