"""Every map by every question of the audit: its own functions, on the book's networks."""

import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from pydantic import Field
from torch import Tensor, nn

from fragility import attribution
from fragility.audit import plan
from fragility.audit.criteria import criteria
from fragility.audit.criterion import Criterion
from fragility.audit.group import Group
from fragility.audit.journal import Journal
from fragility.audit.measuring import is_asked, measure
from fragility.audit.methods import Method
from fragility.audit.randomised import Randomised
from fragility.audit.settings import Settings
from fragility.audit.subject import Subject, subject
from fragility.audit.verdicts import Result, beyond, judge
from lab.chapters.audit import planted
from lab.chapters.scoreboard import methods as maps
from lab.core.experiment import Experiment, Factor, Outcome, shrink
from lab.core.parameters import Count, Parameters, one_of
from lab.core.store import Store, fingerprint
from lab.material import data
from lab.material.data import DataSet
from lab.trained import natural, subjects

Map = one_of("Map", maps.NAMES)
CRITERIA = criteria()           # all but retraining, whose verdicts come from the chapter on it
PATTERNED = ("pattern_net", "pattern_attribution")


class Scored(Parameters):
    """One network of the board, with the planted maps that it gets.

    `fewer` holds what the cells of a costly map change; where no image is `attacked`, attacks are left out.
    """

    network: str
    data_set: DataSet
    epochs: int = Field(ge=0)
    images: int = Field(ge=2)
    attacked: int = Field(ge=0)
    steps: Count
    planted: list[one_of("Planted map", maps.PLANTED)]
    fewer: dict[Map, dict[one_of("Number", ("images", "attacked", "steps")), int]] = {}


class Scoreboard(Parameters):
    """Parameters of the scoreboard: its networks, and the maps that each of them gets."""

    scored: list[Scored] = Field(min_length=1)
    maps: list[Map] = Field(min_length=1)
    pattern_images: int = Field(ge=2)
    seed: int = 0


def cells(parameters: Scoreboard) -> list[dict]:
    grid = []
    for one in parameters.scored:
        shared = one.model_dump(exclude={"planted", "fewer"}) | {"seed": parameters.seed}
        for name in [*parameters.maps, *one.planted]:
            patterns = {"pattern_images": parameters.pattern_images} if name in PATTERNED else {}
            grid.append({**shared, **one.fewer.get(name, {}), "method": name, **patterns})
    return grid


def inputs(cell: dict, store: Store) -> dict:
    if cell["method"] != maps.CORNER and cell["method"] not in PATTERNED:
        return subjects.inputs(cell, store)
    learned = "all" if data.is_unsplit(cell["data_set"]) else "train"
    return {**subjects.inputs(cell, store), "train": fingerprint(data.load(cell["data_set"], learned).images)}


class Asked(NamedTuple):
    """A network with its images in groups, which share what the questions need of all maps."""

    subject: Subject
    groups: list[Group]
    settings: Settings


_PREPARED = ("network", "data_set", "epochs", "seed", "images", "attacked", "steps")


def prepared(cell: dict, store: Store) -> Asked:
    """The network and images of a cell; kept for the next cell, since curves of controls take as long as a map's."""
    values = tuple((name, cell[name]) for name in (*_PREPARED, *natural.RECIPE_FIELDS) if name in cell)
    return _prepared(values, cell["method"] == maps.CORNER, store)


@lru_cache(maxsize=2)
def _prepared(values: tuple, corner: bool, store: Store) -> Asked:
    cell = dict(values)
    model, x = _of_corner(cell) if corner else subjects.subjects(cell, store)[:2]
    settings = Settings(attacked=max(2, cell["attacked"]), steps=cell["steps"])
    one = subject(model, x, name=cell["network"], seed=settings.seed, names=[str(row) for row in range(len(x))])
    one = one.take(len(one), settings.seed)
    randomised = Randomised(model, one.x(slice(0, 1)), settings.depths, settings.seed)
    groups = [Group(model, one.x(rows), one.target[rows].to(one.device), place=place, first=rows.start,
                    settings=settings, randomised=randomised) for place, rows in enumerate(one.groups)]
    return Asked(one, groups, settings)


def _of_corner(cell: dict) -> tuple[nn.Module, Tensor]:
    """A network that reads a corner, and images that it classifies correctly by it."""
    model = planted.reader_of_patches(cell["data_set"], cell["network"], maps.CORNER_EPOCHS)
    images, labels = planted.patched(data.load(cell["data_set"], "test"))
    return model, subjects.correctly_classified(model, images, labels, cell["seed"])[0][:cell["images"]]


def run(cell: dict, store: Store) -> Outcome:
    asked = prepared(cell, store)
    method = taken(cell, asked)
    if isinstance(method, str):
        return Outcome(refused(method))
    found = results(asked, method, attacks=cell["attacked"] > 0)
    table = pd.DataFrame([row for criterion, one in found for row in rows(asked.subject, criterion, one)])
    return Outcome(table.assign(gradients=np.where(table.criterion == "cost", _in_gradients(asked, method), np.nan)))


