"""Layer-wise relevance propagation and deep Taylor decomposition."""

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from fragility import checks
from fragility.attribution.method import method
from fragility.attribution.multipliers import CustomBackward, Factors, ProxyBackward, quotient
from fragility.passes import Targets, explain, forward, in_chunks
from fragility.rules.first import first_weighted
from fragility.rules.gates import relu
from fragility.rules.model import RuleModel
from fragility.rules.operations import WEIGHTED, groups_of, normalise

RECORDED = {**WEIGHTED, "elementwise": lambda z, function: function.value(z), "product": torch.mul,
             "normalise": normalise, "linear map": lambda z, function: function(z),
             "batch_norm": lambda z, mean, var, weight, bias, eps: F.batch_norm(z, mean, var, weight, bias, eps=eps)}
_SHARED = {name: run for name, run in RECORDED.items() if name in ("elementwise", "product", "normalise")}
_ADVICE = "use a method without rules, or write it with element-wise functions and layers"


def _shared_rules(factors: Factors) -> dict:
    """Rules that all variants of relevance propagation share, besides ReLU and max-pooling.

    An element-wise function passes relevance on as it is: R_in = R_out. A product of two values gives half to each, as
    for an element-wise gate in [achtibat2024]. Layer and group norm treat the standard deviation as a constant.
    """
    def elementwise(z, function):
        value = function.value(z)

        def ratio(v):
            return quotient(function.value(v), v, function.derivative(v))
        return ProxyBackward.apply(value, z, factors.at(z, ratio))

    def product(a, b):
        value, shape = a * b, torch.broadcast_shapes(a.shape, b.shape)
        saved = [factors.at(one, lambda v: (v / 2).expand(shape)) for one in (a, b)]
        return CustomBackward.apply(value, lambda m, half_a, half_b: (m * half_b, m * half_a), 2, a.expand(shape),
                             b.expand(shape), *saved)

    def norm(z, dims, groups, weight, bias, eps):
        over, grouped = groups_of(dims, groups)
        scale = weight if weight is not None else z.new_ones(())
        inverse = factors.at(z, lambda v: (grouped(v).var(over, correction=0, keepdim=True) + eps).rsqrt())

        def back(m, inverse):
            m = grouped((m * scale).expand(z.shape)) * inverse
            return (m - m.mean(over, keepdim=True)).reshape(z.shape),
        return CustomBackward.apply(normalise(z, dims, groups, weight, bias, eps), back, 1, z, inverse)

    return {"relu": relu, "elementwise": elementwise, "product": product, "normalise": norm}


def stabilised_share(value: Tensor, epsilon: float, parts: int = 1) -> Tensor:
    """What the epsilon rule makes of a multiplier: value / (parts value + epsilon sign value), where sign 0 is 1."""
    whole = value if parts == 1 else parts * value
    return quotient(value, torch.where(value < 0, whole - epsilon, whole + epsilon), 0.0)


def epsilon_rules(factors: Factors, epsilon: float) -> dict:
    """Rules of LRP-epsilon. Batch norm is absorbed: the layer before it is not stabilised on its own."""
    def rule_of(layer: Callable, absorbs: bool):
        def rule(z, *rest):
            value = layer(getattr(z, "unstabilised", z) if absorbs else z, *rest)
            factor = factors.of_result(z, value, lambda v: layer(v, *rest), lambda of: stabilised_share(of, epsilon))
            stabilised = ProxyBackward.apply(value, value, factor)
            stabilised.unstabilised = value
            return stabilised
        return rule
    weighted = {name: rule_of(layer, name == "batch_norm") for name, layer in RECORDED.items()
                if name in WEIGHTED or name in ("batch_norm", "linear map")}
    return _shared_rules(factors) | weighted


class _Positive:
    """Rules that share relevance by positive weights only; `first` makes the proxy of the first layer.

    Batch norm passes relevance through where it scales up; a negative scale would turn positive evidence
    into negative and is refused. Before the first layer it is part of the input's own units.
    """

    def __init__(self, factors: Factors, first: Callable):
        self.factors, self.first, self.past_first = factors, first, False

    def table(self) -> dict:
        weighted = {name: self._weighted(layer) for name, layer in WEIGHTED.items()}
        return _shared_rules(self.factors) | weighted | {"batch_norm": self._batch_norm}

    def _weighted(self, layer: Callable) -> Callable:
        def rule(z, weight, bias, *rest):
            proxy_of, self.past_first = (self._positive if self.past_first else self.first), True

            def proxy(v):
                return proxy_of(lambda u, w: layer(u, w, None, *rest), v, weight)
            factor = self.factors.at(z, lambda v: quotient(layer(v, weight, bias, *rest), proxy(v), 0.0))
            return ProxyBackward.apply(layer(z, weight, bias, *rest), proxy(z), factor)
        return rule

    @staticmethod
    def _positive(layer: Callable, v: Tensor, weight: Tensor) -> Tensor:
        return layer(v, weight.clamp_min(0))

    def _batch_norm(self, z, mean, var, weight, bias, eps):
        value = F.batch_norm(z, mean, var, weight, bias, eps=eps)
        if weight is not None and self.past_first and checks.any_true(weight < 0):
            raise ValueError("A batch norm scales by a negative number, which the z+ rule cannot pass "
                             "relevance through; use attribution.lrp with rule='z' or 'epsilon'.")

        def ratio(v):
            return quotient(F.batch_norm(v, mean, var, weight, bias, eps=eps), v, 0.0)
        factor = self.factors.at(z, ratio)
        return ProxyBackward.apply(value, z, factor) if self.past_first else value


