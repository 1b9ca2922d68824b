"""What a record was made with: device, library versions and commit."""

import platform
import subprocess
from functools import cache
from importlib.metadata import version

import torch

from lab.core import folders
from lab.core.device import device

PACKED = folders.ROOT / "packed-commit.txt"


@cache
def surroundings() -> dict:
    """Device, library versions and commit that a record was made with."""
    name = torch.cuda.get_device_name() if device().type == "cuda" else f"CPU {platform.machine()}"
    return {"device": name, "threads": torch.get_num_threads(), "commit": commit(),
            "versions": {"python": platform.python_version(),
                         **{name: version(name) for name in ("torch", "torchvision", "numpy", "scipy")}}}


def commit() -> str:
    """The checkout's commit, with a plus sign where it has changes; that which was packed, where a pack says so;
    'unknown' outside a checkout."""
    if PACKED.is_file():        # before git, which might answer for a checkout around it
        return PACKED.read_text().strip()
    try:
        where = {"cwd": folders.ROOT, "capture_output": True, "text": True, "check": True, "timeout": 10}
        head = subprocess.run(["git", "rev-parse", "--short=10", "HEAD"], **where).stdout.strip()
        changed = subprocess.run(["git", "status", "--porcelain", "-uno"], **where).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return "unknown"
    return head + ("+" if changed else "")
