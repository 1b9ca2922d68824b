"""Find a model by what the command line names: code, a torchvision or timm name, or a TorchScript file."""

import importlib
import importlib.util
import inspect
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import torch
from torch import nn

from fragility.normalised import Normalised

FORMS = ("package.module:name, file.py:name, a name of torchvision or timm, or a TorchScript file (.pt, .pts, "
         ".torchscript)")
SCRIPTS = (".pt", ".pth", ".pts", ".torchscript")


def load(spec: str, *, weights: str | Path | None = None, device: str | torch.device = "cpu") -> nn.Module | Callable:
    """The model that `spec` names, in evaluation mode on the device.

    Parameters
    ----------
    spec
        "package.module:name" or "file.py:name", which runs that code: a module, a function that makes one, or a
        function of images. A name of torchvision's or timm's, with their published weights from the cache or
        downloaded. Or a TorchScript file.
    weights
        A `.safetensors` file in place of the published weights.

    Raises
    ------
    ValueError
        Nothing of that name, code that fails, arguments that are missing, or weights that do not fit.
    """
    if ":" in spec:
        model = _made(named(spec), spec)
    elif Path(spec).suffix in SCRIPTS:
        model = _script(Path(spec).expanduser())
    else:
        model = _published(spec, weights)
        weights = None
    if weights is not None:
        _fill(model, weights)
    if isinstance(model, nn.Module):
        model = model.eval().to(device)
    return model


def named(spec: str):
    """The object that "package.module:name" or "file.py:name" names; ValueError where there is none."""
    place, _, name = spec.rpartition(":")
    if not place or not name:
        raise ValueError(f"{spec!r} names nothing; write package.module:name or file.py:name.")
    module = _module(place)
    try:
        for part in name.split("."):
            module = getattr(module, part)
    except AttributeError:
        public = [one for one in vars(module) if not one.startswith("_")] if isinstance(module, ModuleType) else []
        raise ValueError(f"{place} has no {name!r}; it has: {', '.join(public[:20]) or 'nothing public'}.") from None
    return module


def _module(place: str) -> ModuleType:
    try:
        if not place.endswith(".py"):
            return importlib.import_module(place)
        file = Path(place).expanduser().resolve()
        if not file.is_file():
            raise ValueError(f"The file {place} does not exist.")
        spec = importlib.util.spec_from_file_location(f"audited_{file.stem}", file)
        assert spec is not None and spec.loader is not None        # None is for endings that nothing can load
        module = importlib.util.module_from_spec(spec)
        sys.modules[spec.name] = module             # dataclasses and pickles of its classes look there
        sys.path.insert(0, str(file.parent))        # a file may import what lies beside it
        try:
            spec.loader.exec_module(module)
        finally:
            sys.path.remove(str(file.parent))
        return module
    except ValueError:
        raise
    except (Exception, SystemExit) as error:        # of whatever kind the user's code raises, also SyntaxError
        raise ValueError(f"{place} cannot be imported: {type(error).__name__}: {error}") from error


def _made(found, spec: str):
    """A module or function of images as it is; what makes one is called."""
    if isinstance(found, nn.Module):
        return found
    if not callable(found):
        raise ValueError(f"{spec} is a {type(found).__name__}; it must be a module, a function that makes one, or a "
                         "function from images to logits.")
    needed = [name for name, one in inspect.signature(found).parameters.items()
              if one.default is one.empty and one.kind in (one.POSITIONAL_ONLY, one.POSITIONAL_OR_KEYWORD,
                                                           one.KEYWORD_ONLY)]
    if not needed:
        try:
            made = found()
        except (Exception, SystemExit) as error:    # of whatever kind the user's code raises
            raise ValueError(f"{spec} fails: {type(error).__name__}: {error}") from error
        if not callable(made):
            raise ValueError(f"{spec} returned a {type(made).__name__}; it must return a module.")
        return made
    if len(needed) == 1 and not isinstance(found, type):
        return found                # a function of images
    raise ValueError(f"{spec} needs the arguments {', '.join(needed)}; name a function that needs none.")


def _script(file: Path) -> nn.Module:
    if not file.is_file():
        raise ValueError(f"The file {file} does not exist.")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)      # of torch, that TorchScript is deprecated
            return torch.jit.load(str(file), map_location="cpu")
    except Exception as error:      # torch raises RuntimeError for most, but not all, kinds of damage
        raise ValueError(f"{file} is not a TorchScript file ({str(error).splitlines()[0]}). Pickled modules and bare "
                         "weights are not loaded: save weights as .safetensors, and name the code that makes the "
                         "module.") from error


def _published(name: str, weights) -> nn.Module:
    """A network of torchvision or timm with its published weights, behind the normalisation they were trained with."""
    try:
        from torchvision import models
    except ImportError:
        models = None
    if models is not None and name in models.list_models(module=models):
        return _torchvision(models, name, weights)
    try:
        import timm  # pyright: ignore[reportMissingImports] the user's, where there is one
    except ImportError:
        timm = None
    if timm is not None and timm.is_model(name):
        return _timm(timm, name, weights)
    where = " or ".join(one for one, found in (("torchvision", models), ("timm", timm)) if found is not None)
    raise ValueError(f"The model {name!r} is unknown{f' to {where}' if where else ''}; name it as {FORMS}."
                     + ("" if models else " For names of torchvision's, install torchvision."))


def _torchvision(models, name: str, weights) -> nn.Module:
    published = models.get_model_weights(name).DEFAULT
    transform = published.transforms()
    try:
        network = models.get_model(name, weights=None if weights else published)
    except Exception as error:      # downloads fail in many ways
        raise ValueError(f"The weights of {name} are neither in torchvision's cache nor could they be downloaded "
                         f"({type(error).__name__}); give them as --weights FILE.safetensors.") from error
    if weights is not None:
        _fill(network, weights)
    return Normalised(network, transform.mean, transform.std)


def _timm(timm, name: str, weights) -> nn.Module:
    try:
        network = timm.create_model(name, pretrained=weights is None)
    except Exception as error:      # downloads fail in many ways
        raise ValueError(f"The weights of {name} could not be loaded by timm ({type(error).__name__}); give them as "
                         "--weights FILE.safetensors.") from error
    if weights is not None:
        _fill(network, weights)
    settings = network.pretrained_cfg
    return Normalised(network, settings["mean"], settings["std"])


def _fill(model, weights: str | Path) -> None:
    """Load a `.safetensors` file into a module."""
    file = Path(weights).expanduser()
    if file.suffix != ".safetensors" or not file.is_file():
        raise ValueError(f"Weights are read from a .safetensors file, but {file} "
                         f"{'is none' if file.exists() else 'does not exist'}.")
    if not isinstance(model, nn.Module):
        raise ValueError("Weights can be loaded into a module only.")
    try:
        from safetensors.torch import load_file
    except ImportError as error:
        raise ValueError("Weights are read by safetensors; pip install 'fragility[audit]' brings it.") from error
    try:
        values = load_file(file)
        model.load_state_dict(values)
    except Exception as error:      # damaged files and weights of another network
        raise ValueError(f"The weights in {file} do not fit the model: {' '.join(str(error).split())[:300]}") from error
