"""Noisy linear imputation: one band system against one sparse system an image in SciPy."""
import numpy as np
import torch
from scipy.sparse import csc_matrix
from scipy.sparse.linalg import splu

from fragility import attribution, removal

from .registry import Outcome, benchmark
from .setup import require_same, synthetic
from .timing import clock, fastest, paired

# What spsolve does by default, and what SuperLU's manual advises where the matrix is symmetric.
ORDERINGS = {"COLAMD": {},
             "MMD_AT_PLUS_A": {"permc_spec": "MMD_AT_PLUS_A", "diag_pivot_thresh": 0.0,
                               "options": {"SymmetricMode": True}}}
NEIGHBOURS = [(down, right) for down in (-1, 0, 1) for right in (-1, 0, 1) if down or right]


def sparse_system(image, missing):
    """Matrix and right-hand sides (gaps, c) of one image (c, h, w), put together by index arithmetic."""
    height, width = missing.shape
    rows, columns = np.nonzero(missing)
    index = np.arange(len(rows))
    number = np.zeros(missing.shape, int)
    number[missing] = index
    diagonal, known, entries = np.zeros(len(rows)), np.zeros((len(rows), len(image))), []
    for down, right in NEIGHBOURS:
        weight = 1 / 12 if down and right else 1 / 6
        row, column = rows + down, columns + right
        inside = (row >= 0) & (row < height) & (column >= 0) & (column < width)
        here, row, column = index[inside], row[inside], column[inside]
        diagonal[here] += weight
        gap = missing[row, column]
        entries.append((here[gap], number[row[gap], column[gap]], np.full(gap.sum(), -weight)))
        known[here[~gap]] += weight * image[:, row[~gap], column[~gap]].T
    entries.append((index, index, diagonal))
    at, to, values = map(np.concatenate, zip(*entries))
    return csc_matrix((values, (at, to)), shape=(len(rows), len(rows))), known


def sparse_solves(systems, options):
    return [splu(matrix, **options).solve(known) for matrix, known in systems]


def scipy_imputation(x, missing, options):
    """The same imputation, image by image, with the channels as right-hand sides."""
    imputed = x.numpy().copy()
    for image, gaps in zip(imputed, missing.numpy()):
        image[:, gaps] = sparse_solves([sparse_system(image.astype(float), gaps)], options)[0].T
    return torch.from_numpy(imputed)


def compare(x, missing, repeats):
    """Ours against SciPy with its faster ordering: the pair, the ordering, and the solver's own seconds."""
    def ours():
        return removal.impute(x, missing)

    peers = {name: lambda options=options: scipy_imputation(x, missing, options)
             for name, options in ORDERINGS.items()}
    require_same(ours(), peers["COLAMD"](), tolerance=1e-5)
    best = fastest(peers)
    systems = [sparse_system(image.astype(float), gaps) for image, gaps in zip(x.numpy(), missing.numpy())]
    bare = clock(lambda: sparse_solves(systems, ORDERINGS[best]))
    return paired(clock(ours), clock(peers[best]), repeats), best, min(bare(), bare())


@benchmark("imputation", bar=3.0, description="noisy linear imputation of 256 images of 32x32, half of the "
           "pixels missing by edge strength: one sparse solve an image (SciPy, its faster ordering) / ours")
def imputation(setup):
    x = synthetic(4 if setup.quick else 256, 32)
    missing = removal.top_mask(attribution.sobel(x), 0.5)
    pair, best, bare = compare(x, missing, setup.repeats)
    return Outcome(pair.ratio, pair.spread, pair.note(best) + f", {bare:.3g} s of it in its solver")


@benchmark("imputation-large", bar=1.0, description="noisy linear imputation of one image of 224x224, the worst "
           "of 50, 70 and 90 % missing at random: one sparse solve (SciPy, its faster ordering) / ours")
def imputation_large(setup):
    x = synthetic(1, 32 if setup.quick else 224)
    # Scattered gaps leave the sparse factor emptier than connected ones do: the peer's best case.
    scores = attribution.random(x, generator=torch.Generator().manual_seed(0))
    cases = {fraction: compare(x, removal.top_mask(scores, fraction), setup.repeats)
             for fraction in (0.5, 0.7, 0.9)}
    pair, best, _ = min(cases.values(), key=lambda case: case[0].ratio)
    note = ", ".join(f"{fraction:.0%}: {case[0].ratio:.2f}" for fraction, case in cases.items())
    return Outcome(pair.ratio, pair.spread, pair.note(best) + f"; {note}")
