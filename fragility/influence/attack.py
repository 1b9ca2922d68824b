"""Perturb a test image so that other training images become the influential ones."""

from collections.abc import Callable

import torch
from torch import Tensor

from fragility import checks
from fragility.influence.head import Head, factor, gradients, hessian, logits
from fragility.passes import batches


def influence_sign(extract: Callable[[Tensor], Tensor], head: Head, train: tuple[Tensor, Tensor], x: Tensor,
                   *, epsilon: float, top: int = 3, chunk: int | None = None) -> Tensor:
    r"""One signed step that lowers the influence of the most influential training examples [ghorbani2019, section 2].

    .. math:: x' = \Pi\Bigl(x - \epsilon\, \mathrm{sign} \sum_{i \in \mathrm{top}} \nabla_x I(z_i, z_t(x))\Bigr)

    The gradient goes from the head's loss back through the features to the pixels. (The code of [ghorbani2019]
    takes three signed steps among the features first, one for each example.)

    Parameters
    ----------
    extract
        Differentiable callable from images to features (n, d); frozen.
    head, train
        What :func:`~fragility.influence.fit_head` gave, and the features and labels it was fitted on.
    x
        Images (n, c, h, w) in [0, 1]; their label is the class that the head predicts.
    epsilon
        Size of the step, in (0, 1].
    top
        Training examples whose influences are summed, those of largest influence on the clean image.

    Returns
    -------
    Tensor
        Images (n, c, h, w) in the ball and in [0, 1]. Whether the label changes is not checked.

    Raises
    ------
    ValueError
        Bad input, features without a graph that leads to the images, or a Hessian that is not positive definite.
    """
    checks.real("epsilon", epsilon, 0, 1, exclusive=True)
    checks.images(x, unit_range=True)
    return (x - epsilon * influence_gradient(extract, head, train, x, top=top, chunk=chunk).sign()).clamp(0, 1)


def influence_gradient(extract: Callable[[Tensor], Tensor], head: Head, train: tuple[Tensor, Tensor], x: Tensor,
                    *, top: int = 3, chunk: int | None = None) -> Tensor:
    """Gradient (n, c, h, w) in the pixels of the summed influence of each image's `top` training examples.

    Parameters as for :func:`influence_sign`.
    """
    checks.model(extract)
    checks.images(x)
    checks.integer("top", top, 1, len(train[0]))
    if chunk is not None:
        checks.integer("chunk", chunk, 1)
    lower = factor(hessian(head, *train))
    examples = gradients(head, *train)
    return torch.cat([_gradient(extract, head, lower, examples, x[rows], top) for rows in batches(len(x), x, chunk)])


def _gradient(extract, head, lower: Tensor, examples: Tensor, x: Tensor, top: int) -> Tensor:
    """Gradient in x of the summed influence of the `top` examples."""
    with torch.enable_grad():
        x = x.detach().requires_grad_()
        features = extract(x)
        if not isinstance(features, Tensor) or not features.requires_grad:
            raise ValueError("extract must return features that keep the autograd graph of the images, so that the "
                             "attack can follow it back to the pixels.")
        labels = logits(head, features.detach()).argmax(1)
        gradient = gradients(head, features, labels)                                        # (n, p)
        with torch.no_grad():
            shares = torch.cholesky_solve(gradient.mT, lower).mT @ examples.mT              # (n, training examples)
            strongest = examples[shares.topk(top).indices].sum(1)
            pull = torch.cholesky_solve(strongest.mT, lower).mT
        return torch.autograd.grad((gradient * pull).sum(), x)[0]
