"""Parameters of a notebook at a scale: quick ones are the notebook's own defaults."""

import ast

import nbformat
import yaml

from fragility import checks
from lab.core import folders

PROFILES = ("quick", "edition", "paper")


def parameters(notebook: str, profile: str) -> dict:
    """All parameters of `notebooks/<notebook>.ipynb` at a profile, its file of overrides applied.

    ValueError for an unknown profile or notebook, a profile the notebook has no file for, or a name in
    that file which the notebook does not know.
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
    """The parameters a running notebook was started with: give it the notebook's `globals()`."""
    return {name: variables[name] for name in defaults(notebook)}


def overrides(notebook: str, profile: str) -> dict:
    """What a profile changes of the notebook's defaults: nothing at the quick profile."""
    if profile == "quick":
        return {}
    file = folders.PARAMETERS / f"{notebook}.{profile}.yaml"
    if not file.is_file():
        raise ValueError(f"The notebook {notebook} has no {profile} profile: {file.name} does not exist.")
    return yaml.safe_load(file.read_text()) or {}


def defaults(notebook: str) -> dict:
    """The values of the notebook's one cell tagged `parameters`."""
    file = folders.NOTEBOOKS / f"{notebook}.ipynb"
    if not file.is_file():
        raise ValueError(f"There is no notebook {notebook}.")
    cells = [cell for cell in nbformat.read(file, as_version=4).cells
             if "parameters" in cell.metadata.get("tags", [])]
    if len(cells) != 1:
        raise ValueError(f"The notebook {notebook} must have one cell tagged 'parameters', not {len(cells)}.")
    return {line.targets[0].id: ast.literal_eval(line.value)
            for line in ast.parse(cells[0].source).body if isinstance(line, ast.Assign)}
