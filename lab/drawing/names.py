"""What figures and tables call maps, attacks, data sets and networks, and the order of maps. It draws nothing, so that
experiments need no figures' library for it."""

from collections.abc import Iterable

NAMES = {
    "gradient": "simple gradient", "gradient_x_input": "gradient x input",
    "integrated_gradients": "integrated gradients",
    "guided_backprop": "guided backprop", "deconvnet": "deconvnet", "deeplift": "DeepLIFT", "lrp": "LRP (z rule)",
    "deep_taylor": "deep Taylor", "smoothgrad": "SmoothGrad", "smoothgrad_squared": "SmoothGrad squared",
    "vargrad": "VarGrad", "sobel": "Sobel", "random": "random", "pattern_net": "PatternNet",
    "pattern_attribution": "PatternAttribution", "ig_black": "IG, black", "ig_zero": "IG, zero",
    "ig_mean": "IG, mean image",
    "lrp_black": "LRP, black root", "lrp_mean": "LRP, mean image root", "lrp_moving": "LRP, moving root",
    "ig_moving": "IG, moving reference", "deeplift_moving": "DeepLIFT, moving reference",
    "deep_taylor_moving": "deep Taylor, moving bounds",
    "pattern_attribution_refit_relu": "PatternAttribution, re-fitted (ReLU)",
    "pattern_attribution_refit_linear": "PatternAttribution, re-fitted (linear)",
    "pattern_attribution_refit_conditional": "PatternAttribution, re-fitted (conditional)",
    "random_walk": "best of a random walk", "lens": "LENS-aware attack",
    "topk_for_lens": "top-k attack, LENS chooses",
    "topk": "top-k attack", "center": "mass-centre attack", "random_sign": "random signs",
}
DATA_NAMES = {"cifar10": "CIFAR-10", "mnist": "MNIST", "mnist-5k": "digits", "fashion-mnist": "Fashion-MNIST",
              "gtsrb": "traffic signs", "flowers": "flowers"}
NETWORK_NAMES = {"squeezenet1_0": "SqueezeNet 1.0", "efficientnet_lite0": "EfficientNet-Lite0"}
#: The order of maps in figures: that of [ghorbani2019], with those of [kindermans2019] in between.
ORDER = ("gradient", "guided_backprop", "deconvnet", "pattern_net", "gradient_x_input", "deeplift",
         "integrated_gradients", "ig_black", "ig_zero", "lrp", "deep_taylor", "pattern_attribution")


def in_order(methods: Iterable[str]) -> list[str]:
    """Methods in the order that all figures have, those that it does not know last, as they came."""
    return sorted(dict.fromkeys(methods), key=lambda name: ORDER.index(name) if name in ORDER else len(ORDER))
