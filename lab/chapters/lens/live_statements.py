"""What the text of the chapter on LENS says of its numbers in the live run."""

from lab.chapters.lens import gains, numbers, setting
from lab.chapters.lens.discrimination import auc, auc_over_topk, auc_smooth
from lab.chapters.lens.metric_comparison import SEARCHING, comparable
from lab.chapters.lens.numbers import METHODS, NUMBERS, above_chance, agreement, beyond, live, measured, smoothed
from lab.core.frames import select
from lab.core.numbers import Number, difference
from lab.core.pages import Page

statement = NUMBERS.statement
IG = "integrated_gradients"


def _above(number: Number, bound: float = 0.0) -> bool:
    return number.interval[0] > bound


def _open(number: Number) -> bool:
    """Whether the interval has zero inside."""
    return number.interval[0] <= 0 <= number.interval[1]


@statement
def pgd_training_withstands_pgd(page: Page) -> bool:
    """In this run the PGD network is right under PGD at least 20 points more often than the natural one."""
    table = select(setting.accuracies(page), data_set=numbers.first(page)).groupby("training").withstood.mean()
    return table["pgd"] > table["natural"] + 0.2


@statement
def images_given_back_score_one(page: Page) -> bool:
    """An image that a searching attack gives back has a top-k overlap of 1."""
    return (select(measured(page, found=0), attack=list(SEARCHING)).topk == 1).all()


@statement
def most_is_left_out_of_natural_integrated_gradients(page: Page) -> bool:
    """More images are left out for integrated gradients of the natural network than for any other map and training,
    and with those that the attack gave back the overlap would be higher."""
    return (numbers.left_out(page).value > numbers.left_out_most(page).value
            and numbers.with_lost(page).value > agreement(page, "topk", "topk", IG).value)


@statement
def lens_rows_lie_above_on_gradients(page: Page) -> bool:
    """On gradients both LENS metrics lie above the top-k overlap at every size, by at least 0.1; on integrated
    gradients LENS recall does too, while the diverse one is below the other two for random signs of the smallest
    size."""
    table = comparable(measured(page, training="natural", attack=["random_sign", "topk", "center"]))
    means = table.groupby(["method", "attack", "epsilon"])[["topk", "recall", "recall_div"]].mean()
    gradient, path = means.loc["gradient"], means.loc[IG]
    smallest = path.loc["random_sign"].iloc[0]
    return ((gradient[["recall", "recall_div"]].min(axis=1) > gradient.topk + 0.1).all()
            and (path.recall > path.topk + 0.02).all() and smallest.recall_div < min(smallest.topk, smallest.recall))


@statement
def the_walk_is_weaker_than_one_draw(page: Page) -> bool:
    """The best of a random walk leaves more of a gradient map's top pixels than one random sign of full size."""
    return agreement(page, "topk", "random_walk", "gradient").value > agreement(
        page, "topk", "random_sign", "gradient").value


@statement
def diverse_recall_says_little_on_digits(page: Page) -> bool:
    """By LENS recall of diverse pixels, attacked gradient maps, those under noise and those of another class are all
    within 0.1."""
    values = [agreement(page, "recall_div", attack, "gradient").value
              for attack in ("topk", "random_sign", "other_class")]
    return max(values) - min(values) < 0.1


@statement
def noise_stays_above_another_class(page: Page) -> bool:
    """By LENS recall, gradient maps under noise agree better than those of another class by 0.1, and not better than
    those of the same class by 0.05."""
    noise, same, other = (agreement(page, "recall", attack, "gradient").value
                          for attack in ("random_sign", "same_class", "other_class"))
    return noise > other + 0.1 and noise < same + 0.05


@statement
def attacked_gradients_agree_as_other_digits_do(page: Page) -> bool:
    """Under the top-k attack LENS recall of gradient maps is not clearly above another class's map, by more than
    0.05, for the natural and for the PGD network; that of integrated gradients is above it, on average for the natural
    network and beyond its interval for the PGD network."""
    return (not any(_above(beyond(page, "gradient", training), 0.05) for training in ("natural", "pgd"))
            and beyond(page, IG, "natural").value > 0 and _above(beyond(page, IG, "pgd")))


@statement
def robust_training_helps(page: Page) -> bool:
    """By top-k and by LENS recall the claim that robust training helps holds in this run."""
    verdicts = gains.evaluate(measured(page))
    return verdicts["topk"].verdict == verdicts["recall"].verdict == "holds"


@statement
def the_gain_could_be_missed(page: Page) -> bool:
    """With the images that the attack gave back, the interval of the PGD network's gain by top-k on integrated
    gradients has zero inside."""
    return _open(numbers.gain_with_lost(page))


def _gain(page: Page, column: str, method: str, training: str = "pgd", over: str = "natural") -> Number:
    return difference(live(page, "topk", method, training), live(page, "topk", method, over), column)