@method(form=lambda options: "times-input" if options.get("rule", "z") == "z" else None, rules=True)
def lrp(model, x: Tensor, target: Any = None, *, rule: str = "z", epsilon: float = 1e-6, root=0.0,
        chunk: int | None = None) -> Tensor:
    r"""Layer-wise relevance propagation [bach2015], in logits.

    .. math:: R_i = (x_i - x_{0,i}) \sum_j \frac{w_{ij}}{z_j + \epsilon\,\mathrm{sign}\,z_j} R_j
              \qquad\text{(z: } \epsilon = 0\text{)}, \qquad
              R_i = x_i \sum_j \frac{w^+_{ij}}{\sum_k x_k w^+_{kj}} R_j \qquad\text{(z+)}

    Parameters
    ----------
    rule
        "z" (biases keep their share; equal to gradient times input), "epsilon" or "z+" (biases get none).
    epsilon
        Stabiliser of "epsilon", in units of the layers' outputs.
    root
        Point x0 that relevance of the input is measured from, for "z" and "epsilon": a number, a tensor
        (c, h, w), or one of x's shape; in units of x. Inner layers keep a root of zero. Rule "z" with a root is
        the deep Taylor decomposition that [kindermans2019, section 3.2] tests.

    Notes
    -----
    Max-pooling is winner takes all. An element-wise normalisation inside the model is folded into the
    first layer, so relevance is of x, not of the normalised x. Other parameters and errors as for
    :func:`guided_backprop`.
    """
    checks.choice("rule", rule, ("z", "epsilon", "z+"))
    checks.real("epsilon", epsilon, 0, exclusive=True)
    distance = x - checks.baseline(root, x, name="root")
    if rule == "z":
        def plain(rows: slice) -> Tensor:
            rule_model = RuleModel(model, _shared_rules(Factors(model, x[rows], _SHARED)), who="lrp", advice=_ADVICE)
            return explain(rule_model, x[rows], target[rows], len(x))[0]
        return distance * torch.cat(in_chunks(plain, x, chunk))
    if rule == "z+" and checks.any_true(distance != x):
        raise ValueError("rule='z+' measures from zero; root goes with rule='z' or 'epsilon'.")
    zero = first_weighted(model, torch.zeros_like(x[:1])).arguments[0].detach() if rule == "z+" else None

    def first(layer, u, weight):
        return layer(u - zero, weight.clamp_min(0))

    def run(rows: slice) -> Tensor:
        factors = Factors(model, x[rows], RECORDED)
        table = epsilon_rules(factors, epsilon) if rule == "epsilon" else _Positive(factors, first).table()
        rule_model = RuleModel(model, table, who="lrp", advice=_ADVICE)
        return distance[rows] * explain(rule_model, x[rows], target[rows], len(x))[0]
    return torch.cat(in_chunks(run, x, chunk))


@method(rules=True)
def deep_taylor(model, x: Tensor, target: Any = None, *, low=0.0, high=1.0, chunk: int | None = None) -> Tensor:
    r"""Deep Taylor decomposition [montavon2017]: the z+ rule inside, the z^B rule at the input.

    .. math:: R_i = \sum_j \frac{x_i w_{ij} - l_i w^+_{ij} - h_i w^-_{ij}}
                                {\sum_k x_k w_{kj} - l_k w^+_{kj} - h_k w^-_{kj}} R_j

    Parameters
    ----------
    low, high
        Bounds l and h of the input values: numbers or tensors that broadcast like a baseline; in units
        of x. Zero padding has the bounds 0, 0. The defaults are for images in [0, 1]. Where x leaves its bounds, shares
        of relevance turn negative; this is allowed, since it is the effect of shifting the input [kindermans2019].

    Notes
    -----
    Other parameters, units and errors as for :func:`lrp`.
    """
    low, high = checks.baseline(low, x), checks.baseline(high, x)
    if checks.any_true(low > high):
        raise ValueError("low must not be above high anywhere.")
    return torch.cat(in_chunks(lambda rows: _box_relevance(model, x[rows], target[rows], low.expand_as(x)[rows],
                                                           high.expand_as(x)[rows]), x, chunk))


def _box_relevance(model, x: Tensor, targets: Targets, low: Tensor, high: Tensor) -> Tensor:
    """z^B relevance: the first layer's proxy is linear in x, low and high, and each gets its own share."""
    differentiable = x.requires_grad and torch.is_grad_enabled()
    with torch.enable_grad():
        leaves = [x if differentiable else x.detach().requires_grad_(),
                  *(bound.detach().clone().requires_grad_() for bound in (low, high))]
        ends = [first_weighted(model, bound).arguments[0] for bound in leaves[1:]]

        def first(layer, u, weight):
            return (layer(u, weight) - layer(torch.minimum(*ends), weight.clamp_min(0))
                    - layer(torch.maximum(*ends), weight.clamp_max(0)))

        rules = _Positive(Factors(model, x if differentiable else x.detach(), RECORDED), first)
        rule_model = RuleModel(model, rules.table(), who="deep_taylor", advice=_ADVICE)
        scores = targets.explained_logits(forward(rule_model, leaves[0])).sum()
        shares = torch.autograd.grad(scores, leaves, create_graph=differentiable)
    return sum(((leaf if differentiable else leaf.detach()) * share for leaf, share in zip(leaves, shares)),
               torch.zeros_like(x))
