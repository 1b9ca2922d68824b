"""The maps on the scoreboard: methods, the audit's controls, and planted maps that no question should let pass."""

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn

from fragility import attribution, training
from fragility.audit.methods import CONTROLS, Method
from lab.chapters.audit import planted
from lab.core.device import device
from lab.material import data, networks

#: The methods by name, written out: one that is added to the package joins the board by a decision, and then by a run.
METHODS: dict[str, Callable | None] = {
    "gradient": attribution.gradient,
    "gradient_x_input": attribution.gradient_x_input,
    "guided_backprop": attribution.guided_backprop,
    "deconvnet": attribution.deconvnet,
    "grad_cam": attribution.grad_cam,
    "lrp": attribution.lrp,
    "lrp_epsilon": partial(attribution.lrp, rule="epsilon", epsilon=0.25),     # as large as outputs, else it is z
    "lrp_zplus": partial(attribution.lrp, rule="z+"),
    "deep_taylor": attribution.deep_taylor,
    "deeplift": attribution.deeplift,
    "pattern_net": None,            # patterns are fitted: see `method`
    "pattern_attribution": None,
    "smoothgrad": attribution.smoothgrad,
    "smoothgrad_squared": attribution.smoothgrad_squared,
    "vargrad": attribution.vargrad,
    "integrated_gradients": attribution.integrated_gradients,
    "occlusion": attribution.occlusion,
    "attn_lrp": attribution.attn_lrp,
    "attention_rollout": attribution.attention_rollout,
    "gradient_attention_rollout": attribution.gradient_attention_rollout,
}


def another_class(model, x: Tensor, target: Tensor) -> Tensor:
    """The gradient of the class that follows the explained one: right for a question that nobody asked."""
    classes = model(x[:1]).shape[1]
    return attribution.gradient(model, x, (target + 1) % classes)


CORNER = "corner"       # the right map of a network that looks at a corner: a map that only looks wrong
#: Maps that should be caught, and the one that should not.
PLANTED = {"constant": planted.constant, "centre": planted.blob, "the_input": planted.the_input,
           "another_class": another_class, CORNER: attribution.gradient}
CORNER_EPOCHS = 3

NAMES = (*METHODS, *CONTROLS, *PLANTED)


def method(cell: dict, model: nn.Module) -> Method:
    """The method of a cell for the audit; ValueError where patterns cannot be fitted to the model."""
    name = cell["method"]
    if name in CONTROLS:
        return Method(name, attribution.METHODS[name], is_control=True)
    if name in ("pattern_net", "pattern_attribution"):
        fitted = attribution.fit_patterns(model, _examples(cell))
        return Method(name, partial(getattr(attribution, name), patterns=fitted))
    return Method(name, {**METHODS, **PLANTED}[name])


def _examples(cell: dict) -> Tensor:
    """Images that patterns are fitted on: of the training data, or, without a split, of all."""
    name = cell["data_set"]
    split = data.load(name, "all" if data.is_unsplit(name) else "train")
    order = torch.randperm(len(split.images), generator=torch.Generator().manual_seed(cell["seed"]))
    images = split.images[order[:cell["pattern_images"]]]
    side = networks.IMAGE_SIDE.get(cell["network"], images.shape[-1])
    return training.as_float(data.centre_crop(images, side)).to(device())
