"""axe-core, the accessibility checker, from npm: kept in the user's cache and in no repository."""

import functools
import os
import shutil
import subprocess
from pathlib import Path

VERSION = "4.10.2"
FOLDER = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "fragility" / f"axe-core-{VERSION}"
SCRIPT = FOLDER / "node_modules" / "axe-core" / "axe.min.js"


@functools.cache
def missing() -> str | None:
    """Why there is no axe-core here, or None once it is there: npm is asked where the cache has none."""
    if SCRIPT.is_file():
        return None
    if not shutil.which("npm"):
        return "no npm to fetch axe-core with"
    command = ["npm", "install", "--prefix", str(FOLDER), "--no-save", "--ignore-scripts", f"axe-core@{VERSION}"]
    try:
        subprocess.run(command, check=True, capture_output=True, text=True, timeout=120)
    except (subprocess.CalledProcessError, subprocess.TimeoutExpired, OSError) as error:
        return f"npm did not bring axe-core: {getattr(error, 'stderr', '') or error}"
    return None if SCRIPT.is_file() else "npm did not bring axe-core"


def faults(tab) -> list[str]:
    """The serious and critical faults of an open page: the rule, and the elements that break it."""
    tab.add_script_tag(path=SCRIPT)
    options = "{resultTypes: ['violations'], preload: false}"      # it would ask again for every style sheet
    found = tab.evaluate(f"async () => (await axe.run(document, {options})).violations")
    return [f"{one['id']} ({one['impact']}): " + "; ".join(" ".join(node["target"]) for node in one["nodes"][:4])
            for one in found if one["impact"] in ("serious", "critical")]
