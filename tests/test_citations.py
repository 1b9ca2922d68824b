"""What docstrings cite is in the bibliography."""

import ast
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
KEYS = set(re.findall(r"^@\w+\{([^,\s]+),", (ROOT / "book" / "references.bib").read_text(), re.MULTILINE))
FILES = [file for room in ("fragility", "lab") for file in (ROOT / room).rglob("*.py")]


def cited(source: str) -> set[str]:
    """The keys in the docstrings of a module, such as smilkov2017 in [smilkov2017, section 3]."""
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef)
    texts = (ast.get_docstring(node) for node in ast.walk(ast.parse(source)) if isinstance(node, documented))
    brackets = (inside for text in texts if text for inside in re.findall(r"\[([^]]*)\]", text))
    return {key for inside in brackets for key in re.findall(r"\b[a-z]+\d{4}\b", inside)}


def test_keys_are_found_in_docstrings_alone():
    source = '"""As [smilkov2017, section 3; kamath2024]."""\ndef f():\n    """[bach2015]."""\nx = "[nobody1999]"\n'
    assert cited(source) == {"smilkov2017", "kamath2024", "bach2015"}


def test_every_key_is_in_the_bibliography():
    unknown = {(str(file.relative_to(ROOT)), key) for file in FILES for key in cited(file.read_text()) - KEYS}
    assert not unknown, "Add an entry to book/references.bib, or cite by a key that it has."
