"""Real data and published weights, where FRAGILITY_DATA names a folder that holds them."""

import pytest
import torch
from torchvision.transforms.functional import center_crop

from fragility import attacks, attribution, metrics, training
from fragility.passes import predict
from lab.core import folders
from lab.material import data, networks


def needs(*names):
    """Skip unless the data folder holds one of the files for each name."""
    roots = folders.data_roots()
    lacking = [name for name in names if not any((folder / name).exists() for folder in roots)]
    return pytest.mark.skipif(bool(lacking), reason=f"FRAGILITY_DATA names no folder with {', '.join(lacking)}")


SETS = {"mnist": ("mnist.npz", (1, 28, 28), 10), "cifar10": ("cifar10.npz", (3, 32, 32), 10),
        "gtsrb": ("gtsrb.npz", (3, 32, 32), 43), "flowers": ("flowers", (3, 128, 128), 5)}


@pytest.mark.parametrize("name", [pytest.param(name, marks=needs(file)) for name, (file, _, _) in SETS.items()])
@pytest.mark.parametrize("split", ["train", "test"])
def test_sets_with_a_split(name, split):
    found = data.load(name, split)
    _, shape, classes = SETS[name]
    assert found.images.shape[1:] == shape and found.images.dtype == torch.uint8
    assert found.labels.bincount(minlength=classes).gt(0).all() and len(found.class_names) == classes


@needs("imagenet-sample", "squeezenet1_0.safetensors")
def test_published_network_on_photographs():
    photographs = data.load("imagenet-sample", "all")
    assert len(photographs.images) == 500 and len(photographs.class_names) == 1000
    model = networks.load("squeezenet1_0", weights="DEFAULT")
    x = training.as_float(center_crop(photographs.images[::5], [224, 224]))
    right = predict(model, x) == photographs.labels[::5]
    assert 0.45 < right.float().mean() < 0.72     # 0.59 of all 500

    x = x[right][:4]
    before = attribution.pixel_map(attribution.gradient(model, x))
    result = attacks.attack(model, x, objective=attacks.TopK(1000), epsilon=8 / 255, steps=6)
    after = attribution.pixel_map(attribution.gradient(model, result.x))
    signs = attacks.random_sign(x, epsilon=8 / 255, generator=torch.Generator().manual_seed(0))
    noisy = attribution.pixel_map(attribution.gradient(model, signs))
    attacked, random = (metrics.topk_intersection(before, maps, 1000).mean() for maps in (after, noisy))
    assert result.found.all() and attacked < 0.15 and attacked < random / 2
