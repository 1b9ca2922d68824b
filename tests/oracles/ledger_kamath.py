"""The claims of Kamath, Mittal, Deshpande and Balasubramanian (2024), cell by cell (`claims/kamath.yaml`).

The largest size is each data set's own. Of perturbed images only those count that keep their label, on both
sides of a difference; records of noise and of separation do not say which do.
"""

from tests.oracles.ledger import above, at_largest, below, found, gap, over_seeds, per, within
from tests.oracles.records import frame

ROBUST = ["pgd", "ig_sum_norm"]


def photographs():
    """Attacked maps of photographs at the largest size."""
    return found(at_largest(frame("attacked")))


def by_method(rows):
    return rows.groupby("method")


def by_model(rows):
    return rows.groupby(["data_set", "method"])


def natural():
    """The natural networks' maps."""
    rows = frame("lens")
    return rows[rows.training == "natural"]


def attacked(rows, attack="topk"):
    """Maps after an attack of the largest size that found something."""
    rows = at_largest(rows)
    return found(rows[rows.attack == attack])


def other_class(rows):
    return rows[rows.attack == "other_class"]


def few_pixels_stay():
    """1."""
    rows = photographs()
    return {method: below(per(group, "topk"), 0.4)
            for method, group in by_method(rows[rows.attack == "random_sign"])}


def an_attack_leaves_fewer():
    """1-control."""
    return {method: above(gap(rows[rows.attack == "random_sign"], rows[rows.attack == "topk"], "topk"))
            for method, rows in by_method(photographs())}


def gains(column, bound):
    """2, 3: a gain of the attacked maps of natural networks."""
    return {model: above(per(rows, column), bound) for model, rows in by_model(attacked(natural()))}


def beyond_another_class(column):
    """2-control, 3-control, 10-control: the attacked map's score minus that of another class's map."""
    return {model: above(gap(attacked(rows), other_class(rows), column)) for model, rows in by_model(natural())}


def well_above_topk():
    """4."""
    rows = photographs()
    return {(method, attack): above(per(group[group.attack == attack], "recall_gain"), 0.1)
            for method, group in by_method(rows) for attack in ["topk", "center", "random_sign"]}


def beyond_another_photograph(attack):
    """4-control, 4b-control: above chance, an attack of the largest size against another photograph's map."""
    rows = frame("attacked")
    other = rows[rows.attack == "other_image"]
    return {method: above(gap(group[group.attack == attack], other[other.method == method], "recall_corrected"))
            for method, group in by_method(photographs())}


def separates_better(metric):
    """5, 5b: the area under the curve of a metric minus that of top-k, for each attack."""
    rows = frame("separation")
    rows = rows[rows.training == "natural"]
    return {cell: above(gap(group[group.metric == metric], group[group.metric == "topk"], "separation"))
            for cell, group in rows.groupby(["data_set", "method", "attack"])}


def noise_leaves_more_than_the_class():
    """5-control."""
    cells = {}
    for model, rows in by_model(natural()):
        largest = at_largest(rows)
        noise, same = found(largest[largest.attack == "random_sign"]), rows[rows.attack == "same_class"]
        cells[model] = above(gap(noise, same, "recall"))
    return cells


def robust_training_helps(column, attack="topk"):
    """6 to 6-control: networks trained for robustness minus the natural one, on the images that both have."""
    rows = attacked(frame("lens"), attack)
    rows = rows.assign(recall_above_chance=rows.recall - rows.chance_recall)
    cells = {}
    for model, group in by_model(rows):
        plain = group[group.training == "natural"]
        for training in ROBUST:
            cells[model, training] = above(gap(group[group.training == training], plain, column))
    return cells


def over_networks(column):
    """6d-control, 6e-control: the same over five seeds; differences of an image's two maps, averaged for each seed."""
    cells = {}
    for model, rows in by_model(found(frame("repeats"))):
        plain = rows[rows.training == "natural"]
        for training in ROBUST:
            differences = gap(rows[rows.training == training], plain, column, "seed", "image")
            cells[model, training] = over_seeds(differences)
    return cells


def robust_photographs_leave_less(column):
    """7: no network of photographs was trained by PGD, hence no cell."""
    cells = {}
    for method, rows in by_method(frame("noise")):
        differences = gap(rows[rows.training == "natural"], rows[rows.training == "pgd"], column)
        if len(differences):
            cells[method] = above(differences)
    return cells


