"""The maps of a cell: its method, with the options that the cell's parameters give."""

from collections.abc import Callable

from torch import Tensor

from fragility import attribution
from lab.core.device import device
from lab.core.parameters import Parameters, one_of
from lab.material import data

PATH = "integrated_gradients"       # the only method whose cells hold settings of a path
REFERENCED = (PATH, "deeplift")     # methods that measure from a reference image
REFERENCES = ("black", "mean")      # mean: one colour over the whole image, of each channel the data set's mean
Reference = one_of("Reference", REFERENCES)


def method_of(cell: dict) -> tuple[Callable, dict]:
    """The cell's map function and its options; the reference image is black where the cell names no other."""
    options = {"steps": cell["path_steps"]} if cell["method"] == PATH else {}
    if cell.get("reference") == "mean":
        options["baseline"] = data.mean_colour(cell["data_set"])[:, None, None].to(device())
    return attribution.METHODS[cell["method"]], options


def references(method: str, wanted: list[str]) -> list[dict]:
    """What the cells of a method say of its reference image, one for each that is wanted: nothing of a black one, nor
    where the method has none."""
    named = wanted if method in REFERENCED else ["black"]
    return [{} if name == "black" else {"reference": name} for name in named]


def reference_column(cell: dict) -> dict[str, str]:
    """The reference image of a cell's rows, "none" where the method has none."""
    return {"reference": cell.get("reference", "black") if cell["method"] in REFERENCED else "none"}


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
