"""`python -m lab …`: run the book, plan and sweep experiments, publish and verify, ask for verdicts and numbers."""

import functools
import json
import os
import sys
import time
import traceback
from pathlib import Path

import click

from fragility import __version__
from lab import catalogue, changelog, cluster, verdicts, why
from lab.core import costs, device, folders, profiles, results, running, runs
from lab.core import grid as grids
from lab.core.experiment import Experiment
from lab.core.store import Store
from lab.core.surroundings import surroundings
from lab.gpu.journal import OUTCOMES
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
    from lab import book  # what reads notebooks is slow to import

    page = book.make(profile, only)
    click.echo(f"\nThe book is built ({time.perf_counter() - start:.0f} s): {page}\n"
               f"Open it with your browser, for example: {_opener()} {page}")


@main.command("pdf")
@errors_as_sentences
def print_book():
    """Print the built book into one PDF, with Chromium."""
    from lab import pdf  # what reads pages is slow to import

    click.echo(f"The book is printed: {pdf.make()}")


def _opener() -> str:
    return {"darwin": "open", "win32": "start"}.get(sys.platform, "xdg-open")


@main.command()
@click.argument("name", metavar="EXPERIMENT")
@PROFILE
@click.option("--json", "as_json", is_flag=True, help="Print JSON: digest, cells, hours, memory, … of each.")
@click.option("--device", "where", type=click.Choice(device.DEVICES), help="Measure there; else on a GPU, if any.")
@errors_as_sentences
def plan(name, profile, as_json, where):
    """Cells, trainings, hours and gigabytes of an EXPERIMENT and of those it reads, from a short measurement here.

    A record that is published counts as done. On a GPU the measured pieces grow until they fill it.
    """
    if where:
        device.choose(where)
    wanted = catalogue.with_sources([name], profile)
    if as_json:
        click.echo(json.dumps([{"experiment": experiment.name, "profile": profile, "grid": experiment.digest(cells),
                                **_estimate(experiment, cells)._asdict()} for experiment, cells in wanted], indent=1))
        return
    hours = gigabytes = 0.0
    for experiment, cells in wanted:
        estimate = _estimate(experiment, cells)
        trained = f" ({estimate.trainings} of these train a network)" if estimate.trainings else ""
        done = f", {estimate.published} published" if estimate.published else ""
        click.echo(f"{experiment.name} at the {profile} scale: {estimate.cells} cells{done}, {estimate.missing} of "
                   f"them missing{trained}; about {estimate.hours:.2g} hours and {estimate.gigabytes:.2g} GB here.")
        hours, gigabytes = hours + estimate.hours, gigabytes + estimate.gigabytes
    if len(wanted) > 1:
        click.echo(f"In all about {hours:.2g} hours and {gigabytes:.2g} GB, if one process does it.")


def _estimate(experiment: Experiment, cells: list[dict]) -> costs.Plan:
    return costs.plan(experiment, cells, Store(), results.published_keys(experiment))


@main.command()
@click.argument("name", metavar="EXPERIMENT")
@PROFILE
@click.option("--cells", metavar="FIRST:LAST", help="Only these cells, counted from 0, the last one excluded.")
@click.option("--grid", "digest", metavar="DIGEST", help="Refuse any other grid than this, named by plan --json.")
@click.option("--for", "readers", metavar="NAME", multiple=True, help="The cells that this experiment reads of it.")
@click.option("--keep-going", is_flag=True, help="Where a cell fails, compute the others; exit with 1.")
@click.option("--mark", type=click.Path(path_type=Path), help="Write this file when all of these cells are there.")
@errors_as_sentences
def sweep(name, profile, cells, digest, readers, keep_going, mark):
    """Compute the records of an EXPERIMENT that are neither published nor in the store."""
    experiment, store, start = catalogue.experiment(name), Store(), time.time()
    grid = _grid(experiment, profile, readers)
    if digest and digest != experiment.digest(grid):
        raise ValueError(f"The grid of {name} at the {profile} scale is {experiment.digest(grid)} now and no longer "
                         f"{digest}: its cells or its version have changed. Plan it again.")
    chosen, published = grid[_cells(cells, len(grid))], results.published_keys(experiment)
    wanted = [cell for cell in chosen if not published or experiment.key(cell, store) not in published]
    running.run_cells(experiment, wanted, store, keep_going=keep_going)
    if mark:
        runs.mark(mark, start)
    more = f"{len(chosen) - len(wanted)} more are published, and " if len(wanted) < len(chosen) else ""
    click.echo(f"{more}{len(wanted)} of {len(grid)} cells of {name} are in the store {folders.store()}.")


