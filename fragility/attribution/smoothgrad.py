"""Noise ensembles: three maps from one set of noisy passes."""

import inspect
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor

from fragility import checks
from fragility.attribution.method import kernel_of, method, method_info
from fragility.draws import normal_like
from fragility.passes import lowered, recomputed, repeats


class NoiseEnsembles(NamedTuple):
    """The maps of :func:`noise_ensembles`, each of x's shape."""

    smoothgrad: Tensor           #: Mean of the noisy maps.
    smoothgrad_squared: Tensor   #: Mean of their squares.
    vargrad: Tensor              #: Their population variance.


@method
def noise_ensembles(model, x: Tensor, target: Any = None, *, base: str | Callable = "gradient", samples: int = 15,
                    sigma: float | Tensor = 0.15, generator: torch.Generator | None = None,
                    precision: torch.dtype | None = None, chunk: int | None = None) -> NoiseEnsembles:
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
        Number J of noise draws per image, at least 1; 15 in [hooker2019].
    sigma
        Noise level as a share of each image's range max - min: a number, or a tensor (n,) of one per image.
    generator
        Source of the noise; None takes torch's global one. Draw j covers the whole batch,
        so the noise does not depend on `chunk`.
    precision
        None, or torch.bfloat16 or torch.float16: the noisy passes are computed under autocast. Drawing the noise anew
        changes the maps five times as much as this does; moments are accumulated in float32 at least in any case.

    Notes
    -----
    The class is predicted on the clean x. Mean and variance are updated together (Welford), so the
    variance does not suffer from cancellation. Other parameters as for :func:`gradient`.
    """
    checks.integer("samples", samples, 1)
    checks.generator(generator)
    checks.precision(precision)
    sigma = _level(sigma, x)
    kernel = kernel_of(base)
    targets = target.resolved(model, x, chunk)
    each = tuple(range(1, x.ndim))
    scale = sigma * (x.amax(each, keepdim=True) - x.amin(each, keepdim=True))
    wide = torch.promote_types(x.dtype, torch.float32)
    mean, spread, drawn = torch.zeros_like(x, dtype=wide), torch.zeros_like(x, dtype=wide), -1
    for segments in repeats(samples, x, chunk):
        noisy = []
        for j, rows in segments:
            if j > drawn:
                noise, drawn = scale * normal_like(x, generator), j
            noisy.append(x[rows] + noise[rows])
        with lowered(x.device, precision):
            maps = recomputed(kernel, model, torch.cat(noisy), targets.join([targets[rows] for _, rows in segments]))
        for (j, rows), part in zip(segments, maps.to(wide).split([len(n) for n in noisy])):
            step = part - mean[rows]
            mean[rows] += step / (j + 1)
            spread[rows] += step * (part - mean[rows])
    variance = spread / samples
    return NoiseEnsembles(*(moment.to(x.dtype) for moment in (mean, variance + mean.square(), variance)))


def _level(sigma: float | Tensor, x: Tensor) -> Tensor | float:
    """The noise level, broadcastable over images."""
    if not isinstance(sigma, Tensor):
        return checks.real("sigma", sigma, 0)
    if sigma.shape != x.shape[:1] or checks.any_true(~torch.isfinite(sigma) | (sigma < 0)):
        raise ValueError(f"sigma must be a number of at least 0 or a finite tensor of such, of shape ({len(x)},).")
    return sigma.to(x).view(-1, *[1] * (x.ndim - 1))


def _moment(name: str, form: str, text: str):
    """A method that is one of the maps of :func:`noise_ensembles`, with all its options."""
    def kernel(model, x, target: Any = None, **options):
        return getattr(noise_ensembles.__wrapped__(model, x, target, **options), name)

    kernel.__wrapped__ = noise_ensembles.__wrapped__        # where its options are written down
    kernel.__signature__ = inspect.signature(noise_ensembles).replace(return_annotation=Tensor)
    kernel.__name__ = kernel.__qualname__ = name
    kernel.__module__, kernel.__doc__ = __name__, f"{text}; options and errors as for :func:`noise_ensembles`."
    return method(kernel, form=lambda options: form if _of_gradients(options.get("base", "gradient")) else None)


def _of_gradients(base: str | Callable) -> bool:
    info = method_info(base)
    return info.form_of(info.options) == "gradient"


smoothgrad = _moment("smoothgrad", "mean", "Mean of noisy maps [smilkov2017]")
smoothgrad_squared = _moment("smoothgrad_squared", "mean-square", "Mean square of noisy maps [hooker2019]")
vargrad = _moment("vargrad", "variance", "Population variance of noisy maps [adebayo2018]")
