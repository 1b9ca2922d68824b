"""What the chapter's text says of its numbers: of the published edition where there is one, else of the live run."""

from fragility.audit.verdicts import FAIL, PASS
from lab.chapters.scoreboard import board
from lab.chapters.scoreboard.methods import METHODS
from lab.chapters.transformers import questions
from lab.chapters.transformers.figures import CONTROL
from lab.chapters.transformers.kinds import ORDER
from lab.chapters.transformers.numbers import NUMBERS, agreement, judged, of_rollout, of_run
from lab.core.frames import select
from lab.core.pages import Page

statement = NUMBERS.statement


def _left(page: Page, attack: str, kind: str, column: str = "topk"):
    """What is left of the gradient's map."""
    return agreement(page, "shown", column, attack, kind, "gradient")


def _words(page: Page, criterion: str, kind: str) -> dict[str, str]:
    """The verdict on each map by one question, on one kind of network."""
    found = select(judged(of_run(page, "shown", questions.EXPERIMENT)), criterion=criterion, kind=kind)
    return dict(zip(found.method, found.verdict))


@statement
def noise_tells_little_apart(page: Page) -> bool:
    """Random signs leave as many of the gradient's top pixels on the transformer as on the convolutional network, or
    more."""
    return _left(page, "random_sign", "ViT").value > _left(page, "random_sign", "convolutional").value - 0.02


@statement
def an_attack_takes_more_of_the_gradient(page: Page) -> bool:
    """The attack leaves fewer of the gradient's top pixels on ConvNeXt and transformer than on the convolutional
    network, and the intervals do not touch."""
    ends = [_left(page, "topk", kind).interval for kind in ORDER]
    return max(high for _, high in ends[1:]) < ends[0][0]


@statement
def rollout_is_steady_until_attacked(page: Page) -> bool:
    """Attention rollout keeps more of its top pixels under random signs than the transformer's gradient, and under
    attack about as many as maps of different images share, at most a tenth more."""
    noise, attacked, other = (of_rollout(page, "shown", "topk", one).value for one in ("random_sign", "topk", CONTROL))
    return noise > _left(page, "random_sign", "ViT").value and attacked < other + 0.1


@statement
def forgiving_displacements_does_not_help(page: Page) -> bool:
    """By LENS recall an attacked gradient of ConvNeXt and transformer is no nearer to the clean one than the map of
    another image, by more than a tenth."""
    gains = [_left(page, "topk", kind, "recall").value - _left(page, CONTROL, kind, "recall").value
             for kind in ORDER[1:]]
    return max(gains) < 0.1


@statement
def the_shift_spares_the_same_maps(page: Page) -> bool:
    """On every kind the gradient and SmoothGrad pass the shift; gradient times input, integrated gradients and AttnLRP
    fail it."""
    found = [_words(page, "shift", kind) for kind in ORDER]
    return all({one["gradient"], one["smoothgrad"]} == {PASS} for one in found) and all(
        {one["gradient_x_input"], one["integrated_gradients"], one["attn_lrp"]} == {FAIL} for one in found)


@statement
def rollouts_pass_the_shift(page: Page) -> bool:
    """Both rollouts pass the shift."""
    found = _words(page, "shift", "ViT")
    return {found["attention_rollout"], found["gradient_attention_rollout"]} == {PASS}


@statement
def gradients_follow_the_weights(page: Page) -> bool:
    """On every kind the gradient, SmoothGrad, integrated gradients and AttnLRP pass randomised weights."""
    names = ("gradient", "smoothgrad", "integrated_gradients", "attn_lrp")
    return all(_words(page, "parameters", kind)[name] == PASS for kind in ORDER for name in names)


@statement
def rollout_follows_neither_weights_nor_class(page: Page) -> bool:
    """Attention rollout fails randomised weights and another class."""
    return _words(page, "parameters", "ViT")["attention_rollout"] == FAIL == _words(
        page, "class", "ViT")["attention_rollout"]


@statement
def no_map_of_the_convnext_passes_removal(page: Page) -> bool:
    """On the ConvNeXt no map passes removal, and Sobel, which has never seen the network, does."""
    found = _words(page, "removal", "ConvNeXt")
    return found["sobel"] == PASS and PASS not in {found[name] for name in found if name in METHODS}


@statement
def rules_for_relu_are_refused(page: Page) -> bool:
    """ConvNeXt and transformer refuse guided back-propagation, and the transformer DeepLIFT."""
    refused = {kind: set(board.refused(of_run(page, "shown", questions.EXPERIMENT, kind=kind))) for kind in ORDER[1:]}
    return refused == {"ConvNeXt": {"guided_backprop"}, "ViT": {"guided_backprop", "deeplift"}}
