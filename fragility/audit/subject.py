"""The model and the images under audit, looked at before anything long begins."""

import hashlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor, nn

from fragility import checks
from fragility.attribution import METHODS
from fragility.data import Images
from fragility.normalised import Normalised
from fragility.passes import logits_of

#: Values of the images that are measured together: eight photographs of 224 pixels. It depends on the images alone.
TOGETHER, MOST_TOGETHER = 2**20 + 2**18, 64


@dataclass
class Subject:
    """A model and n images, in the order of the audit: class by class, so that partners stand side by side."""

    model: Callable             #: callable on images in [0, 1], in evaluation mode
    name: str
    images: Tensor              #: (n, c, h, w), uint8 or floats in [0, 1], on the CPU
    names: list[str]            #: of the images
    target: Tensor              #: predicted classes (n,)
    labels: Tensor | None
    class_names: list[str] | None
    classes: int                #: outputs of the model; 1 for a single logit
    accuracy: float | None
    device: torch.device
    dtype: torch.dtype
    notices: list[str] = field(default_factory=list)
    answers: Tensor | None = None       #: logits of the predicted classes (n,)
    available: int = 0                  #: images of which these were drawn

    def __len__(self) -> int:
        return len(self.images)

    def x(self, rows) -> Tensor:
        """Some of the images as floats in [0, 1] on the model's device."""
        part = self.images[rows]
        return (part.to(self.device, self.dtype) / 255) if part.dtype == torch.uint8 else part.to(self.device,
                                                                                                  self.dtype)

    @property
    def groups(self) -> list[slice]:
        """Slices of nearly equal length, at least two images each, that are measured together."""
        size = max(2, min(MOST_TOGETHER, TOGETHER // self.images[0].numel()))
        count = min(-(-len(self) // size), len(self) // 2)
        bounds = [round(place * len(self) / count) for place in range(count + 1)]
        return [slice(*pair) for pair in zip(bounds, bounds[1:])]

    def take(self, n: int, seed: int) -> "Subject":
        """The first n images of an order drawn from the seed, class by class.

        The order of the classes is drawn, too: only the first images are attacked, and in the order of its labels
        ImageNet begins with fish and birds.
        """
        generator = torch.Generator().manual_seed(seed)
        chosen = torch.randperm(len(self), generator=generator)[:n]
        place = torch.randperm(max(2, self.classes), generator=generator)
        chosen = chosen[place[self.target[chosen]].argsort(stable=True)]
        pick = lambda values: None if values is None else values[chosen]
        return Subject(self.model, self.name, self.images[chosen], [self.names[place] for place in chosen.tolist()],
                       self.target[chosen], pick(self.labels), self.class_names, self.classes, self.accuracy,
                       self.device, self.dtype, self.notices, pick(self.answers),
                       self.available)

    def fingerprint(self) -> str:
        """A digest of the model's weights and answers, and of the images."""
        digest = hashlib.sha256(self.name.encode())
        if isinstance(self.model, nn.Module):
            for name, value in sorted(self.model.state_dict().items()):
                digest.update(name.encode())
                digest.update(value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
        digest.update(np.ascontiguousarray(self.images.numpy()).tobytes())
        digest.update(self.target.cpu().numpy().tobytes())
        answers = [] if self.answers is None else self.answers.tolist()
        digest.update(" ".join(f"{value:.3g}" for value in answers).encode())       # not its rounding
        return digest.hexdigest()


def subject(model, images, *, labels=None, class_names: list[str] | None = None, names: list[str] | None = None,
            mean=None, std=None, name: str | None = None, most: int | None = None, seed: int = 0) -> Subject:
    """Check a model and images, predict, and say what is wrong in a sentence.

    Parameters
    ----------
    model
        A module or function from images in [0, 1] to logits, in evaluation mode. It is not changed.
    images
        Tensor or array (n, c, h, w), uint8 or floats in [0, 1]; `data.Images`; or an iterable of batches, such as a
        DataLoader, of images or of (images, labels).
    labels, class_names, names
        Classes (n,), for the accuracy; names of the classes; names of the images.
    mean, std
        Of the normalisation that the model expects, one number a channel; None where it normalises inside.
    most, seed
        Where there are more images, so many are drawn, and only these are shown to the model.

    Raises
    ------
    ValueError, TypeError
        Images of another shape or range, labels that do not fit, a model that cannot be called on them, that gives
        probabilities, that answers differently at a second call or in another batch, or whose gradient is cut off.
    """
    images, found_labels, found_names = gathered(images)
    labels = _labels(labels if labels is not None else found_labels, len(images))
    class_names = class_names or found_names
    if names is not None and len(names) != len(images):
        raise ValueError(f"There are {len(images)} images, but {len(names)} names of them.")
    if len(images) < 2:
        raise ValueError("An audit needs at least two images, since another image is a control; it has one.")
    checks.model(model)
    wrapped, device, dtype = _normalising(model, mean, std, images.shape[1])
    available, names, spanned = len(images), names or [f"image {place}" for place in range(len(images))], labels
    if most is not None and most < available:
        chosen = torch.randperm(available, generator=torch.Generator().manual_seed(seed))[:most]
        images, names = images[chosen], [names[place] for place in chosen.tolist()]
        labels = None if labels is None else labels[chosen]
    one = Subject(wrapped, name or _name(model), images, names, torch.zeros(len(images), dtype=torch.int64), labels,
                  class_names, 0, None, device, dtype, available=available)
    logits = _answers(one)
    one.answers, one.target = logits.max(1)
    _refuse_constant(one, logits)
    _refuse_probabilities(logits, one.classes)
    _refuse_unsteady(one, logits)
    _refuse_cut(one)
    if labels is not None and spanned is not None:
        outputs = max(2, one.classes)
        if int(spanned.min()) < 0 or int(spanned.max()) >= outputs:
            raise ValueError(f"The labels span {int(spanned.min())} to {int(spanned.max())}, but the model has the "
                             f"classes 0 to {outputs - 1}.")
        one.accuracy = float((one.target == labels).double().mean())
    _notice(one, logits)
    return one


def is_script(model) -> bool:
    """Whether a part of the model is TorchScript, into which neither rules nor hooks see."""
    return isinstance(model, nn.Module) and any(isinstance(part, torch.jit.ScriptModule) for part in model.modules())


def gathered(images) -> tuple[Tensor, Tensor | None, list[str] | None]:
    """Images (n, c, h, w), labels and class names of whatever holds them."""
    if isinstance(images, Images):
        return images.images, images.labels, images.class_names
    if isinstance(images, np.ndarray):
        if images.dtype.kind not in "fiub":
            raise ValueError(f"images must be uint8 or floats in [0, 1], but they are {images.dtype}.")
        images = torch.from_numpy(images)
    if isinstance(images, Tensor):
        return _batch(images), None, None
    if not isinstance(images, Iterable) or isinstance(images, (str, dict)):
        raise TypeError(f"images must be a tensor or an array (n, c, h, w), fragility.data.images(folder), or a loader "
                        f"of batches, not a {type(images).__name__}.")
    parts, labels = [], []
    for batch in images:
        several = isinstance(batch, (tuple, list)) and len(batch) in (1, 2)     # as of a TensorDataset
        pair = several and len(batch) == 2
        parts.append(_batch(torch.as_tensor(batch[0] if several else batch)))
        labels.append(torch.as_tensor(batch[1]) if pair else None)
    if not parts:
        raise ValueError("The loader of images is empty.")
    if len({part.shape[1:] for part in parts}) > 1:
        raise ValueError("The loader's batches hold images of several sizes; scale them to one.")
    return torch.cat(parts), None if labels[0] is None else torch.cat(labels), None


def _batch(images: Tensor) -> Tensor:
    images = images.detach().cpu()
    if images.ndim != 4:
        raise ValueError(f"images must have the shape {checks.IMAGE_SHAPE}, but they have {tuple(images.shape)}.")
    if images.dtype != torch.uint8:
        return checks.images(images, unit_range=True, name="images")
    if 0 in images.shape:
        raise ValueError(f"images must not be empty, but their shape is {tuple(images.shape)}.")
    return images


def _labels(labels, n: int) -> Tensor | None:
    if labels is None:
        return None
    try:
        labels = torch.as_tensor(np.asarray(labels) if not isinstance(labels, Tensor) else labels).cpu()
    except (TypeError, ValueError) as error:
        raise ValueError(f"labels must be whole numbers, one an image: {error}") from None
    if labels.shape != (n,) or labels.is_floating_point() or labels.dtype == torch.bool:
        raise ValueError(f"labels must be whole numbers, one for each of the {n} images, but they are "
                         f"{labels.dtype} of the shape {tuple(labels.shape)}.")
    return labels.long()


def _normalising(model, mean, std, channels: int):
    """The model behind its normalisation, where one is given, and the device and type of its weights."""
    first = next(model.parameters(), None) if isinstance(model, nn.Module) else None
    device = first.device if first is not None else torch.device("cpu")
    dtype = first.dtype if first is not None and first.is_floating_point() else torch.float32
    if mean is None and std is None:
        return model, device, dtype
    if mean is None or std is None:
        raise ValueError("A normalisation needs both mean and std.")
    values = []
    for word, value in (("mean", mean), ("std", std)):
        value = torch.as_tensor(value, dtype=dtype, device=device).flatten()
        possible = bool(value.isfinite().all()) and (word == "mean" or bool((value > 0).all()))
        if len(value) not in (1, channels) or not possible:
            raise ValueError(f"{word} must hold one finite number a channel, {channels} of them"
                             f"{', above zero' if word == 'std' else ''}, but it is {value.tolist()}.")
        values.append(value.expand(channels))
    return Normalised(model, *values).eval(), device, dtype


def _name(model) -> str:
    return type(model).__name__ if isinstance(model, nn.Module) else getattr(model, "__name__", type(model).__name__)


def _answers(one: Subject) -> Tensor:
    """Logits (n, classes) of all images; ValueError where the model does not take them."""
    try:
        with torch.no_grad():
            one.classes = checks.unwrapped(one.model(one.x(slice(0, 2)))).shape[-1]
        return checks.finite(torch.cat([logits_of(one.model, one.x(rows)).float().cpu() for rows in one.groups]),
                             "The model's output")
    except (ValueError, TypeError):
        raise
    except Exception as error:      # of whatever kind the user's model raises
        shape = tuple(one.images.shape[1:])
        raise ValueError(f"The model {one.name} does not take images of the shape {shape} in [0, 1]: "
                         f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}") from error


def _refuse_constant(one: Subject, logits: Tensor) -> None:
    """ValueError where there is nothing to explain: images that are all the same, or a model that answers all alike."""
    if bool((one.images == one.images[:1]).all()):
        raise ValueError(f"All {len(one)} images are the same; an audit needs different ones, since another image is a "
                         "control.")
    if bool((logits == logits[:1]).all()):
        raise ValueError("The model gives the same logits for all images, so there is nothing to explain. Are its "
                         "weights loaded?")


def _refuse_probabilities(logits: Tensor, classes: int) -> None:
    if classes == 1:
        return
    sums = logits.sum(1)
    if bool((logits >= 0).all()) and bool(((sums - 1).abs() < 1e-3).all()):
        raise ValueError("The model returns probabilities: every row is positive and adds up to one. Maps explain the "
                         "logits before the softmax; return these.")
    if bool((logits <= 0).all()) and bool((logits.logsumexp(1).abs() < 1e-3).all()):
        raise ValueError("The model returns logarithms of probabilities. Maps explain the logits before the softmax; "
                         "return these.")


def _refuse_unsteady(one: Subject, logits: Tensor) -> None:
    """ValueError where the answer on the first image depends on the call or on the images beside it."""
    alone = logits_of(one.model, one.x(slice(0, 1))).float().cpu()
    again = logits_of(one.model, one.x(slice(0, 1))).float().cpu()
    scale = logits.abs().max().clamp_min(1e-12)
    if float((alone - again).abs().max() / scale) > 1e-4:
        raise ValueError("The model answers differently when it is called again on the same image, so it draws random "
                         "numbers; switch its dropout off.")
    if float((alone - logits[:1]).abs().max() / scale) > 1e-2:
        raise ValueError("The model's answer on an image depends on the images beside it in the batch, as of a batch "
                         "norm that uses batch statistics; its maps would, too.")


def _refuse_cut(one: Subject) -> None:
    try:
        METHODS["gradient"](one.model, one.x(slice(0, 1)))
    except (ValueError, RuntimeError) as error:
        raise ValueError(f"The gradient of the model's output with respect to the image cannot be computed: "
                         f"{str(error).splitlines()[0]}") from error


def _notice(one: Subject, logits: Tensor) -> None:
    """Sentences on what may be a mistake and may be not."""
    chance = 1 / max(2, one.classes)
    if one.accuracy is not None and one.accuracy <= max(2 * chance, 0.1):
        one.notices.append(f"The model is right in {one.accuracy:.0%} of the images only. Perhaps it expects another "
                           "normalisation (--mean, --std), or the labels are in another order than its outputs. The "
                           "audit explains the class that it predicts.")
    if one.classes == 1 and bool(((logits[:, 1] >= 0) & (logits[:, 1] <= 1)).all()):
        one.notices.append("All outputs lie in [0, 1]. If they are probabilities after a sigmoid, return the logit.")
    if len(one.target.unique()) == 1:
        one.notices.append(f"The model predicts class {int(one.target[0])} for every image.")
