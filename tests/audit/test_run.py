"""The audit as a function: what it takes, what it leaves alone, and that it goes on where it was interrupted."""

import json
import math
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from fragility import Normalised, attribution, audit, data
from fragility.audit import CRITERIA, Cost, Criterion, Margin, Measured
from fragility.audit import plan as planning
from fragility.audit.memory import peak
from tests.audit.small import QUICK, network, pictures, rows, run
from tests.networks import build

ROOT = Path(__file__).resolve().parents[2]
CHEAP = ["noise", "class", "deletion", "sensitivity", "infidelity"]
FEW = {"methods": ["gradient", "smoothgrad"], "criteria": CHEAP}


def same(one, other, tolerance=0.0):
    """Two lists of rows are the same, numbers up to a tolerance."""
    assert len(one) == len(other)
    for a, b in zip(one, other):
        assert a.keys() == b.keys()
        for name in a:
            if isinstance(a[name], float) and isinstance(b[name], float):
                assert abs(a[name] - b[name]) <= tolerance, (name, a, b)
            else:
                assert a[name] == b[name], (name, a, b)


# What the result depends on

def test_the_same_seed_gives_the_same_audit_and_another_one_another():
    first, again, other = run(**FEW), run(**FEW), run(**FEW, seed=1)
    same(rows(first), rows(again))
    assert rows(first) != rows(other) and [one.verdict for one in first.verdicts] == [one.verdict for one in
                                                                                      again.verdicts]


@pytest.mark.parametrize("chunk", [1, 3, 100])
def test_the_memory_allowed_does_not_change_the_result(monkeypatch, chunk):
    """In float64, where the order of sums of another batch does not reach the ranks."""
    model, x = network(dtype=torch.float64), pictures(7)
    options = {"methods": ["gradient", "vargrad", "lrp"], "epsilon": 0.1}
    whole = run(model, x, **options)
    monkeypatch.setattr(planning, "allowed_chunk", lambda one, trials, max_memory: chunk)
    seen, forward = [], type(model).forward
    monkeypatch.setattr(type(model), "forward", lambda self, x: (seen.append(len(x)), forward(self, x))[1])
    parts = run(model, x, max_memory=1.0, **options)
    same(rows(whole), rows(parts), 1e-9)
    assert chunk > 7 or sum(count > max(chunk, 2) for count in seen) < 0.2 * len(seen)


def test_less_memory_means_fewer_images_in_flight(monkeypatch):
    one = audit.subject.subject(network(), pictures(8, size=(64, 64)))
    monkeypatch.setattr(planning, "resident", lambda: 1000.0)
    trials = {"gradient": planning.Tried(0.1, 50.0), "lrp": planning.Tried(0.1, 100.0)}
    for megabytes, images in ((1_100, 1), (1_350, 3), (1_000_000, 128)):
        assert planning.allowed_chunk(one, trials, megabytes * 2**20) == images
    assert planning.allowed_chunk(one, trials, None) is None
    with pytest.raises(ValueError, match="1,050 MB of memory do not suffice: 1,000 MB are in use"):
        planning.allowed_chunk(one, trials, 1_050 * 2**20)


def test_images_are_drawn_and_stand_by_class():
    x = pictures(20)
    report = run(x=x, n=7, names=[f"picture {place}" for place in range(20)], criteria=["cost"])
    assert report.subject["n"] == 7 and report.subject["available"] == 20
    target = report.subject["target"]
    assert target == sorted(target) and len(set(report.subject["images"])) == 7
    chosen = torch.randperm(20, generator=torch.Generator().manual_seed(0))[:7].tolist()
    assert set(report.subject["images"]) == {f"picture {place}" for place in chosen}
    predicted = network()(x).argmax(1).tolist()
    assert target == [predicted[int(name.split()[1])] for name in report.subject["images"]]


def test_only_the_images_that_are_drawn_are_shown_to_the_model():
    """A folder may hold fifty thousand."""
    model, seen = network(), []

    def watched(x):
        seen.append(x)
        return model(x)
    run(watched, pictures(500), n=4, methods="gradient", criteria=["class"], labels=[0, 1, 2, 3] * 125)
    drawn = {tuple(image.flatten().tolist()[:4]) for x in seen for image in x if tuple(
        image.flatten().tolist()[:4]) in {tuple(one.flatten().tolist()[:4]) for one in pictures(500)}}
    assert len(drawn) == 4
    with pytest.raises(ValueError, match="The labels span 0 to 9"):
        run(model, pictures(500), n=2, labels=[0] * 499 + [9], methods="gradient", criteria=["class"])


