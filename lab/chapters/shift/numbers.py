"""Numbers in the text of the chapter on constant shifts; those of both runs are of the live one and, "full", of the
published one at the paper's size."""

import pandas as pd

from lab.chapters.shift import invariance, kittens, references, shifts
from lab.core.frames import select
from lab.core.numbers import Chapter, Number, mean, sourced, statistic
from lab.core.pages import Page
from lab.material import data

NUMBERS = Chapter("shift")
number = NUMBERS.number
RUNS = ("full", "live")
PARAMETER = "a parameter of the run"
FIXED = ("gradient_x_input", "lrp", "ig_zero")      # methods with a reference that stays
REFIT = "pattern_attribution_refit_relu"            # patterns fitted anew by the printed estimator
PAINTED = ("gradient_x_input", "ig_zero", "ig_black")
INK = {"faint": "smallest", "strong": "largest"}


def of_run(page: Page, run: str, experiment) -> pd.DataFrame:
    """An experiment's frame of the live or of the published run."""
    return page.live(experiment) if run == "live" else page.edition(experiment)


def main(page: Page, run: str, **where) -> pd.DataFrame:
    """Rows of the paper's network, the one that has a twin of other weights; without noise, where no other is asked."""
    table = of_run(page, run, invariance.EXPERIMENT)
    if table.empty:
        return table
    network = table.network[table["shift"] == shifts.REBUILT].iloc[0]
    return select(table, network=network, **{"noise": "none", **where})


def painted(page: Page, run: str, **where) -> pd.DataFrame:
    """Rows of the drawings that a shift paints into maps, with faint ink where no other is asked for."""
    return select(of_run(page, run, kittens.EXPERIMENT), **{"scale": INK["faint"], **where})


def referred(page: Page, run: str, method: str) -> pd.DataFrame:
    """Rows of the maps of a method from two reference points."""
    return select(of_run(page, run, references.EXPERIMENT), method=method)


@number("{run}.accuracy.{side}", "%", digits=1, run=RUNS, side=("plain", "shifted"))
def accuracy(page: Page, run: str, side: str) -> Number:
    """Test images that the paper's network classifies correctly, or shifted ones that its twin does."""
    column = "accuracy" if side == "plain" else "accuracy_shifted"
    return statistic(main(page, run, shift="uniform"), lambda rows: 100 * rows[column].iloc[0])


@number("{run}.images", run=RUNS)
def images(page: Page, run: str) -> Number:
    """Test images over which changes are means."""
    return statistic(main(page, run), lambda rows: rows.image.nunique())


@number("{run}.agreement", run=RUNS)
def agreement(page: Page, run: str) -> Number:
    """Largest relative difference of the logits of two networks, over all networks and shifts."""
    return statistic(of_run(page, run, invariance.EXPERIMENT), lambda rows: power_of_ten(rows.agreement.max()))


def power_of_ten(value: float) -> str:
    """A small number to one digit: 7 × 10⁻¹⁵."""
    digit, exponent = f"{value:.0e}".split("e")
    return f"{digit} × 10" + str(int(exponent)).translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))


@number("{run}.change.{method}", "%", run=RUNS, method=(*FIXED, REFIT))
def change(page: Page, run: str, method: str) -> Number:
    """Change of a map under the uniform shift, in parts of its own length."""
    return mean(main(page, run, shift="uniform", method=method), "relative", scale=100)


@number("{run}.noise.change", "%", run=RUNS)
def noise_change(page: Page, run: str) -> Number:
    """Change of SmoothGrad of the gradient under the checkerboard, with noise of each one's own range."""
    return mean(main(page, run, shift="checkerboard", noise="own", method="gradient"), "relative", scale=100)


@number("{run}.likeness.{method}", run=RUNS, method=PAINTED)
def likeness(page: Page, run: str, method: str) -> Number:
    """Correlation of a map with the drawing in faint ink that the shift is made for."""
    return mean(painted(page, run, method=method), "likeness")


