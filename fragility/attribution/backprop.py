"""Maps that change what a ReLU passes back: guided back-propagation and the deconvolution network."""

from typing import Any

from torch import Tensor

from fragility.attribution.method import method
from fragility.passes import explain
from fragility.rules.gates import gated
from fragility.rules.model import RuleModel

_ADVICE = ("this method is defined for ReLU alone; use a method without rules, such as gradient, or one with a rule "
           "for every element-wise function, such as deeplift or lrp")


@method(rules=True)
def guided_backprop(model, x: Tensor, target: Any = None, *, chunk: int | None = None) -> Tensor:
    r"""Guided back-propagation [springenberg2015].

    .. math:: R^{l} = \mathbf 1[z^l > 0]\; \mathbf 1[R^{l+1} > 0]\; R^{l+1} \quad\text{at every ReLU}

    Works on unmodified models, also with functional, in-place and re-used ReLUs and ReLU6. Any other
    nonlinearity is refused by a ValueError that names it. Other errors and parameters as for :func:`gradient`.
    """
    guided = RuleModel(model, {"relu": gated(use_forward_gate=True)}, who="guided_backprop", advice=_ADVICE)
    return explain(guided, x, target, chunk)[0]


@method(rules=True)
def deconvnet(model, x: Tensor, target: Any = None, *, chunk: int | None = None) -> Tensor:
    r"""Deconvolution network [zeiler2014]: the forward gate of a ReLU is ignored.

    .. math:: R^{l} = \mathbf 1[R^{l+1} > 0]\; R^{l+1} \quad\text{at every ReLU}

    Max-pooling routes to the winner. Parameters and errors as for :func:`guided_backprop`.
    """
    ungated = RuleModel(model, {"relu": gated(use_forward_gate=False)}, who="deconvnet", advice=_ADVICE)
    return explain(ungated, x, target, chunk)[0]
