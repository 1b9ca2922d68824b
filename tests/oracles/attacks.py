"""Slow twins of the attack objectives and of the exact first step (Ghorbani et al. 2019, algorithm 1).

Each objective is the dissimilarity D of one (h, w) pixel map (it sums to one) from the map of the clean
image; larger means more changed.
"""

import torch
from torch.autograd.functional import hessian

from tests.oracles.metrics import center, top


def topk(clean, values, k):
    """D = - sum of the map over the k pixels that were largest on the clean image."""
    return -sum(values.flatten().tolist()[index] for index in top(clean.flatten().tolist(), k))


def mass_center(clean, values):
    """D = || C(I(x)) - C(I(x_clean)) ||_2, C the centre of mass."""
    (row, column), (clean_row, clean_column) = center(values), center(clean)
    return ((row - clean_row) ** 2 + (column - clean_column) ** 2) ** 0.5


def target(values, mask):
    """D = + sum of the map over the target region."""
    return sum(value for value, inside in zip(values.flatten().tolist(), mask.flatten().tolist()) if inside)


def gradient_hessian(model, image, label):
    """(g, H): the gradient (d,) and the full Hessian (d, d) of the logit S_label at one (c, h, w) image."""
    flat = image.flatten()

    def score(vector):
        return model(vector.reshape(image.shape)[None])[0, label]

    leaf = flat.clone().requires_grad_(True)
    gradient = torch.autograd.grad(score(leaf), leaf)[0]
    return gradient, hessian(score, flat)


def topk_direction(model, image, label, k):
    """H v with v = dD/dg, D = - sum_{i in top k of I} I_i, I = sum_c |g| / sum |g|: the gradient of D in x.

    With s = sign(g) and total T = sum |g|: dI_i/dg_cj = s_cj (1[i = j] - I_i) / T.
    """
    gradient, curvature = gradient_hessian(model, image, label)
    channels, height, width = image.shape
    magnitude = gradient.abs().reshape(channels, height * width).sum(0)
    total = float(magnitude.sum())
    best = top(magnitude.tolist(), k)
    share = sum(float(magnitude[index]) for index in best) / total
    inside = torch.tensor([float(index in best) for index in range(height * width)], dtype=image.dtype)
    v = -gradient.sign() * (inside - share).repeat(channels) / total
    return (curvature @ v).reshape(image.shape)