def _grid(experiment: Experiment, profile: str, readers: tuple[str, ...]) -> list[dict]:
    """The experiment's own cells, or those that the cells of `readers` need."""
    if not readers:
        return experiment.cells(experiment.at(profile))
    needed = {each.name: cells for each, cells in catalogue.with_sources(readers, profile)}
    if experiment.name not in needed:
        raise ValueError(f"{' and '.join(readers)} at the {profile} scale read nothing of {experiment.name}, only of "
                         f"{', '.join(needed)}.")
    return needed[experiment.name]


def _cells(text: str | None, count: int) -> slice:
    if text is None:
        return slice(None)
    first, colon, last = text.partition(":")
    if not colon or not (first + last).isdigit() or not int(first or 0) < int(last or count) <= count:
        raise ValueError(f"--cells must be FIRST:LAST with 0 <= FIRST < LAST <= {count}, but it is {text!r}.")
    return slice(int(first or 0), int(last or count))


MINUTES = click.option("--minutes-per-job", "minutes", type=click.FloatRange(0, min_open=True), default=30.0,
                       show_default=True, help="Cut the grid into jobs of about so many minutes.")


@main.command("grid")
@click.argument("names", metavar="NAME...", nargs=-1, required=True)
@PROFILE
@MINUTES
@errors_as_sentences
def show_grid(names, profile, minutes):
    """Cut what is missing of experiments, and of those they read, into jobs: JSON for workflow/Snakefile."""
    click.echo(json.dumps(_cut(names, profile, minutes), indent=1))


def _cut(names, profile: str, minutes: float) -> dict:
    return grids.make(list(names), profile, catalogue.with_sources(names, profile), Store(), minutes)


@main.command("cluster")
@click.argument("names", metavar="[NAME...]", nargs=-1)
@PROFILE
@MINUTES
@click.option("--grid", "file", type=click.File(), help="What `grid` printed on a machine like those of the jobs.")
@click.option("--on", required=True, metavar="|".join(cluster.PLACES), help="Where; or a folder with a config.yaml.")
@click.option("--jobs", type=click.IntRange(1), help="At most so many jobs at once, instead of the profile's number.")
@click.option("--dry-run", is_flag=True, help="Show the jobs and start none.")
@click.option("--yes", is_flag=True, help="Cancel jobs that a killed run left without asking.")
@errors_as_sentences
def run_cluster(names, profile, minutes, file, on, jobs, dry_run, yes):
    """Compute what is missing of experiments, and of those they read, by many jobs at once.

    The store says what is done: after any failure, the same command goes on.
    """
    if bool(names) == bool(file):
        raise ValueError("cluster takes names of experiments, or --grid FILE instead of them.")
    place = cluster.place(on)
    if not dry_run:
        for left in cluster.leftovers():
            if yes or click.confirm(f"{left} Cancel them?"):
                left.cancel()
    cut = cluster.read(file) if file else _cut(names, profile, minutes)
    if not cut["chunks"]:
        click.echo("Nothing is missing.")
    elif dry_run:
        cluster.show(cut, place, jobs)
    else:
        lines, missing = cluster.summary(cut, cluster.run(cut, place, jobs))
        click.echo("\n".join(lines))
        sys.exit(bool(missing))


@main.group("gpu", invoke_without_command=True)
@click.option("--minutes", type=click.FloatRange(0, min_open=True), default=60.0, show_default=True,
              help="Begin nothing that takes longer than what is left of these, and stop when they are over.")
@click.option("--device", "where", type=click.Choice(device.DEVICES), default="cuda", show_default=True,
              help="cpu rehearses it.")
@click.pass_context
@errors_as_sentences
def gpu(context, minutes, where):
    """Use a machine with a GPU: tests, notebooks, benchmarks, then cells of the paper profiles by worth a minute.

    Every record is published as it comes. After any end, the same command goes on.
    """
    if context.invoked_subcommand:
        return
    from lab.gpu.session import Session  # what reads notebooks is slow to import

    ended = Session(minutes, where, say=lambda line: click.echo(line, nl=True)).run()
    counts = {outcome: sum(line.outcome == outcome for line in ended) for outcome in OUTCOMES}
    click.echo(f"In all {', '.join(f'{count} {outcome}' for outcome, count in counts.items())}; the log is "
               f"{folders.store() / '.gpu' / 'journal.jsonl'}.")
    sys.exit(bool(counts["failed"]))


