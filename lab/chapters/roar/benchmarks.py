"""Rows of the grid that a benchmark looks at, and whether two benchmarks order the estimators alike."""

import numpy as np
import pandas as pd

from lab.core.frames import select


def replaced_share(table: pd.DataFrame) -> pd.Series:
    """Share of the image that is gone in each row: the fraction that is removed, or what is left of it that is kept."""
    return table.fraction.where(table["mode"] == "remove", 1 - table.fraction).round(6)


def at_share(table: pd.DataFrame, share: float | None = None, **where) -> pd.DataFrame:
    """Rows of one data set at one replaced share, without one at the largest that is removed in the table.

    They are of ROAR, unless `where` has another kind, mode or filter.
    """
    if table.empty:
        return table
    widest = table.fraction[table["mode"] == "remove"].max()
    rows = table[replaced_share(table) == round(widest if share is None else share, 6)]
    return select(rows, **{"kind": "retrain", "mode": "remove", "filter": "none", **where})


def retrained(table: pd.DataFrame, data_set: str, mode: str = "remove") -> pd.DataFrame:
    """The rows of ROAR, or of KAR for mode "keep", on one data set."""
    return table[(table.data_set == data_set) & (table.kind == "retrain") & (table["mode"] == mode)
                 & (table["filter"] == "none")]


def untouched(table: pd.DataFrame, data_set: str, seed: int | None = None) -> float:
    """Mean accuracy of the trainings on a data set's images as they are, or of the one with a seed, from the frame of
    the 0 % control; NaN where it has none."""
    if table.empty:
        return float("nan")
    rows = select(table, data_set=data_set, pipeline="direct", **({} if seed is None else {"seed": seed}))
    return float(rows.accuracy.mean())


def agreement(table: pd.DataFrame, first: dict, second: dict, draws: int = 2000) -> tuple[float, float, float]:
    """Spearman's correlation of how two benchmarks order the estimators, and its 95 % bootstrap interval over them.

    `first` and `second` select the rows of a benchmark: values of the columns kind, mode and fraction. An
    estimator is better the less accuracy is left where its top is removed, the more where it is kept. NaN where a
    benchmark does not tell any two estimators apart, or was not measured.
    """
    sides = []
    for chosen in (first, second):
        rows = table[(table["filter"] == "none") & np.logical_and.reduce([table[k] == v for k, v in chosen.items()])]
        sides.append((1 if chosen["mode"] == "keep" else -1) * rows.groupby("estimator").accuracy.mean())
    values = pd.concat(sides, axis=1, join="inner").to_numpy()
    if len(values) < 2:
        return (np.nan,) * 3
    picks = np.random.default_rng(0).integers(0, len(values), (draws, len(values)))
    with np.errstate(invalid="ignore"):
        measured, *drawn = _spearman(values[np.concatenate([[np.arange(len(values))], picks])])
    low, high = np.nanquantile(drawn, [0.025, 0.975]) if measured == measured else (np.nan, np.nan)
    return measured, float(low), float(high)


def _spearman(pairs: np.ndarray) -> list[float]:
    """Spearman's correlation of the two columns of each (n, 2) of a batch (draws, n, 2); NaN where one is constant."""
    from scipy.stats import rankdata  # a second to import: only where it is needed

    places = rankdata(pairs, axis=1)
    places -= places.mean(1, keepdims=True)
    return ((places[..., 0] * places[..., 1]).sum(1) / np.sqrt(np.square(places).sum(1).prod(1))).tolist()


def agreements(table: pd.DataFrame) -> dict[str, tuple[float, float, float]]:
    """:func:`agreement` of five pairs of benchmarks on one data set, at the largest removed share or, where the top is
    kept, the one that loses as much."""
    widest = float(table.fraction[table["mode"] == "remove"].max())
    removed, kept = {"mode": "remove", "fraction": widest}, {"mode": "keep", "fraction": round(1 - widest, 6)}
    roar, kar = ({"kind": "retrain", **places} for places in (removed, kept))
    road, road_kept = ({"kind": "road", **places} for places in (removed, kept))
    pairs = {"ROAR and KAR": (roar, kar), "ROAR and ROAD": (roar, road), "KAR and ROAD, kept": (kar, road_kept),
             "ROAD, removed and kept": (road, road_kept),
             "without training: mean fill and ROAD": ({"kind": "original", **removed}, road)}
    return {name: agreement(table, *pair) for name, pair in pairs.items()}


def beyond_chance(table: pd.DataFrame) -> int:
    """How many of the :func:`agreements` have an interval that excludes zero."""
    return sum(low > 0 or high < 0 for _, low, high in agreements(table).values())
