"""Numbers in the text of the chapter on influences: which training images matter, in the run and on flowers."""

import pandas as pd

from lab.chapters.influence import influences, pairs
from lab.core import folders
from lab.core.frames import select
from lab.core.numbers import Chapter, Number, difference, mean, published_verdict, sourced, statistic
from lab.core.pages import Page
from lab.core.profiles import read_yaml

NUMBERS = Chapter("influence")
number = NUMBERS.number
NETWORKS = {"squeezenet": "squeezenet1_0", "lite": "efficientnet_lite0"}
GRADIENT, RANDOM = influences.ATTACKS
#: Sizes on flowers, in grey levels of 255, by what the text says of them.
SIZES = {"smallest": 1, "attack": 8, "noise": 10}
#: The claims that hold what we know of the paper's values.
CLAIMS = {"stay": "ghorbani-9", "rank": "ghorbani-10", "noise": "ghorbani-11"}
#: What the text calls the claims that it tells the verdicts of.
VERDICTS = {"no_more": "ghorbani-9", "no_fewer": "ghorbani-9a", "rank": "ghorbani-10", "noise": "ghorbani-11a",
            "size": "ghorbani-13", "change": "ghorbani-18", "pixels": "ghorbani-19", "loss": "ghorbani-19b",
            "width": "ghorbani-19a"}


def live(page: Page, **where) -> pd.DataFrame:
    """Rows of the run, of the largest size where no other is asked for."""
    cells = influences.of_first_network(page.parameters(influences.EXPERIMENT))
    return select(page.live(influences.EXPERIMENT, cells), **{"epsilon": "largest", **where})


def flowers(page: Page, network: str, size: str = "attack", **where) -> pd.DataFrame:
    """Published rows on flowers, of the size of the paper's attack where no other is asked for."""
    rows = select(page.edition(influences.EXPERIMENT), data_set="flowers", network=NETWORKS[network], **where)
    return rows[(255 * rows.epsilon).round() == SIZES[size]] if len(rows) else rows


@number("verdict.{what}", what=tuple(VERDICTS))
def verdict(page: Page, what: str) -> Number:
    """Published verdict on a claim of the paper."""
    return published_verdict(VERDICTS[what])


@number("accuracy", "%")
def accuracy(page: Page) -> Number:
    """Test images of the run that its head classifies correctly."""
    return mean(live(page, attack=GRADIENT), "correct", scale=100)


@number("size.largest", digits=2)
def largest_size(page: Page) -> Number:
    """Largest size of a perturbation in the run."""
    return sourced(max(page.settings["epsilons"]), "a parameter of the run")


@number("images.{part}", part=("train", "test"))
def images(page: Page, part: str) -> Number:
    """Training and test images of the run's head."""
    return sourced(page.settings[f"{part}_images"], "a parameter of the run")


@number("rank.{attack}", attack=influences.ATTACKS)
def rank(page: Page, attack: str) -> Number:
    """Rank correlation of the influences before and after the largest step of the run."""
    return mean(live(page, attack=attack), "spearman")


@number("stay.{attack}", attack=influences.ATTACKS)
def stay(page: Page, attack: str) -> Number:
    """Of the five most helpful training images, how many stay among the five after the largest step of the run."""
    return mean(live(page, attack=attack), "survivors")


@number("kept.{attack}", "%", digits=0, attack=influences.ATTACKS)
def kept(page: Page, attack: str) -> Number:
    """Test images that keep their label in the largest step of the run."""
    return mean(live(page, attack=attack), "kept", scale=100)


@number("surer.{attack}", "points", signed=True, attack=influences.ATTACKS)
def surer(page: Page, attack: str) -> Number:
    """Change of the head's confidence in the label by the largest step of the run."""
    return mean(live(page, attack=attack), "confidence_change", scale=100)


@number("little.{measure}", measure=("ours", "published"))
def little(page: Page, measure: str) -> Number:
    """Rank correlation after random signs of the smallest size of the run, in our measure or the published code's."""
    column = "spearman" if measure == "ours" else "spearman_published"
    return mean(live(page, epsilon="smallest", attack=RANDOM), column)


@number("hessian.{part}", part=("weights", "rank_published", "negative_published", "condition"))
def hessian(page: Page, part: str) -> Number:
    """Rows of the head's Hessian in the run; rank and negative eigenvalues of the published code's; condition number of
    ours."""
    return statistic(live(page), lambda rows: round(rows[part].iloc[0]))


@number("paper.{what}", what=tuple(CLAIMS))
def paper(page: Page, what: str) -> Number:
    """What we know of the paper's value: of the five, rank correlation, and rank correlation under random signs."""
    claims = {claim["id"]: claim for claim in read_yaml(folders.CLAIMS / "ghorbani.yaml")}
    reported = claims[CLAIMS[what]]["reported"].partition(" at ")[0]        # its size is in the text
    return sourced(reported, f"claims/ghorbani.yaml, {CLAIMS[what]}, second-hand")


@number("flowers.images.{part}", part=("train", "test"))
def flowers_images(page: Page, part: str) -> Number:
    """Training and test images of flowers."""
    return statistic(flowers(page, "squeezenet"), lambda rows: int(rows[f"{part}_images"].iloc[0]))


