"""Experiments: canaries, cells, profiles, plan, publish and verify."""

import dataclasses
import hashlib
import json
import shutil

import pandas as pd
import pytest
import torch
import yaml
from click.testing import CliRunner

from fragility import attribution
from lab import book, catalogue
from lab.chapters.fragility import comparison
from lab.cli import main
from lab.core import folders, profiles, results
from lab.core.device import repeatable
from lab.core.experiment import Factor
from lab.core.frames import frame
from lab.core.running import Clock, run_cells
from lab.core.store import Store

SMALL = {"data_set": "mnist-5k", "network": "mnist-cnn", "epochs": 1, "images": {"gradient": 4},
         "steps": {"gradient": 2}, "attacks": ["topk", "random_sign"], "epsilons": [0.1], "k": 20, "path_steps": 4,
         "path_points": 2}


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return Store(tmp_path_factory.mktemp("store"))


@pytest.mark.parametrize("name", catalogue.EXPERIMENTS)
def test_canary(name, store):
    """Values moved although the version did not: raise the version and commit the new values."""
    one = catalogue.experiment(name)
    if one.canary.get("network") == "squeezenet1_0" and not any(
            (folder / "squeezenet1_0.safetensors").is_file() for folder in folders.data_roots()):
        pytest.skip("FRAGILITY_DATA names no folder with squeezenet1_0.safetensors")
    means = one.compute(one.canary, store).table.mean(numeric_only=True).drop("image", errors="ignore")
    if not one.canary_values:
        pytest.fail(f"{name} has nothing to hold its canary against; of these, what a change would move: "
                    f"canary_values={{{', '.join(f'{column!r}: {value:.3g}' for column, value in means.items())}}}")
    for column, value in one.canary_values.items():
        # Sign steps on a network trained here differ a little between processors, and more on a GPU.
        slack = 2 if torch.cuda.is_available() else 1
        assert means[column] == pytest.approx(value, abs=0.03 * slack, rel=0.1 * slack), column


def test_cells_are_computed_in_single_precision_and_repeat():
    def seen():
        return torch.backends.cudnn.allow_tf32, torch.backends.cudnn.deterministic
    outside = seen()
    assert repeatable(seen)() == (False, True) and seen() == outside != (False, True)
    one = dataclasses.replace(catalogue.experiment("toy"), run=lambda cell, store: seen())
    assert one.compute({}, None) == (False, True)


def test_a_parameter_does_not_hide_what_was_measured(tmp_path):
    """The precision of an attack's directions has the name of LENS precision."""
    record = Store(tmp_path).put("e", 1, {"precision": "bfloat16", "sizes": [1, 2], "k": 3}, {},
                                 pd.DataFrame({"image": [0, 1], "precision": [0.25, 0.5]}))
    table = frame([record])
    assert table.precision.tolist() == [0.25, 0.5] and table.k.tolist() == [3, 3] and set(table.sizes) == {"[1, 2]"}


def test_cells_do_not_depend_on_their_order(store, tmp_path):
    one = catalogue.experiment("fragility")
    cells = one.cells(one.parameters.of(SMALL))
    forward = run_cells(one, cells, store, progress=False)
    backward = run_cells(one, cells[::-1], Store(tmp_path), progress=False)[::-1]
    for a, b in zip(forward, backward):
        assert a.key == b.key and a.table.equals(b.table)


def test_the_stored_perturbation_gives_the_stored_scores(store):
    one = catalogue.experiment("fragility")
    cell = next(c for c in one.cells(one.parameters.of(SMALL)) if c["attack"] == "topk")
    record = one.record(cell, store)
    before, attacked, after = comparison.shown(cell, store, slice(0, 4))
    overlap = comparison.metrics.topk_intersection(before, after, cell["k"])
    assert torch.allclose(overlap, torch.tensor(record.table.topk.to_numpy(), dtype=torch.float32), atol=0.11)


@pytest.mark.parametrize("change, said", [
    ({"images": {"gradiant": 4}}, "gradiant"), ({"attacks": ["pgd"]}, "pgd"), ({"epsilons": [0.0]}, "epsilon"),
    ({"images": {"gradient": 1}}, "images"),
    ({"steps": {"gradient": 0}}, "steps"), ({"steps": {}}, "same methods"), ({"data_set": "mnist-50k"}, "mnist-50k"),
    ({"colour": 1}, "colour"), ({"k": "many"}, "k")])