# Interruption

class Counted:
    """A criterion that counts what it measures, and is interrupted at one of its calls."""

    def __init__(self, inner, stop=None):
        self.inner, self.stop, self.calls = inner, stop, []

    def __call__(self, group, method, settings):
        if len(self.calls) == self.stop:
            raise KeyboardInterrupt
        self.calls.append((group.place, method.name))
        return self.inner(group, method, settings)


def counting(stop=None):
    """The cheap criteria, of which `deletion` is interrupted at its call number `stop`."""
    counted = [Counted(CRITERIA[name].measure, stop if name == "deletion" else None) for name in CHEAP]
    return counted, [replace(CRITERIA[name], measure=one) for name, one in zip(CHEAP, counted)]


@pytest.mark.parametrize("stop", [0, 3, 5])
def test_an_interrupted_audit_goes_on_and_measures_nothing_twice(tmp_path, monkeypatch, stop):
    monkeypatch.setattr(audit.subject, "MOST_TOGETHER", 4)      # two groups of four
    methods = ["gradient", "smoothgrad"]
    whole, questions = counting()
    expected = run(methods=methods, criteria=questions)
    before, questions = counting(stop)
    with pytest.raises(KeyboardInterrupt):
        run(methods=methods, criteria=questions, out=tmp_path)
    after, questions = counting()
    report = run(methods=methods, criteria=questions, out=tmp_path)
    for every, first, second in zip(whole, before, after):
        assert sorted(first.calls + second.calls) == sorted(every.calls) and len(every.calls) == 8
    same(rows(report), rows(expected))
    assert [one.verdict for one in report.verdicts] == [one.verdict for one in expected.verdicts]
    assert report.pictures.keys() == expected.pictures.keys()
    assert all(np.array_equal(report.pictures[key], expected.pictures[key]) for key in expected.pictures)
    finished, questions = counting()
    same(rows(run(methods=methods, criteria=questions, out=tmp_path)), rows(expected))
    assert not any(one.calls for one in finished)


KILLED = """
import sys, time
from dataclasses import replace
from fragility.audit import CRITERIA
from tests.audit.small import run

def slow(group, method, settings):
    time.sleep(0.2)
    return CRITERIA["noise"].measure(group, method, settings)

run(methods=["gradient", "lrp", "smoothgrad"], criteria=[replace(CRITERIA["noise"], measure=slow), "class"],
    out=sys.argv[1])
"""


def test_an_audit_that_was_killed_goes_on_with_the_same_result(tmp_path):
    """With kill -9, at a moment that nobody chose."""
    script, out = tmp_path / "killed.py", tmp_path / "out"
    script.write_text(KILLED)
    start = partial(subprocess.Popen, env={**os.environ, "PYTHONPATH": str(ROOT)})
    process = start([sys.executable, str(script), str(out)])
    journal = out / "measured.jsonl"
    while not (journal.exists() and len(journal.read_text().splitlines()) > 3):
        assert process.poll() is None
        time.sleep(0.01)
    process.kill()
    assert process.wait() == -signal.SIGKILL
    before = journal.read_text().splitlines()
    assert start([sys.executable, str(script), str(out)]).wait() == 0
    assert start([sys.executable, str(script), str(tmp_path / "whole")]).wait() == 0

    def lines(folder):
        found = [json.loads(line) for line in (folder / "measured.jsonl").read_text().splitlines()]
        return [{name: value for name, value in line.items() if name not in ("seconds", "plan")} for line in found]
    assert json.dumps(lines(out)) == json.dumps(lines(tmp_path / "whole")) and len(before) < len(lines(out))
    assert [line for line in before[:-1] if line in journal.read_text().splitlines()] == before[:-1]


def test_a_line_that_was_cut_is_measured_again(tmp_path):
    _, questions = counting()
    expected = run(methods="gradient", criteria=questions, out=tmp_path)
    file = tmp_path / "measured.jsonl"
    lines = file.read_text().splitlines()
    file.write_text("\n".join(lines[:4]) + "\n" + lines[4][:40])
    after, questions = counting()
    same(rows(run(methods="gradient", criteria=questions, out=tmp_path)), rows(expected))
    measured = 3 * len(CHEAP)       # the method and two controls
    assert sum(len(one.calls) for one in after) == measured - sum('"score"' in line for line in lines[:4])
    assert all(json.loads(line) for line in file.read_text().splitlines())


