"""Numbers on the live run of the chapter on LENS itself: its parameters and its networks."""

import pandas as pd

from lab.chapters.lens.numbers import NUMBERS, RUN, first
from lab.core.frames import select
from lab.core.numbers import Number, mean, sourced
from lab.core.pages import Page
from lab.material import networks
from lab.trained import robust

number = NUMBERS.number


def accuracies(page: Page) -> pd.DataFrame:
    """What the networks of the live run reach, without those of further seeds."""
    parameters = page.parameters(robust.EXPERIMENT)
    return page.live(robust.EXPERIMENT, [cell for cell in robust.cells(parameters) if cell["seed"] == parameters.seed])


@number("{parameter}", parameter=("k", "steps", "path_steps"))
def parameter(page: Page, parameter: str) -> Number:
    """A parameter of the live run."""
    return sourced(page.settings[parameter], RUN)


@number("robust.{setting}", digits=2, setting=("radius", "steps", "passes"))
def pgd_setting(page: Page, setting: str) -> Number:
    """Radius and steps of PGD in training, and passes over the training data, in the live run."""
    radius, steps, _ = page.settings["balls"][first(page)]
    return sourced({"radius": radius, "steps": steps, "passes": page.settings["robust_epochs"][first(page)]}[setting],
                   RUN)


@number("fine.points.{place}", place=("loss", "attack"))
def fine_points(page: Page, place: str) -> Number:
    """Path points of IG-SUM-NORM in the loss and in its attack, in the live run."""
    return sourced(page.settings["fine_points"][("loss", "attack").index(place)], RUN)


@number("data")
def data_set(page: Page) -> Number:
    """The data set of the live run."""
    return sourced(first(page), RUN)


@number("network")
def network(page: Page) -> Number:
    """The network of the live run, with the widths of its layers."""
    name = page.settings["networks"][first(page)]
    layers = [layer.weight for layer in networks.load(name).modules() if hasattr(layer, "weight")]
    widths = (f"{weight.shape[0]} {'channels' if weight.ndim == 4 else 'units'}" for weight in layers)
    return sourced(f"{name}, layers of {', '.join(widths)}", RUN)


@number("withstood.pgd", "%", digits=0)
def withstood(page: Page) -> Number:
    """Accuracy of the PGD network under PGD of its training's radius."""
    return mean(select(accuracies(page), data_set=first(page), training="pgd"), "withstood", scale=100)
