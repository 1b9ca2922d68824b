"""Tables of influences, angles and dimensions, for what would be too many numbers in a sentence."""

import pandas as pd
from pandas.io.formats.style import Styler

from lab.chapters.influence.directions import mean_random_angle
from lab.core.frames import select
from lab.core.numbers import mean, written
from lab.drawing.tables import plain_table

_ATTACKS = {"gradient_sign": "gradient sign", "random_sign": "random signs"}
_MEASURES = {"survivors": "of the five", "spearman": "rank correlation",
             "survivors_published": "of the five, published code's measure",
             "spearman_published": "rank correlation, published code's measure"}


def survival(table: pd.DataFrame) -> Styler:
    """How many of the five most helpful stay after 8/255, and the rank correlation, in both measures: a row a network
    and attack."""
    table = table[(255 * table.epsilon).round() == 8]
    rows = [{"features": network, "perturbation": _ATTACKS[attack],
             **{heading: _with_interval(part, column) for column, heading in _MEASURES.items()}}
            for (network, attack), part in table.groupby(["network", "attack"], sort=False)]
    return plain_table(pd.DataFrame(rows))


def angles(runs: dict[str, pd.DataFrame]) -> Styler:
    """Angles of the fragile direction to the gradient, a row a run, kind and network."""
    rows = [{"records": run, "importance": kind.removesuffix(" importance"), "network": network, "images": len(part),
             "mean angle": _with_interval(part, "angle"), "above 80°": f"{100 * (part.angle > 80).mean():.0f} %",
             "random lines": f"{mean_random_angle(int(part.pixels.iloc[0])):.1f}",
             "cosine of twin and network": _with_interval(part, "twin_cosine")}
            for run, table in runs.items()
            for (kind, network), part in table.groupby(["kind", "network"], sort=False)]
    return plain_table(pd.DataFrame(rows))


def dimensions(table: pd.DataFrame) -> Styler:
    """The simulation at its fewest and most inputs: a single neuron, the narrowest network above it, the widest."""
    rows = []
    for width in ("smallest", "second smallest", "largest"):
        for dimension in ("smallest", "largest"):
            part = select(table, width=width, dimension=dimension)
            worst, random = (select(part, perturbation=name) for name in ("sign", "random"))
            rows.append({"width": part.width.iloc[0], "inputs": f"{part.dimension.iloc[0]:,}",
                         "relative change, worst signs": _with_interval(worst, "relative"),
                         "the formula": _with_interval(worst, "bound"),
                         "relative change, random signs": _with_interval(random, "relative"),
                         "rank correlation, worst signs": _with_interval(worst, "spearman"),
                         "cosine, worst signs": _with_interval(worst, "cosine"),
                         "angle (°)": _with_interval(worst, "angle"),
                         "random lines (°)": f"{mean_random_angle(int(part.dimension.iloc[0])):.1f}"})
    return plain_table(pd.DataFrame(rows))


def _with_interval(rows: pd.DataFrame, column: str) -> str:
    """The mean of a column and its 95 % interval; nothing where the rows lack it."""
    if rows[column].isna().all():
        return ""
    number = mean(rows, column)
    low, high = number.interval
    if high - low < 0.001:      # exact but for rounding
        return f"{number.value:.3f}"
    return f"{written(number)} [{written(number._replace(value=low))}, {written(number._replace(value=high))}]"
