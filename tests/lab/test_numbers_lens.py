"""Numbers of the chapter on LENS, against pandas by hand on the published records, and its helper functions."""


import numpy as np
import pandas as pd
import pytest
import torch

from lab import catalogue
from lab.chapters.lens import gains, metric_comparison, numbers, pictures, published, seeds, tables
from lab.core.numbers import MISSING
from lab.core.pages import Page
from lab.core.store import canonical
from tests.oracles.records import by_hand

PAGE = Page.at("lens", "quick", None)
LENS = catalogue.chapter("lens")
SEARCHING = ["random_walk", "topk", "center", "lens", "topk_for_lens"]


def compared(data_set, attack, method="gradient", training="natural"):
    """Rows of one attack at its largest size, without the images that any searching attack gave back."""
    rows = by_hand("lens", data_set=data_set, method=method, training=training)
    lost = rows[rows.attack.isin(SEARCHING) & (rows.found == 0)].image
    rows = rows[~rows.image.isin(lost) & (rows.attack == attack)]
    return rows[rows.epsilon == rows.epsilon.max()].astype({"recall_over_other": float})


def value(name):
    return LENS.describe(name, PAGE)["value"]


def test_small_data_sets():
    for data, name in published.DATA.items():
        for training in ("natural", "pgd"):
            rows = compared(name, "topk", training=training)
            assert value(f"{data}.topk.topk.{training}") == pytest.approx(rows.topk.mean())
            assert value(f"{data}.chance.{training}") == pytest.approx(rows.chance_recall.mean())
            for attack in ("lens", "other_class", "random_sign"):
                expected = compared(name, attack, training=training).recall.mean()
                assert value(f"{data}.recall.{attack}.{training}") == pytest.approx(expected)
            path = compared(name, "topk", "integrated_gradients", training)
            about = LENS.describe(f"{data}.beyond.integrated_gradients.{training}", PAGE)
            assert about["value"] == pytest.approx(path.recall_over_other.mean()) and about["n"] == len(path)
    assert (value("flowers.images"), value("flowers.k"), value("mnist.images"), value("mnist.steps")) == (
        48, 1000, 200, 50)
    assert value("flowers.diverse.topk") == pytest.approx(compared("flowers", "topk").recall_div.mean())


def test_what_the_regulariser_adds_is_of_the_images_of_both():
    rows = by_hand("repeats", data_set="gtsrb", method="integrated_gradients", found=1)
    sides = rows.pivot_table(index=["seed", "image"], columns="training", values="topk")
    by_seed = (sides.ig_sum_norm - sides.pgd).dropna().groupby("seed").mean()
    about = LENS.describe("added.gtsrb.integrated_gradients", PAGE)
    assert about["value"] == pytest.approx(by_seed.mean()) and about["n"] == 5 and len(about["records"]) == 10
    half = 2.7764451 * by_seed.std(ddof=1) / np.sqrt(5)
    cell = tables.added_table(PAGE).data.set_index("data").loc["gtsrb", "integrated gradients"]
    low, high = by_seed.mean() - half, by_seed.mean() + half
    assert cell == f"{by_seed.mean():+.3f} [{low:.3f}, {high:.3f}]".replace("-", "−")


def test_trainings():
    rows = by_hand("repeats", found=1)
    means = rows[rows.training != "natural"].groupby(["method", "data_set", "training", "seed"]).topk.mean()
    spread = means.groupby(["method", "data_set", "training"]).std()
    assert value("seeds.deviation") == pytest.approx(spread.max()) and value("seeds") == 5
    right = by_hand("robust", data_set="gtsrb", training="pgd").groupby("seed").correct.mean()
    assert value("gtsrb.right.pgd") == pytest.approx(100 * right.mean())


