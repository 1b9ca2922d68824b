"""What the text of the chapter on LENS says of its published numbers."""

from lab.chapters.fragility.comparison import CONTROL
from lab.chapters.lens import photographs, seeds
from lab.chapters.lens.live_statements import NUMBERS
from lab.chapters.lens.published import (
    DATA,
    METHODS,
    REPEATED,
    accuracies,
    added,
    areas,
    beyond,
    chance,
    deviation,
    diverse,
    edition,
    noise,
    photo,
    photo_chance,
    published_cells,
    rank_gain,
    recall,
    repeats,
    seed_count,
    seed_means,
    tied,
    topk,
)
from lab.core.frames import select
from lab.core.pages import Page

statement = NUMBERS.statement
IG = "integrated_gradients"


@statement
def the_edition_is_whole(page: Page) -> bool:
    """All cells of the edition's five grids are published."""
    done, cells = (published_cells(page, count).value for count in ("done", "cells"))
    return done == cells > 0


@statement
def attack_that_knows_lens_undoes_it(page: Page) -> bool:
    """On every data set the attack that knows LENS takes the recall of natural gradients below that of another class's
    map by 0.1; on digits, clothes and traffic signs by 0.3."""
    below = {data: recall(page, data, "other_class", "natural").value - recall(page, data, "lens", "natural").value
             for data in DATA}
    return all(below[data] > (0.1 if data == "flowers" else 0.3) for data in DATA)


@statement
def pgd_training_raises_topk(page: Page) -> bool:
    """PGD training raises the top-k overlap of gradients by 0.08 on every data set, on digits and clothes by 0.2."""
    gain = {data: topk(page, data, "topk", "pgd").value - topk(page, data, "topk", "natural").value for data in DATA}
    return all(gain[data] > (0.2 if data in ("mnist", "fashion") else 0.08) for data in DATA)


@statement
def lens_forgives_what_any_two_maps_share(page: Page) -> bool:
    """On digits and clothes natural gradients keep less than a twentieth of their top pixels, and their LENS recall is
    that of another class's map to within 0.05."""
    return all(topk(page, data, "topk", "natural").value < 0.05
               and abs(beyond(page, data, "gradient", "natural").value) < 0.05 for data in ("mnist", "fashion"))


@statement
def lens_shows_what_robust_training_does(page: Page) -> bool:
    """After PGD training LENS recall lies above another class's map by 0.2 for integrated gradients of digits and of
    clothes and for gradients of clothes, and by less than 0.05 for gradients of digits."""
    return (min(beyond(page, "mnist", IG, "pgd").value, beyond(page, "fashion", IG, "pgd").value,
                beyond(page, "fashion", "gradient", "pgd").value) > 0.2
            and 0 < beyond(page, "mnist", "gradient", "pgd").interval[0] < 0.05)


@statement
def traffic_signs_are_forgiven_least(page: Page) -> bool:
    """On traffic signs LENS recall of natural gradients is below the coverage by 0.03 and below another class's map by
    more than on any other data set; PGD training raises it by 0.2, to 0.03 to 0.12 below another class's map."""
    value = recall(page, "gtsrb", "topk", "natural").value
    gaps = {data: beyond(page, data, "gradient", "natural").value for data in DATA}
    return (value < chance(page, "gtsrb", "natural").value - 0.03 and min(gaps, key=gaps.get) == "gtsrb"
            and recall(page, "gtsrb", "topk", "pgd").value > value + 0.2
            and -0.12 < beyond(page, "gtsrb", "gradient", "pgd").value < -0.03)


@statement
def on_flowers_lens_reads_as_the_paper_says(page: Page) -> bool:
    """On flowers another class's map is within 0.05 of the coverage, random signs leave a recall above 0.85, and the
    attacked map lies above another class's, plain and diverse; PGD training raises its recall by 0.2."""
    natural = {attack: recall(page, "flowers", attack, "natural").value for attack in ("topk", "random_sign",
                                                                                      "other_class")}
    return (natural["other_class"] < chance(page, "flowers", "natural").value + 0.05 < 0.25
            and natural["random_sign"] > 0.85 and beyond(page, "flowers", "gradient", "natural").interval[0] > 0
            and diverse(page, "flowers", "topk").value > diverse(page, "flowers", "other_class").value + 0.2
            and recall(page, "flowers", "topk", "pgd").value > natural["topk"] + 0.2)


@statement
def knowing_lens_takes_flowers_below_the_coverage(page: Page) -> bool:
    """On flowers the attack that knows LENS takes the recall below the coverage, and above it after PGD training."""
    return all((recall(page, "flowers", "lens", training).value < chance(page, "flowers", training).value)
               == (training == "natural") for training in ("natural", "pgd"))


@statement
def trainings_differ_little(page: Page) -> bool:
    """Five trainings of every network are published; robust ones differ by a standard deviation of less than 0.03, and
    PGD training gains more than 0.1 in every one."""
    means = seed_means(repeats(page))
    return (page.edition(seeds.EXPERIMENT).attrs["done"] == page.edition(seeds.EXPERIMENT).attrs["cells"]
            and seed_count(page).value == 5 and deviation(page).value < 0.03
            and (means.pgd - means.natural).min() > 0.1)


@statement
def the_regulariser_adds_little(page: Page) -> bool:
    """IG-SUM-NORM changes the top-k overlap of the PGD network by less than 0.035; integrated gradients of digits and
    both maps of clothes gain, both maps of traffic signs lose, and so do gradients of digits."""
    gain = {(data, method): added(page, data, method) for data in REPEATED for method in METHODS}
    losing = {("gtsrb", "gradient"), ("gtsrb", IG), ("mnist", "gradient")}
    return (max(abs(one.value) for one in gain.values()) < 0.035
            and all(one.interval[1] < 0 if name in losing else one.interval[0] > 0 for name, one in gain.items()))


