r"""Patterns, the directions of a layer's input that make its output vary, and the maps made from them.

A weight vector must cancel distractors, so it does not point where the signal is. A pattern does: it is the
regression of the layer's input on its output [kindermans2018].
"""

from collections.abc import Callable, Iterator, Sequence
from itertools import count
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor

from fragility import checks
from fragility.attribution.method import method
from fragility.attribution.multipliers import ProxyBackward
from fragility.passes import batches, explain, forward, in_chunks
from fragility.rules.gates import relu
from fragility.rules.model import RuleModel
from fragility.rules.operations import conv2d, linear

ESTIMATORS = ("relu", "linear", "conditional")
WEIGHTED = {"conv2d": conv2d, "linear": linear}      # the layers that patterns are defined for


@torch.inference_mode(False)
def fit_patterns(model, images: Tensor, *, estimator: str = "relu", chunk: int | None = None) -> list[Tensor]:
    r"""Fit the pattern of every neuron or filter [kindermans2018, equations 4 and 8].

    .. math:: a \propto E_+[x y] - E_+[x]\, E[y] \;\text{(relu)}, \qquad
              E_+[x y] - E_+[x]\, E_+[y] \;\text{(conditional)}, \qquad
              \mathrm{cov}[x, y] \;\text{(linear)}, \qquad w^\top a = 1

    Here y is the pre-activation, x its inputs, and :math:`E_+` the mean over the samples with y > 0.
    The output layer has no ReLU and always takes the linear estimator. For convolutions, every place of the
    output is a sample and x its patch, zero padding included.

    Parameters
    ----------
    model
        Callable from images to logits, in evaluation mode.
    images
        Float images (n, c, h, w) in the model's own range.
    estimator
        "relu" as printed in the paper; it moves when the data are shifted by a constant. "linear" and
        "conditional" do not [kindermans2019, section 3].
    chunk
        Most images in flight at once.

    Returns
    -------
    list of Tensor
        One for each call of a conv2d or linear layer, in forward order, of the shape of its weight; zero for a
        neuron whose output does not vary over the samples that the estimator uses.

    Raises
    ------
    ValueError
        Bad images, an unknown estimator, or batch norm, for which patterns are not defined.
    """
    checks.model(model)
    images = checks.for_autograd(checks.images(images, name="images"))
    checks.choice("estimator", estimator, ESTIMATORS)
    if chunk is not None:
        checks.integer("chunk", chunk, 1)
    moments = []
    _visit(model, images[:1], lambda place, name, weight, *call: moments.append(_Moments(weight, estimator)))
    if not moments:
        raise ValueError("The model calls no convolution (conv2d) and no linear layer on x, so it has no patterns.")
    moments[-1].estimator = "linear"
    for rows in batches(len(images), images, chunk):
        _visit(model, images[rows], lambda place, *call: _collect(moments[place], *call))
    return [one.pattern() for one in moments]


def _visit(model, x: Tensor, callback: Callable) -> None:
    """Call callback(place, name, weight, input, output, other arguments) at every weighted call on x, in forward order.

    At once, since an in-place ReLU may overwrite the output later.
    """
    places = count()

    def watch(name):
        def rule(z, weight, bias, *rest):
            y = WEIGHTED[name](z, weight, bias, *rest)
            with torch.no_grad():
                callback(next(places), name, weight.detach(), z.detach(), y.detach(), rest)
            return y
        return rule

    table = {name: watch(name) for name in WEIGHTED}
    forward(RuleModel(model, {**table, "batch_norm": _refuse_batch_norm}, strict=False), x)


_ADVICE = "patterns are defined for ReLU, max-pooling, conv2d and linear layers; use a method without patterns"


def _refuse_batch_norm(*arguments):
    raise ValueError("Patterns are not defined for batch norm; fold it into the layer before it first, for example "
                     "with torch.nn.utils.fusion.fuse_conv_bn_eval.")


