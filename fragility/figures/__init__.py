"""Drawing: every figure of the book from a tidy frame or a batch of maps, in one house style."""

import matplotlib.pyplot as plt

from fragility.figures.comparison import comparison, reported_comparison, validity
from fragility.figures.encodings import changes, encodings, invariance_matrix
from fragility.figures.influence import (
    angle_histograms,
    bound_scatter,
    dimension_curves,
    influence_curves,
    influence_example,
    kink,
    resolution_curves,
)
from fragility.figures.maps import map_rows
from fragility.figures.style import NAMES, PALETTE, use_style
from fragility.figures.tables import VERDICT_MARKS, benchmark_setting, benchmark_table, ledger_table, plain_table

__all__ = [
    "NAMES", "PALETTE", "VERDICT_MARKS", "angle_histograms", "benchmark_setting", "benchmark_table",
    "bound_scatter", "changes", "comparison", "dimension_curves", "encodings", "influence_curves",
    "influence_example", "invariance_matrix", "kink", "ledger_table", "map_rows", "plain_table", "plt",
    "reported_comparison", "resolution_curves", "use_style", "validity",
]
