"""The pages as a reader meets them: the front page, the cat, the filter of claims, words, frames, accessibility."""

import json
import re

import pandas as pd
import pytest
from bs4 import BeautifulSoup

from lab import catalogue, front, verdicts
from lab.core.folders import BOOK_HTML, RESULTS, ROOT
from lab.drawing.claims import CONTROLS
from tests.book import axe, browser

pytestmark = pytest.mark.skipif(bool(browser.no_book()), reason=str(browser.no_book()))
DESK, PHONE = (1300, "light"), (390, "dark")
PAGES = browser.pages()


def html(page: str) -> BeautifulSoup:
    return BeautifulSoup((BOOK_HTML / f"{page}.html").read_text(encoding="utf-8"), "html.parser")


# -- the front page -----------------------------------------------------------------------------------------

def test_the_front_page_counts_as_the_published_verdicts_do():
    """Where every verdict of the claims page is of the edition, or larger, both are the same."""
    published = json.loads((RESULTS / "verdicts.json").read_text())
    claims = {claim["id"]: claim for claim in verdicts.load()}
    rows = {row.th.text: [cell.text for cell in row.select("td")]
            for row in html("book/intro").select("table.verdicts-by-paper tbody tr")}
    holds = [sum(one["verdict"] == "holds" and not one["control"] and claims[name]["paper"] == paper
                 for name, one in published.items()) for paper in front.PAPERS
             if any(one["paper"] == paper for one in claims.values())]
    assert [int(cells[0]) for cells in rows.values()] == holds


def test_the_front_page_takes_its_numbers_from_the_chapters():
    text = " ".join(html("book/intro").select_one("article").text.split())
    used = re.findall(r'numbers\.(\w+)\["([\w.]+)"\]', (ROOT / "book" / "intro.md").read_text())
    assert len(used) >= 6 and "{{ " not in text
    for chapter, number in used:
        assert chapter in catalogue.CHAPTERS
        report = json.loads((BOOK_HTML / "notebooks" / "numbers" / f"{chapter}.json").read_text())
        assert report["numbers"][number]["text"] in text


def test_every_claim_of_a_paper_is_known_in_one_way():
    claims = [claim for claim in verdicts.load() if claim["paper"] in front.PAPERS and not verdicts.is_control(claim)]
    counted = front.sources(verdicts.load())
    assert sum(counted.values()) == len(claims) and min(counted.values()) >= 0
    one = {"paper": "hooker2019", "statement": "It is so."}
    assert front.sources([one | {"known": "text"}, one | {"known": "digitised"}, one, one | {"known": "table"},
                          one | {"statement": "(Control) Or not."}, one | {"paper": "ours"}]) == {
        "read": 2, "digitised": 1, "code": 0, "second_hand": 0, "recalled": 0, "none": 1}


def test_verdicts_are_counted_without_controls():
    judged = [{"paper": "hooker2019", "verdict": "holds", "tells": "cannot tell"},
              {"paper": "hooker2019", "verdict": "not tested here", "tells": ""},
              {"paper": CONTROLS, "verdict": "mixed", "tells": ""}, {"paper": "ours", "verdict": "holds", "tells": ""}]
    counted = front.counts(judged)
    assert (counted["holds"], counted["anyway"], counted["mixed"], counted["not_tested_here"]) == (1, 1, 0, 1)
    assert (counted["claims"], counted["controls"]) == (2, 1)
    table = BeautifulSoup(front.verdict_table(judged), "html.parser")
    assert [cell.text for cell in table.select("tbody td")] == ["1", "1"]
    assert table.a["href"] == "../notebooks/claims.html?paper=hooker2019&verdict=holds"


def test_the_scoreboard_is_drawn_where_it_is_published(tmp_path, monkeypatch):
    table = pd.DataFrame({"network": ["squeezenet1_0"]})
    monkeypatch.setattr(front.results, "measured", lambda *_: table.iloc[:0])
    assert front.scoreboard_figure(tmp_path / "board.png") == "" and not (tmp_path / "board.png").exists()
    judged = pd.DataFrame({"criterion": ["noise", "attack"], "verdict": ["pass", "fail"]}).assign(
        network="squeezenet1_0", method="gradient", n=8)
    monkeypatch.setattr(front.results, "measured", lambda *_: table)
    monkeypatch.setattr(front.board, "verdicts", lambda _: judged)
    assert front.scoreboard_figure(tmp_path / "board.png").startswith(f"```{{figure}} {tmp_path.name}/board.png\n:name")
    assert (tmp_path / "board.png").stat().st_size > 1000


