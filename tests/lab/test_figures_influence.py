"""Figures of influences, directions and dimensions: what is drawn is what the frame says."""

import numpy as np
import pandas as pd
import pytest
import torch

from lab.chapters.influence import directions, figures, geometry_figures
from lab.core.statistics import student
from tests.lab.test_figures import SPREAD, band, closed, lies, line, shown, texts  # noqa: F401 (closed: a fixture)


def test_the_most_helpful_images_stand_beside_the_test_image():
    tests, train = torch.rand(2, 1, 4, 4), torch.rand(6, 1, 4, 4)
    before, after = torch.tensor([-4.0, 1, 2, 3, 0.5, 0]), torch.tensor([5.0, 1, -2, 0, 3, 2])
    figure = figures.influence_example(tests, train, (before, after), ["clean", "perturbed"], 0.123)
    axes = {axis.get_label(): axis for axis in figure.axes}
    drawn = {"test0": tests[0], "a0": train[3], "b0": train[2], "c0": train[1],
             "test1": tests[1], "a1": train[0], "b1": train[4], "c1": train[5]}
    assert all(np.array_equal(shown(axes[name]), image[0]) for name, image in drawn.items())
    assert [axes[name].get_title() for name in drawn] == [
        "clean", "influence 0.75", "influence 0.50", "influence 0.25",
        "perturbed", "influence 1.00", "influence 0.60", "influence 0.40"]
    diagonal, cloud = axes["all"].get_lines()
    assert lies(diagonal, [1, 6], [1, 6]) and lies(cloud, [6, 3, 2, 1, 4, 5], [1, 4, 6, 5, 2, 3])
    assert axes["all"].get_title().endswith("rank correlation 0.12")
    assert all(axes[name].images[0].get_clim() == (0, 1) and not axes[name].axison for name in drawn)
    assert "clean" in axes["all"].get_xlabel() and "perturbed" in axes["all"].get_ylabel() and axes["all"].axison


def test_ranks_show_both_classes_and_ring_the_most_helpful():
    before, after = np.array([-8.0, 1, 2, 3, 4, 5, 0]), np.array([2.0, 1, -1, 0.5, 0, 4, -2])
    pairs = pd.DataFrame({"before": before, "after": after, "training_class": [*"4949494"], "test_class": "9"})
    same = pairs.assign(place="median", spearman=0.42, after=before)
    ranks = figures.ranked(pd.concat([pairs.assign(place="lowest", spearman=0.1), same], ignore_index=True))
    was, now = [7, 5, 4, 3, 2, 1, 6], [2, 3, 6, 4, 5, 1, 7]
    assert ranks.before.tolist() == was * 2 and ranks.after.tolist() == now + was
    lowest, median = figures.influence_ranks(ranks).axes
    assert lies(line(lowest, "training image of class 4"), was[::2], now[::2])
    assert lies(line(lowest, "training image of class 9"), was[1::2], now[1::2])
    ring = line(lowest, "the 5 most helpful before")
    assert lies(ring, [5, 4, 3, 2, 1], [3, 6, 4, 5, 1]) and ring.get_markeredgecolor() == "0.2"
    assert lies(lowest.get_lines()[0], [1, 7], [1, 7])
    assert lies(line(median, "training image of class 9"), was[1::2], was[1::2])
    assert lowest.get_title() == "lowest correlation, 0.10\n(test image: 9)" and "0.42" in median.get_title()


@pytest.fixture
def influenced():
    """Mean rank correlations and survivors (before the images' spread), and what the published measure says."""
    means = {("gradient_sign", 2): (0.6, 3.0), ("gradient_sign", 8): (0.3, 1.0),
             ("random_sign", 2): (0.9, 5.0), ("random_sign", 8): (0.8, 4.0)}
    return pd.DataFrame([{"network": "squeezenet1_0", "attack": attack, "epsilon": size / 255, "image": image,
                          "train_images": 100, "spearman": rank + off, "survivors": survivors,
                          "spearman_published": rank - 0.2 + off, "survivors_published": survivors - 0.5}
                         for (attack, size), (rank, survivors) in means.items() for image, off in enumerate(SPREAD)])


