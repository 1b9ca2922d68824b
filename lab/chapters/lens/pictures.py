"""Which images of a run are pictured: those where two metrics disagree most, and one that every network has."""

from collections.abc import Sequence

import matplotlib.pyplot as plt
import pandas as pd
import torch
from torch import Tensor

from fragility import metrics
from lab.chapters.fragility import portraits
from lab.chapters.lens import metric_comparison, neighbourhoods
from lab.chapters.lens.training_figures import TRAINING_NAMES
from lab.core import results
from lab.core.frames import select
from lab.core.pages import Page
from lab.drawing.maps import map_rows

_K, _SETS = 1000, ((0, False), (3, False), (3, True))      # top pixels; windows, and whether pixels are diverse


def attacked_cell(page: Page, training: str = "natural") -> dict:
    """The cell of the run's top-k attack of the largest size on gradients, on its first data set."""
    parameters = page.parameters(metric_comparison.EXPERIMENT)
    cells = [cell for cell in metric_comparison.grid(parameters)
             if (cell["training"], cell["method"], cell["attack"]) == (training, "gradient", "topk")
             and cell["data_set"] == next(iter(parameters.networks))]
    return max(cells, key=lambda cell: cell["epsilon"])


def most_disagreeing(rows: pd.DataFrame, count: int = 3) -> tuple[list[int], list[list[str]]]:
    """Positions of the images of a cell with the largest gap between LENS recall and top-k, of those for which the
    attack found one, and their titles: none for the clean image, both scores for the attacked one."""
    rows = rows.reset_index(drop=True)
    rows = rows[rows.found == 1]
    chosen = rows.loc[(rows.recall - rows.topk).nlargest(count).index]
    titles = [["", f"top-k {row.topk:.2f}, LENS {row.recall:.2f}"] for row in chosen.itertuples()]
    return chosen.index.tolist(), titles


def attacked_cat() -> tuple[Tensor, Tensor]:
    """The gradient map (h, w) of scikit-image's cat before and after the top-k attack, from published pictures of 256
    levels."""
    record = next(record for record in results.published(portraits.EXPERIMENT)
                  if [record.parameters[name] for name in ("photograph", "method", "attack")]
                  == ["chelsea", "gradient", "topk"])
    return tuple(record.tensors()[name].float() / 255 for name in ("before", "after"))


def draw_cat(page: Page, figure: str) -> None:
    """Draw the top 1,000 pixels of the cat's maps and their neighbourhoods, and keep their scores."""
    before, after = attacked_cat()
    neighbourhoods.top_sets(before, after, _K, _SETS, ("clean", "after the top-k attack"))
    page.keep(figure, set_scores(before, after, _K, _SETS))
    plt.show()


def set_scores(a: Tensor, b: Tensor, k: int, sets: Sequence[tuple[int, bool]]) -> pd.DataFrame:
    """The scores of two maps (h, w) that :func:`lab.chapters.lens.neighbourhoods.top_sets` writes under its panels."""
    a, b = a[None], b[None]
    scores = {"recall": metrics.lens_recall, "precision": metrics.lens_precision}
    return pd.DataFrame([{"window": window, "diverse": diverse,
                          **{name: score(a, b, k, window, diverse=diverse).item() for name, score in scores.items()},
                          "chance of recall": metrics.lens_chance(a, k, window, diverse=diverse).item()}
                         for window, diverse in sets])


def in_pairs(parts: Sequence[Tensor], rows: list[int]) -> tuple[Tensor, Tensor]:
    """Some rows of what :func:`lab.chapters.lens.metric_comparison.shown` gives, clean beside perturbed: images
    (rows, 2, c, h, w) and maps (rows, 2, h, w)."""
    x, moved, before, after = (part[rows] for part in parts)
    return torch.stack([x, moved], 1), torch.stack([before, after], 1)


def draw_disagreeing(page: Page, figure: str) -> None:
    """Draw the images of the run on whose attacked gradient maps LENS recall and top-k disagree most, and keep both
    scores of all images."""
    cell = attacked_cell(page)
    same = {name: cell[name] for name in ("data_set", "training", "method", "attack", "epsilon")}
    rows = select(page.live(metric_comparison.EXPERIMENT), **same)
    chosen, titles = most_disagreeing(rows)
    parts = metric_comparison.shown(cell, page.store, slice(None))
    map_rows(*in_pairs(parts, chosen), titles, ["map", "map, attacked"])
    page.keep(figure, rows[["image", "topk", "recall", "chance_recall", "found"]])
    plt.show()


def shared_image(rows: pd.DataFrame) -> int:
    """The first image for which the attacks on all trainings' networks found one; ValueError where there is none."""
    found = [set(part.image) for _, part in rows[rows.found == 1].groupby("training")]
    both = set.intersection(*found) if len(found) == rows.training.nunique() else set()
    if not both:
        raise ValueError("There is no image for which the attack found one on every network; ask for more images.")
    return min(both)


def by_training(page: Page) -> tuple[dict[str, list[Tensor]], dict[str, str]]:
    """One image and its gradient map before and after the top-k attack on each training's network, as
    :func:`lab.chapters.lens.neighbourhoods.models_before_after` draws them, and its overlaps."""
    panels, notes = {}, {}
    cells = {training: attacked_cell(page, training) for training in page.settings["trainings"]}
    rows = select(page.live(metric_comparison.EXPERIMENT), method="gradient", attack="topk",
                  **{name: next(iter(cells.values()))[name] for name in ("data_set", "epsilon")})
    image = shared_image(rows)
    for training, cell in cells.items():
        place = select(rows, training=training).image.tolist().index(image)
        parts = metric_comparison.shown(cell, page.store, slice(place, place + 1))
        panels[TRAINING_NAMES[training]] = [part[0] for part in parts]
        overlap = metrics.topk_intersection(*parts[2:], cell["k"]).item()
        notes[TRAINING_NAMES[training]] = f"top-k {overlap:.2f}"
    return panels, notes


def draw_trainings(page: Page, figure: str) -> None:
    """Draw what :func:`by_training` gives, and keep the overlaps."""
    panels, notes = by_training(page)
    neighbourhoods.models_before_after(panels, notes)
    page.keep(figure, pd.DataFrame({"training": notes.keys(), "overlap": notes.values()}))
    plt.show()
