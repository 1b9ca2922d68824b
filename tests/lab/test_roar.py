"""Remove and retrain: the trainer, the rankings, and a grid that survives a kill and repeats to the bit."""

import signal
import subprocess
import sys
import time

import numpy as np
import pandas as pd
import pytest
import torch
from click.testing import CliRunner

from fragility import attribution, removal, training
from fragility.passes import predict
from lab import catalogue, evidence, verdicts
from lab.chapters.roar import benchmarks, rankings, retraining, tables, trainings
from lab.chapters.roar import figures as drawing
from lab.cli import main
from lab.core import folders, profiles
from lab.core.running import collect
from lab.core.statistics import student
from lab.core.store import Store
from lab.material import data, networks
from tests.lab.roargrid import SMALL


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return Store(tmp_path_factory.mktemp("roar"))


@pytest.fixture(scope="module")
def grid(store):
    return collect(catalogue.experiment("roar"), SMALL, store, progress=False)


def cells(**chosen):
    grid = retraining.cells(catalogue.experiment("roar").pick(SMALL))
    return [cell for cell in grid if all(cell[name] == value for name, value in chosen.items())]


def trained(seed=0, **options):
    part = data.load("mnist-5k", "train")
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = networks.load(options.pop("network", "mnist-cnn"))
    images = options.pop("images", part.images[:512])
    return training.train(model, images, part.labels[:len(images)], epochs=options.pop("epochs", 1), batch_size=64,
                          generator=torch.Generator().manual_seed(seed), **options)


def same(first, second):
    return all(torch.equal(a, b) for a, b in zip(first.state_dict().values(), second.state_dict().values()))


# ------------------------------------------------------------------------------------------------ the trainer
def test_float_images_train_as_their_bytes():
    images = data.load("mnist-5k", "train").images[:512]
    assert same(trained(images=images), trained(images=training.as_float(images)))


@pytest.mark.parametrize("layer, computed_in", [(torch.nn.Identity(), torch.bfloat16),
                                                (torch.nn.LayerNorm(4), torch.float32)])
def test_layer_normalisation_trains_in_single_precision(monkeypatch, layer, computed_in):
    """On a processor it is slower in bfloat16, in which convolutional networks train where it is fast."""
    monkeypatch.setattr(training.loop, "fast_bf16", lambda device: True)
    seen = []
    model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(4, 4), layer, torch.nn.Linear(4, 2))
    model[1].register_forward_hook(lambda module, _, out: seen.append(out.dtype) if module.training else None)
    training.train(model, torch.rand(4, 1, 2, 2), torch.tensor([0, 1, 0, 1]), epochs=1, batch_size=2,
                   generator=torch.Generator().manual_seed(0))
    assert set(seen) == {computed_in}


def test_the_weights_come_back_in_the_usual_format():
    assert all(p.is_contiguous() for p in trained().parameters())


@pytest.mark.parametrize("options", [{"recipe": "staircase", "learning_rate": 0.2}, {"learning_rate": 8e-3}])
def test_both_recipes_learn(options):
    model = trained(epochs=8, images=data.load("mnist-5k", "train").images[:1024], **options)
    test = data.load("mnist-5k", "test")
    assert training.accuracy(model, test.images, test.labels) > 0.6


def test_the_staircase_warms_up_and_falls():
    model = networks.load("mnist-resnet")
    optimiser, schedule = training.RECIPES["staircase"](model, 1.0, 90, 2)
    rates = []
    for _ in range(180):
        rates.append(optimiser.param_groups[0]["lr"])
        optimiser.step()
        schedule.step()
    assert rates[0] == pytest.approx(0.1) and rates[9] == pytest.approx(1) and rates[59] == pytest.approx(1)
    assert [rates[2 * epoch] for epoch in (30, 60, 80)] == pytest.approx([0.1, 0.01, 0.001])
    norms = sum(isinstance(part, torch.nn.BatchNorm2d) for part in model.modules())
    assert len(optimiser.param_groups[1]["params"]) == 2 * norms
    assert optimiser.param_groups[1]["weight_decay"] == 0 < optimiser.param_groups[0]["weight_decay"]


