"""Where a number of the book's text comes from: `python -m lab why NAME`."""

from collections.abc import Iterator

from fragility import checks
from lab import catalogue
from lab.core import numbers, results
from lab.core.pages import Page
from lab.core.store import Record, Store


def explain(name: str, profile: str, store: Store) -> str:
    """All that is known of a number, "roar.left.gb": value, interval, n, selection, records, function.

    ValueError where there is no such chapter or number.
    """
    notebook, _, own = name.partition(".")
    chapter = catalogue.chapter(notebook)
    entry = chapter.numbers[checks.choice(f"Number of {notebook}", own, chapter.numbers)]
    about = chapter.describe(own, Page.at(notebook, profile, store))
    lines = [f"{name} = {about['text']} {entry.unit}".rstrip(), about["about"]]
    for title, value in (("value", about["value"]), ("95 % interval", about["interval"]), ("n", about["n"]),
                         ("source", about["source"])):
        lines += [f"{title}: {value}"] if value not in ("", None) else []
    if about["selection"]:
        lines.append("selection: " + ", ".join(f"{key}={value}" for key, value in about["selection"].items()))
    lines.append(f"function: {entry.function.__name__} in {numbers.place(entry.function)}")
    lines += [f"records: {len(about['records'])}"] if about["records"] else []
    return "\n".join([*lines, *_records(about["records"], store)])


def _records(keys: list[str], store: Store) -> Iterator[str]:
    known = _by_key(store) if keys else {}
    for key in keys:
        experiment, record = known[key]
        about = record.about
        yield (f"  {key} {experiment}, {about['seconds']:.0f} s on {about['device']}, commit {about['commit']}, "
               f"torch {about['versions']['torch']}")


def _by_key(store: Store) -> dict[str, tuple[str, Record]]:
    """Every record there is, of the store and of `results/`, with its experiment's name."""
    return {record.key: (name, record) for name, one in catalogue.EXPERIMENTS.items()
            for record in [*store.records(name), *results.published(one)]}


def listing(notebook: str, profile: str, store: Store) -> Iterator[str]:
    """One line a number of a chapter: name, text, unit, interval, n, and what it is."""
    chapter, page = catalogue.chapter(notebook), Page.at(notebook, profile, store)
    for name, entry in chapter.numbers.items():
        about = chapter.describe(name, page)
        spread = f" [{about['interval']}]" if about["interval"] else ""
        count = f", n = {about['n']}" if about["n"] else ""
        yield f"{notebook}.{name} = {about['text']} {entry.unit}".rstrip() + f"{spread}{count}: {about['about']}"
