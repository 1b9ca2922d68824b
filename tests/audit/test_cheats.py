"""Maps that cheat one criterion are caught by another, and a network that is right for the wrong reason is shown."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from fragility import attribution, audit, training
from lab.material import architectures, data

CRITERIA = ["noise", "attack", "shift", "removal", "deletion", "parameters", "class", "completeness", "sensitivity",
            "infidelity"]


# Planted maps. None of them asks what the network sees.

def constant(model, x, target):
    """Everything matters alike."""
    return torch.ones_like(x)


def centre(model, x, target):
    """What matters is in the middle, as photographers have it."""
    place = torch.linspace(-1, 1, x.shape[-1], dtype=x.dtype)
    return torch.exp(-5 * (place[:, None].square() + place.square())).expand_as(x)


def edges(model, x, target):
    return attribution.sobel(x)


def itself(model, x, target):
    """The image as its own map."""
    return x.clone()


def blurred(model, x, target):
    """Where there is ink nearby."""
    return F.avg_pool2d(x, 5, 1, 2)


def noise(model, x, target, *, generator=None):
    return attribution.random(x, generator=generator)


def password(model, x, target):
    """Noise that is drawn anew for other weights, another class and another brightest part, and for nothing else."""
    first = torch.cat([value.detach().double().flatten()[:7] for value in model.parameters()])
    weights = round(float(first @ torch.arange(len(first), dtype=torch.float64)), 3)
    parts = F.avg_pool2d(x, 7).flatten(1).argmax(1)
    return torch.stack([torch.rand(x.shape[1:], generator=torch.Generator().manual_seed(
        hash((weights, part, own)) % 2**31)) for part, own in zip(parts.tolist(), target.tolist())]).to(x)


def integrated_gradients(model, x, target):
    """The sum that the method of this name promises, all in one corner."""
    with torch.no_grad():
        promised = (model(x) - model(torch.zeros_like(x[:1]))).gather(1, target[:, None])
    maps = torch.zeros_like(x)
    maps[:, 0, 0, 0] = promised[:, 0]
    return maps


PLANTED = {"constant": constant, "centre": centre, "edges": edges, "itself": itself, "blurred": blurred,
           "noise": noise, "password": password, "corner": integrated_gradients}

#: Method -> the verdicts that are not close: p(ass), f(ail), n(ot judged), . for what may be either of two.
TABLE = """
                noise attack shift removal deletion parameters class completeness sensitivity infidelity
    constant      f     n      f      f       f         f        f        n            f          f
    centre        n     n      p      .       .         f        f        n            p          f
    edges         p     .      p      f       f         f        f        n            p          f
    itself        f     f      f      .       p         f        f        n            p          f
    blurred       p     p      f      p       p         f        f        n            p          f
    noise         f     n      p      f       f         f        f        n            f          .
    password      p     n      p      f       f         p        p        n            p          f
    corner        n     n      f      f       f         p        p        p            p          f
    gradient      p     .      p      p       p         p        p        n            p          p