def taken(cell: dict, asked: Asked) -> Method | str:
    """The method of a cell, or why the network refuses it, which is a result, too."""
    try:
        method = maps.method(cell, asked.subject.model)
    except ValueError as refusal:
        return str(refusal)
    return plan.tried(asked.subject, method, asked.settings).refused or method


def results(asked: Asked, method: Method, *, attacks: bool = True,
            criteria: Sequence[Criterion] = tuple(CRITERIA)) -> list[tuple[Criterion, Result]]:
    """What the audit finds of a method by each of the criteria."""
    journal = Journal(None, "")
    for group in asked.groups:
        for criterion in criteria:
            if not is_asked(criterion, group.first, asked.settings) or _refuses(journal, method, criterion):
                continue
            if criterion.attacks and not attacks:
                entry = {"refused": "An attack on this map takes hours, and was left out."}
            else:
                entry = measure(group, method, criterion, asked.settings).entry
            journal.add(group.place, method.name, criterion.name, entry)
        group.forget(method)
    return [(criterion, journal.result(method.name, criterion.name)) for criterion in criteria]


def _refuses(journal: Journal, method: Method, criterion: Criterion) -> bool:
    return "refused" in journal.lines.get((0, method.name, criterion.name), {})


def _in_gradients(asked: Asked, method: Method) -> float:
    """What a map costs in gradients, both made here one after the other: seconds depend on who else is computing."""
    group, times = asked.groups[0], []
    for one in (method, Method("gradient", attribution.gradient)):
        start = _clock(group)
        group.maps(one)
        times.append(_clock(group) - start)
    return times[0] / times[1]


def _clock(group: Group) -> float:
    """Seconds of this process; on a GPU, of the clock, when all that was asked for is done."""
    if not group.x.is_cuda:
        return time.process_time()
    torch.cuda.synchronize(group.x.device)
    return time.perf_counter()


def refused(reason: str, criteria: Sequence[Criterion] = tuple(CRITERIA)) -> pd.DataFrame:
    """The table of a method that the network refuses."""
    return pd.DataFrame([{"image": None, "criterion": each.name, "score": None, "refused": reason}
                         for each in criteria])


def rows(one: Subject, criterion: Criterion, result: Result) -> Iterator[dict]:
    """One row an image: what the audit's report has, the effect against the closest control, and what that has above
    the margin."""
    if result.refused:
        yield {"image": None, "criterion": criterion.name, "score": None, "refused": result.refused}
        return
    effect, excess = _effects(criterion, result)
    curves = {name: np.asarray(values).mean(1) for name, values in result.details.items() if name in ("most", "least")}
    for place, (image, row) in enumerate(zip(result.images, result.rows())):
        yield {"image": int(one.names[image]), "criterion": criterion.name, **row, "effect": effect[place],
               "excess": excess[place], **{name: float(values[place]) for name, values in curves.items()}}


def _effects(criterion: Criterion, result: Result) -> tuple[np.ndarray, np.ndarray]:
    sign = 1 if criterion.high_is_good else -1
    if criterion.margin is None:
        return np.full(len(result.score), np.nan), np.full(len(result.score), np.nan)
    there = replace(result, undefined=np.zeros_like(result.undefined))      # many undefined maps fail without a control
    closest = judge(criterion, there, family=1).control or next(iter(result.controls), None)
    control = result.controls.get(closest, np.zeros(len(result.score)))
    effect, scored = sign * (result.score - control), ~np.isnan(result.score) & ~np.isnan(control)
    excess = np.full(len(effect), np.nan)
    if scored.any():
        excess[scored] = beyond(criterion, effect[scored], control[scored], criterion.margin)[0]
    return effect, excess


def sketch(cell: dict) -> tuple[dict, Factor]:
    """Two images and two steps of an attack; maps of the other questions, and of attacks, are counted."""
    patterns = {"pattern_images": 8} if "pattern_images" in cell else {}
    tiny, _ = shrink(natural.untrained(cell), images=2, attacked=2, steps=2, **patterns)
    return tiny, Factor(_maps(cell) / _maps(tiny))


def _maps(cell: dict) -> float:
    """About how many maps a cell makes: attacks, two of them, take four a step."""
    return 20 * cell["images"] + 2 * cell["attacked"] * (4 * cell["steps"] + 3)


EXPERIMENT = Experiment(
    "scoreboard", 2, Scoreboard, cells, inputs, run, sketch,
    canary={"network": "mnist-cnn", "data_set": "mnist-5k", "epochs": 1, "seed": 0, "images": 8, "attacked": 4,
            "steps": 2, "method": "gradient"},
    canary_values={"effect": 0.468, "excess": 0.191}, notebook="scoreboard",
    reads=("networks",), trains=lambda cell: cell["method"] == maps.CORNER)
