"""`python -m lab …`: run the book, plan and sweep experiments, publish and verify, ask for verdicts."""

import functools
import json
import os
import sys
import time
import traceback

import click

from fragility import __version__
from lab import book, catalogue, verdicts
from lab.core import folders, profiles, results, running
from lab.core.experiment import Experiment
from lab.core.store import Store
from lab.core.surroundings import surroundings
from lab.material import networks

PROFILE = click.option("--profile", type=click.Choice(profiles.PROFILES), default="quick", show_default=True)


def errors_as_sentences(command):
    """Show a ValueError of this repository as a sentence; one of another library keeps its traceback."""
    @functools.wraps(command)
    def run(*args, **kwargs):
        try:
            folders.require_checkout()
            return command(*args, **kwargs)
        except ValueError as error:
            *_, (frame, _) = traceback.walk_tb(error.__traceback__)
            if frame.f_globals["__name__"].partition(".")[0] not in ("fragility", "lab"):
                raise       # its text was not written for users, and without the traceback nobody could find the cause
            raise click.ClickException(str(error)) from error
    return run


@click.group()
@click.version_option(__version__)
def main():
    """Saliency maps under test."""


@main.command("book")
@PROFILE
@click.option("--only", metavar="NAME", help="Run this notebook alone.")
@errors_as_sentences
def build_book(profile, only):
    """Run the notebooks, stage them, build the book."""
    start = time.perf_counter()
    page = book.make(profile, only)
    click.echo(f"\nThe book is built ({time.perf_counter() - start:.0f} s): {page}\n"
               f"Open it with your browser, for example: {_opener()} {page}")


def _opener() -> str:
    return {"darwin": "open", "win32": "start"}.get(sys.platform, "xdg-open")


@main.command()
@click.argument("name", metavar="EXPERIMENT")
@PROFILE
@click.option("--json", "as_json", is_flag=True, help="Print JSON: digest, cells, hours, gigabytes of each.")
@errors_as_sentences
def plan(name, profile, as_json):
    """Cells, trainings, hours and gigabytes of an EXPERIMENT and of those it reads, from a short measurement here.

    A record that is published counts as done.
    """
    grids = catalogue.with_sources(name, profile)
    if as_json:
        click.echo(json.dumps([{"experiment": experiment.name, "profile": profile, "grid": experiment.digest(cells),
                                **_estimate(experiment, cells)._asdict()} for experiment, cells in grids], indent=1))
        return
    hours = gigabytes = 0.0
    for experiment, cells in grids:
        estimate = _estimate(experiment, cells)
        trained = f" ({estimate.trainings} of these train a network)" if estimate.trainings else ""
        done = f", {estimate.published} published" if estimate.published else ""
        click.echo(f"{experiment.name} at the {profile} scale: {estimate.cells} cells{done}, {estimate.missing} of "
                   f"them missing{trained}; about {estimate.hours:.2g} hours and {estimate.gigabytes:.2g} GB here.")
        hours, gigabytes = hours + estimate.hours, gigabytes + estimate.gigabytes
    if len(grids) > 1:
        click.echo(f"In all about {hours:.2g} hours and {gigabytes:.2g} GB, if one process does it.")


def _estimate(experiment: Experiment, cells: list[dict]) -> running.Plan:
    return running.plan(experiment, cells, Store(), results.published_keys(experiment))


@main.command()
@click.argument("name", metavar="EXPERIMENT")
@PROFILE
@click.option("--cells", metavar="FIRST:LAST", help="Only these cells, counted from 0, the last one excluded.")
@click.option("--grid", "digest", metavar="DIGEST", help="Refuse any other grid than this, named by plan --json.")
@click.option("--keep-going", is_flag=True, help="Where a cell fails, compute the others; exit with 1.")
@errors_as_sentences
def sweep(name, profile, cells, digest, keep_going):
    """Compute the records of an EXPERIMENT that are neither published nor in the store."""
    experiment, store = catalogue.experiment(name), Store()
    grid = experiment.cells(experiment.at(profile))
    if digest and digest != experiment.digest(grid):
        raise ValueError(f"The grid of {name} at the {profile} scale is {experiment.digest(grid)} now and no longer "
                         f"{digest}: its cells or its version have changed. Plan it again.")
    chosen, published = grid[_cells(cells, len(grid))], results.published_keys(experiment)
    wanted = [cell for cell in chosen if not published or experiment.key(cell, store) not in published]
    running.run_cells(experiment, wanted, store, keep_going=keep_going)
    more = f"{len(chosen) - len(wanted)} more are published, and " if len(wanted) < len(chosen) else ""
    click.echo(f"{more}{len(wanted)} of {len(grid)} cells of {name} are in the store {folders.store()}.")


