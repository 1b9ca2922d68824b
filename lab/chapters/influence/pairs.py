"""Influence of every training image on one test image, before and after one signed step [ghorbani2019, figure 4 a]."""

import pandas as pd

from fragility import checks, influence
from lab.chapters.influence import influences
from lab.core.experiment import Experiment, Outcome
from lab.core.store import Store

#: The test images whose influences have the lowest, the median and the highest rank correlation -> their quantile.
PLACES = {"lowest": 0.0, "median": 0.5, "highest": 1.0}


def cells(parameters: influences.Influences) -> list[dict]:
    """The first network, and the second largest size, which at the edition scale is the paper's 8/255."""
    sizes = sorted(parameters.epsilons)
    shared = parameters.model_dump(exclude={"epsilons", "more_networks"})
    return [{**shared, "attack": influences.ATTACKS[0], "epsilon": sizes[max(len(sizes) - 2, 0)], "place": place}
            for place in PLACES]


def inputs(cell: dict, store: Store) -> dict:
    return {**influences.inputs(cell, store), "influences": influences.EXPERIMENT.version}


def run(cell: dict, store: Store) -> Outcome:
    quantile = PLACES[checks.choice("place", cell["place"], PLACES)]
    influence_cell = {name: value for name, value in cell.items() if name != "place"}
    table = influences.EXPERIMENT.record(influence_cell, store).table.sort_values("spearman", kind="stable")
    row = table.iloc[round(quantile * (len(table) - 1))]
    context = influences.setting(influence_cell, store)
    x = context.x[[row.image]]
    before, after = (influences.features_of(context.extract, images)
                     for images in (x, influences.perturbed(influence_cell, context, x)))
    label = influence.logits(context.head, before).argmax(1)
    values = [influences.exact(context, features, label)[0].tolist() for features in (before, after)]
    classes = [cell["classes"][y] for y in context.train[1].tolist()]
    return Outcome(pd.DataFrame({"before": values[0], "after": values[1], "training_class": classes}).assign(
        test_class=cell["classes"][context.labels.tolist()[row.image]], image=int(row.image), spearman=row.spearman))


EXPERIMENT = Experiment(
    "influence-pairs", 1, influences.Influences, cells, inputs, run, influences.sketch,
    canary={**influences.EXPERIMENT.canary, "place": "median"},
    canary_values={"spearman": 0.9, "before": 0.13}, notebook="influence", reads=("networks", "influences"))
