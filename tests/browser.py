"""The built book, served on a local port and opened in headless Chromium."""

import functools
import http.server
import importlib.util
import shutil
import threading
from contextlib import contextmanager
from pathlib import Path

import yaml

from fragility.paths import BOOK_HTML

WIDTHS = {"desktop": 1300, "phone": 390}
THEMES = ("light", "dark")
HEIGHT = 900
PROGRAMS = ("chromium", "chromium-browser", "google-chrome")
SWITCHES = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
            "--disable-background-networking", "--disable-component-update"]


def program() -> str | None:
    """The path of an installed Chromium."""
    return next(filter(None, map(shutil.which, PROGRAMS)), None)


def missing() -> str | None:
    """Why the book cannot be looked at here, or None if it can."""
    if not (BOOK_HTML / "index.html").is_file():
        return f"there is no built book at {BOOK_HTML}; build it with: python -m fragility book"
    if importlib.util.find_spec("playwright") is None:
        return "the Python package playwright is not installed"
    if program() is None:
        return f"none of these browsers is on the PATH: {', '.join(PROGRAMS)}"
    return None


def pages() -> list[str]:
    """The names of the pages in the order of _toc.yml, such as book/intro."""
    def names(entry):
        if isinstance(entry, dict):
            yield from (entry[key] for key in ("root", "file") if key in entry)
            for value in entry.values():
                yield from names(value)
        elif isinstance(entry, list):
            for part in entry:
                yield from names(part)

    return list(names(yaml.safe_load((toc_folder() / "_toc.yml").read_text(encoding="utf-8"))))


def toc_folder() -> Path:
    """The repository's root."""
    return Path(__file__).resolve().parent.parent


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


@contextmanager
def served(folder: Path = BOOK_HTML):
    """Serve a folder on a free local port; gives its address without a closing slash."""
    handler = functools.partial(_Quiet, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()


@contextmanager
def views(address: str):
    """Start one browser; gives a function from (width, theme) to a tab that can reach `address` alone."""
    from playwright.sync_api import sync_playwright

    def tab(width: int, theme: str):
        context = browser.new_context(viewport={"width": width, "height": HEIGHT}, color_scheme=theme)
        context.route(lambda url: not url.startswith(address), lambda route: route.fulfill(status=200, body=""))
        return context.new_page()

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program(), args=SWITCHES)
        try:
            yield tab
        finally:
            browser.close()


def show(tab, address: str, page: str) -> None:
    """Open a page and wait until its formulas are set and its images are loaded."""
    tab.goto(f"{address}/{page}.html", wait_until="load")
    tab.evaluate("() => window.MathJax?.startup?.promise")
    tab.evaluate("() => Promise.allSettled([...document.images].map(image => image.decode()))")
