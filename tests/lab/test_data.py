"""Data sets, networks and training: by name, with what is wrong said in a sentence."""

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from fragility import training
from lab.core.parameters import Parameters
from lab.core.store import fingerprint
from lab.material import architectures, data, networks, sources, user_sets


def test_embedded_digits_are_split_once_and_for_ever():
    train, test = data.load("mnist-5k", "train"), data.load("mnist-5k", "test")
    assert train.images.shape == (4000, 1, 28, 28) and test.images.shape == (1000, 1, 28, 28)
    assert train.images.dtype == torch.uint8 and train.labels.dtype == torch.int64
    assert train.labels.bincount().eq(400).all() and test.labels.bincount().eq(100).all()
    assert test.labels[:12].tolist() == data.load("mnist-5k", "test").labels[:12].tolist()
    seen = {image.numpy().tobytes() for image in train.images}
    assert sum(image.numpy().tobytes() in seen for image in test.images) == 0


def test_npz_folder(tmp_path):
    images = np.random.default_rng(0).integers(0, 256, (6, 8, 8, 3), dtype=np.uint8)
    np.savez(tmp_path / "cifar10.npz", train_images=images, train_labels=np.arange(6), test_images=images[:2],
             test_labels=np.arange(2), class_names=np.array(list("abcdef")))
    found = data.load("cifar10", "train", root=tmp_path)
    assert found.images.shape == (6, 3, 8, 8) and found.class_names == list("abcdef")
    assert torch.equal(found.images[3], torch.from_numpy(images[3]).permute(2, 0, 1))


def test_folder_of_classes(tmp_path):
    from PIL import Image
    for name, size in (("rose", (40, 30)), ("tulip", (30, 50))):
        (tmp_path / "flowers" / name).mkdir(parents=True)
        Image.new("RGB", size, "red").save(tmp_path / "flowers" / name / "1.png")
    found = data.load("flowers", "all", root=tmp_path)
    assert found.images.shape == (2, 3, 30, 30) and found.labels.tolist() == [0, 1]
    assert found.class_names == ["rose", "tulip"]
    (tmp_path / "flowers" / "classes.csv").write_text("class_index,wnid,name\n7,rose,Rose\n3,tulip,Tulip\n")
    assert data.load("flowers", "all", root=tmp_path).labels.tolist() == [7, 3]


def test_flowers_are_cut_into_parts(tmp_path):
    """Nine tenths of each class and the tenth that is left, in the order of the file names."""
    from PIL import Image
    for name, count in (("rose", 21), ("tulip", 10)):
        (tmp_path / "flowers" / name).mkdir(parents=True)
        for place in range(count):
            Image.new("RGB", (8, 8), (place, place, place)).save(tmp_path / "flowers" / name / f"{place:02d}.png")
    train, test = (data.load("flowers", split, root=tmp_path) for split in ("train", "test"))
    assert test.images[:, 0, 0, 0].tolist() == [18, 19, 20, 9] and test.labels.tolist() == [0, 0, 0, 1]
    assert train.images[:, 0, 0, 0].tolist() == [*range(18), *range(9)] and train.class_names == ["rose", "tulip"]
    assert len(data.load("flowers", "all", root=tmp_path).images) == len(train.images) + len(test.images)


@pytest.mark.parametrize("name, split, said", [
    ("mnist-6k", "train", "mnist-5k"), ("mnist-5k", "all", "train, test"), ("flowers", "val", "all, train, test"),
    ("imagenet-sample", "train", "all"),
    ("flowers", "all", "FRAGILITY_DATA"), ("imagenet-sample", "all", "FRAGILITY_DATA")])
def test_what_is_not_there_is_said(name, split, said, monkeypatch):
    monkeypatch.delenv("FRAGILITY_DATA", raising=False)
    with pytest.raises(ValueError, match=said):
        data.load(name, split)


@pytest.mark.parametrize("content", [b"not a zip", b""])
def test_a_damaged_file_is_named(tmp_path, content):
    (tmp_path / "mnist.npz").write_bytes(content)
    with pytest.raises(ValueError, match="mnist.npz"):
        data.load("mnist", "train", root=tmp_path)


