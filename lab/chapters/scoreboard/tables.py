"""The board in words: verdicts, planted maps and who catches them, and how far a question can be relied on."""

from collections.abc import Mapping
from itertools import combinations

import pandas as pd
from pandas.io.formats.style import Styler

from fragility.audit.words import fixed
from lab.chapters.scoreboard import agreement, board
from lab.chapters.scoreboard.agreement import METRICS, ORDERING, Agreement
from lab.chapters.scoreboard.board import MARKS, NETWORKS, QUESTIONS
from lab.chapters.scoreboard.figures import WORDS
from lab.chapters.scoreboard.methods import METHODS, PLANTED
from lab.core.frames import select
from lab.drawing.tables import plain_table


def planted(judged: pd.DataFrame, network: str) -> Styler:
    """Planted maps in rows, questions in columns, their marks, and how many of the questions catch each."""
    rows = select(judged, network=network)
    words = rows.set_index(["method", "criterion"]).verdict
    shown = [{"planted map": WORDS[name], **{each: MARKS[words.get((name, each), "not judged")] for each in QUESTIONS},
              "caught by": int((select(rows, method=name).verdict == "fail").sum())}
             for name in PLANTED if name in set(rows.method)]
    return plain_table(pd.DataFrame(shown))


def redundant(judged: pd.DataFrame, network: str) -> str:
    """A sentence on questions that catch no planted map beyond another's."""
    fails = board.caught(select(judged, network=network))
    found = board.adds_nothing(fails)
    if not found:
        return "Each question catches a planted map that no other one catches."
    useless = [one for one in found if not fails[one].any()]
    others = [f"{one} (beyond {other})" for one, other in found.items() if one not in useless]
    said = [f"Nothing planted is caught by {', '.join(useless)}."] if useless else []
    return " ".join([*said, *([f"No further one is caught by {', '.join(others)}."] if others else [])])


def retrained(found: pd.DataFrame) -> Styler:
    """Verdicts by retraining, a map a row, a data set a column: mark, effect in points of accuracy with its interval,
    and the number of trainings."""
    def cell(one) -> str:
        return (f"{MARKS[one.verdict]} {fixed(100 * one.effect, 1)} [{fixed(100 * one.low, 1)}, "
                f"{fixed(100 * one.high, 1)}], {one.trainings} trainings")
    rows = [{"map": WORDS[method], **{one.data_set: cell(one) for one in part.itertuples()}}
            for method, part in found.groupby("method", sort=False)]
    return plain_table(pd.DataFrame(rows))


def progress(table: pd.DataFrame) -> str:
    """A sentence on the cells that the published board has, and on the networks whose maps are all there."""
    if table.empty:
        return "Nothing of the board is published at the edition scale yet: what follows is this run's, on digits."
    done, cells = table.attrs["done"], table.attrs["cells"]
    names = ", ".join(NETWORKS.get(one, one) for one in board.networks(table))
    missing = "" if done == cells else f" {cells - done} of {cells} cells are still missing, and their maps with them."
    return f"Published: {names}.{missing}"


def left_out(table: pd.DataFrame) -> Styler:
    """Maps that a network refuses, and why."""
    rows = [{"network": NETWORKS.get(network, network), "map": WORDS.get(method, method), "why": reason}
            for network in board.networks(table)
            for method, reason in board.refused(select(table, network=network)).items()]
    return plain_table(pd.DataFrame(rows))


def reliability(table: pd.DataFrame) -> Styler:
    """Krippendorff's alpha by question, of one network: whether its images agree on an order of the maps."""
    methods = select(table, method=list(METHODS))
    found = {each: agreement.reliability(agreement.effects(methods, (each,))[each]) for each in ORDERING}
    return plain_table(pd.DataFrame([{"question": each, "alpha": written(one), "maps": one.maps, "images": one.images}
                                     for each, one in found.items()]))


def consistency(table: pd.DataFrame) -> Styler:
    """Whether metrics that should measure the same agree on which images a map does well, of one network."""
    methods = select(table, method=list(METHODS))
    names = [name for name, one in METRICS.items() if select(methods, criterion=one.criterion).score.notna().any()]
    values = aligned(methods, names)
    return plain_table(pd.DataFrame([{"metric": one, "and": other, "rank correlation over images": written(found),
                                      "maps": found.maps, "images": found.images}
                                     for one, other in combinations(names, 2)
                                     for found in [agreement.consistency(values[one], values[other])]]))


def aligned(table: pd.DataFrame, names: list[str]) -> Mapping:
    """Scores (maps, images) of metrics by name, with the same maps and images in all."""
    parts = []
    for name in names:
        rows = select(table, criterion=METRICS[name].criterion)
        parts.append(rows.assign(value=METRICS[name].sign * rows[METRICS[name].column]))
    return dict(zip(names, agreement.ranks.matrices(parts, "method", "image", "value")))


def written(one: Agreement) -> str:
    """A correlation with its interval."""
    return f"{fixed(one.value, 2)} [{fixed(one.low, 2)}, {fixed(one.high, 2)}]" if one.value == one.value else "–"
