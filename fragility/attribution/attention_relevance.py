"""AttnLRP: relevance through attention."""

from typing import Any

import torch
from torch import Tensor

from fragility import checks
from fragility.attribution.method import method
from fragility.attribution.multipliers import CustomBackward, Factors, ProxyBackward
from fragility.attribution.relevance import RECORDED, epsilon_rules, stabilised_share
from fragility.passes import explain, in_chunks
from fragility.rules.model import RuleModel

_OPERATIONS = RECORDED | {"bilinear": lambda a, b, run: run(a, b),
                          "softmax": lambda z, dim, dtype: torch.softmax(z, dim, dtype=dtype)}
_ADVICE = ("use a map without rules, such as gradient or occlusion, or write it with element-wise functions, softmax, "
           "matrix products and layers")


def _attention_rules(factors: Factors, epsilon: float) -> dict:
    """Rules of the two operations of attention, in multipliers m = R / value.

    R_i = x_i (R'_i - s_i sum_j R'_j) of a softmax s is x_i times the softmax's own derivative of m' = R' / s. A product
    of two matrices gives half to each, by its own derivative. Where the map is differentiated, both derivatives are
    taken at the values of an ordinary pass, since those of this pass go back by the rules.
    """
    def softmax(z, dim, dtype):
        value = torch.softmax(z, dim, dtype=dtype)
        if factors.recorded is None:
            return value
        shares = factors.at(z, lambda v: torch.softmax(v, dim, dtype=dtype))

        def back(m, s):
            return (s * (m - (s * m).sum(dim, keepdim=True))).to(z.dtype),
        return CustomBackward.apply(value, back, 1, z, shares)

    def bilinear(a, b, run):
        value = run(a, b)
        if factors.recorded is None:
            return ProxyBackward.apply(value, value, stabilised_share(value.detach(), epsilon, 2))

        def back(m, a, b):
            product = run(a, b)
            return torch.autograd.grad(product, (a, b), m * stabilised_share(product, epsilon, 2), create_graph=True)
        recorded = [factors.at(one, lambda v: v) for one in (a, b)]
        return CustomBackward.apply(value, back, 2, a, b, *recorded)

    return {"softmax": softmax, "bilinear": bilinear}


@method(rules=True)
def attn_lrp(model, x: Tensor, target: Any = None, *, epsilon: float = 1e-6, chunk: int | None = None) -> Tensor:
    r"""AttnLRP [achtibat2024]: layer-wise relevance propagation through attention, in logits.

    .. math:: R_i = x_i \Bigl(R'_i - s_i \sum_j R'_j\Bigr) \quad\text{(softmax } s\text{)}, \qquad
              R(A_{ji}) = \sum_p \frac{A_{ji} V_{ip}}{2 O_{jp} + \epsilon\,\mathrm{sign}\,O_{jp}} R_{jp}
              \quad\text{(} O = A V\text{, likewise } V\text{)}

    All else is as in :func:`lrp` by the epsilon rule, which this is on a network without attention: element-wise
    functions pass relevance on, a product of two values gives half to each, layer norm takes the standard deviation for
    a constant, sums share in proportion to the summands, without a stabiliser.

    Parameters
    ----------
    epsilon
        Stabiliser, above zero, in units of the outputs of layers and matrix products.

    Notes
    -----
    Takes unmodified models: `nn.MultiheadAttention`, `scaled_dot_product_attention`, and attention written out with
    `softmax` and `matmul`, `bmm` or `einsum`, which all give the same map. Relevance is lost in biases, the class
    token, embeddings of positions and the softmax, so maps do not sum to the logit. Other operations are refused by
    name. Other parameters, units and errors as for :func:`lrp`.
    """
    checks.real("epsilon", epsilon, 0, exclusive=True)

    def run(rows: slice) -> Tensor:
        factors = Factors(model, x[rows], _OPERATIONS)
        table = epsilon_rules(factors, epsilon) | _attention_rules(factors, epsilon)
        rule_model = RuleModel(model, table, who="attn_lrp", advice=_ADVICE)
        return x[rows] * explain(rule_model, x[rows], target[rows], len(x))[0]
    return torch.cat(in_chunks(run, x, chunk))
