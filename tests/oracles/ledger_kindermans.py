"""The claims of Kindermans, Hooker and others (2019), cell by cell (`claims/kindermans.yaml`).

Two maps are identical where their relative change is below 1e-5; they differ where it is above 0.1.
"""

from tests.oracles.ledger import above, below, per
from tests.oracles.records import frame


def invariance(shift=None, noise=None, network=None):
    """The records of a shift, a noise and a network; None: of all."""
    rows = frame("invariance")
    for column, value in {"shift": shift, "noise": noise, "network": network}.items():
        rows = rows if value is None else rows[rows[column] == value]
    return rows


def identical(rows, *methods):
    return {method: below(per(rows[rows.method == method], "relative"), 1e-5) for method in methods}


def different(rows, *methods):
    return {method: above(per(rows[rows.method == method], "relative"), 0.1) for method in methods}


def uniform():
    """The perceptron, images in [0, 1] against [-1, 0], maps without added noise."""
    return invariance("uniform", "none", "mnist-mlp")


def checkerboard():
    return invariance("checkerboard", "none", "mnist-mlp")


def same_logits():
    """1: an image's rows, one a method, hold the same agreement."""
    cells = invariance(noise="none").groupby(["network", "shift"])
    return {cell: below(per(rows, "agreement"), 1e-5) for cell, rows in cells}


def differ_by_more_than_a_factor():
    """10b-control."""
    rows = invariance("rebuilt")
    return {method: below(per(rows[rows.method == method], "pearson"), 0.99)
            for method in ["guided_backprop", "pattern_net"]}


def fitted_anew(estimators):
    """11: patterns fitted on the shifted data, by estimator and shift."""
    rows = invariance(noise="none")
    cells = {}
    for estimator in estimators:
        for shift, group in rows[rows.method == f"pattern_attribution_refit_{estimator}"].groupby("shift"):
            cells[estimator, shift] = below(per(group, "relative"), 1e-5)
    return cells


def kittens(column, side, bound, *methods):
    """8 to 8c: the drawing in the map, at the published scale of the shift, 0.01."""
    rows = frame("kittens")
    rows = rows[rows.scale == 0.01]
    return {method: side(per(rows[rows.method == method], column), bound) for method in methods}


def depends_on_the_reference():
    """9."""
    return {method: below(per(rows, "pearson"), 0.9) for method, rows in frame("references").groupby("method")}


PASS = ["gradient", "guided_backprop", "pattern_net", "pattern_attribution", "ig_black"]

CLAIMS = {
    "kindermans-1": same_logits,
    "kindermans-1b": lambda: {"": above(per(uniform(), "accuracy_shifted"), 0.978)},
    "kindermans-2": lambda: identical(uniform(), "gradient", "guided_backprop", "pattern_net"),
    "kindermans-3": lambda: different(uniform(), "gradient_x_input"),
    "kindermans-4": lambda: different(uniform(), "ig_zero"),
    "kindermans-4b": lambda: identical(uniform(), "ig_black"),
    "kindermans-5": lambda: different(uniform(), "lrp"),
    "kindermans-5b": lambda: identical(uniform(), "pattern_attribution"),
    "kindermans-6": lambda: identical(invariance("uniform", "equal"), *PASS),
    "kindermans-6b": lambda: different(invariance("uniform", "equal"), "gradient_x_input", "ig_zero", "lrp"),
    "kindermans-7": lambda: different(checkerboard(), "gradient_x_input", "lrp", "ig_black", "ig_zero"),
    "kindermans-7b": lambda: identical(checkerboard(), "pattern_attribution"),
    "kindermans-8": lambda: kittens("likeness", above, 0.8, "gradient_x_input", "lrp"),
    "kindermans-8b": lambda: kittens("ahead", above, 0.9, "ig_zero", "ig_black"),
    "kindermans-8c": lambda: kittens("relative", below, 1e-5, "pattern_attribution"),
    "kindermans-9": depends_on_the_reference,
    "kindermans-10": lambda: different(invariance("rebuilt"), "gradient"),
    "kindermans-10b": lambda: different(invariance("rebuilt"), "guided_backprop", "pattern_net"),
    "kindermans-10b-control": differ_by_more_than_a_factor,
    "kindermans-11-control": lambda: fitted_anew(["relu"]),
    "kindermans-11": lambda: fitted_anew(["linear", "conditional"]),
}
