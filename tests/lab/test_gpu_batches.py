"""Trainings of several seeds at once: the same as one by one."""

import dataclasses
import logging

import pytest
import torch

from fragility import training
from fragility.training import loop, together
from lab import catalogue
from lab.core.experiment import Outcome
from lab.core.store import Store, canonical
from lab.gpu import batches
from lab.material import networks
from tests.lab.roargrid import SMALL


def network(name: str, seed: int, kind=torch.float64):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return networks.load(name).to(kind)


def draw(shape: tuple[int, ...], count: int = 96):
    generator = torch.Generator().manual_seed(0)
    return (torch.rand(count, *shape, generator=generator, dtype=torch.float64),
            torch.randint(0, 10, (count,), generator=generator))


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("name, shape, recipe, augment", [
    ("mnist-cnn", (1, 28, 28), "one-cycle", None), ("mnist-cnn", (1, 28, 28), "staircase", training.FlipShift()),
    ("cifar-resnet", (3, 32, 32), "one-cycle", training.FlipShift()), ("cifar-resnet", (3, 32, 32), "staircase", None)])
def test_trainings_together_are_those_one_by_one(name, shape, recipe, augment, monkeypatch):
    """In float64, where rounding does not show; weights, batch norm's statistics, and what is drawn."""
    for module in (loop, together):
        monkeypatch.setattr(module, "fast_bf16", lambda device: False)
    images, labels = draw(shape)
    options = {"epochs": 2, "batch_size": 32, "learning_rate": 5e-3, "recipe": recipe, "augment": augment}
    alone = [training.train(network(name, seed), images, labels, generator=seeded(seed), **options)
             for seed in range(3)]
    stacked = training.train_together([network(name, seed) for seed in range(3)], images, labels,
                                      generators=[seeded(seed) for seed in range(3)], **options)
    for seed, (one, other) in enumerate(zip(alone, stacked)):
        assert not other.training
        before = network(name, seed).state_dict()
        for part, value in one.state_dict().items():
            torch.testing.assert_close(other.state_dict()[part], value, rtol=1e-9, atol=1e-10)
        assert any((value - before[part]).abs().max() > 1e-6 for part, value in one.state_dict().items())


def test_mistakes_are_sentences():
    images, labels = draw((1, 28, 28), 8)
    with pytest.raises(ValueError, match="2 models and 1 generators"):
        training.train_together([network("mnist-cnn", seed) for seed in (0, 1)], images, labels, epochs=1,
                                generators=[seeded(0)])
    with pytest.raises(ValueError, match="batch_size"):
        training.train_together([network("mnist-cnn", 0)], images, labels, epochs=1, generators=[seeded(0)])


def cells_of(name: str) -> list[dict]:
    one = catalogue.experiment(name)
    return one.cells(one.pick(SMALL))


def test_only_trainings_that_differ_by_their_seed_are_computed_together():
    cells = cells_of("roar")
    found = batches.groups(catalogue.experiment("roar"), cells)
    assert found and all(len(group) == len(SMALL["seeds"]) for group in found)
    for group in found:
        assert len({canonical({**cell, "seed": 0}) for cell in group}) == 1
        assert {cell["kind"] for cell in group} <= {"retrain", "masks"}
    held = {canonical(cell) for group in found for cell in group}
    rest = [cell for cell in cells if canonical(cell) not in held]
    assert {cell["kind"] for cell in rest} == {"original", "road", "fresh"}
    large = [{**cell, "network": "resnet50"} for cell in cells]
    assert batches.groups(catalogue.experiment("roar"), large) == []


def test_a_batch_makes_the_records_that_are_missing(tmp_path, monkeypatch):
    """Up to rounding in bfloat16 or float32, which moves a few of 128 images over a border."""
    one, cells = catalogue.experiment("trainings"), cells_of("trainings")
    apart, at_once = Store(tmp_path / "apart"), Store(tmp_path / "at once")
    batches.run(one, cells, apart)                  # on a processor nothing is batched
    first = one.record(cells[0], at_once)
    ran = []
    watched = dataclasses.replace(one, together=one.together._replace(
        run=lambda cells, store: ran.append(len(cells)) or one.together.run(cells, store)))
    monkeypatch.setattr(batches, "device", lambda: torch.device("cuda"))
    batches.run(watched, cells, at_once)
    assert ran == [2]                               # of the pipeline of which a seed is there already, none is left
    assert one.stored(cells[0], at_once).about == first.about
    for cell in cells:
        ours, theirs = (one.stored(cell, store) for store in (at_once, apart))
        assert ours.key == theirs.key and ours.columns == theirs.columns
        assert ours.table.accuracy[0] == pytest.approx(theirs.table.accuracy[0], abs=10)
        assert ours.tensors().keys() == theirs.tensors().keys()


def test_a_batch_that_fails_is_computed_one_by_one(tmp_path, monkeypatch, caplog):
    one, cells = catalogue.experiment("trainings"), cells_of("trainings")

    def refuse(cells, store):
        raise torch.OutOfMemoryError("CUDA out of memory")
    broken = dataclasses.replace(one, together=one.together._replace(run=refuse),
                                 run=lambda cell, store: Outcome(one.run(cells[0], store).table))
    monkeypatch.setattr(batches, "device", lambda: torch.device("cuda"))
    with caplog.at_level(logging.WARNING):
        batches.run(broken, cells, Store(tmp_path))
    assert "could not be computed together (OutOfMemoryError" in caplog.text
    assert len(Store(tmp_path).records("trainings")) == len(cells)
