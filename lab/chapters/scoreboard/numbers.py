"""Numbers in the text of the scoreboard: of the live run on digits and, "shown", of the published board, or of the live
run where nothing is published yet."""

from contextlib import suppress

import pandas as pd

from fragility.audit.verdicts import FAIL, NOT_JUDGED, PASS, UNDECIDED
from lab.chapters.roar import retraining
from lab.chapters.scoreboard import agreement, board, retrained, scoreboard, tables
from lab.chapters.scoreboard.agreement import ORDERING, Agreement
from lab.chapters.scoreboard.board import NETWORKS, QUESTIONS
from lab.chapters.scoreboard.figures import WORDS
from lab.chapters.scoreboard.methods import CONTROLS, METHODS, PLANTED
from lab.core.frames import select
from lab.core.numbers import Chapter, Number, mean, sourced, statistic
from lab.core.pages import NotRun, Page

NUMBERS = Chapter("scoreboard")
number = NUMBERS.number
RUNS = ("shown", "live")
PHOTOGRAPHS = ("squeezenet1_0", "efficientnet_lite0")
DIGITS = "mnist-cnn"        # its planted maps are all there
PAIRS = {"removal and attack": ("attack", "removal"), "removal and noise": ("noise", "removal"),
         "noise and attack": ("noise", "attack"), "noise and sensitivity": ("noise", "sensitivity"),
         "weights and class": ("parameters", "class"), "removal and deletion": ("removal", "deletion"),
         "removal and infidelity": ("removal", "infidelity")}


def board_of(page: Page, run: str) -> pd.DataFrame:
    """All rows of the live run, or of the published one where there is one."""
    if run == "shown":
        with suppress(NotRun):
            return page.edition(scoreboard.EXPERIMENT)
    return page.live(scoreboard.EXPERIMENT)


def of_run(page: Page, run: str, **where) -> pd.DataFrame:
    """Rows of a run, of its first network where no other is asked for."""
    table = board_of(page, run)
    return _there(table, table, where)


def judged(page: Page, run: str, **where) -> pd.DataFrame:
    """Verdicts of the same rows."""
    table = board_of(page, run)
    return _there(table, board.verdicts(table), where)


def _there(table: pd.DataFrame, rows: pd.DataFrame, where: dict) -> pd.DataFrame:
    """Some of the rows; NotRun where there are none, as of a board that is not whole."""
    first = board.networks(table)[:1]
    found = select(rows, **{"network": first, **where}) if first else rows
    if found.empty:
        raise NotRun("not published yet at the edition scale: " + ", ".join(map(str, where.values())))
    return found


def of_agreement(found: Agreement, rows: pd.DataFrame) -> Number:
    """A correlation as a number of the text; n is the number of images."""
    if found.value != found.value:
        raise NotRun("not published yet at the edition scale: too few maps")
    return Number(found.value, found.images, (found.low, found.high), rows)


@number("{run}.images", run=RUNS)
def images(page: Page, run: str) -> Number:
    """Images that the gradient was measured on, by removal."""
    return statistic(of_run(page, run, method="gradient", criterion="removal"),
                     lambda rows: rows.image.nunique())


@number("{run}.maps", run=RUNS)
def maps(page: Page, run: str) -> Number:
    """Methods that the first network does not refuse."""
    return statistic(judged(page, run, method=list(METHODS)),
                     lambda rows: rows.method[rows.verdict != NOT_JUDGED].nunique())


@number("questions")
def questions(page: Page) -> Number:
    """Questions that are judged."""
    return sourced(len(QUESTIONS), "the audit's criteria with a margin, but retraining")


@number("{run}.networks", run=RUNS)
def networks(page: Page, run: str) -> Number:
    """Networks of the board that have records."""
    return statistic(board_of(page, run), lambda rows: rows.network.nunique())


@number("{run}.passed.{method}", run=RUNS, method=("gradient", "smoothgrad", "guided_backprop", "grad_cam",
                                                   "integrated_gradients", "deep_taylor", "occlusion", *CONTROLS))
def passed(page: Page, run: str, method: str) -> Number:
    """Questions that a map passes, on the first network."""
    return statistic(judged(page, run, method=method), lambda rows: int((rows.verdict == PASS).sum()))


@number("{run}.network", run=RUNS)
def network(page: Page, run: str) -> Number:
    """The first network, with its images."""
    return statistic(of_run(page, run), lambda rows: NETWORKS.get(rows.network.iloc[0], rows.network.iloc[0]))


@number("{run}.follow", run=RUNS)
def follow(page: Page, run: str) -> Number:
    """The maps that pass both randomised weights and another class on the first network, in words."""
    def said(rows: pd.DataFrame) -> str:
        both = rows[rows.verdict == PASS].groupby("method", sort=False).criterion.nunique()
        return _list([WORDS.get(name, name) for name in both.index[both == 2]]) or "none"
    return statistic(judged(page, run, method=list(METHODS), criterion=["parameters", "class"]), said)


@number("{run}.most", run=RUNS)
def most(page: Page, run: str) -> Number:
    """Questions that the map passes which passes most, on the first network."""
    return statistic(judged(page, run, method=list(METHODS)), lambda rows: int(board.passes(rows)[PASS].iloc[0]))


@number("{run}.best", run=RUNS)
def best(page: Page, run: str) -> Number:
    """The maps that pass most questions on the first network, in words."""
    def said(rows: pd.DataFrame) -> str:
        counts = board.passes(rows)[PASS]
        return _list([WORDS.get(name, name) for name in counts.index[counts == counts.iloc[0]]])
    return statistic(judged(page, run, method=list(METHODS)), said)