@number("flowers.correct.{network}", "%", network=tuple(NETWORKS))
def flowers_correct(page: Page, network: str) -> Number:
    """Test images of flowers that our head classifies correctly."""
    return mean(flowers(page, network), "correct", scale=100)


@number("flowers.correct.published", "%")
def flowers_correct_published(page: Page) -> Number:
    """Test images of flowers that the published code's head classifies correctly, on SqueezeNet's features."""
    return mean(flowers(page, "squeezenet"), "correct_published", scale=100)


@number("flowers.stay.{size}.{attack}", size=("attack", "smallest"), attack=influences.ATTACKS)
def flowers_stay(page: Page, attack: str, size: str = "attack", network: str = "squeezenet",
                 measure: str = "survivors") -> Number:
    """Of the five most helpful training flowers, how many stay: at the size of the paper's attack, or at 1/255."""
    return mean(flowers(page, network, size, attack=attack), measure)


@number("flowers.rank.{attack}", attack=influences.ATTACKS)
def flowers_rank(page: Page, attack: str, network: str = "squeezenet", measure: str = "spearman") -> Number:
    """Rank correlation of the influences of flowers at 8/255."""
    return mean(flowers(page, network, attack=attack), measure)


@number("flowers.rank.published")
def flowers_rank_published(page: Page) -> Number:
    """Rank correlation of the influences of flowers, gradient sign of 8/255, by the published code's measure."""
    return flowers_rank(page, GRADIENT, measure="spearman_published")


@number("flowers.rank.noise")
def flowers_rank_noise(page: Page) -> Number:
    """Rank correlation of the influences of flowers after random signs of 10/255."""
    return mean(flowers(page, "squeezenet", "noise", attack=RANDOM), "spearman")


@number("flowers.beyond.{network}", network=tuple(NETWORKS))
def flowers_beyond(page: Page, network: str, size: str = "attack") -> Number:
    """Of the five, how many more random signs of 8/255 leave than the gradient sign, on the same images."""
    random, gradient = (flowers(page, network, size, attack=attack) for attack in (RANDOM, GRADIENT))
    return difference(random, gradient, "survivors")


@number("flowers.doubt.before", "%")
def flowers_doubt_before(page: Page) -> Number:
    """Doubt of the head in its labels of flowers: 100 % minus its confidence."""
    return _doubt(flowers(page, "squeezenet", attack=GRADIENT), [])


@number("flowers.doubt.{attack}", "%", attack=influences.ATTACKS)
def flowers_doubt(page: Page, attack: str) -> Number:
    """Doubt of the head in its clean labels of flowers after a step of 8/255."""
    return _doubt(flowers(page, "squeezenet", attack=attack), ["confidence_change"])


def _doubt(rows: pd.DataFrame, changes: list[str]) -> Number:
    return mean(rows.assign(doubt=1 - rows[["confidence", *changes]].sum(axis=1)) if len(rows) else rows, "doubt",
                scale=100)


@number("flowers.surer.{network}", "points", signed=True, network=tuple(NETWORKS))
def flowers_surer(page: Page, network: str) -> Number:
    """Change of the head's confidence in the label of flowers by the gradient sign of 8/255."""
    return mean(flowers(page, network, attack=GRADIENT), "confidence_change", scale=100)


@number("flowers.hessian.{network}.{part}", network=tuple(NETWORKS),
        part=("weights", "rank_published", "negative_published"))
def flowers_hessian(page: Page, network: str, part: str) -> Number:
    """Rows of the published code's Hessian on flowers, its rank, and how many of its eigenvalues are negative."""
    return statistic(flowers(page, network), lambda rows: int(rows[part].iloc[0]))


def median(page: Page) -> pd.DataFrame:
    """Influences of all training flowers on the test image whose influences keep the median rank correlation."""
    return select(page.edition(pairs.EXPERIMENT), place="median")


@number("median.crossed", "%")
def median_crossed(page: Page) -> Number:
    """Of the tenth of the training images that helped the median test image most, how many are in the most harmful
    tenth after the step."""
    return statistic(median(page), lambda rows: round(100 * crossed(rows)))


def crossed(rows: pd.DataFrame) -> float:
    """Share of the most helpful tenth before that is in the most harmful tenth after."""
    tenth = len(rows) // 10
    return rows.index.isin(rows.nsmallest(tenth, "after").index)[rows.before.rank(ascending=False) <= tenth].mean()


def _own(rows: pd.DataFrame) -> pd.DataFrame:
    return rows[rows.training_class == rows.test_class]


@number("median.class")
def median_class(page: Page) -> Number:
    """Class of the median test image."""
    return statistic(median(page), lambda rows: rows.test_class.iloc[0])


@number("median.help")
def median_help(page: Page) -> Number:
    """Of its five most helpful training images, how many have a positive influence after the step."""
    return statistic(median(page), lambda rows: int((rows.nlargest(influences.SURVIVORS, "before").after > 0).sum()))


@number("median.own.{side}", "%", digits=0, side=("before", "after"))
def median_own(page: Page, side: str) -> Number:
    """Training images of its own class that have a positive influence on the median test image."""
    return statistic(median(page), lambda rows: 100 * (_own(rows)[side] > 0).mean())
