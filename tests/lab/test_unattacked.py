"""Noise on every image that a network classifies correctly."""

import pandas as pd
import pytest

from fragility import attribution, metrics
from lab import catalogue
from lab.chapters.fragility import unattacked
from lab.core.store import Store
from lab.material import data
from lab.trained import maps, natural, subjects

CELL = {"data_set": "mnist-5k", "network": "mnist-cnn", "epochs": 1, "k": 50, "seed": 0, "method": "deeplift",
        "reference": "mean", "sizes": [0.1, 0.3], "images": 12}
PLAIN = {name: value for name, value in CELL.items() if name != "reference"} | {"method": "gradient"}


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return Store(tmp_path_factory.mktemp("store"))


def test_all_images_are_scored_once_a_size_and_against_another(store):
    table = unattacked.run(PLAIN, store).table
    assert table.groupby(["attack", "epsilon"]).image.nunique().to_dict() == {
        ("other_image", 0.0): 12, ("random_sign", 0.1): 12, ("random_sign", 0.3): 12}
    kept = table[table.attack == "random_sign"].groupby("epsilon").topk.mean()
    assert kept[0.1] > kept[0.3] > table[table.attack == "other_image"].topk.mean()


def test_a_cell_without_a_number_takes_every_image(store):
    cell = {name: value for name, value in PLAIN.items() if name != "images"} | {"sizes": [0.1]}
    table = unattacked.run(cell, store).table
    assert table.image.nunique() == len(subjects.candidates(cell, store)) > 500


def test_the_reference_is_the_mean_colour(store):
    table = unattacked.run(CELL, store).table
    model, _ = natural.trained(CELL, store)
    x = subjects.candidates(CELL, store)[:12]
    colour = data.load("mnist-5k", "train").images.double().mean().item() / 255
    by_hand = attribution.pixel_map(attribution.deeplift(model, x, baseline=colour))
    expected = metrics.other_image(metrics.spearman, by_hand)
    assert table[table.attack == "other_image"].spearman.tolist() == pytest.approx(expected.tolist(), abs=1e-4)


def test_cells_name_a_reference_only_where_there_is_one():
    values = {"data_set": "mnist-5k", "network": "mnist-cnn", "epochs": 1, "images": {"gradient": 9, "deeplift": 9},
              "epsilons": [0.1], "k": 5, "path_steps": 2, "path_points": 1, "references": ["mean", "black"]}
    cells = unattacked.cells(unattacked.Unattacked.of(values))
    assert [(cell["method"], cell.get("reference")) for cell in cells] == [
        ("gradient", None), ("deeplift", "mean"), ("deeplift", None)]
    assert [maps.reference_column(cell)["reference"] for cell in cells] == ["none", "mean", "black"]


def test_the_frame_says_which_reference(store):
    one = catalogue.experiment("unattacked")
    frames = [one.columns(cell) for cell in ({"method": "gradient"}, {"method": "deeplift"})]
    assert pd.DataFrame(frames).reference.tolist() == ["none", "black"]
