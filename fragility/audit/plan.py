"""One image through every method: what is refused, what a map costs, and what fits into the time and memory allowed."""

import time
from collections.abc import Callable, Collection, Iterator
from dataclasses import asdict, dataclass, replace

import torch

from fragility.attribution import METHODS
from fragility.attribution.method import method_info
from fragility.audit.criterion import Criterion
from fragility.audit.memory import peak, resident
from fragility.audit.methods import Method, said
from fragility.audit.settings import Settings
from fragility.audit.subject import Subject, is_script
from fragility.passes import default_chunk, logits_of
from fragility.removal import degrade

SHARE, FEWEST = 0.25, 4     # of the budget that one method and criterion may take, on that many images
LONG = 1.0                  # seconds of a single map, of which what the first call sets up is a small part
#: What is given up for the budget, in this order: (what, down to).
GIVEN_UP = (("attacked", 8), ("images", 16), ("steps", 10), ("attacked", 4), ("images", 4), ("attacked", 2),
            ("images", 2))


@dataclass(frozen=True)
class Tried:
    """A method on one image."""

    seconds: float = 0.0
    megabytes: float | None = None
    refused: str | None = None      #: the sentence of the refusal


@dataclass(frozen=True)
class Plan:
    """What will be measured: written into the journal, so that an audit that goes on does the same."""

    images: int
    attacked: int
    steps: int
    seconds: float                  #: estimated, of the whole
    left_out: dict[str, str]        #: "method: criterion" -> why it is not measured
    given_up: list[str]             #: sentences on what the budget took

    def written(self) -> dict:
        return asdict(self)


def tried(one: Subject, method: Method, settings: Settings) -> Tried:
    """Make the map of one image; whatever is raised is the reason of a refusal."""
    x, target = one.x(slice(0, 1)), one.target[:1].to(one.device)
    try:
        start = time.perf_counter()
        with peak(one.device) as used:
            method(one.model, x, target, draw=settings.seed)
        seconds = time.perf_counter() - start
        if seconds < LONG:              # a short one is timed again, without what it sets up
            seconds = timed(one, lambda x, target: method(one.model, x, target, draw=settings.seed))
    except Exception as error:          # of whatever kind a user's own method raises
        unseen = is_script(one.model) and getattr(method.function, "has_rules", False)
        return Tried(refused=f"{'Rules do not see inside TorchScript. ' if unseen else ''}{said(error)}")
    return Tried(seconds, used.megabytes)


def preflight(one: Subject, methods: list[Method], settings: Settings,
              budget: float | None) -> tuple[dict[str, Tried], float | None]:
    """Every method on one image, and what that leaves of the budget; ValueError where it leaves nothing."""
    start, trials = time.monotonic(), {}
    for method in methods:
        trials[method.name] = tried(one, method, settings)
        if budget is not None and time.monotonic() - start > budget:
            raise ValueError(f"The budget of {budget:.0f} seconds is too small: trying {len(trials)} of {len(methods)} "
                             "methods on one image took longer. Give more, or name fewer methods (--methods).")
    return trials, None if budget is None else budget - (time.monotonic() - start)


def timed(one: Subject, run: Callable) -> float:
    """Seconds an image of run(x, target): of the first image, and of several together where one says little."""
    together = one.groups[0].stop
    for count in (1, min(together, 8), together):
        x, target = one.x(slice(0, count)), one.target[:count].to(one.device)
        start = time.perf_counter()
        run(x, target)
        if x.is_cuda:
            torch.cuda.synchronize(x.device)
        seconds = time.perf_counter() - start
        if seconds > 0.1:
            break
    return seconds / count


class Estimate:
    """Seconds of an audit, from the time of single passes and the counts of its criteria."""

    def __init__(self, one: Subject, trials: dict[str, Tried], methods: list[Method], criteria: list[Criterion],
                 settings: Settings):
        self.one, self.trials, self.criteria, self.settings = one, trials, criteria, settings
        self.methods = [method for method in methods if not trials[method.name].refused]
        self.forms = {method.name: _form(method) for method in self.methods}
        self.gradient = timed(one, lambda x, target: METHODS["gradient"](one.model, x, target))
        self.forward = timed(one, lambda x, target: logits_of(one.model, x))
        imputes = any(each.cost(settings, None).imputations for each in criteria)
        self.imputation = timed(one, _impute) if imputes else 0.0

    def of(self, method: Method, criterion: Criterion, settings: Settings) -> float:
        """Seconds an image of a method and criterion."""
        cost = criterion.cost(settings, self.forms[method.name])
        return (cost.maps * self.trials[method.name].seconds + cost.gradients * self.gradient
                + cost.forwards * self.forward + cost.imputations * self.imputation)

    def total(self, images: int, settings: Settings, left_out: Collection[str] = ()) -> float:
        """Seconds of all methods and criteria on so many images."""
        seconds = images * 2 * sum(self.trials[method.name].seconds for method in self.methods)
        for method, criterion in self.pairs():
            if pair(method, criterion) not in left_out:
                seconds += self.counted(criterion, images, settings) * self.of(method, criterion, settings)
        return seconds

    def pairs(self) -> Iterator[tuple[Method, Criterion]]:
        """What is measured: every method by every criterion, but no attack on a control."""
        for criterion in self.criteria:
            for method in self.methods:
                if not (criterion.attacks and method.is_control):
                    yield method, criterion

    def counted(self, criterion: Criterion, images: int, settings: Settings) -> int:
        """How many of the images a criterion measures; what is exact, on the first group alone."""
        first = self.one.groups[0].stop
        return min(images, settings.attacked if criterion.attacks else first if criterion.exact else images)

    def too_long(self, budget: float) -> dict[str, str]:
        """What alone, on the fewest images, would take more than its share of the budget; and the sentence on it."""
        found = {}
        for method, criterion in self.pairs():
            seconds = self.counted(criterion, FEWEST, self.settings) * self.of(method, criterion, self.settings)
            if seconds > SHARE * budget:
                found[pair(method, criterion)] = (f"Left out for the budget: on {FEWEST} images it would take about "
                                                  f"{seconds:,.0f} seconds.")
        return found


    def seconds_of(self, images: int, settings: Settings, left_out: Collection[str]) -> dict[str, float]:
        """Seconds of each pair of a method and criterion that is not left out, by its name in a plan."""
        return {name: self.counted(criterion, images, settings) * self.of(method, criterion, settings)
                for method, criterion in self.pairs() if (name := pair(method, criterion)) not in left_out}


