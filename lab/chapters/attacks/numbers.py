"""Numbers in the text of the chapter that looks at attacks close up."""

import math

import pandas as pd

from lab.chapters.attacks import targeted, variants
from lab.chapters.fragility import numbers as comparison
from lab.chapters.fragility import portraits
from lab.core.frames import select
from lab.core.numbers import Chapter, Number, mean, published_verdict, sourced, statistic
from lab.core.pages import Page

NUMBERS = Chapter("attacks")
number = NUMBERS.number
PARAMETER = "a parameter of the run"
STEPS_TO_BOUND = 16     # steps of an attack that reach the largest change that is allowed
ENOUGH = 0.05           # overlap below which the text calls the steps enough
ENDS = ("least", "most")
GRADIENT, PATH = variants.METHODS
#: What the text calls the claims that it tells the verdicts of.
VERDICTS = {"targeted": "ghorbani-15", "twin": "ghorbani-17"}
#: Ways of finding the direction of a step for integrated gradients: two random points of the path, or the published
#: one, all points through the bluntest or the sharpest softplus twin.
WAYS = {"few": {"points": 2}, "whole": {"method": PATH, "beta": "smallest"},
        "sharp": {"method": PATH, "beta": "largest"}}


def live(page: Page, **where) -> pd.DataFrame:
    """Rows of the live run."""
    return select(page.live(variants.EXPERIMENT), **where)


def photos(page: Page, **where) -> pd.DataFrame:
    """Published rows on photographs."""
    return select(page.edition(variants.EXPERIMENT), **where)


def longest(rows: pd.DataFrame, **where) -> pd.DataFrame:
    """Rows of the attack of most steps, among those that differ in their steps only."""
    return select(select(rows, question="steps"), steps="largest", **where)


def extreme(rows: pd.DataFrame, by: str, column: str, end: str) -> pd.DataFrame:
    """The rows of the group with the least or the largest mean of a column."""
    if rows.empty:
        return rows
    means = rows.groupby(by)[column].mean()
    return rows[rows[by] == (means.idxmin() if end == "least" else means.idxmax())]


def slower(rows: pd.DataFrame) -> Number:
    """How many times as long a step through the whole path takes as one of two points."""
    few, whole = (select(rows, question="cost", **WAYS[way]) for way in ("few", "whole"))
    seconds = [(one.seconds / one.steps).mean() for one in (few, whole)] if len(rows) else [math.nan, math.nan]
    return statistic(pd.concat([few, whole]), lambda _: seconds[1] / seconds[0])


@number("verdict.{what}", what=tuple(VERDICTS))
def verdict(page: Page, what: str) -> Number:
    """Published verdict on a claim of the paper."""
    return published_verdict(VERDICTS[what])


@number("size", digits=2)
def size(page: Page) -> Number:
    """Largest change of a pixel in the live run."""
    return sourced(page.settings["close_epsilon"], PARAMETER)


@number("images")
def images(page: Page) -> Number:
    """Images of the live run."""
    return sourced(page.settings["close_images"], PARAMETER)


@number("walk.steps")
def walk_steps(page: Page) -> Number:
    """Steps of the random walk in the live run."""
    return sourced(page.settings["walk_steps"], PARAMETER)


@number("steps.{question}", question=("cost", "twin"))
def steps(page: Page, question: str) -> Number:
    """Steps of the attacks whose cost the live run compares, and of those through a twin."""
    return statistic(live(page, question=question), lambda rows: int(rows.steps.iloc[0]))


@number("steps.last")
def steps_last(page: Page) -> Number:
    """Most steps of an attack that the live run tries."""
    return sourced(max(page.settings["close_steps"]), PARAMETER)


@number("gain.{end}", "points", end=ENDS)
def gain(page: Page, end: str) -> Number:
    """What a quarter gains by the attack on it in the live run, for the map that gives it least or most."""
    return mean(extreme(page.live(targeted.EXPERIMENT), "method", "gain", end), "gain", scale=100)


