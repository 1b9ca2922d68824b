"""Notebooks as files: one parameters cell, short cells, quick outputs stored, nothing left of a run."""

import base64
import io
import re
import statistics

import nbformat
import numpy as np
import pytest
from PIL import Image

from lab import book, catalogue
from lab.core import folders, profiles

# What a reader of the page cannot see. Folded cells (hide-input, hide-cell) open at a click, and a page whose plumbing
# is not folded hides its answer among code.
HIDDEN = {"remove-cell", "remove-input"}
READERS = ("fragility", "attacks", "shift", "roar", "influence", "lens", "transformers")    # chapters of findings
NOTEBOOKS = {name: nbformat.read(folders.NOTEBOOKS / f"{name}.ipynb", as_version=4) for name in book.notebooks()}


def code(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code" and cell.source.strip()]


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_one_parameters_cell_with_a_comment_a_line(name):
    tagged = [cell for cell in code(NOTEBOOKS[name]) if "parameters" in cell.metadata.get("tags", [])]
    assert len(tagged) == 1
    assert all("#" in line for line in tagged[0].source.splitlines())


def plain_code(notebook):
    """Code but for the parameters."""
    return [cell for cell in code(notebook) if "parameters" not in cell.metadata.get("tags", [])]


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_cells_are_short(name):
    lines = [cell.source.splitlines() for cell in plain_code(NOTEBOOKS[name])]
    assert statistics.median(map(len, lines)) <= 8 and max(map(len, lines)) <= 15
    assert [line for cell in lines for line in cell if len(line) > 100] == []


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_little_code_is_hidden(name):
    sizes = [(len(cell.source.splitlines()), bool(HIDDEN & set(cell.metadata.get("tags", []))))
             for cell in code(NOTEBOOKS[name])]
    hidden, everything = sum(size for size, away in sizes if away), sum(size for size, _ in sizes)
    # One line of a page with hardly any code of its own is no share to speak of.
    assert hidden < 0.15 * everything or hidden <= 2


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_quick_outputs_are_stored_and_clean(name):
    notebook = NOTEBOOKS[name]
    outputs = [output for cell in code(notebook) for output in cell.outputs]
    assert outputs and not any(output.output_type == "error" or output.get("name") == "stderr" for output in outputs)
    assert "papermill" not in notebook.metadata
    # nbval takes a cell with outputs and no number for one that was never run.
    assert [cell.execution_count for cell in code(notebook)] == list(range(1, len(code(notebook)) + 1))
    assert not any("papermill" in cell.metadata or "execution" in cell.metadata for cell in notebook.cells)


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_notebooks_assert_and_glue_nothing(name):
    """What the text says is a statement beside the numbers; one call hands the numbers to the page."""
    sources = [cell.source for cell in code(NOTEBOOKS[name])]
    assert not [source for source in sources if re.search(r"^\s*assert |\bglue\b", source, re.MULTILINE)]
    assert sum("hand_over(" in source for source in sources) == (name in catalogue.CHAPTERS)


@pytest.mark.parametrize("name", READERS)
def test_the_answer_and_a_figure_come_before_any_code(name):
    """What is above the first figure is folded, so that the first screen has the answer and what shows it."""
    notebook = NOTEBOOKS[name]
    first = next(place for place, cell in enumerate(notebook.cells) if "figure" in cell.metadata.get("mystnb", {}))
    above = [cell for cell in notebook.cells[:first + 1] if cell.cell_type == "code"]
    assert notebook.cells[0].cell_type == "markdown" and "{glue:text}" in notebook.cells[0].source
    assert len(above) <= 3 and all("hide-input" in cell.metadata.tags for cell in above)


@pytest.mark.parametrize("name", READERS)
def test_three_exercises_have_folded_solutions_that_run(name):
    headings = [(place, line) for place, cell in enumerate(NOTEBOOKS[name].cells) if cell.cell_type == "markdown"
                for line in cell.source.splitlines() if line.startswith("## ")]
    places = {line: place for place, line in headings}
    assert headings[-1][1] == "## What to take away" and headings[-2][1] == "## Exercises"
    cells = NOTEBOOKS[name].cells[places["## Exercises"]:places["## What to take away"]]
    solutions = [cell for cell in cells if cell.cell_type == "code"]
    assert len(solutions) == 3 and all("hide-cell" in cell.metadata.tags and cell.outputs for cell in solutions)


def paragraphs(notebook):
    """Paragraphs and items of lists; headings, tables and formulas are none."""
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            for part in re.split(r"\n\s*\n|\n(?=\s*[*-] )", cell.source):
                if not part.lstrip().startswith(("#", "|")):
                    yield part


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_a_paragraph_has_at_most_five_numbers(name):
    for paragraph in paragraphs(NOTEBOOKS[name]):
        assert paragraph.count("{glue:text}") <= 5, paragraph


def test_every_notebook_is_in_the_book():
    assert {file.stem for file in folders.NOTEBOOKS.glob("*.ipynb")} == set(NOTEBOOKS) and len(NOTEBOOKS) <= 18


def test_an_interrupted_run_leaves_the_finished_notebook(tmp_path, monkeypatch):
    """Papermill writes as it goes; only a complete run may take the final name."""
    import papermill

    def cut(source, target, **options):
        target.write_text("half a notebo")
        raise KeyboardInterrupt

    monkeypatch.setattr(folders, "EXECUTED", tmp_path)
    (tmp_path / "status.ipynb").write_text("the last whole one")
    monkeypatch.setattr(papermill, "execute_notebook", cut)
    with pytest.raises(KeyboardInterrupt):
        book.run("status", {})
    assert (tmp_path / "status.ipynb").read_text() == "the last whole one"


def test_pictures_are_packed_without_loss():
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (9, 7, 3), np.uint8))
    for mode in ("RGBA", "RGB"):
        buffer = io.BytesIO()
        image.convert(mode).save(buffer, "PNG", compress_level=1)
        text = base64.b64encode(buffer.getvalue()).decode()
        packed = Image.open(io.BytesIO(base64.b64decode(book._packed(text))))
        assert packed.mode == "RGB" and (np.asarray(packed) == np.asarray(image)).all()
    glass = Image.new("RGBA", (4, 4), (1, 2, 3, 99))
    buffer = io.BytesIO()
    glass.save(buffer, "PNG")
    assert Image.open(io.BytesIO(base64.b64decode(book._packed(base64.b64encode(buffer.getvalue()).decode())))
                      ).getpixel((0, 0)) == (1, 2, 3, 99)


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_numbers_in_prose_are_named_by_their_role(name):
    """A key that holds the value of a parameter is glued at one profile and missing at the next."""
    keys = {key for cell in NOTEBOOKS[name].cells if cell.cell_type == "markdown"
            for key in re.findall(r"\{glue:text\}`([\w.]+)", cell.source)}
    quick, *others = (profiles.parameters(name, profile) for profile in profiles.PROFILES)
    changing = {number for parameter, value in quick.items() if any(other[parameter] != value for other in others)
                for number in re.findall(r"[\d.]+", str(value))}
    assert not [key for key in keys if changing & set(re.split(r"[._]", key))]


def test_the_audit_that_a_notebook_shows_is_found():
    frame = '<iframe srcdoc="&lt;p title=&quot;a&quot;&gt;x&lt;/p&gt;">'
    shown = nbformat.v4.new_output("display_data", {"text/html": frame})
    cell = nbformat.v4.new_code_cell("report", outputs=[shown])
    assert book.shown_audit(nbformat.v4.new_notebook(cells=[cell])) == '<p title="a">x</p>'
    assert book.shown_audit(NOTEBOOKS["status"]) is None
