"""What the text of the chapter on constant shifts says of its numbers."""

import pandas as pd

from fragility.metrics import IDENTICAL
from lab.chapters.shift import invariance, kittens, references, shifts, tables
from lab.chapters.shift.numbers import FIXED, INK, NUMBERS, REFIT, RUNS, main, of_run, painted, referred
from lab.core.frames import select
from lab.core.pages import Page

statement = NUMBERS.statement
SIGNALS = ["gradient", "guided_backprop", "deconvnet", "pattern_net"]
MOVING = ["ig_moving", "ig_mean", "lrp_moving", "lrp_mean", "deeplift_moving", "deep_taylor_moving"]
CHANGED = 0.1        # relative change from which the text says that a map changes


def passes(rows: pd.DataFrame) -> dict[str, bool]:
    """Of each method, whether no image's map changes."""
    return (rows.groupby("method").relative.max() < IDENTICAL).to_dict()


def changed(rows: pd.DataFrame) -> bool:
    """Whether the map of every method changes on average."""
    return len(rows) > 0 and (rows.groupby("method").relative.mean() > CHANGED).all()


def identical(rows: pd.DataFrame) -> bool:
    """Whether no map of any method and image changes."""
    return len(rows) > 0 and rows.relative.max() < IDENTICAL


def _shifted(page: Page, run: str, **where) -> pd.DataFrame:
    """Rows of the constant shifts, all of them where none is asked for."""
    return main(page, run, **{"shift": list(shifts.SHIFTS), **where})


@statement
def the_networks_agree(page: Page) -> bool:
    """In this run the logits of two networks differ by no more than rounding, and no method is refused."""
    table = page.live(invariance.EXPERIMENT)
    return table.agreement.max() < 1e-10 and (table.refused == "").all()


@statement
def both_networks_classify_alike(page: Page) -> bool:
    """In this run the twin classifies as many of the shifted images correctly as its network of the images, more than
    nine in ten, for every architecture."""
    rows = page.live(invariance.EXPERIMENT).dropna(subset="accuracy")
    return rows.accuracy.min() > 0.9 and (rows.accuracy - rows.accuracy_shifted).abs().max() < 1e-9


@statement
def signals_pass(page: Page) -> bool:
    """In both runs gradient, guided back-propagation, deconvolution network and PatternNet are identical under every
    shift."""
    return all(identical(_shifted(page, run, method=SIGNALS)) for run in RUNS)


@statement
def attributions_split(page: Page) -> bool:
    """In both runs gradient times input, LRP and integrated gradients from zero change under the uniform shift;
    integrated gradients from black and PatternAttribution are identical."""
    return all(changed(main(page, run, shift="uniform", method=list(FIXED)))
               and identical(main(page, run, shift="uniform", method=["ig_black", "pattern_attribution"]))
               for run in RUNS)


@statement
def moving_references_pass(page: Page) -> bool:
    """In both runs every method whose reference moves with the data is identical under every shift."""
    return all(identical(_shifted(page, run, method=MOVING)) for run in RUNS)


@statement
def averaging_neither_repairs_nor_breaks(page: Page) -> bool:
    """In both runs the same methods pass with equal noise as without."""
    return all(passes(main(page, run, shift=one, noise="equal"))
               == passes(main(page, run, shift=one, method=list(invariance.NOISE_METHODS)))
               for run in RUNS for one in ("uniform", "checkerboard"))


@statement
def own_noise_breaks_under_a_checkerboard(page: Page) -> bool:
    """In both runs noise that is a share of each one's own range leaves every method identical under a uniform shift
    that was, and changes the smoothed gradient under a checkerboard."""
    return all(identical(main(page, run, shift="uniform", noise="own", method=SIGNALS))
               and changed(main(page, run, shift="checkerboard", noise="own", method="gradient")) for run in RUNS)


@statement
def the_checkerboard_breaks_black_references(page: Page) -> bool:
    """In both runs the checkerboard changes integrated gradients from black and the methods that a uniform shift
    changes, and not PatternAttribution."""
    return all(changed(main(page, run, shift="checkerboard", method=[*FIXED, "ig_black"]))
               and identical(main(page, run, shift="checkerboard", method="pattern_attribution")) for run in RUNS)


@statement
def the_kitten_shows(page: Page) -> bool:
    """In both runs the map of gradient times input and that of LRP correlate with the drawing above 0.8 and have every
    pixel of it above every one beside it; those of integrated gradients correlate below 0.5."""
    means = (painted(page, run).groupby("method")[["likeness", "ahead"]].mean() for run in RUNS)
    return all(one.loc[["gradient_x_input", "lrp"]].gt([0.8, 0.9999]).all(axis=None)
               and one.likeness[["ig_zero", "ig_black"]].max() < 0.5 for one in means)


