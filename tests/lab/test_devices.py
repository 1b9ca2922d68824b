"""Blind to the device: every experiment runs up to its table on tensors without values that are not on the CPU.

A wait for the device costs a card more than most kernels, so each place that waits is listed here with its reason; a
stray `.item()` in an experiment shows as a place that is not listed.
"""

import dataclasses

import pandas as pd
import pytest
import torch

from lab import catalogue
from lab.core import folders
from lab.core.experiment import Outcome
from tests.lab.blind import META, blind

#: Function that waits for the device -> why.
WAITS = {
    "fragility.layout._alike": "two layouts are compared once for a model",
    "fragility.metrics.lens._diverse": "ties are looked for once a batch: ranks tell them apart, but cost a sort",
    "fragility.training.loop.accuracy": "the one number of a training",
    "lab.trained.subjects.correctly_classified": "the images that are judged are chosen once a network",
    "lab.chapters.lens.image_choice._choose": "the same, with partners of the same class",
    "fragility.influence.head.factor": "a Hessian that is not positive definite is refused",
    "lab.chapters.influence.influences.run": "the table: the condition of a Hessian",
    "lab.chapters.influence.published_code.spectrum": "the table: the rank of another one",
    "lab.chapters.influence.resolution.run": "the same, of images that keep their class at all resolutions",
    "lab.chapters.lens.scores.scores": "images without a chance level have no score above it: masks, five a batch",
    "lab.chapters.attacks.targeted.run": "the table: the share of the region's pixels",
    "lab.chapters.fragility.portraits.run": "the table of a single photograph",
    "lab.chapters.shift.patterns.<listcomp>": "the table: a number a layer",
    "lab.chapters.shift.invariance.sides": "the smallest value of the images, which bounds the references",
    "lab.chapters.shift.invariance.run": "networks that are not the same are refused before any map",
    "lab.chapters.shift.portraits.<dictcomp>": "the table: a number a method",
    "lab.chapters.shift.kittens.pair": "the two above, for each painted image",
    "lab.chapters.shift.kittens.run": "the table: a number an image",
    "lab.chapters.shift.kittens.likeness": "the table: a number an image",
    "lab.chapters.shift.kittens.ahead": "the table: a number an image"}
#: Experiment that is not run here -> why.
LEFT_OUT = {"toy": "solves its least squares by LAPACK on the processor, of samples that are drawn there",
            "scoreboard": "is an audit, which decides by what it measures what it asks next",
            "modern-questions": "is an audit, too"}


@pytest.mark.parametrize("name", [name for name in catalogue.EXPERIMENTS if name not in LEFT_OUT])
def test_an_experiment_stays_on_the_device_up_to_its_table(name, tmp_path):
    one = catalogue.experiment(name)
    if one.canary.get("data_set") == "imagenet-sample" and not folders.data_roots():
        pytest.skip("FRAGILITY_DATA names no folder with the photographs")
    with blind(tmp_path) as (waits, store):
        outcome = one.run(one.canary, store)
    assert len(outcome.table) and waits.places <= WAITS.keys(), sorted(waits.places - WAITS.keys())


@pytest.mark.parametrize("fault, said", [
    (lambda x: x + torch.ones(2, 3), "device"), (lambda x: x.numpy(), "numpy"),
    (lambda x: pd.DataFrame({"value": [x.sum().item()]}), "listed"), (lambda x: x[x > 0], "listed"),
    (lambda x: 1 if x.sum() > 0 else 2, "listed")], ids=["two devices", "numpy", "item", "mask", "decision"])
def test_a_fault_is_found(fault, said, tmp_path, monkeypatch):
    one = catalogue.experiment("networks")

    def run(cell, store):
        fault(torch.rand(2, 3, device=META))
        return Outcome(pd.DataFrame({"value": [0.0]}))
    monkeypatch.setattr("tests.lab.blind.ROOT", __file__.partition("/tests/")[0])
    with blind(tmp_path) as (waits, store):
        noted = []
        monkeypatch.setattr(waits, "note", lambda: noted.append("listed"))
        try:
            dataclasses.replace(one, run=run).run({}, store)
        except Exception as error:
            noted.append(str(error))
    assert noted and said in noted[0]