def noisy_photographs(column, bound, *methods):
    """8, 8-control: under noise, of the natural network."""
    rows = frame("noise")
    rows = rows[(rows.training == "natural") & rows.method.isin(methods)]
    return {method: above(per(group, column), bound) for method, group in by_method(rows)}


def regulariser_helps_integrated_gradients():
    """9: cells of 6b, judged by themselves."""
    rows = attacked(frame("lens"))
    cells = {}
    for data_set, group in rows[rows.method == "integrated_gradients"].groupby("data_set"):
        regularised, plain = group[group.training == "ig_sum_norm"], group[group.training == "natural"]
        cells[data_set] = above(gap(regularised, plain, "recall"))
    return cells


def regulariser_adds_to_pgd():
    """9-control: over seeds."""
    rows = found(frame("repeats"))
    cells = {}
    for data_set, group in rows[rows.method == "integrated_gradients"].groupby("data_set"):
        regularised, start = group[group.training == "ig_sum_norm"], group[group.training == "pgd"]
        cells[data_set] = over_seeds(gap(regularised, start, "topk", "seed", "image"))
    return cells


def ranks_gain_over_networks():
    """10: a seed is its images' mean."""
    rows = found(frame("repeats"))
    return {model: over_seeds(per(group, "rank_gain", "seed", "image"))
            for model, group in by_model(rows[rows.training == "natural"])}


def ranks_gain_on_flowers():
    """10-flowers."""
    rows = attacked(natural())
    return {method: above(per(group, "rank_gain")) for method, group in by_method(rows[rows.data_set == "flowers"])}


def never_below(column):
    """12, 12b: the smallest of all pairs of maps; a minimum has no interval and lies where it lies."""
    return {model: above([rows[column].min()], -1e-6) for model, rows in by_model(frame("lens"))}


def knowledge_does_not_matter():
    """13-control: the attack that aims at LENS against the one that aims at top-k, within 0.05."""
    return {model: within(gap(attacked(rows, "lens"), attacked(rows), "recall"), 0.05)
            for model, rows in by_model(natural())}


GRADIENTS = ["gradient", "gradient_x_input", "deeplift", "integrated_gradients"]

CLAIMS = {
    "kamath-1": few_pixels_stay,
    "kamath-1-control": an_attack_leaves_fewer,
    "kamath-2": lambda: gains("recall_gain", 0.1),
    "kamath-2-control": lambda: beyond_another_class("recall"),
    "kamath-3": lambda: gains("recall_div_gain", 0),
    "kamath-3-control": lambda: beyond_another_class("recall_div"),
    "kamath-4": well_above_topk,
    "kamath-4-control": lambda: beyond_another_photograph("topk"),
    "kamath-4b-control": lambda: beyond_another_photograph("center"),
    "kamath-5": lambda: separates_better("recall"),
    "kamath-5b": lambda: separates_better("recall_div"),
    "kamath-5-control": noise_leaves_more_than_the_class,
    "kamath-6": lambda: robust_training_helps("topk"),
    "kamath-6b": lambda: robust_training_helps("recall"),
    "kamath-6c": lambda: robust_training_helps("recall_div"),
    "kamath-6-control": lambda: robust_training_helps("recall_above_chance", "lens"),
    "kamath-6b-control": lambda: robust_training_helps("recall_over_other"),
    "kamath-6d-control": lambda: over_networks("topk"),
    "kamath-6e-control": lambda: over_networks("recall"),
    "kamath-7": lambda: robust_photographs_leave_less("topk"),
    "kamath-7-control": lambda: robust_photographs_leave_less("topk_over_other"),
    "kamath-8": lambda: noisy_photographs("recall", 0.65, *GRADIENTS),
    "kamath-8-control": lambda: noisy_photographs("recall_over_other", 0.1, *GRADIENTS, "lrp"),
    "kamath-9": regulariser_helps_integrated_gradients,
    "kamath-9-control": regulariser_adds_to_pgd,
    "kamath-10": ranks_gain_over_networks,
    "kamath-10-flowers": ranks_gain_on_flowers,
    "kamath-10-control": lambda: beyond_another_class("rank_gain"),
    "kamath-12": lambda: never_below("recall_gain"),
    "kamath-12b": lambda: never_below("distance_gain"),
    "kamath-13-control": knowledge_does_not_matter,
}