def _cells(text: str | None, count: int) -> slice:
    if text is None:
        return slice(None)
    first, colon, last = text.partition(":")
    if not colon or not (first + last).isdigit() or not int(first or 0) < int(last or count) <= count:
        raise ValueError(f"--cells must be FIRST:LAST with 0 <= FIRST < LAST <= {count}, but it is {text!r}.")
    return slice(int(first or 0), int(last or count))


@main.command()
@click.argument("name", metavar="EXPERIMENT")
@click.option("--profile", type=click.Choice(profiles.PROFILES), default="edition", show_default=True)
@click.option("--drop", is_flag=True, help="Let go of published records that are of no cell of the grid any more.")
@errors_as_sentences
def publish(name, profile, drop):
    """Consolidate the finished records of an EXPERIMENT into results/, also while a sweep goes on."""
    found, missing = results.publish(catalogue.experiment(name), profile, Store(), drop=drop)
    if not found:
        raise ValueError(f"The store has no record of {name} at the {profile} scale; run sweep first.")
    click.echo(f"{found} records of {name} are in results/; {missing} are missing.")


@main.command()
@click.option("--sample", type=click.IntRange(1), default=5, show_default=True)
@click.option("--minutes", type=click.FloatRange(0, min_open=True), default=10.0, show_default=True,
              help="Draw only records that took no longer, all together.")
@click.option("--tolerance", type=click.FloatRange(0), default=0.25, show_default=True,
              help="Largest change of a column's mean, in its standard deviations over images.")
@errors_as_sentences
def verify(sample, minutes, tolerance):
    """Recompute random published records and compare; each line appears as its record is done."""
    pool = [(experiment, record) for experiment in catalogue.EXPERIMENTS.values()
            for record in results.published(experiment)]
    if not pool:
        raise ValueError("Nothing is published yet: results/ holds no records.")
    drawn, reachable = results.draw(pool, sample, 60 * minutes)
    click.echo(f"{reachable:.0%} of the {len(pool)} published records took at most {minutes:g} minutes where they were "
               f"made; {len(drawn)} of them are computed again.")
    failed = 0
    for experiment, record in drawn:
        worst = max(results.deviation(experiment, record, Store()).values())
        failed += worst > tolerance
        click.echo(f"{'ok  ' if worst <= tolerance else 'FAIL'} {experiment.name} {record.parameters}: {worst:.3f}")
    if failed:
        raise click.ClickException(f"{failed} of the records could not be confirmed.")


@main.command("claims")
@PROFILE
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
@errors_as_sentences
def show_claims(profile, as_json):
    """Verdicts: id, paper, statement, reported, measured, interval, verdict, scale."""
    ledger = verdicts.ledger(profile)
    if as_json:
        click.echo(ledger.to_json(orient="records", indent=1, force_ascii=False))
        return
    for row in ledger.itertuples():
        click.echo(f"{row.id:14} {row.verdict:16} {row.statement.strip()}\n"
                   f"{'':31} reported {row.reported}; measured {row.measured or '-'} "
                   f"[{row.interval or row.reason}], scale {row.scale}")


@main.command()
def doctor():
    """Versions, device, and which data and weights are found where."""
    click.echo(json.dumps({"fragility": __version__, **surroundings(), "store": str(folders.store()),
                           "FRAGILITY_DATA": os.environ.get("FRAGILITY_DATA", "not set")}, indent=1))
    for folder in folders.data_roots():
        click.echo(f"{folder}: {', '.join(sorted(p.name for p in folder.iterdir())) if folder.is_dir() else 'missing'}")
    click.echo("Embedded, always there: mnist-5k. Networks trained on the spot: "
               f"{', '.join(networks.ARCHITECTURES)}.")