def test_the_entry_of_bibtex_is_that_of_the_citation_file():
    assert front.bibtex({"title": "T", "authors": [{"name": "A"}, {"family-names": "B", "given-names": "C"}],
                         "version": "1", "repository-code": "u"}) == (
        "@software{fragility,\n  title = {{T}},\n  author = {{A} and B, C},\n  version = {1},\n  url = {u}\n}")
    assert "@software{fragility" in html("book/intro").text


@pytest.mark.parametrize("view", browser.VIEWS, ids=lambda view: f"{view[0]}-{view[1]}")
def test_the_first_screens_show_a_figure_and_a_result(show, view):
    tab = show("book/intro", view)
    top = tab.evaluate("document.querySelector('article figure').getBoundingClientRect().top")
    found = tab.evaluate("document.evaluate(\"//strong[contains(., 'What was found')]\", document).iterateNext()"
                         ".getBoundingClientRect().top")
    assert top < 900 and found < 900


@pytest.mark.parametrize("width", [1300, 390])
@pytest.mark.parametrize("chapter", [name for name in catalogue.CHAPTERS if name != "audit"])
def test_a_chapter_begins_with_its_answer_and_a_figure(show, chapter, width):
    tab = show(f"notebooks/{chapter}", (width, "light"))
    assert tab.evaluate("document.querySelector('article figure').getBoundingClientRect().top + scrollY") < 900


# -- the figure that the reader drags -----------------------------------------------------------------------

def test_the_pictures_of_the_cat_are_small():
    files = list((BOOK_HTML / "_static" / "cat").iterdir())
    sizes = [int(size) for size in html("book/cat").select_one("#epsilon")["data-sizes"].split()]
    assert len(files) == 5 + 5 * 3 * (len(sizes) - 1) and sizes == [0, 1, 2, 4, 8]
    assert sum(file.stat().st_size for file in files) < 1_500_000


@pytest.mark.parametrize("view", [DESK, PHONE], ids=["desk", "phone"])
def test_the_dial_moves_pictures_and_scores_by_keyboard(show, view):
    tab = show("book/cat", view)
    state = """() => [...document.querySelectorAll('.drag-grid td[data-attack]')].map(
        cell => [cell.querySelector('img').src, cell.querySelector('small').textContent])"""
    largest = tab.evaluate(state)
    tab.focus("#epsilon")
    tab.keyboard.press("ArrowLeft")
    tab.evaluate(browser.SETTLED)
    smaller = tab.evaluate(state)
    assert tab.locator(".drag-control output").text_content() == "4/255"
    assert all(one[0] != two[0] for one, two in zip(largest, smaller)) and largest != smaller
    listed = {(row["data-row"], row["data-attack"]): [cell.text for cell in row.select("td")][3:6]
              for row in html("book/cat").select(".drag-scores tr[data-size='4']")}
    shown = tab.locator(".drag-grid td[data-row=gradient][data-attack=topk] small").text_content()
    assert shown.split(" · ") == listed["gradient", "topk"]
    tab.keyboard.press("Home")
    tab.evaluate(browser.SETTLED)
    assert {text for source, text in tab.evaluate(state)[3:]} == {"100% · 1.00 · 0 px"}
    assert tab.complaints == [] and tab.evaluate("[...document.images].every(image => image.naturalWidth > 0)")


def test_the_cat_has_a_text_alternative_and_works_without_a_script():
    page = html("book/cat")
    assert len(page.select(".drag-scores tbody tr")) == 4 * 3 * 4
    assert all(len(image["alt"].split()) > 1 for image in page.select(".drag-grid img"))
    scores = [small.text for small in page.select(".drag-grid td[data-attack] small")]
    assert len(scores) == 15 and all(scores)


# -- the claims ---------------------------------------------------------------------------------------------

def rows_left(tab) -> list[str]:
    return tab.evaluate("[...document.querySelectorAll('table.ledger tbody tr')].filter(row => row.checkVisibility())"
                        ".map(row => row.id)")


