"""What the chapter's text says of its numbers; statements on the published board wait until it is there."""

from fragility.audit.verdicts import FAIL, PASS
from lab.chapters.scoreboard import board
from lab.chapters.scoreboard.methods import CONTROLS, CORNER, METHODS
from lab.chapters.scoreboard.numbers import NUMBERS, all_questions, by_retraining, judged, of_run
from lab.core.pages import Page

statement = NUMBERS.statement


@statement
def no_map_that_ignores_the_network_passes_parameters(page: Page) -> bool:
    """In this run each planted map and control that does not look at the network fails randomised weights and another
    class."""
    blind = [name for name in (*board.CHEATS, *CONTROLS) if name != "another_class"]
    rows = judged(page, "live", method=blind, criterion=["parameters", "class"])
    return len(rows) == 2 * len(blind) and (rows.verdict == FAIL).all()


@statement
def the_gradient_of_another_class_passes_them(page: Page) -> bool:
    """In this run the gradient of another class passes randomised weights and another class, and fails removal."""
    rows = judged(page, "live", method="another_class").set_index("criterion").verdict
    return rows["parameters"] == rows["class"] == PASS and rows["removal"] == FAIL


@statement
def sobel_passes_something(page: Page) -> bool:
    """In this run the edge detector, which has never seen the network, passes noise and removal."""
    rows = judged(page, "live", method="sobel").set_index("criterion").verdict
    return rows["noise"] == rows["removal"] == PASS


@statement
def sobel_is_robust_on_the_board(page: Page) -> bool:
    """The edge detector, which has never seen the network, passes noise on the first network of the board."""
    return judged(page, "shown", method="sobel", criterion="noise").verdict.tolist() == [PASS]


@statement
def guided_backprop_fails_weights_and_class(page: Page) -> bool:
    """In this run guided back-propagation passes noise and fails another class."""
    rows = judged(page, "live", method="guided_backprop").set_index("criterion").verdict
    return rows["noise"] == PASS and rows["class"] == FAIL


@statement
def maps_times_the_input_fail_the_shift(page: Page) -> bool:
    """In this run gradient times input, LRP, DeepLIFT and integrated gradients fail the shift; the gradient, guided
    back-propagation and SmoothGrad pass it."""
    rows = judged(page, "live", criterion="shift").set_index("method").verdict
    tied = ["gradient_x_input", "lrp", "deeplift", "integrated_gradients"]
    return set(rows[tied]) == {FAIL} and set(rows[["gradient", "guided_backprop", "smoothgrad"]]) == {PASS}


@statement
def the_right_map_of_the_corner_is_fragile(page: Page) -> bool:
    """In this run the right map of a network that reads a corner passes removal and randomised weights, and fails
    noise."""
    rows = judged(page, "live", method=CORNER).set_index("criterion").verdict
    return rows["removal"] == rows["parameters"] == PASS and rows["noise"] == FAIL


@statement
def transformers_maps_are_refused(page: Page) -> bool:
    """In this run attention rollout is refused, since the network has no attention."""
    refused = board.refused(of_run(page, "live", method=list(METHODS)))
    return {"attention_rollout", "gradient_attention_rollout"} <= set(refused)


@statement
def retraining_passes_no_map(page: Page) -> bool:
    """By retraining no map of the board passes on any data set of the chapter on ROAR, and most fail."""
    return by_retraining(page, "pass").value == 0 and (by_retraining(page, "fail").value
                                                       > by_retraining(page, "undecided").value)


@statement
def no_map_passes_every_question(page: Page) -> bool:
    """On the first network of the board no map passes all questions that are judged of it."""
    return all_questions(page, "shown").value == 0
