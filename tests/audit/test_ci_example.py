"""The job for continuous integration that the page on the audit shows, run on the quick network."""

import json
import re
import shlex

import nbformat
import pytest
from PIL import Image
from safetensors.torch import save_file

from fragility import command
from lab.core import folders, profiles
from lab.core.store import Store
from lab.material import data
from lab.trained import natural

MODEL = """
from safetensors.torch import load_file
from lab.material import networks

def load():
    return networks.load("{network}", weights=load_file("{weights}"))
"""


def shown() -> list[str]:
    """Arguments of the command in the page's job."""
    notebook = nbformat.read(folders.NOTEBOOKS / "audit.ipynb", as_version=4)
    (text,) = (cell.source for cell in notebook.cells if "runs-on" in cell.source)
    (found,) = re.findall(r"python -m fragility (audit .*?)\n +- uses", text, re.DOTALL)
    return shlex.split(found)


@pytest.mark.slow
def test_the_job_of_the_page_guards_the_quick_network(tmp_path, monkeypatch, capsys):
    settings = profiles.parameters("audit", "quick")
    cell = {name: settings[name] for name in ("network", "data_set", "epochs")} | {"seed": 0}
    model, _ = natural.trained(cell, Store(tmp_path / "store"))
    save_file(model.state_dict(), tmp_path / "weights.safetensors")
    (tmp_path / "model.py").write_text(MODEL.format(network=settings["network"],
                                                    weights=tmp_path / "weights.safetensors"))
    (tmp_path / "images").mkdir()
    for place, image in enumerate(data.load(settings["data_set"], "test").images[:32]):
        Image.fromarray(image[0].numpy()).save(tmp_path / "images" / f"{place:02}.png")
    monkeypatch.chdir(tmp_path)
    arguments = [*shown(), "--quiet", "--steps", "5", "--attacked", "4"]
    baseline = arguments.index("--baseline")
    first = arguments[:baseline] + arguments[baseline + 2:]
    assert command.main(first) == 0, capsys.readouterr()
    (tmp_path / "audit" / "report.json").rename(tmp_path / "audit" / "main.json")
    assert command.main(arguments) == 0, capsys.readouterr()
    report = json.loads((tmp_path / "audit" / "report.json").read_text())
    assert report["compared"] and {one["change"] for one in report["compared"]} == {"same"}
    # Guided back-propagation does not follow the weights of this network, so a job that guards it is red.
    others = arguments[:arguments.index("--methods")] + ["--methods", "guided_backprop", "--quiet"]
    assert command.main([*others, "--criteria", "parameters", "--fail-on", "guided_backprop:parameters"]) == 1
