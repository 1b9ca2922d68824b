"""Superpixels of photographs: regions that targeted attacks aim at."""

import pytest
import torch

from lab.material.photographs import superpixel


@pytest.mark.parametrize("channels", [1, 3])
def test_a_superpixel_holds_its_point_and_follows_the_edge(channels):
    image = torch.zeros(channels, 32, 32)
    image[:, :, 16:] = 1.0
    left, right = (superpixel(image, 16, column, segments=8) for column in (4, 28))
    assert left[16, 4] and right[16, 28] and not (left & right).any()
    assert not left[:, 18:].any() and not right[:, :14].any()


@pytest.mark.parametrize("image, row, said", [
    (torch.zeros(2, 8, 8), 0, "one or three"), (torch.zeros(1, 8, 8), 8, "row"), (torch.zeros(8, 8), 0, "one image"),
    (torch.full((1, 8, 8), 2.0), 0, "0, 1")])
def test_bad_superpixels_are_refused(image, row, said):
    with pytest.raises(ValueError, match=said):
        superpixel(image, row, 0)