@number("{run}.ahead.{method}", "%", run=RUNS, method=("ig_zero", "ig_black"))
def ahead(page: Page, run: str, method: str) -> Number:
    """Pairs of a pixel of the drawing in faint ink and one beside it in which the map is larger on the drawing."""
    return mean(painted(page, run, method=method), "ahead", scale=100)


@number("{run}.rebuilt.change.{method}", "%", run=RUNS, method=("guided_backprop", "deep_taylor"))
def rebuilt_change(page: Page, run: str, method: str) -> Number:
    """Change of a map from a network to one of other weights and the same function."""
    return mean(main(page, run, shift=shifts.REBUILT, method=method), "relative", scale=100)


@number("{run}.rebuilt.correlation.{method}", digits=3, run=RUNS, method=("guided_backprop", "pattern_net"))
def rebuilt_correlation(page: Page, run: str, method: str) -> Number:
    """Mean correlation of the maps of a network and of one of other weights and the same function."""
    return statistic(main(page, run, shift=shifts.REBUILT, method=method), lambda rows: rows.pearson.mean())


@number("{run}.ink.{ink}", "%", digits=0, run=RUNS, ink=tuple(INK))
def ink_strength(page: Page, run: str, ink: str) -> Number:
    """Ink of a drawing, of the largest gradient of its image."""
    return statistic(painted(page, run, scale=INK[ink]), lambda rows: 100 * rows.scale.iloc[0])


@number("{run}.clipped.{ink}", "%", digits=1, run=RUNS, ink=tuple(INK))
def clipped(page: Page, run: str, ink: str) -> Number:
    """Pixels of the shift that are clipped for a drawing of this ink."""
    return mean(painted(page, run, scale=INK[ink]), "clipped", scale=100)


@number("{run}.likeness.strong", run=RUNS)
def likeness_strong(page: Page, run: str) -> Number:
    """Correlation of gradient times input with the drawing of the strongest ink."""
    return mean(painted(page, run, scale=INK["strong"], method="gradient_x_input"), "likeness")


@number("{run}.reference.images", run=RUNS)
def reference_images(page: Page, run: str) -> Number:
    """Images whose maps from two reference points are compared: digits in the live run, photographs in the full one."""
    return statistic(of_run(page, run, references.EXPERIMENT), lambda rows: rows.image.nunique())


@number("{run}.reference.change.{method}", "%", run=RUNS, method=tuple(references.PAIRS))
def reference_change(page: Page, run: str, method: str) -> Number:
    """Change of a map by another reference point."""
    return mean(referred(page, run, method), "relative", scale=100)


@number("full.reference.correlation.{method}", method=tuple(references.PAIRS))
def reference_correlation(page: Page, method: str) -> Number:
    """Correlation of the two maps of photographs from two reference points."""
    return mean(referred(page, "full", method), "pearson")


@number("{run}.tied", "%", digits=1, run=RUNS)
def tied(page: Page, run: str) -> Number:
    """Largest change of the gradient of any image, network and shift."""
    rows = of_run(page, run, invariance.EXPERIMENT)
    rows = select(rows, shift=list(shifts.SHIFTS), noise="none", method="gradient") if len(rows) else rows
    return statistic(rows, lambda rows: 100 * rows.relative.max())


@number("digits.{split}", split=("train", "test"))
def digits(page: Page, split: str) -> Number:
    """Images of the live run's data set to train or to test on."""
    return sourced(len(data.load(page.settings["data_set"], split).images), "the data set")


@number("full.{what}", what=("path_steps", "samples"))
def setting(page: Page, what: str) -> Number:
    """Points of the path, and noise draws of SmoothGrad, at the paper's size."""
    return statistic(main(page, "full"), lambda rows: int(rows[what].iloc[0]))


@number("square", "pixels")
def square(page: Page) -> Number:
    """Side of a square of the checkerboard."""
    return sourced(shifts.SQUARE, "lab.chapters.shift.shifts.SQUARE")


@number("paper.accuracy", "%", digits=1)
def paper_accuracy(page: Page) -> Number:
    """Test images that the paper's network classifies correctly."""
    return sourced(98.3, "claims/kindermans.yaml, kindermans-1b")