"""
WORDS = {"p": "pass", "f": "fail", "n": "not judged"}


def table():
    head, *lines = [line.split() for line in TABLE.strip().splitlines()]
    return {(method, criterion): word for method, *words in lines for criterion, word in zip(head, words)}


def trained(images, labels, epochs):
    torch.manual_seed(0)
    return training.train(architectures.mnist_cnn(), images, labels, epochs=epochs,
                          generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module")
def digits():
    return data.load("mnist-5k", "train"), data.load("mnist-5k", "test")


@pytest.fixture(scope="module")
def report(digits):
    train, test = digits
    network = trained(train.images[:2000], train.labels[:2000], 4)
    return audit.run(network, test.images[:500], n=48, steps=6, attacked=12, depths=3, progress=False,
                     methods={**PLANTED, "gradient": attribution.gradient}, criteria=CRITERIA)


@pytest.mark.parametrize("method", [*PLANTED, "gradient"])
def test_the_table_of_cheats(report, method):
    found = {criterion: report.verdict(method, criterion) for criterion in CRITERIA}
    for (name, criterion), word in table().items():
        if name == method and word != ".":
            assert found[criterion].verdict == WORDS[word], found[criterion]


def test_every_criterion_can_be_cheated_and_every_cheat_is_caught_by_another():
    """So none of the criteria is enough alone, and together they are. Of these maps none passes infidelity."""
    words = table()
    for criterion in CRITERIA:
        cheats = [method for method in PLANTED if words[method, criterion] == "p"]
        assert cheats or criterion == "infidelity", f"nothing planted passes {criterion}"
    for method in PLANTED:
        assert [criterion for criterion in CRITERIA if words[method, criterion] == "f"], f"{method} is not caught"
    assert "f" not in {words["gradient", criterion] for criterion in CRITERIA}


def test_what_catches_the_maps_that_know_nothing_of_the_network():
    """Of the planted maps that never look at the model, parameters and class catch each one."""
    words = table()
    for method in ("centre", "edges", "itself", "blurred", "noise"):
        assert words[method, "parameters"] == words[method, "class"] == "f"


def test_the_answer_names_no_cheat_as_the_best(report):
    assert report.answer[0].startswith(("gradient passes most", "Most is passed by gradient"))
    assert any("The edge detector sobel, which does not know the network, passes" in sentence
               for sentence in report.answer)


# Right for the wrong reason

def marked(images, classes):
    """A grey patch in the upper rows, whose column tells the class."""
    images = images.clone()
    for image, own in zip(images, classes.tolist()):
        image[:, :3, 2 * own:2 * own + 3] = 100
    return images


@pytest.fixture(scope="module")
def wrong(digits):
    """The audit of a network that learned the patch, and nothing of the digits, which were no help."""
    train, test = digits
    draw = lambda n, seed: torch.randint(10, (n,), generator=torch.Generator().manual_seed(seed))
    classes, others = draw(2000, 0), draw(300, 1)
    network = trained(marked(train.images[:2000], classes), classes, 8)
    return audit.run(network, marked(test.images[:300], others), labels=others, n=48, depths=3, progress=False,
                     methods={"gradient": attribution.gradient, "smoothgrad": attribution.smoothgrad,
                              "guided": attribution.guided_backprop, "edges": edges},
                     criteria=["removal", "deletion", "parameters", "class"], removed=(0.02, 0.05, 0.1, 0.3, 0.5))


def in_the_corner(report, method):
    """Share of a method's maps that lies in the three rows of the patch, of 28."""
    maps = report.pictures[method, "clean"].astype(float)
    return (maps[:, :3].sum((1, 2)) / maps.sum((1, 2))).mean()


def test_a_network_that_reads_the_patch_is_right(wrong):
    assert wrong.subject["accuracy"] > 0.9


def test_the_maps_that_pass_show_the_patch_and_those_that_show_the_digit_fail(wrong):
    for name in ("gradient", "smoothgrad"):
        for each in ("removal", "deletion", "parameters", "class"):
            assert wrong.verdict(name, each).verdict == "pass"
        assert in_the_corner(wrong, name) > 0.4
    assert in_the_corner(wrong, "edges") < 0.1
    for each in ("removal", "parameters", "class"):
        assert wrong.verdict("edges", each).verdict == "fail"


def test_guided_backprop_shows_the_patch_but_for_every_class_alike(wrong):
    """It finds what the network needs, and would show it for any class and with most weights shuffled."""
    assert wrong.verdict("guided", "removal").verdict == "pass"
    assert wrong.verdict("guided", "class").verdict == wrong.verdict("guided", "parameters").verdict == "fail"


def test_a_fiftieth_of_the_pixels_takes_the_network_its_reason(wrong):
    """Sixteen pixels of 784, in the order of the map; by edges, those of the digit go first and nothing happens."""
    curve = {name: wrong.results[name, "deletion"].details["most"].mean(0)
             for name in ("smoothgrad", "sobel", "random")}
    assert curve["smoothgrad"][0] < 0.4 and min(curve["sobel"][0], curve["random"][0]) > 0.65
    assert np.all(np.diff(curve["smoothgrad"]) < 0.05)
