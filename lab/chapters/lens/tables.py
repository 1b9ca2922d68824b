"""Tables of published numbers of the chapter on LENS, for what would be too many numbers in a sentence.

Their cells are numbers of :mod:`lab.chapters.lens.published`, written to the digit that their intervals allow, or
two after the point.
"""

from collections.abc import Callable

import pandas as pd
from pandas.io.formats.style import Styler

from lab.chapters.lens import published
from lab.chapters.lens.training_figures import TRAINING_NAMES
from lab.core.numbers import MISSING, Number, written
from lab.core.pages import Page
from lab.drawing.names import NAMES
from lab.drawing.tables import plain_table

_PAIRS = {"topk": "top-k attack", "center": "mass-centre attack", "random_sign": "random sign",
          "other_image": "another photograph"}


def recall_table(page: Page) -> Styler:
    """Gradient maps under attacks of the largest size, beside chance and another class's map: a row a data set and
    training. The last two columns are the recall beyond another class's map, of both maps."""
    columns: dict[str, Callable[[str, str], Number]] = {
        "top-k": lambda data, training: published.topk(page, data, "topk", training),
        "LENS recall": lambda data, training: published.recall(page, data, "topk", training),
        "attack knows LENS": lambda data, training: published.recall(page, data, "lens", training),
        "another class": lambda data, training: published.recall(page, data, "other_class", training),
        "chance": lambda data, training: published.chance(page, data, training)}
    rows = [{"data": name, "training": TRAINING_NAMES[training],
             **{title: written(number(data, training), 2) for title, number in columns.items()},
             **{f"beyond another class, {NAMES[method]}":
                written(published.beyond(page, data, method, training), 2, signed=True)
                for method in published.METHODS}}
            for data, name in published.DATA.items() for training in ("natural", "pgd")]
    return plain_table(pd.DataFrame(rows))


def added_table(page: Page) -> Styler:
    """What IG-SUM-NORM adds to the top-k overlap of the PGD network it starts from, with its interval over seeds."""
    def cell(number: Number) -> str:
        if number.interval is None:
            return MISSING
        value, low, high = (written(Number(one), 3, signed=place == 0)
                            for place, one in enumerate((number.value, *number.interval)))
        return f"{value} [{low}, {high}]"

    rows = [{"data": published.DATA[data],
             **{NAMES[method]: cell(published.added(page, data, method)) for method in published.METHODS}}
            for data in published.REPEATED]
    return plain_table(pd.DataFrame(rows))


def photograph_table(page: Page) -> Styler:
    """Maps of photographs at 8/255, and the map of another photograph: a row a perturbation, both maps in a cell."""
    def both(metric: str, pair: str) -> str:
        return " and ".join(written(published.photo(page, metric, pair, method)) for method in published.METHODS)

    rows = [{"perturbation": name, "top-k": both("topk", pair), "LENS recall": both("recall", pair),
             "diverse LENS recall": both("recall_div", pair)} for pair, name in _PAIRS.items()]
    chance = {metric: " and ".join(written(published.photo_chance(page, metric, method), 2)
                                   for method in published.METHODS) for metric in ("recall", "recall_div")}
    rows.append({"perturbation": "chance", "top-k": "", "LENS recall": chance["recall"],
                 "diverse LENS recall": chance["recall_div"]})
    return plain_table(pd.DataFrame(rows))