def test_photographs():
    rows = by_hand("attacked")
    largest = rows[rows.epsilon == rows.epsilon.max()]
    for method, count in (("gradient", 64), ("integrated_gradients", 32)):
        own, name = largest[largest.method == method], f"photo.recall.topk.{method}"
        assert value(name) == pytest.approx(own[own.attack == "topk"].recall.mean())
        other = by_hand("attacked", method=method, attack="other_image").recall.mean()
        assert value(f"photo.recall.other_image.{method}") == pytest.approx(other)
        assert value(f"photo.images.{method}") == count == LENS.describe(name, PAGE)["n"]
    diverse = largest.groupby(["attack", "method"]).recall_div.mean()
    assert (value("photo.diverse.least"), value("photo.diverse.most")) == pytest.approx((diverse.min(), diverse.max()))
    searched = rows[rows.attack.isin(["topk", "center"])]
    assert (value("photo.pairs"), value("photo.lost")) == (len(searched), (searched.found == 0).sum())
    noise = by_hand("noise", training="natural").groupby("method")[["recall", "other_recall"]].mean()
    assert value("noise.recall.least") == pytest.approx(noise.recall.min())
    assert value("noise.other_recall.most") == pytest.approx(noise.other_recall.max())


def test_the_quick_run_selects_no_published_number():
    """A reader's own sizes and seeds change nothing of what is published."""
    page = Page.at("lens", "quick", None)
    page.settings = {**page.settings, "epsilons": {"mnist-5k": [0.123]}, "seed": 7, "k": 3, "window": 5}
    for name in ("mnist.topk.topk.natural", "flowers.k", "seeds.deviation", "photo.recall.topk.gradient"):
        assert LENS.describe(name, page)["value"] == value(name)


def test_what_is_not_published_is_missing():
    page = Page.at("lens", "quick", None)
    whole = page.edition(metric_comparison.EXPERIMENT)
    page._frames["edition", "lens"] = whole[(whole.training != "pgd") & (whole.data_set != "flowers")]
    page._frames["edition", "repeats"] = pd.DataFrame()
    for name in ("mnist.recall.topk.pgd", "mnist.beyond.gradient.pgd", "flowers.k", "flowers.diverse.topk",
                 "added.mnist.gradient", "seeds.deviation", "seeds"):
        assert LENS.describe(name, page)["text"] == MISSING, name
    assert LENS.describe("mnist.recall.topk.natural", page)["value"] == value("mnist.recall.topk.natural")
    cells = tables.recall_table(page).data
    assert (cells[cells.training == "PGD"].iloc[:, 2:] == MISSING).all(axis=None)
    assert (tables.added_table(page).data.iloc[:, 1:] == MISSING).all(axis=None)


def test_tables_hold_the_numbers():
    cells = tables.recall_table(PAGE).data
    assert len(cells) == 8 and list(cells.data.unique()) == list(published.DATA.values())
    own = cells[(cells.data == "gtsrb") & (cells.training == "PGD")].iloc[0]
    for title, name in (("top-k", "topk.topk.pgd"), ("LENS recall", "recall.topk.pgd"),
                        ("attack knows LENS", "recall.lens.pgd"), ("another class", "recall.other_class.pgd"),
                        ("chance", "chance.pgd"), ("beyond another class, simple gradient", "beyond.gradient.pgd")):
        assert own[title] == LENS.describe(f"gtsrb.{name}", PAGE)["text"], title
    photos = tables.photograph_table(PAGE).data.set_index("perturbation")
    assert photos.loc["random sign", "LENS recall"] == " and ".join(
        LENS.describe(f"photo.recall.random_sign.{method}", PAGE)["text"] for method in published.METHODS)
    assert photos.loc["chance", "diverse LENS recall"].startswith(LENS.describe(
        "photo.chance.recall_div.gradient", PAGE)["text"])


# The live run, on small frames.

def row(image, training="natural", method="gradient", attack="topk", epsilon=0.3, found=1.0, **values):
    return {"data_set": "mnist-5k", "network": "mnist-cnn", "training": training, "method": method, "attack": attack,
            "epsilon": epsilon, "image": image, "found": found, "record": f"{training}-{method}-{attack}", **values}


def run(rows):
    """A page whose live run has these rows."""
    page = Page.at("lens", "quick", None)
    cells = metric_comparison.cells(page.parameters(metric_comparison.EXPERIMENT))
    page._frames["live", "lens", canonical(cells)] = pd.DataFrame(rows)
    return page


