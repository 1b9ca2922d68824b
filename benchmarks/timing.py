"""Paired timing: the two sides run in turn, so that whatever slows the machine slows both."""
import gc
from time import perf_counter
from typing import NamedTuple

import numpy as np
import torch


class Paired(NamedTuple):
    ratio: float            # median over the pairs of peer / ours
    spread: float           # inter-quartile range of the same ratios
    ours: float             # median seconds
    peer: float

    def note(self, setting=""):
        times = f"ours {self.ours:.3g} s, peer {self.peer:.3g} s"
        return f"{setting}; {times}" if setting else times


def wait_for_gpu():
    """A GPU is given work and does it later."""
    if torch.cuda.is_initialized():
        torch.cuda.synchronize()


def clock(call):
    """A function that runs `call` and returns the seconds it took."""
    def seconds():
        gc.collect()        # neither side pays for the other's garbage
        wait_for_gpu()
        start = perf_counter()
        call()
        wait_for_gpu()
        return perf_counter() - start
    return seconds


def quartile_range(values):
    low, high = np.percentile(values, [25, 75])
    return float(high - low)


def compared(pairs):
    """Summary of pairs (ours, peer) of seconds."""
    mine, theirs = np.array(pairs).T
    ratios = theirs / mine
    middle, seconds, peer_seconds = map(float, map(np.median, (ratios, mine, theirs)))
    return Paired(middle, quartile_range(ratios), seconds, peer_seconds)


def paired(ours, peer, repeats):
    """Compare two functions that return seconds: one warm-up each, then `repeats` pairs."""
    ours(), peer()
    pairs = []
    for turn in range(repeats):
        # The order alternates, so a machine that grows steadily slower favours neither side.
        if turn % 2:
            late, early = peer(), ours()
            pairs.append((early, late))
        else:
            pairs.append((ours(), peer()))
    return compared(pairs)


def fastest(calls, rounds=2):
    """The key of the call with the shortest best time; the rounds alternate between the calls."""
    best = dict.fromkeys(calls, float("inf"))
    for _ in range(rounds):
        for key, call in calls.items():
            best[key] = min(best[key], clock(call)())
    return min(best, key=best.get)