@number("cost.left.{way}", "%", way=("few", "whole"))
def cost_left(page: Page, way: str) -> Number:
    """Overlap of integrated gradients in the live run after an attack in the direction of two random points of the path
    (few), or of all of them through the bluntest softplus (whole)."""
    return mean(live(page, question="cost", **WAYS[way]), "topk", scale=100)


@number("cost.ratio", digits=0)
def cost_ratio(page: Page) -> Number:
    """How many times as long a step through the whole path takes in the live run as one of two points."""
    return slower(live(page))


@number("left.{method}", "%", method=variants.METHODS)
def left(page: Page, method: str) -> Number:
    """Overlap that the top-k attack leaves after the most steps that the live run tries."""
    return mean(longest(live(page), method=method), "topk", scale=100)


def cup(page: Page, **where) -> pd.DataFrame:
    """The attack that sends the map of the espresso to a piece of the table, a row for each map."""
    return select(page.edition(portraits.EXPERIMENT), photograph="coffee", attack=portraits.TARGET, **where)


@number("cup.area", "%", digits=0)
def cup_area(page: Page) -> Number:
    """Area of the region of the espresso's photograph, of the whole."""
    return statistic(cup(page), lambda rows: 100 * rows.area.iloc[0])


@number("cup.before", "%", digits=0)
def cup_before(page: Page) -> Number:
    """Largest share of a clean map in that region, over the maps that are attacked."""
    return statistic(cup(page, found=True), lambda rows: 100 * rows.share.max())


@number("cup.after.{end}", "%", digits=0, end=ENDS)
def cup_after(page: Page, end: str) -> Number:
    """Least and largest share of an attacked map in that region."""
    return statistic(cup(page, found=True),
                     lambda rows: 100 * (rows.share_after.min() if end == "least" else rows.share_after.max()))


def quarters(page: Page, **where) -> pd.DataFrame:
    return select(page.edition(targeted.EXPERIMENT), **where)


@number("photo.quarter", "%", digits=0)
def photo_quarter(page: Page) -> Number:
    """Area of the quarter of a photograph, of the whole."""
    return statistic(quarters(page), lambda rows: 100 * rows.area.mean())


@number("photo.sent", digits=0)
def photo_sent(page: Page) -> Number:
    """Photographs whose maps are sent to a quarter."""
    return statistic(quarters(page), lambda rows: rows.image.nunique())


@number("photo.inside.{end}", "%", end=ENDS)
def photo_inside(page: Page, end: str) -> Number:
    """Share of an attacked map in the quarter it was sent to, for the map that goes there least or most."""
    return mean(extreme(quarters(page), "method", "after", end), "after", scale=100)


@number("photo.images")
def photo_images(page: Page) -> Number:
    """Photographs that are attacked with one thing changed at a time."""
    return statistic(photos(page), lambda rows: rows.image.nunique())


@number("photo.{count}", count=("done", "cells"))
def photo_cells(page: Page, count: str) -> Number:
    """Cells of these attacks on photographs that are published, of all there are."""
    table = page.edition(variants.EXPERIMENT)
    return Number(table.attrs.get(count), rows=table)


@number("photo.levels", digits=0)
def photo_levels(page: Page) -> Number:
    """Largest change of a pixel of a photograph, in grey levels."""
    return statistic(photos(page), lambda rows: 255 * rows.epsilon.iloc[0])


@number("photo.enough.{method}", method=variants.METHODS)
def photo_enough(page: Page, method: str) -> Number:
    """Fewest of the tried steps that leave less than 5 % of the top pixels of photographs on average."""
    return statistic(photos(page, question="steps", method=method), enough)


def enough(rows: pd.DataFrame) -> str:
    """The fewest steps whose mean overlap is small enough, in words."""
    steps = fewest(rows)
    if math.isnan(steps):
        return "more steps than were tried"
    return f"{steps} step{'s' if steps > 1 else ''}"