def test_influences_are_drawn_from_zero_with_chance(influenced):
    figure = figures.influence_curves(figures.levels(influenced))
    survivors, rank = figure.axes
    assert lies(line(rank, "gradient sign"), [0, 2 / 255, 8 / 255], [1, 0.6, 0.3])
    assert lies(line(rank, "random signs"), [0, 2 / 255, 8 / 255], [1, 0.9, 0.8])
    assert lies(line(survivors, "gradient sign"), [0, 2 / 255, 8 / 255], [5, 3, 1])
    assert np.allclose(band(rank, 0), [(1, 1), student(0.6 + SPREAD), student(0.3 + SPREAD)])
    assert any(np.allclose(one.get_ydata(), 0.25) for one in survivors.get_lines())     # 5 of 5, a chance of 5 in 100
    assert texts(rank.get_xticklabels()) == ["0", "2", "8"] and rank.get_ylabel() == "rank correlation"
    assert survivors.get_ylabel() == "of the top 5, still there"
    assert set(texts(rank.texts)) == {"gradient sign", "random signs"}
    assert survivors.get_title(loc="left") == "SqueezeNet"
    assert texts(figure.legends[0].get_texts()) == ["chance"]


def test_influences_stand_beside_what_the_paper_states(influenced):
    survivors, rank = figures.influence_curves(figures.levels(influenced), paper=True).axes
    stars = [[(round(255 * one.get_xdata()[0]), *one.get_ydata()) for one in axis.get_lines()
              if one.get_marker() == "*"] for axis in (rank, survivors)]
    assert stars == [[(8, 0.0), (10, 0.8)], [(8, 2.0)]]


def test_gains_are_what_the_gradient_takes_beyond_noise(influenced):
    gains = figures.gains(influenced.assign(survivors=influenced.survivors + influenced.image))
    assert gains["mean"].tolist() == [2.0, 3.0] and set(gains.n) == {3}
    axis, = figures.beyond_noise(gains).axes
    assert lies(line(axis, "SqueezeNet"), [2 / 255, 8 / 255], [2, 3])
    assert texts(axis.get_xticklabels()) == ["0", "2", "8"]


def test_both_measures_stand_side_by_side(influenced):
    survivors, rank = figures.measures(figures.levels(influenced)).axes
    assert texts(survivors.get_yticklabels()) == ["SqueezeNet, gradient sign", "SqueezeNet, random signs"]
    assert [one[0].get_xdata()[0] for one in survivors.containers] == pytest.approx([1.0, 0.5, 4.0, 3.5])
    assert [one[0].get_markerfacecolor() == "none" for one in rank.containers] == [False, True, False, True]
    assert [one[0].get_xdata()[0] for one in rank.containers] == pytest.approx([0.3, 0.1, 0.8, 0.6])


def test_random_angles_are_a_density():
    degrees = np.linspace(0.005, 89.995, 9000)
    assert np.allclose(directions.random_angles(degrees, 2), 1 / 90)                               # of the circle
    assert np.allclose(directions.random_angles(degrees, 3), np.sin(np.radians(degrees)) * np.pi / 180)    # of the ball
    for dimension in (2, 3, 10, 3000):
        assert np.isclose(directions.random_angles(degrees, dimension).sum() * 0.01, 1, atol=1e-3)


def test_histograms_hold_the_angles_of_each_network():
    rows = pd.DataFrame([{"kind": kind, "network": network, "data_set": "some", "angle": angle, "pixels": pixels}
                         for kind, network, pixels, angles in (
                             ("feature importance", "mlp", 3, [31, 32, 61, 88]),
                             ("sample importance", "cnn", 10_000, [1, 46, 47, 47]))
                         for angle in angles])
    first, second = geometry_figures.angle_histograms(rows).axes
    assert (first.get_title(), second.get_title()) == ("pixels,\nsome", "training images,\nsome")
    for axis, counts in ((first, {30: 2, 60: 1, 87: 1}), (second, {0: 1, 45: 3})):
        found = {round(bar.get_x()): 4 * 3 * bar.get_height() for bar in axis.patches if bar.get_height()}
        assert found == pytest.approx(counts)
    assert np.allclose(line(first, "mean").get_xdata(), 53) and np.allclose(line(second, "mean").get_xdata(), 35.25)
    degrees, density = line(first, "random directions (cut off)").get_data()
    assert np.allclose(density, directions.random_angles(degrees, 3))
    degrees, density = line(second, "random directions (cut off)").get_data()
    expected, top = directions.random_angles(degrees, 10_000), density.max()
    assert 0.25 < top < 0.4 < expected.max() and np.allclose(density, np.minimum(expected, top))