PATH = "integrated_gradients"
ROWS = [*(row(image, method=PATH, found=float(image > 0), topk=1.0 if image == 0 else 0.2 * image)
          for image in range(4)),
        *(row(image, method=PATH, attack="other_class", epsilon=0.0, found=None, topk=0.1) for image in range(4)),
        *(row(image, method=PATH, attack="lens", found=float(image < 3), topk=0.5) for image in range(4)),
        *(row(image, method=PATH, epsilon=0.1, topk=0.9) for image in range(4)),
        *(row(image, topk=0.3) for image in range(4)), row(4, found=0.0, topk=1.0)]


def test_images_that_an_attack_gave_back_are_counted_and_left_out():
    page = run(ROWS)
    assert LENS.describe("lost.topk", page)["value"] == 25 and LENS.describe("left_out", page)["value"] == 50
    assert LENS.describe("left_out.most", page)["value"] == pytest.approx(20)
    assert LENS.describe("topk.topk.integrated_gradients", page)["value"] == pytest.approx(0.3)     # images 1 and 2
    assert LENS.describe("topk.other_class.integrated_gradients", page)["n"] == 2
    assert LENS.describe("topk.with_lost", page)["value"] == pytest.approx(0.55)
    assert LENS.describe("lost.effect", page)["value"] == pytest.approx(0.25)


def test_shares_of_images_that_are_left_out():
    shares = numbers.left_out_shares(pd.DataFrame(ROWS))
    assert shares.to_dict() == {("gradient", "natural"): pytest.approx(20), (PATH, "natural"): 50}
    lost = pd.DataFrame([row(0, found=0.0), row(0, training="pgd")])
    assert numbers.left_out_shares(lost).to_dict() == {("gradient", "natural"): 100, ("gradient", "pgd"): 0}


def test_rows_at_the_largest_size():
    table = pd.DataFrame(ROWS)
    assert set(metric_comparison.at_largest(table, "topk").epsilon) == {0.3}
    assert set(metric_comparison.at_largest(table, "other_class").epsilon) == {0.0}
    assert metric_comparison.at_largest(pd.DataFrame(), "topk").empty
    assert metric_comparison.comparable(pd.DataFrame()).empty


def test_images_of_both_sides():
    first = pd.DataFrame({"seed": [0, 0, 1], "image": [0, 1, 0], "topk": [1, 2, 3]})
    second = pd.DataFrame({"seed": [0, 1, 1], "image": [1, 0, 1], "topk": [4, 5, 6]})
    one, other = published.on_both(first, second)
    assert one.topk.tolist() == [2, 3] and other.topk.tolist() == [4, 5]
    assert published.on_both(pd.DataFrame(), second)[1] is second


def test_gains_are_the_verdicts_of_the_claims():
    rows = [row(image, training, attack=attack, topk=0.2 + more + image / 100, recall=0.5 + more, recall_div=0.8,
                chance_recall=0.3, recall_over_other=0.1 + image / 50)
            for training, more in (("natural", 0.0), ("pgd", 0.2), ("ig_sum_norm", 0.3))
            for attack in ("topk", "lens") for image in range(8)]
    verdicts = gains.evaluate(pd.DataFrame(rows))
    assert set(verdicts) == set(gains.CLAIMS) and verdicts["recall"].verdict == "holds"
    assert verdicts["recall_div"].verdict != "holds"
    shown = gains.gains_table(pd.DataFrame(rows)).data.set_index("more robust by")
    text = shown.loc["top-k"].iloc[1]
    assert "PGD gradient: 0.2" in text and "IG-SUM-NORM gradient: 0.3" in text
    assert shown.loc["top-k", "verdict"] == verdicts["topk"].verdict


def test_the_attacked_cell_is_of_the_first_data_set_at_its_largest_size():
    cell = pictures.attacked_cell(PAGE, "pgd")
    assert (cell["data_set"], cell["training"], cell["method"], cell["attack"]) == (
        "mnist-5k", "pgd", "gradient", "topk")
    assert cell["epsilon"] == max(PAGE.settings["epsilons"]["mnist-5k"])


