"""Numbers in the text on networks of today: of the live run on digits, "edition" of the published one, and "shown" of
the published one where there is one, else of the live run."""

from contextlib import suppress

import pandas as pd

from fragility.audit.verdicts import FAIL, PASS
from lab.chapters.scoreboard import board
from lab.chapters.scoreboard.figures import WORDS
from lab.chapters.scoreboard.methods import METHODS
from lab.chapters.transformers import perturbed, questions
from lab.chapters.transformers.figures import CONTROL
from lab.chapters.transformers.kinds import KINDS, ORDER
from lab.core.experiment import Experiment
from lab.core.frames import select
from lab.core.numbers import Chapter, Number, difference, mean, sourced, statistic
from lab.core.pages import NotRun, Page

NUMBERS = Chapter("transformers")
number = NUMBERS.number
RUNS = ("shown", "live")
COLUMNS = ("topk", "spearman", "recall")
ATTACKS = ("random_sign", "topk", CONTROL)
QUESTIONS = tuple(each.name for each in questions.CRITERIA)


def of_run(page: Page, run: str, experiment: Experiment, **where) -> pd.DataFrame:
    """Rows of a run; NotRun where it has none, as of an edition that is not whole."""
    rows = select(_table(page, run, experiment), **where)
    if rows.empty:
        raise NotRun("not published yet at the edition scale: " + ", ".join(map(str, where.values())))
    return rows


def _table(page: Page, run: str, experiment: Experiment) -> pd.DataFrame:
    if run == "edition":
        return page.edition(experiment)
    if run == "shown":
        with suppress(NotRun):
            return page.edition(experiment)
    return page.live(experiment)


def at_largest(page: Page, run: str, kind: str, method: str, attack: str) -> pd.DataFrame:
    """Rows of a map under noise or attack of the largest size, or of the maps of other images."""
    sizes = {} if attack == CONTROL else {"epsilon": "largest"}
    return of_run(page, run, perturbed.EXPERIMENT, kind=kind, method=method, attack=attack, **sizes)


def judged(table: pd.DataFrame) -> pd.DataFrame:
    """Verdicts on the maps of each kind of network, of its first training."""
    found = board.verdicts(select(table, seed=table.seed.min()) if len(table) else table)
    return found.assign(kind=found.network.map(KINDS))


@number("{run}.images", run=RUNS)
def images(page: Page, run: str) -> Number:
    """Images of each network whose maps are perturbed."""
    return statistic(of_run(page, run, perturbed.EXPERIMENT), lambda rows: rows.image.nunique())


@number("{run}.data", run=RUNS)
def data(page: Page, run: str) -> Number:
    """The data set."""
    return statistic(of_run(page, run, perturbed.EXPERIMENT), lambda rows: rows.data_set.iloc[0])


@number("{run}.accuracy.{kind}", "%", run=(*RUNS, "edition"), kind=ORDER, digits=0)
def accuracy(page: Page, run: str, kind: str) -> Number:
    """Accuracy of a network on the test images, the mean of its trainings."""
    return statistic(of_run(page, run, perturbed.EXPERIMENT, kind=kind),
                     lambda rows: 100 * rows.groupby("seed").accuracy.first().mean())


@number("{run}.epsilon", run=RUNS)
def epsilon(page: Page, run: str) -> Number:
    """The largest epsilon, in parts of the range from black to white."""
    return statistic(of_run(page, run, perturbed.EXPERIMENT), lambda rows: rows.epsilon.max())


@number("{run}.{column}.{attack}.{kind}.{method}", run=RUNS, column=COLUMNS, attack=ATTACKS, kind=ORDER,
        method=("gradient", "integrated_gradients", "attn_lrp"))
def agreement(page: Page, run: str, column: str, attack: str, kind: str, method: str) -> Number:
    """Agreement of a map with that of the disturbed image, of the largest size, or with maps of other images."""
    return mean(at_largest(page, run, kind, method, attack), column)