def test_augmentation_is_a_flip_and_a_shift_of_whole_images():
    x = torch.arange(2 * 3 * 6 * 6.0).view(2, 3, 6, 6).repeat(40, 1, 1, 1)
    moved = training.FlipShift(flip=True, shift=2)(x, torch.Generator().manual_seed(0))
    padded = torch.nn.functional.pad(x[:2], (2, 2, 2, 2), mode="reflect")
    allowed = [part[..., down:down + 6, right:right + 6] for part in (padded, padded.flip(3))
               for down in range(5) for right in range(5)]
    kinds = [next(kind for kind, part in enumerate(allowed) if torch.equal(part[row % 2], image))
             for row, image in enumerate(moved)]
    assert len(set(kinds)) > 20
    still = training.FlipShift(flip=False, shift=0)(x, torch.Generator())
    assert torch.equal(still, x)


def test_random_crops_are_boxes_of_the_image():
    """On a picture of its own coordinates every crop tells which box it is."""
    side, n = 32, 400
    ramp = (torch.arange(side) + 0.5) / side
    x = torch.stack(torch.meshgrid(ramp, ramp, indexing="ij")).repeat(n, 1, 1, 1)      # rows, columns
    cropped = training.RandomCrop()(x, torch.Generator().manual_seed(0))
    assert cropped.shape == x.shape and torch.equal(
        cropped, training.RandomCrop()(x, torch.Generator().manual_seed(0)))
    inner = cropped[:, :, 8:24, 8:24]       # away from the border, where bicubic meets the clamp
    steps = side * torch.stack([inner[:, 0].diff(dim=1).mean((1, 2)), inner[:, 1].diff(dim=2).mean((1, 2))], 1)
    assert inner[:, 0].diff(dim=2).abs().max() < 1e-4 and inner[:, 1].diff(dim=1).abs().max() < 1e-4
    flipped = steps[:, 1] < 0
    assert 0.4 < flipped.double().mean() < 0.6 and (steps[:, 0] > 0).all()
    height, width = steps[:, 0], steps[:, 1].abs()
    central = torch.stack([height - 7 / 8, width - 7 / 8]).abs().amax(0).lt(0.01) & (
        cropped.mean((2, 3)) - 0.5).abs().amax(1).lt(0.005)
    area, aspect = (height * width)[~central], (width / height)[~central]
    assert 0.08 <= area.min() < 0.12 and 0.85 < area.max() <= 1.001
    assert 0.73 <= aspect.min() < 0.8 and 1.25 < aspect.max() <= 1.36      # torch's bicubic bends a ramp a little
    assert 0.02 < central.double().mean() < 0.3



@pytest.mark.parametrize("change, said", [
    ({"recipe": "adam"}, "staircase"), ({"images": torch.zeros(64, 1, 28, 28, dtype=torch.int64)}, "uint8"),
    ({"images": torch.full((64, 1, 28, 28), 2.0)}, "0, 1")])
def test_the_trainer_refuses(change, said):
    with pytest.raises(ValueError, match=said):
        trained(**change)


# ------------------------------------------------------------------------------------------------ rankings
@pytest.mark.parametrize("unit", ["pixel", "value"])
def test_ranks_give_the_masks_of_the_scores(unit):
    maps = (3 * torch.randn(5, 3, 6, 7, generator=torch.Generator().manual_seed(0))).round()      # with ties
    places = rankings.pixel_ranks(maps, unit)
    assert places.dtype == torch.int16
    for fraction in (0.1, 0.33, 0.5, 0.9):
        wanted = removal.top_mask(maps, fraction, unit)
        assert torch.equal(places < wanted[0].sum(), wanted)


