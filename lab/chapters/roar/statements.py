"""What the text of the chapter on removal says of its numbers."""

from lab.chapters.roar import numbers, published, rankings, toy
from lab.chapters.roar.figures import reported_roar
from lab.chapters.roar.numbers import NUMBERS, live
from lab.chapters.roar.published import FILTERED, edition
from lab.core.frames import select
from lab.core.pages import NotRun, Page

statement = NUMBERS.statement
BASES = rankings.BASES
ENSEMBLES = ("SG-SQ-GRAD", "VAR-GRAD")


def _run(page: Page, *estimators: str, share: float | None = None, **where) -> dict[str, float]:
    """Mean accuracy by estimator in the live run, at the largest share unless another is asked for; NotRun where it
    lacks one of these."""
    found = live(page, share, **where).groupby("estimator").accuracy.mean().to_dict()
    if missing := set(estimators) - set(found):
        raise NotRun(f"of estimators that the live run lacks: {', '.join(sorted(missing))}")
    return found


@statement
def a_new_fit_spares_what_is_useless(page: Page) -> bool:
    """On the artificial problem, with a new fit all useless inputs can go and nearly every answer stays right, whatever
    the seed; without one, the first useless input costs more than the new fit loses by all of them."""
    table = page.live(toy.EXPERIMENT)
    flat = select(table, ranking="worst", retrained=True, removed=toy.FEATURES - toy.INFORMATIVE)
    return flat.accuracy.min() > 97 and numbers.toy_accuracy(page, "broken").value < flat.accuracy.mean() - 5


@statement
def redundant_inputs_are_not_seen(page: Page) -> bool:
    """With one informative input left of four, a new fit loses less than a point; with none it guesses."""
    table = page.live(toy.EXPERIMENT)
    full = select(table, ranking="true", retrained=True, removed=0).accuracy.mean()
    none = select(table, removed=toy.FEATURES).accuracy
    return numbers.toy_accuracy(page, "redundant").value > full - 1 and none.between(40, 60).all()


@statement
def training_again_restores_accuracy(page: Page) -> bool:
    """With most pixels removed at random, a network trained on such images is better than the explained one by more
    than 5 points; with the smallest share removed the two are within 5 points."""
    wide, narrow = (_run(page, "Random", share=share(page.settings["fractions"]))["Random"]
                    - _run(page, "Random", share=share(page.settings["fractions"]), kind="original")["Random"]
                    for share in (max, min))
    return wide > 5 > abs(narrow)


@statement
def base_estimators_do_not_beat_random(page: Page) -> bool:
    """At the largest share no base estimator leaves less than a random ranking, and SmoothGrad does not help; at the
    smallest integrated gradients leave less."""
    wide = _run(page, *BASES, "SG-GRAD", "Random")
    narrow = _run(page, "IG", "Random", share=min(page.settings["fractions"]))
    return (min(wide[name] for name in BASES) > wide["Random"] and wide["SG-GRAD"] > wide["GRAD"] - 1
            and narrow["IG"] < narrow["Random"])


@statement
def ensembles_do_not_beat_random_on_digits(page: Page) -> bool:
    """On these digits the squared and the variance ensemble leave more than a random ranking, and Sobel leaves least
    of all."""
    found = _run(page, *ENSEMBLES, "Sobel", "Random")
    return min(found[name] for name in ENSEMBLES) > found["Random"] and min(found, key=found.get) == "Sobel"


@statement
def good_maps_are_not_edges(page: Page) -> bool:
    """Sobel's ranking shares less than a third of its top pixels with the gradient's and with VAR-GRAD's."""
    _run(page, "GRAD", "VAR-GRAD")
    return max(numbers.edges(page, name).value for name in ("GRAD", "VAR-GRAD")) < 33


@statement
def keeping_tells_estimators_apart_less(page: Page) -> bool:
    """Between the best and the worst estimator lie fewer points in KAR than in ROAR, with and without the rankings that
    look at no network."""
    _run(page, "GRAD", *rankings.CONTROLS, mode="keep")
    return all(one(page, "kar").value < one(page, "roar").value for one in (numbers.spread, numbers.spread_looking))


@statement
def masks_alone_give_the_class(page: Page) -> bool:
    """The masks of the gradient and of VAR-GRAD give as much as the degraded images, within a point, or more; those of
    a random ranking give nothing."""
    telling = "GRAD", "VAR-GRAD"
    alone, behind = _run(page, *telling, "Random", kind="masks"), _run(page, *telling)
    return (all(alone[name] > behind[name] - 1 for name in telling)
            and abs(alone["Random"] - numbers.guessed(page).value) < 5)


@statement
def the_best_score_goes_to_masks_that_say_least(page: Page) -> bool:
    """The ranking that leaves least is the one whose masks say least, of those asked and but for the random ones;
    nine tenths of the pixels that Sobel leaves are in the last rows."""
    alone, behind = _run(page, "Random", "Sobel", kind="masks"), _run(page, "Sobel")
    del alone["Random"]
    return min(behind, key=behind.get) == min(alone, key=alone.get) and numbers.bottom_share(page).value > 90


