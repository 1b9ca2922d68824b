"""Accuracies as tables: ours, the paper's, of the controls, and what every benchmark leaves of an estimator."""

from collections.abc import Sequence

import pandas as pd
from pandas.io.formats.style import Styler

from lab.chapters.roar import benchmarks
from lab.chapters.roar.figures import reported_roar
from lab.core.numbers import difference
from lab.core.store import Record
from lab.drawing.tables import plain_table


def accuracy_table(table: pd.DataFrame) -> Styler:
    """Accuracies of ROAR and KAR, an estimator of a data set a row, a share a column: mean ± standard deviation (number
    of trainings)."""
    rows = []
    columns = table[["mode", "fraction"]].drop_duplicates().sort_values(["mode", "fraction"], ascending=[False, True])
    for (data_set, name), own in table.groupby(["data_set", "estimator"], sort=False):
        row = {"data": data_set, "estimator": name}
        for mode, fraction in columns.itertuples(index=False):
            label, done = ("ROAR", "removed") if mode == "remove" else ("KAR", "kept")
            ours = own[(own["mode"] == mode) & (own.fraction == fraction)].accuracy
            row[f"{label}, {100 * fraction:.0f} % {done}"] = _spread(ours)
        rows.append(row)
    return plain_table(pd.DataFrame(rows))


def reported_table() -> Styler:
    """The accuracies of [hooker2019, table 2]: means of five trainings, an estimator of a data set a row."""
    table = reported_roar().assign(column=lambda rows: rows["mode"] + ", " + rows.percent.astype(str) + " %")
    order = [f"{mode}, {percent} %" for mode in ("ROAR", "KAR") for percent in sorted(table.percent.unique())]
    wide = table.pivot(index=["data_set", "estimator"], columns="column", values="accuracy")[order].map("{:.1f}".format)
    names = dict.fromkeys(zip(table.data_set, table.estimator))
    return plain_table(wide.loc[list(names)].rename_axis(columns=None).reset_index().rename(
        columns={"data_set": "data"}))


def training_table(records: Sequence[Record]) -> Styler:
    """What trainings on untouched images reach and how long they take, a network on a data set a row: mean ± standard
    deviation over seeds."""
    kinds = ["data_set", "network", "train_images", "epochs"]
    single = pd.DataFrame([{**{name: r.parameters[name] for name in kinds}, "accuracy": r.table.accuracy[0],
                            "seconds": r.about["seconds"], "device": r.about["device"]}
                           for r in records if r.parameters["pipeline"] == "direct"])
    return plain_table(pd.DataFrame([{
        "data": data_set, "network": network, "images x epochs": f"{images:,} x {epochs}", "trainings": len(own),
        "test accuracy (%)": f"{own.accuracy.mean():.2f} ± {own.accuracy.std():.2f}",
        "time of one (s)": f"{own.seconds.mean():.0f} ± {own.seconds.std():.0f}", "device": own.device.iloc[0]}
        for (data_set, network, images, epochs), own in single.groupby(kinds, sort=False)]))


def agreement_table(table: pd.DataFrame) -> Styler:
    """Rank correlations of pairs of benchmarks over the estimators of one data set, with their intervals."""
    return plain_table(pd.DataFrame([{"benchmarks": name, "rank correlation": f"{value:.2f}",
                                      "95 % interval": f"{low:.2f} to {high:.2f}"}
                                     for name, (value, low, high) in benchmarks.agreements(table).items()]))


def benchmark_table(table: pd.DataFrame) -> Styler:
    """What every benchmark leaves of each estimator at the largest removed share, data set by data set, by ROAR.

    Mean ± standard deviation (number of trainings), and the paired difference of ROAR from the random ranking with its
    95 % interval over seeds; imputation also with half of the pixels removed. A benchmark without a training has one
    network and no spread.
    """
    rows = []
    for data_set, own in table.groupby("data_set", sort=False):
        random = benchmarks.at_share(own, estimator="Random")
        for name in benchmarks.at_share(own).groupby("estimator").accuracy.mean().sort_values().index:
            roar, masks, road = (benchmarks.at_share(own, kind=kind, estimator=name)
                                 for kind in ("retrain", "masks", "road"))
            half = benchmarks.at_share(own, 0.5, kind="road", estimator=name)
            rows.append({"data": data_set, "estimator": name, "ROAR (%)": _spread(roar.accuracy),
                         "minus Random": "" if name == "Random" else _paired(roar, random),
                         "masks alone (%)": _spread(masks.accuracy), "ROAD (%)": _mean(road.accuracy),
                         "ROAD, half removed (%)": _mean(half.accuracy)})
    return plain_table(pd.DataFrame(rows))


def _mean(values: pd.Series) -> str:
    return f"{values.mean():.1f}" if len(values) else ""


def _paired(first: pd.DataFrame, second: pd.DataFrame) -> str:
    number = difference(first, second, "accuracy", over="seed")
    if number.interval is None:
        return ""
    low, high = number.interval
    return f"{number.value:+.1f} [{low:+.1f} to {high:+.1f}]".replace("-", "−")


def _spread(values: pd.Series) -> str:
    spread = f" ± {values.std():.1f}" if len(values) > 1 else ""
    return f"{values.mean():.1f}{spread} ({len(values)})" if len(values) else ""