@number("{run}.all", run=RUNS)
def all_questions(page: Page, run: str) -> Number:
    """Maps that fail no question that is judged of them and leave none open, on the first network."""
    return statistic(judged(page, run, method=list(METHODS)), lambda rows: int(sum(
        set(part.verdict) <= {PASS, NOT_JUDGED} and PASS in set(part.verdict)
        for _, part in rows.groupby("method"))))


@number("{run}.{verdict}.{question}", run=RUNS, verdict=("pass", "fail"), question=QUESTIONS)
def with_verdict(page: Page, run: str, verdict: str, question: str) -> Number:
    """Methods that pass, or fail, a question on the first network."""
    wanted = {"pass": PASS, "fail": FAIL}[verdict]
    return statistic(judged(page, run, method=list(METHODS), criterion=question),
                     lambda rows: int((rows.verdict == wanted).sum()))


@number("{run}.only.{question}", run=RUNS, question=QUESTIONS)
def only(page: Page, run: str, question: str) -> Number:
    """The methods that pass a question on the first network, in words."""
    def said(rows: pd.DataFrame) -> str:
        return _list([WORDS.get(name, name) for name in rows.method[rows.verdict == PASS]]) or "none"
    return statistic(judged(page, run, method=list(METHODS), criterion=question), said)


@number("{run}.control.{question}", run=RUNS, question=QUESTIONS)
def of_control(page: Page, run: str, question: str) -> Number:
    """The verdict on Sobel, which does not know the network."""
    return statistic(judged(page, run, method="sobel", criterion=question), lambda rows: rows.verdict.iloc[0])


@number("{run}.gradients.{method}", run=RUNS, method=("grad_cam", "deeplift", "smoothgrad", "integrated_gradients",
                                                      "occlusion"), digits=1)
def gradients(page: Page, run: str, method: str) -> Number:
    """What a map costs in gradients, on the first network."""
    return statistic(of_run(page, run, method=method, criterion="cost"),
                     lambda rows: rows.gradients.mean())


@number("{run}.score.{question}.{method}", run=RUNS, question=("noise", "removal"),
        method=("gradient", "smoothgrad", "guided_backprop", "sobel", "random"))
def score(page: Page, run: str, question: str, method: str) -> Number:
    """Mean score of a map by a question, on the first network."""
    return mean(of_run(page, run, method=method, criterion=question), "score")


@number("shown.effect.{question}.{method}", question=QUESTIONS, method=(*METHODS, *CONTROLS))
def effect(page: Page, question: str, method: str) -> Number:
    """What the board draws of a map on its first network: the mean effect by a question, and the interval; the verdict
    where there is no effect."""
    row = judged(page, "shown", criterion=question, method=method).iloc[0]
    rows = of_run(page, "shown", criterion=question, method=method)
    if pd.isna(row.effect):
        return Number(row.verdict, None, None, rows)
    ends = None if row.low == row.high else (float(row.low), float(row.high))
    return Number(float(row.effect), int(row.n), ends, rows)


@number("retrained.{verdict}", verdict=(PASS, FAIL, UNDECIDED))
def by_retraining(page: Page, verdict: str) -> Number:
    """Maps of a data set that retraining passes, fails or leaves open, over the data sets of the chapter on ROAR."""
    table = page.edition(retraining.EXPERIMENT)
    found = retrained.verdicts(table)
    return Number(int((found[found.method != "sobel"].verdict == verdict).sum()), None, None, table)


@number("{run}.agree.{pair}", run=RUNS, pair=tuple(PAIRS))
def agree(page: Page, run: str, pair: str) -> Number:
    """Rank correlation of two questions over maps, the mean of all networks of the run."""
    rows = select(board_of(page, run), method=list(METHODS))
    parts = [part for _, part in rows.groupby("network", sort=False)]
    found = agreement.of_pair(parts, *PAIRS[pair])
    return of_agreement(found, select(rows, criterion=list(PAIRS[pair])))


@number("carries.{question}", question=ORDERING)
def carries(page: Page, question: str) -> Number:
    """Rank correlation of the orders that the two networks of photographs give the maps by a question."""
    table = select(page.edition(scoreboard.EXPERIMENT), method=list(METHODS))
    sides = [select(table, network=name) for name in PHOTOGRAPHS]
    found = agreement.of_networks(*sides).get(question) if all(len(one) for one in sides) else None
    if found is None:
        raise NotRun(f"not published yet at the edition scale: {' or '.join(PHOTOGRAPHS)}")
    return of_agreement(found, select(table, criterion=question, network=list(PHOTOGRAPHS)))


@number("{run}.alpha.{question}", run=RUNS, question=ORDERING)
def alpha(page: Page, run: str, question: str) -> Number:
    """Krippendorff's alpha of the images' orders of the maps, on the first network."""
    rows = of_run(page, run, method=list(METHODS), criterion=question)
    return of_agreement(agreement.reliability(agreement.effects(rows, (question,))[question]), rows)


@number("{run}.caught.{cheat}", run=RUNS, cheat=tuple(PLANTED))
def caught(page: Page, run: str, cheat: str) -> Number:
    """Questions that a planted map fails, on digits."""
    network = {"network": DIGITS} if run == "shown" else {}
    return statistic(judged(page, run, method=cheat, **network), lambda rows: int((rows.verdict == FAIL).sum()))


@number("{run}.redundant", run=RUNS)
def redundant(page: Page, run: str) -> Number:
    """What the planted maps say of questions that catch nothing beyond another, on digits."""
    rows = judged(page, run, method=list(board.CHEATS), **({"network": DIGITS} if run == "shown" else {}))
    return statistic(rows, lambda found: tables.redundant(found, found.network.iloc[0]))


def _list(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}" if names else ""
