"""Nothing is unpickled, here or through a library's loader: what SECURITY.md promises."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
FILES = sorted(file for room in ("fragility", "lab", "benchmarks") for file in (ROOT / room).rglob("*.py"))
BANNED = {"pickle", "dill", "cloudpickle", "joblib", "shelve", "marshal"}
SAFE = {"torch.load": ("weights_only", True), "np.load": ("allow_pickle", False)}


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(ROOT)))
def test_loaders_are_the_safe_ones(file):
    assert not unsafe(file.read_text())


def unsafe(source: str) -> list[str]:
    """Imports of what unpickles, and calls of loaders without the argument that makes them safe."""
    found = []
    for node in ast.walk(ast.parse(source)):
        names = ([alias.name for alias in node.names] if isinstance(node, ast.Import) else
                 [node.module] if isinstance(node, ast.ImportFrom) else [])
        found += [name for name in names if name.partition(".")[0] in BANNED]
        if isinstance(node, ast.Call):
            called = ast.unparse(node.func)
            argument, value = SAFE.get(called, (None, None))
            given = {one.arg: getattr(one.value, "value", None) for one in node.keywords}
            loose_yaml = called == "yaml.load" and "SafeLoader" not in "".join(map(ast.unparse, node.args[1:]))
            unpickles = called.rpartition(".")[2] == "read_pickle"
            if loose_yaml or unpickles or (argument and given.get(argument) is not value):
                found.append(ast.unparse(node))
    return found


def test_an_unsafe_loader_is_found():
    assert unsafe("import pickle") and unsafe("torch.load(file)") and unsafe("np.load(file, allow_pickle=True)")
    assert unsafe("yaml.load(text, yaml.Loader)") and unsafe("pd.read_pickle(file)")
    assert not unsafe("torch.load(file, weights_only=True)") and not unsafe("np.load(file, allow_pickle=False)")
