r"""Relevance methods: DeepLIFT, layer-wise relevance propagation, deep Taylor decomposition.

All of them are gradients with other derivatives. Relevance R of a value v is carried as its multiplier
m = R / v. In multipliers, additions, concatenations, average pooling and the z-rule itself are plain
back-propagation; only what a method changes needs a rule.
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from fragility import checks
from fragility.attribution.backprop import on
from fragility.attribution.output import Output, batches, explain, forward, method
from fragility.rules import Twin, first_weighted


class _Gate(torch.autograd.Function):
    """ReLU whose multiplier passes where it is on; unlike torch's, known to the rules' graph walk."""

    @staticmethod
    def forward(z, top):
        return z.clamp(0, top)

    @staticmethod
    def setup_context(ctx, inputs, output):
        ctx.save_for_backward(output)
        ctx.top = inputs[1]

    @staticmethod
    def backward(ctx, m):
        a, = ctx.saved_tensors
        return m * on(a, ctx.top), None


class _Redistribute(torch.autograd.Function):
    """Has `value`, and hands its relevance m * value to `proxy`, whose parts say who gets which share."""

    @staticmethod
    def forward(value, proxy):
        return value.clone()

    @staticmethod
    def setup_context(ctx, inputs, output):
        ctx.save_for_backward(*inputs)

    @staticmethod
    def backward(ctx, m):
        value, proxy = ctx.saved_tensors
        return None, m * quotient(value, proxy, 0.0)


def quotient(a: Tensor, b: Tensor, otherwise) -> Tensor:
    """a / b, and `otherwise` where b is zero; finite in its derivative, too."""
    empty = b == 0
    return torch.where(empty, otherwise, a / torch.where(empty, 1.0, b))


# DeepLIFT ------------------------------------------------------------------------------------------------

class _RescaleReLU(torch.autograd.Function):
    """ReLU whose multiplier is the ratio of differences from the reference, (a - a0) / (z - z0)."""

    @staticmethod
    def forward(z, z0, top):
        return z.clamp(0, top)

    @staticmethod
    def setup_context(ctx, inputs, output):
        z, z0, ctx.top = inputs
        ctx.save_for_backward(z, z0)

    @staticmethod
    def backward(ctx, m):
        z, z0 = ctx.saved_tensors
        a, a0 = z.clamp(0, ctx.top), z0.clamp(0, ctx.top)
        return m * quotient(a - a0, z - z0, on(a, ctx.top).to(m.dtype)), None, None


class _RescaleMaxPool(torch.autograd.Function):
    """Max-pooling that hands a window's whole difference to the winner of the larger of the two inputs.

    If the window rose, x's winner rose at least as much; if it fell, the reference's winner fell at
    least as much: so the multiplier lies in [0, 1] and every window is complete.
    """

    @staticmethod
    def forward(z, z0, window):
        return F.max_pool2d(z, *window)

    @staticmethod
    def setup_context(ctx, inputs, output):
        z, z0, ctx.window = inputs
        ctx.save_for_backward(z, z0)

    @staticmethod
    def backward(ctx, m):
        z, z0 = ctx.saved_tensors
        top, winner = F.max_pool2d(z, *ctx.window, return_indices=True)
        top0, winner0 = F.max_pool2d(z0, *ctx.window, return_indices=True)
        rise = top - top0
        winner = torch.where(rise >= 0, winner, winner0).flatten(2)
        change = (z - z0).flatten(2).gather(2, winner)
        share = m.flatten(2) * quotient(rise.flatten(2), change, 1.0)
        return torch.zeros_like(z).flatten(2).scatter_add(2, winner, share).view_as(z), None, None


class _Reference:
    """What the reference image gives at every ReLU and max-pooling, in the order the model calls them."""

    def __init__(self, model, start: Tensor):
        self.inputs, self.position = [], 0
        table = {"relu": self._record(lambda z, top=None: z.clamp(0, top)),
                 "max_pool2d": self._record(F.max_pool2d)}
        forward(Twin(model, table), start)

    def _record(self, operation: Callable) -> Callable:
        def rule(z, *rest):
            self.inputs.append(z.detach())
            return operation(z, *rest)
        return rule

    def following(self, z: Tensor) -> Tensor:
        """The reference's values at the call that has reached z."""
        z0 = self.inputs[self.position]
        self.position += 1
        return z0.expand_as(z)

    def table(self) -> dict:
        return {"relu": lambda z, top=None: _RescaleReLU.apply(z, self.following(z), top),
                "max_pool2d": lambda z, *window: _RescaleMaxPool.apply(z, self.following(z), window)}


