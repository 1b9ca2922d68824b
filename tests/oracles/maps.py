"""Slow twins of the map functions: one image at a time, from the equations, in the precision of the input."""

import torch


def targets_of(model, x, target):
    """The explained class of each image: `target`, or the one predicted on the image itself."""
    if target is None:
        with torch.no_grad():
            return [int(model(image[None])[0].argmax()) for image in x]
    if isinstance(target, int):
        return [target] * len(x)
    return [int(one) for one in target]


def logit(model, image, label):
    """The pre-softmax score S_label of one (c, h, w) image."""
    return model(image[None])[0, label]


def image_gradient(model, image, label):
    """dS_label / dx at one image."""
    with torch.enable_grad():
        leaf = image.detach().clone().requires_grad_(True)
        return torch.autograd.grad(logit(model, leaf, label), leaf)[0]


def gradient(model, x, target=None):
    """Simple gradient dS/dx (Simonyan et al. 2014; Ghorbani et al. 2019, section 2)."""
    labels = targets_of(model, x, target)
    return torch.stack([image_gradient(model, image, label) for image, label in zip(x, labels)])


def gradient_x_input(model, x, target=None):
    """x * dS/dx, element by element (Shrikumar et al. 2016)."""
    return x * gradient(model, x, target)


def integrated_gradients(model, x, target=None, *, baseline=0.0, steps=50):
    """Integrated gradients (Sundararajan et al. 2017) with the mid-point rule:

    (x - x0) * mean_k dS/dx at x0 + t_k (x - x0), t_k = (k - 1/2) / K, k = 1..K.
    """
    labels = targets_of(model, x, target)
    references = torch.zeros_like(x) + baseline
    maps = []
    for image, reference, label in zip(x, references, labels):
        total = torch.zeros_like(image)
        for k in range(1, steps + 1):
            t = (k - 0.5) / steps
            total = total + image_gradient(model, reference + t * (image - reference), label)
        maps.append((image - reference) * total / steps)
    return torch.stack(maps)


def sobel(x):
    """sqrt(gx^2 + gy^2) a channel, kernels [1 2 1]^T [-1 0 1] and its transpose, edge pixels repeated."""
    smooth, difference = (1.0, 2.0, 1.0), (-1.0, 0.0, 1.0)
    n, c, height, width = x.shape
    out = torch.zeros_like(x)
    for image in range(n):
        for channel in range(c):
            for i in range(height):
                for j in range(width):
                    across = down = 0.0
                    for a in range(3):
                        for b in range(3):
                            row, column = (
                                min(max(i + a - 1, 0), height - 1),
                                min(max(j + b - 1, 0), width - 1),
                            )
                            value = float(x[image, channel, row, column])
                            across += smooth[a] * difference[b] * value
                            down += difference[a] * smooth[b] * value
                    out[image, channel, i, j] = (across ** 2 + down ** 2) ** 0.5
    return out


def pixel_map(maps):
    """sum_c |R_c|, divided by its sum over the pixels of the image (Ghorbani et al. 2019, section 3)."""
    n, c, height, width = maps.shape
    out = torch.zeros(n, height, width, dtype=maps.dtype)
    for image in range(n):
        for i in range(height):
            for j in range(width):
                out[image, i, j] = sum(abs(float(maps[image, channel, i, j])) for channel in range(c))
        out[image] /= float(out[image].sum())
    return out
