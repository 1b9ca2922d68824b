"""Bad input to every public function of attribution, attacks and metrics: an early, readable ValueError."""

import functools

import pytest
import torch
from torch import nn

from fragility import attacks, attribution, metrics
from tests.networks import OF_ATTENTION, SMALL, Transformer, build, images, options

WRONG_TYPES = {
    "uint8",
    "int64",
    "numpy",
    "list",
    "None",
    "text",
    "float k",
    "float steps",
    "float target",
    "float chunk",
}
MODEL_METHODS = sorted(set(attribution.METHODS) - {"sobel", "random"})
ENSEMBLE = ("noise_ensembles", *attribution.NoiseEnsembles._fields)
SAMPLED = ("noise_ensembles", *(name for name in MODEL_METHODS if options(name, samples=1)))
MODEL = build(SMALL["plain"])


def with_value(value):
    x = images()
    x[1, 0, 2, 3] = value
    return x


BAD_IMAGES = {
    "no batch axis": images()[0],
    "five axes": images()[None],
    "two axes": images()[0, 0],
    "empty batch": images()[:0],
    "NaN": with_value(float("nan")),
    "infinite": with_value(float("inf")),
    "uint8": (255 * images()).to(torch.uint8),
    "int64": (255 * images()).long(),
    "numpy": images().numpy(),
    "list": images().tolist(),
    "None": None,
}
BAD_TARGETS = {
    "class too large": 5,
    "class far too large": 10**6,
    "negative class": -1,
    "one of the classes too large": torch.tensor([0, 5, 1]),
    "one of the classes negative": torch.tensor([0, -1, 1]),
    "too few classes": torch.tensor([0, 1]),
    "two axes of classes": torch.zeros(3, 1, dtype=torch.int64),
    "float target": torch.tensor([0.0, 1.0, 2.0]),
    "text": "cat",
}
BAD_CHUNKS = {"chunk 0": 0, "negative chunk": -2, "float chunk": 1.5}


class Shapeless(nn.Module):
    """Answers with one number an image, or with a map: no class axis to explain."""

    def __init__(self, shape):
        super().__init__()
        self.shape = shape

    def forward(self, x):
        return {"(n,)": x.flatten(1).sum(1), "(n, c, h, w)": 2 * x, "(1, k)": x.sum((0, 2, 3))[None]}[
            self.shape
        ]


class NotANumber(nn.Module):
    def forward(self, x):
        return x.flatten(1)[:, :5] * float("nan")


def method_cases():
    """(name, wrong kind, call) for every method that explains a model."""
    for name in [*MODEL_METHODS, "noise_ensembles"]:
        explain, model = getattr(attribution, name), build(Transformer) if name in OF_ATTENTION else MODEL
        for kind, x in BAD_IMAGES.items():
            yield name, kind, functools.partial(explain, model, x)
        for kind, target in BAD_TARGETS.items():
            yield name, kind, functools.partial(explain, model, images(), target)
        for kind, chunk in BAD_CHUNKS.items():
            yield name, kind, functools.partial(explain, model, images(), 1, chunk=chunk)
        for shape in ("(n,)", "(n, c, h, w)", "(1, k)"):
            yield name, f"logits {shape}", functools.partial(explain, Shapeless(shape).eval(), images())
        yield name, "NaN logits", functools.partial(explain, NotANumber().eval(), images())


def special_cases():
    """Settings that one method has."""
    for name, kinds in {
        "integrated_gradients": {
            "steps 0": {"steps": 0},
            "negative steps": {"steps": -3},
            "float steps": {"steps": 2.5},
            "NaN baseline": {"baseline": float("nan")},
            "baseline shape": {"baseline": images()[:, :, :3]},
            "baseline batch": {"baseline": images(2)},
            "text": {"baseline": "black"},
        },
        "deeplift": {
            "NaN baseline": {"baseline": float("nan")},
            "baseline shape": {"baseline": images()[:, :, :3]},
            "baseline batch": {"baseline": images(2)},
        },
        "lrp": {
            "unknown rule": {"rule": "w2"},
            "epsilon 0": {"rule": "epsilon", "epsilon": 0.0},
            "negative epsilon": {"rule": "epsilon", "epsilon": -1e-6},
            "NaN epsilon": {"rule": "epsilon", "epsilon": float("nan")},
            "NaN root": {"root": float("nan")},
            "root shape": {"root": images()[:, :, :3]},
            "root of z+": {"rule": "z+", "root": 0.5},
        },
        "deep_taylor": {"bounds crossed": {"low": 1.0, "high": 0.0}, "NaN bound": {"low": float("nan")}},
        **{
            name: {
                "negative sigma": {"sigma": -0.1},
                "NaN sigma": {"sigma": float("nan")},
                "unknown base": {"base": "gradeint"},
                "None": {"base": None},
            }
            for name in ENSEMBLE
        },
    }.items():
        for kind, keywords in kinds.items():
            yield name, kind, functools.partial(getattr(attribution, name), MODEL, images(), 1, **keywords)
    for name in SAMPLED:
        for kind, samples in {"samples 0": 0, "negative samples": -1, "float steps": 1.5}.items():
            yield name, kind, functools.partial(getattr(attribution, name), MODEL, images(), 1, samples=samples)
    for name in ("sobel", "random", "pixel_map"):
        for kind, x in BAD_IMAGES.items():
            yield name, kind, functools.partial(getattr(attribution, name), x)
    yield "pixel_map", "zero map", functools.partial(attribution.pixel_map, 0 * images())


