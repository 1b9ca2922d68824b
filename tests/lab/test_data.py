"""Data sets, networks and training: by name, with what is wrong said in a sentence."""

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from fragility import training
from lab.material import architectures, data, networks, sources


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


@pytest.mark.skipif(not (sources.SYSTEM / "fashion-mnist").is_dir(),
                    reason="Debian's dataset-fashion-mnist is not installed")
def test_system_copy(monkeypatch, tmp_path):
    monkeypatch.delenv("FRAGILITY_DATA", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    found = data.load("fashion-mnist", "test")
    assert found.images.shape == (10_000, 1, 28, 28) and found.labels.bincount().eq(1000).all()
    assert "fashion-mnist" in found.source


@pytest.mark.parametrize("name", networks.OWN)
def test_own_networks(name):
    network = networks.load(name)
    assert not network.training
    shape = (2, 1, 28, 28) if "mnist" in name else (2, 3, 32, 32)
    classes = {"kamath-gtsrb": 43, "kamath-flower": 17}.get(name, 10)
    assert network(torch.rand(shape)).shape == (2, classes)


def test_torchvision_networks_normalise_inside():
    network = networks.load("squeezenet1_0")
    mean = torch.tensor(networks.IMAGENET_MEAN)[None, :, None, None].expand(1, 3, 64, 64)
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
