"""The data of a figure, from its cell to a file beside the page."""

import nbformat
import pandas as pd
import pytest

from lab import book
from lab.core import figure_data, folders


@pytest.fixture
def notebook(monkeypatch):
    """A notebook whose one figure keeps its data."""
    outputs = []
    monkeypatch.setattr("IPython.display.display", lambda data, raw, metadata: outputs.append(
        nbformat.v4.new_output("display_data", data, metadata=metadata)))
    figure_data.keep("fig-bars", pd.DataFrame({"method": ["gradient"], "overlap": [1 / 3]}))
    picture = nbformat.v4.new_output("display_data", {"image/png": ""})
    figure = {"mystnb": {"figure": {"name": "fig-bars", "caption": "Bars.\n"}}}
    cell = nbformat.v4.new_code_cell("bars(table)", outputs=[*outputs, picture], metadata=figure)
    return nbformat.v4.new_notebook(cells=[nbformat.v4.new_markdown_cell("# Bars"), cell])


def test_data_are_taken_out_and_linked(notebook):
    assert figure_data.take_out(notebook) == {"fig-bars": "method,overlap\ngradient,0.333333\n"}
    assert [list(output.data) for output in notebook.cells[1].outputs] == [["image/png"]]
    figure_data.link(notebook, {"fig-bars": "data/fig-bars.csv"})
    assert notebook.cells[1].metadata["mystnb"]["figure"]["caption"] == "Bars. [Data](data/fig-bars.csv)."
    assert figure_data.take_out(notebook) == {}


def test_data_of_no_figure_are_refused(notebook):
    notebook.cells[1].metadata["mystnb"]["figure"]["name"] = "fig-lines"
    with pytest.raises(ValueError, match="fig-bars, which is the name of no figure"):
        figure_data.take_out(notebook)


@pytest.mark.parametrize("table, complaint", [(pd.DataFrame(), "its table is empty"),
                                              (pd.DataFrame({"x": range(200_000)}), "keep the means")])
def test_tables_that_are_no_data_of_a_figure_are_refused(table, complaint):
    with pytest.raises(ValueError, match=complaint):
        figure_data.keep("fig-bars", table)


def test_staging_writes_data_beside_the_page(notebook, tmp_path, monkeypatch):
    monkeypatch.setattr(folders, "STAGE", tmp_path)
    (tmp_path / book.DATA).mkdir(parents=True)
    book._stage("bars", notebook)
    assert (tmp_path / book.DATA / "fig-bars.csv").read_text().startswith("method,overlap")
    assert "[Data](data/fig-bars.csv)" in (tmp_path / "notebooks" / "bars.ipynb").read_text()
