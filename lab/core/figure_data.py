"""The data of a figure, kept with the notebook that draws it and written out beside the page."""

from typing import TYPE_CHECKING

import pandas as pd

if TYPE_CHECKING:       # whoever only computes has no notebooks
    from nbformat import NotebookNode

CSV = "application/vnd.fragility.csv"       # an output that no browser shows; staging takes it out of the notebook
MOST = 400_000      # characters: a committed notebook holds the data of all its figures


def keep(name: str, table: pd.DataFrame) -> None:
    """Keep the table that a figure draws as an output of its cell, for the reader to download.

    Numbers have six digits. ValueError where the table is empty, or too long to be kept.
    """
    from IPython.display import display

    if table.empty:
        raise ValueError(f"The figure {name} has no data to keep: its table is empty.")
    text = table.to_csv(index=False, float_format="%.6g")
    if len(text) > MOST:
        raise ValueError(f"The data of figure {name} have {len(text):,} characters, more than {MOST:,}: "
                         "keep the means that it draws.")
    display({CSV: text}, raw=True, metadata={"name": name})


def take_out(notebook: "NotebookNode") -> dict[str, str]:
    """Remove the kept data from an executed notebook; their text by the name of the figure.

    ValueError where one is kept under a name that no figure of the notebook has: it could not be found from the page.
    """
    figures = {cell.metadata.get("mystnb", {}).get("figure", {}).get("name") for cell in notebook.cells}
    taken = {}
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            if CSV in output.get("data", {}):
                name = output.metadata["name"]
                if name not in figures:
                    raise ValueError(f"Data are kept as {name}, which is the name of no figure of this notebook.")
                taken[name] = output.data[CSV]
        if cell.cell_type == "code":
            cell.outputs = [output for output in cell.outputs if CSV not in output.get("data", {})]
    return taken


def link(notebook: "NotebookNode", names: dict[str, str]) -> None:
    """End the caption of each figure that has data with a link to them; `names` gives the link's address."""
    for cell in notebook.cells:
        figure = cell.metadata.get("mystnb", {}).get("figure", {})
        if figure.get("name") in names:
            figure["caption"] = f"{figure['caption'].rstrip()} [Data]({names[figure['name']]})."
