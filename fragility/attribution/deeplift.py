"""DeepLIFT: multipliers that are ratios of differences from a reference."""

import torch
import torch.nn.functional as F
from torch import Tensor

from fragility import checks
from fragility.attribution.carry import Carry, Recorded, Witness, quotient
from fragility.attribution.method import method
from fragility.passes import batches, explain
from fragility.rules.gates import on, relu
from fragility.rules.twin import Twin

_RESCALED = {"relu": relu, "max_pool2d": F.max_pool2d}


def _rescale(witness: Witness, reference: Recorded) -> dict:
    """Rules of DeepLIFT: multipliers are ratios of differences from the reference."""
    def rescale_relu(z, top=None):
        before = reference.following(z).detach()

        def ratio(now):
            a = relu(now, top)
            return quotient(a - relu(before, top), now - before, on(a, top).to(a.dtype))
        return Carry.apply(relu(z, top), z, witness.factor(z, ratio))

    def rescale_max_pool2d(z, *window):
        # A window's whole difference goes to the winner of the larger input. If the window rose, x's winner
        # rose at least as much; if it fell, the reference's fell at least as much: factors lie in [0, 1].
        before = reference.following(z).detach()
        a0, winner0 = F.max_pool2d(before, *window, return_indices=True)
        a, winner = F.max_pool2d(z, *window, return_indices=True)
        winner = torch.where(a >= a0, winner, winner0).flatten(2)

        def ratio(now):
            change = (now - before).flatten(2).gather(2, winner).view_as(a)
            return quotient(F.max_pool2d(now, *window) - a0, change, 1.0)
        return Carry.apply(a, z.flatten(2).gather(2, winner).view_as(a), witness.factor(z, ratio))

    return {"relu": rescale_relu, "max_pool2d": rescale_max_pool2d}


@method
def deeplift(model, x: Tensor, target=None, *, baseline=0.0, chunk: int | None = None) -> Tensor:
    r"""DeepLIFT with the rescale rule [shrikumar2017].

    .. math:: R = (x - x_0)\, m, \qquad m_z = m_a \frac{a(z) - a(z_0)}{z - z_0} \quad\text{at every ReLU}

    The maps sum to S(x) - S(x0), through max-pooling, too: there the difference of a window goes to the
    winner of whichever input is larger (the code of [ghorbani2019] routes to x's winner and loses
    completeness). A baseline that all images share passes through the model once.

    Parameters
    ----------
    baseline
        Reference image x0: a number, a tensor (c, h, w), or one of x's shape; in units of x.

    Notes
    -----
    Other parameters and errors as for :func:`guided_backprop`.
    """
    start = checks.baseline(baseline, x)
    target = target.fixed(model, x, chunk)
    maps = []
    for rows in batches(len(x), x, chunk):
        reference = Recorded(model, start[rows] if len(start) > 1 else start, _RESCALED)
        twin = Twin(model, _rescale(Witness(model, x[rows], _RESCALED), reference))
        maps.append(explain(twin, x[rows], target[rows], len(x))[0])
    return (x - start) * torch.cat(maps)