@statement
def the_eye_finds_the_kitten_from_zero(page: Page) -> bool:
    """In both runs a pixel of the drawing is above one beside it in more than three of four pairs for integrated
    gradients from zero, and from black in 30 to 70 % and at least 10 % fewer."""
    means = (painted(page, run).groupby("method").ahead.mean() for run in RUNS)
    return all(one["ig_zero"] > 0.75 and 0.3 < one["ig_black"] < min(0.7, one["ig_zero"] - 0.1) for one in means)


@statement
def more_ink_clips_more(page: Page) -> bool:
    """In both runs the strongest ink clips more of the shift than the faintest and lowers the correlation."""
    return all(strong.clipped > faint.clipped and strong.likeness < faint.likeness for faint, strong in (
        [painted(page, run, scale=INK[ink], method="gradient_x_input")[["clipped", "likeness"]].mean() for ink in INK]
        for run in RUNS))


@statement
def only_max_pooling_changes_the_gradient(page: Page) -> bool:
    """In both runs the gradient changes under a shift on the CNN with max-pooling and on no other network."""
    def changing(run: str) -> list[str]:
        rows = select(of_run(page, run, invariance.EXPERIMENT), method="gradient", noise="none",
                      shift=list(shifts.SHIFTS))
        largest = rows.groupby("network").relative.max()
        return list(largest.index[largest >= IDENTICAL])
    return all(changing(run) == ["mnist-cnn"] for run in RUNS)


@statement
def verdicts_are_the_papers_cell_by_cell(page: Page) -> bool:
    """At the paper's size every map that it judges under one of its shifts has its verdict."""
    return all((tables.change(main(page, "full", shift=shift, method=method)) < IDENTICAL) == (theirs == 0)
               for (method, shift), theirs in tables.reported().items())


@statement
def references_show_other_maps_on_photographs(page: Page) -> bool:
    """On photographs the maps of integrated gradients from two references correlate below 0.9, those of deep Taylor
    from two roots below 0.3."""
    correlation = {method: referred(page, "full", method).pearson.mean() for method in references.PAIRS}
    return correlation["integrated_gradients"] < 0.9 and correlation["deep_taylor"] < 0.3


@statement
def patterns_fitted_anew_fail_by_the_printed_estimator_alone(page: Page) -> bool:
    """In both runs PatternAttribution with patterns fitted anew changes by more than its own length by the printed
    estimator, and is identical by the linear and the conditional one."""
    proper = [REFIT.replace("relu", estimator) for estimator in ("linear", "conditional")]
    return all(_shifted(page, run, method=REFIT).groupby("shift").relative.mean().min() > 1
               and identical(_shifted(page, run, method=proper)) for run in RUNS)


@statement
def equal_functions_have_equal_gradients(page: Page) -> bool:
    """In both runs other weights for the same function leave gradient, gradient times input, LRP and DeepLIFT
    identical; guided back-propagation and the deconvolution network change, deep Taylor by less than 1 %."""
    tables = (main(page, run, shift=shifts.REBUILT) for run in RUNS)
    return all(identical(select(rows, method=["gradient", "gradient_x_input", "lrp", "deeplift"]))
               and changed(select(rows, method=["guided_backprop", "deconvnet"]))
               and IDENTICAL < select(rows, method="deep_taylor").relative.mean() < 0.01 for rows in tables)


@statement
def pattern_net_doubles(page: Page) -> bool:
    """In both runs PatternNet's map on the network of other weights is twice the map, and of the same form."""
    rows = (main(page, run, shift=shifts.REBUILT, method="pattern_net") for run in RUNS)
    return all(abs(one.relative.mean() - 1) < 0.01 and one.pearson.min() > 0.999 for one in rows)


@statement
def the_pattern_root_leaves_little(page: Page) -> bool:
    """On photographs deep Taylor's map from the pattern's root is so small beside that from zero that the change is as
    long as the map, within 1 %."""
    return (referred(page, "full", "deep_taylor").relative - 1).abs().max() < 0.01


@statement
def both_runs_pass_alike(page: Page) -> bool:
    """At the paper's size the same methods pass under the four shifts as in this run."""
    full, live = (passes(_shifted(page, run)) for run in RUNS)
    return full == live


@statement
def the_published_run_is_whole(page: Page) -> bool:
    """All cells of the shifts and of the drawings are published at the paper's size."""
    tables = [of_run(page, "full", one) for one in (invariance.EXPERIMENT, kittens.EXPERIMENT)]
    return all(table.attrs["done"] == table.attrs["cells"] for table in tables)
