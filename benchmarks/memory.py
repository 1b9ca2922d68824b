"""Peak memory of integrated gradients: it follows `chunk`, not the steps, not the number of images."""
import resource
import subprocess
import sys
from pathlib import Path

import numpy as np
import torch

from fragility import attribution

from .registry import Outcome, benchmark
from .setup import squeezenet, synthetic
from .timing import quartile_range

CHUNK = 4       # both sizes of each comparison fill it, so the smaller one is no easier


def peak_bytes():
    """The highest resident memory of this process so far."""
    try:
        # On Linux ru_maxrss starts from the parent's peak, which would hide the child's own.
        status = Path("/proc/self/status").read_text()
        return 1024 * int(status.split("VmHWM:")[1].split()[0])
    except OSError:
        usage = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return usage if sys.platform == "darwin" else 1024 * usage


def working_bytes(n, steps, size):
    """What one call needs beyond the network, the images and the maps it returns. For a fresh process."""
    model, x = squeezenet(), synthetic(n, size)
    before = peak_bytes()
    maps = attribution.integrated_gradients(model, x, steps=steps, chunk=CHUNK)
    return peak_bytes() - before - maps.nbytes


def measure(n, steps, size):
    """`working_bytes` in a fresh process: a peak never falls, so one process can show only one."""
    numbers = map(str, (n, steps, size, torch.get_num_threads()))
    done = subprocess.run([sys.executable, "-m", "benchmarks.memory", *numbers],
                          cwd=Path(__file__).parents[1], capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"The measuring process failed:\n{done.stderr}")
    return int(done.stdout)


@benchmark("memory", bar=1.1, at_most=True, description="peak memory of integrated gradients, large / small "
           "(the worse of 100 / 10 steps and 32 / 4 images): 1 means it does not grow")
def memory(setup):
    rounds = 1 if setup.quick else 3
    few, many, small, large = (2, 8, 2, 6) if setup.quick else (10, 100, 4, 32)
    base, steps, images = np.array([[measure(small, few, setup.size), measure(small, many, setup.size),
                                     measure(large, few, setup.size)] for _ in range(rounds)]).T
    by_steps, by_images = steps / base, images / base
    worse = max(by_steps, by_images, key=np.median)
    note = (f"{np.median(base) / 2**20:.0f} MiB at {small} images, {few} steps; x {np.median(by_steps):.2f} "
            f"with {many} steps, x {np.median(by_images):.2f} with {large} images")
    return Outcome(float(np.median(worse)), quartile_range(worse), note)


if __name__ == "__main__":
    n, steps, size, threads = map(int, sys.argv[1:])
    torch.set_num_threads(threads)
    print(working_bytes(n, steps, size))
