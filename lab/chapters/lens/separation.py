"""How well each metric tells random noise from an attack of the same size, from records of `metric_comparison`."""

import numpy as np
import pandas as pd

from lab.chapters.lens import metric_comparison
from lab.chapters.lens.scores import METRICS
from lab.core.experiment import Experiment, Factor, Outcome
from lab.core.parameters import grids
from lab.core.store import Store

ATTACKS = ("topk", "center", "lens")


def cells(parameters: metric_comparison.Lens) -> list[dict]:
    return [cell for one in grids(parameters) for cell in metric_comparison.grid(one)
            if cell["attack"] in ATTACKS and cell["epsilon"] == max(one.epsilons[cell["data_set"]])]


def inputs(cell: dict, store: Store) -> dict:
    return {kind: metric_comparison.EXPERIMENT.key(one, store) for kind, one in _pair(cell).items()}


def run(cell: dict, store: Store) -> Outcome:
    """For each metric the area under the ROC curve of telling noise from the attack, as :func:`auc_shares` of images.

    Missing for images that the attack returned unchanged, and where the metric is undefined.
    """
    tables = {kind: metric_comparison.EXPERIMENT.record(one, store).table for kind, one in _pair(cell).items()}
    parts = []
    for metric in METRICS:
        noise, attack = (tables[kind][metric].to_numpy(float) for kind in ("noise", "attack"))
        valid = (tables["attack"].found == 1).to_numpy() & np.isfinite(noise) & np.isfinite(attack)
        parts.append(pd.DataFrame({"image": tables["noise"]["image"], "metric": metric, "separation": np.nan}))
        if valid.any():
            parts[-1].loc[valid, "separation"] = auc_shares(noise[valid], attack[valid])
    return Outcome(pd.concat(parts, ignore_index=True))


def _pair(cell: dict) -> dict[str, dict]:
    return {"noise": metric_comparison.without_search(cell, attack="random_sign", steps=1), "attack": cell}


def auc_shares(high: np.ndarray, low: np.ndarray) -> np.ndarray:
    """Values (n,), one an image, whose mean is the area under the ROC curve of two paired samples (n,).

    The area is the share of pairs in which `high` is above `low`, ties counted half. An image contributes twice, by its
    `high` against all `low` and the other way round, so a bootstrap over these values resamples both, as DeLong's
    variance does.
    """
    wins = (high[:, None] > low) + (high[:, None] == low) / 2
    return wins.mean(1) + wins.mean(0) - wins.mean()


def sketch(cell: dict) -> tuple[dict, Factor]:
    """No time of its own, once the records that it reads are there."""
    tiny, factor = metric_comparison.sketch(cell)
    return tiny, Factor(0 * factor.time, 1)


EXPERIMENT = Experiment(
    "separation", 3, metric_comparison.Lens, cells, inputs, run, sketch,
    canary={**metric_comparison.EXPERIMENT.canary, "attack": "topk"},
    canary_values={"separation": 0.71}, notebook="lens", reads=("networks", "robust", "lens"))
