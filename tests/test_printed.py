"""The examples of README.md and of the page on extensions run as they are printed, block after block."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fragility import command

ROOT = Path(__file__).resolve().parent.parent
MODEL = """
from torch import nn

def load():
    return nn.Sequential(nn.Conv2d(3, 4, 3, stride=8), nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten(),
                         nn.Linear(16, 3))
"""


def blocks(text: str) -> list[str]:
    return re.findall(r"^```python\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("name, most", [("README.md", 2), ("book/extending.md", 5)])
def test_examples_run_as_printed(name, most, tmp_path):
    found = blocks((ROOT / name).read_text())
    assert len(found) == most
    done = subprocess.run([sys.executable, "-c", "\n".join(found)], cwd=tmp_path, capture_output=True, text=True,
                          env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin", "HOME": str(tmp_path)})
    assert done.returncode == 0, done.stderr[-3000:]
    assert "noise" in done.stdout


def test_the_command_that_the_readme_shows_audits_a_folder_of_pictures(tmp_path, monkeypatch):
    """With smaller pictures and fewer steps; what is printed of it is what is run."""
    line, = re.findall(r"^python -m fragility (audit model.*)$", (ROOT / "README.md").read_text(), re.MULTILINE)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "model.py").write_text(MODEL)
    (tmp_path / "pictures").mkdir()
    noise = np.random.default_rng(0)
    for place in range(4):
        picture = Image.fromarray(noise.integers(0, 256, (8, 8, 3), np.uint8)).resize((40, 40))
        picture.save(tmp_path / "pictures" / f"{place}.png")
    arguments = shlex.split(line)
    arguments[arguments.index("--size") + 1] = "32"
    quick = ["--methods", "gradient", "--criteria", "noise", "--quiet", "--out", "report"]
    assert command.main([*arguments, *quick]) == 0
    assert (tmp_path / "report" / "report.html").is_file()


def test_files_that_the_readme_links_to_are_there():
    links = re.findall(r"\]\((?!https?:)([^)#]+)\)", (ROOT / "README.md").read_text())
    assert links and [link for link in links if not (ROOT / link).exists()] == []
