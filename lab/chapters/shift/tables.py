"""What the tables of ticks hold: the relative change of each method's map, by network and shift, beside the paper's."""

from functools import lru_cache

import numpy as np
import pandas as pd

from fragility.metrics import IDENTICAL
from lab.core import folders
from lab.core.profiles import read_yaml

#: What the paper says of maps, as the claims have it -> the change that stands for it; a change has no size there.
_SAID = {"identical": 0.0, "unchanged": 0.0, "different": np.inf, "the kitten appears": np.inf}

#: The networks of the paper's size as figures name them.
NETWORKS = {"mnist-mlp": "the paper's MLP", "mnist-cnn": "CNN, max-pooling", "mnist-resnet": "ResNet, batch norm"}


@lru_cache(maxsize=2)
def reported(noise: str = "none") -> dict[tuple[str, str], float]:
    """The paper's verdicts by method and shift: 0 for identical maps, infinite for different ones; `noise` "equal" is
    of SmoothGrad around the method."""
    found = {}
    for claim in read_yaml(folders.CLAIMS / "kindermans.yaml"):
        where = claim.get("test", {}).get("where", {})
        if claim["reported"] in _SAID and where.get("noise", "none") == noise and "method" in where:
            names = where["method"] if isinstance(where["method"], list) else [where["method"]]
            found |= {(name, where.get("shift", "kitten")): _SAID[claim["reported"]] for name in names}
    return found


def change(rows: pd.DataFrame) -> float:
    """The mean relative change; zero where no image's map changes, NaN where there are no rows or no maps."""
    largest = rows.relative.astype(float).max()
    return 0.0 if largest < IDENTICAL else float(rows.relative.astype(float).mean())


def beside_the_paper(rows: pd.DataFrame, methods: list[str]) -> pd.DataFrame:
    """Changes of one network's maps under every shift, with the paper's verdict beside ours where it has one."""
    columns = {}
    for shift, part in rows.groupby("shift", sort=False):
        theirs = [reported().get((method, shift), np.nan) for method in methods]
        if not np.isnan(theirs).all():
            columns[shift, "paper"] = theirs
        columns[shift, "ours"] = [change(part[part.method == method]) for method in methods]
    return pd.DataFrame(columns, index=methods)


def by_panel(rows: pd.DataFrame, panel: str, column: str, methods: list[str]) -> pd.DataFrame:
    """Changes by method, the values of one column of the frame in panels and those of another side by side."""
    return pd.DataFrame({place: [change(part[part.method == method]) for method in methods]
                         for place, part in rows.groupby([panel, column], sort=False)}, index=methods)


def changes(rows: pd.DataFrame) -> dict[str, float]:
    """The change of each method's map."""
    return {method: change(part) for method, part in rows.groupby("method", sort=False)}


def long(values: pd.DataFrame) -> pd.DataFrame:
    """A table of ticks with a row a cell, for the reader to download; a change without a size is infinite."""
    return pd.DataFrame([{"method": method, "panel": panel, "column": column, "relative change": value}
                         for (panel, column), part in values.items() for method, value in part.dropna().items()])
