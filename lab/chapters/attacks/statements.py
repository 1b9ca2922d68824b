"""What the text of the chapter that looks at attacks close up says of its numbers."""

from lab.chapters.attacks import targeted, variants
from lab.chapters.attacks.numbers import (
    ENOUGH,
    GRADIENT,
    NUMBERS,
    PATH,
    WAYS,
    cup,
    live,
    longest,
    paper_topk,
    photo_beyond,
    photo_cost_ratio,
    photo_left,
    photo_reach,
    photo_twin,
    photos,
    quarters,
)
from lab.core.numbers import difference
from lab.core.pages import Page

statement = NUMBERS.statement


def _means(rows, column: str = "variant"):
    """Mean scores of each variant, or of each value of another column."""
    return rows.groupby(column)[["topk", "spearman", "center"]].mean()


def _lower(first, second, score: str) -> bool:
    """Whether a score of the first rows lies below that of the second ones, image by image, with its interval."""
    return difference(first, second, score).interval[1] < 0


@statement
def every_map_follows(page: Page) -> bool:
    """In this run every quarter gains importance by an attack on it, for every map."""
    return (page.live(targeted.EXPERIMENT).groupby(["method", "region"]).gain.mean() > 0).all()


@statement
def most_of_every_map_goes_where_it_was_sent(page: Page) -> bool:
    """On photographs more than half of every map lies in the quarter it was sent to, most of deep Taylor's, and more
    than nine in ten attacks keep the label."""
    rows = quarters(page)
    inside = rows.groupby("method").after.mean()
    return inside.min() > 0.5 and inside.idxmax() == "deep_taylor" and rows.found.astype(float).mean() > 0.9


@statement
def a_fifth_of_the_size_is_enough_for_the_gradient(page: Page) -> bool:
    """On photographs the fewest steps that leave less than 5 % of the gradient's top pixels reach at most a fifth of
    the largest change that is allowed; those for integrated gradients reach more than twice as far."""
    gradient, path = (photo_reach(page, method).value for method in variants.METHODS)
    return gradient <= 0.2 and path > 2 * gradient


@statement
def ranks_of_the_path_hold_out_longer(page: Page) -> bool:
    """On photographs the attack leaves integrated gradients a higher rank correlation than the gradient after any of
    the tried numbers of steps."""
    ranks = photos(page, question="steps").groupby(["method", "steps"]).spearman.mean()
    return (ranks[PATH] > ranks[GRADIENT]).all()


@statement
def a_sharp_twin_is_slow_at_the_bound_too(page: Page) -> bool:
    """On photographs the sharpest twin leaves more of the gradient's top pixels than the bluntest also where the steps
    reach all that is allowed."""
    return photo_beyond(page, "largest").interval[0] > photo_beyond(page, "smallest").interval[1]


@statement
def the_whole_path_costs_ten_times_as_much(page: Page) -> bool:
    """On photographs a step through the whole path takes more than ten times as long as one of two points."""
    return photo_cost_ratio(page).value > 10


@statement
def deep_taylor_keeps_the_cup(page: Page) -> bool:
    """Of the maps of the espresso only deep Taylor's was not attacked, and the label stays in every picture."""
    rows = cup(page)
    return list(rows.method[~rows.found.astype(bool)]) == ["deep_taylor"] and (rows.label == rows.label_after).all()


@statement
def the_cup_holds_less_than_a_quarter_does(page: Page) -> bool:
    """Less of every map goes to the small region of the espresso than of any map to a quarter."""
    return cup(page).share_after.max() < quarters(page).groupby("method").after.mean().min()


@statement
def more_steps_leave_less(page: Page) -> bool:
    """In this run the longest attack leaves less of the top pixels than the shortest, for either map."""
    overlap = live(page, question="steps").groupby(["method", "steps"]).topk.mean()
    return all(overlap[method].iloc[-1] < overlap[method].iloc[0] for method in variants.METHODS)


@statement
def the_path_holds_out_longer_on_digits(page: Page) -> bool:
    """In this run the most steps leave more of the top pixels of integrated gradients than of the gradient's."""
    return _lower(longest(live(page), method=GRADIENT), longest(live(page), method=PATH), "topk")


@statement
def two_points_are_the_stronger_on_digits(page: Page) -> bool:
    """In this run two random points of the path leave less overlap than the published way through all of them, after as
    many steps."""
    return _lower(live(page, question="cost", **WAYS["few"]), live(page, question="cost", **WAYS["whole"]), "topk")


