"""Slow twins of the map comparisons: plain loops over Python numbers, one pair of (h, w) maps at a time."""

import torch


def _pairs(a, b):
    return [(one.flatten().tolist(), other.flatten().tolist()) for one, other in zip(a, b)]


def top(values, k):
    """Flat indices of the k largest values; among equal values the lowest index first."""
    return set(sorted(range(len(values)), key=lambda index: (-values[index], index))[:k])


def topk_intersection(a, b, k):
    """|top_k(a) & top_k(b)| / k (Ghorbani et al. 2019, section 3)."""
    return torch.tensor(
        [len(top(one, k) & top(other, k)) / k for one, other in _pairs(a, b)], dtype=torch.float64
    )


def average_ranks(values):
    """Ranks from 1; equal values share the mean of the ranks they occupy."""
    ranks = []
    for value in values:
        below = sum(other < value for other in values)
        equal = sum(other == value for other in values)
        ranks.append(below + (equal + 1) / 2)
    return ranks


def spearman(a, b):
    """Pearson correlation of the average ranks."""
    scores = []
    for one, other in _pairs(a, b):
        r, s = average_ranks(one), average_ranks(other)
        mean = (len(r) + 1) / 2
        both = sum((p - mean) * (q - mean) for p, q in zip(r, s))
        scores.append(both / (sum((p - mean) ** 2 for p in r) * sum((q - mean) ** 2 for q in s)) ** 0.5)
    return torch.tensor(scores, dtype=torch.float64)


def kendall(a, b):
    """tau-b = (concordant - discordant) / sqrt((pairs - ties in a)(pairs - ties in b)) (Kendall 1945)."""
    scores = []
    for one, other in _pairs(a, b):
        balance = untied_one = untied_other = 0
        for i in range(len(one)):
            for j in range(i):
                first = (one[i] > one[j]) - (one[i] < one[j])
                second = (other[i] > other[j]) - (other[i] < other[j])
                balance += first * second
                untied_one += first != 0
                untied_other += second != 0
        scores.append(balance / (untied_one * untied_other) ** 0.5)
    return torch.tensor(scores, dtype=torch.float64)


def center(values):
    """Centre of mass of one (h, w) map: sum_ij I_ij (i, j) / sum_ij I_ij, not rounded."""
    mass = row = column = 0.0
    for i, line in enumerate(values.tolist()):
        for j, value in enumerate(line):
            mass, row, column = mass + value, row + value * i, column + value * j
    return row / mass, column / mass


def center_shift(a, b):
    """|| C(a) - C(b) ||_2 in pixels (Ghorbani et al. 2019, section 3)."""
    shifts = []
    for one, other in zip(a, b):
        (row, column), (other_row, other_column) = center(one), center(other)
        shifts.append(((row - other_row) ** 2 + (column - other_column) ** 2) ** 0.5)
    return torch.tensor(shifts, dtype=torch.float64)
