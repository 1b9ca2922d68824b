"""Rank correlation of a batch of maps against a loop over SciPy."""
import torch
from scipy.stats import spearmanr

from fragility import metrics

from .registry import Outcome, benchmark
from .setup import require_same
from .timing import clock, paired


@benchmark("spearman", bar=1.5,
           description="Spearman of 64 pairs of 224x224 maps: a loop over scipy.stats.spearmanr / ours")
def spearman(setup):
    generator = torch.Generator().manual_seed(0)
    n, size = (2, 32) if setup.quick else (64, 224)
    a = torch.randn(n, size, size, generator=generator)
    b = a + torch.randn(n, size, size, generator=generator)

    def ours():
        return metrics.spearman(a, b)

    def scipy():
        pairs = zip(a.flatten(1).numpy(), b.flatten(1).numpy())
        return torch.tensor([float(spearmanr(first, second).statistic) for first, second in pairs])

    require_same(ours(), scipy(), tolerance=1e-5)
    pair = paired(clock(ours), clock(scipy), setup.repeats)
    return Outcome(pair.ratio, pair.spread, pair.note())
