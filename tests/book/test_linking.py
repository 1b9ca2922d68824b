"""Claims and the figures that show them: every link has two ends."""

import nbformat
import pytest
from bs4 import BeautifulSoup

from lab import linking, verdicts
from lab.core import folders
from lab.core.folders import BOOK_HTML
from lab.drawing.claims import CONTROLS, VERDICTS
from lab.drawing.tables import PAPERS
from tests.book import browser

JUDGED = [dict(zip(("id", "paper", "verdict", "scale", "tells", "chapter"), values, strict=True)) for values in (
    ("a-1", "hooker2019", "holds", "edition", "", "roar"), ("a-2", "hooker2019", "not tested here", "no", "", "roar"),
    ("a-3", CONTROLS, "mixed", "quick", "", "roar"), ("b-1", "hooker2019", "mixed", "quick", "", "lens"))]
LINKED = [claim for claim in verdicts.load() if linking.shown(claim)]
built = pytest.mark.skipif(bool(browser.no_book()), reason=str(browser.no_book()))


@pytest.fixture
def chapter():
    """A notebook with a title, and a figure of that name."""
    figure = {"mystnb": {"figure": {"name": "fig-bars", "caption": "Bars.\n"}}}
    return nbformat.v4.new_notebook(cells=[nbformat.v4.new_markdown_cell("# Bars\n\nWhat was found."),
                                           nbformat.v4.new_code_cell("bars()", metadata=figure)])


def test_a_caption_ends_with_the_claims_that_the_figure_shows(chapter):
    linking.link(chapter, "roar", JUDGED, {"fig-bars": ["a-2", "b-1", "gone-1"]})
    caption = BeautifulSoup(chapter.cells[1].metadata["mystnb"]["figure"]["caption"], "html.parser")
    assert caption.text == "Bars. Claims: – a-2, ◐ b-1."
    assert [link["href"] for link in caption.select("a")] == ["claims.html#a-2", "claims.html#b-1"]
    assert [mark["aria-label"] for mark in caption.select("[role=img]")] == ["not tested here", "mixed"]


def test_a_chapter_counts_its_claims_under_its_title(chapter):
    linking.link(chapter, "roar", JUDGED, {})
    title, counts, rest = chapter.cells[0].source.split("\n\n")
    line = BeautifulSoup(counts, "html.parser")
    assert (title, rest) == ("# Bars", "What was found.")
    assert line.text == "Claims tested here: ✓ 1 holds · – 1 not tested here · 1 control"
    assert [link["href"] for link in line.select("a")] == [
        "claims.html?chapter=roar&verdict=holds", "claims.html?chapter=roar&verdict=not+tested+here",
        f"claims.html?chapter=roar&paper={CONTROLS}"]
    linking.link(chapter, "status", JUDGED, {})
    assert chapter.cells[0].source.count("Claims tested here") == 1
    linking.link(chapter, "lens", [{**JUDGED[3], "paper": "ours"}], {})
    assert "Predictions tested here: " in chapter.cells[0].source


def test_a_figure_that_there_is_not_is_refused_before_anything_runs(monkeypatch):
    claims = [{"id": "a-1", "shown": ["fig-bars", "fig-gone"]}, {"id": "a-2"}]
    with pytest.raises(ValueError, match="The claim a-1 is said to be shown in fig-gone, which is the name of no fig"):
        linking.check(claims, ["fig-bars"])
    monkeypatch.setattr(verdicts, "load", lambda: claims)
    with pytest.raises(ValueError, match="a-1 is said to be shown in fig-bars, fig-gone"):
        verdicts.by_figure()


def test_two_figures_of_one_name_are_refused(chapter, tmp_path, monkeypatch):
    monkeypatch.setattr(folders, "NOTEBOOKS", tmp_path)
    nbformat.write(chapter, tmp_path / "bars.ipynb")
    assert linking.figure_pages() == {"fig-bars": "bars"}
    nbformat.write(chapter, tmp_path / "lines.ipynb")
    with pytest.raises(ValueError, match="Two figures have the name fig-bars, in bars and lines"):
        linking.figure_pages()


def test_verdicts_are_taken_from_the_notebook_on_claims(chapter):
    with pytest.raises(ValueError, match="shows no table of verdicts"):
        linking.take_verdicts(chapter)
    data = {"text/html": "<table>", VERDICTS: {"claims": JUDGED}}
    chapter.cells[1].outputs = [nbformat.v4.new_output("execute_result", data, execution_count=1)]
    assert linking.take_verdicts(chapter) == JUDGED
    assert list(chapter.cells[1].outputs[0].data) == ["text/html"]     # no browser shows the rest


@pytest.mark.parametrize("paper", PAPERS)
def test_every_claim_of_a_paper_that_is_tested_says_which_figure_shows_it(paper):
    claims = [claim for claim in verdicts.load() if claim["paper"] == paper and "untested" not in claim]
    assert claims and [claim["id"] for claim in claims if not linking.shown(claim)] == []


def parsed(page: str) -> BeautifulSoup:
    return BeautifulSoup((BOOK_HTML / f"{page}.html").read_text(encoding="utf-8"), "html.parser")


@built
def test_in_the_built_book_every_such_claim_leads_to_its_figure_and_back():
    claims, pages = parsed("notebooks/claims"), {}
    for claim in LINKED:
        links = [link["href"] for link in claims.select_one(f"tr[id='{claim['id']}']").select("a[href*='#fig-']")]
        assert [link.partition("#")[2] for link in links] == linking.shown(claim)
        for address in links:
            name, _, figure = address.partition("#")
            pages.setdefault(name, parsed(f"notebooks/{name.removesuffix('.html')}"))
            back = pages[name].select_one(f"figure[id='{figure}'] figcaption a[href='claims.html#{claim['id']}']")
            assert back is not None, (claim["id"], address)


@built
def test_in_the_built_book_every_chapter_counts_its_claims():
    shown = parsed("notebooks/claims").select("table.ledger tbody tr")
    chapters = {row["data-chapter"] for row in shown} & {page.removeprefix("notebooks/") for page in browser.pages()}
    assert len(chapters) > 5
    for chapter in chapters:
        counts = parsed(f"notebooks/{chapter}").select_one("article .verdicts")
        written = sum(int(link.text.split()[0 if "control" in link.text else 1]) for link in counts.select("a"))
        assert written == sum(row["data-chapter"] == chapter for row in shown)
