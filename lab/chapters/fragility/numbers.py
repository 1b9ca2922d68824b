"""Numbers in the text of the chapter on fragile maps."""

import pandas as pd

from lab.chapters.fragility import comparison, portraits, unattacked
from lab.chapters.fragility.figures import beside_paper
from lab.chapters.fragility.reported import curve, reported_comparison
from lab.core.frames import select
from lab.core.numbers import Chapter, Number, mean, published_verdict, sourced, statistic
from lab.core.pages import Page
from lab.trained import natural

NUMBERS = Chapter("fragility")
number = NUMBERS.number
FIGURE = "claims/reported/ghorbani2019_fig3.json, digitised"
ALL = ("gradient", "integrated_gradients", "deeplift", "deep_taylor")
#: What the text calls the claims that it tells the verdicts of.
VERDICTS = {"noise": "ghorbani-1", "topk": "ghorbani-3", "center": "ghorbani-7", "hardest": "ghorbani-8",
            "ranks": "ghorbani-8a", "confidence": "ghorbani-12", "deep_taylor": "ghorbani-16", "small": "ghorbani-14"}
WHERES = ["inside", "lower", "higher"]
LIVE = ("gradient", "integrated_gradients")


def live(page: Page, **where) -> pd.DataFrame:
    """Rows of the live run, from the first reference image where a map has one."""
    own = ["none", page.settings["references"][0]]
    return select(page.live(comparison.EXPERIMENT), **{"reference": own, **where})


def photos(page: Page, **where) -> pd.DataFrame:
    """Published rows on photographs: of the largest size and, for maps that have a reference image, of the one that the
    chapter draws, where no other is asked for."""
    return select(page.edition(comparison.EXPERIMENT), **{"epsilon": "largest", "reference": comparison.SHOWN, **where})


def compared(page: Page) -> pd.DataFrame:
    """Means of the published rows that the chapter draws, at all sizes, beside the paper's."""
    rows = comparison.complete(select(page.edition(comparison.EXPERIMENT), reference=comparison.SHOWN))
    return beside_paper(rows, reported_comparison()) if len(rows) else rows


def small(page: Page, **where) -> pd.DataFrame:
    rows = page.edition(comparison.SMALL)
    return select(rows, **{"epsilon": "largest", "reference": comparison.SMALL_SHOWN, **where})


def on_same_images(rows: pd.DataFrame, others: pd.DataFrame) -> pd.DataFrame:
    """Rows of the images that the others have, too."""
    return rows[rows.image.isin(others.image)]


@number("verdict.{what}", what=tuple(VERDICTS))
def verdict(page: Page, what: str) -> Number:
    """Published verdict on a claim of the paper."""
    return published_verdict(VERDICTS[what])


@number("accuracy", "%", digits=1)
def accuracy(page: Page) -> Number:
    """Test accuracy of the network of the live run."""
    return statistic(page.live(natural.EXPERIMENT).head(1), lambda rows: 100 * rows.accuracy.iloc[0])


@number("images", digits=0)
def images(page: Page) -> Number:
    """Images of the live run whose gradient is attacked."""
    return sourced(page.settings["images"]["gradient"], "a parameter of the run")


@number("largest", digits=2)
def largest(page: Page) -> Number:
    """Largest size of a perturbation in the live run."""
    return sourced(max(page.settings["epsilons"]), "a parameter of the run")


@number("other.gradient", "%")
def other(page: Page) -> Number:
    """Overlap of the gradient's maps of two different images in the live run."""
    return mean(live(page, attack=comparison.CONTROL, method="gradient"), "topk", scale=100)


@number("overlap.{attack}.{method}", "%", attack=("topk", "random_sign"), method=LIVE)
def overlap(page: Page, attack: str, method: str) -> Number:
    """Share of the top pixels that stays at the largest size of the live run."""
    return mean(live(page, epsilon="largest", attack=attack, method=method), "topk", scale=100)


def cat(page: Page, **where) -> pd.DataFrame:
    return select(page.edition(portraits.EXPERIMENT), photograph="chelsea", **where)


@number("cat.sure", "%", digits=0)
def cat_sure(page: Page) -> Number:
    """Confidence in the cat's label on the clean photograph."""
    return statistic(cat(page), lambda rows: 100 * rows.confidence.iloc[0])


@number("cat.sure.{end}", "%", digits=0, end=("least", "most"))
def cat_confidence(page: Page, end: str) -> Number:
    """Least and largest confidence in the cat's label over all perturbed photographs."""
    return statistic(cat(page), lambda rows: 100 * _end(rows.confidence_after, end))


@number("cat.topk.{end}", "%", digits=0, end=("least", "most"))
def cat_overlap(page: Page, end: str) -> Number:
    """Least and largest overlap of the cat's maps, over the four maps, after the top-k attack."""
    return statistic(cat(page, attack="topk"), lambda rows: 100 * _end(rows.topk, end))