@pytest.mark.parametrize("text", ["", "not JSON\n", '{"fingerprint": "another", "plan": {}}\n', "[1, 2]\n", "3\n"])
def test_a_file_that_is_no_journal_is_begun_anew(tmp_path, text):
    (tmp_path / "measured.jsonl").write_text(text)
    counted, questions = counting()
    run(methods="gradient", criteria=questions, out=tmp_path)
    assert sum(len(one.calls) for one in counted) == 3 * len(CHEAP)


def deletion():
    """The criterion, counting what it measures."""
    return replace(CRITERIA["deletion"], measure=Counted(CRITERIA["deletion"].measure))


def scaled(model):
    with torch.no_grad():
        model[0].weight.mul_(1.01)
    return model


@pytest.mark.parametrize("changed", [{"seed": 1}, {"epsilon": 0.06}, {"k": 0.2}, {"n": 6}, {"removed": (0.4,)},
                                     {"x": pictures(8, seed=1)}, {"model": scaled(network())}, {"budget": 1e6},
                                     {"methods": ["gradient", "lrp"]}])
def test_other_arguments_start_afresh(tmp_path, changed):
    first, after = deletion(), deletion()
    options = {"methods": "gradient", "out": tmp_path}
    run(**options, criteria=[first])
    run(**{**options, **changed}, criteria=[after])
    assert {name for _, name in after.measure.calls} >= {"gradient", "sobel", "random"}


def test_another_function_of_the_same_name_starts_afresh(tmp_path):
    def method(model, x, target):
        return attribution.gradient(model, x, target)

    def other(model, x, target):
        return attribution.gradient_x_input(model, x, target)
    first = run(methods={"mine": method}, criteria=["deletion"], out=tmp_path)
    second = run(methods={"mine": other}, criteria=["deletion"], out=tmp_path)
    assert rows(first) != rows(second)
    same(rows(second), rows(run(methods={"mine": other}, criteria=["deletion"])))


def test_another_model_of_the_same_name_and_predictions_starts_afresh(tmp_path):
    model = network()
    first = run(lambda x: model(x), methods="gradient", criteria=["deletion"], name="mine", out=tmp_path)
    second = run(lambda x: 3 * model(x), methods="gradient", criteria=["deletion"], name="mine", out=tmp_path)
    assert rows(first) != rows(second)


@pytest.mark.parametrize("same_audit", [{"margins": {"deletion": 0.3}}, {"progress": False}, {"name": None}])
def test_what_does_not_change_the_measurement_goes_on(tmp_path, same_audit):
    options, again = {"methods": "gradient", "out": tmp_path}, deletion()
    run(**options, criteria=[deletion()])
    report = run(**{**options, **same_audit}, criteria=[again])
    assert not again.measure.calls
    assert report.margins["deletion"].value == same_audit.get("margins", {}).get("deletion", 0.02)


# Budget

def priced(monkeypatch, gradient=0.1):
    """Every pass takes that many seconds, so that estimates do not depend on the machine."""
    monkeypatch.setattr(planning, "timed", lambda one, make: gradient)


def planned(monkeypatch, budget, criteria, n=64):
    priced(monkeypatch)
    one = audit.subject.subject(network(), pictures(n))
    method = audit.methods.Method("gradient", attribution.gradient)
    settings = audit.Settings()
    estimate = planning.Estimate(one, {"gradient": planning.Tried(0.1)}, [method],
                                 [CRITERIA[name] for name in criteria], settings)
    return estimate, planning.fitted(estimate, n, budget)


def test_the_estimate_counts_passes(monkeypatch):
    estimate, plan = planned(monkeypatch, None, ["noise", "attack", "class"])
    # Maps: 5 of noise, 1 of another class, 2 for the clean one; an attack of 30 steps 33, and 90 gradients.
    assert plan.seconds == pytest.approx(0.1 * (64 * (5 + 1 + 2) + 32 * (33 + 90)))
    assert (plan.images, plan.attacked, plan.steps, plan.given_up) == (64, 32, 30, [])
    monkeypatch.setattr(audit.subject, "MOST_TOGETHER", 16)     # what is exact is measured on the first group
    assert planned(monkeypatch, None, ["shift"])[1].seconds == pytest.approx(0.1 * (64 * 2 + 16 * 3))