def test_a_truncated_file_is_named(tmp_path):
    np.savez(tmp_path / "mnist.npz", train_images=np.zeros((9, 28, 28), np.uint8), train_labels=np.zeros(9))
    whole = (tmp_path / "mnist.npz").read_bytes()
    (tmp_path / "mnist.npz").write_bytes(whole[:len(whole) // 2])
    with pytest.raises(ValueError, match="mnist.npz"):
        data.load("mnist", "train", root=tmp_path)


def test_wrong_arrays_are_named(tmp_path):
    np.savez(tmp_path / "mnist.npz", train_images=np.zeros((2, 28, 28)), train_labels=np.zeros(2))
    with pytest.raises(ValueError, match="uint8"):
        data.load("mnist", "train", root=tmp_path)
    with pytest.raises(ValueError, match="test_images"):
        data.load("mnist", "test", root=tmp_path)


# A user's own sets

def noise(*shape):
    return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)


PARTS = {"train_images": noise(4, 6, 5, 3), "train_labels": np.array([0, 1, 0, 1]),
         "test_images": noise(3, 6, 5, 3), "test_labels": np.array([1, 2, 0])}
WHOLE = {"images": noise(4, 6, 5), "labels": np.array([0, 2, 1, 2], np.uint8),
         "class_names": np.array(["ant", "bee", "cow"])}


def picture(file, size=(8, 6), colour=(255, 0, 0), mode="RGB"):
    from PIL import Image
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, size, colour).save(file)


def test_an_own_file_in_parts(tmp_path):
    np.savez(tmp_path / "birds.npz", **PARTS)
    train, test = (data.load("birds", split, root=tmp_path) for split in ("train", "test"))
    assert torch.equal(train.images, torch.from_numpy(PARTS["train_images"]).permute(0, 3, 1, 2))
    assert train.labels.tolist() == [0, 1, 0, 1] and test.labels.tolist() == [1, 2, 0]
    assert train.class_names == test.class_names == ["0", "1", "2"]     # also where only the test has the last
    assert data.splits("birds", root=tmp_path) == ("train", "test") and train.source == "birds.npz"
    with pytest.raises(ValueError, match="The data set birds has no split 'all'; choose one of: train, test."):
        data.load("birds", "all", root=tmp_path)


def test_an_own_file_without_a_split(tmp_path, monkeypatch):
    np.savez(tmp_path / "my.birds.npz", **WHOLE)
    monkeypatch.setenv("FRAGILITY_DATA", str(tmp_path))
    found = data.load("my.birds", "all")
    assert found.images.shape == (4, 1, 6, 5) and found.labels.tolist() == [0, 2, 1, 2]
    assert found.class_names == ["ant", "bee", "cow"]
    assert data.is_unsplit("my.birds") and not data.is_unsplit("mnist-5k") and data.is_unsplit("flowers")
    for split in ("train", "test"):
        with pytest.raises(ValueError, match=f"no split '{split}'; choose one of: all."):
            data.load("my.birds", split)


def test_an_own_tree_in_parts(tmp_path):
    """Labels and sizes are those of the set: also where a class, or the smallest picture, is in one part alone."""
    picture(tmp_path / "birds" / "train" / "wren" / "1.png", size=(12, 9))
    picture(tmp_path / "birds" / "train" / "crow" / "1.png", colour=(0, 0, 9))
    picture(tmp_path / "birds" / "test" / "kite" / "1.png", colour=90, mode="L")
    picture(tmp_path / "birds" / "test" / "wren" / "1.png", size=(4, 5))
    train, test = (data.load("birds", split, root=tmp_path) for split in ("train", "test"))
    assert train.class_names == test.class_names == ["crow", "kite", "wren"]
    assert train.labels.tolist() == [0, 2] and test.labels.tolist() == [1, 2]
    assert train.images.shape == test.images.shape == (2, 3, 4, 4) and test.images.dtype == torch.uint8
    assert train.images[0, :, 0, 0].tolist() == [0, 0, 9] and test.images[0, :, 0, 0].tolist() == [90] * 3


