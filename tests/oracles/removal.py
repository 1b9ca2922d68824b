"""Slow twins of the removal of pixels (Hooker et al. 2019), their imputation (Rong et al. 2022), the toy problem."""

from fractions import Fraction
from math import floor

import numpy as np
import torch

# The share of each of the eight neighbours of a pixel: 1/6 beside it, 1/12 across a corner.
SHARES = {(i, j): (1 / 6 if i == 0 or j == 0 else 1 / 12) for i in (-1, 0, 1) for j in (-1, 0, 1) if (i, j) != (0, 0)}


def count(fraction, size):
    """k = floor(fraction N + 1/2), in exact arithmetic on the number that was given."""
    return floor(Fraction(fraction) * size + Fraction(1, 2))


def top_mask(scores, fraction, unit="pixel"):
    """The k largest scores of each image, lowest flat index first among equals; a pixel's score sums its channels."""
    if unit == "pixel" and scores.ndim == 4:
        scores = scores.sum(1)
    mask = torch.zeros(scores.shape, dtype=torch.bool)
    for image, one in enumerate(scores):
        values = one.flatten().tolist()
        order = sorted(range(len(values)), key=lambda index: (-values[index], index))
        mask[image].view(-1)[order[:count(fraction, len(values))]] = True
    return mask


def filling(x, fill):
    """What replaces each value of x: the image's own channel mean, a number, or a tensor over channels or pixels."""
    n, c, h, w = x.shape
    values, full = x.numpy(), np.empty(x.shape)
    means = [[sum(values[image, channel].ravel()) / (h * w) for channel in range(c)] for image in range(n)]
    given = np.asarray(0.0 if isinstance(fill, str) else fill)
    for image, channel, i, j in np.ndindex(n, c, h, w):
        places = {0: (), 1: (channel,), 3: (channel, i, j), 4: (image, channel, i, j)}[given.ndim]
        places = tuple(at if size > 1 else 0 for at, size in zip(places, given.shape))
        full[image, channel, i, j] = means[image][channel] if isinstance(fill, str) else given[places]
    return torch.from_numpy(full).to(x.dtype)


def degrade(x, scores, fraction, *, mode="remove", fill="mean", unit="pixel"):
    """x with the top values replaced ("remove") or all but the top values ("keep")."""
    gone = top_mask(scores, fraction, unit)
    gone = ~gone if mode == "keep" else gone
    if isinstance(fill, str) and fill == "noisy-linear":
        return impute(x, gone)
    gone, replacement, result = gone.numpy(), filling(x, fill).numpy(), x.clone().numpy()
    for image, channel, i, j in np.ndindex(*x.shape):
        if gone[(image, i, j) if unit == "pixel" else (image, channel, i, j)]:
            result[image, channel, i, j] = replacement[image, channel, i, j]
    return torch.from_numpy(result)


def impute(x, missing):
    """Each missing pixel is the weighted mean of its neighbours, known or missing: one dense system an image.

    (sum of the shares inside the image) x_p = sum_q share_pq x_q. With no known pixel anywhere the system is
    singular, and the channel means of the image stand in.
    """
    result = x.clone()
    _, c, h, w = x.shape
    for image in range(len(x)):
        unknown = {(int(i), int(j)): line for line, (i, j) in enumerate(missing[image].nonzero().tolist())}
        if len(unknown) == h * w:
            result[image] = x[image].mean((1, 2))[:, None, None]
            continue
        matrix, right = np.zeros((len(unknown), len(unknown))), np.zeros((len(unknown), c))
        for (i, j), line in unknown.items():
            for (di, dj), share in SHARES.items():
                p, q = i + di, j + dj
                if 0 <= p < h and 0 <= q < w:
                    matrix[line, line] += share
                    if (p, q) in unknown:
                        matrix[line, unknown[p, q]] -= share
                    else:
                        right[line] += share * x[image, :, p, q].double().numpy()
        if unknown:
            solution = torch.from_numpy(np.linalg.solve(matrix, right)).to(x.dtype)
            for (i, j), line in unknown.items():
                result[image, :, i, j] = solution[line]
    return result


def toy(seed, samples, scalar_noise=True):
    """Accuracy in % {(ranking, retrained): [after 0, ..., 16 features]} of least squares on the synthetic task.

    x = a z / 10 + d eta + eps / 10, y = 1[z > 0]; a has four entries that are not zero; a removed feature is 0.
    """
    draw = np.random.default_rng(seed)
    a, d = np.concatenate([draw.standard_normal(4), np.zeros(12)]), draw.standard_normal(16)

    def examples():
        z, eta = draw.standard_normal((samples, 1)), draw.standard_normal((samples, 1))
        noise = draw.standard_normal((samples, 1 if scalar_noise else 16))
        return a * z / 10 + d * eta + noise / 10, z[:, 0] > 0

    def line(x):
        return np.concatenate([x, np.ones((len(x), 1))], 1)

    def fit(x, y):
        return np.linalg.lstsq(line(x), y.astype(float), rcond=1e-10)[0]

    (x, y), (test_x, test_y) = examples(), examples()
    true = np.argsort(-np.abs(a), kind="stable")
    whole, curves = fit(x, y), {}
    for name, order in {"true": true, "random": draw.permutation(16), "worst": true[::-1]}.items():
        for retrained in (False, True):
            curves[name, retrained] = []
            for removed in range(17):
                left = np.isin(np.arange(16), order[removed:])
                weights = fit(x * left, y) if retrained else whole
                right = (line(test_x * left) @ weights > 0.5) == test_y
                curves[name, retrained].append(100 * right.mean())
    return curves
