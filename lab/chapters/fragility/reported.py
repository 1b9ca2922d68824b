"""The curves of [ghorbani2019, figure 3], read off the authors' picture."""

import json

from lab.core import folders

WIDTH = 227      # pixels, of the photographs in [ghorbani2019]
# Our names of methods, metrics and attacks -> those in the file of digitised curves.
_METHODS = {"gradient": "SimpleGradient", "integrated_gradients": "IntegratedGradients", "deeplift": "DeepLIFT",
            "deep_taylor": "DeepTaylor"}
_METRICS = {"topk": "top1000_intersection", "spearman": "spearman", "center": "center_shift_px"}
_ATTACKS = {"topk": "topk", "center": "center", "random_sign": "random"}


def reported_comparison() -> dict:
    """The digitised curves: "x" holds the sizes in grey levels, from zero; the others are found by :func:`curve`."""
    return json.loads((folders.CLAIMS / "reported" / "ghorbani2019_fig3.json").read_text())


def curve(reported: dict, metric: str, method: str, attack: str) -> list[float]:
    """The paper's means at each of its sizes, for our names of metric, method and attack."""
    return reported[_METRICS[metric]][_METHODS[method]][_ATTACKS[attack]]