def test_an_own_tree_without_a_split(tmp_path):
    for name in ("plane", "train"):         # a class may be called so
        picture(tmp_path / "traffic" / name / "1.png")
    found = data.load("traffic", "all", root=tmp_path)
    assert found.class_names == ["plane", "train"] and found.labels.tolist() == [0, 1] and found.source == "traffic"
    (tmp_path / "traffic" / "classes.csv").write_text("class_index,wnid,name\n3,train,Train\n1,plane,Plane\n")
    found = data.load("traffic", "all", root=tmp_path)
    assert found.labels.tolist() == [1, 3] and found.class_names == ["0", "Plane", "2", "Train"]


def test_a_file_is_preferred_to_a_tree_of_the_same_name(tmp_path):
    np.savez(tmp_path / "birds.npz", **WHOLE)
    picture(tmp_path / "birds" / "wren" / "1.png")
    assert data.load("birds", "all", root=tmp_path).source == "birds.npz"


def test_known_names_are_read_as_ever(tmp_path):
    """What records are kept under: fingerprints of a file, of a tree and of its cut, from before own sets."""
    for name in ("cifar10", "birds"):
        np.savez(tmp_path / f"{name}.npz", **PARTS)
    assert data.load("cifar10", "train", root=tmp_path).class_names[:2] == ["airplane", "automobile"]
    for split in ("train", "test"):
        known, mine = (data.load(name, split, root=tmp_path) for name in ("cifar10", "birds"))
        assert fingerprint(*known[:2]) == fingerprint(*mine[:2])
    assert fingerprint(*data.load("cifar10", "train", root=tmp_path)[:2]) == "aec22c491f0a"
    from PIL import Image
    for place, image in enumerate(noise(11, 9, 12, 3)):
        (tmp_path / "flowers" / "rose").mkdir(parents=True, exist_ok=True)
        Image.fromarray(image[:, :10 + place % 2]).save(tmp_path / "flowers" / "rose" / f"{place:02d}.png")
    assert [fingerprint(*data.load("flowers", split, root=tmp_path)[:2]) for split in data.SPLITS["flowers"]] == [
        "be2127bd3bb5", "5754e1568a3d", "98b1925209e1"]
    assert data.WITHOUT_SPLIT == ("flowers", "imagenet-sample")


class Asked(Parameters):
    data_set: data.DataSet
    networks: dict[data.DataSet, str] = {}


def test_a_parameter_names_a_known_set_or_one_in_the_folder(tmp_path, monkeypatch):
    monkeypatch.delenv("FRAGILITY_DATA", raising=False)
    assert Asked.of({"data_set": "imagenet"}).data_set == "imagenet"        # known, wherever it may be
    with pytest.raises(ValueError, match=r"data_set: Data set 'birds' is unknown; choose one of: mnist-5k.*; or a set "
                                         r"of your own in the folder that FRAGILITY_DATA names \(it is not set\)"):
        Asked.of({"data_set": "birds"})
    np.savez(tmp_path / "birds.npz", **WHOLE)
    monkeypatch.setenv("FRAGILITY_DATA", str(tmp_path))
    asked = Asked.of({"data_set": "birds", "networks": {"birds": "mnist-cnn"}})
    assert asked.model_dump() == {"data_set": "birds", "networks": {"birds": "mnist-cnn"}}
    with pytest.raises(ValueError, match=r"networks.*: Data set 'bird' is unknown"):
        Asked.of({"data_set": "birds", "networks": {"bird": "mnist-cnn"}})


def test_a_parameter_may_ask_for_a_set_in_parts(tmp_path, monkeypatch):
    class Split(Parameters):
        data_set: data.SplitDataSet

    np.savez(tmp_path / "birds.npz", **PARTS)
    np.savez(tmp_path / "cows.npz", **WHOLE)
    picture(tmp_path / "fish" / "carp" / "1.png")
    np.savez(tmp_path / "torn.npz", labels=WHOLE["labels"])
    monkeypatch.setenv("FRAGILITY_DATA", str(tmp_path))
    for name in ("birds", *(set(data.NAMES) - set(data.WITHOUT_SPLIT))):
        assert Split.of({"data_set": name}).data_set == name
    for name in ("cows", "fish", *data.WITHOUT_SPLIT):
        with pytest.raises(ValueError, match=f"Data set '{name}' comes without a split into train and test, which is "
                                             "needed here; choose one of: mnist-5k, .*; or a set of your own with"):
            Split.of({"data_set": name})
    for name, said in (("torn", "images and labels alone .* it holds labels; "), ("hens", "'hens' is unknown; ")):
        with pytest.raises(ValueError, match=said):
            Split.of({"data_set": name})


