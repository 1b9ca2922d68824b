"""Run the notebooks, stage them beside the prose, and build the book."""

import base64
import html
import io
import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import date
from importlib.metadata import version
from pathlib import Path

import nbformat
import pandas as pd
import yaml

from fragility import __version__, checks
from lab import front, linking, publishing, verdicts
from lab.chapters.scoreboard import reports as boards
from lab.core import figure_data, folders, numbers, profiles
from lab.core.surroundings import surroundings

NUMBERS = Path("notebooks") / "numbers"     # of each chapter, beside the pages
DATA = Path("notebooks") / "data"           # of the figures
AUDITS = Path("notebooks") / "audits"       # reports that notebooks show, as pages of their own


def notebooks() -> list[str]:
    """Names of the notebooks in the table of contents, in its order."""
    toc = yaml.safe_load((folders.ROOT / "_toc.yml").read_text())
    return [Path(page).name for page in _pages(toc) if page.startswith("notebooks/")]


def _pages(node) -> Iterator[str]:
    if isinstance(node, list):
        for item in node:
            yield from _pages(item)
    elif isinstance(node, dict):
        for name, value in node.items():
            if name in ("root", "file"):
                yield value
            else:
                yield from _pages(value)


def make(profile: str = "quick", only: str | None = None) -> Path:
    """Run the notebooks at a profile, build the HTML and return its first page.

    The quick profile never looks at FRAGILITY_DATA, and takes a fresh temporary store unless
    FRAGILITY_STORE names one.
    """
    names = notebooks()
    checks.choice("Profile", profile, profiles.PROFILES)
    verdicts.by_figure()        # mistakes show before hours of work
    chosen = [checks.choice("Notebook", only, names)] if only else names
    changes = {name: profiles.overrides(name, profile) for name in chosen}
    temporary = profile == "quick" and "FRAGILITY_STORE" not in os.environ
    if temporary:
        os.environ["FRAGILITY_STORE"] = str(folders.fresh_store())
    if profile == "quick":
        os.environ.pop("FRAGILITY_DATA", None)
    folders.make_absolute()     # notebooks run in a folder of their own
    try:
        for position, name in enumerate(chosen, 1):
            print(f"[{position}/{len(chosen)}] {name}", flush=True)
            run(name, changes[name])
        stage()
        build()
    finally:
        if temporary:
            shutil.rmtree(os.environ.pop("FRAGILITY_STORE"), ignore_errors=True)
    return folders.BOOK_HTML / "index.html"


def run(name: str, changes: dict) -> float:
    """Execute a notebook into `build/executed`; returns the seconds it took.

    Papermill leaves a partial notebook behind when it is killed: it writes to a working name, which is
    renamed when the run is complete.
    """
    import papermill

    start = time.perf_counter()
    target = folders.EXECUTED / f"{name}.ipynb"
    target.parent.mkdir(parents=True, exist_ok=True)
    working = target.with_suffix(".running.ipynb")
    papermill.execute_notebook(folders.NOTEBOOKS / f"{name}.ipynb", working, parameters=changes, kernel_name="python3",
                               cwd=folders.NOTEBOOKS, progress_bar={"desc": name, "leave": False}, log_output=False)
    notebook = nbformat.read(working, as_version=4)
    seconds = time.perf_counter() - start
    _tidy(notebook, seconds)
    nbformat.write(notebook, working)
    os.replace(working, target)
    return seconds


def _tidy(notebook, seconds: float) -> None:
    """Remove the traces of papermill and of progress bars, which differ from run to run; keep the seconds."""
    notebook.metadata = {"kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
                         "language_info": {"name": "python"}, "fragility": {"seconds": round(seconds, 1)}}
    for cell in notebook.cells:
        cell.metadata.pop("papermill", None)
        cell.metadata.pop("execution", None)
        if cell.cell_type == "code":
            cell.outputs = [out for out in cell.outputs if out.get("name") != "stderr"]
            for output in cell.outputs:
                if picture := output.get("data", {}).get("image/png"):
                    output.data["image/png"] = _packed(picture)


def _packed(picture: str) -> str:
    """The same picture, a PNG in base 64, without the alpha channel that an opaque one does not need."""
    from PIL import Image

    image = Image.open(io.BytesIO(base64.b64decode(picture)))
    if image.mode == "RGBA" and image.getchannel("A").getextrema() == (255, 255):
        image = image.convert("RGB")
    packed = io.BytesIO()
    image.save(packed, "PNG", optimize=True)
    return base64.b64encode(packed.getvalue()).decode()


