"""Drawing: every figure of the book from a tidy frame or a batch of maps, in one house style."""

import matplotlib.pyplot as plt

from fragility.figures.attacks import cost, degrees, region_rows, saturation, targeted_shares, variant_table
from fragility.figures.comparison import against_paper, comparison, reported_comparison, validity
from fragility.figures.encodings import changes, encodings, invariance_matrix
from fragility.figures.influence import (
    angle_histograms,
    bound_scatter,
    dimension_curves,
    influence_curves,
    influence_example,
    influence_scatters,
    kink,
    resolution_curves,
)
from fragility.figures.lens import (
    METRIC_NAMES,
    lens_bars,
    lens_curves,
    noise_dots,
    separations,
    tie_rules,
)
from fragility.figures.maps import map_rows, map_table
from fragility.figures.neighbourhoods import models_before_after, top_sets
from fragility.figures.roar import (
    REPORTED_CLEAN,
    accuracy_table,
    degraded_images,
    removal_curves,
    reported_roar,
    toy_curves,
    training_dots,
    training_table,
)
from fragility.figures.robust import TRAINING_NAMES, robust_table, seed_dots
from fragility.figures.style import NAMES, PALETTE, use_style
from fragility.figures.tables import VERDICT_MARKS, benchmark_setting, benchmark_table, ledger_table, plain_table

__all__ = [
    "METRIC_NAMES", "NAMES", "PALETTE", "REPORTED_CLEAN", "TRAINING_NAMES", "VERDICT_MARKS", "accuracy_table",
    "against_paper", "angle_histograms", "benchmark_setting", "benchmark_table", "bound_scatter", "changes",
    "comparison", "cost", "degraded_images", "degrees", "dimension_curves", "encodings", "influence_curves",
    "influence_example", "influence_scatters", "invariance_matrix", "kink", "ledger_table", "lens_bars",
    "lens_curves", "map_rows", "map_table", "models_before_after", "noise_dots", "plain_table", "plt",
    "region_rows", "removal_curves", "reported_comparison", "reported_roar", "resolution_curves", "robust_table",
    "saturation", "seed_dots", "separations", "targeted_shares", "tie_rules", "top_sets", "toy_curves", "training_dots",
    "training_table", "use_style", "validity", "variant_table",
]