@number("cat.shift.{end}", "pixels", digits=0, end=("least", "most"))
def cat_shift(page: Page, end: str) -> Number:
    """Least and largest shift of the centre of the cat's maps after the mass-centre attack."""
    return statistic(cat(page, attack="center"), lambda rows: _end(rows.center, end))


@number("cat.noise.{end}", "%", digits=0, end=("least", "most"))
def cat_noise(page: Page, end: str) -> Number:
    """Least and largest overlap of the cat's maps after random signs."""
    return statistic(cat(page, attack="random_sign"), lambda rows: 100 * _end(rows.topk, end))


def _end(values: pd.Series, end: str) -> float:
    return values.min() if end == "least" else values.max()


@number("photo.{metric}.{attack}.{method}", metric=("topk", "spearman", "center"),
        attack=("topk", "center", "random_sign"), method=ALL)
def photo(page: Page, metric: str, attack: str, method: str) -> Number:
    """What is left on photographs at 8/255: overlap, rank correlation, or shift of the centre in pixels."""
    return mean(photos(page, attack=attack, method=method), metric)


@number("photo.kept.{attack}.{method}", "%", attack=("topk", "center", "random_sign"), method=ALL)
def photo_kept(page: Page, attack: str, method: str) -> Number:
    """Share of the top pixels that stays on photographs at 8/255."""
    return mean(photos(page, attack=attack, method=method), "topk", scale=100)


@number("levels", digits=0)
def levels(page: Page) -> Number:
    """Largest change of a pixel of a photograph, in grey levels."""
    return statistic(photos(page), lambda rows: 255 * rows.epsilon.iloc[0])


@number("photo.left.{attack}", "%", digits=1, attack=("topk",))
def photo_most_left(page: Page, attack: str) -> Number:
    """Largest share of the top pixels that an attack of 8/255 leaves on photographs, of the means of the four maps."""
    return statistic(photos(page, attack=attack), lambda rows: 100 * rows.groupby("method").topk.mean().max())


@number("photo.first.topk", "%")
def photo_first(page: Page) -> Number:
    """Overlap of the gradient's maps on photographs after the top-k attack of 1/255."""
    return mean(photos(page, epsilon="smallest", attack="topk", method="gradient"), "topk", scale=100)


@number("photo.same.{attack}.{metric}.{method}", attack=("topk", "random_sign", "center"),
        metric=("spearman", "center"), method=("deeplift", "integrated_gradients"))
def photo_same(page: Page, attack: str, metric: str, method: str) -> Number:
    """The gradient's value at 8/255 on the photographs of another map, which has fewer of them."""
    return mean(on_same_images(photos(page, attack=attack, method="gradient"),
                               photos(page, attack=attack, method=method)), metric)


@number("photo.same.kept.{attack}.{method}", "%", attack=("topk", "random_sign", "center"),
        method=("deeplift", "integrated_gradients"))
def photo_same_kept(page: Page, attack: str, method: str) -> Number:
    """The share of the gradient's top pixels that stays at 8/255 on the photographs of another map."""
    return mean(on_same_images(photos(page, attack=attack, method="gradient"),
                               photos(page, attack=attack, method=method)), "topk", scale=100)


def noise(page: Page, **where) -> pd.DataFrame:
    """Published rows of random signs of 8/255 on all photographs that the network classifies correctly."""
    return select(page.edition(unattacked.EXPERIMENT), **{"epsilon": "largest", "attack": "random_sign", **where})


@number("noise.kept.{method}.{reference}", "%", method=("deeplift",), reference=("black", "mean"))
@number("noise.kept.{method}.{reference}", "%", method=("integrated_gradients",), reference=("mean",))
def noise_from(page: Page, method: str, reference: str) -> Number:
    """Share of the top pixels that stays under random signs of 8/255, by the reference image, on all photographs."""
    return mean(noise(page, method=method, reference=reference), "topk", scale=100)


@number("noise.kept.{method}", "%", method=("gradient", "deep_taylor"))
def noise_kept(page: Page, method: str) -> Number:
    """Share of the top pixels that stays under random signs of 8/255, on all photographs."""
    return mean(noise(page, method=method), "topk", scale=100)


@number("noise.{metric}.{method}", metric=("spearman", "center"), method=("gradient", "deep_taylor"))
def noise_on(page: Page, metric: str, method: str) -> Number:
    """Rank correlation or shift of maps under random signs of 8/255, on all photographs."""
    return mean(noise(page, method=method), metric)


