"""Numbers of the chapter on influences, against pandas by hand on the published records; its tables and examples."""


import numpy as np
import pandas as pd
import pytest
import torch
from matplotlib import pyplot as plt
from torch import nn

from fragility import influence
from lab import catalogue
from lab.chapters.influence import directions, examples, geometry, influences, tables
from lab.core.numbers import MISSING
from lab.core.pages import Page
from tests.oracles.records import by_hand

CHAPTER, PAGE = catalogue.chapter("influence"), Page.at("influence", "quick", None)


def value(name):
    return CHAPTER.describe(name, PAGE)["value"]


def test_flowers():
    rows = by_hand("influences")
    rows["grey"] = (255 * rows.epsilon).round()
    first = rows[rows.network == "squeezenet1_0"]
    sign, noise = (first[(first.attack == attack) & (first.grey == 8)] for attack in ("gradient_sign", "random_sign"))
    assert value("flowers.stay.attack.gradient_sign") == pytest.approx(sign.survivors.mean())
    assert value("flowers.rank.random_sign") == pytest.approx(noise.spearman.mean())
    assert value("flowers.rank.published") == pytest.approx(sign.spearman_published.mean())
    assert value("flowers.stay.smallest.random_sign") == pytest.approx(
        first[(first.attack == "random_sign") & (first.grey == 1)].survivors.mean())
    assert value("flowers.rank.noise") == pytest.approx(
        first[(first.attack == "random_sign") & (first.grey == 10)].spearman.mean())
    after = 1 - (noise.confidence + noise.confidence_change)
    assert value("flowers.doubt.random_sign") == pytest.approx(100 * after.mean())
    assert value("flowers.doubt.before") == pytest.approx(100 * (1 - sign.confidence).mean())
    assert value("flowers.correct.published") == pytest.approx(100 * sign.correct_published.astype(float).mean())
    lite = rows[(rows.network == "efficientnet_lite0") & (rows.grey == 8)].pivot(
        index="image", columns="attack", values="survivors")
    assert value("flowers.beyond.lite") == pytest.approx((lite.random_sign - lite.gradient_sign).mean())
    ranks = rows[rows.network == "efficientnet_lite0"].rank_published
    assert value("flowers.hessian.lite.rank_published") == ranks.min() == ranks.max()


def test_the_median_example():
    rows = by_hand("influence-pairs").query("place == 'median'")
    assert value("median.help") == (rows.sort_values("before").tail(5).after > 0).sum()
    helpful, harmful = set(rows.sort_values("before").tail(100).index), set(rows.sort_values("after").head(100).index)
    assert value("median.crossed") == len(helpful & harmful)        # of a hundred, a tenth of the training images
    own = rows[rows.training_class == value("median.class")]
    assert value("median.own.after") == pytest.approx(100 * (own.after > 0).sum() / len(own))


def test_angles_and_the_simulation():
    flowers = by_hand("directions").query("kind == 'sample importance'")
    assert value("angle.flowers") == pytest.approx(flowers.angle.mean())
    photographs = by_hand("directions").query("data_set == 'cifar10'")
    assert value("angle.photos") == pytest.approx(photographs.angle.mean())
    rows = by_hand("dimension").query("perturbation == 'sign'")
    assert value("change.many") == pytest.approx(rows.query("width == 1 and dimension == 10000").relative.mean())
    assert value("change.formula") == pytest.approx(rows.query("width == 1 and dimension == 10000").bound.mean())
    assert value("turn.narrow") == pytest.approx(rows.query("width == 10 and dimension == 10000").angle.mean())
    assert value("simulation.rank.wide") == pytest.approx(
        rows.query("width == 1000 and dimension == 10000").spearman.mean())
    assert (value("inputs.few"), value("width.narrow"), value("simulation.networks")) == (10, 10, 40)


def test_resolutions():
    rows = by_hand("resolution")
    attacked = rows[rows.attack == "topk"].pivot(index="image", columns="side", values="spearman")
    assert value("photos.fall.topk") == pytest.approx((attacked[96] - attacked[227]).mean())
    assert value("photos.top") == pytest.approx(rows[rows.attack == "topk"].groupby("side").topk.mean().max())


def test_what_is_not_published_is_not_measured(monkeypatch):
    page = Page.at("influence", "quick", None)
    monkeypatch.setattr(page, "edition", lambda experiment: pd.DataFrame())
    published = [name for name in CHAPTER.numbers
                 if name.startswith(("flowers.", "median.", "inputs.", "turn.", "photos.", "change."))]
    assert len(published) > 30 and {CHAPTER.describe(name, page)["text"] for name in published} == {MISSING}


