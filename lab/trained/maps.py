"""The maps that a cell asks for: its method and the options that its parameters give it."""

from collections.abc import Callable

from torch import Tensor

from fragility import attribution
from lab.core.parameters import Parameters

PATH = "integrated_gradients"       # the one method whose cells name a path


def method_of(cell: dict) -> tuple[Callable, dict]:
    """The cell's map function and its options; the baseline is zero, the black image."""
    return attribution.METHODS[cell["method"]], {"steps": cell["path_steps"]} if cell["method"] == PATH else {}


def pixel_maps(model, x: Tensor, labels: Tensor, cell: dict) -> Tensor:
    """Pixel maps (n, h, w) of images by the cell's method."""
    method, options = method_of(cell)
    return attribution.pixel_map(method(model, x, labels, **options))


def step_size(cell: dict) -> float:
    """The length of a step of a cell's attack, [ghorbani2019]'s sixteenth of the ball; short attacks stay inside."""
    return cell["epsilon"] / 16


def path_settings(parameters: Parameters, method: str) -> dict:
    """What a cell of integrated gradients says besides: its path, and how the direction of an attack is found."""
    names = ("path_steps", "path_points", "precision") if method == PATH else ()
    return {name: getattr(parameters, name) for name in names}
