"""The memory of a process while something runs: its peak on the GPU, or as the system shows it."""

import contextlib
import os
import threading
from collections.abc import Iterator
from pathlib import Path

import torch

_SHOWN = Path("/proc/self/statm")


def resident() -> float | None:
    """Megabytes that this process has in memory; None where the system does not show it as Linux does."""
    try:
        return int(_SHOWN.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20
    except (OSError, ValueError, IndexError):
        return None


class Peak:
    """Filled in when the block ends: megabytes above those at its start, or None where they cannot be known."""

    megabytes: float | None = None


@contextlib.contextmanager
def peak(device: torch.device) -> Iterator[Peak]:
    """Watch the memory that the block takes."""
    seen = Peak()
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        start = torch.cuda.memory_allocated(device)
        yield seen
        seen.megabytes = (torch.cuda.max_memory_allocated(device) - start) / 2**20
        return
    start = resident()
    if start is None:
        yield seen
        return
    most, done = [start], threading.Event()

    def watch() -> None:
        while not done.wait(0.002):
            most.append(max(most.pop(), resident() or 0.0))
    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield seen
    finally:
        done.set()
        thread.join()
        seen.megabytes = max(0.0, most[0] - start)
