"""Numbers of the chapter on removal, against pandas by hand on the published records."""


import numpy as np
import pandas as pd
import pytest

from lab import catalogue
from lab.chapters.roar import path_steps, rankings, retraining, toy, trainings
from lab.core import folders, numbers
from lab.core.numbers import MISSING
from lab.core.pages import Page
from lab.core.store import canonical
from tests.oracles.records import by_hand

PAGE = Page.at("roar", "quick", None)
ROAR = catalogue.chapter("roar")


def trained(data_set, estimator, kind="retrain", fraction=0.9, filtering="none"):
    """Accuracy by seed."""
    rows = by_hand("roar", data_set=data_set, estimator=estimator, kind=kind, fraction=fraction, mode="remove")
    return rows[rows["filter"] == filtering].groupby("seed").accuracy.mean()


def value(name):
    return ROAR.describe(name, PAGE)["value"]


def test_what_removal_leaves():
    for data, name in (("clothes", "fashion-mnist"), ("cifar", "cifar10")):
        for estimator in ("VAR-GRAD", "Sobel", "Random"):
            own, slug = trained(name, estimator), estimator.lower().replace("-", "_")
            about = ROAR.describe(f"{data}.{slug}.left", PAGE)
            assert about["value"] == pytest.approx(own.mean()) and about["n"] == len(own) == len(about["records"])
    assert value("clothes.sq_ig.left") == pytest.approx(trained("fashion-mnist", "SQ-IG").mean())


def test_differences_are_of_the_seeds_that_both_sides_have():
    own, random = trained("cifar10", "VAR-GRAD"), trained("cifar10", "Random")
    about = ROAR.describe("cifar.var_grad.change", PAGE)
    gap = (own - random).dropna()
    assert about["value"] == pytest.approx(gap.mean()) and about["n"] == len(gap)
    blurred = trained("fashion-mnist", "SG-SQ-GRAD", filtering="max") - trained("fashion-mnist", "SG-SQ-GRAD")
    assert value("clothes.sg_sq_grad.blur.max") == pytest.approx(blurred.dropna().mean())
    fresh = trained("fashion-mnist", "Random", kind="fresh") - trained("fashion-mnist", "Random")
    assert value("clothes.fresh") == pytest.approx(fresh.dropna().mean())


def test_masks_imputation_and_controls():
    assert value("clothes.sobel.masks") == pytest.approx(trained("fashion-mnist", "Sobel", kind="masks").mean())
    assert value("cifar.grad.road") == pytest.approx(trained("cifar10", "GRAD", kind="road").mean())
    assert value("clothes.random.road.half") == pytest.approx(
        trained("fashion-mnist", "Random", kind="road", fraction=0.5).mean())
    control = by_hand("trainings", data_set="cifar10", pipeline="direct").groupby("seed").accuracy.mean()
    assert value("cifar.control") == pytest.approx(control.mean())


def test_short_paths():
    rows = by_hand("path-steps", estimator="SG-IG")
    about = ROAR.describe("clothes.path.sg_ig", PAGE)
    assert about["value"] == pytest.approx(rows.spearman.mean()) and about["n"] == rows.image.nunique() == 200
    assert (value("clothes.path.short"), value("clothes.path.long")) == (8, 25)


def test_the_papers_numbers_are_of_its_table():
    table = pd.read_csv(folders.CLAIMS / "reported" / "hooker2019_table2.csv")
    roar = table[table["mode"] == "ROAR"].set_index(["data_set", "percent", "estimator"]).accuracy.sort_index()
    assert value("paper.left.sg_sq_grad") == roar["ImageNet", 90, "SG-SQ-GRAD"] == 11.09
    assert value("paper.gap") == pytest.approx(63.53 - 11.09)
    assert value("paper.first.food_101") == pytest.approx(84.54 - roar["Food-101", 10].max())
    spans = [np.ptp(roar[name, 90]) for name in ("Birdsnap", "Food-101", "ImageNet")]
    assert (value("paper.span.roar.least"), value("paper.span.roar.most")) == pytest.approx((min(spans), max(spans)))
    kept = table[(table["mode"] == "KAR") & (table.percent == 10)].groupby("data_set").accuracy
    assert value("paper.span.kar.most") == pytest.approx((kept.max() - kept.min()).max())