@statement
def imputation_prefers_a_ranking_that_looks_at_no_network(page: Page) -> bool:
    """ROAD leaves least of Sobel's ranking, and less of the squared ensemble's than of a random one, which is the
    highest of all."""
    found = _run(page, "SG-SQ-GRAD", "Sobel", "Random", kind="road")
    order = sorted(found, key=found.get)
    return (order[0], order[-1]) == ("Sobel", "Random") and found["SG-SQ-GRAD"] < found["Random"] - 20


@statement
def no_filter_improves_the_score_of_digits(page: Page) -> bool:
    """In this run neither filter improves the score beyond chance."""
    changes = (numbers.blur(page, kind).interval for kind in rankings.FILTERS)
    return all(interval is None or interval[1] > 0 for interval in changes)


@statement
def the_papers_base_estimators_do_not_beat_random(page: Page) -> bool:
    """In the paper, with nine tenths removed, every base estimator leaves more than a random ranking on all three data
    sets, and the squared and variance ensembles of the gradient leave less."""
    rows = select(reported_roar(), mode="ROAR", percent=90).pivot_table("accuracy", "data_set", "estimator")
    return (all((rows[name] > rows.Random).all() for name in BASES)
            and all((rows[name] < rows.Random).all() for name in ENSEMBLES))


@statement
def sobel_is_worse_than_random_in_the_paper(page: Page) -> bool:
    """In the paper Sobel leaves more than a random ranking nearly everywhere: in at least 12 of 15 cells of ROAR."""
    rows = select(reported_roar(), mode="ROAR").pivot_table("accuracy", ["data_set", "percent"], "estimator")
    return len(rows) == 15 and (rows.Sobel > rows.Random).sum() >= 12


def _leaves(page: Page, data: str, **where) -> dict[str, float]:
    """Mean accuracy by estimator at the largest share."""
    return edition(page, data, **where).groupby("estimator").accuracy.mean().to_dict()


@statement
def only_maps_with_ties_beat_random_on_clothes(page: Page) -> bool:
    """On clothes only Sobel and squared integrated gradients leave less than a random ranking, and all nine ensembles
    more; integrated gradients leave 10 points more than it."""
    ours = _leaves(page, "clothes")
    return ({name for name, value in ours.items() if value < ours["Random"]} == {"Sobel", "SQ-IG"}
            and ours["IG"] > ours["Random"] + 10)


@statement
def ensembles_leave_nearly_everything_on_clothes(page: Page) -> bool:
    """On clothes the squared and the variance ensemble leave all but 4 points of what untouched images give."""
    ours, whole = _leaves(page, "clothes"), published.control(page, "clothes").value
    return min(ours[name] for name in ENSEMBLES) > whole - 4


@statement
def masks_of_clothes_say_the_class(page: Page) -> bool:
    """On clothes the masks of the gradient and the ensembles alone give all but 3 points of what untouched images give,
    those of Sobel at least 20 points less than these, random ones nothing."""
    alone, whole = _leaves(page, "clothes", kind="masks"), published.control(page, "clothes").value
    telling = min(alone[name] for name in ("GRAD", *ENSEMBLES))
    return telling > whole - 3 and alone["Sobel"] < telling - 20 and alone["Random"] < 15


@statement
def imputation_puts_ensembles_before_random_on_clothes(page: Page) -> bool:
    """On clothes ROAD with half of the pixels removed leaves least of SG-SQ-GRAD and VAR-GRAD, then of Sobel, then of a
    random ranking."""
    half = [published.road_half(page, "clothes", name).value for name in (*ENSEMBLES, "Sobel", "Random")]
    return max(half[:2]) < half[2] < half[3]


@statement
def imputation_orders_photographs_as_clothes_at_half(page: Page) -> bool:
    """On CIFAR-10, too, ROAD with half of the pixels removed leaves least of the two ensembles, then of Sobel, then of
    a random ranking."""
    half = [published.road_half(page, "cifar", name).value for name in (*ENSEMBLES, "Sobel", "Random")]
    return max(half[:2]) < half[2] < half[3]


@statement
def imputation_ends_near_guessing_on_clothes(page: Page) -> bool:
    """On clothes ROAD at the largest share leaves less than 14 % of the ensembles' and Sobel's, and of the gradient's
    more than of a random ranking's."""
    ours = _leaves(page, "clothes", kind="road")
    return max(ours[name] for name in (*ENSEMBLES, "Sobel")) < 14 and ours["GRAD"] > ours["Random"]


@statement
def ensembles_beat_random_on_photographs(page: Page) -> bool:
    """On CIFAR-10, at the largest share, the squared and variance ensembles leave less than a random ranking on
    average; the base estimators leave 3 points more, and SmoothGrad 3 points more than the gradient."""
    ours = _leaves(page, "cifar")
    return (max(ours[name] for name in ENSEMBLES) < ours["Random"] < min(ours[name] for name in BASES) - 3
            and ours["SG-GRAD"] > ours["GRAD"] + 3)