@gpu.command("waiting")
@click.option("--minutes", type=click.FloatRange(0, min_open=True), default=60.0, show_default=True,
              help="Begin to measure nothing more when these are over.")
@errors_as_sentences
def gpu_waiting(minutes):
    """Measure what waits for a GPU and write it to results/, for the book to show."""
    from lab.gpu import worth

    found = worth.queue(Store(), minutes=minutes, say=lambda line: click.echo(line, err=True))
    click.echo(f"What waits for a GPU, measured here, is in {worth.publish(found)}.")


@gpu.command("pack")
@click.argument("names", metavar="NAME...", nargs=-1, required=True)
@PROFILE
@click.option("--max-mb", type=click.FloatRange(0, min_open=True), default=100.0, show_default=True,
              help="Refuse an archive that is larger.")
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path), required=True, help="The archive, a .zip file.")
@errors_as_sentences
def gpu_pack(names, profile, max_mb, out):
    """Pack missing cells of experiments, and of those they read, for a machine without internet.

    One archive brings the code, the weights and the images that these cells use, and no others.
    """
    from lab.gpu import pack

    packed = pack.pack(names, profile, Store(), out, max_mb)
    click.echo(f"{packed.cells} cells are in {out} ({packed.megabytes:.1f} MB). There:\n"
               f"  python -m zipfile -e {out.name} . && python {pack.FOLDER}/run.py\n"
               f"It says what it needs and writes {pack.RECORDS}. Here again:\n"
               f"  python -m zipfile -e {pack.RECORDS} {folders.store()}\n"
               + "\n".join(f"  python -m lab publish {name} --profile {profile}" for name in names))


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
@click.option("--publish", "publishes", is_flag=True,
              help="Write the edition's verdicts to results/verdicts.json, and changed tests to CHANGELOG.md.")
@errors_as_sentences
def show_claims(profile, as_json, publishes):
    """Verdicts: id, paper, statement, reported, measured, interval, verdict, scale; of the papers, then of controls."""
    if publishes:
        changed = [f"  {name}: {now}, {f'{before} before' if before else 'new'}"
                   for name, (before, now) in verdicts.publish().items()]
        click.echo("\n".join(["The verdicts are in results/verdicts.json. "
                              f"{f'These {len(changed)} changed:' if changed else 'None changed.'}", *changed]))
        changelog.renew()
        return
    ledger = verdicts.ledger(profile)
    if as_json:
        click.echo(ledger.to_json(orient="records", indent=1, force_ascii=False))
        return
    for row in ledger.sort_values("control", kind="stable").itertuples():
        beside = f" ({row.tells})" if row.tells else ""
        click.echo(f"{row.id:16} {row.verdict + beside:16} {row.statement.strip()}\n"
                   f"{'':33} reported {row.reported}; measured {row.measured or '-'} "
                   f"[{row.interval or row.reason}], scale {row.scale}")
    ours = ledger.paper == verdicts.OURS
    for name, rows in (("claims of the papers", ledger[~ledger.control & ~ours]),
                       ("predictions of this book", ledger[ours]), ("controls", ledger[ledger.control])):
        counts = ", ".join(f"{count} {verdict}" for verdict, count in rows.verdict.value_counts().items())
        click.echo(f"{len(rows)} {name}: {counts}.")


@main.command("why")
@click.argument("name")
@PROFILE
@click.option("--all", "everything", is_flag=True, help="NAME is a chapter: list all its numbers.")
@errors_as_sentences
def show_why(name, profile, everything):
    """Where a number of the text comes from: NAME is chapter.number, as roar.left.gb. Numbers of a live run are looked
    up in the store, at the profile of that run."""
    click.echo("\n".join(why.listing(name, profile, Store())) if everything else why.explain(name, profile, Store()))


@main.command()
def doctor():
    """Versions, device, and which data and weights are found where."""
    click.echo(json.dumps({"fragility": __version__, **surroundings(), "store": str(folders.store()),
                           "FRAGILITY_DATA": os.environ.get("FRAGILITY_DATA", "not set")}, indent=1))
    for folder in folders.data_roots():
        click.echo(f"{folder}: {', '.join(sorted(p.name for p in folder.iterdir())) if folder.is_dir() else 'missing'}")
    click.echo("Embedded, always there: mnist-5k. Networks trained on the spot: "
               f"{', '.join(networks.ARCHITECTURES)}.")
