"""Metrics of [kamath2024] on photographs: attacked ones, and many methods under random signs."""

from fragility import attacks
from fragility.passes import logits_of
from lab.chapters.fragility import comparison
from lab.chapters.lens import metric_comparison
from lab.chapters.lens.scores import scores
from lab.core import profiles
from lab.core.experiment import Experiment, Factor, Outcome, generator_for, shrink
from lab.core.store import Store
from lab.trained import natural, robust, subjects
from lab.trained.maps import pixel_maps


def attacked_cells(parameters: metric_comparison.Lens) -> list[dict]:
    """One for each cell of the fragility chapter, whose attacked images are scored again: nothing is attacked twice."""
    if not parameters.photographs:
        return []
    chapter = comparison.EXPERIMENT.at(parameters.photographs)
    return [{**cell, "lens_k": parameters.photo_k, "window": parameters.photo_window}
            for cell in comparison.cells(chapter.model_copy(update={"references": ["black"]}))
            if cell["method"] in parameters.methods]


def attacked_inputs(cell: dict, store: Store) -> dict:
    return {"attacked": comparison.EXPERIMENT.key(_attacked_cell(cell), store)}


def attacked_run(cell: dict, store: Store) -> Outcome:
    attacked_cell, score = _attacked_cell(cell), {"k": cell["lens_k"], "window": cell["window"], "seed": cell["seed"]}
    if cell["attack"] == comparison.CONTROL:
        before = pixel_maps(*subjects.subjects(attacked_cell, store), attacked_cell)
        after = before.roll(1, 0)
    else:
        before, _, after = comparison.shown(attacked_cell, store, slice(None))
    found = comparison.EXPERIMENT.record(attacked_cell, store).table.found.tolist()       # None for the control
    return Outcome(scores(before, after, score).assign(image=range(len(before)), pixels=before[0].numel(), found=found))


def _attacked_cell(cell: dict) -> dict:
    return {name: value for name, value in cell.items() if name not in ("lens_k", "window")}


def attacked_sketch(cell: dict) -> tuple[dict, Factor]:
    tiny, times = shrink(natural.untrained(cell), images=2)
    return tiny, Factor(times["images"])


def noise_cells(parameters: metric_comparison.Lens) -> list[dict]:
    """Every method under one random sign, on photographs where `photographs` is given, else on the other data sets."""
    shared = {"images": parameters.images, "path_steps": parameters.photo_path_steps}
    if parameters.photographs:
        chapter = profiles.parameters("fragility", parameters.photographs)
        setting = {"data_set": chapter["data_set"], "network": parameters.photo_network, "epochs": chapter["epochs"],
                   "seed": parameters.seed, "epsilon": max(chapter["epsilons"]), "k": parameters.photo_k,
                   "window": parameters.photo_window}
        networks = [{**setting, "training": training} for training in parameters.photo_trainings]
    else:
        networks = [{**cell, "epsilon": max(parameters.epsilons[cell["data_set"]]), "k": parameters.k,
                     "window": parameters.window} for cell in map(robust.training_cell, robust.settings(parameters))]
    return [{**network, **shared, "method": method} for network in networks for method in parameters.noise_methods]


def noise_inputs(cell: dict, store: Store) -> dict:
    return {**subjects.inputs(cell, store), "judged": robust.weights_identity(cell, store)}


def noise_run(cell: dict, store: Store) -> Outcome:
    """The same images for every training, those that the natural network classifies correctly."""
    x = subjects.candidates(cell, store)[:cell["images"]]
    model, _ = robust.trained(cell, store)
    labels = logits_of(robust.trained({**cell, "training": "natural"}, store)[0], x).argmax(1)
    generator = generator_for({"noise": cell["seed"]})      # the same noise for every method
    noisy = attacks.random_sign(x, epsilon=cell["epsilon"], generator=generator)
    before, after = (pixel_maps(model, images, labels, cell) for images in (x, noisy))
    table = scores(before, after, cell).assign(image=range(len(x)), pixels=before[0].numel())
    other = scores(before, before.roll(1, 0), cell)
    for name in ("topk", "recall", "recall_div"):
        table[f"other_{name}"], table[f"{name}_over_other"] = other[name], table[name] - other[name]
    return Outcome(table)


def noise_sketch(cell: dict) -> tuple[dict, Factor]:
    tiny, times = shrink(robust.untrained(cell), images=2)
    return tiny, Factor(times["images"])


_PLAIN = {"data_set": "mnist-5k", "network": "mnist-cnn", "epochs": 1, "seed": 0, "images": 16}
ATTACKED = Experiment(
    "attacked", 2, metric_comparison.Lens, attacked_cells, attacked_inputs, attacked_run, attacked_sketch,
    canary={**_PLAIN, "k": 50, "steps": 2, "method": "gradient", "attack": "topk", "epsilon": 0.1, "lens_k": 100,
            "window": 1},
    canary_values={"topk": 0.791, "recall": 0.95}, notebook="lens", reads=("networks", "fragility"))
NOISE = Experiment(
    "noise", 1, metric_comparison.Lens, noise_cells, noise_inputs, noise_run, noise_sketch,
    canary={**_PLAIN, "training": "natural", "method": "deeplift", "epsilon": 0.3, "k": 100, "window": 1,
            "path_steps": 4},
    canary_values={"topk": 0.643, "recall": 0.82}, notebook="lens", reads=("networks", "robust"))