def fewest(rows: pd.DataFrame) -> float:
    """The fewest steps whose mean overlap is small enough."""
    means = rows.groupby("steps").topk.mean()
    return means[means < ENOUGH].index.min()


@number("photo.reach.{method}", digits=2, method=variants.METHODS)
def photo_reach(page: Page, method: str) -> Number:
    """How far these steps reach at most, as a share of the largest change that is allowed."""
    return statistic(photos(page, question="steps", method=method),
                     lambda rows: min(1.0, fewest(rows) / STEPS_TO_BOUND))


@number("photo.beyond.{place}", "%", place=("smallest", "largest"))
def photo_beyond(page: Page, place: str) -> Number:
    """Overlap of the gradient that the published direction of the bluntest or the sharpest softplus leaves on
    photographs, after steps enough to reach all that is allowed."""
    return mean(photos(page, question="twin", beta=place), "topk", scale=100)


@number("photo.last")
def photo_last(page: Page) -> Number:
    """Most steps of an attack that are tried on photographs."""
    return statistic(photos(page, question="steps"), lambda rows: int(rows.steps.max()))


@number("photo.left.{method}", "%", method=variants.METHODS)
def photo_left(page: Page, method: str) -> Number:
    """Overlap that the top-k attack leaves on photographs after the most steps that are tried."""
    return mean(longest(photos(page), method=method), "topk", scale=100)


@number("photo.cost.left.{way}", "%", way=tuple(WAYS))
def photo_cost_left(page: Page, way: str) -> Number:
    """Overlap of integrated gradients on photographs after an attack in the direction of two random points of the path
    (few), or of all of them through the bluntest softplus (whole) or the sharpest (sharp)."""
    return mean(photos(page, question="cost", **WAYS[way]), "topk", scale=100)


@number("photo.cost.ratio", digits=0)
def photo_cost_ratio(page: Page) -> Number:
    """How many times as long a step through the whole path takes on photographs as one of two points."""
    return slower(photos(page))


@number("photo.steps.{question}", question=("cost", "twin", "output"))
def photo_steps(page: Page, question: str) -> Number:
    """Steps of the attacks on photographs whose cost is compared, of those through a twin, and of the others."""
    return statistic(photos(page, question=question), lambda rows: int(rows.steps.iloc[0]))


@number("photo.steps.walk")
def photo_steps_walk(page: Page) -> Number:
    """Steps of the random walk on photographs."""
    return statistic(photos(page, variant="best of a walk"), lambda rows: int(rows.steps.iloc[0]))


@number("photo.steps.sent")
def photo_steps_sent(page: Page) -> Number:
    """Steps of the attacks that send a photograph's map to a quarter."""
    return statistic(quarters(page), lambda rows: int(rows.steps.iloc[0]))


@number("photo.path.points")
def photo_path_points(page: Page) -> Number:
    """Points on the whole path of integrated gradients on photographs."""
    return statistic(photos(page, question="cost"), lambda rows: int(rows.path_steps.iloc[0]))


@number("photo.beta.{place}", digits=0, place=("smallest", "largest"))
def photo_beta(page: Page, place: str) -> Number:
    """Sharpness of the bluntest and of the sharpest softplus of the published directions on photographs."""
    return statistic(photos(page, beta=place), lambda rows: rows.beta.iloc[0])


@number("photo.twin.{place}", "%", place=("smallest", "largest"))
def photo_twin(page: Page, place: str) -> Number:
    """Overlap of the gradient that the published direction of the bluntest or the sharpest softplus leaves on
    photographs, after as many steps as the attacks whose cost is compared."""
    return mean(photos(page, question="cost", method=GRADIENT, beta=place), "topk", scale=100)


@number("paper.topk", "%", digits=1)
def paper_topk(page: Page) -> Number:
    """The paper's overlap of the simple gradient after its top-k attack of 8/255."""
    return comparison.paper_kept(page, "topk", "gradient")
