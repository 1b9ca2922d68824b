"""Numbers of the chapter that looks at attacks close up, against pandas by hand on the published records."""


import pandas as pd
import pytest

from lab import catalogue
from lab.chapters.attacks import numbers, variants
from lab.core.numbers import MISSING
from lab.core.pages import Page
from tests.oracles.records import by_hand

PAGE = Page.at("attacks", "quick", None)


def value(name):
    return catalogue.chapter("attacks").describe(name, PAGE)["value"]


def test_steps_on_photographs():
    rows = by_hand("variants").query("question == 'steps'")
    for method in ("gradient", "integrated_gradients"):
        means = rows[rows.method == method].groupby("steps").topk.mean()
        assert value(f"photo.left.{method}") == pytest.approx(100 * means[100])
        assert value(f"photo.enough.{method}") == f"{min(means.index[means < 0.05])} steps"
        assert value(f"photo.reach.{method}") == min(means.index[means < 0.05]) / 16
    assert value("photo.last") == 100 and value("photo.images") == 8 and value("photo.levels") == pytest.approx(8)


def test_cost_and_sharpness_on_photographs():
    rows = by_hand("variants").query("question == 'cost'").set_index("variant")
    few, whole = rows.loc["2 random points"], rows.loc["double backprop, whole path"]
    sharp = rows.loc["double backprop, whole path, beta 20"]
    for way, group in (("few", few), ("whole", whole), ("sharp", sharp)):
        assert value(f"photo.cost.left.{way}") == pytest.approx(100 * group.topk.mean())
    assert value("photo.cost.ratio") == pytest.approx(whole.seconds.mean() / few.seconds.mean())
    assert value("photo.twin.largest") == pytest.approx(100 * rows.loc["double backprop, beta 20"].topk.mean())
    assert value("photo.twin.smallest") == pytest.approx(100 * rows.loc["double backprop, beta 1"].topk.mean())
    longer = by_hand("variants").query("question == 'twin'").set_index("variant").topk
    assert value("photo.beyond.largest") == pytest.approx(100 * longer["beta 20"].mean())
    assert (value("photo.steps.cost"), value("photo.steps.twin"), value("photo.path.points")) == (10, 30, 25)
    assert (value("photo.steps.output"), value("photo.steps.walk"), value("photo.steps.sent")) == (10, 300, 20)


def test_regions():
    inside = 100 * by_hand("targeted").groupby("method").after.mean()
    assert value("photo.inside.least") == pytest.approx(inside.min()) == pytest.approx(inside["gradient"])
    assert value("photo.inside.most") == pytest.approx(inside.max())
    cup = by_hand("portraits").query("photograph == 'coffee' and found")
    assert value("cup.before") == pytest.approx(100 * cup.share.max())
    assert value("cup.after.least") == pytest.approx(100 * cup.share_after.min())
    assert value("cup.after.most") == pytest.approx(100 * cup.share_after.max())


def test_the_place_of_a_sharpness_is_that_of_what_is_published():
    """A quick run of other twins leaves the numbers of the published ones alone."""
    page = Page.at("attacks", "quick", None)
    page.settings["betas"] = [3.0, 7.0]
    described = catalogue.chapter("attacks").describe("photo.twin.largest", page)
    assert described["selection"]["beta"] == 20 and described["value"] == value("photo.twin.largest")


@pytest.mark.parametrize("name", ["photo.left.gradient", "photo.enough.gradient", "photo.cost.ratio",
                                  "photo.inside.least", "photo.cost.left.sharp", "cup.after.least", "photo.done"])
def test_what_is_not_published_is_not_measured(name, monkeypatch):
    page = Page.at("attacks", "quick", None)
    monkeypatch.setattr(page, "edition", lambda experiment: pd.DataFrame())
    assert catalogue.chapter("attacks").describe(name, page)["text"] == MISSING


def test_extreme_is_the_whole_group_of_the_least_or_largest_mean():
    table = pd.DataFrame({"method": ["a", "a", "b", "b"], "gain": [0.0, 1.0, 0.4, 0.5]})
    assert numbers.extreme(table, "method", "gain", "least").method.tolist() == ["b", "b"]
    assert numbers.extreme(table, "method", "gain", "most").gain.tolist() == [0.0, 1.0]
    assert numbers.extreme(table[:0], "method", "gain", "most").empty


def test_enough_is_the_first_below_the_level():
    table = pd.DataFrame({"steps": [1, 1, 3, 3, 10, 10], "topk": [0.06, 0.02, 0.09, 0.02, 0.0, 0.0]})
    assert numbers.enough(table) == "1 step" and numbers.enough(table[2:]) == "10 steps"
    assert numbers.enough(table[2:4]) == "more steps than were tried"


def test_longest_is_of_the_attacks_that_differ_in_their_steps_only():
    table = pd.DataFrame({"question": ["steps", "steps", "random"], "steps": [1, 10, 300], "method": "gradient"})
    assert numbers.longest(table, method="gradient").steps.tolist() == [10]


def test_a_step_is_slower_by_its_own_time():
    table = pd.DataFrame({"question": "cost", "method": variants.METHODS[1], "points": [2, None, None],
                          "beta": [None, 1.0, 5.0], "steps": [10, 5, 5], "seconds": [1.0, 4.0, 9.0],
                          "record": ["a", "b", "c"]})
    found = numbers.slower(table)
    assert found.value == pytest.approx(8) and found.keys == ["a", "b"] and numbers.slower(pd.DataFrame()).missing