@statement
def robust_networks_cover_no_more(page: Page) -> bool:
    """The neighbourhoods of a PGD network's top pixels cover no more of the image than those of the natural one's."""
    return all(_gain(page, "chance_recall", method).value < 0.02 for method in METHODS)


@statement
def the_diverse_form_moves_little(page: Page) -> bool:
    """PGD training changes LENS recall of diverse pixels by less than 0.1, and by less than it changes LENS recall."""
    return all(abs(_gain(page, "recall_div", method).value) < min(0.1, _gain(page, "recall", method).value)
               for method in METHODS)


@statement
def the_fine_tuning_adds_nothing(page: Page) -> bool:
    """By LENS recall IG-SUM-NORM cannot be told apart from the PGD network it starts from."""
    return all(_open(_gain(page, "recall", method, "ig_sum_norm", "pgd")) for method in METHODS)


@statement
def maps_of_other_classes_grow_alike_on_gradients(page: Page) -> bool:
    """PGD training raises LENS recall of two classes' gradient maps, not of their integrated gradients."""
    return _above(numbers.alike(page, "gradient")) and not _above(numbers.alike(page, IG))


@statement
def padding_alone_correlates(page: Page) -> bool:
    """Zero padding gives shuffled maps a correlation above zero, and less than maps of uniform pixels."""
    uniform = numbers.padded_uniform(page).value
    return all(0 < one.value < uniform for one in (numbers.padded(page, method) for method in METHODS))


@statement
def smoothing_raises_everything(page: Page) -> bool:
    """On gradients smoothing raises the correlation of attacked maps as much as that of other classes' maps, to within
    0.05; on integrated gradients it raises that of attacked maps more."""
    raised = {method: [smoothed(page, attack, method) for attack in ("topk", "other_class")] for method in METHODS}
    return (abs(raised["gradient"][0].value - raised["gradient"][1].value) < 0.05
            and raised[IG][0].interval[0] > raised[IG][1].interval[1])


@statement
def an_attack_that_knows_lens_lowers_it(page: Page) -> bool:
    """The attack that knows LENS lowers LENS recall of gradients below that of another class's map, and leaves less of
    the way above chance than the top-k attack; the PGD network keeps more under it."""
    known, other = (agreement(page, "recall", attack, "gradient").value for attack in ("lens", "other_class"))
    left = above_chance(page, "lens", "natural").value
    return known < other and left < min(above_chance(page, "topk", "natural").value,
                                        above_chance(page, "lens", "pgd").value)


@statement
def topk_hangs_on_what_the_attack_aims_at(page: Page) -> bool:
    """The top-k overlap of gradients is lower under the attack that aims at it than under the one that aims at LENS."""
    return agreement(page, "topk", "topk", "gradient").value < agreement(page, "topk", "lens", "gradient").value - 0.05


@statement
def ties_favour_the_other_image(page: Page) -> bool:
    """With ties by the index, diverse pixels of integrated gradients agree better with those of another class's image
    than with those of the same image under noise; where the order of ties differs between the maps, both are within
    0.05 of chance, and so is the exact overlap of other classes, while that under noise is within 0.1."""
    rows = [live(page, attack, IG) for attack in ("other_class", "random_sign")]
    chance, overlap = numbers.ties_chance_any(page).value, rows[0].chance_topk.mean()
    return (rows[0].recall_div.mean() > rows[1].recall_div.mean() + 0.1
            and all(abs(one.recall_div_any.mean() - chance) < 0.05 for one in rows)
            and abs(rows[0].topk_div_any.mean() - overlap) < 0.05 and abs(rows[1].topk_div_any.mean() - overlap) < 0.1)


@statement
def topk_is_not_blind(page: Page) -> bool:
    """On gradients top-k and LENS recall both tell noise from the top-k attack and from the one that knows LENS, in
    more than nine of ten pairs."""
    return all(auc(page, metric, attack, "gradient").value > 0.9
               for metric in ("topk", "recall") for attack in ("topk", "lens"))


@statement
def an_attack_is_told_by_the_metric_it_was_made_for(page: Page) -> bool:
    """On integrated gradients top-k tells the top-k attack better than LENS recall does, and LENS recall the attack
    that knows LENS."""
    area = {(metric, attack): auc(page, metric, attack, IG).value
            for metric in ("topk", "recall") for attack in ("topk", "lens")}
    return area["topk", "topk"] > area["recall", "topk"] and area["recall", "lens"] > area["topk", "lens"]


@statement
def what_locality_adds_depends_on_the_attack(page: Page) -> bool:
    """LENS-Kendall is ahead of top-k on average, and of plain Kendall against the mass-centre attack, not against the
    top-k attack."""
    return (_above(auc_over_topk(page)) and _above(auc_smooth(page, "center"))
            and not _above(auc_smooth(page, "topk")))