def test_a_kink_has_contours_of_the_logit_and_arrows_along_its_gradient():
    model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(2, 1)).eval()
    model[1].weight.data, model[1].bias.data = torch.tensor([[3.0, 4.0]]), torch.tensor([0.5])
    axis, = geometry_figures.kink(model, torch.tensor([[0.1, 0.2], [-0.3, 0.0]])).axes
    assert np.allclose([[*arrow.xyann, *arrow.xy] for arrow in axis.texts],
                       [[0.1, 0.2, 0.1 + 0.27, 0.2 + 0.36], [-0.3, 0, -0.3 + 0.27, 0.36]])
    assert all(lies(one, *place) for one, place in zip(axis.get_lines(), [(0.1, 0.2), (-0.3, 0.0)], strict=True))
    contours = axis.collections[0]
    drawn = [(level, path.vertices) for level, path in zip(contours.levels, contours.get_paths()) if len(path.vertices)]
    assert len(drawn) > 8
    assert all(np.allclose(points @ [3, 4] + 0.5, level, atol=1e-4) for level, points in drawn)


def test_dimensions_have_a_curve_a_width_and_perturbation():
    rows = pd.DataFrame([{"width": width, "dimension": dimension, "perturbation": name,
                          "relative": low * dimension * (1 + off), "cosine": 1 - low * width + off,
                          "spearman": 0.5 - low + off,
                          "angle": np.nan if name == "random" else 30 * low * np.log10(dimension) + off}
                         for width in (1, 10) for dimension in (10, 100)
                         for name, low in (("random", 0.01), ("sign", 0.05)) for off in SPREAD])
    relative, cosine, spearman, angle = geometry_figures.dimension_curves(geometry_figures.by_dimension(rows)).axes
    for sign, random in zip(relative.get_lines()[::2], relative.get_lines()[1::2]):
        assert lies(random, [10, 100], [0.1, 1]) and lies(sign, [10, 100], [0.5, 5])
        assert np.array_equal(random.get_color(), sign.get_color()) and random.get_linestyle() == "--"
    assert np.allclose([one.get_ydata() for one in cosine.get_lines()], [[0.95] * 2, [0.99] * 2, [0.5] * 2, [0.9] * 2])
    assert np.allclose([one.get_ydata() for one in spearman.get_lines()], 2 * [[0.45] * 2, [0.49] * 2])
    assert set(texts(angle.texts)) == {"width 1", "width 10"}
    *curves, right = angle.get_lines()
    assert np.allclose([one.get_ydata() for one in curves], 2 * [[1.5, 3.0]])
    assert np.allclose(right.get_ydata(), 90) and relative.get_yscale() == "log" == angle.get_xscale()
    assert np.allclose(band(spearman, 0), 2 * [student(0.45 + SPREAD)])


def test_resolutions_are_drawn_in_thousands_of_values():
    rows = pd.DataFrame([{"attack": attack, "values": values, "side": values // 100, "spearman": level + off,
                          "topk": level / 2 + off}
                         for attack, level in (("random_sign", 0.8), ("topk", 0.4)) for values in (3000, 12_000)
                         for off in SPREAD])
    rank, overlap = geometry_figures.resolution_curves(geometry_figures.by_side(rows)).axes
    assert lies(line(rank, "random signs"), [3, 12], [0.8, 0.8])
    assert lies(line(rank, "top-k attack"), [3, 12], [0.4, 0.4])
    assert lies(line(overlap, "top-k attack"), [3, 12], [0.2, 0.2])
    assert overlap.get_ylabel() == "overlap of the top 2 %"
    assert np.allclose(line(rank, "chance").get_ydata(), 0) and np.allclose(line(overlap, "chance").get_ydata(), 0.02)
    rank, _ = geometry_figures.resolution_curves(geometry_figures.by_side(rows[rows.attack == "topk"])).axes
    assert len(rank.get_lines()) == 2 and lies(line(rank, "top-k attack"), [3, 12], [0.4, 0.4])


def test_bounds_are_drawn_over_changes():
    axis, = geometry_figures.bound_scatter(pd.DataFrame({"change": [0.1, 1.0, 0.5], "bound": [10.0, 200.0, 30.0]})).axes
    assert lies(line(axis, "an image"), [0.1, 1.0, 0.5], [10, 200, 30])
    assert lies(line(axis, "bound reached"), [0.05, 400], [0.05, 400])
    assert axis.get_xscale() == axis.get_yscale() == "log" and axis.get_ylabel() == "operator-norm bound"