def test_the_paper_is_quoted_from_the_claims():
    about = CHAPTER.describe("paper.stay", PAGE)
    assert about["text"] == "2 of 5" and about["source"] == "claims/ghorbani.yaml, ghorbani-9, second-hand"


def test_the_first_network_is_measured_alone():
    one = influences.EXPERIMENT
    parameters = one.at("edition")
    cells = influences.of_first_network(parameters)
    assert {cell["network"] for cell in one.cells(parameters)} == {"squeezenet1_0", "efficientnet_lite0"}
    assert cells == [cell for cell in one.cells(parameters) if cell["network"] == "squeezenet1_0"]
    strongest = examples.strongest(parameters)
    assert (strongest["attack"], strongest["epsilon"]) == ("gradient_sign", max(parameters.epsilons))
    assert strongest in cells


@pytest.mark.parametrize("dimension, mean", [(2, 45.0), (3, np.degrees(1))])       # of the circle, of the ball
def test_mean_angle_of_random_lines(dimension, mean):
    assert directions.mean_random_angle(dimension) == pytest.approx(mean, abs=1e-3)


def test_an_example_is_drawn_with_its_own_influences():
    generator = torch.Generator().manual_seed(0)
    images, labels = torch.rand(12, 1, 2, 2, generator=generator), torch.arange(12) % 2
    extract = nn.Flatten().eval()
    head = influence.fit_head(extract(images), labels)
    about = influences.Setting(extract, head, head, (extract(images), labels), images, images[:3], labels[:3])
    cell = {"attack": "gradient_sign", "epsilon": 0.1, "classes": ["cat", "dog"]}
    figure = examples.draw(cell, about, pd.Series({"image": 2, "spearman": 0.25}))
    clean, *_ = figure.axes
    assert np.allclose(clean.images[0].get_array().squeeze(), images[2, 0])
    sure, known = influence.logits(head, extract(images[[2]])).softmax(1).max(1)
    assert clean.get_title() == f"class {cell['classes'][known]}, {sure.item():.0%}"
    shares = influence.influences(head, extract(images), labels, extract(images[[2]]), known)[0]
    dots = next(axis for axis in figure.axes if axis.get_label() == "all").get_lines()[1]
    assert np.allclose(dots.get_xdata(), (-shares).argsort().argsort() + 1)
    plt.close(figure)


def test_survival_is_of_the_size_of_the_papers_attack():
    grid = pd.DataFrame([{"network": "a", "attack": attack, "epsilon": size / 255, "image": image,
                          "survivors": 1 + image, "spearman": size / 10, "survivors_published": 2.0 * image,
                          "spearman_published": 0.5}
                         for attack in ("gradient_sign", "random_sign") for size in (1, 8) for image in range(3)])
    table = tables.survival(grid).data
    assert table.perturbation.tolist() == ["gradient sign", "random signs"]
    assert table["rank correlation"].tolist() == ["0.800", "0.800"]
    assert table["of the five"][0] == "2 [0, 4]"        # 2 ± 4.303 / √3, Student's of three images


def test_angles_stand_beside_random_lines():
    rows = pd.DataFrame({"kind": geometry.FEATURE, "network": "mlp", "pixels": 3, "angle": [70.0, 90.0, 80.0, 82.0],
                         "image": range(4), "twin_cosine": np.nan})
    row, = tables.angles({"this run": rows}).data.to_dict("records")
    assert row["importance"] == "feature" and row["images"] == 4 and row["above 80°"] == "50 %"
    assert row["random lines"] == "57.3" and row["cosine of twin and network"] == "" and row["mean angle"][:2] == "80"


def test_dimensions_are_the_ends_of_the_simulation():
    grid = pd.DataFrame([{"width": width, "dimension": dimension, "perturbation": perturbation, "image": image,
                          "relative": 0.1 * width + 0.01 * image + (perturbation == "random"), "spearman": 1.0,
                          "cosine": 1.0, "angle": 1e-7, "bound": 0.3 if width == 1 else np.nan}
                         for width in (1, 10, 20, 30) for dimension in (2, 5, 9) for image in range(3)
                         for perturbation in ("sign", "random")])
    table = tables.dimensions(grid).data
    assert table.width.tolist() == [1, 1, 10, 10, 30, 30] and table.inputs.tolist() == ["2", "9"] * 3
    assert table["the formula"].tolist() == ["0.300", "0.300", "", "", "", ""]
    assert table["relative change, worst signs"][2].startswith("1.01") and (table["angle (°)"] == "0.000").all()
    assert table["relative change, random signs"][2].startswith("2.01") and table["random lines (°)"][0] == "45.0"
