"""Does a new network find its way without what the map marks? Remove and retrain [hooker2019], at one share."""

import copy
import hashlib
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from fragility import training
from fragility.attribution import METHODS
from fragility.audit.criterion import Cost, Criterion, Measured, NotApplicable
from fragility.audit.group import Group, pixels
from fragility.audit.margins import MARGINS
from fragility.audit.methods import Method
from fragility.audit.settings import Settings
from fragility.passes import predict
from fragility.removal import degrade, top_mask

REMOVED, TRAININGS, EPOCHS, HELD_OUT = 0.5, 3, 5, 0.2

Fit = Callable[[Tensor, Tensor, int], Any]          #: (images, labels, seed) -> a trained model, in evaluation mode


class TrainingSet(NamedTuple):
    """Images (n, c, h, w), uint8 or floats in [0, 1], and labels (n,), cut into a part to train on and one to test."""

    images: Tensor
    labels: Tensor
    fit: Fit

    @property
    def test_size(self) -> int:
        """How many of the images, the last ones, are kept for the test."""
        return max(1, round(HELD_OUT * len(self.images)))

    def fingerprint(self) -> str:
        """A digest of the images and labels."""
        digest = hashlib.sha256(self.images.contiguous().numpy().tobytes())
        digest.update(self.labels.contiguous().numpy().tobytes())
        return digest.hexdigest()


def training_set(images: Tensor, labels: Tensor | None, model, seed: int, fit: Fit | None = None) -> TrainingSet:
    """Shuffle training data, and choose how they are learned.

    Images (n, c, h, w), uint8 or floats in [0, 1], and classes (n,). `fit` is the user's own; None trains copies of
    the model from new random weights, for a few epochs. ValueError without labels, without a module or a `fit`, and
    for images and labels that the model cannot be trained on.
    """
    if labels is None:
        raise ValueError("Retraining needs labels: a folder with a subfolder for each class, or an .npz file with "
                         "labels.")
    if fit is None and not isinstance(model, nn.Module):
        raise ValueError(f"A {type(model).__name__} cannot be trained anew; pass fit=, a function (images, labels, "
                         "seed) -> model.")
    labels = labels.long()
    if fit is None:
        training.check_examples(model, images, labels)
    order = torch.randperm(len(images), generator=torch.Generator().manual_seed(seed))
    return TrainingSet(images[order], labels[order], fit or (lambda x, y, number: _fit(model, x, y, number)))


def _fit(model: nn.Module, images: Tensor, labels: Tensor, seed: int) -> nn.Module:
    """A copy of the model, trained from new random weights."""
    network = copy.deepcopy(model)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        for part in network.modules():
            reset = getattr(part, "reset_parameters", None) or getattr(part, "_reset_parameters", None)
            if reset:
                reset()
            else:
                for value in part.parameters(recurse=False):        # tokens and embeddings
                    nn.init.normal_(value, std=0.02)
    return training.train(network, images, labels, epochs=EPOCHS, batch_size=min(128, len(images)),
                          generator=torch.Generator().manual_seed(seed))


def measure(group: Group, method: Method, settings: Settings) -> Measured:
    """Accuracy of networks retrained without the top half of the pixels of each map, beside a random half.

    One entry a training, not an image. Masks alone may tell the class, so networks are trained on these, too.
    """
    data = group.training
    if data is None:
        raise NotApplicable("Retraining needs training data (--train).")
    if method.name == "random":
        raise NotApplicable("It is the control.")
    if len(group) < TRAININGS:
        raise NotApplicable(f"Retraining needs at least {TRAININGS} images in the audit.")
    control = Method("random", METHODS["random"], is_control=True)
    random = group.shared("retraining without random pixels", lambda: _accuracies(group, control)[0])
    removed, masks = _accuracies(group, method, with_masks=not method.is_control)
    return Measured(removed, {"random": random}, {} if masks is None else {"masks": masks}, slice(0, TRAININGS))


def _accuracies(group: Group, method: Method, *, with_masks: bool = False) -> tuple[Tensor, Tensor | None]:
    """Accuracy of each training (t,) on images without their top pixels, and on the masks of these alone.

    Maps explain the class that the audited model predicts, as in the published code: that of the label would write the
    label into the image.
    """
    data = group.training
    degraded, masks = [], []
    for place, part in enumerate(data.images.split(max(8, len(group)))):
        x = training.as_float(part).to(group.x)
        maps = method(group.model, x, predict(group.model, x, group.chunk), chunk=group.chunk,
                      draw=method.seed(group.settings.seed, place, "retraining"))
        scores = pixels(maps).nan_to_num(0.0)
        degraded.append((degrade(x, scores, REMOVED, fill="mean") * 255).round().to(torch.uint8).cpu())
        masks.append((top_mask(scores, REMOVED)[:, None].expand_as(x) * 255).to(torch.uint8).cpu())
    images, alone = torch.cat(degraded), torch.cat(masks)
    return _tested(data, images), _tested(data, alone) if with_masks else None


def _tested(data: TrainingSet, images: Tensor) -> Tensor:
    cut = len(images) - data.test_size
    found = [training.accuracy(data.fit(images[:cut], data.labels[:cut], seed), images[cut:], data.labels[cut:])
             for seed in range(TRAININGS)]
    return torch.tensor(found, dtype=torch.float64)


def objection(details: dict) -> str | None:
    """Why a loss of accuracy says nothing: the shape of what was removed tells the class by itself."""
    masks = details.get("masks")
    if masks is not None and masks.mean() >= details["score"].mean():
        return (f"Networks trained on the masks alone are right in {masks.mean():.0%}, no less than those trained on "
                "what the masks leave, so accuracy does not show what the image lost.")
    return None


CRITERION = Criterion(
    name="retraining", question="Does a network that is trained anew miss what it marks more than random pixels?",
    measure=measure, cost=lambda settings, form: Cost(), source="hooker2019", margin=MARGINS["retraining"],
    score="accuracy after retraining without the top half", high_is_good=False, over_trainings=True,
    objection=objection)
