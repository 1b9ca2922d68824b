"""What the text of the chapter on fragile maps says of its numbers."""

from lab.chapters.fragility import comparison
from lab.chapters.fragility.numbers import (
    ALL,
    LIVE,
    NUMBERS,
    cat,
    live,
    noise,
    noise_cost,
    noise_from,
    noise_on,
    paper,
    paper_kept,
    photo,
    photo_kept,
    photo_same,
    photo_same_kept,
    photo_sizes,
    photo_surer,
    photos,
    small,
)
from lab.chapters.fragility.reported import curve, reported_comparison
from lab.core.frames import select
from lab.core.numbers import difference
from lab.core.pages import Page

statement = NUMBERS.statement


@statement
def the_cat_keeps_its_label(page: Page) -> bool:
    """The label stays in every picture of the cat, and every attack found one."""
    table = cat(page)
    return len(table) == 12 and (table.label == table.label_after).all() and table.found.astype(bool).all()


@statement
def attacks_do_more_than_coin_flips(page: Page) -> bool:
    """In this run the top-k attack leaves less overlap than random signs, and the mass-centre attack moves the centre
    farther, for every map."""
    means = live(page, epsilon="largest").groupby(["method", "attack"])[["topk", "center"]].mean()
    return all(means.topk[method, "topk"] < means.topk[method, "random_sign"]
               and means.center[method, "center"] > means.center[method, "random_sign"] for method in LIVE)


def _below_the_paper(page: Page, attack: str) -> list[bool]:
    rows = select(page.edition(comparison.EXPERIMENT), method="gradient", attack=attack)
    ours = rows.groupby("epsilon").topk.mean().tolist()
    return [value < theirs for value, theirs in zip(ours, curve(reported_comparison(), "topk", "gradient", attack)[1:],
                                                    strict=True)]


@statement
def our_topk_attack_leaves_less(page: Page) -> bool:
    """Our top-k attack leaves less of the gradient's top pixels than the paper's at every size."""
    return all(_below_the_paper(page, "topk"))


@statement
def our_center_attack_leaves_more(page: Page) -> bool:
    """Our mass-centre attack leaves more of the gradient's top pixels than the paper's at every size, and moves the
    centre less at the largest."""
    ours, theirs = (one(page, "center", "center", "gradient").value for one in (photo, paper))
    return not any(_below_the_paper(page, "center")) and ours < theirs


@statement
def random_signs_cost_four_fifths(page: Page) -> bool:
    """Random signs of 8/255 cost the gradient four fifths of its top pixels, within a twentieth, over all
    photographs."""
    low, high = noise_cost(page).interval
    return 75 < low and high < 85


@statement
def attacks_leave_nothing_of_the_top(page: Page) -> bool:
    """The top-k attack of 8/255 leaves less than a twentieth of the top pixels of every map, and the mass-centre attack
    moves the centre of every map by more than an eighth of the 227 pixels."""
    return all(photo_kept(page, "topk", method).value < 5 and photo(page, "center", "center", method).value > 28
               for method in ALL)


@statement
def attacked_photographs_keep_their_label(page: Page) -> bool:
    """At 8/255 either attack finds an image that keeps the label for at least nineteen of twenty photographs."""
    return photos(page, attack=list(comparison.OBJECTIVES)).found.astype(float).mean() >= 0.95


@statement
def noise_comes_near_the_paper_by_rank(page: Page) -> bool:
    """Under random signs the gradient's rank correlation is within 0.03 of the paper's."""
    ours, theirs = (one(page, "spearman", "random_sign", "gradient").value for one in (photo, paper))
    return abs(ours - theirs) < 0.03


@statement
def the_reference_image_decides_for_deeplift(page: Page) -> bool:
    """Under random signs DeepLIFT from the mean colour keeps less than from black, paired over all photographs, and
    comes within 2 points of the paper's share; from black it stays more than 5 points above."""
    rows = {reference: noise(page, method="deeplift", reference=reference) for reference in ("black", "mean")}
    gap = difference(rows["black"], rows["mean"], "topk")
    theirs = paper_kept(page, "random_sign", "deeplift").value
    near, far = (abs(noise_from(page, "deeplift", reference).value - theirs) for reference in ("mean", "black"))
    return gap.interval[0] > 0 and near < 2 and far > 5


@statement
def the_gradients_shift_is_larger_than_in_the_paper(page: Page) -> bool:
    """Under random signs the gradient's centre moves farther than in the paper over all photographs; over the first 64
    it seemed the same."""
    shift = paper(page, "center", "random_sign", "gradient").value
    low, high = photo(page, "center", "random_sign", "gradient").interval
    return noise_on(page, "center", "gradient").interval[0] > shift and low < shift < high