def _collect(moments: "_Moments", name: str, weight: Tensor, z: Tensor, y: Tensor, rest: tuple) -> None:
    """Add a call's samples, few images at a time: a convolution's patches repeat every value of its input."""
    values = weight[0].numel() * y[0].numel() // len(weight) * (rest[-1] if name == "conv2d" else 1)
    size = max(1, 2**24 // values)
    for part, output in zip(z.split(size), y.split(size)):
        moments.add(*_samples(name, weight, part, output, rest))


def _samples(name: str, weight: Tensor, z: Tensor, y: Tensor, rest: tuple) -> tuple[Tensor, Tensor]:
    """Inputs (groups, samples, in) and outputs (groups, samples, out) of a call, in float64."""
    if name == "linear":
        return z.flatten(0, -2).double()[None], y.flatten(0, -2).double()[None]
    stride, padding, dilation, groups = rest
    if isinstance(padding, str):
        z, padding = _padded(z, weight, padding, dilation), 0
    patches = F.unfold(z.double(), weight.shape[2:], dilation, padding, stride)        # (n, in * kh * kw, places)
    x, y = patches.unflatten(1, (groups, -1)), y.double().flatten(2).unflatten(1, (groups, -1))
    x, y = (part.permute(1, 0, 3, 2).flatten(1, 2) for part in (x, y))
    return x, y


def _padded(z: Tensor, weight: Tensor, padding: str, dilation) -> Tensor:
    """The input with the zeros that padding="same" puts around it; the odd one goes to the end, as torch does."""
    if padding == "valid":
        return z
    steps = dilation if isinstance(dilation, (tuple, list)) else (dilation, dilation)
    (top, left), (bottom, right) = zip(*((total // 2, total - total // 2)
                                         for total in (d * (k - 1) for d, k in zip(steps, weight.shape[2:]))))
    return F.pad(z, (left, right, top, bottom))


class _Moments:
    """Running sums over samples, (groups, out, …), from which a layer's patterns follow."""

    def __init__(self, weight: Tensor, estimator: str):
        self.weight, self.estimator = weight, estimator
        self.count, self.y = 0, cast(Tensor, 0.0)       # zero until the first call, whose shapes they take
        self.active, self.active_y, self.active_x, self.active_xy = (cast(Tensor, 0.0) for _ in range(4))

    def add(self, x: Tensor, y: Tensor) -> None:
        active = torch.ones_like(y) if self.estimator == "linear" else (y > 0).double()
        self.count += y.shape[1]
        self.y += y.sum(1)
        self.active += active.sum(1)
        self.active_y += (active * y).sum(1)
        self.active_x += active.mT @ x
        self.active_xy += (active * y).mT @ x

    def pattern(self) -> Tensor:
        active = self.active.clamp_min(1)
        mean_y = self.y / self.count if self.estimator == "relu" else self.active_y / active
        w = self.weight.double().flatten(1).unflatten(0, self.active.shape)
        mean_xy, product_of_means = self.active_xy / active[..., None], self.active_x * (mean_y / active)[..., None]
        covariance = mean_xy - product_of_means
        scale = (w * covariance).sum(-1)
        # A neuron that is never active, or whose samples are all alike, leaves nothing but rounding here.
        void = scale.abs() <= 1e-12 * (w.abs() * (mean_xy.abs() + product_of_means.abs())).sum(-1)
        fitted = torch.where(void[..., None], 0.0, covariance / torch.where(void, 1.0, scale)[..., None])
        return fitted.reshape(self.weight.shape).to(self.weight.dtype)


def _projected(queue: "_PatternQueue", mix: Callable[[Tensor, Tensor], Tensor]) -> dict:
    """Rules that send signals back through mix(weight, pattern) instead of the weight."""
    def rule_of(layer: Callable):
        def rule(z, weight, bias, *rest):
            proxy = layer(z, mix(weight, queue.next_for(weight)), None, *rest)
            return ProxyBackward.apply(layer(z, weight, bias, *rest), proxy, proxy.new_ones(()))
        return rule
    return {"relu": relu, "batch_norm": _refuse_batch_norm,
            **{name: rule_of(layer) for name, layer in WEIGHTED.items()}}


class _PatternQueue:
    """Hands out the patterns in the order of the model's weighted calls."""

    def __init__(self, patterns: Sequence[Tensor]):
        self.remaining: Iterator[Tensor] = iter(patterns)

    def next_for(self, weight: Tensor) -> Tensor:
        pattern = next(self.remaining, None)
        if pattern is None or pattern.shape != weight.shape:
            seen = "none is left" if pattern is None else f"the next one has {tuple(pattern.shape)}"
            raise ValueError(f"The patterns do not fit the model: a layer has a weight of shape {tuple(weight.shape)}, "
                             f"but {seen}. Fit them with fit_patterns on this model.")
        return pattern.to(weight)

    def finish(self) -> None:
        if next(self.remaining, None) is not None:
            raise ValueError("The patterns do not fit the model: there are more of them than the model has weighted "
                             "calls. Fit them with fit_patterns on this model.")


def _signals(model, x: Tensor, targets, patterns: Sequence[Tensor], mix: Callable,
             chunk: int | None) -> tuple[Tensor, Tensor]:
    """Signals (n, c, h, w) that reach the input when 1 starts at the explained logit, and the logits."""
    if not isinstance(patterns, (list, tuple)) or not all(isinstance(one, Tensor) for one in patterns):
        raise ValueError("patterns must be a list of tensors, as fit_patterns gives it for this model.")

    def run(rows: slice) -> tuple[Tensor, Tensor]:
        queue = _PatternQueue(patterns)
        rule_model = RuleModel(model, _projected(queue, mix), who="a map of patterns", advice=_ADVICE)
        signal, scores = explain(rule_model, x[rows], targets[rows], len(x))
        queue.finish()
        return signal, scores
    maps, logits = zip(*in_chunks(run, x, chunk))
    return torch.cat(maps), torch.cat(logits)


@method(rules=True)
def pattern_net(model, x: Tensor, target: Any = None, *, patterns: Sequence[Tensor],
                chunk: int | None = None) -> Tensor:
    r"""PatternNet [kindermans2018]: the gradient's backward pass with patterns in place of weights.

    .. math:: s^{l-1} = A^\top \bigl(\mathbf 1[z^l > 0]\, s^l\bigr), \qquad s^{L} = 1 \text{ at the explained logit}

    Parameters
    ----------
    patterns
        What :func:`fit_patterns` gives for this model.

    Notes
    -----
    Max-pooling routes to the winner. Other parameters and errors as for :func:`guided_backprop`; ValueError also
    where the patterns do not fit, and for batch norm.
    """
    return _signals(model, x, target, patterns, lambda weight, pattern: pattern, chunk)[0]


@method(rules=True)
def pattern_attribution(model, x: Tensor, target: Any = None, *, patterns: Sequence[Tensor],
                        chunk: int | None = None) -> Tensor:
    r"""PatternAttribution [kindermans2018]: deep Taylor with the root in the direction of the pattern, in logits.

    .. math:: R^{l-1} = (W \odot A)^\top \bigl(\mathbf 1[z^l > 0]\, R^l\bigr), \qquad R^{L} = S_t(x)

    Parameters and errors as for :func:`pattern_net`.
    """
    signals, logits = _signals(model, x, target, patterns, torch.mul, chunk)
    if len(patterns[-1]) == 1 and logits.shape[1] == 2:
        # A single logit: weights and patterns of class 0 both have the other sign, so their product has not.
        classes = logits.argmax(1) if target.classes is None else target.classes
        signals = torch.where((classes == 0).view(-1, *[1] * (x.ndim - 1)), -signals, signals)
    return signals * target.explained_logits(logits)[:, None, None, None]