def test_parameters_are_checked_before_anything_runs(change, said):
    with pytest.raises(ValueError, match=said):
        catalogue.experiment("fragility").parameters.of({**SMALL, **change})


@pytest.mark.parametrize("file", sorted(folders.PARAMETERS.glob("*.yaml")), ids=lambda file: file.stem)
def test_profile_files_fit_their_notebooks(file):
    notebook, profile = file.stem.rsplit(".", 1)
    values = profiles.parameters(notebook, profile)
    assert set(yaml.safe_load(file.read_text()) or {}) <= set(values)
    for one in catalogue.EXPERIMENTS.values():
        if one.notebook == notebook:
            assert one.cells(one.pick(values))


def test_every_notebook_has_every_profile():
    for name in book.notebooks():
        for profile in profiles.PROFILES:
            assert isinstance(profiles.parameters(name, profile), dict)


def call(*arguments):
    return CliRunner().invoke(main, list(arguments))


def test_commands_from_plan_to_verify(tmp_path, monkeypatch):
    monkeypatch.setenv("FRAGILITY_STORE", str(tmp_path / "store"))
    monkeypatch.setattr(folders, "RESULTS", tmp_path / "results")
    monkeypatch.setattr(profiles, "parameters", lambda name, profile: SMALL)
    planned = call("plan", "fragility")
    assert planned.exit_code == 0 and "3 cells, 3 of them missing" in planned.output and "hours" in planned.output
    assert planned.output.startswith("networks at the quick scale: 1 cells, 1 of them missing (1 of these train")
    made = Store(tmp_path / "store").records("networks")
    assert {record.parameters["epochs"] for record in made} == {0}      # to plan trains nothing
    assert call("sweep", "fragility", "--cells", "0:2").exit_code == 0
    assert "1 of them missing" in call("plan", "fragility").output
    assert call("sweep", "fragility").exit_code == 0
    published = call("publish", "fragility", "--profile", "quick")
    assert "3 records" in published.output and "0 are missing" in published.output
    assert len(results.published(catalogue.experiment("fragility"))) == 3
    verified = call("verify", "--sample", "2")
    assert verified.exit_code == 0 and verified.output.count("\nok ") == 2 and "100% of the 3" in verified.output
    assert "0% of the 3" in call("verify", "--minutes", "1e-9").output
    # A fresh clone has no store: what is published is done.
    monkeypatch.setenv("FRAGILITY_STORE", str(tmp_path / "fresh"))
    assert "3 cells, 3 published, 0 of them missing" in call("plan", "fragility").output
    swept = call("sweep", "fragility")
    assert swept.output.startswith("3 more are published, and 0 of 3 cells") and not Store().records("fragility")
    text = (tmp_path / "results" / "fragility.json").read_text()
    (tmp_path / "results" / "fragility.json").write_text(text.replace('"spearman"', '"spearmen"', 1))
    damaged = call("verify")
    assert damaged.exit_code != 0 and "damaged" in damaged.output


def test_a_bad_cell_is_left_for_the_end(tmp_path, monkeypatch):
    monkeypatch.setenv("FRAGILITY_STORE", str(tmp_path / "store"))
    monkeypatch.setattr(folders, "RESULTS", tmp_path / "results")
    monkeypatch.setattr(profiles, "parameters", lambda name, profile: SMALL)
    one = catalogue.experiment("fragility")
    first, *others = one.cells(one.parameters.of(SMALL))

    def fails(cell, store):
        if cell == first:
            raise RuntimeError("out of luck")
        return one.run(cell, store)
    failing = {"fragility": dataclasses.replace(one, run=fails)}
    monkeypatch.setattr(catalogue, "EXPERIMENTS", catalogue.EXPERIMENTS | failing)
    assert isinstance(call("sweep", "fragility").exception, RuntimeError) and not Store().records("fragility")
    went_on = call("sweep", "fragility", "--keep-going")
    assert went_on.exit_code == 1 and "1 of 3 cells of fragility failed" in went_on.output
    assert "RuntimeError: out of luck" in went_on.output and '"other_image"' in went_on.output
    assert len(Store().records("fragility")) == len(others)


