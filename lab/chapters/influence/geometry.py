"""Numbers in the text of the chapter on influences: fragile directions, dimensions, resolutions, and a bound."""

import pandas as pd

from lab.chapters.influence import dimension, directions, resolution
from lab.chapters.influence.numbers import number
from lab.core.frames import select
from lab.core.numbers import Number, difference, mean, sourced, statistic
from lab.core.pages import Page

FEATURE, SAMPLE = directions.KINDS
#: Widths of random networks by what the text calls them, and places of the number of their inputs.
WIDTHS = {"single": "smallest", "narrow": "second smallest", "wide": "largest"}
INPUTS = {"few": "smallest", "many": "largest"}


def angles(page: Page, kind: str) -> pd.DataFrame:
    """Angles of the run, of pixels or of training images, of the network that is asked for."""
    network = page.settings["direction_network" if kind == FEATURE else "network"]
    return select(page.live(directions.EXPERIMENT), kind=kind, network=network)


@number("angle.feature", "°")
def angle_feature(page: Page) -> Number:
    """Angle between the direction that changes a pixel map fastest and the gradient of the score, in the run."""
    return mean(angles(page, FEATURE), "angle")


@number("angle.sample", "°")
def angle_sample(page: Page) -> Number:
    """Angle between the direction that changes the influences fastest and the gradient of the score, in the run."""
    return mean(angles(page, SAMPLE), "angle")


@number("angle.flowers", "°")
def angle_flowers(page: Page) -> Number:
    """Angle between the direction that changes the influences of flowers fastest and the gradient of the logit."""
    return mean(select(page.edition(directions.EXPERIMENT), kind=SAMPLE), "angle")


@number("angle.photos", "°")
def angle_photos(page: Page) -> Number:
    """Angle between the direction that changes a pixel map of CIFAR-10 fastest and the gradient of the score."""
    return mean(select(page.edition(directions.EXPERIMENT), kind=FEATURE, data_set="cifar10"), "angle")


@number("twin.photos")
def twin_photos(page: Page) -> Number:
    """Cosine of the gradients of the CIFAR-10 network and of its smooth twin."""
    return mean(select(page.edition(directions.EXPERIMENT), kind=FEATURE, data_set="cifar10"), "twin_cosine")


@number("twin")
def twin(page: Page) -> Number:
    """Cosine of the gradients of the run's network and of its smooth twin."""
    return mean(angles(page, FEATURE), "twin_cosine")


def simulated(page: Page, perturbation: str = "sign", **where) -> pd.DataFrame:
    """Published rows of the simulation, of the worst signs where no others are asked for."""
    return select(page.edition(dimension.EXPERIMENT), perturbation=perturbation, **where)


@number("simulation.size", digits=2)
def simulation_size(page: Page) -> Number:
    """Largest change of an input in the published simulation."""
    return statistic(simulated(page), lambda rows: rows.epsilon.iloc[0])


@number("simulation.networks")
def simulation_networks(page: Page) -> Number:
    """Random networks of each width and number of inputs in the published simulation."""
    return statistic(simulated(page), lambda rows: int(rows.networks.iloc[0]))


@number("inputs.{place}", place=tuple(INPUTS))
def inputs(page: Page, place: str) -> Number:
    """Fewest and most inputs of the published random networks."""
    return statistic(simulated(page, dimension=INPUTS[place]), lambda rows: int(rows.dimension.iloc[0]))


@number("width.{width}", width=("narrow", "wide"))
def width_of(page: Page, width: str) -> Number:
    """Hidden units of the narrowest published random network that is no single neuron, and of the widest."""
    return statistic(simulated(page, width=WIDTHS[width]), lambda rows: int(rows.width.iloc[0]))


@number("change.{place}", place=tuple(INPUTS))
def change(page: Page, place: str, width: str = "single", perturbation: str = "sign") -> Number:
    """Relative change of the gradient of a single neuron under the worst signs."""
    return mean(simulated(page, perturbation, width=WIDTHS[width], dimension=INPUTS[place]), "relative")


@number("change.formula")
def change_formula(page: Page) -> Number:
    """Relative change of the gradient of a single neuron that the paper's formula gives, at the most inputs."""
    return mean(simulated(page, width=WIDTHS["single"], dimension=INPUTS["many"]), "bound")


@number("turn.{width}", "°", width=("narrow", "wide"))
def turn(page: Page, width: str) -> Number:
    """Angle between the most fragile direction of random networks and their gradient, at the most inputs."""
    return mean(simulated(page, width=WIDTHS[width], dimension=INPUTS["many"]), "angle")


@number("turn.lines", "°", digits=1)
def turn_lines(page: Page) -> Number:
    """Mean angle of two random lines in the space of the most inputs."""
    return statistic(simulated(page, dimension=INPUTS["many"]),
                     lambda rows: directions.mean_random_angle(int(rows.dimension.iloc[0])))


@number("simulation.rank.{width}", width=("narrow", "wide"))
def simulation_rank(page: Page, width: str) -> Number:
    """Rank correlation that the worst signs leave the gradients of random networks, at the most inputs."""
    return mean(simulated(page, width=WIDTHS[width], dimension=INPUTS["many"]), "spearman")


def resized(page: Page, run: str, **where) -> pd.DataFrame:
    """Rows of the same images at several sizes, of the run or published ones of photographs."""
    table = page.live(resolution.EXPERIMENT) if run == "run" else page.edition(resolution.EXPERIMENT)
    return select(table, **where)


@number("{run}.side.{end}", "pixels", run=("run", "photos"), end=("smallest", "largest"))
def side(page: Page, run: str, end: str) -> Number:
    """Side of the smallest and the largest images."""
    return statistic(resized(page, run, side=end), lambda rows: int(rows.side.iloc[0]))


@number("{run}.fall.{attack}", run=("run", "photos"), attack=("random_sign", "topk"))
def fall(page: Page, run: str, attack: str) -> Number:
    """How much lower the rank correlation is at the largest size of the images than at the smallest."""
    small, large = (resized(page, run, side=end, attack=attack) for end in ("smallest", "largest"))
    return difference(small, large, "spearman")


@number("photos.levels", digits=0)
def photos_levels(page: Page) -> Number:
    """Largest change of a pixel of a resized photograph, in grey levels."""
    return statistic(resized(page, "photos"), lambda rows: 255 * rows.epsilon.iloc[0])


@number("photos.top", digits=2)
def photos_top(page: Page) -> Number:
    """Largest overlap of the top that the attack leaves on photographs, of the means at all sizes."""
    return statistic(resized(page, "photos", attack="topk"), lambda rows: rows.groupby("side").topk.mean().max())


def bounded(page: Page) -> pd.DataFrame:
    """Images of the run whose network has a bound by operator norms."""
    return select(page.live(directions.EXPERIMENT), kind=FEATURE, network=page.settings["bound_network"])


@number("step", digits=1)
def step(page: Page) -> Number:
    """Length of the step along the dominant direction."""
    return sourced(directions.STEP, "a constant of the experiment on directions")


@number("bound.eigenvalue", digits=2)
def bound_eigenvalue(page: Page) -> Number:
    """Median of the measured change, over the length of the step, in units of the eigenvalue."""
    return statistic(bounded(page), lambda rows: (rows.change / rows.eigenvalue.abs()).median())


@number("bound.change", digits=0)
def bound_change(page: Page) -> Number:
    """Median of the bound over the measured change."""
    return statistic(bounded(page), lambda rows: (rows.bound / rows.change).median())
