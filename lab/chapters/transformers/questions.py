"""Five questions of the audit on each kind of network: noise, shift, removal, randomised weights, another class."""

from collections.abc import Iterator

import pandas as pd
from pydantic import Field

from fragility.audit.criteria import criteria
from lab.chapters.scoreboard import scoreboard
from lab.chapters.scoreboard.scoreboard import Map
from lab.chapters.transformers import kinds
from lab.core.experiment import Experiment, Factor, Outcome, shrink
from lab.core.store import Store
from lab.trained import natural, subjects

CRITERIA = tuple(criteria(["noise", "shift", "removal", "parameters", "class"]))
_NO_ATTACK = {"attacked": 0, "steps": 1}


class Questions(kinds.SideBySide):
    """Parameters of the questions: the maps, and on how many images each is asked."""

    maps: list[Map] = Field(min_length=1)
    images: int = Field(ge=2)


def cells(parameters: Questions) -> list[dict]:
    return [{**network, "images": parameters.images, "method": method}
            for network in kinds.networks(parameters) for method in parameters.maps if kinds.has(network, method)]


def run(cell: dict, store: Store) -> Outcome:
    asked = scoreboard.prepared({**cell, **_NO_ATTACK}, store)
    method = scoreboard.taken(cell, asked)
    if isinstance(method, str):
        return Outcome(scoreboard.refused(method, CRITERIA))
    found = scoreboard.results(asked, method, criteria=CRITERIA)
    return Outcome(pd.DataFrame([row for criterion, one in found for row in _rows(asked.subject, criterion, one)]))


def _rows(subject, criterion, result) -> Iterator[dict]:
    """The rows of the scoreboard, with the rank correlation at each depth of the cascade, from the output down."""
    cascade = result.details.get("cascade", [])
    for place, row in enumerate(scoreboard.rows(subject, criterion, result)):
        depths = cascade[place] if len(cascade) else []
        yield {**row, **{f"random {depth}": float(value) for depth, value in enumerate(depths, 1)}}


def sketch(cell: dict) -> tuple[dict, Factor]:
    """Two images of an untrained network."""
    tiny, times = shrink(natural.untrained(cell), images=2)
    return tiny, Factor(times["images"])


EXPERIMENT = Experiment(
    "modern-questions", 1, Questions, cells, subjects.inputs, run, sketch,
    canary={"network": "mnist-vit", "data_set": "mnist-5k", "epochs": 1, "learning_rate": 1e-3, "batch_size": 32,
            "seed": 0, "images": 8, "method": "attn_lrp"},
    canary_values={"score": 0.434, "effect": 0.279}, notebook="transformers", reads=("networks",), columns=kinds.kind)
