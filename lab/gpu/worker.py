"""A process of its own for what a card computes.

`plan PROFILE MINUTES` says what is missing, `cells FILE` computes a chunk of cells.

What crashes, or runs out of a card's memory, ends this process alone.
"""

import json
import sys
from pathlib import Path

from lab import catalogue
from lab.core.store import Store
from lab.gpu import batches, worth


def plan(profile: str, minutes: float) -> str:
    """The queue, as far as it is measured within so many minutes, as one line of JSON."""
    found = worth.queue(Store(), profile, minutes=minutes)
    return json.dumps([{**one._asdict(), "entry": one.entry._asdict(),
                        "chunks": [part._asdict() for part in one.chunks]} for one in found])


def planned(text: str) -> list[worth.Estimate]:
    """The queue of that line."""
    return [worth.Estimate(**{**one, "entry": worth.Entry(**one["entry"]),
                              "chunks": [worth.Cells(**part) for part in one["chunks"]]}) for one in json.loads(text)]


def main() -> None:
    what, *given = sys.argv[1:]
    if what == "plan":
        print(plan(given[0], float(given[1])), flush=True)
    else:
        chunk = json.loads(Path(given[0]).read_text())
        batches.run(catalogue.experiment(chunk["experiment"]), chunk["cells"], Store())


if __name__ == "__main__":
    main()