def test_a_grid_that_has_changed_is_not_swept(tmp_path, monkeypatch):
    """A chunk is counted in the grid that it was cut from."""
    monkeypatch.setenv("FRAGILITY_STORE", str(tmp_path / "store"))
    monkeypatch.setattr(folders, "RESULTS", tmp_path / "results")
    monkeypatch.setattr(profiles, "parameters", lambda name, profile: SMALL)
    planned = json.loads(call("plan", "fragility", "--json").output)
    assert [row["experiment"] for row in planned] == ["networks", "fragility"]
    assert planned[1]["cells"] == planned[1]["missing"] == 3 and planned[1]["hours"] > 0
    digest = planned[1]["grid"]
    assert call("sweep", "fragility", "--cells", "0:1", "--grid", digest).exit_code == 0
    monkeypatch.setattr(profiles, "parameters", lambda name, profile: {**SMALL, "k": 21})
    changed = call("sweep", "fragility", "--cells", "1:2", "--grid", digest)
    assert changed.exit_code == 1 and digest in changed.output and "Plan it again" in changed.output
    assert len(Store().records("fragility")) == 1


def test_only_the_packages_own_errors_are_shown_without_their_place(monkeypatch):
    told = call("sweep", "fragility", "--cells", "9:1")
    assert isinstance(told.exception, SystemExit) and told.output.startswith("Error: --cells must be")
    monkeypatch.setattr(profiles, "parameters", lambda name, profile: json.loads("{"))
    assert isinstance(call("sweep", "fragility").exception, json.JSONDecodeError)


@pytest.mark.parametrize("line", ["book", "plan fragility", "sweep fragility", "publish fragility", "verify", "claims"])
def test_commands_of_the_book_say_where_the_book_is_missing(tmp_path, monkeypatch, line):
    monkeypatch.setattr(folders, "NOTEBOOKS", tmp_path / "notebooks")
    told = call(*line.split())
    assert isinstance(told.exception, SystemExit) and "installed without the book" in told.output
    assert call("doctor").exit_code == 0        # versions and data are asked for from anywhere


def test_publishing_keeps_what_another_store_made(tmp_path, monkeypatch):
    """Two stores hold two cells each, one of them in both, which is published as it was made last."""
    monkeypatch.setattr(folders, "RESULTS", tmp_path / "results")
    monkeypatch.setattr(profiles, "parameters", lambda name, profile: SMALL)
    one = catalogue.experiment("fragility")
    cells = one.cells(one.parameters.of(SMALL))
    made = []
    for name, rows in {"first": slice(0, 2), "second": slice(1, 3)}.items():
        store = Store(tmp_path / name)
        made.append(run_cells(one, cells[rows], store, progress=False))
        assert results.publish(one, "quick", store) == (rows.stop, 3 - rows.stop)
    expected = [made[0][0], *made[1]]
    for record, known in zip(results.published(one), expected, strict=True):
        assert record.about == known.about and record.table.equals(known.table)


def test_publishing_drops_nothing_unless_told(tmp_path, monkeypatch):
    monkeypatch.setattr(folders, "RESULTS", tmp_path / "results")
    monkeypatch.setattr(profiles, "parameters", lambda name, profile: SMALL)
    monkeypatch.setenv("FRAGILITY_STORE", str(tmp_path / "store"))
    one = catalogue.experiment("fragility")
    run_cells(one, one.cells(one.parameters.of(SMALL)), Store(), progress=False)
    assert results.publish(one, "quick", Store()) == (3, 0)
    monkeypatch.setattr(profiles, "parameters", lambda name, profile: {**SMALL, "attacks": ["topk"]})
    before = (tmp_path / "results" / "fragility.json").read_bytes()
    refused = call("publish", "fragility", "--profile", "quick")
    assert refused.exit_code == 1 and "1 published records" in refused.output and "--drop" in refused.output
    assert (tmp_path / "results" / "fragility.json").read_bytes() == before
    assert call("publish", "fragility", "--profile", "quick", "--drop").exit_code == 0
    assert len(results.published(one)) == 2
    monkeypatch.setattr(catalogue, "EXPERIMENTS", {"fragility": dataclasses.replace(one, version=one.version + 1)})
    run_cells(catalogue.experiment("fragility"), one.cells(one.at("quick"))[:1], Store(), progress=False)
    older = call("publish", "fragility", "--profile", "quick")
    assert older.exit_code == 1 and "2 published records" in older.output     # of the version before


def test_an_experiment_reads_what_it_declares_and_nothing_else(store):
    """Every canary above is computed under this rule, so that plans and clusters know what comes first."""
    one = catalogue.experiment("fragility")
    with pytest.raises(ValueError, match="fragility ask for records of networks, which its `reads` do not name"):
        dataclasses.replace(one, reads=()).compute(one.canary, store)
    assert all(name in catalogue.EXPERIMENTS for each in catalogue.EXPERIMENTS.values() for name in each.reads)


