"""The book as one PDF: all pages, links that lead within it, a file that can be sent."""

import re
from collections import Counter

import pytest
from bs4 import BeautifulSoup

from lab import pdf
from lab.core import folders
from tests.book import browser

pytestmark = pytest.mark.skipif(bool(browser.no_book()), reason=str(browser.no_book()))


@pytest.fixture(scope="module")
def joined() -> BeautifulSoup:
    return BeautifulSoup(pdf.join(folders.BOOK_HTML), "html.parser")


def test_all_pages_are_joined_in_order(joined):
    shown = [section["id"] for section in joined.select("main > div")]
    assert shown == [page.replace("/", "-") for page in browser.pages()]
    assert [link["href"][1:] for link in joined.select("ol.contents a")] == shown
    figures = [caption.text.strip() for caption in joined.select("figure .caption-number")]
    built = [caption.text.strip() for page in browser.pages() for caption in BeautifulSoup(
        (folders.BOOK_HTML / f"{page}.html").read_text(), "html.parser").select("figure .caption-number")]
    assert figures == built


def test_links_lead_to_a_place_that_there_is_once(joined):
    places = Counter(tag["id"] for tag in joined.select("[id]"))
    links = [link["href"] for link in joined.select("main a[href]")]
    inside = {link[1:] for link in links if link.startswith("#")}
    assert len(inside) > 100 and {name for name in inside if places[name] != 1} == set()
    assert [link for link in links if not link.startswith(("#", "http", "mailto"))] == []


def test_pictures_and_styles_are_there_and_nothing_is_folded(joined):
    files = [tag.get("src") or tag.get("href") for tag in joined.select("img[src], link[rel=stylesheet]")]
    local = [file.partition("?")[0] for file in files if not file.startswith(("http", "data:"))]
    assert local and [file for file in local if not (folders.BOOK_HTML / file).is_file()] == []
    assert joined.select("details") and not joined.select("details:not([open])")


def test_the_printed_book_has_the_pages(tmp_path, monkeypatch):
    if reason := browser.no_browser():
        print(f"The book is not printed: {reason}")
        pytest.skip(reason)
    monkeypatch.setattr(pdf, "TARGET", tmp_path / "book.pdf")
    content = pdf.make().read_bytes()
    assert content.startswith(b"%PDF") and len(content) < 25_000_000
    assert len(re.findall(rb"/Type /Page\b", content)) > 3 * len(browser.pages())
    titles = [BeautifulSoup((folders.BOOK_HTML / f"{page}.html").read_text(), "html.parser").select_one("article h1")
              for page in browser.pages()]
    written = {bytes.fromhex(one.decode()).decode("utf-16") for one in re.findall(rb"/Title <([0-9A-F]+)>", content)}
    written |= {one.decode("latin-1") for one in re.findall(rb"/Title \((.+)\)", content)}       # in ASCII alone
    for title in titles:
        assert any(one.startswith(title.text.rstrip("#").strip()[:12]) for one in written), title.text
    assert not (folders.BOOK_HTML / "_print.html").exists()


#: Elements that reach beyond the paper, to the right or over the height of a page, and by how many pixels.
CUT = """([width, height]) => [...document.querySelectorAll("main :is(img, svg, table, pre, .math)")]
    .map(one => [one, one.getBoundingClientRect()])
    .filter(([one, box]) => box.right > width + 1 || (one.matches("img") && box.height > height))
    .map(([one, box]) => `${one.outerHTML.slice(0, 120)}: ${box.right} x ${box.height}`)"""


def test_no_figure_and_no_table_is_cut(joined, show):
    """On A4 with its margins, 180 x 263 mm of 96 pixels an inch."""
    file, size = folders.BOOK_HTML / "_print.html", (680, 994)
    file.write_text(str(joined))
    try:
        tab = show("_print", (size[0], "light"))
        tab.emulate_media(media="print")
        figures = tab.evaluate("document.querySelectorAll('main figure img').length")
        cut = tab.evaluate(CUT, list(size))
    finally:
        file.unlink()
    assert figures > 50 and cut == [], "\n".join(cut)


def test_without_a_book_or_a_browser_it_says_what_to_do(tmp_path, monkeypatch):
    monkeypatch.setattr(folders, "BOOK_HTML", tmp_path)
    monkeypatch.setattr(pdf.shutil, "which", lambda name: f"/bin/{name}")
    with pytest.raises(ValueError, match="run make book first"):
        pdf.make()
    monkeypatch.setattr(pdf.shutil, "which", lambda name: None)
    with pytest.raises(ValueError, match="none of chromium"):
        pdf.make()
