"""How far two maps agree, batched: (n, h, w) and (n, h, w) in, (n,) out; and what chance gives."""

from fragility.metrics.agreement import center_shift, kendall, spearman, topk_intersection, topk_mask
from fragility.metrics.chance import other_image, topk_chance

__all__ = ["center_shift", "kendall", "other_image", "spearman", "topk_chance", "topk_intersection", "topk_mask"]
