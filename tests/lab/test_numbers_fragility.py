"""Numbers of the chapter on fragile maps, against pandas by hand on the published records."""

import json

import pandas as pd
import pytest

from lab import catalogue
from lab.chapters.fragility import comparison, numbers
from lab.core import folders
from lab.core.pages import Page
from tests.oracles.records import by_hand

PAGE = Page.at("fragility", "quick", None)


def value(name):
    return catalogue.chapter("fragility").describe(name, PAGE)["value"]


def test_photographs():
    rows = by_hand("fragility")
    measured_from = rows.method.isin(["integrated_gradients", "deeplift"])
    rows = rows[~measured_from | (rows.reference == "mean")]       # numbers of the page, like its claims
    rows = rows[rows.epsilon.round(4) == 0.0314]
    for method, attack, column in (("gradient", "topk", "topk"), ("integrated_gradients", "center", "center"),
                                   ("deep_taylor", "topk", "spearman"), ("deeplift", "random_sign", "topk")):
        expected = rows[(rows.method == method) & (rows.attack == attack)][column].mean()
        assert value(f"photo.{column}.{attack}.{method}") == pytest.approx(expected)
        kept = rows[(rows.method == method) & (rows.attack == attack)].topk.mean()
        assert value(f"photo.kept.{attack}.{method}") == pytest.approx(100 * kept)
    attacked = rows[rows.attack == "topk"].groupby("method").topk.mean()
    assert value("photo.left.topk") == pytest.approx(100 * attacked.max())
    flipped = rows[(rows.method == "deep_taylor") & (rows.attack == "random_sign")].found
    assert value("photo.flipped.deep_taylor") == pytest.approx(100 * (1 - flipped.astype(float)).mean())
    same = rows[(rows.method == "gradient") & (rows.attack == "random_sign") & (rows.image < 8)].topk.mean()
    assert value("photo.same.kept.random_sign.deeplift") == pytest.approx(100 * same)


def test_noise_on_all_photographs():
    rows = by_hand("unattacked").query("attack == 'random_sign' and epsilon > 0.03")
    kept = 100 * rows.assign(reference=rows.reference.fillna("")).groupby(["method", "reference"]).topk.mean()
    assert value("noise.cost") == pytest.approx(100 - kept["gradient", ""])
    assert value("noise.kept.integrated_gradients.mean") == pytest.approx(kept["integrated_gradients", "mean"])
    assert value("noise.kept.deeplift.black") == pytest.approx(kept["deeplift", ""])
    assert value("noise.kept.deep_taylor") == pytest.approx(kept["deep_taylor", ""])


def test_verdicts_are_the_published_ones():
    published = json.loads((folders.RESULTS / "verdicts.json").read_text())
    assert value("verdict.hardest") == published["ghorbani-8"]["verdict"]
    assert value("verdict.topk") == published["ghorbani-3"]["verdict"]


def test_the_cat():
    rows = by_hand("portraits").query("photograph == 'chelsea'")
    assert value("cat.sure.least") == pytest.approx(100 * rows.confidence_after.min())
    assert value("cat.shift.least") == pytest.approx(rows[rows.attack == "center"].center.min())
    assert value("cat.noise.most") == pytest.approx(100 * rows[rows.attack == "random_sign"].topk.max())
    assert value("cat.topk.most") == pytest.approx(100 * rows[rows.attack == "topk"].topk.max())


def test_small_photographs():
    rows = by_hand("small")
    chosen = rows[(rows.attack == "center") & (rows.method == "gradient") & (rows.epsilon == rows.epsilon.max())]
    assert value("small.shift.center") == pytest.approx(chosen.center.mean())
    network = by_hand("networks").query("network == 'cifar-cnn'")
    assert value("small.accuracy") == pytest.approx(100 * network.accuracy.iloc[0])


def test_the_drawn_reference_image_is_one_constant(monkeypatch):
    """Without a test of the attacks from it, a map is not drawn; with one, it is drawn from that image alone."""
    mean = numbers.compared(PAGE)
    monkeypatch.setattr(comparison, "SHOWN", ["none", "black"])
    black = numbers.compared(PAGE)
    for levels, name in ((black, "black"), (mean, "mean")):
        assert set(levels.reference[levels.method == "deeplift"]) == {name} and set(levels.reference) == {"none", name}
    rows = by_hand("fragility").query("method == 'deeplift' and reference == 'mean' and attack == 'topk'")
    ours = mean.query("method == 'deeplift' and attack == 'topk' and metric == 'topk'").sort_values("epsilon").ours
    assert ours.tolist() == pytest.approx(rows.groupby("epsilon").topk.mean().tolist())


def test_complete_methods_have_all_their_cells():
    table = pd.DataFrame({"method": ["a", "a", "b"], "attack": ["x", "y", "x"], "epsilon": [0.1, 0.1, 0.1]})
    assert set(comparison.complete(table).method) == {"a"}
    assert comparison.complete(pd.DataFrame()).empty
