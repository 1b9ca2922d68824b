"""The claims of Ghorbani, Abid and Zou (2019), cell by cell (`claims/ghorbani.yaml`).

Maps with a reference image are those from the mean colour, of small photographs those from black. Of one data set
each, the largest size is one number. Images whose label is lost do not count.
"""

from tests.oracles.ledger import above, at_largest, below, found, gap, per, sizes, within
from tests.oracles.records import frame

MAPS = ["gradient", "deeplift", "integrated_gradients"]


def maps(experiment):
    """The maps of an experiment, of images that keep their label; of maps with a reference, those from the mean colour:
    where their records name none, it is black, from which all of small photographs are."""
    rows = frame(experiment)
    if experiment == "small":
        return found(rows)
    return found(rows[~rows.method.isin(["integrated_gradients", "deeplift"]) | (rows.reference == "mean")])


def stays(attack, column, bound, experiment="fragility"):
    """1 to 4: what is left of each of the three maps at the largest size is below the bound; 1 and 2 of every
    photograph that the network gets right."""
    rows = at_largest(maps(experiment))
    rows = rows[rows.attack == attack]
    return {method: below(per(rows[rows.method == method], column), bound) for method in MAPS}


def at_a_quarter():
    """5: each of the three maps under each of the two attacks at the second smallest size (of 1, 2, 4, 8 / 255)."""
    rows = maps("fragility")
    rows = rows[rows.epsilon == sizes(rows)[1]]
    return {(method, attack): below(per(rows[(rows.method == method) & (rows.attack == attack)], "topk"), 0.25)
            for method in MAPS for attack in ["topk", "center"]}


def lower_than_random(experiment):
    """6, 14: the rank correlation under random signs minus that under an attack exceeds 0.03."""
    rows = at_largest(maps(experiment))
    cells = {}
    for method in MAPS:
        of_method = rows[rows.method == method]
        random = of_method[of_method.attack == "random_sign"]
        for attack in ["topk", "center"]:
            cells[method, attack] = above(gap(random, of_method[of_method.attack == attack], "spearman"), 0.03)
    return cells


def moves_farther(rows):
    """7, 14a: the centre moves farther under its own attack than under top-k."""
    cells = {}
    for method in MAPS:
        of_method = rows[rows.method == method]
        center, topk = of_method[of_method.attack == "center"], of_method[of_method.attack == "topk"]
        cells[method] = above(gap(center, topk, "center"))
    return cells


def integrated_gradients_harder(experiment, column, than, by=0.0):
    """8, 8a, 14b: the top-k attack leaves more of integrated gradients than of the other map of the same image."""
    rows = at_largest(maps(experiment))
    rows = rows[rows.attack == "topk"]
    integrated = rows[rows.method == "integrated_gradients"]
    return {method: above(gap(integrated, rows[rows.method == method], column), by) for method in than}


def influences(attack, place, column, compare, bound):
    """9 to 11a: a column of the influences at a place among the sizes, of each network."""
    rows = found(frame("influences"))
    rows = rows[(rows.attack == attack) & (rows.epsilon == sizes(rows)[place])]
    return {network: compare(per(of_network, column), bound) for network, of_network in rows.groupby("network")}


def confidence_stays():
    """12: the change of confidence lies within 0.1, by map and attack."""
    rows = at_largest(maps("fragility"))
    return {(method, attack): within(per(rows[(rows.method == method) & (rows.attack == attack)],
                                         "confidence_change"), 0.1)
            for method in MAPS for attack in ["topk", "center"]}


def small_images_more_robust():
    """13: the rank correlation of the same images at 96 minus that at 227 pixels, random signs."""
    rows = frame("resolution")
    rows = rows[rows.attack == "random_sign"]
    small, *_, large = sizes(rows, "side")
    return {"": above(gap(rows[rows.side == small], rows[rows.side == large], "spearman"))}


def moved_into_a_quarter():
    """15: the share inside the quarter, an image's four quarters averaged."""
    return {method: above(per(rows, "after"), 0.5) for method, rows in found(frame("targeted")).groupby("method")}


