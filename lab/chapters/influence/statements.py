"""What the text of the chapter on influences says of its numbers."""

from lab.chapters.influence import dimension, directions, geometry, numbers
from lab.chapters.influence.numbers import GRADIENT, NUMBERS, RANDOM, flowers_beyond, flowers_rank, flowers_stay
from lab.core.frames import select
from lab.core.pages import Page

statement = NUMBERS.statement


@statement
def the_gradient_sign_does_more_than_noise(page: Page) -> bool:
    """In this run the gradient sign of the largest size leaves a lower rank correlation and fewer of the five than
    random signs, keeps more labels and makes the head surer, which these make less sure."""
    sign, noise = ({one.__name__: one(page, attack).value for one in (numbers.rank, numbers.stay, numbers.kept,
                                                                      numbers.surer)} for attack in (GRADIENT, RANDOM))
    return (sign["rank"] < noise["rank"] < 0.9 and sign["stay"] < noise["stay"] and sign["kept"] > noise["kept"]
            and sign["surer"] > 0 > noise["surer"])


@statement
def rounding_hardly_matters_here(page: Page) -> bool:
    """In this run the published code's measure, too, has a rank correlation above 0.95 after the smallest noise."""
    return numbers.little(page, "published").value > 0.95


@statement
def most_of_the_harm_is_done_by_noise(page: Page) -> bool:
    """On flowers random signs of 8/255 do more than half of the gradient sign's harm, to the five and to the ranks."""
    return all(best - one(page, RANDOM).value > 0.5 * (best - one(page, GRADIENT).value)
               for one, best in ((flowers_stay, 5), (flowers_rank, 1)))


@statement
def order_goes_and_classes_stay(page: Page) -> bool:
    """The median test flower keeps a rank correlation below a half, more than a tenth of the most helpful tenth is in
    the most harmful one afterwards, and the share of its own class that helps changes by less than ten points."""
    before, after = (numbers.median_own(page, side).value for side in ("before", "after"))
    return (numbers.median(page).spearman.iloc[0] < 0.5 and numbers.median_crossed(page).value > 10
            and abs(before - after) < 10)


@statement
def the_gain_over_noise_is_at_the_smallest_size(page: Page) -> bool:
    """On flowers the gradient sign takes more of the five beyond random signs at 1/255 than at 8/255."""
    return all(flowers_beyond(page, network, "smallest").interval[0] > flowers_beyond(page, network).interval[1]
               for network in numbers.NETWORKS)


@statement
def the_gradient_sign_removes_doubt(page: Page) -> bool:
    """On flowers the gradient sign takes away most of the head's doubt, and random signs add to it."""
    before, sign, noise = (numbers.flowers_doubt_before(page), numbers.flowers_doubt(page, GRADIENT),
                           numbers.flowers_doubt(page, RANDOM))
    return sign.value < 0.5 * before.value and noise.interval[0] > before.interval[1]


@statement
def the_published_measure_keeps_the_top_and_not_the_order(page: Page) -> bool:
    """On SqueezeNet's features the published code's measure keeps more of the five and a lower rank correlation than
    ours, under both perturbations."""
    return all(flowers_stay(page, attack, measure="survivors_published").value > flowers_stay(page, attack).value
               and flowers_rank(page, attack, measure="spearman_published").value < flowers_rank(page, attack).value
               for attack in (GRADIENT, RANDOM))


@statement
def the_second_network_loses_more_beyond_noise(page: Page) -> bool:
    """On EfficientNet-Lite0's features the gradient sign takes more of the five beyond noise than on SqueezeNet's, and
    adds less than a third of the confidence."""
    return (flowers_beyond(page, "lite").value > flowers_beyond(page, "squeezenet").value
            and numbers.flowers_surer(page, "lite").value < numbers.flowers_surer(page, "squeezenet").value / 3)


@statement
def the_second_hessian_is_short_of_rank(page: Page) -> bool:
    """The published code's Hessian has full rank on SqueezeNet's features and not on EfficientNet-Lite0's."""
    short = {network: numbers.flowers_hessian(page, network, "weights").value
             - numbers.flowers_hessian(page, network, "rank_published").value for network in numbers.NETWORKS}
    return short["squeezenet"] == 0 < short["lite"]


@statement
def angles_of_pixels_spread_widely(page: Page) -> bool:
    """In this run the angles of pixels have a standard deviation above 10° and a mean below 80°; those of training
    images are below 45°."""
    pixels = geometry.angles(page, geometry.FEATURE).angle
    return (pixels.std() > 10 and pixels.mean() < 80
            and geometry.angles(page, geometry.SAMPLE).angle.max() < 45)


