"""The images whose maps changed most, with every method's map before and after."""

from typing import NamedTuple

import numpy as np

from fragility.audit import png
from fragility.audit.report import Report
from fragility.audit.words import fixed

IMAGES = 5
MOST = 1_900_000    # characters of all pictures together: of many methods fewer images are shown
#: What a map is of: the criterion that scored it, and the words under it.
KINDS = {"clean": (None, "clean"), "noise": ("noise", "noise"), "attack": ("attack", "attack")}


class Map(NamedTuple):
    """A small map; `address` is None where there is none, as of an image without a disturbance that keeps its label."""

    word: str
    overlap: str | None
    address: str | None
    alternative: str


class Image(NamedTuple):
    """An image, and the maps of every method."""

    name: str
    label: str
    overlap: float
    address: str
    methods: list[tuple[str, list[Map]]]
    height: int
    width: int


class Worst(NamedTuple):
    """The images, the worst first, and the criterion that they are the worst by."""

    criterion: str
    images: list[Image]
    kinds: list[str]


def worst(report: Report) -> Worst | None:
    """None where no pictures were kept, or nothing was measured of their images."""
    if "images" not in report.pictures:
        return None
    methods = [name for name, one in report.methods.items() if not one["control"] and not one["refused"]]
    for criterion in ("attack", "noise"):
        scores = np.array([_by_place(report, name, criterion) for name in methods])
        seen = np.asarray(np.isfinite(scores).any(0)) if len(scores) else np.zeros(0, bool)
        if seen.any():
            break
    else:
        return None
    mean = np.full(len(seen), np.inf)
    mean[seen] = np.nanmean(scores[:, seen], axis=0)
    kinds = [kind for kind in KINDS if any((name, kind) in report.pictures for name in report.methods)]
    images, size = [], 0
    for place in np.argsort(mean, kind="stable")[:min(IMAGES, int(seen.sum()))]:
        image = _image(report, int(place), float(mean[place]), kinds)
        size += len(image.address) + sum(len(one.address or "") for _, maps in image.methods for one in maps)
        if images and size > MOST:
            break
        images.append(image)
    return Worst(criterion, images, kinds)


def _by_place(report: Report, method: str, criterion: str) -> np.ndarray:
    """Scores of the images that have pictures, in their order; NaN where there is none."""
    found = np.full(len(report.pictures["images"]), np.nan)
    result = report.results.get((method, criterion))
    if result is not None and not result.refused:
        kept = result.images < len(found)
        found[result.images[kept]] = result.score[kept]
    return found


def _image(report: Report, place: int, overlap: float, kinds: list[str]) -> Image:
    name, target = report.subject["images"][place], report.subject["target"][place]
    names = report.subject["class_names"]
    label = names[target] if names and target < len(names) else f"class {target}"
    values = report.pictures["images"][place]
    ordered = sorted(report.methods, key=lambda one: report.methods[one]["control"])
    methods = [(method, [_map(report, method, kind, place, name) for kind in kinds
                         if (method, kind) in report.pictures or not report.methods[method]["control"]])
               for method in ordered if (method, "clean") in report.pictures]
    return Image(name, label, overlap, png.of_image(values), methods, *values.shape[1:])


def _map(report: Report, method: str, kind: str, place: int, image: str) -> Map:
    maps, (criterion, word) = report.pictures.get((method, kind), ()), KINDS[kind]
    score = _by_place(report, method, criterion)[place] if criterion else np.nan
    overlap = fixed(float(score), 2) if np.isfinite(score) else None
    there = place < len(maps) and (overlap is not None or criterion is None)
    said = {"clean": "without disturbance", "noise": "under noise", "attack": "under attack"}[kind]
    stays = f", {overlap} of the top pixels stay" if overlap else ""
    return Map(word, overlap, png.of_map(maps[place]) if there else None,
               f"Map of {method} on {image} {said}{stays}.")
