"""Saliency maps of a batch: which parts of an image a model's logit depends on.

Every method takes a model, images (n, c, h, w) and a target, and gives signed maps of the images' shape.
"""

import inspect

from fragility.attribution.attention import attention_rollout, gradient_attention_rollout
from fragility.attribution.attention_relevance import attn_lrp
from fragility.attribution.backprop import deconvnet, guided_backprop
from fragility.attribution.cam import grad_cam
from fragility.attribution.controls import random, sobel
from fragility.attribution.deeplift import deeplift
from fragility.attribution.gradients import gradient, gradient_x_input
from fragility.attribution.integrated import integrated_gradients
from fragility.attribution.occlusion import occlusion
from fragility.attribution.patterns import fit_patterns, pattern_attribution, pattern_net
from fragility.attribution.pixel import pixel_map
from fragility.attribution.relevance import deep_taylor, lrp
from fragility.attribution.smoothgrad import (
    NoiseEnsembles,
    noise_ensembles,
    smoothgrad,
    smoothgrad_squared,
    vargrad,
)


def _control(function):
    """Give a control, which looks at the images alone, the signature of a method; model and target are ignored."""
    def control(model, x, target=None, **options):
        return function(x, **options)
    control.__name__ = function.__name__
    # Its options are found where those of a method are: a control that draws takes a generator.
    first = list(inspect.signature(control).parameters.values())[:3]
    control.__signature__ = inspect.Signature([*first, *list(inspect.signature(function).parameters.values())[1:]])
    return control


#: The methods that need no fitted state, each by its name. Called as ``METHODS[name](model, x, target)``.
METHODS = {
    "gradient": gradient,
    "gradient_x_input": gradient_x_input,
    "integrated_gradients": integrated_gradients,
    "guided_backprop": guided_backprop,
    "deconvnet": deconvnet,
    "deeplift": deeplift,
    "lrp": lrp,
    "deep_taylor": deep_taylor,
    "smoothgrad": smoothgrad,
    "smoothgrad_squared": smoothgrad_squared,
    "vargrad": vargrad,
    "occlusion": occlusion,
    "grad_cam": grad_cam,
    "attention_rollout": attention_rollout,
    "gradient_attention_rollout": gradient_attention_rollout,
    "attn_lrp": attn_lrp,
    "sobel": _control(sobel),
    "random": _control(random),
}

__all__ = [
    "METHODS", "NoiseEnsembles", "attention_rollout", "attn_lrp", "deconvnet", "deep_taylor", "deeplift",
    "fit_patterns", "grad_cam", "gradient", "gradient_attention_rollout", "gradient_x_input", "guided_backprop",
    "integrated_gradients", "lrp", "noise_ensembles", "occlusion", "pattern_attribution", "pattern_net", "pixel_map",
    "random", "smoothgrad", "smoothgrad_squared", "sobel", "vargrad",
]