def attack_cases():
    good = {"method": "gradient", "objective": attacks.TopK(5), "epsilon": 0.03, "steps": 2}

    def call(model=MODEL, x=None, **changes):
        return functools.partial(attacks.attack, model, images() if x is None else x, **{**good, **changes})

    pixel_range = {"below 0": with_value(-0.01), "above 1": with_value(1.01), "0 to 255": 255 * images()}
    for kind, x in {**BAD_IMAGES, **pixel_range}.items():
        if x is not None:
            yield "attack", kind, call(x=x)
        yield "random_sign", kind, functools.partial(attacks.random_sign, x, epsilon=0.03)
    for kind, epsilon in {"negative epsilon": -0.1, "epsilon in grey levels": 8, "NaN epsilon": float("nan"),
                          "infinite epsilon": float("inf"), "text": "8/255", "None": None}.items():
        yield "attack", kind, call(epsilon=epsilon)
        yield "random_sign", kind, functools.partial(attacks.random_sign, images(), epsilon=epsilon)
    square = torch.ones(8, 8, dtype=torch.bool)
    for kind, changes in {
        "steps 0": {"steps": 0},
        "negative steps": {"steps": -1},
        "float steps": {"steps": 2.5},
        "step 0": {"step_size": 0.0},
        "negative step": {"step_size": -0.01},
        "NaN step": {"step_size": float("nan")},
        "unknown method": {"method": "gradeint"},
        "None": {"method": None},
        "unknown curvature": {"curvature": "hessian"},
        "text": {"objective": "top-k"},
        "k larger than the map": {"objective": attacks.TopK(65)},
        "finite differences of LRP-epsilon": {"method": "lrp", "curvature": "finite-difference",
                                              "method_args": {"rule": "epsilon"}},
        "finite differences of DeepLIFT": {"method": "deeplift", "curvature": "finite-difference"},
    }.items():
        yield "attack", kind, call(**changes)
    for kind, mask in {
        "mask shape": square[:4],
        "mask batch": square.expand(2, 8, 8),
        "mask with channels": square.expand(3, 3, 8, 8),
        "empty mask": ~square,
    }.items():
        yield "attack", kind, lambda mask=mask: call(objective=attacks.Target(mask))()
    for kind, k in {"k 0": 0, "negative k": -3, "float k": 2.5, "text": "all"}.items():
        yield "TopK", kind, lambda k=k: call(objective=attacks.TopK(k))()
    yield "attack", "logits (n,)", call(model=Shapeless("(n,)").eval())
    yield "attack", "NaN logits", call(model=NotANumber().eval())


def metric_cases():
    a, b = images(3, 6)[:, 0], images(3, 6, seed=1)[:, 0]
    broken, unbounded, flat, zero = a.clone(), a.clone(), a.clone(), a.clone()
    broken[1, 2, 3], unbounded[1, 2, 3], flat[1], zero[1] = float("nan"), float("inf"), 0.5, 0.0
    bad_pairs = {
        "no batch axis": (a[0], b[0]),
        "channels": (a[:, None], b[:, None]),
        "empty batch": (a[:0], b[:0]),
        "mismatched batches": (a, b[:2]),
        "one against three": (a[:1], b),
        "mismatched sizes": (a, b[:, :5]),
        "NaN": (broken, b),
        "NaN in the second": (a, broken),
        "infinite": (unbounded, b),
        "numpy": (a.numpy(), b.numpy()),
        "None": (a, None),
        "list": (a.tolist(), b.tolist()),
    }
    for name, extra in {"topk_intersection": (4,), "spearman": (), "kendall": (), "center_shift": ()}.items():
        for kind, (one, other) in bad_pairs.items():
            yield name, kind, functools.partial(getattr(metrics, name), one, other, *extra)
    for kind, k in {
        "k 0": 0,
        "negative k": -1,
        "k larger than the map": 37,
        "float k": 2.5,
        "None": None,
    }.items():
        yield "topk_intersection", kind, functools.partial(metrics.topk_intersection, a, b, k)
    for name in ("spearman", "kendall"):
        yield name, "constant map", functools.partial(getattr(metrics, name), a, flat)
    yield "center_shift", "zero map", functools.partial(metrics.center_shift, a, zero)


CASES = [*method_cases(), *special_cases(), *attack_cases(), *metric_cases()]


@pytest.mark.parametrize("name, kind, call", CASES, ids=[f"{name}: {kind}" for name, kind, _ in CASES])
def test_bad_input_is_refused_with_a_reason(name, kind, call):
    accepted = (ValueError, TypeError) if kind in WRONG_TYPES else ValueError
    with pytest.raises(accepted) as refusal:
        call()
    assert len(str(refusal.value)) >= 20, f"{name} refuses '{kind}' without a reason: {refusal.value}"
