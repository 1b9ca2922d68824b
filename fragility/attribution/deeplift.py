"""DeepLIFT: multipliers that are ratios of differences from a reference."""

from typing import Any

import torch
from torch import Tensor

from fragility import checks
from fragility.attribution.method import method
from fragility.attribution.multipliers import CustomBackward, Factors, ProxyBackward, RecordedInputs, quotient
from fragility.passes import explain, in_chunks
from fragility.rules.gates import is_active, relu
from fragility.rules.model import RuleModel
from fragility.rules.operations import groups_of, max_pool, normalise

_RESCALED = {"relu": relu, "max_pool": max_pool, "elementwise": lambda z, function: function.value(z),
             "product": torch.mul, "normalise": normalise}


def _rescale(factors: Factors, reference: RecordedInputs) -> dict:
    """Rules of DeepLIFT: multipliers are ratios of differences from the reference."""
    def rescale_relu(z, top=None):
        z0 = reference.next_for(z).detach()

        def ratio(v):
            a = relu(v, top)
            return quotient(a - relu(z0, top), v - z0, is_active(a, top).to(a.dtype))
        return ProxyBackward.apply(relu(z, top), z, factors.at(z, ratio))

    def rescale_elementwise(z, function):
        z0 = reference.next_for(z).detach()

        def ratio(v):
            change = v - z0
            # Where values hardly differ, the quotient is rounding noise, and the derivative is just as good.
            close = change.abs() <= torch.finfo(z.dtype).eps ** 0.5 * (1 + z0.abs())
            return torch.where(close, function.derivative(v), (function.value(v) - function.value(z0))
                               / torch.where(close, 1.0, change))
        return ProxyBackward.apply(function.value(z), z, factors.at(z, ratio))

    def rescale_max_pool(z, *window):
        # A window's whole difference goes to the winner of the larger input. If the window rose, x's winner
        # rose at least as much; if it fell, the reference's fell at least as much: factors lie in [0, 1].
        z0 = reference.next_for(z).detach()
        a0, winner0 = max_pool(z0, *window, return_indices=True)
        a, winner = max_pool(z, *window, return_indices=True)
        winner = torch.where(a >= a0, winner, winner0).flatten(2)

        def ratio(v):
            change = (v - z0).flatten(2).gather(2, winner).view_as(a)
            return quotient(max_pool(v, *window) - a0, change, 1.0)
        return ProxyBackward.apply(a, z.flatten(2).gather(2, winner).view_as(a), factors.at(z, ratio))

    def rescale_product(a, b):
        # The change of a product is shared exactly: a b - a0 b0 = (a - a0) (b + b0) / 2 + (b - b0) (a + a0) / 2.
        value, shape = a * b, torch.broadcast_shapes(a.shape, b.shape)
        a0, b0 = (reference.next_for(one).detach() for one in (a, b))
        mean_a, mean_b = (factors.at(one, lambda v, one0=one0: ((v + one0) / 2).expand(shape))
                          for one, one0 in ((a, a0), (b, b0)))
        return CustomBackward.apply(value, lambda m, mean_a, mean_b: (m * mean_b, m * mean_a), 2, a.expand(shape),
                                    b.expand(shape), mean_a, mean_b)

    def rescale_normalise(z, dims, groups, weight, bias, eps):
        # Centred values u are scaled by s(mean u^2): a product, a function of one number, a square; each exact.
        z0, value = reference.next_for(z).detach(), normalise(z, dims, groups, weight, bias, eps)
        over, grouped = groups_of(dims, groups)

        def parts(v):
            u = grouped(v) - grouped(v).mean(over, keepdim=True)
            variance = u.square().mean(over, keepdim=True)
            return u, variance, (variance + eps).rsqrt()
        u0, variance0, s0 = parts(z0)
        saved = factors.at(z, lambda v: v)
        scale = weight if weight is not None else z.new_ones(())

        def back(m, v):
            u, variance, s = parts(v)
            ratio = quotient(s - s0, variance - variance0, -s**3 / 2)
            m = grouped((m * scale).expand_as(v))
            # u s - u0 s0 = s (u - u0) + u0 (s - s0), or the other way round; the smaller scale keeps rounding small.
            smaller, other = torch.minimum(s, s0), torch.where(s <= s0, u0, u)
            m = m * smaller + (m * other).mean(over, keepdim=True) * ratio * (u + u0)
            return (m - m.mean(over, keepdim=True)).reshape(v.shape),
        return CustomBackward.apply(value, back, 1, z, saved)

    return {"relu": rescale_relu, "elementwise": rescale_elementwise, "max_pool": rescale_max_pool,
            "product": rescale_product, "normalise": rescale_normalise}


@method(rules=True)
def deeplift(model, x: Tensor, target: Any = None, *, baseline=0.0, chunk: int | None = None) -> Tensor:
    r"""DeepLIFT with the rescale rule [shrikumar2017].

    .. math:: R = (x - x_0)\, m, \qquad m_z = m_a \frac{a(z) - a(z_0)}{z - z_0} \quad\text{element-wise}

    The maps sum to S(x) - S(x0), even through products of two values (gates), layer norm and max-pooling: in a pool
    the difference of a window goes to the position of its maximum in x or x0, whichever maximum is larger (the code of
    [ghorbani2019] always takes that in x and loses completeness). A baseline that all images share passes through the
    model once a chunk.

    Parameters
    ----------
    baseline
        Reference image x0: a number, a tensor (c, h, w), or one of x's shape; in units of x.

    Notes
    -----
    Other parameters and errors as for :func:`guided_backprop`.
    """
    start = checks.baseline(baseline, x)
    targets = target.resolved(model, x, chunk)

    def run(rows: slice) -> Tensor:
        reference = RecordedInputs(model, start[rows] if len(start) > 1 else start, _RESCALED)
        rule_model = RuleModel(model, _rescale(Factors(model, x[rows], _RESCALED), reference), who="deeplift")
        multipliers, logits = explain(rule_model, x[rows], targets[rows], len(x))
        maps = (x - start)[rows] * multipliers
        at_x, at_start = (targets[rows].explained_logits(z) for z in (logits, reference.logits.expand_as(logits)))
        _refuse_incomplete(maps, at_x, at_start)
        return maps
    return torch.cat(in_chunks(run, x, chunk))


def _refuse_incomplete(maps: Tensor, at_x: Tensor, at_start: Tensor) -> None:
    """Raise ValueError where rounding errors have spoiled the map: it does not sum to the change of the logit."""
    error = (maps.detach().flatten(1).double().sum(1) - (at_x - at_start).detach().double()).abs()
    wrong = error > 0.1 * torch.maximum((at_x - at_start).abs(), at_x.abs()).detach()
    if checks.any_true(wrong):
        raise ValueError(f"DeepLIFT's map does not sum to the change of the logit in {checks.image_list(wrong)}: near "
                         "this baseline the network blows up rounding errors, as a norm of a constant image does. Use "
                         "another baseline, such as the mean image, or float64.")
