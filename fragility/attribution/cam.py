"""Grad-CAM: the features of a layer, weighted by the mean of their gradients."""

from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor, nn

from fragility import checks
from fragility.attribution.method import method
from fragility.passes import forward, in_chunks
from fragility.rules.grid import GridMode, Observed, Places, grid_of_tokens, places_of, upsampled


@method
def grad_cam(model, x: Tensor, target: Any = None, *, layer: nn.Module | str | None = None,
             chunk: int | None = None) -> Tensor:
    r"""Grad-CAM [selvaraju2017]: where the features that speak for the class are.

    .. math:: R = \mathrm{ReLU}\Bigl(\sum_k \alpha_k A^k\Bigr), \qquad
              \alpha_k = \frac1{|\text{places}|} \sum_{ij} \frac{\partial S_t}{\partial A^k_{ij}}

    A are the features of a layer; of a transformer, those of its tokens, without the class token.
    The map is upsampled bilinearly to the size of x, is not negative, and is shared evenly by the channels of x. It is
    zero everywhere where no features speak for the class.

    Parameters
    ----------
    layer
        A module of the model, or its name as in `model.named_modules()`: the features are what it gives in its last
        call. None: the last call whose result keeps a grid of more than one place and acts on the logit; among tokens,
        the last norm or sum. A head that reads the class token alone makes the last tokens of the image idle, so there
        it is the norm before the last attention.

    Notes
    -----
    In logits, up to the spread of the gradient over places. ValueError where no call keeps a grid, as in a network of
    linear layers, or where the layer does not. Other parameters and errors as for :func:`gradient`.
    """
    module = _module(model, layer)
    differentiable = x.requires_grad and torch.is_grad_enabled()

    def run(rows: slice) -> Tensor:
        part = x[rows] if differentiable else x[rows].detach().requires_grad_()
        mode, kept = _Features(), []
        with nullcontext() if module is None else module.register_forward_hook(lambda *call: kept.append(call[2])):
            scores = target[rows].explained_logits(forward(Observed(model, mode), part))
        features = mode.found if module is None else [_of_layer(kept, part)]
        if not features:
            raise ValueError("No call of the model keeps a grid of places, so grad_cam has no features to weigh: name "
                             "a layer that does (layer=…), or use a method that needs none, such as gradient.")
        cam = _cam(scores.sum(), features, differentiable)
        return upsampled(cam if differentiable else cam.detach(), part)
    with torch.enable_grad():
        return torch.cat(in_chunks(run, x, chunk))


class _Features(GridMode):
    """Collects the results that hold features at every place, in the order of the calls."""

    def start(self, x: Tensor) -> None:
        super().start(x)
        self.found = []

    def see(self, function, call, result: Tensor) -> None:
        if result.requires_grad and self.is_feature(function, call, result):
            self.found.append((result, places_of(result)))


def _cam(total: Tensor, features: list[tuple[Tensor, Places]], differentiable: bool) -> Tensor:
    """The map (n, 1, *grid) of the last features whose places the explained logits depend on."""
    for values, places in reversed(features):
        gradient = None
        if total.requires_grad:
            gradient, = torch.autograd.grad(total, values, retain_graph=True, create_graph=differentiable,
                                            allow_unused=True)
        if gradient is None:
            continue
        of_places, values = places.features(gradient), places.features(values)
        # Where only the class token is read, the gradient of all others is an exact zero.
        idle = ~(of_places != 0).any() & (gradient != 0).any()
        if len(features) == 1 or not checks.any_true(idle):
            each = tuple(range(2, values.ndim))
            return (of_places.mean(each, keepdim=True) * values).sum(1, keepdim=True).relu()
    raise ValueError("The explained logit does not depend on any features that keep a grid of places, so grad_cam has "
                     "none to weigh: name a layer (layer=…), or use another method.")


def _module(model, layer) -> nn.Module | None:
    """The module that `layer` names."""
    if layer is None or isinstance(layer, nn.Module):
        return layer
    inner = getattr(model, "innermost", model)
    modules = dict(inner.named_modules()) if isinstance(inner, nn.Module) else {}
    if not isinstance(layer, str) or layer not in modules:
        some = ", ".join(name for name in list(modules)[-5:] if name) or "none, since the model is no module"
        raise ValueError(f"layer must be a module, or the name of one in model.named_modules(), not {layer!r}; its "
                         f"last names are: {some}.")
    return modules[layer]


def _of_layer(kept: list, x: Tensor) -> tuple[Tensor, Places]:
    """The features that a layer gave in its last call, and where their places are."""
    if not kept:
        raise ValueError("The layer that is named is not called by the model; name one that is.")
    values = kept[-1][0] if isinstance(kept[-1], (tuple, list)) else kept[-1]
    places = places_of(values) if isinstance(values, Tensor) else None
    if places is None and isinstance(values, Tensor) and len(values) == len(x):
        if values.ndim == x.ndim:
            places = Places(tuple(range(2, x.ndim)), tuple(values.shape[2:]))
        elif values.ndim == 3 and (found := grid_of_tokens(values.shape[1], tuple(x.shape[2:]))):
            places = Places((1,), *found, tokens=True)
    if places is None or places.axes[0] == 0 or not values.requires_grad:
        shape = tuple(values.shape) if isinstance(values, Tensor) else type(values).__name__
        raise ValueError(f"The layer that is named gives {shape}, which holds no grid of places that depends on x; "
                         "name one that gives (n, c, h, w) or tokens (n, tokens, d).")
    return values, places