def test_the_budget_takes_attacked_images_then_images_then_steps(monkeypatch):
    criteria, seen = ["noise", "attack"], []
    monkeypatch.setattr("fragility.audit.plan.SHARE", math.inf)     # nothing is left out
    for budget in (1e4, 300.0, 200.0, 140.0, 100.0, 60.0, 30.0, 20.0):
        estimate, plan = planned(monkeypatch, budget, criteria)
        seen.append((plan.images, plan.attacked, plan.steps))
        assert plan.seconds <= budget
        for values, what in zip(seen[-1], ("images", "attacked images", "steps of an attack")):
            wanted = {"images": 64, "attacked images": 32, "steps of an attack": 30}[what]
            said = any(f"{values} {what} instead of {wanted}" in sentence for sentence in plan.given_up)
            assert said == (values < wanted)
    assert seen == sorted(seen, reverse=True) and seen[0] == (64, 32, 30)
    assert any(images == 64 and 8 <= attacked < 32 and steps == 30 for images, attacked, steps in seen)
    assert any(16 <= images < 64 and attacked == 8 and steps == 30 for images, attacked, steps in seen)
    assert any(images == 16 and attacked == 8 and steps < 30 for images, attacked, steps in seen)


def test_what_alone_would_eat_up_the_budget_is_left_out_by_name(monkeypatch):
    _, plan = planned(monkeypatch, 100.0, ["noise", "attack"])
    # On four images the attack would take 4 (33 + 90) / 10 seconds, more than a quarter of a hundred.
    assert plan.left_out == {"gradient: attack": "Left out for the budget: on 4 images it would take about 49 seconds."}
    assert plan.images == 64 and plan.given_up == ["For the budget these were left out: gradient: attack."]
    monkeypatch.setattr("fragility.audit.plan.SHARE", 1e-9)
    report = run(methods="gradient", criteria=["noise"], budget=100.0)
    assert report.verdict("gradient", "noise").reason.startswith("Left out for the budget: on 4 images it would take")


def test_without_an_attack_only_images_are_given_up(monkeypatch):
    _, plan = planned(monkeypatch, 20.0, ["noise", "class"])
    assert plan.images < 64 and len(plan.given_up) == 1 and "images instead of 64" in plan.given_up[0]
    assert (plan.attacked, plan.steps) == (min(32, plan.images), 30)


def test_a_budget_that_is_too_small_is_refused_before_anything_is_measured(monkeypatch, tmp_path):
    priced(monkeypatch)
    counted, questions = counting()
    with pytest.raises(ValueError, match="The budget of 1 seconds is too small: two images .* take about"):
        run(methods="gradient", criteria=questions, budget=1.0, out=tmp_path / "new")
    assert not any(one.calls for one in counted) and not (tmp_path / "new").exists()


def test_the_costliest_are_left_out_before_an_audit_is_refused(monkeypatch):
    """Two images by noise and attack take more than ten seconds, by noise alone less."""
    monkeypatch.setattr("fragility.audit.plan.SHARE", math.inf)
    _, both = planned(monkeypatch, 1e4, ["noise", "attack"])
    least = min(budget for budget in range(1, 60) if _fits(monkeypatch, budget, ["noise", "attack"]))
    _, plan = planned(monkeypatch, float(least), ["noise", "attack"])
    assert both.left_out == {} and list(plan.left_out) == ["gradient: attack"] and plan.images == 2
    assert plan.seconds <= least and "were left out: gradient: attack" in plan.given_up[-1]


def _fits(monkeypatch, budget, criteria):
    try:
        return bool(planned(monkeypatch, float(budget), criteria))
    except ValueError as refusal:
        assert "by gradient: noise alone, with their maps, take about" in str(refusal)
        return False


def test_what_the_budget_took_is_a_notice_of_the_report(monkeypatch):
    monkeypatch.setattr(planning, "timed", lambda one, make: 1.0)
    monkeypatch.setattr(planning, "tried", lambda one, method, settings: planning.Tried(1.0))
    report = run(methods="gradient", criteria=["class"], budget=30.0)
    assert report.subject["n"] < 8
    assert f"For the budget there are {report.subject['n']} images instead of 8." in report.notices


# What it takes

LABELS = [0, 1, 2, 3, 0, 1, 2, 3]