@pytest.mark.parametrize("name", ["fish", "Birds", "birds.npz", "", ".", "..", ".hidden", "../x", "/etc", "birds/wren",
                                  "a\\b", "weights.safetensors", None, 3])
def test_a_name_that_is_nowhere_is_refused(tmp_path, name):
    (tmp_path / "data" / ".hidden").mkdir(parents=True)
    (tmp_path / "data" / "a\\b").mkdir()
    (tmp_path / "data" / "weights.safetensors").touch()
    picture(tmp_path / "data" / "birds" / "wren" / "1.png")
    np.savez(tmp_path / "data" / "cows.npz", **WHOLE)
    np.savez(tmp_path / "data" / "mnist.npz", **PARTS)      # a known name, so none of the user's own
    np.savez(tmp_path / "x.npz", **WHOLE)
    separated = {"/", "\\"} & set(str(name))
    path = ", since a name holds no path separators" if separated else ""
    with pytest.raises(ValueError) as refused:
        data.load(name, "all", root=tmp_path / "data")
    assert str(refused.value) == (
        f"Data set {name!r} is unknown{path}; choose one of: {', '.join(data.NAMES)}; or a set of your own in the data "
        f"folder {tmp_path / 'data'}, which holds a\\b, birds, cows.")


def test_a_data_folder_that_is_not_there_is_said(tmp_path):
    with pytest.raises(ValueError, match="none does not exist; correct FRAGILITY_DATA or root="):
        data.load("birds", "all", root=tmp_path / "none")
    with pytest.raises(ValueError, match="unknown; .* which holds none"):
        data.load("birds", "all", root=tmp_path)


DAMAGED_FILES = {
    "no arrays": ({}, "all", r"must hold train_images, .* or images and labels alone .*, but it holds nothing; "),
    "other arrays": ({"x": noise(2, 4, 4)}, "all", r"or images and labels alone .*, but it holds x; write it again"),
    "both kinds": (PARTS | WHOLE, "all", r"must hold .* alone .*, but it holds class_names, images, labels, test_"),
    "no labels": ({"images": WHOLE["images"]}, "all", r"images and labels alone .*, but it holds images;"),
    "no test": ({name: PARTS[name] for name in ("train_images", "train_labels")}, "train",
                r"must hold .*, test_images, test_labels, .* but it holds train_images, train_labels;"),
    "floats": (WHOLE | {"images": np.zeros((4, 6, 5))}, "all", r"images of .* must be uint8, 0 to 255, .* float64; "),
    "five axes": (WHOLE | {"images": noise(4, 2, 6, 5, 3)}, "all", r"must have the shape \(n, h, w\), .*; reshape"),
    "too few labels": (PARTS | {"test_labels": np.array([0])}, "test", r"test_labels .* of shape \(3,\), .* \(1,\)"),
    "negative": (PARTS | {"train_labels": np.array([0, 1, -1, 0])}, "train", r"train_labels .* of image 2 is -1; "),
    "negative in the other part": (PARTS | {"test_labels": np.array([0, 1, -1])}, "train", r"test_labels .* is -1; "),
    "half": (WHOLE | {"labels": np.array([0, 0.5, 1, 1])}, "all", r"whole numbers, but that of image 1 is 0\.5; "),
    "text": (WHOLE | {"labels": np.array(list("abca"))}, "all", r"whole numbers, but they are <U1; number the classes"),
    "beyond names": (WHOLE | {"labels": np.array([0, 3, 1, 1])}, "all", r"0 to 2, one of the 3 class names, .* is 3; "),
    "empty": (PARTS | {"test_images": noise(0, 6, 5), "test_labels": np.zeros(0, int)}, "test", r"test_images .*empty"),
    "pickled": (WHOLE | {"images": np.array([None, "a"], object)}, "all", r"images .* is pickled, and pickles are"),
    "pickled labels": (WHOLE | {"labels": np.array([0, 1, 2, None])}, "all", r"labels .* is pickled, and pickles are"),
    "names of names": (WHOLE | {"class_names": np.array([["a", "b"]])}, "all", r"one line of text for each class"),
}


