"""`python -m fragility audit MODEL --data FOLDER`: the audit from the command line, with exit codes for CI."""

import argparse
import re
import shlex
import sys
from collections.abc import Callable
from pathlib import Path

import torch

from fragility import checks, data
from fragility.audit import compare, models
from fragility.audit.criteria import CRITERIA, criteria
from fragility.audit.methods import methods
from fragility.audit.report import Report
from fragility.audit.run import run
from fragility.audit.subject import subject
from fragility.audit.verdicts import FAIL, PASS, UNDECIDED

FAILED, BAD_INPUT, LEFT_OPEN, INTERRUPTED = 1, 2, 3, 130
IMAGES = 64
SECONDS = {"s": 1, "m": 60, "h": 3600}
BYTES = {"K": 2**10, "M": 2**20, "G": 2**30}


def add(commands) -> None:
    """Add the command to a parser's subcommands."""
    parser = commands.add_parser(
        "audit", help="can the saliency maps of a model be trusted?",
        description="Measures every saliency map of a model by questions that have a control each, and writes a "
                    "report. Names with a colon, such as file.py:name, run the code that they name.",
        epilog="Exit code: 0 where nothing named by --fail-on failed; 1 where something did, or dropped against the "
               "baseline; 2 for bad input, with one sentence; 3 where something named by --fail-on is undecided or "
               "not judged, and nothing failed.")
    parser.add_argument("model", metavar="MODEL", help=models.FORMS)
    parser.add_argument("--data", required=True, metavar="FOLDER_OR_NPZ",
                        help="pictures, a tree class/picture, or an .npz file with images")
    parser.add_argument("--size", type=_whole, metavar="PIXELS",
                        help="scale the pictures, and cut them to squares of this side")
    parser.add_argument("--weights", metavar="FILE", help=".safetensors in place of published weights")
    parser.add_argument("--mean", type=_numbers, metavar="M,…", help="of the normalisation before the model, a channel")
    parser.add_argument("--std", type=_numbers, metavar="S,…")
    parser.add_argument("--methods", default="auto", metavar="NAME,…",
                        help="auto, or names, also captum:Occlusion and file.py:function")
    parser.add_argument("--criteria", metavar="NAME,…", help=f"of: {', '.join(CRITERIA)} (default: all)")
    parser.add_argument("-n", type=_whole, metavar="IMAGES", help=f"number of images (default: {IMAGES})")
    parser.add_argument("--epsilon", type=_fraction, default=8 / 255, metavar="E",
                        help="radius of noise and attacks, such as 8/255 (the default)")
    parser.add_argument("--k", type=_share, default=0.02, metavar="SHARE", help="top of a map (default: 2%%)")
    parser.add_argument("--steps", type=_whole, default=30, help="of an attack (default: 30)")
    parser.add_argument("--attacked", type=_whole, default=32, metavar="IMAGES",
                        help="number of images that are attacked (default: 32)")
    parser.add_argument("--margin", action="append", default=[], metavar="CRITERION=VALUE", help="another threshold")
    parser.add_argument("--budget", type=_duration, default=600.0, metavar="TIME",
                        help="such as 90s, 10m (the default) or 2h; fewer images, then fewer steps keep to it")
    parser.add_argument("--max-memory", type=_bytes, metavar="BYTES", help="such as 4G; bounds the images in flight")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1 (default: auto)")
    parser.add_argument("--seed", type=_whole, default=0)
    parser.add_argument("--train", metavar="FOLDER_OR_NPZ",
                        help="labelled pictures to train on, for the criterion retraining")
    parser.add_argument("--baseline", metavar="FILE", help="report.json of an older audit to compare with")
    parser.add_argument("--fail-on", default="", metavar="CRITERION,METHOD:CRITERION,…",
                        help="what makes the exit code 1 (default: nothing)")
    parser.add_argument("--allow-undecided", action="store_true", help="exit with 0 where something is undecided")
    parser.add_argument("--out", default="audit", metavar="FOLDER", help="of the report (default: audit)")
    parser.add_argument("--quiet", action="store_true", help="no progress on standard error")
    parser.set_defaults(run=main)


