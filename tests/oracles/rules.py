"""Slow twins of the back-propagation rules, for small nets written down as a list of layers.

A layer is a tuple: ("linear", weight, bias), ("conv2d", weight, bias, stride, padding, dilation, groups),
("relu",), ("relu6",), ("maxpool", size, stride, padding), ("avgpool", size, stride), ("flatten",),
("affine", scale, shift) with one scale and shift a channel, or ("skip", layers): the input plus what the
layers make of it. `unroll` turns every weighted layer into the explicit matrix M and vector b of z = M x + b
on flattened images (a zero padding simply has no columns), so that each rule below is its equation and no
more. One image at a time.
"""

import copy
from itertools import product

import numpy as np
import torch


# ------------------------------------------------------------------------------------ layers as matrices
def _out(size, kernel, stride, padding=0, dilation=1):
    return (size + 2 * padding - dilation * (kernel - 1) - 1) // stride + 1


def _positions(shape, kernel, stride, padding=0, dilation=1):
    """[(output position, [(kernel offset, input position)])] of a sliding window, padding left out."""
    _, height, width = shape
    rows, columns = (_out(size, kernel, stride, padding, dilation) for size in (height, width))
    windows = []
    for i, j in product(range(rows), range(columns)):
        inside = []
        for a, b in product(range(kernel), range(kernel)):
            row, column = i * stride - padding + a * dilation, j * stride - padding + b * dilation
            if 0 <= row < height and 0 <= column < width:
                inside.append(((a, b), (row, column)))
        windows.append(((i, j), inside))
    return (rows, columns), windows


def _flat(shape, channel, row, column):
    return (channel * shape[1] + row) * shape[2] + column


def _conv_matrix(shape, weight, bias, stride, padding, dilation, groups):
    weight = weight.numpy()
    outputs, per_group, kernel, _ = weight.shape
    (rows, columns), windows = _positions(shape, kernel, stride, padding, dilation)
    out_shape = (outputs, rows, columns)
    matrix, offset = (
        np.zeros((outputs * rows * columns, int(np.prod(shape)))),
        np.zeros(outputs * rows * columns),
    )
    for channel in range(outputs):
        first = channel // (outputs // groups) * per_group
        for (i, j), inside in windows:
            line = _flat(out_shape, channel, i, j)
            offset[line] = 0.0 if bias is None else float(bias[channel])
            for (a, b), (row, column) in inside:
                for c in range(per_group):
                    matrix[line, _flat(shape, first + c, row, column)] = weight[channel, c, a, b]
    return torch.from_numpy(matrix), torch.from_numpy(offset), out_shape


def _average_matrix(shape, size, stride):
    (rows, columns), windows = _positions(shape, size, stride)
    out_shape = (shape[0], rows, columns)
    matrix = torch.zeros(int(np.prod(out_shape)), int(np.prod(shape)), dtype=torch.float64)
    for channel in range(shape[0]):
        for (i, j), inside in windows:
            for _, (row, column) in inside:
                matrix[_flat(out_shape, channel, i, j), _flat(shape, channel, row, column)] = 1 / size ** 2
    return matrix, torch.zeros(len(matrix), dtype=torch.float64), out_shape


def unroll(layers, shape):
    """(nodes, output shape): the layers on flat vectors, an affine start folded into the first weights.

    A node is ("affine", M, b), ("average", M, b), ("relu", limit), ("maxpool", windows) or ("skip", nodes).
    """
    nodes, scale, shift = [], None, None
    for name, *arguments in layers:
        if name == "flatten":
            shape = (int(np.prod(shape)),)
            continue
        if name == "affine":
            assert not nodes, "only at the start of a net"
            scale, shift = (one.double().repeat_interleave(shape[1] * shape[2]) for one in arguments)
            continue
        if name in ("linear", "conv2d"):
            if name == "linear":
                matrix, bias = arguments
                bias = torch.zeros(len(matrix), dtype=torch.float64) if bias is None else bias
                shape = (len(matrix),)
            else:
                matrix, bias, shape = _conv_matrix(shape, *arguments)
            if scale is not None:
                matrix, bias, scale = matrix * scale, bias + matrix @ shift, None
            nodes.append(("affine", matrix, bias))
        elif name == "avgpool":
            matrix, bias, shape = _average_matrix(shape, *arguments)
            nodes.append(("average", matrix, bias))
        elif name == "maxpool":
            spatial, windows = _positions(shape, *arguments)
            nodes.append(("maxpool", [[_flat(shape, channel, row, column) for _, (row, column) in inside]
                                      for channel in range(shape[0]) for _, inside in windows]))
            shape = (shape[0], *spatial)
        elif name == "skip":
            inner, after = unroll(arguments[0], shape)
            assert after == shape, "a skip keeps the shape"
            nodes.append(("skip", inner))
        else:
            nodes.append(("relu", {"relu": float("inf"), "relu6": 6.0}[name]))
    return nodes, shape