@pytest.mark.parametrize("kind", DAMAGED_FILES)
def test_a_damaged_own_file_is_refused(tmp_path, kind):
    held, split, said = DAMAGED_FILES[kind]
    np.savez(tmp_path / "birds.npz", **held)
    with pytest.raises(ValueError, match=said) as refused:
        data.load("birds", split, root=tmp_path)
    assert str(tmp_path / "birds.npz") in str(refused.value) and str(refused.value).endswith(".")


@pytest.mark.parametrize("damage", [lambda whole: b"no archive", lambda whole: b"", lambda whole: whole[:-40]])
def test_an_own_file_that_cannot_be_read_is_refused(tmp_path, damage):
    np.savez(tmp_path / "birds.npz", **WHOLE)
    (tmp_path / "birds.npz").write_bytes(damage((tmp_path / "birds.npz").read_bytes()))
    assert user_sets.names(tmp_path) == ["birds"]
    with pytest.raises(ValueError, match=r"birds\.npz is not a whole \.npz archive \(.*\); write it again with"):
        data.load("birds", "all", root=tmp_path)


def text_picture(folder):
    picture(folder / "wren" / "1.png")
    (folder / "wren" / "2.png").write_bytes(b"no picture")


def half_a_picture(folder):
    for place in range(30):
        picture(folder / "wren" / f"{place:02d}.png", size=(40, 40), colour=(place, 0, 0))
    whole = (folder / "wren" / "07.png").read_bytes()
    (folder / "wren" / "07.png").write_bytes(whole[:len(whole) // 2])


def table(text):
    def make(folder):
        picture(folder / "wren" / "1.png")
        (folder / "classes.csv").write_text(text)
    return make


def only_a_test(folder):
    picture(folder / "test" / "wren" / "1.png")


def empty_test(folder):
    picture(folder / "train" / "wren" / "1.png")
    (folder / "test").mkdir()


DAMAGED_TREES = {
    "empty": (lambda folder: folder.mkdir(), r"holds no images; put pictures into it, or into a subfolder for each"),
    "no pictures": (lambda folder: (folder / "wren").mkdir(parents=True), r"holds no images; put pictures"),
    "no classes": (lambda folder: picture(folder / "1.png"), r"without a class, such as 1\.png; sort them into a sub"),
    "deeper": (lambda folder: picture(folder / "a" / "b" / "1.png"), r"a/b/1\.png lies deeper; name the folder above"),
    "no train": (only_a_test, r"has a folder test/ of classes, but lacks train/; add it, or put the classes into"),
    "empty test": (empty_test, r"test holds no images; put pictures"),
    "text": (text_picture, r"wren/2\.png cannot be read \(.*\); replace or remove it"),
    "cut off": (half_a_picture, r"wren/07\.png cannot be read; replace or remove it"),
    "no columns": (table("a,b\n1,2\n"), r"columns class_index \(a whole number\), wnid and name, .* correct or remove"),
    "no number": (table("class_index,wnid,name\none,wren,Wren\n"), r"columns class_index .*'one'"),
    "negative": (table("class_index,wnid,name\n-1,wren,Wren\n"), r"from 0 to 99,999, but it holds -1, wren, Wren; "),
    "no name": (table("class_index,wnid,name\n1,wren\n"), r"a name and a class_index .* it holds 1, wren, None"),
    "no line": (table("class_index,wnid,name\n0,crow,Crow\n"), r"lacks the folder wren; add its line, or remove"),
}


@pytest.mark.parametrize("kind", DAMAGED_TREES)
def test_a_damaged_own_tree_is_refused(tmp_path, kind):
    make, said = DAMAGED_TREES[kind]
    make(tmp_path / "birds")
    with pytest.raises(ValueError, match=said) as refused:
        data.load("birds", "test" if (tmp_path / "birds" / "train").is_dir() else "all", root=tmp_path)
    assert str(tmp_path / "birds") in str(refused.value) and str(refused.value).endswith(".")


def test_damage_of_known_sets_is_said_as_well(tmp_path):
    np.savez(tmp_path / "mnist.npz", **PARTS | {"train_labels": np.array([0, 1, 10, 0])})
    with pytest.raises(ValueError, match=r"train_labels of the data file .* one of the 10 class names, .* 2 is 10"):
        data.load("mnist", "train", root=tmp_path)
    table("class_index,wnid,name\n0,crow,Crow\n")(tmp_path / "flowers")
    with pytest.raises(ValueError, match="lacks the folder wren; add its line"):
        data.load("flowers", "all", root=tmp_path)
    (tmp_path / "flowers" / "classes.csv").unlink()
    (tmp_path / "flowers" / "wren" / "2.png").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(30))
    with pytest.raises(ValueError, match=r"The image .*2\.png cannot be read \(.*\); replace or remove it"):
        data.load("flowers", "all", root=tmp_path)


@pytest.mark.skipif(not (sources.SYSTEM / "fashion-mnist").is_dir(),
                    reason="Debian's dataset-fashion-mnist is not installed")
def test_system_copy(monkeypatch, tmp_path):
    monkeypatch.delenv("FRAGILITY_DATA", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    found = data.load("fashion-mnist", "test")
    assert found.images.shape == (10_000, 1, 28, 28) and found.labels.bincount().eq(1000).all()
    assert "fashion-mnist" in found.source


@pytest.mark.parametrize("name", networks.ARCHITECTURES)
def test_own_networks(name):
    network = networks.load(name)
    assert not network.training
    shape = (2, 1, 28, 28) if "mnist" in name else (2, 3, 32, 32)
    classes = {"kamath-gtsrb": 43, "kamath-flower": 17}.get(name, 10)
    assert network(torch.rand(shape)).shape == (2, classes)


def test_torchvision_networks_normalise_inside():
    network = networks.load("squeezenet1_0")
    mean = torch.tensor(data.IMAGENET_MEAN)[None, :, None, None].expand(1, 3, 64, 64)
    assert torch.allclose(network(mean), network.network(torch.zeros(1, 3, 64, 64)), atol=1e-6)


def test_weights_files(tmp_path, monkeypatch):
    state = architectures.mnist_cnn().state_dict()
    save_file(state, tmp_path / "mnist-cnn.safetensors")
    for weights in (state, tmp_path / "mnist-cnn.safetensors"):
        assert torch.equal(networks.load("mnist-cnn", weights=weights)[0].weight, state["0.weight"])
    monkeypatch.setenv("FRAGILITY_DATA", str(tmp_path))
    assert torch.equal(networks.load("mnist-cnn", weights="DEFAULT")[0].weight, state["0.weight"])
    (tmp_path / "cut.safetensors").write_bytes((tmp_path / "mnist-cnn.safetensors").read_bytes()[:100])
    wrong = {"cut.safetensors": "damaged", "none.safetensors": "does not exist"}
    for file, said in wrong.items():
        with pytest.raises(ValueError, match=said):
            networks.load("mnist-cnn", weights=tmp_path / file)
    with pytest.raises(ValueError, match="do not fit"):
        networks.load("mnist-mlp", weights=state)
    with pytest.raises(ValueError, match="unknown"):
        networks.load("lenet-6")
    monkeypatch.delenv("FRAGILITY_DATA")
    with pytest.raises(ValueError, match="IMAGENET1K_V1"):
        networks.load("resnet18", weights="IMAGENET22K")


def test_training_learns_and_repeats():
    digits = data.load("mnist-5k", "train")

    def trained():
        torch.manual_seed(0)
        return training.train(networks.load("mnist-cnn"), digits.images[:1024], digits.labels[:1024], epochs=3,
                              batch_size=32, generator=torch.Generator().manual_seed(0))
    first, second = trained(), trained()
    test = data.load("mnist-5k", "test")
    assert training.accuracy(first, test.images, test.labels) > 0.75
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters()))
    assert not first.training


@pytest.mark.parametrize("change", [{"epochs": 0}, {"batch_size": 9}, {"images": 255 * torch.rand(8, 1, 28, 28)},
                                    {"labels": torch.zeros(7, dtype=torch.int64)}])
def test_training_refuses(change):
    arguments = {"images": torch.zeros(8, 1, 28, 28, dtype=torch.uint8), "labels": torch.zeros(8, dtype=torch.int64),
                 "epochs": 1, "batch_size": 4, "generator": torch.Generator(), **change}
    with pytest.raises(ValueError):
        training.train(networks.load("mnist-cnn"), **arguments)
