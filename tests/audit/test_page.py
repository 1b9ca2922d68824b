"""The page of an audit: what it says, that names are text in it, that it asks for nothing, and how it is read."""

import io
import math
import re
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from bs4 import BeautifulSoup
from PIL import Image
from torch import nn

from fragility import audit
from fragility.audit import drawing, png, words
from fragility.audit.verdicts import Result, judge
from fragility.audit.worst import worst
from tests.book.browser import PATIENCE, PROGRAMS, SWITCHES, no_browser

HOSTILE = '<script>alert(1)</script>"\'><img src=x onerror=alert(2)>'
LIMIT = 3_000_000
N = 8


def hostile_map(model, x, target=None):
    """The image itself, under the name that the tests give it."""
    return x


@pytest.fixture(scope="module")
def report():
    """An audit of a small network of random weights whose model, method, images and classes have hostile names."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = nn.Sequential(nn.Conv2d(3, 6, 5), nn.ReLU(), nn.Flatten(), nn.Linear(6 * 64, 4)).eval()
    images = torch.rand(N, 3, 12, 12, generator=torch.Generator().manual_seed(1))
    made = audit.run(model, images, methods={"gradient": "gradient", "integrated_gradients": "integrated_gradients",
                                             HOSTILE: hostile_map},
                     criteria=["noise", "attack", "shift", "removal", "deletion", "parameters", "completeness", "cost"],
                     names=[f"{place} {HOSTILE}" for place in range(N)],
                     class_names=[HOSTILE + name for name in "abcd"], name=HOSTILE, steps=2, attacked=4,
                     progress=False)
    made.settings["command"] = f"python -m fragility audit '{HOSTILE}'"
    made.notices.append(f"A notice of {HOSTILE}.")
    made.compared += [{"method": HOSTILE, "criterion": "noise", "before": 0.5, "now": 0.1, "verdict_before": "pass",
                       "verdict": "fail", "change": "dropped"},
                      {"method": "gradient", "criterion": "noise", "before": 0.5, "now": 0.5, "verdict_before": "pass",
                       "verdict": "pass", "change": "same"}]
    made.methods["occlusion"] = {"control": False, "seconds": 0.0, "megabytes": None, "refused": f"Why: {HOSTILE}"}
    return made


@pytest.fixture(scope="module")
def page(report):
    return BeautifulSoup(report.to_html(), "html.parser")


def large(methods: int, n: int = 64, side: int = 96) -> audit.Report:
    """A report of n images with pictures that no compression makes smaller, every method with all kinds of them."""
    random = np.random.default_rng(0)
    names = [f"method_{place}" for place in range(methods)]
    chosen = [audit.CRITERIA[name] for name in ("noise", "attack", "removal", "deletion", "parameters", "class")]
    details = {"noise": {"curve": (n, 3), "rank": (n,), "near": (n,)}, "removal": {"most": (n, 5), "least": (n, 5)},
               "deletion": {"most": (n, 5), "least": (n, 5)}, "parameters": {"cascade": (n, 4)},
               "attack": {"found": (n,), "moved": (n,), "noise": (n,)}, "class": {}}
    results = {(name, each.name): Result(
        name, each.name, np.arange(n), random.random(n), {"another image": random.random(n) / 4},
        {key: random.random(shape) for key, shape in details[each.name].items()}, np.zeros(n, bool))
        for name in names for each in chosen}
    kept = {"images": random.integers(0, 256, (32, 3, side, side), np.uint8)}
    kept |= {(name, kind): random.integers(0, 256, (32, side, side), np.uint8)
             for name in names for kind in ("clean", "noise", "attack")}
    return audit.Report(
        {"model": "m", "classes": 1000, "parameters": None, "fingerprint": "f", "n": n, "available": n,
         "shape": [3, 224, 224], "accuracy": 0.5, "images": [f"{place}.png" for place in range(n)],
         "target": [0] * n, "class_names": None},
        {**audit.Settings().written(), "top pixels": 1004, "window": 8, "device": "cpu",
         "made": "2026-01-02T03:04:05+00:00"},
        chosen, {each.name: each.margin for each in chosen},
        {name: {"control": False, "seconds": 0.01, "megabytes": 1.0, "refused": None} for name in names}, results,
        [judge(each, results[name, each.name], family=methods) for each in chosen for name in names], pictures=kept)


# What it says.

def test_the_grid_says_every_verdict_and_leads_to_its_reason(report, page):
    order = [each.name for each in report.criteria]
    grid = page.find("table", class_="grid")
    assert [th.a.text for th in grid.thead.find_all("th")[1:]] == order
    seen = {}
    for row in grid.find_all("tr"):
        head = row.find("th", scope="row")
        for criterion, cell in zip(order, row.find_all("td")):
            seen[head.text, criterion] = cell
    assert set(seen) == {(one.method, one.criterion) for one in report.verdicts}
    for one in report.verdicts:
        link = seen[one.method, one.criterion].a
        assert link.text.split(None, 1)[1] == one.verdict
        reason = page.find(id=link["href"].removeprefix("#"))
        assert reason.th.text == one.method and reason.find(class_="why").text == one.reason


def test_numbers_of_images_stand_once_a_criterion_where_they_are_the_same(report, page):
    heads = [th.text for th in page.find("table", class_="grid").thead.find_all("th")]
    assert f"noisen\N{NO-BREAK SPACE}=\N{NO-BREAK SPACE}{N}" in heads
    assert any(re.search(r"n\s=\s\d", td.text) is None for td in page.find("table", class_="grid").find_all("td"))


def test_the_answer_comes_first_then_the_verdicts_and_the_rest_in_order(page):
    assert page.h1.text.startswith("Can the maps of") and page.h1.find_next("h2").text == "The answer"
    parts = [one["id"] for one in page.find_all("h2")]
    assert parts == ["answer", "notices", "verdicts", "pictures", "noise", "removal", "cascade", "cost", "agreement",
                     "baseline", "refused", "thresholds", "evidence", "settings"]
    assert [one["href"] for one in page.nav.find_all("a")] == [f"#{one}" for one in parts[2:]]


def test_what_has_nothing_to_show_is_left_out(report):
    few = ("shift", "cost")
    bare = replace(report, criteria=[each for each in report.criteria if each.name in few], pictures={}, compared=[],
                   notices=[], margins={"shift": report.margins["shift"]},
                   results={key: one for key, one in report.results.items() if key[1] in few},
                   verdicts=[one for one in report.verdicts if one.criterion in few],
                   settings={name: one for name, one in report.settings.items() if name != "command"})
    parts = [one["id"] for one in BeautifulSoup(bare.to_html(), "html.parser").find_all("h2")]
    assert parts == ["answer", "verdicts", "agreement", "refused", "thresholds", "evidence", "settings"]


def test_controls_stand_apart_with_the_reason_why_they_are_there(page):
    groups = page.find("table", class_="grid").find_all("tbody")
    assert [th.text for th in groups[1].find_all("th", scope="row")] == ["sobel", "random"]
    assert groups[1].find("th", scope="rowgroup").text.startswith("Controls. They do not look at the network")


def test_worst_are_the_images_with_the_least_overlap_after_the_attack():
    made = large(3)
    scores = np.mean([made.results[name, "attack"].score[:32] for name in made.methods], axis=0)
    found = worst(made)
    assert found.criterion == "attack"
    assert [one.name for one in found.images] == [f"{place}.png" for place in np.argsort(scores)[:5]]
    assert [one.overlap for one in found.images] == pytest.approx(np.sort(scores)[:5])
    first, place = found.images[0], int(np.argmin(scores))
    assert first.methods[1][1][2].overlap == f"{made.results['method_1', 'attack'].score[place]:.2f}"


def test_without_an_attack_the_worst_are_those_under_noise_and_images_without_a_score_are_none():
    made = large(2)
    for name in made.methods:
        made.results[name, "attack"].score[:] = np.nan
        made.results[name, "noise"].score[3] = np.nan
    found = worst(made)
    assert found.criterion == "noise" and "3.png" not in [one.name for one in found.images]
    made.pictures.clear()
    assert worst(made) is None


def test_the_curves_are_the_means_over_images():
    made = large(2)
    from fragility.audit.figures import overlap, removal
    panel = overlap(made)[0].panel
    line = next(one for one in panel.root if one.get("class") == "line own")
    heights = [float(pair.split(",")[1]) for pair in line.get("points").split()]
    expected = made.results["method_0", "noise"].details["curve"].mean(0)
    assert heights == pytest.approx([panel.up(one) for one in expected], abs=0.06)
    assert [one.get("class") for one in removal(made, "removal")[0].panel.root].count("line most") == 1


def test_agreement_counts_verdicts_and_compares_maps(report):
    from fragility.audit.tables import agreement
    made = large(2)
    made.pictures["method_1", "clean"] = made.pictures["method_0", "clean"]
    pair = agreement(made)[1]["method_1", "method_0"]
    verdicts = [{one.verdict for one in made.verdicts if one.criterion == each.name} for each in made.criteria]
    assert pair.of == sum(one <= {"pass", "fail"} for one in verdicts)
    assert pair.same == sum(one in ({"pass"}, {"fail"}) for one in verdicts)
    assert pair.likeness == pytest.approx(1)
    names, pairs = agreement(report)
    assert names == ["gradient", "integrated_gradients", HOSTILE] and len(pairs) == 3


# Names are text, and nothing is asked for.

def test_names_are_text(report, page):
    assert not page.find_all(["script", "iframe", "object", "embed", "link", "form"])
    assert not [tag for tag in page.find_all(True) for name in tag.attrs if name.lower().startswith("on")]
    assert all(image["src"].startswith("data:image/png;base64,") for image in page.find_all("img"))
    text = page.get_text()
    for said in (f"Can the maps of {HOSTILE} be trusted?", f"A notice of {HOSTILE}.", f"Why: {HOSTILE}",
                 f"python -m fragility audit '{HOSTILE}'"):
        assert said in text
    assert any(f"explained as {HOSTILE}" in one.text for one in page.find_all("summary"))
    assert any(HOSTILE in one["alt"] for one in page.find_all("img"))
    assert any(HOSTILE in one.title.text for one in page.find_all("svg"))


def test_addresses_stand_in_links_only(report, page):
    for tag in page.find_all(True):
        for name, value in tag.attrs.items():
            if isinstance(value, str) and re.search(r"https?:|//", value) and not value.startswith("data:image/png"):
                assert (tag.name, name) == ("a", "href"), (tag.name, name, value[:80])
    assert not re.search(r"@import|url\(", page.style.text)
    assert "default-src 'none'" in page.find("meta", attrs={"http-equiv": "Content-Security-Policy"})["content"]


def test_a_name_that_no_encoding_writes_is_written_nevertheless(report, tmp_path):
    odd = replace(report, subject={**report.subject, "images": ["\udcff.png"] * N})
    odd.to_html(tmp_path / "page.html")
    assert "?.png" in (tmp_path / "page.html").read_text(encoding="utf-8")


@pytest.mark.parametrize("methods, shown", [(13, 5), (40, 1)])
def test_sixty_four_images_of_224_pixels_stay_below_three_megabytes(methods, shown):
    """Of so many methods that the pictures of five images would not fit, fewer images are shown."""
    made = large(methods)
    assert len(made.to_html().encode()) < LIMIT and len(worst(made).images) == shown


def test_without_jinja_the_command_that_brings_it_is_named(report, monkeypatch):
    monkeypatch.setitem(sys.modules, "jinja2", None)
    with pytest.raises(ImportError, match=r"pip install 'fragility\[audit\]'"):
        report.to_html()


# Its parts.

def test_pictures_are_png_files_of_the_same_pixels():
    random = np.random.default_rng(0)
    for shape in ((5, 7), (5, 7, 3)):
        pixels = random.integers(0, 256, shape, np.uint8)
        assert (np.asarray(Image.open(io.BytesIO(png.png(pixels)))) == pixels).all()
    palette = random.integers(0, 256, (4, 3), np.uint8)
    places = random.integers(0, 4, (5, 7), np.uint8)
    seen = Image.open(io.BytesIO(png.png(places, palette))).convert("RGB")
    assert (np.asarray(seen) == palette[places]).all()


@pytest.mark.parametrize("value, text", [
    (0.0, "0"), (0.1234, "0.12"), (-0.0196, "−0.020"), (12.34, "12"), (1234.5, "1234"), (1.2e-7, "1.2 × 10⁻⁷"),
    (-2e9, "−2.0 × 10⁹"), (math.inf, "∞"), (-math.inf, "−∞"), (math.nan, "–"), (None, "–")])
def test_numbers(value, text):
    assert words.number(value) == text


def test_times_and_chosen_numbers():
    assert [words.seconds(one).replace("\N{NO-BREAK SPACE}", " ") for one in (0.0, 2e-5, 7.5e-4, 1e-3, 0.25, 1.0, 90)] \
        == ["0 µs", "20 µs", "750 µs", "1 ms", "250 ms", "1 s", "90 s"]
    assert [words.plain(one) for one in (0.5, 8.0, 100.0, 1e-5, -0.05)] == ["0.5", "8", "100", "1 × 10⁻⁵", "−0.05"]
    assert words.fixed(-0.0004, 2) == "0.00"


def test_labels_keep_apart_and_move_no_further_than_they_must():
    apart = drawing._spread([10, 11, 12, 80, 200], 10, 0, 220)
    assert apart == pytest.approx([1, 11, 21, 80, 200])
    crowded = drawing._spread([5] * 10, 10, 0, 95)
    assert crowded == pytest.approx(range(0, 100, 10))


@pytest.mark.parametrize("values", [[0.53, 0.63], [-3.2, -0.1], [1e-4], [0.0], [math.inf, 1.0]])
def test_an_axis_holds_its_values_and_zero_between_round_numbers(values):
    axis = drawing.spanning(values)
    assert all(0 < axis.share(one) < 1 for one in (0.0, *values) if math.isfinite(one))
    assert 2 <= len(axis.ticks) <= 6


# How it is read: in headless Chromium.

CONTRASTS = """() => {
  const channels = text => { const n = text.match(/[\\d.]+/g).map(Number); return n.length < 4 ? [...n, 1] : n; };
  const light = c => { const [r, g, b] = c.map(v => (v /= 255) <= .04045 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4);
    return .2126 * r + .7152 * g + .0722 * b; };
  const found = [];
  for (const one of document.querySelectorAll('body *')) {
    if (![...one.childNodes].some(node => node.nodeType === 3 && node.textContent.trim()) || !one.checkVisibility()
        || one.closest('.hidden, title, desc')) continue;
    let under = one;
    while (under && channels(getComputedStyle(under).backgroundColor)[3] === 0) under = under.parentElement;
    const style = getComputedStyle(one), ink = one.closest('svg') ? style.fill : style.color;
    const [a, b] = [ink, getComputedStyle(under || document.body).backgroundColor].map(
      text => light(channels(text).slice(0, 3)));
    const ratio = (Math.max(a, b) + .05) / (Math.min(a, b) + .05);
    if (ratio < 4.5) found.push(`${ratio.toFixed(2)} ${one.tagName} ${one.textContent.trim().slice(0, 30)}`);
  }
  return found;
}"""
SILENT = """() => [...document.querySelectorAll('img, svg')].filter(one => one.tagName === 'IMG'
  ? !one.alt.trim() : one.getAttribute('role') !== 'img' || !one.querySelector('title')?.textContent.trim()).length"""
JUMPS = """() => { const levels = [...document.querySelectorAll('h1, h2, h3, h4')].map(one => +one.tagName[1]);
  return [levels.filter(one => one === 1).length, levels.filter((one, i) => i && one > levels[i - 1] + 1).length]; }"""
LOOSE = """() => [...document.querySelectorAll('th')].filter(one => !one.scope).length
  + [...document.querySelectorAll('[id]')].filter(one => document.getElementById(one.id) !== one).length
  + [...document.querySelectorAll('a[href^="#"]')].filter(one => !document.getElementById(one.hash.slice(1))).length"""


@pytest.fixture(scope="module")
def browser():
    if no_browser():
        pytest.skip(no_browser())
    import shutil

    from playwright.sync_api import sync_playwright
    with sync_playwright() as playwright:
        program = next(filter(None, map(shutil.which, PROGRAMS)))
        opened = playwright.chromium.launch(executable_path=program, args=SWITCHES)
        yield opened
        opened.close()


@pytest.fixture(scope="module")
def address(report, tmp_path_factory):
    path = tmp_path_factory.mktemp("page") / "report.html"
    report.to_html(path)
    return path.as_uri()


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [1300, 360])
def test_in_a_browser_it_runs_nothing_fits_and_can_be_read(browser, address, width, theme):
    tab = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=theme)
    tab.set_default_timeout(PATIENCE)
    complaints = []
    tab.on("console", lambda message: complaints.append(message.text))
    tab.on("pageerror", lambda error: complaints.append(str(error)))
    tab.on("dialog", lambda dialog: (complaints.append(f"dialog: {dialog.message}"), dialog.dismiss()))
    tab.on("request", lambda request: request.url.startswith(("file:", "data:")) or complaints.append(request.url))
    tab.goto(address, wait_until="load")
    tab.evaluate("for (const one of document.querySelectorAll('details')) one.open = true")
    assert tab.evaluate("document.documentElement.scrollWidth") <= width
    assert tab.evaluate("[...document.images].filter(one => !one.naturalWidth).length") == 0
    assert tab.evaluate(SILENT) == 0
    assert tab.evaluate(JUMPS) == [1, 0]
    assert tab.evaluate(LOOSE) == 0
    assert tab.evaluate(CONTRASTS) == []
    assert tab.evaluate("getComputedStyle(document.body).backgroundColor") == (
        "rgb(255, 255, 255)" if theme == "light" else "rgb(20, 23, 27)")
    assert complaints == []
    tab.close()


def test_on_a_phone_names_of_methods_stay_while_the_grid_moves(browser, address):
    tab = browser.new_page(viewport={"width": 360, "height": 900})
    tab.goto(address)
    table = tab.locator(".scroll:has(.grid)")
    assert tab.locator(".cue").first.is_visible() and table.evaluate("one => one.scrollWidth > one.clientWidth")
    name = tab.locator(".grid tbody th[scope=row]").first
    before = name.bounding_box()["x"]
    table.evaluate("one => one.scrollLeft = 200")
    assert name.bounding_box()["x"] == before and table.evaluate("one => one.scrollLeft") == 200
    tab.close()


def test_a_verdict_leads_to_its_reason_though_it_is_folded_away(browser, address):
    tab = browser.new_page(viewport={"width": 1300, "height": 900})
    tab.goto(address)
    link = tab.locator(".grid td a").nth(5)
    reason = tab.locator(link.get_attribute("href"))
    assert not reason.is_visible()
    link.click()
    assert reason.is_visible() and 0 <= reason.bounding_box()["y"] < 900
    tab.close()


def test_in_a_notebook_its_links_stay_inside(browser, report, tmp_path):
    (tmp_path / "notebook.html").write_text(f"<!doctype html><title>notebook</title>{report._repr_html_()}")
    tab = browser.new_page(viewport={"width": 1300, "height": 900})
    tab.goto((tmp_path / "notebook.html").as_uri())
    frame = tab.frames[1]
    link = frame.locator(".grid td a").nth(5)
    link.click()
    assert frame.locator(link.get_attribute("href")).is_visible()
    assert [one.url.partition("#")[0] for one in tab.frames] == [tab.url, "about:srcdoc"]
    tab.close()