def test_most_disagreeing_images():
    rows = pd.DataFrame({"topk": [0.1, 0.1, 0.5, 0.2], "recall": [0.9, 0.95, 0.6, 0.7], "found": [0.0, 1.0, 1.0, 1.0]},
                        index=[5, 6, 7, 8])
    chosen, titles = pictures.most_disagreeing(rows, 2)
    assert chosen == [1, 3] and titles == [["", "top-k 0.10, LENS 0.95"], ["", "top-k 0.20, LENS 0.70"]]


def test_pairs_stand_clean_beside_perturbed():
    parts = [torch.rand(3, 1, 4, 4), torch.rand(3, 1, 4, 4), torch.rand(3, 4, 4), torch.rand(3, 4, 4)]
    images, maps = pictures.in_pairs(parts, [2, 0])
    assert images.shape == (2, 2, 1, 4, 4) and maps.shape == (2, 2, 4, 4)
    assert torch.equal(images[0, 1], parts[1][2]) and torch.equal(maps[1, 0], parts[2][0])


def test_the_shared_image_is_one_that_every_attack_found():
    rows = pd.DataFrame([row(0), row(1), row(2), row(0, "pgd", found=0.0), row(1, "pgd"), row(2, "pgd")])
    assert pictures.shared_image(rows) == 1
    for lost in (rows[rows.image == 0], rows[(rows.training == "natural") | (rows.found == 0)]):
        with pytest.raises(ValueError, match="no image for which the attack found one on every network"):
            pictures.shared_image(lost)


def test_by_training_pictures_the_shared_image(monkeypatch):
    page = run([row(9, found=0.0), row(3), row(3, "pgd"), row(9, "pgd"), row(3, "ig_sum_norm"), row(9, "ig_sum_norm")])
    asked = []

    def shown(cell, store, rows):
        asked.append((cell["training"], rows))
        maps = torch.rand(1, 12, 12)
        return torch.zeros(1, 1, 12, 12), torch.ones(1, 1, 12, 12), maps, maps

    monkeypatch.setattr(metric_comparison, "shown", shown)
    panels, notes = pictures.by_training(page)
    assert asked == [("natural", slice(1, 2)), ("pgd", slice(0, 1)), ("ig_sum_norm", slice(0, 1))]
    assert list(panels) == ["natural", "PGD", "IG-SUM-NORM"] and set(notes.values()) == {"top-k 1.00"}


def test_networks_of_further_seeds_are_kept_apart():
    assert set(published.compared_networks(PAGE).seed) == {0}
    assert set(published.accuracies(PAGE).seed) == {0, 1, 2, 3, 4}
    assert len(published.repeats(PAGE)) == (PAGE.edition(seeds.EXPERIMENT).found == 1).sum()


def test_areas_ties_and_ranks_of_the_edition():
    areas = by_hand("separation").query("training == 'natural'")
    for metric in ("topk", "recall", "lens_kendall"):
        means = areas[areas.metric == metric].groupby(["data_set", "method", "attack"]).separation.mean()
        assert len(means) == 4 * 2 * 3 and value(f"area.least.{metric}") == pytest.approx(means.min())
    rows = by_hand("lens").query("data_set == 'mnist' and training == 'natural' and method == 'integrated_gradients'")
    lost = rows[(rows.found == 0) & ~rows.attack.isin(["random_sign", "same_class", "other_class"])].image
    rows = rows[~rows.image.isin(lost)]
    other = rows[rows.attack == "other_class"]
    assert value("ties.zeros") == pytest.approx(100 * other.zeros_div.mean())
    assert value("ties.recall_div_any.other_class") == pytest.approx(other.recall_div_any.mean())
    noise = rows[(rows.attack == "random_sign") & (rows.epsilon == rows.epsilon.max())]
    assert value("ties.recall_div.random_sign") == pytest.approx(noise.recall_div.mean())


def test_the_cat_is_that_of_the_published_attack():
    before, after = pictures.attacked_cat()
    scores = pictures.set_scores(before, after, 1000, [(0, False), (3, False), (3, True)])
    plain, near, diverse = scores.to_dict("records")
    assert before.shape == after.shape == (227, 227) and plain["recall"] == plain["precision"] < 0.01
    assert plain["chance of recall"] == pytest.approx(1000 / 227 ** 2)
    assert plain["recall"] <= near["recall"] < diverse["recall"] and near["chance of recall"] > 0.1
