"""The cat at every size: which cells there are, and that the pictures shown are those of the records."""

from pathlib import Path

import torch
from bs4 import BeautifulSoup
from PIL import Image

from lab.chapters.fragility import cat, portrait_sizes, portraits

CELLS = portrait_sizes.cells(portrait_sizes.EXPERIMENT.at("edition"))


def test_every_smaller_size_of_every_portrait_of_the_cat_is_a_cell():
    largest = [cell for cell in portraits.cells(portraits.EXPERIMENT.at("edition"))
               if cell["photograph"] == portrait_sizes.PHOTOGRAPH]
    sizes = {cell["epsilon"] for cell in CELLS}
    assert len(sizes) == 3 and max(sizes) < largest[0]["epsilon"] and len(CELLS) == 3 * len(largest)
    for size in sizes:
        assert [cell | {"epsilon": largest[0]["epsilon"]} for cell in CELLS if cell["epsilon"] == size] == largest
    assert portrait_sizes.cells(portrait_sizes.EXPERIMENT.at("quick")) == []


def test_a_picture_is_averaged_down():
    picture = torch.randint(0, 256, (3, 228, 228)).byte()
    small = portrait_sizes.shrink(picture)
    assert small.shape == (3, 114, 114) and small.dtype == torch.uint8
    means = picture.double().unfold(1, 2, 2).unfold(2, 2, 2).mean((-1, -2))
    assert (small.double() - means).abs().max() <= 0.5


def test_the_figure_shows_the_published_records(tmp_path):
    page = BeautifulSoup(cat.slider(tmp_path / "cat", "there"), "html.parser")
    records = cat.records()
    assert len(records) == 4 * 3 * 4
    scores = records["deeplift", "center", 4].table.iloc[0]
    row = page.select_one("tr[data-row=deeplift][data-attack=center][data-size='4']")
    assert [cell.text for cell in row.select("td")][3:6] == [
        f"{scores.topk:.0%}", f"{scores.spearman:.2f}".replace("-", "−"), f"{scores.center:.0f} px"]
    named = {image["src"].removeprefix("there/") for image in page.select("img")}
    written = {file.name for file in (tmp_path / "cat").iterdir()}
    assert named <= written and _size(tmp_path / "cat" / "deeplift-center-4.webp") == (114, 114)
    assert page.select_one("#epsilon").has_attr("disabled")     # until its script has come


def test_the_picture_of_the_front_page_is_drawn(tmp_path):
    cat.front_picture(tmp_path / "cat.png")
    width, height = _size(tmp_path / "cat.png")
    assert width > 1000 and 0.4 < height / width < 0.7


def _size(file: Path) -> tuple[int, int]:
    with Image.open(file) as image:
        return image.size
