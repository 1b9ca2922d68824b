"""What goes with the book: one address, metadata that agree, a site map, previews, the archive."""

import json
import re
import subprocess
import xml.etree.ElementTree as xml
import zipfile
from urllib.parse import urlparse

import pytest
from PIL import Image

from fragility import __version__
from lab import archive, front, publishing
from lab.chapters.scoreboard import scoreboard
from lab.core import folders, results

TEXTS = (".md", ".py", ".yml", ".yaml", ".cff", ".toml", ".json", ".ipynb")
PAGE = "<html><head><title>{title}</title></head><body></body></html>"


def test_the_repository_has_one_address():
    """That of _config.yml: wherever a text names an address of GitHub with this repository's name, it is this one."""
    tracked = subprocess.run(["git", "ls-files"], cwd=folders.ROOT, capture_output=True, text=True, check=True).stdout
    found = set()
    for name in tracked.splitlines():
        if (folders.ROOT / name).is_file() and name.endswith(TEXTS):
            text = (folders.ROOT / name).read_text(encoding="utf-8")
            found |= set(re.findall(r"https://github\.com/[\w-]+/fragility\b", text))
    assert found == {publishing.repository()}


def test_the_committed_metadata_are_those_of_the_project():
    committed = json.loads((folders.ROOT / publishing.CODEMETA).read_text())
    assert committed == publishing.codemeta(), "run python -m lab.publishing"
    assert committed["version"] == __version__ and urlparse(committed["url"]).hostname.endswith(".github.io")


@pytest.fixture
def book(tmp_path):
    for name in (publishing.front_page(), "notebooks/a.html", "index.html", "search.html", "notebooks/audits/b.html"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(PAGE.format(title="Maps &amp; more"))
    publishing.finish(tmp_path)
    return tmp_path


def test_pages_have_previews_and_the_front_page_says_what_it_is(book):
    front, other = ((book / name).read_text() for name in (publishing.front_page(), "notebooks/a.html"))
    assert all('<meta property="og:title" content="Maps &amp; more">' in page for page in (front, other))
    entry = json.loads(re.search(r'<script type="application/ld\+json">(.*?)</script>', front)[1])
    assert entry["@context"] == "https://schema.org" and entry["url"] == publishing.site()
    assert "ld+json" not in other and "og:" not in (book / "search.html").read_text()


def test_the_picture_of_the_readme_is_of_the_published_records():
    """`python -m lab.publishing` draws it anew."""
    file = folders.ROOT / "book" / publishing.PREVIEW
    assert f"](book/{publishing.PREVIEW})" in (folders.ROOT / "README.md").read_text()
    with Image.open(file) as picture:
        assert picture.text[front.SOURCE] == results.digest(scoreboard.EXPERIMENT)


def test_the_site_map_has_the_pages_that_there_are(book):
    places = [place.text for place in xml.parse(book / "sitemap.xml").iter() if place.tag.endswith("loc")]
    assert places == [publishing.site() + name for name in (publishing.front_page(), "notebooks/a.html")]
    assert publishing.site() in (book / "404.html").read_text() and (book / "CITATION.cff").is_file()


@pytest.fixture(scope="module")
def crate(tmp_path_factory):
    file = archive.write(tmp_path_factory.mktemp("archive") / "a.zip")
    return file.read_bytes(), zipfile.ZipFile(file)


def test_the_archive_describes_every_file_it_holds_and_no_other(crate):
    """By the rules of RO-Crate 1.1 that can be checked without a network."""
    graph = {one["@id"]: one for one in json.loads(crate[1].read(archive.METADATA))["@graph"]}
    described = {name for name, one in graph.items() if one["@type"] == "File"}
    assert described == set(crate[1].namelist()) - {archive.METADATA}
    assert graph[archive.METADATA]["about"] == {"@id": "./"} and graph["./"]["@type"] == "Dataset"
    assert {"name", "description", "datePublished", "license"} <= graph["./"].keys()
    linked = {part["@id"] for one in graph.values() for part in one.get("hasPart", [])}
    assert described <= linked and linked <= graph.keys() and graph["./"]["license"]["@id"] in graph
    assert all(int(graph[name]["contentSize"]) == crate[1].getinfo(name).file_size for name in described)
    assert {f"results/{file.name}" for file in folders.RESULTS.glob("*.json*")} <= described


def test_the_archive_has_the_same_bytes_again(crate, tmp_path):
    assert archive.write(tmp_path / "a.zip").read_bytes() == crate[0]


def test_results_stay_small():
    files = [file for file in folders.RESULTS.rglob("*") if file.is_file()]
    assert sum(file.stat().st_size for file in files) < 40e6
    assert [file.name for file in folders.RESULTS.glob("*.json") if file.stat().st_size > results._LARGE] == []


def test_signatures_and_bibliography_are_lists_that_can_be_read_aloud():
    long = '<dl><dt class="sig sig-object py" id="a">f(<dl>\n<dd>x,</dd>\n</dl>)</dt>\n<dd>It does.</dd></dl>'
    lines = '<span class="sig-lines">\n<span class="sig-line">x,</span>\n</span>'
    assert publishing.readable_aloud(long) == long.replace("<dl>\n<dd>x,</dd>\n</dl>", lines)
    assert publishing.readable_aloud('<div role="doc-biblioentry">') == '<div role="listitem">'