@method
def deeplift(model, x: Tensor, target=None, *, baseline=0.0, chunk: int | None = None) -> Tensor:
    r"""DeepLIFT with the rescale rule [shrikumar2017].

    .. math:: R = (x - x_0)\, m, \qquad m_z = m_a \frac{a(z) - a(z_0)}{z - z_0} \quad\text{at every ReLU}

    The maps sum to S(x) - S(x0) exactly, through max-pooling, too: there the difference of a window goes
    to the winner of whichever input is larger (the code of [ghorbani2019] routes to x's winner and loses
    completeness). A baseline that all images share is passed through the model once.

    Parameters
    ----------
    baseline
        Reference image x0: a number, a tensor (c, h, w), or one of x's shape; in units of x.

    Other parameters and errors as for :func:`guided_backprop`.
    """
    start = checks.baseline(baseline, x)
    target = target.fixed(model, x, chunk)
    maps = []
    for rows in batches(len(x), x, chunk):
        reference = _Reference(model, start[rows] if len(start) > 1 else start)
        maps.append(explain(Twin(model, reference.table()), x[rows], target[rows])[0])
    return (x - start) * torch.cat(maps)


# Layer-wise relevance propagation and deep Taylor ----------------------------------------------------------

def _gate(z, top=None):
    return _Gate.apply(z, top)


def _stabilised(epsilon: float) -> dict:
    """Rules of LRP-epsilon. Batch norm is absorbed: the layer before it is not stabilised on its own."""
    def steady(z):
        result = _Redistribute.apply(z, z + epsilon * torch.where(z < 0, -1.0, 1.0))
        result.unsteadied = z
        return result

    def batch_norm(z, mean, var, weight, bias, eps):
        z = getattr(z, "unsteadied", z)
        return steady(F.batch_norm(z, mean, var, weight, bias, eps=eps))

    return {"relu": _gate, "batch_norm": batch_norm, "conv2d": lambda *a: steady(F.conv2d(*a)),
            "linear": lambda *a: steady(F.linear(*a))}


class _Positive:
    """Rules that share relevance by positive weights only; `first` makes the proxy of the first layer.

    Batch norm passes relevance through where it scales up; a negative scale would turn positive evidence
    into negative and is refused. Before the first layer it is part of the input's own units.
    """

    def __init__(self, first: Callable):
        self.first, self.reached = first, False

    def table(self) -> dict:
        return {"relu": _gate, "conv2d": self._weighted(F.conv2d), "linear": self._weighted(F.linear),
                "batch_norm": self._batch_norm}

    def _weighted(self, layer: Callable) -> Callable:
        def rule(z, weight, bias, *rest):
            if self.reached:
                proxy = layer(z, weight.clamp_min(0), None, *rest)
            else:
                self.reached, proxy = True, self.first(lambda v, w: layer(v, w, None, *rest), z, weight)
            return _Redistribute.apply(layer(z, weight, bias, *rest), proxy)
        return rule

    def _batch_norm(self, z, mean, var, weight, bias, eps):
        value = F.batch_norm(z, mean, var, weight, bias, eps=eps)
        if not self.reached:
            return value
        if weight is not None and (weight < 0).any():
            raise ValueError("A batch norm scales by a negative number, which the z+ rule cannot pass "
                             "relevance through; use rule='z' or 'epsilon'.")
        return _Redistribute.apply(value, z)