@pytest.mark.parametrize("family", rankings.FAMILIES)
def test_estimators_are_what_they_are_called(family):
    known = trainings.sets(SMALL)
    x, model = training.as_float(known.test[:6]), trained()
    cell = {**rankings.family_cell(SMALL, family)}
    maps = rankings.family_maps(cell, model, x, torch.Generator().manual_seed(5))
    assert tuple(maps) == rankings.FAMILIES[family]
    base = {"GRAD": attribution.gradient, "GB": attribution.guided_backprop,
            "IG": lambda model, x, target=None: attribution.integrated_gradients(
                model, x, target, steps=4 if family == "IG" else 2)}.get(family.removeprefix("SG-"))
    if family in rankings.BASES:
        assert torch.equal(maps[family], base(model, x)) and torch.equal(maps[f"SQ-{family}"], base(model, x) ** 2)
    elif base:
        noise = torch.Generator().manual_seed(5)
        scale = 0.15 * (x.amax((1, 2, 3), keepdim=True) - x.amin((1, 2, 3), keepdim=True))
        target = predict(model, x)
        drawn = torch.stack([base(model, x + scale * torch.randn(x.shape, generator=noise), target)
                             for _ in range(SMALL["samples"])])
        for name, wanted in zip(maps, (drawn.mean(0), drawn.square().mean(0), drawn.var(0, correction=0))):
            assert torch.allclose(maps[name], wanted, atol=1e-5 * wanted.abs().max().item())
    elif family == "Sobel":
        assert torch.equal(maps["Sobel"], attribution.sobel(x))
    else:
        assert maps["Random"].std() == pytest.approx(1, abs=0.1)


def test_stored_rankings_are_those_of_the_explained_network(store):
    cell = cells(estimator="GRAD", kind="retrain", filter="none")[0]
    model = trainings.explained(cell, store)
    x = training.as_float(trainings.sets(cell).test)
    maps = attribution.gradient(model, x, chunk=128)
    assert torch.equal(rankings.stored_ranks(cell, "GRAD", "test", store), rankings.pixel_ranks(maps, "pixel"))
    # Filters see the map before it is ranked.
    for kind, change in rankings.FILTERS.items():
        assert torch.equal(rankings.stored_ranks(cell, f"GRAD+{kind}", "test", store),
                           rankings.pixel_ranks(change(maps), "pixel"))


