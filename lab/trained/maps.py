"""The maps of a cell: its method, with the options that the cell's parameters give."""

from collections.abc import Callable

from torch import Tensor

from fragility import attribution
from lab.core.parameters import Parameters

PATH = "integrated_gradients"       # the only method whose cells hold settings of a path


def method_of(cell: dict) -> tuple[Callable, dict]:
    """The cell's map function and its options; the baseline of a path is black."""
    return attribution.METHODS[cell["method"]], {"steps": cell["path_steps"]} if cell["method"] == PATH else {}


def pixel_maps(model, x: Tensor, labels: Tensor, cell: dict) -> Tensor:
    """Pixel maps (n, h, w) of images by the cell's method."""
    method, options = method_of(cell)
    return attribution.pixel_map(method(model, x, labels, **options))


def step_size(cell: dict) -> float:
    """Step length of the cell's attack, [ghorbani2019]'s epsilon / 16; less than 16 steps do not reach the boundary."""
    return cell["epsilon"] / 16


def path_settings(parameters: Parameters, method: str) -> dict:
    """What only cells of integrated gradients hold: the steps of the path, and how attacks find their direction."""
    names = ("path_steps", "path_points", "precision") if method == PATH else ()
    return {name: getattr(parameters, name) for name in names}
