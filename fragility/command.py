"""`python -m fragility …`: the audit of a model, and what this installation finds on the machine."""

import argparse
import platform
import sys
from importlib.metadata import version
from pathlib import Path

import torch

from fragility import __version__
from fragility.audit import command as audit_command

# Commands of the book, which moved to the laboratory.
_MOVED = ("book", "plan", "sweep", "publish", "verify", "claims")


class _Parser(argparse.ArgumentParser):
    """A parser that says in one line what is wrong."""

    def error(self, message: str):
        self.exit(2, f"Error: {message} ({self.prog} --help says what is allowed.)\n")


def main(arguments: list[str] | None = None) -> int:
    """Run a command; returns the exit code, 2 where the command line is wrong."""
    arguments = sys.argv[1:] if arguments is None else arguments
    if arguments and arguments[0] in _MOVED:
        print(f"`{arguments[0]}` is a command of the book now: python -m lab {' '.join(arguments)}, from a clone of "
              "the repository.", file=sys.stderr)
        return 2
    parser = _Parser(prog="python -m fragility", description="Can the saliency maps of a network be "
                                     "trusted? Maps, attacks, metrics, removal and shifts in PyTorch.")
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(dest="command", required=True)
    audit_command.add(commands)
    commands.add_parser("doctor", help="versions, devices and threads").set_defaults(run=doctor)
    try:
        given = parser.parse_args(arguments)
    except SystemExit as ended:     # a mistake, or --help
        return int(ended.code or 0)
    return given.run(given)


def doctor(given: argparse.Namespace) -> int:
    """Print versions, devices and threads."""
    rows = {"fragility": __version__, "from": Path(__file__).parent, "python": platform.python_version(),
            **{name: version(name) for name in ("torch", "numpy", "scipy")},
            "device": torch.cuda.get_device_name() if torch.cuda.is_available() else f"CPU {platform.machine()}",
            "threads": torch.get_num_threads()}
    print("\n".join(f"{name:10} {value}" for name, value in rows.items()))
    return 0