def test_filters_are_a_gaussian_and_a_maximum():
    from scipy.ndimage import gaussian_filter, maximum_filter
    maps = torch.randn(2, 3, 9, 11, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    for blurred, spread, plane in zip(*(f(maps).flatten(0, 1) for f in rankings.FILTERS.values()), maps.flatten(0, 1)):
        assert abs(blurred.numpy() - gaussian_filter(plane.numpy(), 1, mode="nearest", radius=3)).max() < 1e-12
        assert abs(spread.numpy() - maximum_filter(plane.numpy(), 3, mode="nearest")).max() == 0


# ------------------------------------------------------------------------------------------------ cells
@pytest.mark.parametrize("mode, fraction", [("remove", 0.5), ("remove", 0.9), ("keep", 0.1)])
def test_a_cell_sees_what_degrade_makes(store, mode, fraction):
    cell = cells(estimator="GRAD", kind="retrain", filter="none", mode=mode, fraction=fraction)[0]
    known = trainings.sets(cell)
    scores = -rankings.stored_ranks(cell, "GRAD", "train", store).float()
    wanted = removal.degrade(training.as_float(known.train), scores, fraction, mode=mode, fill=known.mean)
    assert torch.equal(retraining.degraded(cell, "train", store), (255 * wanted).round().to(torch.uint8))
    alone = retraining.degraded({**cell, "kind": "masks"}, "train", store)
    top = removal.top_mask(scores, fraction, "pixel")[:, None]
    assert torch.equal(alone, (top if mode == "remove" else ~top).float())


def test_nothing_removed_is_the_control_to_the_bit(store):
    cell = {**cells(estimator="Random", kind="retrain")[0], "fraction": 1e-9}
    control = trainings.EXPERIMENT.record(
        {**{name: cell[name] for name in trainings.RECIPE}, "pipeline": "direct", "seed": cell["seed"]}, store)
    assert retraining.run(cell, store).table.accuracy[0] == pytest.approx(control.table.accuracy[0], abs=1e-5)
    again = trainings.train_network(cell, retraining.degraded(cell, "train", store)).state_dict()
    assert all(torch.equal(again[name], value) for name, value in control.tensors().items())


def test_the_grid_asks_every_question(grid):
    assert len(grid) == len(cells()) and grid.accuracy.between(0, 100).all()
    asked = grid.groupby(["kind", "filter"]).size()
    assert asked["retrain", "none"] == 2 * 3 * 2 and asked["original", "none"] == asked["road", "none"] == 6
    assert asked["retrain", "gauss"] == asked["retrain", "max"] == asked["masks", "none"] == 2
    assert asked["fresh", "none"] == 2


def test_agreement_of_benchmarks():
    accuracy = {"A": 10.0, "B": 40.0, "C": 70.0, "D": 80.0}
    rows = [{"estimator": name, "filter": "none", "kind": kind, "mode": mode, "fraction": 0.9, "accuracy": value}
            for name, left in accuracy.items()
            for kind, mode, value in (("retrain", "remove", left), ("road", "remove", left + 1),
                                      ("retrain", "keep", left), ("road", "keep", 50.0))]
    one, other, against, blind = ({"kind": kind, "mode": mode} for kind in ("retrain", "road") for mode in
                                  ("remove", "keep"))
    table = pd.DataFrame(rows)
    assert benchmarks.agreement(table, one, against) == pytest.approx((1, 1, 1))
    assert benchmarks.agreement(table, one, other)[0] == pytest.approx(-1)      # keeping is good where accuracy stays
    assert np.isnan(benchmarks.agreement(table, one, blind)).all()


def test_rows_at_a_share():
    table = pd.DataFrame([{"estimator": name, "kind": kind, "mode": mode, "filter": filtering, "fraction": fraction}
                          for name, kind, mode, filtering, fraction in (
        ("A", "retrain", "remove", "none", 0.7), ("B", "retrain", "remove", "none", 0.5),
        ("C", "retrain", "keep", "none", 0.3), ("D", "retrain", "keep", "none", 0.1),
        ("E", "road", "remove", "none", 0.7), ("F", "retrain", "remove", "max", 0.7))])
    chosen = {"A": {}, "B": {"share": 0.5}, "C": {"mode": "keep"}, "D": {"share": 0.9, "mode": "keep"},
              "E": {"kind": "road"}, "F": {"filter": "max"}}
    for name, where in chosen.items():      # without a share, the largest that is removed; the kept 0.3 lose as much
        assert benchmarks.at_share(table, **where).estimator.tolist() == [name]
    assert benchmarks.at_share(pd.DataFrame()).empty


def test_untouched_images_of_one_seed_or_of_all():
    table = pd.DataFrame({"data_set": ["a", "a", "a", "b"], "pipeline": ["direct", "direct", "resized", "direct"],
                          "seed": [0, 1, 0, 0], "accuracy": [90.0, 94.0, 10.0, 50.0]})
    assert benchmarks.untouched(table, "a") == 92 and benchmarks.untouched(table, "a", 1) == 94
    assert np.isnan(benchmarks.untouched(table, "c")) and np.isnan(benchmarks.untouched(pd.DataFrame(), "a"))


def test_agreements_beyond_chance_are_counted():
    """Of six estimators all benchmarks but KAR order alike, and KAR the other way round."""
    rows = [{"estimator": name, "filter": "none", "kind": kind, "mode": mode, "fraction": fraction, "accuracy": value}
            for place, name in enumerate("ABCDEF") for kind in ("retrain", "road", "original")
            for mode, fraction in (("remove", 0.8), ("remove", 0.5), ("keep", 0.2))
            for value in [place if mode == "remove" or kind == "retrain" else -place]]
    found = benchmarks.agreements(pd.DataFrame(rows))
    assert {name: round(value) for name, (value, *_) in found.items()} == {
        "ROAR and KAR": -1, "ROAR and ROAD": 1, "KAR and ROAD, kept": -1, "ROAD, removed and kept": 1,
        "without training: mean fill and ROAD": 1}
    assert benchmarks.beyond_chance(pd.DataFrame(rows)) == 5
    constant = pd.DataFrame(rows).assign(accuracy=lambda table: table.accuracy.where(table.kind == "retrain", 1.0))
    assert benchmarks.beyond_chance(constant) == 1      # where imputation tells nothing apart, ROAR and KAR are left


def test_one_image_is_the_first_of_the_test_set_with_more_and_more_removed(store, grid):
    asked = catalogue.experiment("roar").pick(SMALL)
    rows = retraining.one_image(asked, [0.3, 0.5], store)
    assert list(rows) == ["GRAD", "Random"]
    cell = cells(estimator="GRAD", kind="retrain", mode="remove", fraction=0.5)[0]
    assert torch.equal(rows["GRAD"][1], retraining.degraded(cell, "test", store)[0])
    filled = retraining.replaced(retraining.picture_cell(asked, "GRAD", 0.3), "test", store)[0, 0]
    assert filled.sum() == round(0.3 * 28 * 28) and rows["GRAD"][0][0][filled].unique().numel() == 1


def test_pixels_in_the_last_rows():
    spared = torch.zeros(2, 1, 4, 3, dtype=torch.bool)
    spared[0, 0, 2:, :] = spared[1, 0, 3, :] = True
    spared[1, 0, 0, :] = True                                # three of twelve are not in the last two rows
    assert retraining.in_last_rows(spared) == (0.75, 2)


def test_guessing_is_drawn_for_every_data_set():
    for name in set(data.NAMES) - set(data.WITHOUT_SPLIT):
        assert drawing.CLASSES[name] > 1
    assert drawing.CLASSES["mnist-5k"] == data.load("mnist-5k", "train").labels.unique().numel()
    assert set(drawing.REPORTED_CLEAN) == set(drawing.reported_roar().data_set) <= set(drawing.CLASSES)


def test_the_table_has_means_and_deviations(grid):
    shown = tables.accuracy_table(grid[(grid.kind == "retrain") & (grid["filter"] == "none")]).data
    assert list(shown) == ["data", "estimator", "ROAR, 50 % removed", "ROAR, 90 % removed", "KAR, 10 % kept"]
    random = grid[(grid.kind == "retrain") & (grid.estimator == "Random") & (grid["mode"] == "keep")].accuracy
    here = f"{random.mean():.1f} ± {random.std():.1f} (2)"
    assert shown["KAR, 10 % kept"].iloc[-1] == here       # of digits: the paper has none


def test_a_seed_gives_the_same_bits(store, tmp_path, grid):
    chosen = cells(estimator="Random", kind="fresh", fraction=0.9) + cells(estimator="GRAD", kind="road")[:1]
    again = [retraining.EXPERIMENT.record(cell, Store(tmp_path)) for cell in chosen[::-1]][::-1]
    for cell, record in zip(chosen, again):
        assert record.table.equals(retraining.EXPERIMENT.record(cell, store).table)


def test_a_killed_grid_ends_with_the_same_table(tmp_path, grid):
    process = subprocess.Popen([sys.executable, "-m", "tests.lab.roargrid", str(tmp_path)], cwd=folders.ROOT, text=True,
                               stdout=subprocess.PIPE)
    assert process.stdout.readline() == "ready\n"
    for _ in range(600):
        if len(list(tmp_path.glob("roar/*.json"))) >= 3:
            break
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    process.stdout.close()
    assert 3 <= len(list(tmp_path.glob("roar/*.json"))) < len(grid)
    pd.testing.assert_frame_equal(collect(catalogue.experiment("roar"), SMALL, Store(tmp_path), progress=False), grid)


def test_chunks_are_jobs_of_their_own(tmp_path, monkeypatch, grid):
    monkeypatch.setenv("FRAGILITY_STORE", str(tmp_path))
    monkeypatch.setattr(profiles, "parameters", lambda name, profile: SMALL)
    done = CliRunner().invoke(main, ["sweep", "roar", "--cells", "14:16"])
    assert done.exit_code == 0 and "2 of" in done.output
    found = {record.key: record.table.accuracy[0] for record in Store(tmp_path).records("roar")}
    assert len(found) == 2
    wanted = [retraining.EXPERIMENT.record(cell, Store(tmp_path)) for cell in cells()[14:16]]
    assert [record.table.accuracy[0] for record in wanted] == grid.accuracy[14:16].tolist()


def test_plan_answers(tmp_path, monkeypatch):
    monkeypatch.setenv("FRAGILITY_STORE", str(tmp_path))
    planned = CliRunner().invoke(main, ["plan", "roar", "--profile", "quick"])
    assert planned.exit_code == 0 and "hours" in planned.output and "missing" in planned.output


@pytest.mark.parametrize("change, said", [
    ({"estimators": ["GRADIENT"]}, "GRADIENT"), ({"fractions": [0.0]}, "fraction"),
    ({"data_set": "flowers"}, "flowers"),
    ({"unit": "row"}, "row"), ({"others": [{"network": 3}]}, "network"), ({"augmentation": "mixup"}, "mixup"),
    ({"recipe": "sgd"}, "sgd")])
def test_parameters_are_checked_first(change, said):
    with pytest.raises(ValueError, match=said):
        catalogue.experiment("roar").parameters.of(catalogue.experiment("roar").pick(SMALL).model_dump() | change)


def test_parameters_may_name_a_set_of_ones_own(tmp_path, monkeypatch):
    images, labels = np.zeros((6, 28, 28), np.uint8), np.array([0, 1, 2] * 2)
    np.savez(tmp_path / "birds.npz", train_images=images, train_labels=labels, test_images=images, test_labels=labels)
    np.savez(tmp_path / "cows.npz", images=images, labels=labels)
    monkeypatch.setenv("FRAGILITY_DATA", str(tmp_path))
    one = catalogue.experiment("roar")
    values = one.pick(SMALL).model_dump()
    assert one.parameters.of(values | {"data_set": "birds"}).data_set == "birds"
    with pytest.raises(ValueError, match="'cows' comes without a split into train and test"):
        one.parameters.of(values | {"data_set": "cows"})
    table = pd.DataFrame({"setting": ["a", "b"], "accuracy": [40.0, 60.0], "data_set": "birds"})
    guessing, = [line for line in drawing.training_dots({"birds": (table, 70.0)}).axes[0].lines
                 if line.get_label() == "guessing"]
    assert guessing.get_xdata()[0] == pytest.approx(100 / 3)


def test_another_grid_changes_what_it_names():
    one = catalogue.experiment("roar").pick({**SMALL, "others": [{"epochs": 3, "kept": []}]})
    grid = retraining.cells(one)
    first = len(cells())
    assert grid[:first] == cells() and {cell["epochs"] for cell in grid[first:]} == {3}
    assert {cell["mode"] for cell in grid[first:]} == {"remove"}


def test_the_settings_of_the_paper_run_on_a_folder_of_pictures(tmp_path, monkeypatch):
    from PIL import Image
    draw = np.random.default_rng(0)
    for split, count in (("train", 4), ("test", 2)):
        for name, level in (("dark", 60), ("light", 180)):
            (tmp_path / "food101" / split / name).mkdir(parents=True)
            for place in range(count):
                noise = draw.integers(0, 60, (40, 36, 3), dtype=np.uint8)
                Image.fromarray(noise + np.uint8(level)).save(tmp_path / "food101" / split / name / f"{place}.png")
    monkeypatch.setenv("FRAGILITY_DATA", str(tmp_path))
    values = profiles.parameters("roar", "paper") | {
        "network": "resnet18", "train_images": 8, "test_images": 4, "epochs": 1, "batch_size": 4, "path_steps": 2,
        "ensemble_path_steps": 2, "samples": 2, "estimators": ["SG-SQ-IG", "Random"], "fractions": [0.9],
        "kept": [], "seeds": [0], "filtered": [], "mask_estimators": [], "others": []}
    one = catalogue.experiment("roar")
    found = [one.record(cell, Store(tmp_path / "store")) for cell in one.cells(one.pick(values))
             if cell["kind"] in ("retrain", "original")]
    assert len(found) == 4 and all(record.table.accuracy.between(0, 100).all() for record in found)
    places = rankings.stored_ranks(found[0].parameters, "SG-SQ-IG", "train", Store(tmp_path / "store"))
    assert places.shape == (8, 3, 36, 36) and places.unique().numel() == 3 * 36 * 36


def test_too_few_images_are_said(store):
    with pytest.raises(ValueError, match="4,000"):
        trainings.sets({**SMALL, "train_images": 5000})


# ------------------------------------------------------------------------------------------------ verdicts
def frame(gap, seeds=3):
    rows = [{"seed": seed, "estimator": name, "fraction": fraction, "accuracy": 60 + seed + (gap if name == "A" else 0)
             + 0.1 * (seed % 2) * (name == "A")} for seed in range(seeds) for name in ("A", "B", "R")
            for fraction in (0.5, 0.9)]
    return pd.DataFrame(rows)


ORDER = {"column": "accuracy", "larger": {"estimator": "A"}, "smaller": {"estimator": "R"}, "over": "seed",
         "each": ["fraction"]}


@pytest.mark.parametrize("gap, seeds, verdict", [(2, 3, evidence.HOLDS), (-2, 3, evidence.CONTRADICTED),
                                                 (2, 1, evidence.UNDECIDED)])
def test_verdicts_over_trainings(gap, seeds, verdict):
    judged = evidence.evaluate(ORDER, frame(gap, seeds))
    assert judged.verdict == verdict and f"n = {seeds}" in judged.measured_with_interval


def test_students_interval():
    from scipy.stats import ttest_1samp
    values = pd.Series([1.0, 2.0, 4.0]).to_numpy()
    wanted = ttest_1samp(values, 0).confidence_interval()
    assert student(values) == pytest.approx((wanted.low, wanted.high))


def test_one_of_makes_a_cell_a_value_and_range_compares_spreads():
    test = {**ORDER, "larger": {}, "one_of": {"estimator": ["A", "B"]}}
    assert evidence.evaluate(test, frame(2)).measured.count(";") == 3
    spread = {"column": "accuracy", "larger": {"fraction": 0.9}, "smaller": {"fraction": 0.5, "estimator": ["B", "R"]},
              "of": "range", "over": "seed"}
    assert evidence.evaluate(spread, frame(7)).verdict == evidence.HOLDS
    assert evidence.evaluate({**spread, "among": {"estimator": ["B", "R"]}}, frame(7)).verdict != evidence.HOLDS


def test_estimators_share_a_variance_where_levene_allows_and_pair_by_seed_where_not():
    spread = np.random.default_rng(5).normal(size=(8, 3))
    rows = [{"seed": seed, "estimator": name, "accuracy": 60 + (2 if name == "A" else 0) + spread[place, seed]}
            for place, name in enumerate("ARBCDEFG") for seed in range(3)]
    test = {"column": "accuracy", "larger": {"estimator": "A"}, "smaller": {"estimator": "R"}, "over": "seed"}
    paired, pooled = (evidence.evaluate(one, pd.DataFrame(rows)) for one in (test, {**test, "pooled": "estimator"}))
    deviation = (spread.var(axis=1, ddof=1).mean() * 2 / 3) ** 0.5
    from scipy.stats import t
    ends = 2 + spread[0].mean() - spread[1].mean() + np.array([-1, 1]) * t(16).ppf(0.975) * deviation
    assert pooled.interval == f"{ends[0]:.3g} to {ends[1]:.3g}" != paired.interval
    unlike = pd.DataFrame(rows).assign(accuracy=lambda table: table.accuracy * np.where(table.estimator == "A", 50, 1))
    assert evidence.evaluate({**test, "pooled": "estimator"}, unlike) == evidence.evaluate(test, unlike)


def test_a_side_may_count_several_times_and_pairs_may_have_names():
    assert evidence.evaluate({**ORDER, "larger": {"estimator": "R"}, "smaller": {"estimator": "B"}, "times": 0.5},
                             frame(2)).measured == "0.5: 30.5; 0.9: 30.5"      # half of 60, 61 and 62
    pairs = {"x": [{"estimator": "A"}, {"estimator": "R"}], "y": [{"estimator": "B"}, {"estimator": "R"}]}
    test = {"column": "accuracy", "between": pairs, "within": 1.0, "over": "seed"}
    judged = evidence.evaluate(test, frame(2))
    assert judged.measured == "x: 2.03; y: 0" and judged.verdict == evidence.MIXED


def test_trainings_are_counted_in_each_cell():
    few = frame(2)[lambda t: (t.fraction == 0.5) | (t.seed < 2)]
    text = evidence.evaluate(ORDER, few).measured_with_interval.split("; ")
    assert [part.rpartition(", ")[2] for part in text] == ["n = 3 seeds", "n = 2 seeds"]
    assert evidence.evaluate(ORDER, frame(2)).measured_with_interval.endswith("; n = 3 seeds")


def test_range_and_deviation_of_a_selection():
    spread = {"column": "accuracy", "where": {"fraction": 0.9}, "of": "range", "over": "seed", "below": 3}
    assert evidence.evaluate(spread, frame(2)).verdict == evidence.HOLDS      # A lies 2 or 2.1 above the others
    assert evidence.evaluate(spread | {"below": 1}, frame(2)).verdict == evidence.CONTRADICTED
    between = {"column": "accuracy", "where": {}, "of": "deviation", "over": ["estimator", "fraction"], "below": 1.1}
    judged = evidence.evaluate(between, frame(2))      # seeds add 0, 1 and 2
    assert judged.verdict == evidence.HOLDS and judged.measured == "1"
    assert judged.measured_with_interval.endswith("; n = 6 groups of trainings")
    assert evidence.evaluate(between | {"below": 0.9}, frame(2)).verdict == evidence.CONTRADICTED


def test_bounds_on_accuracies_are_the_papers():
    """What stands in claims/hooker.yaml as a number of Table 2 is one."""
    table = drawing.reported_roar().query("mode == 'ROAR' and percent == 90")
    base = table[table.estimator.isin(["GRAD", "IG", "GB"])].groupby("data_set").accuracy
    tests = {claim["id"]: claim.get("test") for claim in verdicts.load()}
    assert tests["hooker-4"]["below"] == pytest.approx((base.max() - base.min()).max())
    assert tests["hooker-10b"]["margin"] == pytest.approx(8.43 - 0.97)
    ten = drawing.reported_roar().query("mode == 'KAR' and percent == 10 or mode == 'ROAR' and percent == 90")
    assert set(tests["hooker-11"]["among"]["estimator"]) == set(ten.estimator)
    widths = ten.groupby(["data_set", "mode"]).accuracy.agg(lambda one: one.max() - one.min()).unstack()
    assert 1 / tests["hooker-11"]["times"] == pytest.approx((widths.KAR / widths.ROAR).max(), abs=1e-4)
    squared = table[table.estimator.isin(["SG-SQ-GRAD", "SG-SQ-IG", "SG-SQ-GB"])]
    best = squared.loc[squared.groupby("data_set").accuracy.idxmin()].set_index("data_set").estimator
    assert best.to_dict() == {"ImageNet": "SG-SQ-GRAD", "Food-101": "SG-SQ-GRAD", "Birdsnap": "SG-SQ-GB"}
    assert tests["hooker-8"]["smaller"] == {"estimator": "SG-SQ-GRAD"}


def test_the_edition_holds_what_the_claims_look_at():
    edition = pd.DataFrame(retraining.cells(catalogue.experiment("roar").at("edition")))
    edition = edition.assign(accuracy=np.random.default_rng(0).uniform(10, 90, len(edition)))
    for claim in verdicts.load():
        if claim.get("experiment") == "roar":
            ensembles = claim["test"].get("one_of", {}).get("estimator", [])
            assert evidence.evaluate(claim["test"], edition).verdict != evidence.UNTESTED, claim["id"]
            assert set(ensembles) <= set(edition.estimator), claim["id"]