def _winner(values, window):
    """The index of the largest value of the window, the lowest among equals (up to the order of a sum)."""
    numbers = values.detach()[window].tolist()
    largest = max(numbers)
    return min(
        index for index, number in zip(window, numbers) if number >= largest - 1e-12 * (1 + abs(largest))
    )


def run(nodes, values):
    """All steps [(kind, details, input, output)] of a forward pass; a skip's details are its inner steps."""
    steps = []
    for kind, *details in nodes:
        before = values
        if kind in ("affine", "average"):
            values = details[0] @ before + details[1]
        elif kind == "relu":
            values = before.clamp(0.0, details[0])
        elif kind == "maxpool":
            values = torch.stack([before[_winner(before, window)] for window in details[0]])
        else:
            details = [run(details[0], before)]
            values = before + details[0][-1][3]
        steps.append((kind, details, before, values))
    return steps


def _each(layers, x, labels, explain):
    """Stack `explain(nodes, flat image, label)` over the batch."""
    nodes, _ = unroll(layers, tuple(x.shape[1:]))
    return torch.stack(
        [explain(nodes, image.flatten(), label).reshape(image.shape) for image, label in zip(x, labels)]
    )


def forward(layers, x):
    """The logits of the written-down net, to prove that it is the net under test."""
    nodes, _ = unroll(layers, tuple(x.shape[1:]))
    return torch.stack([run(nodes, image.flatten())[-1][3] for image in x])


# --------------------------------------------------------------------------------------- gated gradients
def _gated(layers, x, labels, gate):
    def back(steps, signal):
        for kind, details, before, _ in reversed(steps):
            if kind in ("affine", "average"):
                signal = details[0].T @ signal
            elif kind == "relu":
                signal = gate(signal, before, details[0])
            elif kind == "maxpool":
                received = torch.zeros_like(before)
                for window, value in zip(details[0], signal):
                    received[_winner(before, window)] += value
                signal = received
            else:
                signal = signal + back(details[0], signal)
        return signal

    def explain(nodes, image, label):
        steps = run(nodes, image)
        return back(steps, torch.eye(len(steps[-1][3]), dtype=image.dtype)[label])

    return _each(layers, x, labels, explain)


def guided_backprop(layers, x, labels):
    """R_in = R * 1[z > 0] * 1[R > 0] at each ReLU (Springenberg et al. 2015); ReLU6 also needs z < 6."""
    return _gated(layers, x, labels, lambda r, z, limit: r * (z > 0) * (z < limit) * (r > 0))


def deconvnet(layers, x, labels):
    """R_in = max(R, 0) at each ReLU, whatever the forward pass did (Zeiler and Fergus 2014)."""
    return _gated(layers, x, labels, lambda r, z, limit: r * (r > 0))


# ---------------------------------------------------------------------------------------------- DeepLIFT
def deeplift(layers, x, labels, baseline):
    """Rescale rule (Shrikumar et al. 2017): m_in = m * (out - out0) / (in - in0) at a ReLU, m_in = M^T m at a
    linear layer, R = m (x - x0). Of a max-pool window, the contribution m * (out - out0) goes to the place of
    the maximum of whichever input has the larger one, so that sum R = S(x) - S(x0)."""

    def back(steps, references, m):
        for (kind, details, before, after), (_, inner, before0, after0) in zip(
            reversed(steps), reversed(references)
        ):
            difference, outcome = before - before0, after - after0
            if kind in ("affine", "average"):
                m = details[0].T @ m
            elif kind == "relu":
                slope = torch.where(
                    difference == 0, (before > 0) * (before < details[0]) * 1.0, outcome / difference
                )
                m = m * slope
            elif kind == "maxpool":
                received = torch.zeros_like(before)
                for window, value, change in zip(details[0], m, outcome):
                    if change != 0:
                        place = _winner(before if change > 0 else before0, window)
                        received[place] += value * change / difference[place]
                m = received
            else:
                m = m + back(details[0], inner[0], m)
        return m

    references = iter(torch.zeros_like(x) + baseline)

    def explain(nodes, image, label):
        reference = next(references).flatten()
        steps, steps0 = run(nodes, image), run(nodes, reference)
        start = torch.eye(len(steps[-1][3]), dtype=image.dtype)[label]
        return back(steps, steps0, start) * (image - reference)

    return _each(layers, x, labels, explain)


# --------------------------------------------------------------------------------- relevance propagation
def _ratio(a, b):
    return torch.where(b == 0, torch.zeros_like(a), a / torch.where(b == 0, torch.ones_like(b), b))


def _sign(z):
    return torch.where(z < 0, -1.0, 1.0).to(z.dtype)


