"""Removal with and without retraining where the truth is known: 16 features, 4 informative and redundant."""

import pandas as pd
import torch
from pydantic import Field
from torch import Tensor

from fragility import checks
from lab.core.experiment import Experiment, Factor, Outcome
from lab.core.parameters import Parameters
from lab.core.store import Store

FEATURES, INFORMATIVE = 16, 4
RANKINGS = ("true", "random", "worst")


def accuracies(seed: int, samples: int, *, scalar_noise: bool = True) -> pd.DataFrame:
    r"""Test accuracy of least squares as features are removed one by one [hooker2019].

    .. math:: x = \frac{a z}{10} + d\,\eta + \frac{\epsilon}{10}, \qquad y = 1[z > 0]

    a and d are drawn once, a is zero but for its first four entries; z, eta and epsilon are drawn an example,
    all standard normal. A removed feature is set to its mean, zero. The classifier is the least squares fit
    of y, with an intercept, at the threshold 1/2; where the fit is not unique, the one of smallest norm.

    Parameters
    ----------
    seed
        Decides a, d, the examples and the random ranking.
    samples
        Examples to fit, and as many to test.
    scalar_noise
        One epsilon an example, which keeps the four features redundant and fits the paper's text; otherwise
        one a feature.

    Returns
    -------
    DataFrame
        ranking ("true": by abs(a) from the largest down, "random", "worst": the true one inverted), removed
        (0 to 16), retrained (whether the fit was repeated without the removed features), accuracy in %.
    """
    checks.integer("seed", seed, 0)
    checks.integer("samples", samples, FEATURES + 1)
    generator = torch.Generator().manual_seed(seed)
    a, d = _normal(2, FEATURES, generator=generator)
    a[INFORMATIVE:] = 0
    (x, y), (x_test, y_test) = (_examples(a, d, samples, scalar_noise, generator) for _ in range(2))
    true = a.abs().argsort(descending=True, stable=True)
    orders = dict(zip(RANKINGS, (true, torch.randperm(FEATURES, generator=generator), true.flip(0))))
    # Every fit uses some of the same columns, so the triangular factor of one QR decomposition serves them all.
    q, triangle = torch.linalg.qr(x)
    projected = q.T @ y
    full = _fit(triangle, projected)
    rows, weights = [], []
    for ranking, order in orders.items():
        for removed in range(FEATURES + 1):
            kept = torch.ones(FEATURES + 1, dtype=x.dtype).index_fill_(0, order[:removed], 0)
            rows += [(ranking, removed, False), (ranking, removed, True)]
            weights += [full * kept, _fit(triangle * kept, projected)]
    correct = (x_test @ torch.stack(weights, 1) > 0.5) == y_test[:, None].bool()
    table = pd.DataFrame(rows, columns=["ranking", "removed", "retrained"])
    return table.assign(accuracy=100 * correct.double().mean(0).numpy())


def _examples(a: Tensor, d: Tensor, samples: int, scalar_noise: bool, generator: torch.Generator):
    """Features (samples, 17), the last one constant, and labels (samples,)."""
    z, eta = _normal(2, samples, 1, generator=generator)
    epsilon = _normal(samples, 1 if scalar_noise else FEATURES, generator=generator)
    x = a * z / 10 + d * eta + epsilon / 10
    return torch.cat([x, torch.ones_like(z)], 1), (z[:, 0] > 0).double()


def _fit(x: Tensor, y: Tensor) -> Tensor:
    """Least squares of smallest norm: a column of zeros gets the weight zero."""
    return torch.linalg.lstsq(x, y[:, None], rcond=1e-10, driver="gelsd").solution[:, 0]


def _normal(*shape: int, generator: torch.Generator) -> Tensor:
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


class Toy(Parameters):
    """Parameters of the removal curves: the number of seeds, and of examples to fit and to test."""

    toy_seeds: int = Field(ge=2)
    toy_samples: int = Field(gt=FEATURES)


def cells(parameters: Toy) -> list[dict]:
    return [{"samples": parameters.toy_samples, "seed": seed} for seed in range(parameters.toy_seeds)]


def run(cell: dict, store: Store) -> Outcome:
    return Outcome(accuracies(cell["seed"], cell["samples"]))


def sketch(cell: dict) -> tuple[dict, Factor]:
    return cell, Factor(1)


EXPERIMENT = Experiment("toy", 1, Toy, cells, lambda cell, store: {}, run, sketch, canary={"samples": 1000, "seed": 0},
                        canary_values={"accuracy": 76.39}, notebook="roar")
