"""The built book: complete, linked, numbered, searchable, and in order in a browser."""

import functools
import json
import re
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
from bs4 import BeautifulSoup

from lab import catalogue
from lab.core.folders import BOOK_HTML
from tests.book import browser

PAGES = browser.pages()
NOTEBOOKS = [page for page in PAGES if page.startswith("notebooks/")]
REPOSITORY = "fragility-book/fragility"
LAUNCH = {"Binder": f"https://mybinder.org/v2/gh/{REPOSITORY}/main?urlpath=lab/tree/",
          "Colab": f"https://colab.research.google.com/github/{REPOSITORY}/blob/main/"}

pytestmark = pytest.mark.skipif(bool(browser.no_book()), reason=str(browser.no_book()))


@functools.cache
def soup(path: Path) -> BeautifulSoup:
    """The parsed HTML of a file."""
    return BeautifulSoup(path.read_text(encoding="utf-8"), "html.parser")


def html(page: str) -> BeautifulSoup:
    """The parsed HTML of a page."""
    return soup(BOOK_HTML / f"{page}.html")


@functools.cache
def anchors(path: Path) -> set[str]:
    """What a link can jump to in a file."""
    return {tag.get("id") or tag.get("name") for tag in soup(path).select("[id], a[name]")}


@functools.cache
def search_index() -> dict:
    """The index that the search page loads."""
    text = (BOOK_HTML / "searchindex.js").read_text(encoding="utf-8")
    return json.loads(text.removeprefix("Search.setIndex(").rstrip().removesuffix(")"))


# -- the files ----------------------------------------------------------------------------------------------

@pytest.mark.parametrize("name", catalogue.CHAPTERS)
def test_numbers_lie_beside_their_page_and_its_statements_hold(name):
    """In the run that the book was built from."""
    report = json.loads((BOOK_HTML / "notebooks" / "numbers" / f"{name}.json").read_text())
    assert set(report["numbers"]) == set(catalogue.chapter(name).numbers)
    page = html(f"notebooks/{name}")
    assert page.select(f"a[href$='/{name}.json']")
    shown = [tag.text for tag in page.select("span.pasted-text")]
    assert shown and set(shown) <= {about[part] for about in report["numbers"].values() for part in ("text", "interval")
                                    } | {str(about["n"]) for about in report["numbers"].values()}
    assert [one["says"] for one in report["statements"].values() if one["holds"] is False] == []


def test_every_page_of_the_toc_is_there():
    assert [page for page in PAGES if not (BOOK_HTML / f"{page}.html").is_file()] == []
    assert NOTEBOOKS


@pytest.mark.parametrize("page", [*PAGES, "index", "search"])
def test_local_links_lead_somewhere(page):
    here = BOOK_HTML / f"{page}.html"
    targets = [tag.get("href") or tag.get("src") for tag in html(page).select("[href], [src]")]
    targets += [tag["content"].partition("url=")[2] for tag in html(page).select("meta[http-equiv=Refresh]")]
    broken = []
    for target in filter(None, targets):
        parts = urlsplit(target)
        if parts.scheme or parts.netloc:
            continue
        file = (here.parent / unquote(parts.path)).resolve() if parts.path else here
        anchor = unquote(parts.fragment)
        if not file.is_file() or (anchor and file.suffix == ".html" and anchor not in anchors(file)):
            broken.append(target)
    assert broken == []


def test_figures_are_numbered_once_each():
    figures = [figure for page in PAGES for figure in html(page).select("article figure")]
    assert [str(figure)[:200] for figure in figures if not figure.select_one(".caption-number")] == []
    numbers = [figure.select_one(".caption-number").text.strip() for figure in figures]
    assert [number for number in numbers if not re.fullmatch(r"Fig\. [\d.]+", number)] == []
    assert numbers
    assert len(set(numbers)) == len(numbers)


@pytest.mark.parametrize("page", NOTEBOOKS)
def test_figures_of_a_notebook_are_described(page):
    images = html(page).select("article figure img")
    assert [image["src"] for image in images if len(image.get("alt", "").split()) < 2] == []


