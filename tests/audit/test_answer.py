"""The answer in words: what to use for what, what a control passes and fails, and what another image was."""

from types import SimpleNamespace

import torch

from fragility import audit
from fragility.audit import answer
from tests.networks import SMALL, build, images

WORDS = {("a", "removal"): "pass", ("b", "removal"): "pass", ("a", "parameters"): "pass", ("a", "class"): "fail",
         ("b", "parameters"): "pass", ("b", "class"): "pass", ("a", "shift"): "fail", ("b", "shift"): "undecided",
         ("sobel", "noise"): "pass", ("sobel", "class"): "fail"}


def test_each_purpose_names_the_maps_that_pass_all_its_questions():
    said = answer._uses(["a", "b"], ["removal", "parameters", "class", "shift"], WORDS)
    assert said == ("What to use: to find what the network needs, a and b; to explain this class of this network, b; "
                    "where inputs may be encoded otherwise, none of these maps.")


def test_nothing_is_recommended_where_nothing_passes_or_was_asked():
    assert answer._uses(["a"], ["shift"], WORDS) == (
        "What to use: none of these maps, where inputs may be encoded otherwise.")
    assert answer._uses(["a"], ["noise", "class"], WORDS) == ""


def test_what_gives_a_control_away_stands_beside_what_it_passes():
    report = SimpleNamespace(methods={"sobel": {"control": True}, "a": {"control": False}})
    assert answer._cheats(report, ["noise", "class"], WORDS) == [
        "The edge detector sobel, which does not know the network, passes noise and fails class: passing that alone is "
        "no evidence."]


def test_images_without_another_one_of_their_class_are_counted():
    model, x = build(SMALL["plain"]), images(6)
    classes = model(x).argmax(1)
    first, second = classes.unique()[:2]
    x = x[torch.cat([(classes == first).nonzero()[:2, 0], (classes == second).nonzero()[:1, 0]])]

    def said(images, criterion):
        report = audit.run(model, images, methods=["gradient"], criteria=[criterion], progress=False)
        return [notice for notice in report.notices if "another predicted class" in notice]
    assert len(x) == 3 and said(x, "noise")[0].startswith("1 of the 3 images")
    assert not said(x[:2], "noise") and not said(x, "shift")