@number("noise.cost", "%")
def noise_cost(page: Page) -> Number:
    """Share of the gradient's top pixels that random signs of 8/255 cost, on all photographs."""
    rows = noise(page, method="gradient")
    return mean(rows.assign(gone=1 - rows.topk) if len(rows) else rows, "gone", scale=100)


@number("noise.images")
def noise_images(page: Page) -> Number:
    """Photographs that the network classifies correctly."""
    return statistic(noise(page), lambda rows: rows.image.nunique())


@number("photo.images.{method}", method=ALL)
def photo_images(page: Page, method: str) -> Number:
    """Photographs on which a map is attacked."""
    return statistic(photos(page, method=method), lambda rows: rows.image.nunique())


@number("photo.steps.{method}", method=ALL)
def photo_steps(page: Page, method: str) -> Number:
    """Steps of the attacks on photographs."""
    return statistic(photos(page, method=method, attack="topk"), lambda rows: int(rows.steps.iloc[0]))


@number("photo.flipped.{method}", "%", method=ALL)
def photo_flipped(page: Page, method: str) -> Number:
    """Photographs that lose their label to random signs of 8/255."""
    rows = photos(page, attack="random_sign", method=method)
    return mean(rows.assign(lost=1 - rows.found.astype(float)) if len(rows) else rows, "lost", scale=100)


@number("photo.surer.{attack}.{method}", "points", signed=True, attack=("topk", "center"), method=ALL)
def photo_surer(page: Page, attack: str, method: str) -> Number:
    """Change of the confidence in the label at 8/255."""
    return mean(photos(page, attack=attack, method=method), "confidence_change", scale=100)


@number("paper.{metric}.{attack}.{method}", digits=1, metric=("center",), attack=("topk", "center", "random_sign"),
        method=ALL)
@number("paper.{metric}.{attack}.{method}", digits=2, metric=("spearman",),
        attack=("topk", "center", "random_sign"), method=ALL)
def paper(page: Page, metric: str, attack: str, method: str) -> Number:
    """The paper's mean at 8/255."""
    return sourced(curve(reported_comparison(), metric, method, attack)[-1], FIGURE)


@number("paper.kept.{attack}.{method}", "%", digits=1, attack=("topk",), method=("gradient", "deeplift"))
@number("paper.kept.{attack}.{method}", "%", digits=0, attack=("topk",), method=("integrated_gradients", "deep_taylor"))
@number("paper.kept.{attack}.{method}", "%", digits=0, attack=("center", "random_sign"), method=ALL)
def paper_kept(page: Page, attack: str, method: str) -> Number:
    """The paper's share of the top pixels that stays at 8/255."""
    return sourced(100 * curve(reported_comparison(), "topk", method, attack)[-1], FIGURE)


@number("paper.first.topk", "%", digits=0)
def paper_first(page: Page) -> Number:
    """The paper's overlap of the gradient's maps after the top-k attack of 1/255."""
    return sourced(100 * curve(reported_comparison(), "topk", "gradient", "topk")[1], FIGURE)


@number("photo.sizes.{where}", where=("all", "inside", "lower", "higher"))
def photo_sizes(page: Page, where: str) -> Number:
    """Numbers of the paper's picture that lie in our 95 % interval on photographs, above it (ours lower), or below."""
    rows = select(page.edition(comparison.EXPERIMENT), reference=comparison.SHOWN)
    return statistic(rows, lambda _: int(compared(page)["where"].isin([where] if where != "all" else WHERES).sum()))


@number("path.points")
def path_points(page: Page) -> Number:
    """Random points of the path in a step of the attack on integrated gradients."""
    return statistic(photos(page, method="integrated_gradients"), lambda rows: int(rows.path_points.iloc[0]))


@number("small.accuracy", "%", digits=0)
def small_accuracy(page: Page) -> Number:
    """Test accuracy of the network for small photographs."""
    return statistic(_small_network(page), lambda rows: 100 * rows.accuracy.iloc[0])


@number("small.epochs")
def small_epochs(page: Page) -> Number:
    """Passes over the training data of the network for small photographs."""
    return statistic(_small_network(page), lambda rows: int(rows.epochs.iloc[0]))


def _small_network(page: Page) -> pd.DataFrame:
    used = small(page)
    return select(page.edition(natural.EXPERIMENT), network=list(used.network.unique())) if len(used) else used


@number("small.chance", "%", digits=0)
def small_chance(page: Page) -> Number:
    """Overlap of two unrelated maps of small photographs."""
    return statistic(small(page), lambda rows: 100 * (rows.k / rows.pixels).iloc[0])


@number("small.shift.{attack}", "pixels", attack=("topk", "center"))
def small_shift(page: Page, attack: str) -> Number:
    """Shift of the centre of the gradient's maps of small photographs at 8/255."""
    return mean(small(page, attack=attack, method="gradient"), "center")