@pytest.mark.parametrize("page", PAGES)
def test_references_are_resolved(page):
    article = html(page).select_one("article")
    assert [str(tag) for tag in article.select("code.xref.std") if not tag.find_parent("a")] == []
    text = " ".join(part for part in article.find_all(string=True) if not part.find_parent(["pre", "code"]))
    assert re.findall(r".{0,40}(?:numref|glue:|\{(?:ref|cite|doc|eq)\W|\?\?).{0,40}", text) == []


@pytest.mark.parametrize("page", PAGES)
def test_there_is_one_search_field(page):
    assert len(html(page).select("input[type=search]")) == 1
    assert len(html(page).select(".search-button__search-container, dialog")) == 1


@pytest.mark.parametrize("page", NOTEBOOKS)
def test_a_notebook_can_be_downloaded_and_launched(page):
    links = [tag["href"] for tag in html(page).select(".article-header-buttons a[href]")]
    for site, prefix in LAUNCH.items():
        assert f"{prefix}{page}.ipynb" in links, site
    files = [BOOK_HTML / page / ".." / link for link in links if link.endswith(f"_sources/{page}.ipynb")]
    assert len(files) == 1
    cells = json.loads(files[0].resolve().read_text(encoding="utf-8"))["cells"]
    assert any(cell.get("outputs") for cell in cells), "the notebook for download has not been executed"


def test_the_search_index_knows_every_page():
    assert set(PAGES) <= set(search_index()["docnames"])
    assert all(search_index()["titles"])
    assert len(search_index()["terms"]) > 200


def test_the_bibliography_lists_what_is_cited():
    listed = {tag["id"] for page in PAGES for tag in html(page).select(".citation-list .citation")}
    links = [tag["href"] for page in PAGES for tag in html(page).select(".bibtex-citation a")]
    assert listed
    assert links
    assert {link.partition("#")[2] for link in links} <= listed


# -- the browser --------------------------------------------------------------------------------------------

# What can be wrong in a page that is open: a script that lists the culprits.
FAULTS = {
    "images without pixels": "[...document.images].filter(i => !i.naturalWidth).map(i => i.src)",
    "images that cannot be seen": """[...document.querySelectorAll('article img')]
        .filter(i => !i.closest('details:not([open]), .only-dark, .only-light'))
        .filter(i => !i.checkVisibility({opacityProperty: true, visibilityProperty: true}) || i.width < 10)
        .map(i => i.src)""",
    "a page wider than the window": """[document.documentElement, document.body]
        .filter(e => e.scrollWidth > innerWidth).map(e => `${e.tagName} ${e.scrollWidth}`)""",
    "figures wider than the window": """[...document.querySelectorAll('article figure')]
        .filter(f => f.getBoundingClientRect().left < 0 || f.getBoundingClientRect().right > innerWidth)
        .map(f => f.id)""",
    "formulas not set": """[...document.querySelectorAll('article .math')]
        .filter(m => !m.querySelector('mjx-container') || m.querySelector('mjx-merror'))
        .map(m => m.textContent)""",
}


@pytest.mark.parametrize("view", browser.VIEWS, ids=lambda view: f"{view[0]}-{view[1]}")
@pytest.mark.parametrize("page", PAGES)
def test_a_page_is_in_order_in_a_browser(show, page, view):
    tab = show(page, view)
    found = {name: tab.evaluate(script) for name, script in FAULTS.items()}
    assert {name: culprits for name, culprits in found.items() if culprits} == {}
    assert tab.evaluate("document.documentElement.dataset.theme") == view[1]
    assert tab.complaints == []


def test_the_search_finds_pages_and_its_key_opens_one_field(show):
    tab = show("search?q=saliency", browser.VIEWS[0])
    tab.wait_for_selector("#search-results li a")
    tab = show(PAGES[0], browser.VIEWS[0])
    tab.keyboard.press("Control+k")
    assert tab.locator("input[type=search]:visible").count() == 1
