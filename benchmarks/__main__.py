"""python -m benchmarks [--json] [NAME ...]: one line a benchmark, as each is finished."""
import json
import platform
import warnings
from datetime import UTC, datetime
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import click
import torch

from .registry import BENCHMARKS
from .setup import Setup

TOPICS = ("maps", "attention", "rules", "perturb", "path_attack", "ranks", "lens", "removal", "audit", "training",
          "memory")
ON_GPU = ("maps", "attention", "rules", "perturb", "path_attack")     # those whose both sides a GPU computes
VERDICTS = {True: "pass", False: "FAIL", None: "quick"}
PACKAGES = ("fragility", "torch", "torchvision", "captum", "scipy", "numpy")


def load_topics(topics=TOPICS):
    """Import the modules that fill the table."""
    try:
        for topic in topics:
            import_module(f".{topic}", __package__)
    except ModuleNotFoundError as error:
        raise click.ClickException(f"The benchmarks need {error.name}, which is not installed: they compare "
                                   "with captum and scipy.") from error


def choose(names):
    """The benchmarks asked for, in the table's order; all of them where none is."""
    unknown = [name for name in names if name not in BENCHMARKS]
    if unknown:
        raise click.UsageError(f"No benchmark is called {', '.join(map(repr, unknown))}; there are: "
                               f"{', '.join(BENCHMARKS)}.")
    return {name: entry for name, entry in BENCHMARKS.items() if not names or name in names}


def installed(package):
    try:
        return version(package)
    except PackageNotFoundError:
        return None         # run from a checkout that was never installed


def surroundings(setup):
    """Where the numbers come from: a ratio is read with its machine."""
    return {"date": datetime.now(UTC).isoformat(timespec="seconds"),
            "versions": {"python": platform.python_version()} | {name: installed(name) for name in PACKAGES},
            "threads": torch.get_num_threads(), "machine": platform.machine(),
            "device": torch.cuda.get_device_name() if setup.device == "cuda" else "CPU",
            "capability": torch.backends.cpu.get_cpu_capability(), "quick": setup.quick,
            "weights": Path(setup.weights).name if setup.weights else "seeded random",
            "images": Path(setup.images).name if setup.images else "synthetic"}


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("names", nargs=-1, metavar="[NAME]...")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead of the table.")
@click.option("--quick", is_flag=True, help="Least work that runs every benchmark; its ratios mean nothing.")
@click.option("--threads", default=2, show_default=True, type=click.IntRange(1), help="Threads of PyTorch.")
@click.option("--device", default="cpu", show_default=True, type=click.Choice(["cpu", "cuda"]),
              help="Where both sides run; on a GPU only what it computes is timed.")
@click.option("--weights", type=click.Path(exists=True, dir_okay=False, resolve_path=True),
              help="SqueezeNet 1.0, .safetensors with torchvision's keys; without it, seeded random weights.")
@click.option("--images", type=click.Path(exists=True, file_okay=False, resolve_path=True),
              help="A folder of .jpg or .png pictures in place of the synthetic ones.")
def main(names, as_json, quick, threads, device, weights, images):
    """Time the package against its peers, side by side, and print a table of ratios.

    A ratio is peer / ours: above 1 this package is faster. The exit status tells whether all of them ran,
    not whether they reached their bars: a busy machine must not turn a build red.
    """
    load_topics(ON_GPU if device == "cuda" else TOPICS)
    chosen = choose(names)
    torch.set_num_threads(threads)
    torch.backends.cudnn.allow_tf32 = False     # both sides in single precision: rounding tells their maps apart
    setup = Setup(quick, weights, images, device)
    width = max(map(len, chosen))
    if not as_json:
        click.echo(f"{'name':{width}}  {'ratio':>6}  {'bar':>7}  {'spread':>6}  result")
    rows = []
    for name, entry in chosen.items():
        try:
            with warnings.catch_warnings():
                warnings.filterwarnings("ignore", module="captum")      # on hooks and leaf tensors
                outcome = entry.function(setup)
        except (ValueError, RuntimeError) as error:
            raise click.ClickException(f"{name}: {error}") from error
        passed = None if quick else entry.passes(outcome.ratio)
        rows.append({"name": name, "ratio": outcome.ratio, "bar": entry.bar, "at_most": entry.at_most,
                     "spread": outcome.spread, "passed": passed, "note": outcome.note,
                     "description": entry.description})
        if not as_json:
            click.echo(f"{name:{width}}  {outcome.ratio:6.2f}  {entry.wanted:>7}  {outcome.spread:6.2f}  "
                       f"{VERDICTS[passed]:6}  {outcome.note}")
    if as_json:
        click.echo(json.dumps(surroundings(setup) | {"benchmarks": rows}, indent=2))


if __name__ == "__main__":
    main(prog_name="python -m benchmarks")
