"""Rollouts of attention: which tokens the class token, or the mean over tokens, draws on."""

import functools
import math
from typing import Any

import torch
from torch import Tensor

from fragility.attribution.method import method
from fragility.passes import forward, in_chunks
from fragility.rules.attention import OPENED
from fragility.rules.grid import GridMode, Observed, Places, grid_of_tokens, places_of, upsampled

_ADVICE = "use a map that needs no attention over the whole image, such as grad_cam, attn_lrp or gradient"


@method(form="forward")
def attention_rollout(model, x: Tensor, target: Any = None, *, chunk: int | None = None) -> Tensor:
    r"""Attention rollout [abnar2020]: attention multiplied through all layers, half of it the skip connection's.

    .. math:: \hat A_l = \tfrac12 (A_l + I), \qquad R = \hat A_L \cdots \hat A_1

    A is the attention of a layer (tokens, tokens), averaged over heads, its rows summing to one. The map is the class
    token's row of R, at the tokens of the image, or the mean over all rows where there is no class token; upsampled
    bilinearly to the size of x and shared evenly by its channels. It is not negative, and the same for every class.

    Attention is found in `nn.MultiheadAttention`, `scaled_dot_product_attention`, and wherever the model takes a
    softmax over the last of two axes of tokens. Where a fused kernel hides the weights, they are computed.

    Raises
    ------
    ValueError
        A model without attention, or one whose attention is not between all tokens of the image, such as that within
        windows. Otherwise as for :func:`gradient`.
    """
    differentiable = x.requires_grad and torch.is_grad_enabled()

    def run(rows: slice) -> Tensor:
        mode = _Attention("attention_rollout")
        target[rows].explained_logits(forward(Observed(model, mode), x[rows]))      # refuses classes there are none of
        means = ((one.mean(1) + torch.eye(one.shape[-1], dtype=one.dtype, device=one.device)) / 2
                 for one in mode.layers())
        return mode.map_of(functools.reduce(lambda rollout, mean: mean @ rollout, means), x[rows])
    with torch.set_grad_enabled(differentiable):
        return torch.cat(in_chunks(run, x, chunk))


@method
def gradient_attention_rollout(model, x: Tensor, target: Any = None, *, chunk: int | None = None) -> Tensor:
    r"""Attention that raises the explained logit, added up through all layers [chefer2021].

    .. math:: \bar A_l = \tfrac1H \sum_h (\nabla A_l^h \odot A_l^h)^+, \qquad R \leftarrow R + \bar A_l R, \quad R_0 = I

    The gradient is that of the explained logit in the attention of each of the H heads. The map is made of R, and
    models are refused, as for :func:`attention_rollout`; it depends on the class. Memory grows with the layers, heads
    and squared tokens of `chunk` images.
    """
    differentiable = x.requires_grad and torch.is_grad_enabled()

    def run(rows: slice) -> Tensor:
        part = x[rows] if differentiable else x[rows].detach().requires_grad_()
        mode = _Attention("gradient_attention_rollout")
        total = target[rows].explained_logits(forward(Observed(model, mode), part)).sum()
        layers = mode.layers()
        gradients = torch.autograd.grad(total, mode.weights, create_graph=differentiable, allow_unused=True)
        rollout = torch.eye(layers[0].shape[-1], dtype=x.dtype, device=x.device).expand(len(part), -1, -1)
        for weights, gradient in zip(layers, gradients):
            if gradient is not None:        # a layer may be left out by the explained logit
                mean = (gradient.view_as(weights) * weights).relu().mean(1).to(x.dtype)
                rollout = rollout + mean @ rollout
        maps = mode.map_of(rollout, part)
        return maps if differentiable else maps.detach()
    with torch.enable_grad():
        return torch.cat(in_chunks(run, x, chunk))


class _Attention(GridMode):
    """Collects the weights of all attention in the order of the calls."""

    def __init__(self, who: str):
        super().__init__()
        self.who = who

    def start(self, x: Tensor) -> None:
        super().start(x)
        self.weights: list[Tensor] = []
        self.grids: dict[int, Places] = {}      # of so many tokens

    def run(self, function, args: tuple, kwargs: dict):
        if function not in OPENED:
            return function(*args, **kwargs)
        with self:
            return OPENED[function](*args, **kwargs)

    def see(self, function, call, result: Tensor) -> None:
        places = places_of(result)
        if places is not None and places.tokens:
            self.grids[result.shape[places.axes[0]]] = places
        if (call is not None and call.name == "softmax" and result.ndim > 2
                and call.arguments[1] in (-1, result.ndim - 1)):
            self._refuse_partial(result)
            self.weights.append(result)

    def _refuse_partial(self, weights: Tensor) -> None:
        shape = tuple(weights.shape)
        # Heads may have an axis of their own, or share that of the images, as windows may, which hold fewer tokens.
        per_image = shape[0] == self.n or len(shape) == 3 and shape[0] % self.n == 0 and shape[-1] in self.grids
        over_all = shape[-1] == shape[-2] and per_image
        if not over_all or (self.weights and self.weights[0].shape[-1] != shape[-1]):
            raise ValueError(f"The model attends with weights of shape {shape} for {self.n} images, not between all "
                             "tokens of an image in every layer, as within windows or from a few tokens, so "
                             f"{self.who} has no product of layers to take; {_ADVICE}.")

    def layers(self) -> list[Tensor]:
        """The weights (n, heads, tokens, tokens) of each layer; ValueError where the model has none."""
        if not self.weights:
            raise ValueError(f"The model calls no attention that a function mode can see, so {self.who} has nothing to "
                             f"follow; {_ADVICE}.")
        return [one.reshape(self.n, -1, *one.shape[-2:]) for one in self.weights]

    def map_of(self, rollout: Tensor, x: Tensor) -> Tensor:
        """The map of x's shape of a matrix (n, tokens, tokens): the class token's row, or the mean over rows."""
        tokens = rollout.shape[-1]
        places = self.grids.get(tokens)
        if places is None:
            found = grid_of_tokens(tokens, self.image)
            if found is None:
                raise ValueError(f"The {tokens} tokens of the model are no grid in the shape of the image, with or "
                                 f"without a class token, so {self.who} cannot tell where they lie; {_ADVICE}.")
            places = Places((1,), *found, tokens=True)
        row = rollout[:, 0] if places.extra else rollout.mean(1)
        grid = row[:, places.extra:places.extra + math.prod(places.size)].reshape(len(x), 1, *places.size)
        return upsampled(grid, x)
