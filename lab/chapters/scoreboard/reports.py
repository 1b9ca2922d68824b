"""The audit's report on a network of the board, made of its published records.

It has the verdicts, the evidence and the costs. Pictures and curves are not in it: records hold neither, and the
photographs may not be shown.
"""

from fragility.audit.criteria import CRITERIA
from fragility.audit.report import Report
from fragility.audit.settings import Settings
from fragility.audit.verdicts import judge
from lab.chapters.scoreboard import board
from lab.chapters.scoreboard.board import NETWORKS
from lab.chapters.scoreboard.methods import CONTROLS, METHODS
from lab.chapters.scoreboard.scoreboard import EXPERIMENT
from lab.core import results
from lab.core.frames import frame, select
from lab.core.store import Record
from lab.material import networks, photographs

#: Shape of the images and number of classes, of the networks whose images are small.
SMALL = {"cifar-resnet": ((3, 32, 32), 10), "mnist-cnn": ((1, 28, 28), 10)}
IMAGENET = 1000             # classes


def published() -> dict[str, Report]:
    """The report on each network of the board that has published records, by its name."""
    found: dict[str, list[Record]] = {}
    for record in results.published(EXPERIMENT):
        found.setdefault(record.parameters["network"], []).append(record)
    return {network: report(records, *_form(network)) for network, records in found.items()}


def _form(network: str) -> tuple[tuple[int, int, int], int]:
    side = networks.IMAGE_SIDE.get(network, photographs.SHORTER_SIDE)
    return SMALL.get(network, ((3, side, side), IMAGENET))


def report(records: list[Record], shape: tuple[int, int, int], classes: int) -> Report:
    """The report on the network of these records, of so many classes, whose images have that shape; planted maps are
    left out."""
    table, first = frame(records), records[0]
    shown = [name for name in (*METHODS, *CONTROLS) if (table.method == name).any()]
    criteria = [each for each in CRITERIA.values() if not each.over_trainings]
    found = {(method, each.name): board.result(method, each.name, select(table, method=method, criterion=each.name))
             for each in criteria for method in shown}
    refused = board.refused(table)
    family = {each.name: sum(not one.refused for (method, name), one in found.items()
                             if name == each.name and method in METHODS) for each in criteria}
    verdicts = [judge(CRITERIA[name], one, family=family[name]) for (_, name), one in found.items()
                if one.method not in refused]
    images = max(record.parameters["images"] for record in records)
    methods = {method: {"control": method in CONTROLS, "seconds": None, "megabytes": None,
                        "refused": refused.get(method)} for method in shown}
    subject = {"model": NETWORKS.get(first.parameters["network"], first.parameters["network"]), "n": images,
               "available": images, "shape": list(shape), "classes": classes, "parameters": None, "accuracy": None,
               "fingerprint": first.about["fingerprints"]["weights"], "images": _names(table), "target": [],
               "class_names": None}
    return Report(subject, _settings(records, shape), criteria,
                  {each.name: each.margin for each in criteria if each.margin is not None}, methods, found, verdicts,
                  _notices(records, images))


def _names(table) -> list[str]:
    return [f"image {row}" for row in range(int(table.image.max()) + 1)]


def _settings(records: list[Record], shape: tuple[int, int, int]) -> dict:
    first, (height, width) = records[0], shape[1:]
    attacked = max(record.parameters["attacked"] for record in records)
    steps = max(record.parameters["steps"] for record in records)
    settings = Settings(attacked=attacked, steps=steps)
    about = first.about
    return {**settings.written(), "top pixels": settings.top(height, width), "window": settings.window(height, width),
            "device": about["device"], "threads": about["threads"], "commit": about["commit"], **about["versions"]}


def _notices(records: list[Record], images: int) -> list[str]:
    """What a reader of the grid should know of its numbers of images."""
    fewer = {record.parameters["method"]: record.parameters["images"] for record in records
             if record.parameters["images"] < images}
    said = ["All images are classified correctly.", "The records hold neither curves nor pictures, so that this report "
            "has none."]
    if fewer:
        counts = ", ".join(f"{method} {count}" for method, count in fewer.items())
        said.append(f"Costly maps were measured on fewer images: {counts}.")
    return said
