"""How far two maps agree, batched: (n, h, w) and (n, h, w) in, (n,) out; and what chance gives."""

from fragility.metrics.agreement import center_shift, kendall, spearman, ties, topk_intersection
from fragility.metrics.chance import SATURATED, above_chance, lens_chance, other_image, topk_chance
from fragility.metrics.invariance import IDENTICAL, Invariance, invariance
from fragility.metrics.lens import (
    box_mean,
    dilate,
    diverse_topk,
    lens_distance,
    lens_kendall,
    lens_precision,
    lens_recall,
    lens_spearman,
)

__all__ = [
    "IDENTICAL", "SATURATED", "Invariance", "above_chance", "box_mean", "center_shift", "dilate", "diverse_topk",
    "invariance", "kendall", "lens_chance", "lens_distance", "lens_kendall", "lens_precision", "lens_recall",
    "lens_spearman", "other_image", "spearman", "ties", "topk_chance", "topk_intersection",
]
