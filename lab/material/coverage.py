"""Which of torchvision's families of networks each map works on, and which operation makes one refuse it."""

import re
import warnings

import pandas as pd
import torch
from torch import nn

from fragility import attribution

#: One network a family, the smallest there is; the side in pixels of the images it is tried on, and its options.
FAMILIES = {name: (64, {}) for name in (
    "alexnet", "convnext_tiny", "densenet121", "efficientnet_b0", "efficientnet_v2_s", "mnasnet0_5", "mobilenet_v2",
    "mobilenet_v3_small", "regnet_x_400mf", "regnet_y_400mf", "resnet18", "resnext50_32x4d", "shufflenet_v2_x0_5",
    "squeezenet1_1", "swin_t", "vgg11_bn")}
FAMILIES |= {"googlenet": (64, {"init_weights": True}), "inception_v3": (80, {"init_weights": True}),
             "vit_b_16": (64, {"image_size": 64})}
#: Heading of a column -> its methods with their options; it says "yes" where all of them work.
METHODS = {
    "gradients": [("gradient", {}), ("gradient_x_input", {}), ("integrated_gradients", {"steps": 2}),
                  ("smoothgrad", {"samples": 2})],
    "guided backprop, deconvnet": [("guided_backprop", {}), ("deconvnet", {})],
    "DeepLIFT": [("deeplift", {"baseline": 0.5})],
    "LRP": [("lrp", {"rule": "z"}), ("lrp", {"rule": "epsilon"}), ("lrp", {"rule": "z+"}), ("deep_taylor", {})],
    "AttnLRP": [("attn_lrp", {})],
    "Grad-CAM, occlusion": [("grad_cam", {}), ("occlusion", {"window": 32, "stride": 32})],
    "rollouts": [("attention_rollout", {}), ("gradient_attention_rollout", {})],
}
#: What a rollout says of attention -> what the table does.
_OF_ATTENTION = {"calls no attention": "no: no attention", "within windows": "no: windows"}


def network(name: str) -> nn.Module:
    """A family's network with random weights, its batch norms fitted to sixteen random images, so that values keep a
    reasonable size in every layer: four images leave some channels of a late layer hardly any variance."""
    import torchvision.models

    side, options = FAMILIES[name]
    with torch.random.fork_rng(devices=[]), warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")         # of networks that are slow to initialise
        torch.manual_seed(0)
        model = torchvision.models.get_model(name, weights=None, **options).eval()
        for part in model.modules():
            if isinstance(part, nn.modules.batchnorm._BatchNorm):
                part.train().momentum = None        # the mean of all batches, of which there is one
        model(torch.rand(16, 3, side, side))
        if name == "vit_b_16":
            nn.init.normal_(model.heads.head.weight)        # it starts at zero, and nothing would depend on x
    return model.eval().double()


def coverage(name: str) -> dict[str, str]:
    """For each heading "yes", or the operation that one of its methods refuses."""
    model, side = network(name), FAMILIES[name][0]
    x = torch.rand(1, 3, side, side, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    return {heading: _first_refusal(model, x, methods) for heading, methods in METHODS.items()}


def _first_refusal(model: nn.Module, x: torch.Tensor, methods: list) -> str:
    for name, options in methods:
        try:
            attribution.METHODS[name](model, x, 1, **options)
        except ValueError as refusal:
            if said := next((said for words, said in _OF_ATTENTION.items() if words in str(refusal)), None):
                return said
            reason = re.search(r"uses '?([\w.]+)|depend on x, by (\w+)", str(refusal))
            if reason is None:
                raise
            kind = reason[1] or reason[2]
            # Torch has several operations for attention, by device and size.
            return "no: attention" if kind.startswith("ScaledDotProduct") else f"no: {kind}"
    return "yes"


def table() -> pd.DataFrame:
    """One row a family."""
    return pd.DataFrame([{"network": name, **coverage(name)} for name in FAMILIES])
