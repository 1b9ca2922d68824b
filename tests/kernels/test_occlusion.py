"""Occlusion: against its equation and against Captum."""

import warnings

import captum.attr
import pytest
import torch
from torch import nn

from fragility import attacks, attribution
from tests.networks import SMALL, build, images, residual

MODEL, X, TARGET = build(SMALL["plain"]), images(), torch.tensor([4, 0, 2])


def by_hand(model, x, target, window, stride, baseline=0.0):
    """One image, one window and one pixel at a time."""
    maps = torch.zeros_like(x)
    for image, (label, one) in enumerate(zip(target, x)):
        height, width = one.shape[1:]
        tops, lefts = ([k * stride for k in range(side) if k == 0 or k * stride < side - window + stride]
                       for side in (height, width))
        drops = {}
        for top in tops:
            for left in lefts:
                changed = one.clone()
                changed[:, top:top + window, left:left + window] = baseline
                drops[top, left] = (model(one[None]) - model(changed[None]))[0, label].item()
        for i in range(height):
            for j in range(width):
                over = [drop for (top, left), drop in drops.items() if top <= i < top + window
                        and left <= j < left + window]
                maps[image, :, i, j] = sum(over) / len(over) / len(one)
    return maps


@pytest.mark.parametrize("window, stride", [(1, 1), (3, 2), (3, 1), (5, 5), (8, 3), (4, 3)])
def test_map_is_the_mean_over_the_windows_that_cover_a_pixel(window, stride):
    got = attribution.occlusion(MODEL, X, TARGET, window=window, stride=stride, baseline=0.3)
    torch.testing.assert_close(got, by_hand(MODEL, X, TARGET, window, stride, 0.3), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("side, window, stride", [(8, 1, 1), (17, 2, 1), (24, 3, 1), (33, 4, 2)])
def test_the_window_is_an_eighth_of_the_side_and_the_stride_half_of_it(side, window, stride):
    model = nn.Sequential(nn.Conv2d(3, 2, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(8, 5))
    x = images(2, side)
    assert torch.equal(attribution.occlusion(model.double().eval(), x, 1),
                       attribution.occlusion(model, x, 1, window=window, stride=stride))


@pytest.mark.parametrize("window, stride", [((3, 2), (2, 1)), ((3, 3), (2, 3)), ((8, 8), (1, 1))])
def test_captum_gives_each_channel_the_value_of_the_pixel(window, stride):
    """Captum's map has the pixel's value in every channel; here the channels share it."""
    got = attribution.occlusion(MODEL, X, TARGET, window=window, stride=stride)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = captum.attr.Occlusion(MODEL).attribute(X, (3, *window), (3, *stride), 0.0, TARGET)
    torch.testing.assert_close(3 * got, theirs.to(got), rtol=1e-6, atol=1e-7)
    torch.testing.assert_close(got.sum(1), theirs[:, 0].to(got), rtol=1e-6, atol=1e-7)


def test_a_window_over_everything_is_the_change_of_the_logit():
    got = attribution.occlusion(MODEL, X, 2, window=8, baseline=0.5)
    change = (MODEL(X) - MODEL(torch.full_like(X, 0.5)))[:, 2]
    torch.testing.assert_close(got.sum(1), change.detach()[:, None, None].expand(3, 8, 8))


@pytest.mark.parametrize("shape", [(2, 3, 20), (2, 3, 9, 16), (2, 3, 5, 6, 7)])
def test_signals_and_volumes(shape):
    x = torch.rand(shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    weight = torch.randn(x[0].numel(), 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64)

    def model(z):
        return z.flatten(1) @ weight
    got = attribution.occlusion(model, x, 1, window=1)
    each = (x * weight[:, 1].view(x.shape[1:])).sum(1, keepdim=True) / 3
    torch.testing.assert_close(got, each.expand_as(x))


@pytest.mark.parametrize("options, words", [
    ({"window": 0}, "window"), ({"window": 9}, "window"), ({"window": (3, 3, 3)}, "direction"),
    ({"window": 2, "stride": 3}, "stride"), ({"stride": 1.5}, "stride"), ({"baseline": float("nan")}, "baseline")])
def test_bad_windows_are_refused(options, words):
    with pytest.raises(ValueError, match=words):
        attribution.occlusion(MODEL, X, 1, **options)


def test_the_derivative_of_the_map_does_not_depend_on_the_chunk():
    slopes = []
    for chunk in (1, 4, None):
        leaf = X.clone().requires_grad_()
        attribution.occlusion(MODEL, leaf, 1, window=3, chunk=chunk).square().sum().backward()
        slopes.append(leaf.grad)
    assert slopes[0].abs().sum() > 0
    for one in slopes[1:]:
        torch.testing.assert_close(one, slopes[0])


def test_an_attack_moves_it_without_a_smooth_twin():
    """The map holds no gradient, so that of a network of ReLUs leads somewhere as it is."""
    model, x = build(residual), images(4)
    for curvature in (None, attacks.DoubleBackprop(smooth=False)):
        got = attacks.attack(model, x, method="occlusion", objective=attacks.TopK(8), epsilon=0.1, steps=5,
                             curvature=curvature, method_args={"window": 3})
        if curvature is None:
            first = got
    assert torch.equal(first.x, got.x) and got.found.any()
    with pytest.raises(ValueError, match="none; use 'double-backprop'"):
        attacks.attack(model, x, method="occlusion", objective=attacks.TopK(8), epsilon=0.1,
                       curvature="finite-difference")
