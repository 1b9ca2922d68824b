"""The built book, served on a free local port and opened in headless Chromium without a network."""

import functools
import http.server
import importlib.util
import shutil
import threading
from contextlib import contextmanager

import yaml

from lab.core.folders import BOOK_HTML, ROOT
from lab.pdf import PROGRAMS

TOC = ROOT / "_toc.yml"
VIEWS = [(width, theme) for width in (1300, 390) for theme in ("light", "dark")]
HEIGHT = 900
PATIENCE = 20_000  # milliseconds for one step in the browser

SWITCHES = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
            "--disable-background-networking", "--disable-component-update",
            "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"]

# Formulas are set and images decoded only after the page's own load event.
SETTLED = """async () => {
    await window.MathJax?.startup?.promise;
    await Promise.allSettled([...document.images].map(image => image.decode()));
}"""


def pages() -> list[str]:
    """The pages in the order of _toc.yml, by name, such as book/intro; none while there is no _toc.yml."""
    def names(entry):
        for key, value in entry.items():
            if key in ("root", "file"):
                yield value
            elif isinstance(value, list):
                for part in value:
                    yield from names(part)

    if not TOC.is_file():
        return []
    return list(names(yaml.safe_load(TOC.read_text(encoding="utf-8"))))


def no_book() -> str | None:
    """Why there is no book to look at, or None if there is one."""
    if not (BOOK_HTML / "index.html").is_file():
        return f"no built book at {BOOK_HTML}: run python -m fragility book"
    return None


def no_browser() -> str | None:
    """Why the book cannot be opened in a browser here, or None if it can."""
    if importlib.util.find_spec("playwright") is None:
        return "no playwright: run pip install playwright (its own browsers are not needed)"
    if not any(map(shutil.which, PROGRAMS)):
        return f"no Chromium: none of {', '.join(PROGRAMS)} is on the PATH"
    return None


class Files(http.server.SimpleHTTPRequestHandler):
    """Files of the built book, silently, over connections that stay open."""

    protocol_version = "HTTP/1.1"

    def do_GET(self):
        """Answer with the file, or with nothing where a browser asks for a site's icon by itself."""
        if self.path == "/favicon.ico":
            self.send_response(204)
            self.end_headers()
        else:
            super().do_GET()

    def log_message(self, *_):
        """Say nothing."""


class Server(http.server.ThreadingHTTPServer):
    """A server that does not mind a browser closing a connection."""

    def handle_error(self, *_):
        """Say nothing: a file that did not arrive shows up in the browser."""


@contextmanager
def opened():
    """Serve the book and start one browser.

    Gives the function show(page, view): a tab that has opened the page and settled. Tabs are kept, one for
    each view; `tab.complaints` lists what went wrong in it since show was called.
    """
    from playwright.sync_api import sync_playwright

    @functools.cache
    def tab_of(view):
        width, theme = view
        tab = browser.new_page(viewport={"width": width, "height": HEIGHT}, color_scheme=theme)
        tab.set_default_timeout(PATIENCE)
        tab.complaints = []
        say = tab.complaints.append
        tab.on("console", lambda message: message.type == "error" and say(f"console: {message.text}"))
        tab.on("pageerror", lambda error: say(f"script: {error}"))
        tab.on("requestfailed", lambda request: say(f"failed: {request.url}"))
        tab.on("response", lambda answer: answer.status >= 400 and say(f"{answer.status}: {answer.url}"))
        tab.on("request", lambda request: request.url.startswith((address, "data:", "blob:"))
               or say(f"asks another host: {request.url}"))
        return tab

    def show(page: str, view):
        tab = tab_of(view)
        tab.complaints.clear()
        name, _, query = page.partition("?")
        tab.goto(f"{address}/{name}.html?{query}", wait_until="load")
        tab.evaluate(SETTLED)
        return tab

    program = next(filter(None, map(shutil.which, PROGRAMS)))
    files = functools.partial(Files, directory=str(BOOK_HTML))
    with Server(("127.0.0.1", 0), files) as server, sync_playwright() as playwright:
        address = f"http://127.0.0.1:{server.server_port}"
        threading.Thread(target=server.serve_forever, daemon=True).start()
        browser = playwright.chromium.launch(executable_path=program, args=SWITCHES)
        try:
            yield show
        finally:
            browser.close()
            server.shutdown()