@pytest.mark.parametrize("view", [DESK, PHONE], ids=["desk", "phone"])
def test_claims_are_filtered_by_choice_by_words_and_by_address(show, view):
    page = html("notebooks/claims")
    everything = [row["id"] for row in page.select("table.ledger tbody tr")]
    holding = [row["id"] for row in page.select("tr[data-verdict=holds][data-paper=kamath2024]")]
    first = [row["id"] for row in page.select("tr[data-paper=ghorbani2019]")]
    tab = show("notebooks/claims", view)
    assert rows_left(tab) == (first if view == PHONE else everything)      # the whole list is long for a phone
    tab.select_option("select[name=verdict]", "holds")
    tab.select_option("select[name=paper]", "kamath2024")
    assert rows_left(tab) == holding and 0 < len(holding) < len(everything)
    assert tab.locator("form.claim-filter output").text_content() == f"{len(holding)} of {len(everything)} claims"
    assert "paper=kamath2024&verdict=holds" in tab.url
    tab.fill("input[name=words]", holding[0])
    assert holding[0] in rows_left(tab) and set(rows_left(tab)) <= set(holding)
    tab.click("form.claim-filter button[type=reset]")
    tab.wait_for_function("!location.search")
    assert rows_left(tab) == everything
    assert rows_left(show("notebooks/claims?verdict=holds&paper=kamath2024", view)) == holding


def test_a_link_to_a_claim_opens_it(show):
    claim = html("notebooks/claims").select("tr[data-verdict=holds]")[-1]["id"]
    tab = show("notebooks/claims?verdict=contradicted", DESK)
    assert claim not in rows_left(tab)
    tab.evaluate(f"location.hash = '{claim}'")
    tab.wait_for_function(f"document.getElementById('{claim}').querySelector('details').open")
    assert claim in rows_left(tab)
    tab.wait_for_function(f"document.getElementById('{claim}').getBoundingClientRect().top < innerHeight")     # scrolls


def test_claims_are_a_plain_table_without_a_script():
    page = html("notebooks/claims")
    assert "hidden" in page.select_one("form.claim-filter").attrs
    assert [row["id"] for row in page.select("tr[hidden]")] == []
    assert {row["id"] for row in page.select("table.ledger tbody tr")} == {claim["id"] for claim in verdicts.load()}


# -- words --------------------------------------------------------------------------------------------------

def test_words_of_the_glossary_are_linked_once_a_page_and_explained():
    glossary = {term["id"]: term.text for term in html("book/glossary").select("dl.glossary dt[id]")}
    chapters = [page for page in PAGES if page.startswith("notebooks/")]
    linked = {page: html(page).select("article a.word") for page in chapters}
    for page, links in linked.items():
        anchors = [link["href"].partition("glossary.html#")[2] for link in links]
        assert len(anchors) == len(set(anchors)) and set(anchors) <= set(glossary), page
        assert all(len(link["title"].split()) > 3 for link in links)
        assert not [link for link in links if link.find_parent(["h1", "h2", "h3", "pre", "code", "td"])]
    words = {link.text for links in linked.values() for link in links}
    assert {"ROAR", "LENS"} <= words and len(words) > 10


# -- phones and readers who do not look ---------------------------------------------------------------------

@pytest.mark.parametrize("page", PAGES)
def test_what_is_too_wide_scrolls_in_a_frame_with_a_cue(show, page):
    tab = show(page, PHONE)
    stray = tab.evaluate("""[...document.querySelectorAll('article :is(table, img, pre)')].filter(part => {
        if (!part.checkVisibility() || part.getBoundingClientRect().right <= innerWidth + 1) return false;
        for (let frame = part; frame && frame.tagName !== 'ARTICLE'; frame = frame.parentElement)
            if (frame.classList.contains('more-right') && frame.tabIndex === 0) return false;
        return true; }).map(part => part.outerHTML.slice(0, 120))""")
    assert stray == []


def test_the_contents_of_a_long_chapter_are_always_at_hand(show):
    tab = show("notebooks/roar", PHONE)
    tab.evaluate("scrollTo(0, document.body.scrollHeight / 2)")
    button = tab.locator("button.secondary-toggle").bounding_box()
    assert 0 <= button["y"] < browser.HEIGHT


@pytest.mark.parametrize("view", [DESK, PHONE], ids=["desk-light", "phone-dark"])
@pytest.mark.parametrize("page", PAGES)
def test_axe_finds_no_serious_fault(show, page, view):
    if reason := axe.missing():
        print(f"Accessibility is not checked: {reason}")
        pytest.skip(reason)
    assert axe.faults(show(page, view)) == []
