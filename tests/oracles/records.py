"""Published records in plain pandas, read without the laboratory's code."""

import gzip
import json
from functools import cache
from pathlib import Path

import pandas as pd

RESULTS = Path(__file__).parents[2] / "results"


@cache
def frame(experiment: str) -> pd.DataFrame:
    """All rows of an experiment's published records at its newest version, plain parameters as columns beside them.

    Where a parameter has a measured column's name (`precision`), the measured one is kept.
    """
    plain = RESULTS / f"{experiment}.json"
    packed = plain.with_suffix(".json.gz")
    bodies = json.loads(plain.read_bytes() if plain.exists() else gzip.decompress(packed.read_bytes()))
    newest = max(body["version"] for body in bodies)
    rows = []
    for body in bodies:
        if body["version"] == newest:
            scalars = {name: value for name, value in body["parameters"].items() if not isinstance(value, list)}
            rows += [scalars | dict(zip(body["table"]["columns"], row)) for row in body["table"]["rows"]]
    return pd.DataFrame(rows)


def by_hand(experiment: str, **where) -> pd.DataFrame:
    """The rows of :func:`frame`, a copy, whose columns have the given values."""
    rows = frame(experiment).copy()
    for column, value in where.items():
        rows = rows[rows[column] == value]
    return rows