def main(given: argparse.Namespace) -> int:
    """Run the audit; returns the exit code."""
    try:
        report, guarded = _audit(given)
    except (ValueError, TypeError, ImportError) as error:
        sentence = " ".join(str(error).split())         # one line, whatever a library says
        print(f"Error: {sentence}{'' if sentence.endswith(('.', '.)')) else '.'}", file=sys.stderr)
        return BAD_INPUT
    except KeyboardInterrupt:
        print("\nInterrupted. The same command goes on where it was.", file=sys.stderr)
        return INTERRUPTED
    print("\n".join([*report.notices, *report.answer, *unjudged(report, guarded)]))
    print(f"Report: {Path(given.out) / 'report.html'}")
    return exit_code(report, guarded, allow_undecided=given.allow_undecided)


def _audit(given: argparse.Namespace) -> tuple[Report, list[tuple[str | None, str]]]:
    _require_jinja()
    asked, questions = _methods(given.methods), _criteria(given.criteria, bool(given.train))
    guarded = _guarded(given.fail_on, [one.name for one in methods(asked)], questions)
    old = compare.read(given.baseline) if given.baseline else None
    if old is not None and old["subject"]["model"] != given.model:
        raise ValueError(f"The baseline is of another model: {old['subject']['model']} there, {given.model} here.")
    margins = dict(_margin(one) for one in given.margin)
    images = data.images(given.data, size=given.size)
    n = _fitting(given.n, len(images.images))
    training = data.images(given.train, size=given.size) if given.train else None
    model = models.load(given.model, weights=given.weights, device=_device(given.device))
    if old is not None:         # before anything long: two images tell what the model is
        two = subject(model, images.images[:2], mean=given.mean, std=given.std)
        compare.refuse_other(old, {"model": given.model, "classes": max(2, two.classes),
                                   "shape": list(two.images.shape[1:])})
    out = Path(given.out).expanduser()
    report = run(model, images, mean=given.mean, std=given.std, methods=asked, criteria=questions, n=n, margins=margins,
                 budget=given.budget, max_memory=given.max_memory, out=out, name=given.model,
                 progress=not given.quiet, epsilon=given.epsilon, k=given.k, steps=given.steps,
                 attacked=given.attacked, seed=given.seed, train=training)
    if images.left_out:
        report.notices.append(f"Left out, since they cannot be read: {', '.join(images.left_out[:10])}.")
    if old is not None:
        compare.with_baseline(report, old)
    report.settings["command"] = shlex.join(["python", "-m", "fragility", *sys.argv[1:]])
    report.to_json(out / "report.json")
    report.to_csv(out / "report.csv")
    report.to_junit(out / "report.xml")
    report.to_html(out / "report.html")
    return report, guarded


def exit_code(report: Report, guarded: list[tuple[str | None, str]], *, allow_undecided: bool = False) -> int:
    """0, 1 or 3, by the verdicts that are guarded: pairs of a method, or None for all of them, and a criterion."""
    def is_guarded(method: str, criterion: str) -> bool:
        if report.methods[method]["control"]:
            return (method, criterion) in guarded
        return (None, criterion) in guarded or (method, criterion) in guarded
    words = {one.verdict for one in report.verdicts if is_guarded(one.method, one.criterion)}
    if FAIL in words or any(one["change"] == "dropped" and is_guarded(one["method"], one["criterion"])
                            for one in report.compared):
        return FAILED
    still_open = UNDECIDED in words or unjudged(report, guarded)
    return LEFT_OPEN if still_open and not allow_undecided else 0