@pytest.mark.parametrize("kind", ["array", "uint8", "double", "loader", "loader of images alone", "batches", "Images"])
def test_images_of_every_kind_give_the_same_rows(kind):
    x = (pictures(8) * 255).round().to(torch.uint8)
    floats = x.float() / 255
    given = {"array": floats.numpy(), "uint8": x, "double": floats.double(),
             "loader": DataLoader(TensorDataset(floats, torch.tensor(LABELS)), batch_size=3),
             "loader of images alone": DataLoader(TensorDataset(floats), batch_size=3),
             "batches": [part for part in x.split(5)],
             "Images": data.Images(x, torch.tensor(LABELS), list("abcd"), [])}[kind]
    expected, found = run(x=floats, **FEW), run(x=given, **FEW)
    same(rows(found), rows(expected), 1e-6)
    assert (found.subject["accuracy"] is not None) == (kind in ("loader", "Images"))
    assert found.subject["class_names"] == (list("abcd") if kind == "Images" else None)


@pytest.mark.parametrize("labels", [LABELS, tuple(LABELS), np.array(LABELS), np.array(LABELS, np.uint8),
                                    torch.tensor(LABELS)])
def test_labels_of_every_kind_give_the_accuracy(labels):
    expected = float((network()(pictures(8)).argmax(1) == torch.tensor(LABELS)).double().mean())
    assert run(labels=labels, methods="gradient", criteria=["cost"]).subject["accuracy"] == pytest.approx(expected)


@pytest.mark.parametrize("labels, words", [
    ([0, 1], "one for each of the 8 images"), ([0.5] * 8, "whole numbers"), (["cat"] * 8, "whole numbers"),
    ([4] * 8, "The labels span 4 to 4, but the model has the classes 0 to 3"), ([-1] * 8, "span -1"),
    ([True] * 8, "whole numbers"), (torch.zeros(8, 1, dtype=torch.int64), "one for each")])
def test_labels_that_do_not_fit_are_refused(labels, words):
    with pytest.raises(ValueError, match=words):
        run(labels=labels, methods="gradient", criteria=["cost"])


@pytest.mark.parametrize("images, words", [
    (torch.rand(8, 12, 12), "shape"), (pictures() * 255, "must lie in"), (pictures() - 0.5, "must lie in"),
    (pictures() * torch.nan, "finite"), (pictures(1), "at least two images"), (torch.zeros(0, 1, 4, 4), "empty"),
    (torch.zeros(0, 1, 4, 4, dtype=torch.uint8), "empty"), ([], "empty"), ("folder", "tensor or an array"),
    ({"images": pictures()}, "tensor or an array"), (3, "tensor or an array"), (pictures().long(), "floating point"),
    ([pictures(4), pictures(4, size=(9, 9))], "several sizes"), (np.array(["a", "b"]), "must be")])
def test_images_that_do_not_fit_are_refused(images, words):
    with pytest.raises((ValueError, TypeError), match=words):
        run(x=images, methods="gradient", criteria=["cost"])


def test_a_model_of_one_logit_decides_at_zero():
    model = network(classes=1)
    with torch.no_grad():
        model[-1].bias -= model(pictures()).median()
    report = run(model, methods=["gradient", "lrp"], labels=[0, 1] * 4)
    assert report.subject["classes"] == 2 and 0 <= report.subject["accuracy"] <= 1
    assert set(report.subject["target"]) == {0, 1}
    assert report.verdict("gradient", "class").verdict == "not judged"
    assert "one logit" in report.verdict("gradient", "class").reason
    assert report.verdict("gradient", "deletion").n == 8


def test_a_model_that_wraps_its_logits():
    class Wrapped(nn.Module):
        def __init__(self, kind):
            super().__init__()
            self.body, self.kind = network(), kind

        def forward(self, x):
            logits = self.body(x)
            return type("Output", (), {"logits": logits})() if self.kind == "object" else {"logits": logits}
    expected = rows(run(**FEW))
    for kind in ("object", "dictionary"):
        same(rows(run(Wrapped(kind).eval(), **FEW)), expected, 1e-6)


def test_grey_images_that_are_not_square():
    report = run(x=pictures(4, size=(96, 128)), methods="gradient", k=0.02)
    assert report.subject["shape"] == [1, 96, 128] and report.settings["top pixels"] == 246
    assert report.settings["window"] == 3
    assert report.pictures["images"].shape[2:] == (72, 96) and report.pictures["gradient", "clean"].shape == (4, 72, 96)
    assert {one.verdict for one in report.verdicts if one.method == "gradient"} <= {"pass", "fail", "undecided",
                                                                                    "not judged"}


