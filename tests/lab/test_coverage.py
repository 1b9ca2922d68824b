"""The book's table of networks says what is true."""

import re

import pytest

from lab.core import folders
from lab.material import coverage

PAGE = (folders.ROOT / "book" / "networks.md").read_text()
ROWS = {name: dict(zip(coverage.METHODS, (cell.strip().replace("`", "") for cell in rest.split("|"))))
        for name, rest in re.findall(r"^\| `(\w+)` \|(.*)\|$", PAGE, re.MULTILINE)}


def test_the_table_has_every_family_in_order():
    assert list(ROWS) == list(coverage.FAMILIES)


@pytest.mark.slow
@pytest.mark.parametrize("name", coverage.FAMILIES)
def test_what_the_table_says_of_a_network_is_so(name):
    assert coverage.coverage(name) == ROWS[name]


def test_gradients_take_every_network_and_only_attention_stops_relevance():
    assert {row["gradients"] for row in ROWS.values()} == {"yes"}
    stopped = {name for name, row in ROWS.items() if row["DeepLIFT"] != "yes" or row["LRP"] != "yes"}
    assert stopped == {"swin_t", "vit_b_16"}


def test_attention_has_maps_of_its_own():
    assert {row["AttnLRP"] for row in ROWS.values()} == {row["Grad-CAM, occlusion"] for row in ROWS.values()} == {"yes"}
    with_attention = {name: row["rollouts"] for name, row in ROWS.items() if row["rollouts"] != "no: no attention"}
    assert with_attention == {"swin_t": "no: windows", "vit_b_16": "yes"}