@statement
def fine_tuning_raises_accuracy_on_traffic_signs(page: Page) -> bool:
    """On traffic signs IG-SUM-NORM is right more often than the PGD network by 5 points with every seed, and less often
    than the natural one."""
    right = accuracies(page, data_set="gtsrb").groupby(["seed", "training"]).correct.mean().unstack("training")
    return (right.ig_sum_norm > right.pgd + 0.05).all() and (right.natural > right.ig_sum_norm).all()


@statement
def tops_of_attacked_photographs_went_elsewhere(page: Page) -> bool:
    """On photographs the top-k attack leaves a LENS recall above top-k by 0.1, and below the coverage and another
    photograph's map by 0.03, for both maps."""
    return all(photo(page, "topk", "topk", method).value + 0.1 < photo(page, "recall", "topk", method).value
               < min(photo_chance(page, "recall", method).value,
                     photo(page, "recall", CONTROL, method).value) - 0.03 for method in METHODS)


@statement
def noise_is_forgiven_on_photographs(page: Page) -> bool:
    """Under random signs of 8/255 LENS recall of photographs is above 0.6 where top-k is below 0.4, for both attacked
    maps; under the mass-centre attack it is little more than that of another photograph's map, by less than 0.1."""
    return all(photo(page, "recall", "random_sign", method).value > 0.6
               and photo(page, "topk", "random_sign", method).value < 0.4
               and 0 < photo(page, "recall", "center", method).value - photo(page, "recall", CONTROL, method).value
               < 0.1 for method in METHODS)


@statement
def noise_leaves_more_than_photographs_share(page: Page) -> bool:
    """For every map of photographs LENS recall under random signs is above that of another photograph's map by 0.3,
    where top-k is below 0.4."""
    return (noise(page, "recall", "least").value > noise(page, "other_recall", "most").value + 0.3
            and noise(page, "topk", "most").value < 0.4)


@statement
def diverse_pixels_agree_as_another_photograph_does(page: Page) -> bool:
    """On photographs LENS recall of diverse pixels of an attacked map is within 0.06 of that of another photograph's
    map, for both attacks and maps."""
    return all(abs(photo(page, "recall_div", attack, method).value - photo(page, "recall_div", CONTROL, method).value)
               < 0.06 for attack in ("topk", "center") for method in METHODS)


@statement
def lrp_is_gradient_times_input_on_photographs(page: Page) -> bool:
    """On SqueezeNet the scores of LRP with the z rule are those of gradient times input, image by image."""
    rows = page.edition(photographs.NOISE)
    one, other = (select(rows, method=method).set_index("image")[["topk", "recall", "recall_div"]]
                  for method in ("lrp", "gradient_x_input"))
    return len(one) > 0 and (one - other.loc[one.index]).abs().to_numpy().max() < 1e-9


@statement
def lens_kendall_tells_noise_from_every_attack(page: Page) -> bool:
    """On every data set, for both maps and every attack, LENS-Kendall has an area above 0.8; top-k, LENS recall and its
    diverse form are near guessing, below 0.6, for some."""
    least = areas(page).groupby("metric").separation.min()
    return least["lens_kendall"] > 0.8 and max(least[name] for name in ("topk", "recall", "recall_div")) < 0.6


@statement
def an_attack_is_told_best_by_the_metric_it_was_made_for(page: Page) -> bool:
    """On every data set and for both maps top-k tells the top-k attack at least as well as LENS recall does, and LENS
    recall the attack that knows LENS at least as well as top-k does, within 0.01."""
    table = areas(page).set_index(["attack", "metric", "data_set", "method"]).separation.sort_index()
    return ((table["topk", "topk"] > table["topk", "recall"] - 0.01).all()
            and (table["lens", "recall"] > table["lens", "topk"] - 0.01).all())


@statement
def smoothing_raises_ranks_of_unrelated_maps_as_much(page: Page) -> bool:
    """By smoothing, gradient maps of the natural network under the top-k attack gain no more than maps of two classes
    do, within 0.03, on every data set but clothes, where they gain 0.1 more."""
    more = {data: rank_gain(page, data, "topk").value - rank_gain(page, data, "other_class").value for data in DATA}
    return more.pop("fashion") > 0.1 and max(more.values()) < 0.03


@statement
def ties_decide_the_diverse_score_of_digits(page: Page) -> bool:
    """On MNIST LENS recall of diverse pixels of integrated gradients is higher for another class's map than under noise
    by 0.2 where ties go by the index, and the same to within 0.05 where they do not."""
    noise, other = ([tied(page, metric, attack).value for metric in ("recall_div", "recall_div_any")]
                    for attack in ("random_sign", "other_class"))
    return other[0] > noise[0] + 0.2 and abs(other[1] - noise[1]) < 0.05


@statement
def diverse_scores_are_mostly_chance(page: Page) -> bool:
    """For both maps of the natural network chance is more than seven tenths of the LENS recall of diverse pixels under
    the top-k attack, on flowers 45 to 60 %."""
    shares = {(data, method): rows.chance_recall_div.mean() / rows.recall_div.mean() for data in DATA
              for method in METHODS for rows in [edition(page, data, "topk", method)]}
    return all(0.45 < share < 0.6 if data == "flowers" else share > 0.7 for (data, _), share in shares.items())
