"""The two comparisons of [kamath2024] on photographs: attacked ones, and many methods under plain noise."""

import torch

from fragility import attacks, attribution, profiles
from fragility.attribution.output import logits_of
from fragility.experiments import fragile, lens, robust
from fragility.experiments.base import Experiment, Factor, Outcome, generator_for
from fragility.experiments.lens_scores import scores
from fragility.store import Store


def attacked_cells(parameters: lens.Lens) -> list[dict]:
    """Cells of the fragility chapter whose images are scored again: nothing is attacked twice."""
    if not parameters.photographs:
        return []
    chapter = fragile.EXPERIMENT.at(parameters.photographs)
    return [{**cell, "lens_k": parameters.photo_k, "window": parameters.photo_window}
            for cell in fragile.cells(chapter) if cell["method"] in parameters.methods]


def attacked_inputs(cell: dict, store: Store) -> dict:
    return {"attacked": fragile.EXPERIMENT.key(_theirs(cell), store)}


def attacked_run(cell: dict, store: Store) -> Outcome:
    theirs, score = _theirs(cell), {"k": cell["lens_k"], "window": cell["window"], "seed": cell["seed"]}
    if cell["attack"] == fragile.CONTROL:
        model, x, labels = fragile.subjects(theirs, store)
        method, arguments = fragile.method_of(theirs)
        before = attribution.pixel_map(method(model, x, labels, **arguments))
        after = before.roll(1, 0)
    else:
        before, _, after = fragile.shown(theirs, store, slice(None))
    found = fragile.EXPERIMENT.record(theirs, store).table.found.tolist()       # None for the control
    return Outcome(scores(before, after, score).assign(image=range(len(before)), pixels=before[0].numel(), found=found))


def _theirs(cell: dict) -> dict:
    return {name: value for name, value in cell.items() if name not in ("lens_k", "window")}


def attacked_sketch(cell: dict) -> tuple[dict, Factor]:
    images = min(2, cell["images"])
    return {**fragile.networks.untrained(cell), "images": images}, Factor(cell["images"] / images)


def noise_cells(parameters: lens.Lens) -> list[dict]:
    """Every method under one random sign: on photographs where there are some, else on the data sets at hand."""
    shared = {"images": parameters.images, "path_steps": parameters.photo_path_steps}
    if parameters.photographs:
        chapter = profiles.parameters("fragility", parameters.photographs)
        one = {"data_set": chapter["data_set"], "network": parameters.photo_network, "epochs": chapter["epochs"],
               "seed": parameters.seed, "epsilon": max(chapter["epsilons"]), "k": parameters.photo_k,
               "window": parameters.photo_window}
        subjects = [{**one, "training": training} for training in parameters.photo_trainings]
    else:
        subjects = [{**cell, "epsilon": max(parameters.epsilons[cell["data_set"]]), "k": parameters.k,
                     "window": parameters.window} for cell in map(robust.own, robust.settings(parameters))]
    return [{**subject, **shared, "method": method} for subject in subjects for method in parameters.noise_methods]


def noise_inputs(cell: dict, store: Store) -> dict:
    return {**fragile.inputs(cell, store), "judged": robust.origin(cell, store)}


def noise_run(cell: dict, store: Store) -> Outcome:
    """The same images for every training: those that the natural network classifies correctly."""
    x = fragile.candidates(cell, store)[:cell["images"]]
    model, _ = robust.trained(cell, store)
    labels = logits_of(robust.trained({**cell, "training": "natural"}, store)[0], x).argmax(1)
    # The same noise for every method.
    generator = generator_for({"noise": cell["seed"]})
    moved = attacks.random_sign(x, epsilon=cell["epsilon"], generator=generator)
    before, after = (_maps(model, images, labels, cell) for images in (x, moved))
    table = scores(before, after, cell).assign(image=range(len(x)), pixels=before[0].numel())
    other = scores(before, before.roll(1, 0), cell)
    for name in ("topk", "recall", "recall_div"):
        table[f"other_{name}"], table[f"{name}_over_other"] = other[name], table[name] - other[name]
    return Outcome(table)


def _maps(model, x: torch.Tensor, labels: torch.Tensor, cell: dict) -> torch.Tensor:
    options = {"steps": cell["path_steps"]} if cell["method"] == "integrated_gradients" else {}
    return attribution.pixel_map(attribution.METHODS[cell["method"]](model, x, labels, **options))


def noise_sketch(cell: dict) -> tuple[dict, Factor]:
    images = min(2, cell["images"])
    return {**robust.untrained(cell), "images": images}, Factor(cell["images"] / images)


_PLAIN = {"data_set": "mnist-5k", "network": "mnist-cnn", "epochs": 1, "seed": 0, "images": 16}
ATTACKED = Experiment(
    "attacked", 2, lens.Lens, attacked_cells, attacked_inputs, attacked_run, attacked_sketch,
    canary={**_PLAIN, "k": 50, "steps": 2, "method": "gradient", "attack": "topk", "epsilon": 0.1, "lens_k": 100,
            "window": 1},
    canary_values={"topk": 0.791, "recall": 0.95}, notebook="lens", reads=("fragility",))
NOISE = Experiment(
    "noise", 1, lens.Lens, noise_cells, noise_inputs, noise_run, noise_sketch,
    canary={**_PLAIN, "training": "natural", "method": "deeplift", "epsilon": 0.3, "k": 100, "window": 1,
            "path_steps": 4},
    canary_values={"topk": 0.643, "recall": 0.82}, notebook="lens")