@statement
def vargrad_alone_beats_random_beyond_chance_on_photographs(page: Page) -> bool:
    """On CIFAR-10, at the largest share, the interval of what VAR-GRAD changes against a random ranking is below zero,
    that of SG-SQ-GRAD reaches it."""
    squared, variance = (published.change(page, "cifar", name).interval for name in ENSEMBLES)
    return variance[1] < 0 <= squared[1]


@statement
def the_size_is_not_the_papers(page: Page) -> bool:
    """On CIFAR-10 the ensembles lie nearer to the random ranking than a quarter of the paper's gap."""
    ours = [abs(published.change(page, "cifar", name).value) for name in ENSEMBLES]
    return max(ours) < published.paper_gap(page).value / 4


@statement
def training_again_restores_accuracy_of_photographs_and_clothes(page: Page) -> bool:
    """On both data sets, with nine tenths of the pixels removed at random, a network that is trained again is right at
    least 25 points more often than the explained one."""
    return all(published.left(page, data, "Random").value > published.original(page, data).value + 25
               for data in published.DATA)


@statement
def without_training_a_random_ranking_looks_most_harmful_on_photographs(page: Page) -> bool:
    """On CIFAR-10, with half and with nine tenths of the pixels removed, the explained network that is not trained
    again is right less often without random pixels than without those of any base estimator."""
    left = [edition(page, "cifar", share, kind="original").groupby("estimator").accuracy.mean() for share in (0.5, 0.9)]
    return all(one["Random"] < min(one[name] for name in BASES) for one in left)


@statement
def keeping_tells_estimators_of_clothes_apart_less(page: Page) -> bool:
    """On clothes, with nine tenths replaced, keeping spans fewer points than removing."""
    return published.spread(page, "kar").value < published.spread(page, "roar").value


@statement
def squares_alone_rarely_beat_random_on_clothes(page: Page) -> bool:
    """On clothes squaring improves every base estimator, and only integrated gradients then beat a random ranking."""
    ours = _leaves(page, "clothes")
    return (all(ours[f"SQ-{name}"] < ours[name] for name in BASES)
            and [name for name in BASES if ours[f"SQ-{name}"] < ours["Random"]] == ["IG"])


@statement
def half_of_the_pixels_tell_little_on_photographs(page: Page) -> bool:
    """On CIFAR-10, with half of the pixels removed, ensembles and random ranking are within 2 points."""
    ours = edition(page, "cifar", 0.5).groupby("estimator").accuracy.mean()
    return all(abs(ours[name] - ours["Random"]) < 2 for name in ENSEMBLES)


@statement
def sobel_leaves_as_little_as_the_ensembles(page: Page) -> bool:
    """On CIFAR-10, at the largest share, Sobel leaves less than a random ranking, and within 3 points as much as each
    ensemble."""
    ours = _leaves(page, "cifar")
    return ours["Sobel"] < ours["Random"] and all(abs(ours["Sobel"] - ours[name]) < 3 for name in ENSEMBLES)


@statement
def masks_of_photographs_say_less(page: Page) -> bool:
    """On CIFAR-10 masks alone give 40 points less than on clothes, but more than seven tenths of what ROAR leaves of
    VAR-GRAD; random ones give nothing."""
    photographs, clothes = (_leaves(page, data, kind="masks") for data in ("cifar", "clothes"))
    return (all(photographs[name] < clothes[name] - 40 for name in ("GRAD", "VAR-GRAD"))
            and photographs["VAR-GRAD"] > 0.7 * _leaves(page, "cifar")["VAR-GRAD"] and photographs["Random"] < 15)


@statement
def imputation_puts_ensembles_before_random_on_photographs(page: Page) -> bool:
    """On CIFAR-10 ROAD at the largest share leaves least of the two ensembles, then of Sobel, and of the gradient and
    SmoothGrad as much as of a random ranking or more."""
    ours = _leaves(page, "cifar", kind="road")
    order = sorted(ours, key=ours.get)
    return (set(order[:2]) == set(ENSEMBLES) and order[2] == "Sobel"
            and min(ours["GRAD"], ours["SG-GRAD"]) >= ours["Random"])


@statement
def filters_improve_the_squared_ensemble_on_clothes(page: Page) -> bool:
    """On clothes both filters improve the score of SG-SQ-GRAD beyond chance, by 3 points at most; that of the gradient
    moves by less than 0.5."""
    squared, gradient = ([published.blur(page, name, kind) for kind in rankings.FILTERS] for name in FILTERED[::-1])
    return (all(one.interval[1] < 0 and one.value > -3 for one in squared)
            and all(abs(one.value) < 0.5 for one in gradient))


@statement
def details_of_the_pipeline_change_little(page: Page) -> bool:
    """On both data sets fresh masks and images resized twice change the mean accuracy by less than a point."""
    return all(abs(change(page, data).value) < 1 for data in published.DATA
               for change in (published.fresh, published.resized))


@statement
def short_paths_are_enough_on_clothes(page: Page) -> bool:
    """On clothes the maps of the short path have a rank correlation of more than 0.98 with those of the long one, SG-IG
    the lowest."""
    found = {name: published.path(page, name).value for name in rankings.FAMILIES["SG-IG"]}
    return min(found.values()) > 0.98 and min(found, key=found.get) == "SG-IG"
