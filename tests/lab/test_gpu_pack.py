"""Packs for a machine without internet: what is read and no more, the same records, and a part is never the whole."""

import os
import shutil
import subprocess
import sys
import zipfile

import numpy as np
import pytest
import torch
from click.testing import CliRunner

from lab import catalogue
from lab.chapters.roar import trainings
from lab.cli import main
from lab.core import folders, profiles, results
from lab.core.running import run_cells
from lab.core.store import Store, canonical
from lab.gpu import pack
from lab.material import data, part, reads
from tests.lab.checkout import EDITION, contents

SETTINGS = profiles.parameters("roar", "quick") | EDITION | {
    "data_set": "garments", "train_images": 64, "test_images": 48, "epochs": 1, "estimators": ["GRAD", "Random"],
    "seeds": [0], "path_steps": 2, "ensemble_path_steps": 2, "samples": 2}
MADE = ("trainings", "rankings", "roar")


@pytest.fixture
def home(tmp_path, monkeypatch):
    """A data folder with a set of 300 and 100 images, a store of its own, and a tiny grid that uses some of them."""
    draws, folder = np.random.default_rng(0), tmp_path / "data"
    folder.mkdir()
    arrays = {}
    for split, count in (("train", 300), ("test", 100)):
        arrays |= {f"{split}_images": draws.integers(0, 256, (count, 28, 28), dtype=np.uint8),
                   f"{split}_labels": draws.integers(0, 10, count)}
    np.savez(folder / "garments.npz", **arrays)
    for name, value in {"FRAGILITY_DATA": folder, "FRAGILITY_STORE": tmp_path / "store"}.items():
        monkeypatch.setenv(name, str(value))
    monkeypatch.setattr(folders, "RESULTS", tmp_path / "results")
    monkeypatch.setattr(profiles, "parameters", lambda name, profile: SETTINGS)
    reads.forget()         # a set of that name of another test
    yield tmp_path
    reads.forget()


def packed(home, *words, code=0):
    told = CliRunner().invoke(main, ["gpu", "pack", "roar", "--profile", "quick", "--out", str(home / "pack.zip"),
                                     *words])
    assert told.exit_code == code, told.output
    return told.output


#: What a machine with a card may lack; importing any of it is an error there.
ABSENT = """
import sys
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("click", "nbformat", "papermill", "matplotlib", "seaborn", "IPython", "mlxtend",
                                      "skimage", "jupyter_book", "captum"):
            raise ModuleNotFoundError(name, name=name)
sys.meta_path.insert(0, Absent())
"""


def run_there(home) -> str:
    """Unpack as the command says, and run in a process that knows nothing of this machine's folders."""
    there = home / "there"
    there.mkdir(exist_ok=True)
    (home / "absent").mkdir(exist_ok=True)
    (home / "absent" / "sitecustomize.py").write_text(ABSENT)
    subprocess.run([sys.executable, "-m", "zipfile", "-e", home / "pack.zip", "."], cwd=there, check=True)
    clean = {name: value for name, value in os.environ.items()
             if not name.startswith(("FRAGILITY_", "PYTHONPATH", "XDG_"))}
    done = subprocess.run([sys.executable, f"{pack.FOLDER}/run.py"], cwd=there, capture_output=True, text=True,
                          env=clean | {"PYTHONPATH": str(home / "absent"), "HOME": str(home / "nobody"), "http_proxy": "http://localhost:9",
                                       "https_proxy": "http://localhost:9"})
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def test_a_pack_makes_the_same_records_elsewhere_of_the_images_that_are_used(home):
    said = packed(home)
    with zipfile.ZipFile(home / "pack.zip") as archive:
        with archive.open(f"{pack.FOLDER}/data/garments.npz") as file, np.load(file) as held:
            assert len(held["train_images"]) == len(held["train_rows"]) == 64 and len(held["train_labels"]) == 300
            assert len(held["test_images"]) == len(held["test_rows"]) == 48 and len(held["test_labels"]) == 100
    assert "python -m zipfile -e pack.zip . && python fragility-pack/run.py" in said and "lab publish roar" in said
    there = run_there(home)
    grids = dict((one.name, cells) for one, cells in catalogue.with_sources(["roar"], "quick"))
    count = sum(map(len, grids.values()))
    assert f"{count} records of {count}" in there
    for name, cells in grids.items():               # in place, from the whole set
        run_cells(catalogue.experiment(name), cells, Store(), progress=False)
    archive = home / "there" / pack.RECORDS
    subprocess.run([sys.executable, "-m", "zipfile", "-e", archive, home / "returned"], check=True)
    ours, theirs = contents(Store(), *MADE), contents(Store(home / "returned"), *MADE)
    assert ours == theirs and len(ours) == count
    published, missing = results.publish(catalogue.experiment("roar"), "quick", Store(home / "returned"))
    assert (published, missing) == (len(grids["roar"]), 0)