def _relevance(layers, x, labels, weighted, share):
    """R_out = S_label on the label; ReLU hands relevance on, a max-pool to the winner, a sum in shares."""

    def back(steps, relevance, first):
        for place, (kind, details, before, after) in reversed(list(enumerate(steps))):
            if kind in ("affine", "average"):
                is_first = first and not any(step[0] == "affine" for step in steps[:place])
                relevance = weighted(kind, details, before, after, relevance, is_first)
            elif kind == "relu":
                relevance = relevance * (before > 0)
            elif kind == "maxpool":
                received = torch.zeros_like(before)
                for window, value in zip(details[0], relevance):
                    received[_winner(before, window)] += value
                relevance = received
            else:
                branch = details[0][-1][3]
                kept = share(before, after, relevance)
                relevance = kept + back(details[0], share(branch, after, relevance), False)
        return relevance

    def explain(nodes, image, label):
        steps = run(nodes, image)
        start = torch.zeros_like(steps[-1][3])
        start[label] = steps[-1][3][label]
        return back(steps, start, True)

    return _each(layers, x, labels, explain)


def lrp_epsilon(layers, x, labels, epsilon, root=None):
    """R_i = x_i sum_j w_ji R_j / (z_j + epsilon sign z_j), z_j with its bias, sign 0 = 1 (Bach et al. 2015).

    epsilon = 0 is the z rule, with 0 / 0 = 0. Average pooling and sums are linear layers like the others. At the
    first layer x_i is measured from `root` (c, h, w).
    """
    start = 0.0 if root is None else root.flatten()

    def stable(z):
        return z + epsilon * _sign(z)

    def weighted(kind, details, before, after, relevance, is_first):
        return (before - (start if is_first else 0.0)) * (details[0].T @ _ratio(relevance, stable(after)))

    return _relevance(layers, x, labels, weighted, lambda part, whole, r: part * _ratio(r, stable(whole)))


def lrp_z(layers, x, labels, root=None):
    """The z rule: `lrp_epsilon` with epsilon = 0."""
    return lrp_epsilon(layers, x, labels, 0.0, root)


def _z_plus(matrix, before, relevance):
    positive = matrix.clamp(min=0)
    return before * (positive.T @ _ratio(relevance, positive @ before))


def lrp_z_plus(layers, x, labels):
    """R_i = x_i sum_j w+_ji R_j / sum_i w+_ji x_i, for x >= 0; biases get nothing (Montavon et al. 2017)."""
    return _relevance(
        layers,
        x,
        labels,
        lambda kind, details, before, after, r, is_first: _z_plus(details[0], before, r),
        lambda part, whole, r: part * _ratio(r, whole),
    )


def deep_taylor(layers, x, labels, low=0.0, high=1.0):
    """z+ inside; z^B at the first weights: R_i = sum_j (x_i w_ji - l w+_ji - h w-_ji) R_j / sum_i (the same)
    (Montavon et al. 2017), the bounds l, h in units of x."""

    def weighted(kind, details, before, after, relevance, is_first):
        matrix = details[0]
        if kind == "average" or not is_first:
            return _z_plus(matrix, before, relevance)
        part = matrix * before - matrix.clamp(min=0) * low - matrix.clamp(max=0) * high   # (outputs, inputs)
        return part.T @ _ratio(relevance, part.sum(1))

    return _relevance(layers, x, labels, weighted, lambda part, whole, r: part * _ratio(r, whole))


# ------------------------------------------------------------- the same two gates in a whole torch model
class _Gated(torch.autograd.Function):
    @staticmethod
    def forward(ctx, z, limit, rule):
        ctx.save_for_backward(z)
        ctx.limit, ctx.rule = limit, rule
        return z.clamp(0.0, limit)

    @staticmethod
    def backward(ctx, r):
        (z,) = ctx.saved_tensors
        through = (z > 0) & (z < ctx.limit) if ctx.rule == "guided" else torch.ones_like(z, dtype=torch.bool)
        return r * through * (r > 0), None, None


class Gate(torch.nn.Module):
    """A ReLU (limit inf) or ReLU6 whose backward pass is the rule "guided" or "deconvnet"."""

    def __init__(self, limit, rule):
        super().__init__()
        self.limit, self.rule = limit, rule

    def forward(self, z):
        return _Gated.apply(z, self.limit, self.rule)


def gated_copy(model, rule):
    """A deep copy of a model, each ReLU and ReLU6 module of it replaced by a `Gate`."""
    twin = copy.deepcopy(model)
    for module in list(twin.modules()):
        for name, child in list(module.named_children()):
            if isinstance(child, (torch.nn.ReLU, torch.nn.ReLU6)):
                setattr(module, name, Gate(6.0 if isinstance(child, torch.nn.ReLU6) else float("inf"), rule))
    return twin