def test_the_scale_of_the_run_does_not_choose_published_rows():
    """What a notebook of another share and data set says of the published records is the same."""
    other = Page("roar", PAGE.settings | {"fractions": [0.5], "data_set": "gtsrb"}, None, profile="own", compute=False)
    for name in ("clothes.sobel.left", "cifar.var_grad.change", "published.widest", "clothes.agreements"):
        assert ROAR.describe(name, other) == ROAR.describe(name, PAGE)


def test_more_trainings_of_some_estimators_change_no_statement():
    """As many seeds as before in every cell but those of two estimators, of which four more are like the first."""
    page = Page.at("roar", "quick", None)
    table = page.edition(retraining.EXPERIMENT)
    more = table[table.estimator.isin(["VAR-GRAD", "Random"]) & (table.kind == "retrain") & (table.seed == 0)]
    whole = pd.concat([table, *(more.assign(seed=seed) for seed in range(3, 7))])
    whole.attrs = table.attrs
    page._frames["edition", retraining.EXPERIMENT.name] = whole
    assert ROAR.describe("cifar.var_grad.change", page)["n"] == 7
    assert ROAR.describe("cifar.grad.change", page)["n"] == ROAR.describe("cifar.grad.left", page)["n"]
    assert not [name for name, one in ROAR.statements.items() if numbers.holds(one, page) is False]


def test_what_is_not_published_is_not_measured():
    page = Page.at("roar", "quick", None)
    table = page.edition(retraining.EXPERIMENT)
    page._frames["edition", retraining.EXPERIMENT.name] = table[table.estimator != "Sobel"]
    assert ROAR.describe("cifar.sobel.left", page)["text"] == MISSING
    assert ROAR.describe("clothes.sobel.change", page)["text"] == MISSING
    assert ROAR.describe("cifar.random.left", page)["text"] != MISSING


def test_statements_wait_for_estimators_that_the_run_lacks():
    """A run of two estimators, without filters, masks or kept shares, hands over what it has and fails no statement."""
    page = Page("roar", PAGE.settings | {"filtered": [], "kept": []}, None, profile="own", compute=False)
    rows = [{"data_set": "mnist-5k", "estimator": name, "kind": kind, "mode": "remove", "filter": "none",
             "fraction": fraction, "seed": seed, "accuracy": 2 * seed + (50.0 if kind == "original" else 90.0),
             "record": "key"}
            for name in ("GRAD", "Random") for kind in ("retrain", "original", "road") for fraction in (0.5, 0.9)
            for seed in (0, 1)]
    measured = {retraining: pd.DataFrame(rows), toy: toy.accuracies(0, 1000).assign(seed=0, record="key")}
    for experiment in (retraining, trainings, rankings, path_steps, toy):
        one = experiment.EXPERIMENT
        cells = one.cells(page.parameters(one))
        page._frames["live", one.name, canonical(cells)] = measured.get(experiment, pd.DataFrame())
    assert ROAR.describe("left.grad", page)["text"] == "91" and ROAR.describe("left.sobel", page)["text"] == MISSING
    assert ROAR.describe("blur.max", page)["text"] == ROAR.describe("blurred", page)["text"] == MISSING
    held = {name: numbers.holds(one, page) for name, one in ROAR.statements.items()}
    assert held["masks_alone_give_the_class"] is held["good_maps_are_not_edges"] is None


def test_the_text_has_the_problem_that_is_solved():
    """The text types sixteen inputs, four of them informative, twelve not."""
    assert (toy.FEATURES, toy.INFORMATIVE) == (16, 4)


def test_without_a_training_and_the_spans_of_clothes():
    rows = by_hand("roar").query("filter == 'none'")
    once = rows.query("kind == 'original' and mode == 'remove' and estimator == 'Random' and fraction == 0.9")
    for name, data_set in (("clothes", "fashion-mnist"), ("cifar", "cifar10")):
        assert value(f"{name}.original") == pytest.approx(once[once.data_set == data_set].accuracy.item())
    trained = rows.query("kind == 'retrain' and data_set == 'fashion-mnist'")
    for name, mode, fraction in (("roar", "remove", 0.9), ("kar", "keep", 0.1)):
        means = trained[(trained["mode"] == mode) & (trained.fraction == fraction)].groupby("estimator").accuracy.mean()
        assert len(means) == 17 and value(f"clothes.span.{name}") == pytest.approx(means.max() - means.min())