def test_sources_come_before_what_reads_them():
    for name in catalogue.EXPERIMENTS:
        made, ordered = [], [one.name for one, _ in catalogue.with_sources([name], "quick")]
        for each, cells in catalogue.with_sources([name], "quick"):
            assert cells or each.name == name
            made.append(each.name)
            assert not any(later in each.reads for later in ordered[len(made):])
        assert made[-1] == name


def test_a_new_method_unpublishes_nothing(monkeypatch):
    """Grids list the methods they hold."""
    before = {(name, profile): one.cells(one.at(profile)) for name, one in catalogue.EXPERIMENTS.items()
              for profile in profiles.PROFILES}
    monkeypatch.setitem(attribution.METHODS, "brand_new", lambda model, x, target=None: x)
    for (name, profile), cells in before.items():
        assert catalogue.EXPERIMENTS[name].cells(catalogue.EXPERIMENTS[name].at(profile)) == cells


def test_what_is_measured_is_of_the_current_version(tmp_path, monkeypatch):
    """A store keeps records of older versions; they must not stand in for the published ones."""
    monkeypatch.setattr(folders, "RESULTS", tmp_path / "results")
    monkeypatch.setattr(profiles, "parameters", lambda name, profile: SMALL)
    one, store = catalogue.experiment("fragility"), Store(tmp_path / "store")
    (record, *_) = run_cells(one, one.cells(one.parameters.of(SMALL))[:1], store, progress=False)
    results.publish(one, "quick", store)
    older = Store(tmp_path / "older")
    older.put(one.name, one.version - 1, record.parameters, {}, record.table.assign(topk=-1.0))
    assert results.measured(one, "quick", older).topk.tolist() == record.table.topk.tolist()


def test_large_publications_are_compressed_and_replace_their_text(tmp_path, monkeypatch):
    monkeypatch.setattr(folders, "RESULTS", tmp_path / "results")
    monkeypatch.setattr(profiles, "parameters", lambda name, profile: SMALL)
    one, store = catalogue.experiment("fragility"), Store(tmp_path / "store")
    run_cells(one, one.cells(one.parameters.of(SMALL)), store, progress=False)
    tables = []
    for limit, ending in ((2_000_000, ".json"), (100, ".json.gz"), (2_000_000, ".json")):
        monkeypatch.setattr(results, "_LARGE", limit)
        results.publish(one, "quick", store)
        names = {file.name for file in (tmp_path / "results").iterdir()}
        assert names == {f"fragility{ending}", "SHA256SUMS"}
        assert (tmp_path / "results" / "SHA256SUMS").read_text().split()[1:] == [f"fragility{ending}"]
        tables.append(results.measured(one, "quick", None))
    assert tables[0].equals(tables[1]) and tables[0].equals(tables[2]) and len(tables[0])
    monkeypatch.setattr(results, "_LARGE", 100)
    results.publish(one, "quick", store)
    packed = tmp_path / "results" / "fragility.json.gz"
    packed.write_bytes(packed.read_bytes()[:-40])
    with pytest.raises(ValueError, match="damaged"):
        results.published(one)


