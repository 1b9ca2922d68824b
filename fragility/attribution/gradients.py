"""Maps that are one gradient: sensitivity, and gradient times input."""

from typing import Any

from torch import Tensor

from fragility.attribution.method import method
from fragility.passes import explain


@method(form="gradient")
def gradient(model, x: Tensor, target: Any = None, *, chunk: int | None = None) -> Tensor:
    r"""Derivative of the explained logit with respect to each input value [simonyan2014].

    .. math:: R = \partial S_t(x) / \partial x

    Parameters
    ----------
    model
        Callable from images (n, c, h, w) to logits (n, classes), in evaluation mode.
    x
        Finite float images (n, c, h, w), signals (n, c, l) or volumes (n, c, d, h, w), in the model's own input range.
    target
        Explained class: None for the predicted one, an int, or an int64 tensor (n,).
    chunk
        Largest number of images processed at once; bounds the memory and does not change the result.

    Returns
    -------
    Tensor
        Signed map of x's shape, in logits per unit of x; differentiable where x.requires_grad.

    Raises
    ------
    ValueError
        A model in training mode, x not a finite float batch, or a target out of range. A model that is not callable,
        or an x that is no tensor, is a TypeError.
    """
    return explain(model, x, target, chunk)[0]


@method(form="times-input")
def gradient_x_input(model, x: Tensor, target: Any = None, *, chunk: int | None = None) -> Tensor:
    r"""Gradient times input, in logits [shrikumar2017].

    .. math:: R = x \odot \partial S_t(x) / \partial x

    Equal to z-rule relevance on networks of ReLUs and max-pooling [kindermans2019, section 3].
    Parameters and errors as for :func:`gradient`.
    """
    return x * explain(model, x, target, chunk)[0]