@statement
def directions_of_influence_follow_the_score(page: Page) -> bool:
    """On flowers the direction that changes the influences fastest is less than 20° from the gradient of the logit."""
    return geometry.angle_flowers(page).interval[1] < 20


def _means(table, column: str):
    """Mean of a column of the simulation by width and dimension, under the worst signs."""
    return select(table, perturbation="sign").groupby(["width", "dimension"])[column].mean()


def _only_rescales(table) -> bool:
    alone = select(table, width=1)
    return alone.spearman.min() > 0.999 and alone.angle.max() < 1


@statement
def pixels_are_not_quite_orthogonal(page: Page) -> bool:
    """On CIFAR-10 the mean angle of pixels is 75° to 85°, and the smooth twin's gradients are near the network's."""
    low, high = geometry.angle_photos(page).interval
    return 75 < low < high < 85 and geometry.twin_photos(page).value > 0.9


@statement
def a_single_neuron_only_rescales(page: Page) -> bool:
    """The gradient of a single neuron keeps its ranks, and its fragile direction is the gradient's."""
    return _only_rescales(page.edition(dimension.EXPERIMENT))


@statement
def the_change_grows_with_the_dimension(page: Page) -> bool:
    """Under the worst signs the gradient of a single neuron changes ten times as much at the most inputs as at the
    fewest, at which the formula is right within 5 %; at the most it gives too much. Under random signs the change stays
    below a twentieth."""
    few, many = (geometry.change(page, place).value for place in ("few", "many"))
    least = select(page.edition(dimension.EXPERIMENT), width="smallest", dimension="smallest", perturbation="sign")
    return (many > 10 * few and abs(least.bound.mean() / few - 1) < 0.05
            and geometry.change_formula(page).interval[0] > many
            and all(geometry.change(page, place, perturbation="random").value < 0.05 for place in geometry.INPUTS))


@statement
def orthogonality_needs_width(page: Page) -> bool:
    """At the most inputs the angle at the largest width exceeds that of the narrow networks by more than 10°, and no
    mean angle exceeds that of random lines."""
    turns = _means(page.edition(dimension.EXPERIMENT), "angle")
    below = all(angle < directions.mean_random_angle(inputs) for (_, inputs), angle in turns.items())
    return below and geometry.turn(page, "wide").value > geometry.turn(page, "narrow").value + 10


@statement
def wide_networks_are_less_fragile(page: Page) -> bool:
    """At the most inputs the worst signs leave wide networks a higher rank correlation than narrow ones."""
    narrow, wide = (geometry.simulation_rank(page, width) for width in ("narrow", "wide"))
    return wide.interval[0] > narrow.interval[1]


@statement
def the_run_simulates_the_same(page: Page) -> bool:
    """In this run, too, a single neuron only rescales its gradient and changes more with more inputs, and the angle is
    larger at the largest width than at the second smallest."""
    table = page.live(dimension.EXPERIMENT)
    changes, turns = _means(table, "relative"), _means(table, "angle")
    few, many = table.dimension.min(), table.dimension.max()
    single, narrow, *_, wide = sorted(table.width.unique())
    return (_only_rescales(table) and changes[single, many] > changes[single, few]
            and turns[wide, many] > turns[narrow, many] + 10)


@statement
def larger_images_of_this_run_are_more_fragile(page: Page) -> bool:
    """In this run the rank correlation is lower at the largest size of the images than at the smallest, under either
    perturbation."""
    return all(geometry.fall(page, "run", attack).interval[0] > 0 for attack in ("random_sign", "topk"))


@statement
def larger_photographs_are_more_fragile(page: Page) -> bool:
    """On photographs the rank correlation is a little lower at the largest size than at the smallest, by less than 0.2,
    under either perturbation; under the attack no more than chance stays of the top at any size."""
    falls = [geometry.fall(page, "photos", attack).interval for attack in ("random_sign", "topk")]
    return (all(0 < low and high < 0.2 for low, high in falls)
            and geometry.photos_top(page).value < 1 / 50)


@statement
def the_bound_holds_and_is_loose(page: Page) -> bool:
    """No image of this run breaks the bound, which lies more than a hundred times above the measured change."""
    rows = geometry.bounded(page)
    return ((rows.bound >= rows.change).all() and (rows.bound >= rows.eigenvalue.abs()).all()
            and geometry.bound_change(page).value > 100)
