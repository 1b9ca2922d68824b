"""Parameters of a notebook at a profile; those of the quick profile are the notebook's own defaults."""

import ast
import json
from functools import lru_cache
from pathlib import Path

import yaml

from fragility import checks
from lab.core import folders

PROFILES = ("quick", "edition", "paper")


def parameters(notebook: str, profile: str) -> dict:
    """All parameters of `notebooks/<notebook>.ipynb` at a profile, with the overrides of its file.

    ValueError for an unknown profile or notebook, a profile the notebook has no file for, or a name in
    that file which the notebook does not have.
    """
    checks.choice("Profile", profile, PROFILES)
    values = defaults(notebook)
    changes = overrides(notebook, profile)
    unknown = set(changes) - set(values)
    if unknown:
        raise ValueError(f"params/{notebook}.{profile}.yaml sets {', '.join(sorted(unknown))}, which the "
                         f"parameters cell of the notebook does not have.")
    return {**values, **changes}


def chosen(notebook: str, variables: dict) -> dict:
    """The parameters that a running notebook was started with; `variables` are its `globals()`."""
    return {name: variables[name] for name in defaults(notebook)}


def of(notebook: str, values: dict) -> str:
    """The profile whose parameters these are; "own" where they are of none."""
    there = (name for name in PROFILES if name == "quick" or _file(notebook, name).is_file())
    return next((name for name in there if parameters(notebook, name) == values), "own")


def overrides(notebook: str, profile: str) -> dict:
    """The notebook's parameters that a profile changes, with their values; none at the quick profile."""
    if profile == "quick":
        return {}
    file = _file(notebook, profile)
    if not file.is_file():
        raise ValueError(f"The notebook {notebook} has no {profile} profile: {file.name} does not exist.")
    return read_yaml(file) or {}


def _file(notebook: str, profile: str) -> Path:
    return folders.PARAMETERS / f"{notebook}.{profile}.yaml"


def read_yaml(file: Path):
    """The content of a YAML file, by PyYAML's C parser where it is installed: ten times as fast."""
    return yaml.load(file.read_text(), getattr(yaml, "CSafeLoader", yaml.SafeLoader))


def defaults(notebook: str) -> dict:
    """The values in the notebook's one cell tagged `parameters`."""
    file = _notebook(notebook)
    return ast.literal_eval(_parameters_cell(file, file.stat().st_mtime_ns))


@lru_cache(maxsize=64)      # every experiment of a chapter reads it
def _parameters_cell(file: Path, modified: int) -> str:
    """The parameters cell as the text of a dictionary."""
    tagged = [cell for cell in cells(file.stem) if "parameters" in cell["metadata"].get("tags", [])]
    if len(tagged) != 1:
        raise ValueError(f"The notebook {file.stem} must have one cell tagged 'parameters', not {len(tagged)}.")
    lines = ast.parse("".join(tagged[0]["source"])).body
    return "{" + ", ".join(f"{line.targets[0].id!r}: {ast.unparse(line.value)}" for line in lines
                           if isinstance(line, ast.Assign)) + "}"


def cells(notebook: str) -> list[dict]:
    """The cells of `notebooks/<notebook>.ipynb`, as the file has them."""
    return json.loads(_notebook(notebook).read_text())["cells"]


def _notebook(name: str) -> Path:
    file = folders.NOTEBOOKS / f"{name}.ipynb"
    if not file.is_file():
        raise ValueError(f"There is no notebook {name}.")
    return file
