"""What robust training gains, by each metric: the tests of the claims, applied to a run."""

from functools import lru_cache

import pandas as pd
from pandas.io.formats.style import Styler

from lab import evidence
from lab.chapters.lens.training_figures import TRAINING_NAMES
from lab.core import folders
from lab.core.profiles import read_yaml
from lab.drawing.tables import plain_table

#: Metric -> the claim that maps of robust networks are more robust by it.
CLAIMS = {"topk": "kamath-6", "recall": "kamath-6b", "recall_div": "kamath-6c", "above_chance": "kamath-6-control",
          "over_other": "kamath-6b-control"}
_TITLES = {"topk": "top-k", "recall": "LENS recall", "recall_div": "diverse LENS recall",
           "above_chance": "LENS recall above chance", "over_other": "LENS recall beyond another class"}


@lru_cache(maxsize=1)
def _tests() -> dict[str, dict]:
    return {claim["id"]: claim.get("test") for claim in read_yaml(folders.CLAIMS / "kamath.yaml")}


def evaluate(table: pd.DataFrame) -> dict[str, evidence.Verdict]:
    """What the rows of one data set say of each claim, by metric."""
    return {metric: evidence.evaluate(_tests()[claim], table) for metric, claim in CLAIMS.items()}


def gains_table(table: pd.DataFrame) -> Styler:
    """Verdict and gain over natural training on the same image, a row a metric; `table` is of one data set."""
    def named(verdict: evidence.Verdict) -> str:
        text = verdict.measured_with_interval.replace(f"{table.data_set.iloc[0]} ", "").replace("; ", "<br>")
        for training, name in TRAINING_NAMES.items():
            text = text.replace(training.replace("_", " "), name)
        return text

    rows = [{"more robust by": _TITLES[metric], "verdict": one.verdict,
             "gain over natural training [95 % interval]": named(one)} for metric, one in evaluate(table).items()]
    return plain_table(pd.DataFrame(rows))