def deep_taylor(experiment, attack, bound):
    """16, 16a; the latter of every photograph that the network gets right."""
    rows = at_largest(maps(experiment))
    return {"": below(per(rows[(rows.method == "deep_taylor") & (rows.attack == attack)], "topk"), bound)}


def twin_works():
    """17: one draw of random signs leaves more overlap than perturbations found on a softplus twin."""
    rows = found(frame("variants"))
    random = rows[(rows.question == "random") & (rows.variant == "one draw")]
    twins = rows[rows.question == "twin"]
    return {beta: above(gap(random, twins[twins.variant == beta], "topk")) for beta in ["beta 1", "beta 5", "beta 20"]}


def grows_with_dimension():
    """18: single neurons, the relative change at 10,000 inputs minus that at 10, networks paired by their number."""
    rows = frame("dimension")
    rows = rows[(rows.width == 1) & (rows.perturbation == "sign")]
    small, *_, large = sizes(rows, "dimension")
    return {"": above(gap(rows[rows.dimension == large], rows[rows.dimension == small], "relative"))}


def orthogonal(kind, network):
    """19: the angle of the two directions, of importance in one network; 19b: of influences in the other."""
    rows = frame("directions")
    return {"": above(per(rows[(rows.kind == kind) & (rows.network == network)], "angle"), 80)}


def orthogonal_at_random():
    """19a: the same in random networks of 10, 100 and 1000 units at the largest dimension."""
    rows = frame("dimension")
    rows = rows[(rows.perturbation == "sign") & (rows.dimension == sizes(rows, "dimension")[-1])]
    return {width: above(per(rows[rows.width == width], "angle"), 80) for width in [10, 100, 1000]}


CLAIMS = {
    "ghorbani-1": lambda: stays("random_sign", "topk", 0.3, "unattacked"),
    "ghorbani-2": lambda: stays("random_sign", "spearman", 0.7, "unattacked"),
    "ghorbani-3": lambda: stays("topk", "topk", 0.2),
    "ghorbani-4": lambda: stays("center", "topk", 0.25),
    "ghorbani-5": at_a_quarter,
    "ghorbani-6": lambda: lower_than_random("fragility"),
    "ghorbani-7": lambda: moves_farther(at_largest(maps("fragility"))),
    "ghorbani-8": lambda: integrated_gradients_harder("fragility", "topk", ["gradient"], by=0.018),
    "ghorbani-8a": lambda: integrated_gradients_harder("fragility", "spearman", ["gradient"]),
    "ghorbani-9": lambda: influences("gradient_sign", -2, "survivors", below, 2.5),
    "ghorbani-9a": lambda: influences("gradient_sign", -2, "survivors", above, 1.5),
    "ghorbani-9b": lambda: influences("gradient_sign", -2, "survivors_published", above, 1.5),
    "ghorbani-10": lambda: influences("gradient_sign", -2, "spearman", below, 0.2),
    "ghorbani-11": lambda: influences("random_sign", -1, "spearman", below, 0.95),
    "ghorbani-11a": lambda: influences("random_sign", -1, "spearman", above, 0.6),
    "ghorbani-12": confidence_stays,
    "ghorbani-13": small_images_more_robust,
    "ghorbani-14": lambda: lower_than_random("small"),
    "ghorbani-14a": lambda: moves_farther(at_largest(maps("small"))),
    "ghorbani-14b": lambda: integrated_gradients_harder("small", "topk", ["gradient", "deeplift"]),
    "ghorbani-15": moved_into_a_quarter,
    "ghorbani-16": lambda: deep_taylor("fragility", "topk", 0.5),
    "ghorbani-16a": lambda: deep_taylor("unattacked", "random_sign", 0.9),
    "ghorbani-17": twin_works,
    "ghorbani-18": grows_with_dimension,
    "ghorbani-19": lambda: orthogonal("feature importance", "cifar-cnn"),
    "ghorbani-19b": lambda: orthogonal("sample importance", "squeezenet1_0"),
    "ghorbani-19a": orthogonal_at_random,
}