def test_what_is_in_hand_is_packed_and_not_made_again(home):
    one = catalogue.experiment("trainings")
    run_cells(one, one.cells(one.at("quick")), Store(), progress=False)
    made = contents(Store(), "trainings")
    packed(home)
    with zipfile.ZipFile(home / "pack.zip") as archive:
        names = {name for name in archive.namelist() if "/store/trainings/" in name and name.endswith(".json")}
    assert len(names) == len(made) > 0
    run_there(home)
    assert contents(Store(home / "there" / pack.FOLDER / "store"), "trainings") == made


def test_a_pack_that_is_too_large_names_what_is_large(home):
    said = packed(home, "--max-mb", "0.01", code=1)
    assert "more than the 0.01" in said and "the code (" in said and "data/garments.npz (" in said
    assert not list(home.glob("pack*"))


def test_nothing_missing_is_said(home):
    for one, cells in catalogue.with_sources(["roar"], "quick"):
        run_cells(one, cells, Store(), progress=False)
    assert "Nothing of roar is missing" in packed(home, code=1)


def test_an_archive_that_was_changed_is_refused(home):
    packed(home)
    folder = home / "there"
    subprocess.run([sys.executable, "-m", "zipfile", "-e", home / "pack.zip", folder], check=True)
    with open(folder / pack.FOLDER / "data" / "garments.npz", "ab") as file:
        file.write(b"\0")
    done = subprocess.run([sys.executable, folder / pack.FOLDER / "run.py"], capture_output=True, text=True)
    assert done.returncode == 1 and "data/garments.npz is not the one that was packed" in done.stderr


def test_a_part_gives_its_rows_and_refuses_to_be_the_whole(home):
    whole, rows = data.load("garments", "train"), torch.tensor([5, 17, 200])
    shutil.copytree(home / "data", home / "cut")
    np.savez(home / "cut" / "garments.npz", **part.arrays_of(*whole[:2], rows, "train"),
             **part.arrays_of(*data.load("garments", "test")[:2], None, "test"))
    cut = data.load("garments", "train", root=home / "cut")
    assert len(cut.images) == 300 and cut.images.shape == whole.images.shape and cut.labels.equal(whole.labels)
    assert cut.images[rows.flip(0)].equal(whole.images[rows.flip(0)]) and cut.images[5:6].equal(whole.images[5:6])
    for use in (lambda x: x[4:6], lambda x: x.float(), lambda x: torch.stack([x]), lambda x: torch.cat((x, x)),
                lambda x: x[torch.tensor([0])]):
        with pytest.raises(ValueError, match="3 of 300 images of garments train"):
            use(cut.images)
    assert data.load("garments", "test", root=home / "cut").images.equal(data.load("garments", "test").images)


def test_reads_are_noted_row_by_row_and_leave_nothing_behind(home):
    with reads.recorded() as read:
        data.load("garments", "train").images[10:12]
        data.load("garments", "train").images[torch.tensor([3])]
        data.load("garments", "test").labels.sum()
    assert read.splits["garments", "train"].rows.tolist() == [3, 10, 11] and len(read.splits) == 1
    with reads.recorded() as read:
        trainings.inputs({**SETTINGS}, Store())
    assert all(len(one.rows) == count for one, count in zip(read.splits.values(), (64, 48)))
    with reads.recorded() as read:
        torch.cat([data.load("garments", "test").images] * 2)
    assert read.splits["garments", "test"].rows is None
    assert isinstance(trainings.sets(SETTINGS).train, torch.Tensor)
    assert isinstance(data.load("garments", "train").images, torch.Tensor)


def test_carried_fingerprints_belong_to_their_cells_alone(tmp_path):
    one = catalogue.experiment("toy")
    first, second = one.cells(one.at("quick"))[:2]
    store = Store(tmp_path)
    store.carried = {"toy": {canonical(first): {"data": "carried"}}}
    assert one.fingerprints(first, store) == {"data": "carried"} and one.fingerprints(second, store) == {}
    assert store.limited("other", ("toy",)).carried is store.carried and Store(tmp_path).carried == {}


@pytest.mark.slow
@pytest.mark.parametrize("name", catalogue.EXPERIMENTS)
def test_a_cell_reads_no_image_that_its_fingerprints_do_not(name, tmp_path_factory):
    """Else the pack would lack it; a mean colour is added to what the fingerprints read."""
    one, store = catalogue.experiment(name), Store(tmp_path_factory.mktemp("store"))
    if one.canary.get("network") == "squeezenet1_0":
        pytest.skip("reads photographs and published weights, which are named by its fingerprints alone")
    one.compute(one.canary, store)          # its sources are there then
    with reads.recorded() as named:
        one.inputs(one.canary, store)
    with reads.recorded() as read:
        one.compute(one.canary, store)
    assert read.splits.keys() <= named.splits.keys() and read.weights.keys() <= named.weights.keys()
    for key, split in read.splits.items():
        held = named.splits[key].rows
        assert held is None or (split.rows is not None and set(split.rows.tolist()) <= set(held.tolist()))