@method
def lrp(model, x: Tensor, target=None, *, rule: str = "z", epsilon: float = 1e-6,
        chunk: int | None = None) -> Tensor:
    r"""Layer-wise relevance propagation [bach2015], in logits.

    .. math:: R_i = x_i \sum_j \frac{w_{ij}}{z_j + \epsilon\,\mathrm{sign}\,z_j} R_j
              \qquad\text{(z: } \epsilon = 0\text{)}, \qquad
              R_i = x_i \sum_j \frac{w^+_{ij}}{\sum_k x_k w^+_{kj}} R_j \qquad\text{(z+)}

    Parameters
    ----------
    rule
        "z" (biases keep their share; equal to gradient times input), "epsilon" or "z+" (biases get none).
    epsilon
        Stabiliser of "epsilon", in units of the layers' outputs.

    Notes
    -----
    Max-pooling is winner takes all. An element-wise normalisation inside the model is folded into the
    first layer, so relevance is of x, not of the normalised x. Other parameters and errors as for
    :func:`guided_backprop`.
    """
    checks.choice("rule", rule, ("z", "epsilon", "z+"))
    checks.number("epsilon", epsilon, 0, exclusive=True)
    if rule != "z+":
        table = {"relu": _gate} if rule == "z" else _stabilised(epsilon)
        return x * explain(Twin(model, table), x, target, chunk)[0]
    zero = first_weighted(model, torch.zeros_like(x[:1])).arguments[0].detach()

    def first(layer, u, weight):
        return layer(u - zero, weight.clamp_min(0))

    return torch.cat([x[rows] * explain(Twin(model, _Positive(first).table()), x[rows], target[rows])[0]
                      for rows in batches(len(x), x, chunk)])


@method
def deep_taylor(model, x: Tensor, target=None, *, low=0.0, high=1.0, chunk: int | None = None) -> Tensor:
    r"""Deep Taylor decomposition [montavon2017]: the z+ rule inside, the z^B rule at the input.

    .. math:: R_i = \sum_j \frac{x_i w_{ij} - l_i w^+_{ij} - h_i w^-_{ij}}
                                {\sum_k x_k w_{kj} - l_k w^+_{kj} - h_k w^-_{kj}} R_j

    Parameters
    ----------
    low, high
        Bounds l and h of the input values: numbers or tensors that broadcast like a baseline; in units
        of x. Zero padding has the bounds 0, 0.

    Other parameters, units and errors as for :func:`lrp`.
    """
    low, high = checks.baseline(low, x), checks.baseline(high, x)
    if (low > high).any():
        raise ValueError("low must not be above high anywhere.")
    return torch.cat([_box_relevance(model, x[rows], target[rows], low.expand_as(x)[rows],
                                     high.expand_as(x)[rows]) for rows in batches(len(x), x, chunk)])


def _box_relevance(model, x: Tensor, target: Output, low: Tensor, high: Tensor) -> Tensor:
    """z^B relevance: the first layer's proxy is linear in x, low and high, and each gets its own share."""
    leaves = [part if part.requires_grad else part.detach().requires_grad_() for part in (x, low, high)]
    ends = [first_weighted(model, leaf).arguments[0] for leaf in leaves[1:]]

    def first(layer, u, weight):
        positive, negative = weight.clamp_min(0), weight.clamp_max(0)
        return (layer(u, weight) - layer(torch.minimum(*ends), positive)
                - layer(torch.maximum(*ends), negative))

    with torch.enable_grad():
        scores = target.pick(forward(Twin(model, _Positive(first).table()), leaves[0])).sum()
    shares = torch.autograd.grad(scores, leaves, create_graph=x.requires_grad)
    return sum(leaf * share for leaf, share in zip(leaves, shares))