def stage() -> None:
    """Make the source tree of the book: prose, settings and executed notebooks, whose numbers, figures' data and audit
    reports are written out, and those of the board's networks; of a notebook not run now, the committed version."""
    shutil.rmtree(folders.STAGE, ignore_errors=True)
    for part in ("book", "claims"):
        shutil.copytree(folders.ROOT / part, folders.STAGE / part)
    for part in ("_config.yml", "_toc.yml"):
        shutil.copy(folders.ROOT / part, folders.STAGE / part)
    for folder in (NUMBERS, DATA, AUDITS):
        (folders.STAGE / folder).mkdir(parents=True)
    chapters = {name: nbformat.read(newest(name), as_version=4) for name in notebooks()}
    judged, by_figure = linking.take_verdicts(chapters["claims"]), verdicts.by_figure()
    reports = {name: json.loads(kept) for name, notebook in chapters.items() if (kept := numbers.kept(notebook))}
    for name, report in reports.items():
        text = json.dumps(report, indent=1, ensure_ascii=False) + "\n"
        (folders.STAGE / NUMBERS / f"{name}.json").write_text(text)
    for network, audit in boards.published().items():
        audit.to_html(folders.STAGE / AUDITS / f"{network}.html")
    front.fill(folders.STAGE, judged, verdicts.load(), reports)
    for name, notebook in chapters.items():
        linking.link(notebook, name, judged, by_figure)
        _stage(name, notebook)


def _stage(name: str, notebook: nbformat.NotebookNode) -> None:
    if page := shown_audit(notebook):
        (folders.STAGE / AUDITS / f"{name}.html").write_text(page)
    tables = figure_data.take_out(notebook)
    for figure, text in tables.items():
        (folders.STAGE / DATA / f"{figure}.csv").write_text(text)
    figure_data.link(notebook, {figure: f"{DATA.name}/{figure}.csv" for figure in tables})
    nbformat.write(notebook, folders.STAGE / "notebooks" / f"{name}.ipynb")


def newest(name: str) -> Path:
    """The notebook as it was executed last, else the committed one."""
    executed = folders.EXECUTED / f"{name}.ipynb"
    return executed if executed.is_file() else folders.NOTEBOOKS / executed.name


def shown_audit(notebook) -> str | None:
    """The page of the audit that an executed notebook shows in a frame; None where it shows none."""
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            text = output.get("data", {}).get("text/html", "")
            if found := re.match(r'<iframe srcdoc="([^"]*)"', text):
                return html.unescape(found[1])
    return None


def build() -> None:
    """Build the staged tree; every warning is an error. ValueError where it fails."""
    # Jupyter Book of this Python environment, not a script of that name on the PATH.
    start = "import sys; from jupyter_book.cli.main import main; sys.exit(main())"
    command = [sys.executable, "-c", start, "build", str(folders.STAGE), "--path-output",
               str(folders.BUILD / "book"), "-W", "-n", "--keep-going", "--all", "-q"]
    shutil.rmtree(folders.BUILD / "book", ignore_errors=True)
    if subprocess.run(command).returncode or not (folders.BOOK_HTML / "index.html").is_file():
        raise ValueError("The book did not build; the messages above say why.")
    shutil.copytree(folders.STAGE / NUMBERS, folders.BOOK_HTML / NUMBERS)
    publishing.finish(folders.BOOK_HTML)


def status(profile: str) -> pd.DataFrame:
    """What this copy of the book was made with: date, scale, versions, device."""
    made_with = surroundings()
    rows = {"made on": date.today().isoformat(), "scale": profile, "fragility": __version__, **made_with["versions"],
            **{name: version(name) for name in ("jupyter-book", "papermill", "matplotlib")},
            "device": made_with["device"], "threads": made_with["threads"], "commit": made_with["commit"]}
    return pd.DataFrame({"what": list(rows), "value": [str(value) for value in rows.values()]})


def times() -> pd.DataFrame:
    """Seconds that each notebook took in its last run, else in the committed one."""
    rows = []
    for name in notebooks():
        metadata = nbformat.read(newest(name), as_version=4).metadata
        rows.append({"notebook": name, "seconds": str(metadata.get("fragility", {}).get("seconds", "not yet"))})
    return pd.DataFrame(rows)


def cold_run() -> pd.DataFrame:
    """The timed cold run of both commands, from `results/cold_run.yaml`."""
    timed = yaml.safe_load((folders.RESULTS / "cold_run.yaml").read_text())
    return pd.DataFrame({"part": list(timed), "value": [str(value) for value in timed.values()]})