@statement
def the_exact_centre_stands_still(page: Page) -> bool:
    """In this run and on photographs the mass-centre attack does not move from the exact centre, and does when set off
    at random."""
    return all(means["exact"] < 1e-6 < means["set off at random"]
               for means in (_means(rows(page, question="start")).center for rows in (live, photos)))


@statement
def a_walk_is_chosen_for_the_top_on_digits(page: Page) -> bool:
    """In this run the best of a walk leaves less overlap than one draw of signs, and a higher rank correlation."""
    walk, draw = (live(page, question="random", variant=variant) for variant in ("best of a walk", "one draw"))
    return _lower(walk, draw, "topk") and _lower(draw, walk, "spearman")


@statement
def a_walk_gains_nothing_on_photographs(page: Page) -> bool:
    """On photographs one draw of signs leaves a lower rank correlation than the best of a walk; their overlaps cannot
    be told apart."""
    walk, draw = (photos(page, question="random", variant=variant) for variant in ("best of a walk", "one draw"))
    low, high = difference(draw, walk, "topk").interval
    return _lower(draw, walk, "spearman") and low < 0 < high


@statement
def ranks_of_a_probability_are_moved_more_easily_on_digits(page: Page) -> bool:
    """In this run the attack leaves a probability's map a lower rank correlation than a logit's."""
    probability, logit = (live(page, question="output", variant=variant) for variant in ("probability", "logit"))
    return _lower(probability, logit, "spearman")


@statement
def maps_of_logits_are_moved_more_easily_on_photographs(page: Page) -> bool:
    """On photographs the attack leaves a logit's map less overlap and a lower rank correlation than a
    probability's."""
    logit, probability = (photos(page, question="output", variant=variant) for variant in ("logit", "probability"))
    return all(_lower(logit, probability, score) for score in ("topk", "spearman"))


@statement
def keeping_by_shift_buys_shift_for_overlap(page: Page) -> bool:
    """In this run the iterate of the largest centre shift has the largest shift and the largest overlap; keeping by
    overlap or by rank correlation changes overlap and rank correlation by less than 0.05."""
    means = _means(live(page, question="selection"))
    others = means.loc[["overlap", "rank correlation"], ["topk", "spearman"]] - means.loc["objective"]
    return (means.center.idxmax() == means.topk.idxmax() == "centre shift"
            and others[["topk", "spearman"]].abs().max(axis=None) < 0.05)


@statement
def the_bluntest_twin_is_the_weakest_on_digits(page: Page) -> bool:
    """In this run the attack through the bluntest twin leaves most of the top pixels."""
    return _means(live(page, question="twin"), "beta").topk.idxmax() == min(page.settings["betas"])


@statement
def a_sharp_twin_climbs_slowly_on_photographs(page: Page) -> bool:
    """On photographs the published direction leaves the more of the top pixels the sharper its twin is, for either map
    and for either number of steps."""
    levels = [_means(photos(page, question=question, method=method).dropna(subset="beta"), "beta").topk
              for question, method in (("cost", GRADIENT), ("cost", PATH), ("twin", GRADIENT))]
    return all(len(level) > 1 and level.is_monotonic_increasing for level in levels)


@statement
def a_blunt_twin_does_not_differ_from_two_points(page: Page) -> bool:
    """On photographs the published algorithm with its bluntest twin and two random points of the path leave overlaps
    of integrated gradients that do not tell them apart."""
    few, whole = (photos(page, question="cost", **WAYS[way]) for way in ("few", "whole"))
    low, high = difference(few, whole, "topk").interval
    return low < 0 < high


@statement
def little_is_left_of_photographs(page: Page) -> bool:
    """On photographs the longest attack leaves less than 5 % of the top pixels of either map, and by rank more of
    integrated gradients than of the gradient."""
    ranks = longest(photos(page)).groupby("method").spearman.mean()
    return (all(photo_left(page, method).interval[1] < 100 * ENOUGH for method in variants.METHODS)
            and ranks[PATH] > ranks[GRADIENT])


@statement
def the_sharpest_twin_leaves_more_than_the_paper(page: Page) -> bool:
    """On photographs the sharpest twin leaves more than ten times the gradient's top pixels of the paper's attack."""
    return photo_twin(page, "largest").value > 10 * paper_topk(page).value
