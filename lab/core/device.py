"""The device that cells are computed on, how it is set up, and how many processes it takes."""

import os
from collections.abc import Callable
from functools import wraps

import torch

from fragility import checks

DEVICES = ("cpu", "cuda")
CONTEXT = 700e6         # bytes that each process holds on a card before its first tensor: CUDA's context and kernels
RESERVE = 0.1           # share of the memory that stays free: what is measured on a sketch is not the last byte


def device() -> torch.device:
    """The device that FRAGILITY_DEVICE names; without it the GPU, where there is one. ValueError for a card that is
    not there: a measurement meant for it must not run for days on the processor."""
    there = torch.cuda.is_available()
    name = os.environ.get("FRAGILITY_DEVICE") or ("cuda" if there else "cpu")
    if checks.choice("FRAGILITY_DEVICE", name, DEVICES) == "cuda" and not there:
        raise ValueError("No GPU is found here, or torch is built without CUDA; take cpu, or run this where "
                         "python -m lab doctor names a GPU.")
    return torch.device(name)


def choose(name: str) -> torch.device:
    """Let this process and those that it starts compute on cpu or cuda."""
    os.environ["FRAGILITY_DEVICE"] = name
    return device()


def repeatable(function: Callable) -> Callable:
    """Make a function's results on a GPU repeatable and as precise as on a CPU.

    Convolutions would otherwise round their inputs to 10 bits there, and add in any order; matrix products would, too,
    where a library or an environment variable allowed it.
    """
    @wraps(function)
    def run(*args, **kwargs):
        before = torch.backends.cuda.matmul.allow_tf32
        torch.backends.cuda.matmul.allow_tf32 = False
        try:
            with torch.backends.cudnn.flags(enabled=True, deterministic=True, allow_tf32=False):
                return function(*args, **kwargs)
        finally:
            torch.backends.cuda.matmul.allow_tf32 = before
    return run


def processes_for(where: torch.device, bytes_per_cell: float, *, memory: float | None = None,
                  cores: int | None = None) -> int:
    """How many processes of one cell each share a device: as many as fit its memory, and no more than there are cores
    to feed them; at least one. `memory` and `cores` are those found here, unless they are given."""
    memory = capacity(where) if memory is None else memory
    each = bytes_per_cell + (CONTEXT if where.type == "cuda" else 0)
    fitting = int(memory * (1 - RESERVE) // each) if each else 1
    return max(1, min(fitting, usable_cores() if cores is None else cores))


def capacity(where: torch.device) -> float:
    """Bytes of memory that are free on a device now."""
    if where.type == "cuda":
        return torch.cuda.mem_get_info(where)[0]
    try:
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (ValueError, OSError, AttributeError):       # a system that does not say
        return 0.0


def usable_cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