def test_a_normalisation_beside_the_model_is_one_inside_it():
    model = network(channels=3)
    x = pictures(6, 3)
    mean, std = (0.4, 0.5, 0.6), (0.2, 0.3, 0.25)
    inside = run(Normalised(model, torch.tensor(mean), torch.tensor(std)).eval(), x, **FEW)
    same(rows(run(model, x, mean=mean, std=std, **FEW)), rows(inside))
    for bad in ({"mean": mean}, {"mean": mean, "std": (0, 1, 1)}, {"mean": (1, 2), "std": (1, 2)},
                {"mean": mean, "std": (np.nan,) * 3}):
        with pytest.raises(ValueError, match="mean|std"):
            run(model, x, **bad, **FEW)


def one_a_pixel(model, x, target):
    return attribution.gradient(model, x, target).abs().sum(1)


@pytest.mark.parametrize("make", [one_a_pixel, lambda model, x, target: one_a_pixel(model, x, target)[:, None],
                                  lambda model, x, target: one_a_pixel(model, x, target).double()])
def test_a_method_may_give_one_value_a_pixel(make):
    x, model = pictures(6, 3), network(channels=3)
    every = ["noise", "attack", "removal", "deletion", "parameters", "class", "shift", "sensitivity", "infidelity"]
    report = run(model, x, methods={"mine": make}, criteria=every)
    expected = run(model, x, methods={"mine": lambda model, x, target: one_a_pixel(model, x, target)[:, None].expand_as(
        x) / 3}, criteria=every)
    same(rows(report), rows(expected), 1e-4)
    assert report.verdict("mine", "noise").n == 6


@pytest.mark.parametrize("bad, words", [
    (lambda model, x, target: x[:1], "must return maps of the images' shape"),
    (lambda model, x, target: None, "must return a tensor of maps"),
    (lambda model, x: x, "positional argument"), (lambda model, x, target: 1 / 0, "zero")])
def test_a_method_that_fails_is_refused_with_its_reason(bad, words):
    report = run(methods={"bad": bad, "gradient": attribution.gradient}, criteria=["noise"])
    assert words in report.methods["bad"]["refused"]
    assert not [one for one in report.verdicts if one.method == "bad"]
    assert any("refused by bad" in sentence for sentence in report.answer)
    with pytest.raises(ValueError, match="refused by every method"):
        run(methods={"bad": bad}, criteria=["noise"])


def test_a_method_that_fails_later_on_costs_no_other_result():
    calls = []

    def moody(model, x, target):
        calls.append(len(x))
        if len(calls) > 8:
            raise RuntimeError("It is late.")
        return attribution.gradient(model, x, target)
    report = run(methods={"moody": moody, "gradient": attribution.gradient}, criteria=["noise", "sensitivity"])
    assert report.verdict("gradient", "noise").n == 8
    late = [one for one in report.verdicts if one.method == "moody" and "It is late." in one.reason]
    assert late and all(one.verdict == "not judged" for one in late)


def test_a_criterion_of_ones_own():
    def brightness(group, method, settings):
        maps = group.clean(method)
        return Measured(maps.flatten(1).mean(1), {"zero": torch.zeros(len(group))},
                        {"size": maps.flatten(1).norm(dim=1)})
    mine = Criterion("bright", "Is it bright?", brightness, lambda settings, form: Cost(), "me", Margin(0.5, "Mine."),
                     "mean of the map")
    report = run(methods={"ones": lambda model, x, target: 1 + 0.1 * x}, criteria=["noise", mine])
    found = report.verdict("ones", "bright")
    assert (found.verdict, found.n) == ("pass", 8) and 1 < found.score < 1.1
    assert any(row.get("size") for row in report.rows()) and report.margins["bright"].reason == "Mine."


@pytest.mark.filterwarnings("ignore:Input Tensor 0 did not already require gradients:UserWarning")
def test_captum_as_a_plain_function():
    captum = pytest.importorskip("captum.attr")
    saliency = lambda model, x, target: captum.Saliency(model).attribute(x, target=target, abs=False)
    report = run(methods={"captum": saliency, "gradient": attribution.gradient},
                 criteria=["noise", "deletion", "class", "parameters", "sensitivity", "infidelity", "shift"])
    for name in ("noise", "deletion", "class", "parameters", "sensitivity", "infidelity", "shift"):
        ours, theirs = (report.results[method, name].score for method in ("gradient", "captum"))
        assert np.allclose(ours, theirs, atol=1e-4), name


