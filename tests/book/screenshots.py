"""Save a picture of every page of the built book: python -m tests.screenshots FOLDER."""

import argparse
from pathlib import Path

from tests.book import browser


def main() -> None:
    """Write one full-page PNG for each page, width and theme."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="where the pictures go; made if missing")
    parser.add_argument("--only", default="", help="pages whose name contains this")
    options = parser.parse_args()
    if reason := browser.no_book() or browser.no_browser():
        raise SystemExit(reason)
    options.folder.mkdir(parents=True, exist_ok=True)
    pages = [page for page in browser.pages() if options.only in page]
    with browser.opened() as show:
        for page in pages:
            for width, theme in browser.VIEWS:
                path = options.folder / f"{page.replace('/', '-')}-{width}-{theme}.png"
                show(page, (width, theme)).screenshot(path=path, full_page=True)
                print(path)


if __name__ == "__main__":
    main()