@statement
def deep_taylor_is_robust_to_noise_not_to_attack(page: Page) -> bool:
    """Deep Taylor keeps most under random signs and under the mass-centre attack, of all four maps; under the top-k
    attack its rank correlation lies below zero."""
    kept = {attack: {method: photo_kept(page, attack, method).value for method in ALL}
            for attack in ("random_sign", "center")}
    return (all(max(values, key=values.get) == "deep_taylor" for values in kept.values())
            and photo(page, "spearman", "topk", "deep_taylor").interval[1] < 0)


@statement
def confidence_rises_most_for_the_gradient(page: Page) -> bool:
    """The label stays and the confidence moves either way: of all maps and attacks at 8/255 it rises most for the
    gradient's top-k attack and falls most for deep Taylor's mass-centre attack, both by more than nothing."""
    changes = photos(page, attack=list(comparison.OBJECTIVES)).groupby(["method", "attack"]).confidence_change.mean()
    rise, _ = photo_surer(page, "topk", "gradient").interval
    _, fall = photo_surer(page, "center", "deep_taylor").interval
    return (changes.idxmax() == ("gradient", "topk") and changes.idxmin() == ("deep_taylor", "center")
            and fall < 0 < rise)


@statement
def integrated_gradients_fall_as_far(page: Page) -> bool:
    """Our top-k attack leaves fewer than two of the 1,000 top pixels of integrated gradients and of the gradient on the
    same photographs, less than a tenth of what the paper's leaves of the former, but a higher rank correlation than the
    gradient's; the mass-centre attack moves their centre more than twice as far as the paper's."""
    path = "integrated_gradients"
    two_pixels, kept = 100 * 2 / 1000, photo_kept(page, "topk", path).value
    return (max(kept, photo_same_kept(page, "topk", path).value) < two_pixels
            and kept < 0.1 * paper_kept(page, "topk", path).value
            and photo(page, "spearman", "topk", path).value > photo_same(page, "topk", "spearman", path).value
            and photo(page, "center", "center", path).value > 2 * paper(page, "center", "center", path).value)


@statement
def noise_on_integrated_gradients_is_as_in_the_paper(page: Page) -> bool:
    """Under random signs integrated gradients from the mean colour keep a share within 5 points of the paper's."""
    ours = noise_from(page, "integrated_gradients", "mean").value
    return abs(ours - paper_kept(page, "random_sign", "integrated_gradients").value) < 5


@statement
def most_of_the_papers_means_lie_outside(page: Page) -> bool:
    """Fewer than half of the means of the paper's picture lie in our intervals."""
    return photo_sizes(page, "inside").value < 0.5 * photo_sizes(page, "all").value


@statement
def more_stays_of_small_photographs(page: Page) -> bool:
    """Overlap and rank correlation are higher on small photographs than on large ones, for every map, attack and size
    measured on both, from the same reference image."""
    grids = [select(page.edition(one), attack=list(comparison.ATTACKS), reference=comparison.SMALL_SHOWN)
             for one in (comparison.SMALL, comparison.EXPERIMENT)]
    levels = [grid.groupby(["method", "attack", "epsilon"])[["topk", "spearman"]].mean() for grid in grids]
    more = (levels[0] - levels[1]).dropna()
    return len(more) >= 24 and (more > 0).all(axis=None)


@statement
def attacks_order_small_photographs_alike(page: Page) -> bool:
    """On small photographs the top-k attack leaves at least 0.2 less overlap than random signs, the mass-centre attack
    moves the centre farther than the top-k attack and that farther than random signs, and both lower the rank
    correlation by 0.1 more than these, for every map."""
    means = small(page, attack=list(comparison.ATTACKS)).groupby(["method", "attack"])[["topk", "center", "spearman"]]
    table = means.mean()
    return all(table.topk[m, "topk"] < table.topk[m, "random_sign"] - 0.2
               and table.center[m, "center"] > table.center[m, "topk"] > table.center[m, "random_sign"]
               and max(table.spearman[m, "topk"], table.spearman[m, "center"]) < table.spearman[m, "random_sign"] - 0.1
               for m in table.index.get_level_values("method").unique())


@statement
def the_grid_on_photographs_is_whole(page: Page) -> bool:
    """All four maps, three attacks and four sizes on photographs are published, from the reference image that is drawn
    where a map has one, with the map of another image."""
    rows = select(page.edition(comparison.EXPERIMENT), reference=comparison.SHOWN)
    cells = rows.groupby(["method", "attack"]).epsilon.nunique()
    return set(cells.index.get_level_values("method")) == set(ALL) and cells.unstack("attack").to_dict("list") == {
        **{attack: [4] * len(ALL) for attack in comparison.ATTACKS}, comparison.CONTROL: [1] * len(ALL)}
