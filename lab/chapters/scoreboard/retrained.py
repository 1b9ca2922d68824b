"""The question that needs training data: the audit's verdict on the published trainings of the chapter on ROAR."""

import numpy as np
import pandas as pd

from fragility.audit.criteria import CRITERIA
from fragility.audit.criteria.retraining import REMOVED
from fragility.audit.verdicts import Result, judge
from lab.chapters.roar import benchmarks

#: Maps of the board by the names that the trainings have for them.
MAPS = {"GRAD": "gradient", "GB": "guided_backprop", "SG-GRAD": "smoothgrad", "SG-SQ-GRAD": "smoothgrad_squared",
        "VAR-GRAD": "vargrad", "IG": "integrated_gradients", "Sobel": "sobel"}
CRITERION = CRITERIA["retraining"]


def verdicts(table: pd.DataFrame) -> pd.DataFrame:
    """One row a data set and map of a frame of trainings: the fields of the audit's `Verdict`, by accuracies between 0
    and 1 without the top half of the pixels, beside those without a random half.

    One level holds for all maps of a data set that are no controls, as on the board.
    """
    rows = []
    for data_set, trainings in table.groupby("data_set", sort=False) if len(table) else ():
        half = benchmarks.at_share(trainings, REMOVED).pivot(index="seed", columns="estimator", values="accuracy") / 100
        there = [name for name in MAPS if name in half]
        for name in there:
            pairs = half[[name, "Random"]].dropna()
            found = Result(MAPS[name], CRITERION.name, np.arange(len(pairs)), pairs[name].to_numpy(),
                           {"random": pairs["Random"].to_numpy()}, {}, np.zeros(len(pairs), bool))
            verdict = judge(CRITERION, found, family=len(set(there) - {"Sobel"}))
            rows.append({"data_set": data_set, "method": MAPS[name], "trainings": verdict.n, "verdict": verdict.verdict,
                         "effect": verdict.effect, "low": verdict.low, "high": verdict.high, "score": verdict.score})
    return pd.DataFrame(rows, columns=["data_set", "method", "trainings", "verdict", "effect", "low", "high", "score"])
