"""The built book as one PDF: its pages joined into one, with links that lead within it, and printed by Chromium."""

import os
import posixpath
import shutil
import subprocess
import tempfile
from pathlib import Path
from urllib.parse import urlsplit

import yaml
from bs4 import BeautifulSoup, Tag

from lab.core import folders

PROGRAMS = ("chromium", "chromium-browser", "google-chrome")
TARGET = folders.BUILD / "book.pdf"
STYLE = """
@page { size: A4; margin: 16mm 15mm 18mm; @bottom-center { content: counter(page); font: 9pt sans-serif; } }
html { font-size: 9.5pt; line-height: 1.35; }
body > main { display: block; }
.printed { break-before: page; }
.bd-article { padding: 0; }
.bd-article :is(figure, div, pre, .math, table) { overflow: visible !important; max-width: 100% !important; }
.bd-article pre { white-space: pre-wrap; overflow-wrap: anywhere; }
.bd-article :is(figure, img, tr, .admonition) { break-inside: avoid; }
.bd-article img { max-width: 100% !important; max-height: 235mm; width: auto; height: auto; object-fit: contain; }
.bd-article :is(h1, h2, h3, h4) { break-after: avoid; }
.bd-article div.cell_output table :is(td, th) { white-space: normal !important; overflow-wrap: break-word; }
.bd-article table { font-size: 7.5pt; width: auto; }
.bd-article table :is(td, th) { padding: 1.5pt 3pt !important; }
.bd-article table:has(th:nth-child(9)) { font-size: 6.3pt; }
.bd-article table.ledger tr { break-inside: auto; }
.bd-article table.ledger td.verdict { white-space: nowrap !important; }
.bd-article table.ledger td.evidence { width: 50%; }
.bd-article div.cell { width: 100% !important; }
.bd-article figcaption { position: static !important; }
.drag-grid img { width: 100% !important; }
.headerlink, .copybtn, .claim-filter, .drag-control, iframe { display: none !important; }
"""


def make() -> Path:
    """Print the built book into `build/book.pdf`. ValueError where there is no book, or no Chromium to print it."""
    program = next(filter(None, map(shutil.which, PROGRAMS)), None)
    if program is None:
        raise ValueError(f"A PDF needs Chromium: none of {', '.join(PROGRAMS)} is on the PATH. Install one.")
    if not (folders.BOOK_HTML / "index.html").is_file():
        raise ValueError("There is no built book to print: run make book first.")
    joined, working = folders.BOOK_HTML / "_print.html", TARGET.with_suffix(".writing.pdf")
    joined.write_text(join(folders.BOOK_HTML))
    try:
        with tempfile.TemporaryDirectory() as profile:      # or a browser that is open already would be asked
            subprocess.run([program, "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={profile}",
                            "--host-resolver-rules=MAP * ~NOTFOUND", "--no-pdf-header-footer",
                            "--generate-pdf-document-outline", "--virtual-time-budget=300000",
                            f"--print-to-pdf={working}", joined.as_uri()], check=True, capture_output=True)
    finally:
        joined.unlink()
    if not working.is_file():
        raise ValueError(f"{program} wrote no PDF.")
    os.replace(working, TARGET)
    return TARGET


def join(built: Path) -> str:
    """One HTML page of all pages in the table of contents, to lie at the top of the built book."""
    pages = _pages(yaml.safe_load((folders.ROOT / "_toc.yml").read_text()))
    parsed = {page: BeautifulSoup((built / f"{page}.html").read_text(), "html.parser") for page in pages}
    whole = parsed[pages[0]]
    articles = {page: document.select_one("article.bd-article").extract() for page, document in parsed.items()}
    for page, article in articles.items():
        _relocate(article, page, pages)
    for script in whole.select("script"):
        if "mathjax" not in str(script).lower():
            script.decompose()
    for tag in whole.head.select("[href], [src]"):
        name = "href" if "href" in tag.attrs else "src"
        tag[name] = _from_top(pages[0], urlsplit(tag[name]).path)
    whole.html["data-theme"] = whole.html["data-mode"] = "light"
    whole.head.append(_element(whole, "style", STYLE))
    whole.body.clear()
    main = _element(whole, "main", "")
    whole.body.append(main)
    for place, (page, article) in enumerate(articles.items()):
        section = _element(whole, "div", "", id=_anchor(page), **({"class": "printed"} if place else {}))
        section.append(article)
        main.append(section)
        if place == 0:
            article.append(_contents(whole, articles))
    return str(whole)


def _pages(entry) -> list[str]:
    """The pages of a table of contents, or of a part of one."""
    if isinstance(entry, list):
        return [page for part in entry for page in _pages(part)]
    own = [entry[name] for name in ("root", "file") if name in entry]
    return own + [page for value in entry.values() if isinstance(value, list) for page in _pages(value)]


def _anchor(page: str, fragment: str = "") -> str:
    """The name of a page, or of a place on it, in the joined one."""
    return f"{page.replace('/', '-')}{f'--{fragment}' if fragment else ''}"


def _relocate(article: Tag, page: str, pages: list[str]) -> None:
    """Make an article fit to stand among others: names of its places, links, addresses of pictures, folded parts."""
    for tag in article.select("[id]"):
        tag["id"] = _anchor(page, tag["id"])
    for tag in article.select("[src]"):
        if not urlsplit(tag["src"]).scheme:
            tag["src"] = _from_top(page, tag["src"])
    for tag in article.select("[loading]"):
        del tag["loading"]
    for tag in article.select("details"):
        tag["open"] = ""
    for link in article.select("a[href]"):
        parts = urlsplit(link["href"])
        target = _from_top(page, parts.path).removesuffix(".html") if parts.path else page
        if not parts.scheme and target in pages:
            link["href"] = f"#{_anchor(target, parts.fragment)}"
        elif not parts.scheme:
            link.unwrap()       # a file beside the page, which the PDF does not bring


def _from_top(page: str, path: str) -> str:
    return posixpath.normpath(posixpath.join(posixpath.dirname(page), path))


def _contents(whole: BeautifulSoup, articles: dict[str, Tag]) -> Tag:
    """The pages as a list of links."""
    items = "".join(f'<li><a href="#{_anchor(page)}">{article.h1.text.strip().rstrip("#")}</a></li>'
                    for page, article in articles.items())
    return BeautifulSoup(f'<section><h2>Contents</h2><ol class="contents">{items}</ol></section>', "html.parser")


def _element(whole: BeautifulSoup, name: str, text: str, **attributes) -> Tag:
    element = whole.new_tag(name, attrs=attributes)
    element.string = text
    return element
