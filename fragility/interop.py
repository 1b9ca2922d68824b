"""Methods of Captum and Quantus here, and methods of this package there."""

import functools
import inspect
from collections.abc import Callable

import torch
from torch import Tensor, nn

from fragility import checks
from fragility.attribution.method import by_name, method_info


class _Logits(nn.Module):
    """A model whose output is a tensor of logits (n, classes), also where it is an object or a single logit."""

    def __init__(self, model):
        super().__init__()
        self.model = model
        self.eval()

    def forward(self, x: Tensor) -> Tensor:
        return checks.logits(self.model(x), len(x))


def captum(attribution, **arguments) -> Callable:
    """A method (model, x, target) -> maps of one of Captum's classes, or of an object of one.

    Parameters
    ----------
    attribution
        A class such as `captum.attr.Saliency`, made anew for each model; or an object of one, whose class is made anew
        for other models, as an audit needs that randomises weights.
    **arguments
        Given to `attribute` at every call, such as `sliding_window_shapes=(3, 8, 8)`. What Occlusion and the methods
        with baselines need has a default: a window of an eighth of the side at half of that as stride, and black.

    Raises
    ------
    TypeError
        Neither a class nor an object with `attribute`.
    ValueError
        When called: a class whose constructor needs more than the model, such as a layer.
    """
    if not callable(getattr(attribution, "attribute", None)):
        raise TypeError(f"captum() takes a class or an object of captum.attr, not {attribution!r}.")
    kind = attribution if isinstance(attribution, type) else type(attribution)
    own = None if isinstance(attribution, type) else attribution

    def method(model, x: Tensor, target=None) -> Tensor:
        x = x.detach().clone().requires_grad_()     # Captum would set it on the caller's, with a warning
        made = own if own is not None and _explains(own, model) else _constructed(kind, model)
        given = {**_defaults(made, x), **arguments}
        classes = checks.targets(target, len(x), x.device)
        if classes is None:
            with torch.no_grad():
                classes = checks.logits(model(x), len(x)).argmax(1)
        return made.attribute(x, target=classes, **given).detach()

    method.__name__ = kind.__name__
    return method


def _explains(made, model) -> bool:
    return getattr(made, "forward_func", None) is model or getattr(made, "model", None) is model


def _constructed(kind: type, model):
    needed = [name for name, one in list(inspect.signature(kind).parameters.items())[1:] if one.default is one.empty
              and one.kind in (one.POSITIONAL_ONLY, one.POSITIONAL_OR_KEYWORD)]
    if needed:
        raise ValueError(f"Captum's {kind.__name__} needs {', '.join(needed)} beside the model; pass a function "
                         "(model, x, target) that makes it.")
    return kind(_Logits(model))


def _defaults(made, x: Tensor) -> dict:
    """What `attribute` needs and has no default for."""
    needed = {name for name, one in inspect.signature(made.attribute).parameters.items() if one.default is one.empty}
    given = {}
    if "sliding_window_shapes" in needed:
        window = [max(1, side // 8) for side in x.shape[2:]]
        given["sliding_window_shapes"] = (x.shape[1], *window)
        given["strides"] = (x.shape[1], *(max(1, side // 2) for side in window))
    if "baselines" in needed:
        given["baselines"] = torch.zeros_like(x)
    return given


def captum_by_name(name: str) -> Callable:
    """The method of a class of `captum.attr` by its name; ValueError lists them, or says what to install."""
    try:
        from captum import attr
    except ImportError as error:
        raise ValueError("Methods of Captum need captum; pip install captum brings it.") from error
    names = sorted(one for one, kind in vars(attr).items()
                   if inspect.isclass(kind) and issubclass(kind, attr.Attribution) and kind is not attr.Attribution
                   and not one.startswith(("Layer", "Neuron", "Internal", "NoiseTunnel")) and one != "Lime")
    return captum(getattr(attr, checks.choice("Captum's method", name, names)))


def for_captum(model, method: str | Callable = "gradient", **options):
    """An object of Captum's `Attribution` whose `attribute(inputs, target=None)` gives maps of a method of ours.

    It goes wherever Captum takes an attribution, such as `captum.metrics` or `NoiseTunnel`. ValueError where Captum is
    not installed, or for an unknown method.
    """
    try:
        from captum.attr import Attribution
        from captum.log import log_usage  # pyright: ignore[reportAttributeAccessIssue] it has two homes
    except ImportError as error:
        raise ValueError("for_captum needs captum; pip install captum brings it.") from error
    function = functools.partial(by_name(method), **options)

    class OfFragility(Attribution):
        """Maps of a method of fragility."""

        @log_usage()        # NoiseTunnel calls what this wraps
        def attribute(self, inputs, target=None):
            alone = isinstance(inputs, Tensor)          # Captum's own functions pass tuples, and expect them back
            maps = function(model, inputs if alone else inputs[0], target)
            return maps if alone else (maps,)

    return OfFragility(model)


def explain_for_quantus(method: str | Callable = "gradient", **options) -> Callable:
    """An `explain_func` of Quantus: ``(model, inputs, targets, **arguments)`` -> maps, NumPy (n, c, h, w).

    Quantus passes arrays of images and classes, and arguments of its own, such as `device`, which moves the images.
    """
    function = functools.partial(by_name(method), **options)
    name = method_info(function).name

    def explain(model, inputs, targets, *, device=None, **_):
        x = torch.as_tensor(inputs, dtype=torch.float32, device=device or _device(model))
        target = torch.as_tensor(targets, dtype=torch.int64).reshape(-1)
        return function(model, x, target.expand(len(x)).clone()).cpu().numpy()

    explain.__name__ = f"explain_by_{name}"
    return explain


def _device(model):
    first = next(model.parameters(), None) if isinstance(model, nn.Module) else None
    return "cpu" if first is None else first.device