@pytest.mark.filterwarnings("ignore:.*torch.jit.*:FutureWarning")
@pytest.mark.filterwarnings("ignore:.*torch.jit.*:DeprecationWarning")
def test_torchscript_is_explained_by_gradients_and_refused_by_rules():
    model, x = network(), pictures()
    script = torch.jit.trace(model, x)
    names = ["gradient", "integrated_gradients", "smoothgrad", "guided_backprop", "lrp", "deeplift"]
    report = run(script, x, methods=names)
    for name in ("gradient", "integrated_gradients", "smoothgrad"):
        assert report.methods[name]["refused"] is None and report.verdict(name, "noise").n == 8
    for name in ("guided_backprop", "lrp", "deeplift"):
        sentence = report.methods[name]["refused"]
        assert sentence and sentence[0].isupper() and sentence.endswith(".") and "TorchScript" in sentence, sentence
    plain = run(model, x, methods=["gradient"])
    for name in ("noise", "class", "deletion", "infidelity"):
        assert np.allclose(report.results["gradient", name].score, plain.results["gradient", name].score, atol=1e-4)
    assert "shifted network cannot be made" in report.verdict("gradient", "shift").reason


# What it leaves alone

def test_the_callers_model_and_tensors_are_unchanged():
    model = nn.Sequential(nn.BatchNorm2d(1), *network())
    model.eval()
    model[1].weight.requires_grad_(False)
    x, labels, generator = pictures(), torch.tensor(LABELS), torch.get_rng_state()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    flags = [value.requires_grad for value in model.parameters()]
    formats = [value.stride() for value in model.parameters()]
    kept, kept_labels = x.clone(), labels.clone()
    run(model, x, labels=labels, mean=(0.5,), std=(0.5,))
    assert torch.equal(x, kept) and torch.equal(labels, kept_labels) and not x.requires_grad
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert flags == [value.requires_grad for value in model.parameters()]
    assert formats == [value.stride() for value in model.parameters()]
    assert all(value.grad is None for value in model.parameters())
    assert not any(part.training or part._forward_hooks or part._forward_pre_hooks or part._backward_hooks
                   for part in model.modules())
    assert torch.equal(generator, torch.get_rng_state())