def test_the_digests_of_published_files_are_theirs():
    """A file without its digest is still verified, record by record, which takes twice as long."""
    listed = dict(line.split("  ")[::-1] for line in (folders.RESULTS / "SHA256SUMS").read_text().splitlines())
    files = [file for name in catalogue.EXPERIMENTS for file in folders.RESULTS.glob(f"{name}.json*")]
    assert listed == {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


def test_a_changed_file_is_verified_record_by_record(tmp_path, monkeypatch):
    monkeypatch.setattr(folders, "RESULTS", tmp_path)
    one = catalogue.experiment("kittens")
    original = (folders.ROOT / "results" / "kittens.json").read_text()
    shutil.copy(folders.ROOT / "results" / "SHA256SUMS", tmp_path)
    (tmp_path / "kittens.json").write_text(original.replace('"seed": 0', '"seed": 1', 1))
    with pytest.raises(ValueError, match="kittens.json is damaged"):
        results.published(one)
    (tmp_path / "kittens.json").write_text(original + "\n")      # other bytes, the same records
    assert len(results.published(one)) == len(json.loads(original))


@pytest.mark.parametrize("name", [name for name, one in catalogue.EXPERIMENTS.items() if one.publishes_tensors])
def test_published_pictures_are_the_ones_their_records_name(name):
    records = results.published(catalogue.experiment(name))
    assert records
    for record in records:
        assert hashlib.sha256(record.companion.read_bytes()).hexdigest()[:20] == record.companion.stem
        assert record.companion.stat().st_size < 300_000 and record.tensors()


@pytest.mark.parametrize("arguments, said", [
    (("plan", "roaring"), "roaring"), (("sweep", "fragility", "--cells", "5:2"), "FIRST:LAST"),
    (("sweep", "fragility", "--cells", "x"), "FIRST:LAST"),
    (("publish", "fragility", "--profile", "quick"), "sweep"),
    (("book", "--only", "nothing"), "nothing"), (("book", "--profile", "huge"), "huge")])
def test_commands_say_what_is_wrong(arguments, said, tmp_path, monkeypatch):
    monkeypatch.setenv("FRAGILITY_STORE", str(tmp_path))
    monkeypatch.delenv("FRAGILITY_DATA", raising=False)
    result = call(*arguments)
    assert result.exit_code != 0 and said in result.output and "Traceback" not in result.output


def test_doctor_and_claims_answer(tmp_path, monkeypatch):
    monkeypatch.setenv("FRAGILITY_STORE", str(tmp_path))
    assert "mnist-5k" in call("doctor").output
    shown = yaml.safe_load(call("claims", "--json").output)
    assert {"id", "paper", "statement", "reported", "measured", "interval", "verdict", "scale"} <= set(shown[0])


def test_influence_pairs_hold_what_the_correlation_was_measured_on(store):
    one = catalogue.experiment("influence-pairs")
    tables = {place: one.record(one.canary | {"place": place}, store).table
              for place in ("lowest", "median", "highest")}
    for table in tables.values():
        assert len(table) == one.canary["train_images"]
        assert table.before.corr(table.after, method="spearman") == pytest.approx(table.spearman[0], abs=1e-3)
    assert tables["lowest"].spearman[0] <= tables["median"].spearman[0] <= tables["highest"].spearman[0]


def test_the_time_left_knows_cheap_cells_from_dear_ones():
    cheap, dear = {"kind": "cheap"}, {"kind": "dear"}
    clock = Clock([(cheap, Factor(1)), (dear, Factor(10)), (cheap, Factor(2)), (dear, Factor(20)),
                   ({"kind": "new"}, Factor(1))])
    clock.finished(1.0)
    assert clock.remaining() == pytest.approx(10 + 2 + 20 + 1)       # nothing else is known yet
    clock.finished(100.0)
    assert clock.remaining() == pytest.approx(2 * 1 + 20 * 10 + 1 * 101 / 11)
    for seconds in (2.0, 200.0, 5.0):
        clock.finished(seconds)
    assert clock.remaining() == 0
    free = Clock([(cheap, Factor(0)), (cheap, Factor(0))])      # what only reads others' maps
    free.finished(0.1)
    assert free.remaining() == 0


def test_the_bar_counts_missing_cells_only_and_says_what_is_left(tmp_path, capsys):
    one = catalogue.experiment("toy")
    cells, store = one.cells(one.parameters.of({"toy_seeds": 4, "toy_samples": 200})), Store(tmp_path)
    run_cells(one, cells[:3], store)
    assert "3/3" in capsys.readouterr().err
    run_cells(one, cells, store)
    shown = capsys.readouterr().err
    assert "1/1" in shown and "left" in shown
    run_cells(one, cells, store)
    assert not capsys.readouterr().err


def test_a_plan_counts_what_is_read_and_the_trainings(tmp_path, monkeypatch):
    monkeypatch.setenv("FRAGILITY_STORE", str(tmp_path))
    small = profiles.parameters("roar", "quick") | {
        "train_images": 300, "test_images": 100, "estimators": ["GRAD", "Random"], "mask_estimators": [],
        "filtered": [], "seeds": [0]}
    monkeypatch.setattr(profiles, "parameters", lambda name, profile: small)
    monkeypatch.setattr(results, "published_keys", lambda one: frozenset())
    shown = call("plan", "roar").output.splitlines()
    assert [line.split()[0] for line in shown] == ["trainings", "rankings", "roar", "In"]
    assert "2 cells, 2 of them missing (2 of these train a network)" in shown[0] and "In all about" in shown[-1]
    grid = catalogue.experiment("roar").cells(catalogue.experiment("roar").pick(small))
    trained = sum(cell["kind"] in ("retrain", "masks", "fresh") for cell in grid)
    assert 0 < trained < len(grid) and f"{len(grid)} of them missing ({trained} of these" in shown[2]