def _impute(x, target) -> None:
    degrade(x, x.sum(1), 0.5, fill="noisy-linear", generator=torch.Generator(x.device).manual_seed(0))


def pair(method: Method, criterion: Criterion) -> str:
    """The name of a method and criterion in a plan."""
    return f"{method.name}: {criterion.name}"


def _form(method: Method) -> str | None:
    info = method_info(method.function)
    return info.form_of(info.options)


def fitted(estimate: Estimate, images: int, budget: float | None) -> Plan:
    """The plan that keeps to the budget in seconds: without what alone would eat it up, then with fewer images, then
    with fewer steps, and at last without the costliest pairs of a method and criterion.

    ValueError where not even one pair fits on two images.
    """
    left_out = {} if budget is None else estimate.too_long(budget)
    wanted = {"attacked": min(images, estimate.settings.attacked), "images": images, "steps": estimate.settings.steps}
    now, attacks = dict(wanted), any(each.attacks for each in estimate.criteria)

    def settings(values: dict) -> Settings:
        return replace(estimate.settings, attacked=max(2, min(values["attacked"], values["images"])),
                       steps=values["steps"])

    def seconds(values: dict) -> float:
        return estimate.total(values["images"], settings(values), left_out)
    for what, least in GIVEN_UP:
        if budget is None or seconds(now) <= budget:
            break
        if what != "images" and not attacks:
            continue
        low, high = min(least, now[what]), now[what]
        while low < high:                       # the most that fits, or the least
            middle = (low + high + 1) // 2
            low, high = (middle, high) if seconds({**now, what: middle}) <= budget else (low, middle - 1)
        now[what] = low
    now["attacked"] = max(2, min(now["attacked"], now["images"]))
    while budget is not None and seconds(now) > budget:
        costs = estimate.seconds_of(now["images"], settings(now), left_out)
        if len(costs) < 2:
            raise ValueError(f"The budget of {budget:.0f} seconds is too small: two images by {', '.join(costs)} "
                             f"alone, with their maps, take about {seconds(now):.0f} seconds. Give more, or name fewer "
                             "methods (--methods).")
        costliest = max(costs, key=lambda name: costs[name])
        left_out[costliest] = (f"Left out for the budget: on {now['images']} images it would take about "
                               f"{costs[costliest]:,.0f} seconds.")
    total = seconds(now)
    words = {"images": "images", "attacked": "attacked images", "steps": "steps of an attack"}
    given_up = [f"For the budget there are {now[what]} {words[what]} instead of {wanted[what]}."
                for what in ("images", "attacked", "steps") if now[what] < wanted[what]
                and (what == "images" or attacks)]
    if left_out:
        given_up.append(f"For the budget these were left out: {', '.join(left_out)}.")
    return Plan(**now, seconds=total, given_up=given_up, left_out=left_out)


def allowed_chunk(one: Subject, trials: dict[str, Tried], max_memory: float | None) -> int | None:
    """Images in flight within `max_memory` bytes; None: the usual number. ValueError where one image does not fit."""
    if max_memory is None:
        return None
    most = max((trial.megabytes or 0.0 for trial in trials.values()), default=0.0)
    used = torch.cuda.memory_allocated(one.device) / 2**20 if one.device.type == "cuda" else resident()
    if used is None:
        one.notices.append("This system does not show a process's memory, so max_memory was not held.")
        return None
    free = max_memory / 2**20 - used
    if free < max(most, 1.0):
        raise ValueError(f"{max_memory / 2**20:,.0f} MB of memory do not suffice: {used:,.0f} MB are in use, and one "
                         f"image takes up to {most:,.0f} MB more. Allow more, or leave out the largest of the methods.")
    usual = default_chunk(one.x(slice(0, 1)))
    return max(1, min(usual, int(free / most))) if most else usual
