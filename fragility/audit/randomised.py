"""The network with its layers randomised from the output down, on a copy: the cascade of [adebayo2018sanity]."""

import copy

import torch
from torch import Tensor, nn

from fragility.audit.criterion import NotApplicable
from fragility.passes import logits_of


class Randomised:
    """A copy of a model whose last layers have shuffled weights.

    A layer is a module with parameters of its own. Their entries change places within each tensor, so that a random
    network keeps the scale of every layer, and its maps do not die out; running means and variances of batch norms
    stay. (Adebayo et al. draw new weights from the distribution that training starts from.)

    Parameters
    ----------
    model
        A module in evaluation mode; it is copied, and left as it is.
    x
        One image (1, c, h, w), to find the order in which the layers are called.
    depths
        Number of steps from the output to the input.
    """

    def __init__(self, model, x: Tensor, depths: int, seed: int):
        if not isinstance(model, nn.Module):
            raise NotApplicable(f"Parameters can be randomised in a module only, not in a {type(model).__name__}; "
                                "pass the module itself.")
        try:
            self.model = copy.deepcopy(model)
        except Exception as error:      # of whatever kind the module's own parts raise
            raise NotApplicable(f"The model cannot be copied, so its parameters are not randomised: {error}") from error
        self.layers = _from_output_down(self.model, x)
        if not self.layers:
            raise NotApplicable("The model has no parameters that could be randomised.")
        self.original = {name: value.detach().clone() for name, value in self.model.named_parameters()}
        self.depths, self.seed, self.depth = min(depths, len(self.layers)), seed, 0

    def at(self, depth: int) -> nn.Module:
        """The copy with the last `depth` of `depths` parts of its layers randomised; the first part is the output."""
        if depth < self.depth:
            with torch.no_grad():
                for name, value in self.model.named_parameters():
                    value.copy_(self.original[name])
            self.depth = 0
        for place in range(self._layers(self.depth), self._layers(depth)):
            _shuffle(self.layers[place], self.seed + place)
        self.depth = depth
        return self.model

    def _layers(self, depth: int) -> int:
        """Number of layers that are randomised at a depth: one at the first, all at the last."""
        if depth == 0:
            return 0
        if self.depths == 1:
            return len(self.layers)
        return 1 + round((len(self.layers) - 1) * (depth - 1) / (self.depths - 1))


def _from_output_down(model: nn.Module, x: Tensor) -> list[nn.Module]:
    """Modules with parameters of their own, the last one called first; one whose call is not seen, as in TorchScript,
    stands right above the module registered before it."""
    layers = [layer for layer in model.modules() if any(True for _ in layer.parameters(recurse=False))]
    calls: dict[nn.Module, int] = {}

    def called(layer: nn.Module, _) -> None:
        calls.setdefault(layer, len(calls))
    hooks = [layer.register_forward_pre_hook(called) for layer in layers
             if not isinstance(layer, torch.jit.ScriptModule)]
    try:                        # hooks on our own copy
        logits_of(model, x)
    finally:
        for hook in hooks:
            hook.remove()
    order, last = {}, -1
    for place, layer in enumerate(layers):
        last = calls.get(layer, last)
        order[layer] = (last, place)
    return sorted(layers, key=lambda layer: order[layer], reverse=True)


@torch.no_grad()
def _shuffle(layer: nn.Module, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    for value in layer.parameters(recurse=False):
        places = torch.randperm(value.numel(), generator=generator).to(value.device)
        value.copy_(value.flatten()[places].view_as(value))
