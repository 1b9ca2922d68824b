"""Single test images of a run: the training images that mattered before and after its strongest step."""

import pandas as pd
import torch
from matplotlib.figure import Figure

from fragility import influence
from lab.chapters.influence import figures, influences


def strongest(parameters: influences.Influences) -> dict:
    """The cell of the gradient sign of the largest size, of the first network."""
    return max((cell for cell in influences.of_first_network(parameters) if cell["attack"] == influences.ATTACKS[0]),
               key=lambda cell: cell["epsilon"])


def draw(cell: dict, about: influences.Setting, row: pd.Series) -> Figure:
    """A test image beside the training images that help it most, clean and perturbed; `row` is of the cell's table."""
    x = about.x[[row.image]]
    pair = torch.cat([x, influences.perturbed(cell, about, x)])
    features = influences.features_of(about.extract, pair)
    logits = influence.logits(about.head, features)
    shares = influences.exact(about, features, logits[:1].argmax(1).expand(2))
    titles = [f"class {cell['classes'][k]}, {p:.0%}" for k, p in zip(logits.argmax(1), logits.softmax(1).amax(1))]
    return figures.influence_example(pair, about.images, shares, titles, row.spearman)
