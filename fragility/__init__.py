"""Can the saliency maps of a network be trusted? Batched maps, attacks, metrics, removal and shifts in PyTorch."""

from importlib import import_module

__version__ = "0.2.0"

_SUBMODULES = ("attacks", "attribution", "audit", "checks", "curvature", "data", "influence", "interop", "metrics",
               "passes", "removal", "rules", "shift", "training")
__all__ = [*_SUBMODULES, "Normalised"]


def __getattr__(name: str):
    """Submodules are imported on first use, so that `import fragility` costs nothing."""
    if name in _SUBMODULES:
        return import_module(f"fragility.{name}")
    if name == "Normalised":
        return import_module("fragility.normalised").Normalised
    raise AttributeError(f"module 'fragility' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
