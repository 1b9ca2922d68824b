"""The cat under perturbations of every smaller size, for the figure in which the reader chooses the size.

The largest size is that of :mod:`lab.chapters.fragility.portraits`; these are the others, as small pictures.
"""

import torch.nn.functional as F
from torch import Tensor

from lab.chapters.fragility import portraits
from lab.core.experiment import Experiment, Outcome
from lab.core.store import Store

PHOTOGRAPH = "chelsea"
SEEN = 227      # pixels of the side of the photograph that the network sees
SIDE = 114      # pixels of a picture


def cells(parameters: portraits.Portraits) -> list[dict]:
    """The portraits of the photograph at every size but the largest, smallest first."""
    attacks = [name for name in parameters.pictured.get(PHOTOGRAPH, []) if name != portraits.TARGET]
    smaller = [parameters.model_copy(update={"pictured": {PHOTOGRAPH: attacks}, "epsilons": [epsilon]})
               for epsilon in sorted(parameters.epsilons)[:-1] if attacks]
    return [cell for one in smaller for cell in portraits.cells(one)]


def run(cell: dict, store: Store) -> Outcome:
    table, pictures = portraits.run(cell, store)
    return Outcome(table, {name: shrink(pictures[name]) for name in ("after", "attacked")})


def shrink(picture: Tensor) -> Tensor:
    """A picture (..., h, w) of 8 bits, averaged down to (..., 114, 114)."""
    return F.adaptive_avg_pool2d(picture[None].float(), SIDE)[0].round().byte()


EXPERIMENT = Experiment(
    "portrait-sizes", 1, portraits.Portraits, cells, portraits.inputs, run, portraits.sketch,
    canary={"network": "squeezenet1_0", "epsilon": 0.01568627, "k": 1000, "seed": 0, "photograph": "chelsea",
            "method": "gradient", "steps": 2, "attack": "topk"},
    canary_values={"topk": 0.082, "spearman": 0.599108}, notebook="fragility", publishes_tensors=True)