def test_without_a_folder_nothing_is_written(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run(methods="gradient", criteria=["noise"])
    assert not list(tmp_path.iterdir())


def test_memory_does_not_grow_with_the_number_of_images(monkeypatch):
    monkeypatch.setattr(audit.subject, "MOST_TOGETHER", 4)
    model = build(lambda: nn.Sequential(nn.Conv2d(3, 128, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2d(1),
                                        nn.Flatten(), nn.Linear(128, 4)), dtype=torch.float32)
    options = {"methods": "gradient", "criteria": ["noise", "deletion"], "removed": (0.5,)}
    x = {n: (pictures(n, 3, (64, 64)) * 255).to(torch.uint8) for n in (8, 32)}
    run(model, x[8], **options)             # what is loaded once
    used = {}
    for n in x:
        with peak(torch.device("cpu")) as seen:
            run(model, x[n], n=n, **options)
        used[n] = seen.megabytes
    features = 24 * 128 * 64 * 64 * 4 / 2**20       # what the first layer makes of 24 more images
    assert used[32] < used[8] + features, used      # and as much again for each of its derivatives


# What is refused

@pytest.mark.parametrize("options, words", [
    ({"n": 1}, "n must be"), ({"n": 2.5}, "n must be"), ({"budget": 0}, "budget"), ({"budget": -1}, "budget"),
    ({"max_memory": 0}, "max_memory"), ({"epsilon": 0}, "epsilon"), ({"epsilon": 1.5}, "epsilon"), ({"k": 0}, "k must"),
    ({"k": 1}, "k must"), ({"steps": 0}, "steps"), ({"attacked": 1}, "attacked"), ({"removed": ()}, "removed"),
    ({"removed": (1.2,)}, "removed"), ({"samples": (1, 8)}, "samples"), ({"samples": 4}, "samples"),
    ({"samples": (4,)}, "samples"), ({"removed": 0.5}, "removed"),
    ({"depths": 0}, "depths"), ({"seed": -1}, "seed"),
    ({"speed": 3}, "Setting 'speed' is unknown"), ({"margins": {"nose": 1}}, "Margin of 'nose'"),
    ({"margins": {"noise": "big"}}, "margin of noise"), ({"margins": {"cost": 1.0}}, "Margin of 'cost'"),
    ({"methods": "gradients"}, "Method 'gradients' is unknown"), ({"methods": []}, "At least one method"),
    ({"methods": "sobel"}, "control"), ({"methods": [3]}, "A method must be"), ({"methods": 3}, "method"),
    ({"methods": ["gradient", "gradient"]}, "Two methods"), ({"criteria": "nose"}, "Criterion 'nose' is unknown"),
    ({"criteria": []}, "At least one criterion"), ({"criteria": ["noise", "noise"]}, "given twice"),
    ({"names": ["a"]}, "names")])
def test_bad_arguments_are_refused_in_a_sentence(options, words):
    with pytest.raises((ValueError, TypeError), match=words) as told:
        run(**options)
    assert str(told.value).endswith(".") and "\n" not in str(told.value)


def softmax(model):
    return nn.Sequential(*model, nn.Softmax(1)).eval()


@pytest.mark.parametrize("make, words", [
    (lambda: softmax(network()), "returns probabilities"),
    (lambda: nn.Sequential(*network(), nn.LogSoftmax(1)).eval(), "logarithms of probabilities"),
    (lambda: network().train(), "training mode"), (lambda: 3, "callable"),
    (lambda: lambda x: network()(x).argmax(1), "logits"), (lambda: lambda x: x, "map of classes"),
    (lambda: network(channels=3), "does not take images of the shape"),
    (lambda: lambda x: network()(x).detach(), "cannot be computed"),
    (lambda: lambda x: network()(x) * torch.nan, "finite"),
    (lambda: lambda x: network()(x) + torch.randn(len(x), 4), "answers differently"),
    (lambda: lambda x: network()(x - x.mean(0)), "images beside it"),
    (lambda: lambda x: 1 / 0, "ZeroDivisionError")])
def test_a_model_that_cannot_be_explained_is_refused_in_a_sentence(make, words):
    with pytest.raises((ValueError, TypeError), match=words) as told:
        run(make(), methods="gradient", criteria=["noise"])
    assert "\n" not in str(told.value)


def test_a_model_that_is_mostly_wrong_or_of_one_class_is_noticed():
    predicted = network()(pictures()).argmax(1)
    report = run(labels=(predicted + 1) % 4, methods="gradient", criteria=["cost"])
    assert any("right in 0% of the images only" in sentence for sentence in report.notices)
    model = network()
    with torch.no_grad():
        model[-1].bias[2] += 100
    assert any("predicts class 2 for every image" in sentence for sentence in
               run(model, methods="gradient", criteria=["cost"]).notices)
    sigmoid = nn.Sequential(*network(classes=1), nn.Sigmoid()).eval()
    assert any("return the logit" in sentence for sentence in
               run(sigmoid, methods="gradient", criteria=["cost"]).notices)


def test_partials_are_still_methods():
    report = run(methods={"short": partial(attribution.integrated_gradients, steps=4)}, criteria=["completeness"])
    assert report.verdict("short", "completeness").n == 8
    assert QUICK["steps"] == 2


def test_what_has_nothing_to_explain_is_refused():
    class Zeros(nn.Linear):
        def forward(self, x):
            return super().forward(x.flatten(1)) * 0
    with pytest.raises(ValueError, match="gives the same logits for all images.* weights loaded"):
        run(Zeros(144, 4).eval())
    with pytest.raises(ValueError, match="All 8 images are the same"):
        run(x=pictures(1).repeat(8, 1, 1, 1))
    with pytest.raises(ValueError, match="makes models: called on images it returned a Sequential"):
        run(lambda path: network())


def test_the_classes_are_in_an_order_of_the_seed():
    """Images of a class stand together, but the first classes are not those of the lowest numbers."""
    one = audit.subject.subject(network(), pictures(8))
    one = replace(one, classes=20, target=torch.arange(8) // 2 * 5)
    orders = {tuple(one.take(8, seed).target.tolist()) for seed in range(6)}
    assert all(order[::2] == order[1::2] for order in orders)
    assert len({order[0] for order in orders}) > 1
    assert one.take(8, 3).names == one.take(8, 3).names
