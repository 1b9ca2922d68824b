"""Noise ensembles: three maps from one set of noisy passes."""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from fragility import checks
from fragility.attribution.method import by_name, kernel_of, method
from fragility.draws import normal_like
from fragility.passes import repeats


class NoiseEnsembles(NamedTuple):
    """The maps of :func:`noise_ensembles`, each of x's shape."""

    smoothgrad: Tensor           #: Mean of the noisy maps.
    smoothgrad_squared: Tensor   #: Mean of their squares.
    vargrad: Tensor              #: Their population variance.


@method
def noise_ensembles(model, x: Tensor, target=None, *, base: str | Callable = "gradient", samples: int = 15,
                    sigma: float | Tensor = 0.15, generator: torch.Generator | None = None,
                    chunk: int | None = None) -> NoiseEnsembles:
    r"""SmoothGrad [smilkov2017], its squared form and VarGrad [adebayo2018] from the same noisy maps.

    .. math:: \bar R = \frac1J \sum_j R(x + \epsilon_j), \qquad
              \overline{R^2} = \frac1J \sum_j R(x + \epsilon_j)^2, \qquad
              \overline{R^2} - \bar R^2, \qquad
              \epsilon_j \sim N\bigl(0, \sigma^2 (\max x - \min x)^2\bigr)

    Parameters
    ----------
    base
        Name in `METHODS` or callable (model, x, target): the map R that is averaged.
    samples
        Noise draws J an image; 15 in [hooker2019].
    sigma
        Noise level as a share of each image's range max - min: a number, or one an image (n,).
    generator
        Source of the noise; None takes torch's global one. Draw j covers the whole batch,
        so the noise does not depend on `chunk`.

    Notes
    -----
    The class is predicted on the clean x. Mean and variance are updated together (Welford), so the
    variance does not suffer from cancellation. Other parameters as for :func:`gradient`.
    """
    checks.whole("samples", samples, 1)
    checks.generator(generator)
    sigma = _level(sigma, x)
    kernel = kernel_of(by_name(base))
    target = target.fixed(model, x, chunk)
    scale = sigma * (x.amax((1, 2, 3), keepdim=True) - x.amin((1, 2, 3), keepdim=True))
    mean, spread, drawn = torch.zeros_like(x), torch.zeros_like(x), -1
    for segments in repeats(samples, x, chunk):
        noisy = []
        for j, rows in segments:
            if j > drawn:
                noise, drawn = scale * normal_like(x, generator), j
            noisy.append(x[rows] + noise[rows])
        maps = kernel(model, torch.cat(noisy), target.join([target[rows] for _, rows in segments]))
        for (j, rows), part in zip(segments, maps.split([len(n) for n in noisy])):
            step = part - mean[rows]
            mean[rows] += step / (j + 1)
            spread[rows] += step * (part - mean[rows])
    variance = spread / samples
    return NoiseEnsembles(mean, variance + mean.square(), variance)


def _level(sigma: float | Tensor, x: Tensor) -> Tensor | float:
    """The noise level, broadcastable over images."""
    if not isinstance(sigma, Tensor):
        return checks.number("sigma", sigma, 0)
    if sigma.shape != x.shape[:1] or not (torch.isfinite(sigma) & (sigma >= 0)).all():
        raise ValueError(f"sigma must be a number of at least 0 or a finite tensor of such, of shape ({len(x)},).")
    return sigma.to(x)[:, None, None, None]


def smoothgrad(model, x: Tensor, target=None, **options) -> Tensor:
    """Mean of noisy maps [smilkov2017]; options and errors as for :func:`noise_ensembles`."""
    return noise_ensembles(model, x, target, **options).smoothgrad


def smoothgrad_squared(model, x: Tensor, target=None, **options) -> Tensor:
    """Mean square of noisy maps [hooker2019]; options and errors as for :func:`noise_ensembles`."""
    return noise_ensembles(model, x, target, **options).smoothgrad_squared


def vargrad(model, x: Tensor, target=None, **options) -> Tensor:
    """Population variance of noisy maps [adebayo2018]; options as for :func:`noise_ensembles`."""
    return noise_ensembles(model, x, target, **options).vargrad


for _function in (smoothgrad, smoothgrad_squared, vargrad):
    _function.options_of = noise_ensembles      # for attacks, which look up what options a method has
