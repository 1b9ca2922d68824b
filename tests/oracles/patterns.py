"""Slow twins of the patterns, PatternNet and PatternAttribution (Kindermans et al. 2018, equations 4 and 8).

Nets are written down as in `tests.oracles.rules`. Every weighted layer is looked at one neuron (or filter) at
a time: the list of all it ever saw (one row an image and output position, zeros where the padding is) and
of all it ever answered. The equations are then means over such lists.
"""

from itertools import product

import numpy as np
import torch

from tests.oracles import rules


# -------------------------------------------------------------------------------------- what a neuron sees
def windows(batch, size, stride, padding, dilation=1, fill=0.0):
    """(n, positions, c, size, size) and the (rows, columns) of the positions."""
    n, c, height, width = batch.shape
    padded = np.full((n, c, height + 2 * padding, width + 2 * padding), fill)
    padded[:, :, padding:padding + height, padding:padding + width] = batch
    reach = dilation * (size - 1) + 1
    rows, columns = ((side + 2 * padding - reach) // stride + 1 for side in (height, width))
    seen = [padded[:, :, i * stride:i * stride + reach:dilation, j * stride:j * stride + reach:dilation]
            for i, j in product(range(rows), range(columns))]
    return np.stack(seen, 1), (rows, columns)


def samples(layer, batch):
    """[(w (p,), inputs (samples, p), y (samples,))] of each neuron or filter, and the layer's output.

    y is the pre-activation, with its bias. Samples are ordered by image, then position.
    """
    name, weight, bias, *rest = layer
    weight = weight.numpy()
    bias = np.zeros(len(weight)) if bias is None else bias.numpy()
    seen, places = [], ()
    if name == "linear":
        seen = [batch] * len(weight)
    else:
        stride, padding, dilation, groups = rest
        patches, places = windows(batch, weight.shape[2], stride, padding, dilation)
        for out in range(len(weight)):
            first = out // (len(weight) // groups) * weight.shape[1]
            own = patches[:, :, first:first + weight.shape[1]]
            seen.append(own.reshape(len(batch) * own.shape[1], -1))
    neurons = [(w.ravel(), inputs, inputs @ w.ravel() + b) for w, b, inputs in zip(weight, bias, seen)]
    return neurons, np.stack([y.reshape(len(batch), *places) for _, _, y in neurons], 1)


def watch(layers, batch):
    """[(layer, its neurons)] of the weighted layers in forward order, and the output for a batch."""
    watched = []
    for layer in layers:
        name, *arguments = layer
        if name in ("linear", "conv2d"):
            neurons, batch = samples(layer, batch)
            watched.append((layer, neurons))
        elif name == "relu":
            batch = np.maximum(batch, 0)
        elif name == "flatten":
            batch = batch.reshape(len(batch), -1)
        elif name == "affine":
            scale, shift = (one.numpy()[:, None, None] for one in arguments)
            batch = batch * scale + shift
        elif name == "skip":
            inner, branch = watch(arguments[0], batch)
            watched, batch = watched + inner, batch + branch
        elif name in ("maxpool", "avgpool"):
            size, stride, *padding = arguments
            padding, fill, pick = (*padding, -np.inf, np.max) if name == "maxpool" else (0, 0.0, np.mean)
            seen, places = windows(batch, size, stride, padding, fill=fill)
            batch = np.moveaxis(pick(seen, (3, 4)), 1, 2).reshape(len(batch), -1, *places)
        else:
            raise NotImplementedError(name)
    return watched, batch


# ------------------------------------------------------------------------------------------- the estimators
def numerator(inputs, y, estimator):
    """The direction (p,) of the pattern before it is normalised; None where the neuron was never on.

    linear: E[x y] - E[x] E[y]. relu: E+[x y] - E+[x] E[y]. conditional: E+[x y] - E+[x] E+[y], with E+ the
    mean over the samples with y > 0 and E the mean over all.
    """
    if estimator == "linear":
        return np.mean(inputs * y[:, None], 0) - np.mean(inputs, 0) * np.mean(y)
    on = y > 0
    if not on.any():
        return None
    level = np.mean(y) if estimator == "relu" else np.mean(y[on])
    return np.mean(inputs[on] * y[on, None], 0) - np.mean(inputs[on], 0) * level


def normalised(w, direction):
    """a = direction / (w . direction); zero where that is zero or there is no direction."""
    if direction is None or w @ direction == 0:
        return np.zeros_like(w)
    return direction / (w @ direction)


def fit(layers, images, estimator="relu"):
    """One pattern tensor a weighted layer, of the weight's shape; the last layer's is always linear."""
    watched, _ = watch(layers, images.numpy())
    patterns = []
    for place, (layer, neurons) in enumerate(watched):
        kind = "linear" if place == len(watched) - 1 else estimator
        rows = [normalised(w, numerator(inputs, y, kind)) for w, inputs, y in neurons]
        patterns.append(torch.from_numpy(np.stack(rows)).view_as(layer[1]))
    return patterns


# ------------------------------------------------------------------------------------------------- the maps
def _replace(layers, weights):
    """The same layers, the weighted ones with the next of `weights` (an iterator) in place of their own."""
    changed = []
    for layer in layers:
        if layer[0] in ("linear", "conv2d"):
            changed.append((layer[0], next(weights), *layer[2:]))
        elif layer[0] == "skip":
            changed.append(("skip", _replace(layer[1], weights)))
        else:
            changed.append(layer)
    return changed


def _back(steps, nodes, signal):
    """The gradient's backward pass through `steps`, with the matrices of `nodes`."""
    for (kind, details, before, _), (_, *other) in zip(reversed(steps), reversed(nodes)):
        if kind in ("affine", "average"):
            signal = other[0].T @ signal
        elif kind == "relu":
            signal = signal * (before > 0)
        elif kind == "maxpool":
            received = torch.zeros_like(before)
            for window, value in zip(details[0], signal):
                received[rules._winner(before, window)] += value
            signal = received
        else:
            signal = signal + _back(details[0], other[0], signal)
    return signal


def _maps(layers, x, labels, weights, start):
    nodes, _ = rules.unroll(layers, tuple(x.shape[1:]))
    other, _ = rules.unroll(_replace(layers, iter(weights)), tuple(x.shape[1:]))
    maps = []
    for image, label in zip(x, labels):
        steps = rules.run(nodes, image.flatten())
        signal = torch.zeros_like(steps[-1][3])
        signal[label] = start(steps[-1][3][label])
        maps.append(_back(steps, other, signal).reshape(image.shape))
    return torch.stack(maps)


def pattern_net(layers, x, labels, patterns):
    """The gradient's backward pass with every weight W replaced by its pattern A, from 1 at the logit."""
    return _maps(layers, x, labels, patterns, lambda logit: 1.0)


def pattern_attribution(layers, x, labels, patterns):
    """The same with W * A, element by element, from the logit's value."""
    watched, _ = watch(layers, x[:1].numpy())
    products = [layer[1] * pattern for (layer, _), pattern in zip(watched, patterns)]
    return _maps(layers, x, labels, products, lambda logit: logit)