def unjudged(report: Report, guarded: list[tuple[str | None, str]]) -> list[str]:
    """Sentences on what is guarded and was not judged at all: a guard that cannot fail is none."""
    said = []
    for method, criterion in guarded:
        ours = [one for one in report.verdicts if one.criterion == criterion and (
            one.method == method if method else not report.methods[one.method]["control"])]
        if not any(one.verdict in (PASS, FAIL, UNDECIDED) for one in ours):
            refused = report.methods[method]["refused"] if method else None
            reason = refused or next((one.reason for one in ours), "No method was measured.")
            said.append(f"--fail-on {f'{method}:' if method else ''}{criterion} guards nothing: {reason}")
    return said


def _require_jinja() -> None:
    try:
        import jinja2  # noqa: F401  the page is written by it
    except ImportError as error:
        raise ValueError("The report is written by Jinja2, which is not installed; "
                         "pip install 'fragility[audit]' brings it.") from error


def _methods(text: str):
    if text == "auto":
        return None
    names = [one for one in text.split(",") if one]
    if not names:
        raise ValueError("--methods names none; leave it out for all of them.")
    for one in names:
        if names.count(one) > 1:
            raise ValueError(f"--methods names {one} twice.")
    code = {one: models.named(one) for one in names if ":" in one and not one.startswith("captum:")}
    for name, function in code.items():
        if not callable(function):
            raise ValueError(f"{name} is no function (model, x, target) -> maps.")
    return {one: code.get(one, one) for one in names}


def _criteria(text: str | None, trains: bool) -> list:
    return criteria(None if text is None else [one for one in text.split(",") if one], trains=trains)


def _guarded(text: str, known_methods: list[str], questions: list) -> list[tuple[str | None, str]]:
    """What --fail-on names, as pairs of a method or None, and a criterion."""
    pairs = []
    for one in (part for part in text.split(",") if part):
        method, _, criterion = one.rpartition(":")
        checks.choice("--fail-on: the criterion", criterion, [each.name for each in questions if each.margin])
        if method:
            checks.choice("--fail-on: the method", method, known_methods)
        pairs.append((method or None, criterion))
    return pairs


def _fitting(n: int | None, available: int) -> int:
    if available < 2:
        raise ValueError("An audit needs at least two images, since another image is a control; the data hold one.")
    if n is not None:
        checks.integer("-n", n, 2)
        if n > available:
            raise ValueError(f"-n {n} asks for more images than the data hold, {available}.")
    return min(n or IMAGES, available)


def _device(name: str) -> torch.device:
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.zeros(1, device=device).cpu()
    except (RuntimeError, AssertionError) as error:     # NotImplementedError of a device without memory is one, too
        raise ValueError(f"The device {name!r} is not available ({str(error).splitlines()[0]}).") from error
    return device


def _margin(text: str) -> tuple[str, float]:
    name, _, value = text.partition("=")
    try:
        return name, float(value)
    except ValueError:
        raise ValueError(f"--margin {text!r} must be CRITERION=NUMBER, such as noise=0.4.") from None


def _argument(convert: Callable, what: str) -> Callable:
    """A type for argparse whose error says what is allowed."""
    def checked(text: str):
        try:
            return convert(text)
        except (ValueError, KeyError, ZeroDivisionError, TypeError):
            raise argparse.ArgumentTypeError(f"{text!r} is not {what}") from None
    return checked


def _unit(text: str, units: dict, default: float) -> float:
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([A-Za-z]?)", text)
    if found is None:
        raise ValueError(text)
    return float(found[1]) * (units[found[2]] if found[2] else default)


_whole = _argument(int, "a whole number")
_numbers = _argument(lambda text: [float(part) for part in text.split(",")], "numbers with commas, such as 0.5,0.5,0.5")
_fraction = _argument(lambda text: float(text.partition("/")[0]) / float(text.partition("/")[2] or 1),
                      "a number such as 8/255 or 0.03")
_share = _argument(lambda text: float(text[:-1]) / 100 if text.endswith("%") else float(text),
                   "a share such as 2% or 0.02")
_duration = _argument(lambda text: _unit(text, SECONDS, 1), "a time such as 90s, 10m or 2h")
_bytes = _argument(lambda text: _unit(text.removesuffix("B"), BYTES, 1), "a number of bytes such as 512M or 4G")
