"""Several trainings in one: networks that differ by their seed only, stacked, so that one launch serves all of them."""

import copy
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call, stack_module_state

from fragility import checks
from fragility.training.loop import RECIPES, Augment, as_float, check_examples, fast_bf16


def train_together(models: Sequence[nn.Module], images: Tensor, labels: Tensor, *, epochs: int,
                   batch_size: int = 128, learning_rate: float = 2e-3, label_smoothing: float = 0.1,
                   recipe: str = "one-cycle", augment: Augment | None = None,
                   generators: Sequence[torch.Generator]) -> list[nn.Module]:
    """Train networks of one architecture side by side; each as :func:`train` would with its generator.

    A tiny network leaves a GPU idle between its launches; stacked, several take as many. The sums run in another order
    than one by one, so the results are those of :func:`train` up to rounding, which a training amplifies: accuracies
    agree, not every bit.

    Parameters
    ----------
    models
        Of equal shapes, on one device; trained in place, and returned in evaluation mode.
    images, labels
        As for :func:`train`, common to all.
    generators
        One for each model: the order of its batches and its draws of `augment`.

    Raises
    ------
    ValueError
        Another number of generators than of models, and whatever :func:`train` refuses.
    """
    checks.integer("epochs", epochs, 1)
    checks.choice("recipe", recipe, RECIPES)
    checks.real("learning_rate", learning_rate, 0, exclusive=True)
    checks.real("label_smoothing", label_smoothing, 0, 1)
    if not models or len(generators) != len(models):
        raise ValueError(f"There must be a generator for each model, and at least one, but there are {len(models)} "
                         f"models and {len(generators)} generators.")
    check_examples(copy.deepcopy(models[0]).eval(), images, labels)
    checks.integer("batch_size", batch_size, 1, len(images))
    device = next(models[0].parameters()).device
    images, labels = images.to(device), labels.to(device)
    for model in models:
        model.train()
    parameters, buffers = stack_module_state(list(models))
    stacked = _Stacked(models[0], parameters)
    steps = len(images) // batch_size
    optimiser, schedule = RECIPES[recipe](stacked, learning_rate, epochs, steps)

    def loss(own: dict, state: dict, x: Tensor, y: Tensor) -> Tensor:
        return F.cross_entropy(functional_call(stacked.template[0], (own, state), (x,)), y,
                               label_smoothing=label_smoothing)

    for _ in range(epochs):
        orders = torch.stack([torch.randperm(len(images), generator=generator) for generator in generators]).to(device)
        for rows in orders[:, :steps * batch_size].view(len(models), steps, batch_size).unbind(1):
            x = torch.stack([augment(part, generator) if augment else part for part, generator in
                             zip(as_float(images[rows]), generators)])
            with torch.autocast(device.type, torch.bfloat16, enabled=fast_bf16(device)):
                value = torch.vmap(loss)(stacked.stack(), buffers, x, labels[rows]).sum()
            optimiser.zero_grad()
            value.backward()
            optimiser.step()
            schedule.step()
    for place, model in enumerate(models):
        _load(model, {name: one[place] for name, one in {**stacked.stack(), **buffers}.items()})
    return [model.eval() for model in models]


class _Stacked(nn.Module):
    """The stacked weights as a module, with a batch norm's among those of batch norm: a recipe tells these apart."""

    def __init__(self, template: nn.Module, parameters: dict[str, Tensor]):
        super().__init__()
        self.template = (copy.deepcopy(template).to("meta"),)       # hidden in a tuple: its weights are not trained
        self.names = list(parameters)
        for place, name in enumerate(self.names):
            owner = template.get_submodule(name.rpartition(".")[0])
            holder = nn.modules.batchnorm._BatchNorm(1, affine=False) if isinstance(
                owner, nn.modules.batchnorm._BatchNorm) else nn.Module()
            holder.register_parameter("value", nn.Parameter(parameters[name].detach().clone()))
            self.add_module(str(place), holder)

    def stack(self) -> dict[str, Tensor]:
        return {name: getattr(self, str(place)).value for place, name in enumerate(self.names)}


@torch.no_grad()
def _load(model: nn.Module, state: dict[str, Tensor]) -> None:
    for name, value in model.state_dict().items():
        value.copy_(state[name])