@number("{run}.{column}.{attack}.vit.attention_rollout", run=RUNS, column=COLUMNS, attack=ATTACKS)
def of_rollout(page: Page, run: str, column: str, attack: str) -> Number:
    """The same for attention rollout, which only the transformer has."""
    return mean(at_largest(page, run, "ViT", "attention_rollout", attack), column)


@number("{run}.random.{kind}.{method}", run=RUNS, kind=ORDER, method=("gradient", "attn_lrp", "grad_cam", "sobel"))
def randomised(page: Page, run: str, kind: str, method: str) -> Number:
    """Rank correlation of a map with that of the network whose layers are all random."""
    rows = of_run(page, run, questions.EXPERIMENT, kind=kind, method=method, criterion="parameters")
    return mean(rows, max(name for name in rows if name.startswith("random ")))


@number("{run}.random.vit.attention_rollout", run=RUNS)
def randomised_rollout(page: Page, run: str) -> Number:
    """The same for attention rollout."""
    return randomised(page, run, "ViT", "attention_rollout")


@number("{run}.removal.over.{other}", run=RUNS, other=("attention_rollout", "gradient_x_input"), signed=True)
def removal_over(page: Page, run: str, other: str) -> Number:
    """How much more AttnLRP's score by removal (ROAD) is than another map's, on the transformer."""
    both = [of_run(page, run, questions.EXPERIMENT, kind="ViT", method=name, criterion="removal")
            for name in ("attn_lrp", other)]
    return difference(*both, "score")


@number("{run}.removal.{kind}.{method}", run=RUNS, kind=ORDER, method=("gradient", "attn_lrp", "sobel"))
def removal(page: Page, run: str, kind: str, method: str) -> Number:
    """A map's score by removal (ROAD)."""
    return mean(of_run(page, run, questions.EXPERIMENT, kind=kind, method=method, criterion="removal"), "score")


@number("{run}.class.vit.{method}", run=RUNS, method=("attention_rollout", "attn_lrp", "gradient"))
def of_class(page: Page, run: str, method: str) -> Number:
    """Rank correlation of the transformer's map with that of another class."""
    return mean(of_run(page, run, questions.EXPERIMENT, kind="ViT", method=method, criterion="class"), "score")


@number("{run}.{verdict}.{question}.{kind}", run=RUNS, verdict=("pass", "fail"), question=QUESTIONS, kind=ORDER)
def with_verdict(page: Page, run: str, verdict: str, question: str, kind: str) -> Number:
    """The maps that pass, or fail, a question on a kind of network, in words."""
    rows = of_run(page, run, questions.EXPERIMENT)
    found = select(judged(rows), kind=kind, criterion=question, method=list(METHODS))
    if found.empty:
        raise NotRun(f"not published yet at the edition scale: {question}, {kind}")
    wanted = {"pass": PASS, "fail": FAIL}[verdict]
    return statistic(found, lambda part: _listed(part.method[part.verdict == wanted]))


@number("{run}.refused.{kind}", run=RUNS, kind=ORDER)
def refused(page: Page, run: str, kind: str) -> Number:
    """The maps that a kind of network refuses, in words."""
    rows = of_run(page, run, questions.EXPERIMENT, kind=kind)
    return statistic(rows, lambda part: _listed(board.refused(part)))


@number("published")
def published(page: Page) -> Number:
    """What of the chapter is published at the edition scale, in words."""
    try:
        table = page.edition(perturbed.EXPERIMENT)
    except NotRun:
        table = pd.DataFrame()
    if table.empty:
        return sourced("nothing yet; all numbers and figures here are of a live run on digits", "results/")
    return sourced(f"{table.attrs['done']} of {table.attrs['cells']} cells on {table.data_set.iloc[0]}", "results/")


def _listed(names) -> str:
    words = [WORDS[name] for name in names]
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}" if words else "none"
