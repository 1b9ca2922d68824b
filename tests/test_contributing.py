"""CONTRIBUTING.md's examples, followed to the letter on a copy of the checkout."""

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).resolve().parent.parent
ROOMS = ("fragility", "lab", "claims", "notebooks", "tests", "results", "book")
FILES = ("pyproject.toml", "_toc.yml", "_config.yml", "matplotlibrc", "README.md", "CHANGELOG.md")


class Block(NamedTuple):
    """A fenced block: what follows its language, and its lines."""

    language: str
    file: str
    text: str


def blocks(section: str) -> list[Block]:
    return [Block(*found) for found in re.findall(r"^```(\w+) ?(\S*)\n(.*?)^```$", section, re.MULTILINE | re.DOTALL)]


def sections() -> dict[str, list[Block]]:
    """The worked examples by their titles."""
    _, *parts = re.split(r"^## ", (ROOT / "CONTRIBUTING.md").read_text(), flags=re.MULTILINE)
    return {part.partition("\n")[0]: blocks(part) for part in parts}


@pytest.fixture(scope="module")
def copy(tmp_path_factory):
    """A copy of what the examples touch, one for all: they are followed one after the other."""
    top = tmp_path_factory.mktemp("checkout") / "fragility"
    top.mkdir()
    for room in ROOMS:
        shutil.copytree(ROOT / room, top / room, ignore=shutil.ignore_patterns("__pycache__", "_build"))
    for file in FILES:
        shutil.copy(ROOT / file, top)
    subprocess.run(["git", "init", "-q", top], check=True)
    return top


def follow(block: Block, top: Path, environment: dict) -> None:
    """Do what a block says; AssertionError with the output where it fails."""
    if block.language == "diff":
        run(["git", "apply", "--recount", "-C1", "-"], top, environment, block.text)
    elif block.file:
        file = top / block.file
        before = f"{file.read_text().rstrip()}\n\n" if file.exists() else ""
        if before and file.suffix == ".py":
            before += "\n"
        file.write_text(before + block.text)
    elif block.language == "python":
        run([sys.executable, "-c", block.text], top, environment)
    else:
        assert block.language == "console"
        for line in block.text.splitlines():
            program, *rest = shlex.split(line)
            assert program == ".venv/bin/python"
            run([sys.executable, *rest], top, environment)


def run(command: list[str], top: Path, environment: dict, text: str | None = None) -> None:
    done = subprocess.run(command, cwd=top, env=environment, input=text, capture_output=True, text=True)
    assert done.returncode == 0, f"{command}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"


@pytest.mark.slow
@pytest.mark.parametrize("title", sections())
def test_an_example_works_as_printed(title, copy, tmp_path):
    environment = {**os.environ, "PYTHONPATH": str(copy), "FRAGILITY_STORE": str(tmp_path), "MPLBACKEND": "agg"}
    for block in sections()[title]:
        follow(block, copy, environment)
    written = [str(copy / block.file) for block in sections()[title] if block.file.endswith(".py")]
    run([sys.executable, "-m", "ruff", "check", *written], copy, environment)


def test_there_are_four_examples_and_each_is_more_than_words():
    assert len(sections()) == 4 and all(len(each) >= 2 for each in sections().values())
