"""All metrics of [kamath2024] on pairs of maps, with their values by chance and under other rules for ties."""

import pandas as pd
import torch
from torch import Tensor

from fragility import metrics
from fragility.metrics.lens import diverse_topk, top_pixels
from lab.core.experiment import generator_for

METRICS = ("topk", "recall", "precision", "topk_div", "recall_div", "precision_div", "spearman", "kendall",
           "lens_spearman", "lens_kendall")
RULES = ("last", "any")             # rules for ties besides ours, which puts the lowest index first


def scores(a: Tensor, b: Tensor, cell: dict) -> pd.DataFrame:
    """All metrics of pairs of maps (n, h, w), a row a pair; set metrics also with chance and corrected for it.

    Missing where fewer than k diverse pixels exist, and corrected ones where chance leaves no room.
    """
    k, window = cell["k"], cell["window"]
    columns = dict(zip(("topk", "recall", "precision", "chance_recall", "chance_precision"),
                       _set_metrics(a, b, k, window)))
    columns["chance_topk"] = metrics.topk_chance(a, k)
    columns |= dict(zip(("topk_div", "recall_div", "precision_div", "chance_recall_div", "chance_precision_div"),
                        _set_metrics(a, b, k, window, diverse=True)))
    for name in ("topk", "recall", "precision", "recall_div", "precision_div"):
        chance = columns[f"chance_{name}"]
        finite = chance.isfinite()
        corrected = torch.full_like(chance, torch.nan)
        corrected[finite] = metrics.above_chance(columns[name][finite], chance[finite])
        columns[f"{name}_corrected"] = corrected
    columns |= {"spearman": metrics.spearman(a, b), "kendall": metrics.kendall(a, b),
                "lens_spearman": metrics.lens_spearman(a, b, window),
                "lens_kendall": metrics.lens_kendall(a, b, window),
                "lens_spearman_padded": metrics.lens_spearman(a, b, window, zero_padding=True),
                "chance_lens_spearman_padded": padded_chance(a, b, window)}
    columns |= {"recall_gain": columns["recall"] - columns["topk"],
                # metrics.lens_distance at window 0 less that at the window.
                "distance_gain": columns["recall"] + columns["precision"] - 2 * columns["topk"],
                "recall_div_gain": columns["recall_div"] - columns["recall"],
                "rank_gain": columns["lens_spearman"] - columns["spearman"]}
    for rule in RULES:
        overlap, recall, _, chance, _ = _set_metrics(*with_tie_rule(a, b, rule, cell), k, window, diverse=True)
        columns |= {f"topk_div_{rule}": overlap, f"recall_div_{rule}": recall, f"chance_recall_div_{rule}": chance}
    columns["zeros_div"] = ((a == 0) & diverse_topk(a, k, window)).sum((1, 2)) / k
    return pd.DataFrame({name: value.double().tolist() for name, value in columns.items()})


def _set_metrics(a: Tensor, b: Tensor, k: int, window: int, diverse: bool = False) -> tuple[Tensor, ...]:
    """Overlap, recall and precision of the (diverse) top k, and chance of the last two; NaN where k do not exist."""
    if diverse:
        first, second = diverse_topk(a, k, window), diverse_topk(b, k, window)
    else:
        first, second = top_pixels((a, b), k, window)
    near_first, near_second = metrics.dilate(first, window), metrics.dilate(second, window)
    exist = (first.sum((1, 2)) == k) & (second.sum((1, 2)) == k)
    values = [both.sum((1, 2)) / k for both in (first & second, near_first & second, first & near_second)]
    values += [near.double().mean((1, 2)) for near in (near_first, near_second)]
    return tuple(torch.where(exist, value, torch.nan) for value in values)


def padded_chance(a: Tensor, b: Tensor, window: int, draws: int = 4) -> Tensor:
    """Zero-padded LENS-Spearman (n,) of two maps whose pixels are shuffled: the effect of the dark border alone."""
    generator = torch.Generator().manual_seed(0)

    def shuffled(maps: Tensor) -> Tensor:
        order = torch.rand(maps.shape, generator=generator).flatten(1).argsort(1).to(maps.device)
        return maps.flatten(1).gather(1, order).view_as(maps)
    return torch.stack([metrics.lens_spearman(shuffled(a), shuffled(b), window, zero_padding=True)
                        for _ in range(draws)]).mean(0)


def with_tie_rule(a: Tensor, b: Tensor, rule: str, cell: dict) -> tuple[Tensor, Tensor]:
    """The two maps, changed so that ties go to the last pixel, or those of exact zeros to any pixel.

    For "last" the maps are rotated by 180 degrees, which makes the last pixel the first and changes nothing else.
    For "any" the zeros of the two maps are replaced by different noise, smaller than all other values.
    """
    if rule == "last":
        return a.flip(1, 2), b.flip(1, 2)
    generator = generator_for({"ties": cell["seed"]})
    return tuple(torch.where(side == 0, 1e-30 * (1 + torch.rand(side.shape, generator=generator)).to(side), side)
                 for side in (a, b))
