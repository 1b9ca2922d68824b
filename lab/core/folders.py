"""Paths of the repository, the store, the cache and the data."""

import os
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
NOTEBOOKS = ROOT / "notebooks"
PARAMETERS = NOTEBOOKS / "params"
CLAIMS = ROOT / "claims"
RESULTS = ROOT / "results"
BUILD = ROOT / "build"
EXECUTED = BUILD / "executed"               # notebooks as papermill left them
STAGE = BUILD / "stage"                     # the source tree of the book, made of them
BOOK_HTML = BUILD / "book" / "_build" / "html"


def require_checkout() -> None:
    """ValueError where the package was installed without the book."""
    if not NOTEBOOKS.is_dir():
        raise ValueError("The package is installed without the book: notebooks, claims and results come with a clone "
                         "of its repository. Clone it, and install it there with pip install -e .")


def data_roots(root: str | Path | None = None) -> list[Path]:
    """Folders in which data sets and weights are looked for first: `root`, else FRAGILITY_DATA."""
    folder = root or os.environ.get("FRAGILITY_DATA")
    return [_absolute(folder)] if folder else []


def cache() -> Path:
    """The user's cache folder for downloads and, by default, the store."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "fragility"


def store() -> Path:
    """Root of the store: FRAGILITY_STORE, else a folder in the user's cache; never the checkout."""
    return _absolute(os.environ.get("FRAGILITY_STORE") or cache() / "store")


def make_absolute() -> None:
    """Make the paths in FRAGILITY_STORE and FRAGILITY_DATA absolute, for processes that start in another folder."""
    for name in ("FRAGILITY_STORE", "FRAGILITY_DATA"):
        if os.environ.get(name):
            os.environ[name] = str(_absolute(os.environ[name]))


def _absolute(folder: str | Path) -> Path:
    return Path(folder).expanduser().absolute()


def fresh_store() -> Path:
    """A new, empty, temporary store."""
    return Path(tempfile.mkdtemp(prefix="fragility-store-"))
