"""Figures: what is drawn is what the frame says."""


import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import torch


@pytest.fixture
def table():
    rows = [{"image": i, "pixels": 784, "method": method, "attack": attack, "epsilon": epsilon, "k": 50,
             "topk": 0.9 - epsilon, "spearman": 0.8 - epsilon, "center": 28 * epsilon / 10, "found": i > 0,
             "confidence": 0.9, "confidence_change": -0.1}
            for method in ("gradient", "integrated_gradients") for i in range(4)
            for attack, epsilons in {"topk": (0.1, 0.2), "center": (0.1, 0.2), "random_sign": (0.1, 0.2),
                                     "other_image": (0.0,)}.items() for epsilon in epsilons]
    yield pd.DataFrame(rows)
    plt.close("all")


def line(axis, label):
    return next(line for line in axis.get_lines() if line.get_label() == label)


def test_comparison_draws_means_controls_and_the_paper(table):
    figure = figures.comparison(table, figures.reported_comparison())
    overlap, _, center = np.array(figure.axes[:6]).reshape(3, 2)[:, 0]
    assert np.allclose(line(overlap, "top-k attack").get_ydata(), [0.8, 0.7])
    assert np.allclose(line(overlap, "chance").get_ydata(), 50 / 784)
    assert np.allclose(line(overlap, "map of another image").get_ydata(), 0.9)
    assert np.allclose(line(overlap, "paper, same colour").get_ydata(), [0.059, 0.005])
    assert np.allclose(line(center, "mass-centre attack").get_ydata(), [1.0, 2.0])      # % of 28 pixels
    assert np.allclose(line(center, "paper, same colour").get_ydata(), [100 * 15.3 / 227, 100 * 21.0 / 227])
    assert all(axis.get_ylabel() for axis in (overlap, center)) and "ε" in center.get_xlabel()


def test_validity_draws_percent(table):
    lost, _, change, _ = figures.validity(table).axes[:4]
    assert np.allclose(line(lost, "top-k attack").get_ydata(), 25)
    assert np.allclose(line(change, "top-k attack").get_ydata(), -10)


def test_seed_dots_mark_every_network_and_their_mean():
    rows = [{"data_set": data_set, "method": "gradient", "training": training, "seed": seed, "image": image,
             "topk": 0.1 * seed + 0.3 * (training == "pgd"), "chance_topk": 0.05}
            for data_set in ("mnist", "gtsrb") for training in ("natural", "pgd") for seed in range(3)
            for image in range(2)]
    axis, = figures.seed_dots(pd.DataFrame(rows), {"topk": "top-k"}).axes
    assert np.allclose(line(axis, "PGD").get_xdata(), [0.3, 0.4, 0.5]) and set(line(axis, "PGD").get_ydata()) == {1}
    assert np.allclose(line(axis, "chance").get_xdata(), 0.05)
    means = [one.get_xdata()[0] for one in axis.get_lines() if len(one.get_xdata()) == 2]
    assert np.allclose(means, [0.1, 0.4, 0.1, 0.4])
    assert [tick.get_text() for tick in axis.get_yticklabels()] == ["mnist", "gtsrb"]
    assert np.allclose(axis.get_yticks(), [0.5, 2.5])


def test_map_rows_shows_every_image_beside_its_map():
    figure = figures.map_rows(torch.rand(3, 2, 1, 8, 8), torch.rand(3, 2, 8, 8), [["a", "b"]] * 3, ["x", "y"])
    assert len(figure.axes) == 12 and all(axis.images for axis in figure.axes)
    plt.close(figure)


def test_ledger_table_escapes_marks_and_folds():
    one = {"id": "p-1", "figure": "Fig. <1>", "statement": "a & b", "reported": "1; 2", "reason": "",
           "measured_with_interval": "x: 1 [0, 2]", "verdict": "reproduced", "scale": "quick", "chapter": "fragility",
           "support": "1 cell: 1 for, 0 against"}
    many = {**one, "support": "9 cells: 8 for, 0 against", "measured_with_interval": "; ".join("abcdefghi")}
    html = figures.ledger_table(pd.DataFrame([one])).to_html()
    assert "✓ reproduced" in html and "a &amp; b" in html and "&lt;1&gt;" in html and "<div>1</div><div>2</div>" in html
    assert "1 cell" not in html and "<details>" not in html
    assert "1 cell" in figures.ledger_table(pd.DataFrame([{**one, "verdict": "partly"}])).to_html()
    folded = figures.ledger_table(pd.DataFrame([one, many])).to_html()
    assert folded.count("<details><summary>9 cells: 8 for, 0 against</summary><div>a</div>") == 1
