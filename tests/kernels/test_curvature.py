"""Second derivatives of a logit: against the explicit Hessian, and how near to orthogonal its direction is."""

import functools

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from fragility import attribution, curvature
from tests import networks
from tests.networks import SMALL, build, images, styled

# What torch says about itself the first time that a forward derivative is asked for.
pytestmark = pytest.mark.filterwarnings("ignore:`torch.jit.script` is:FutureWarning")

WAYS = ("forward-over-reverse", "finite-difference")
LABELS = torch.tensor([4, 0, 2])


class Smooth(nn.Module):
    """For 2 x 4 x 4 images: two kinds of curvature and a weight that is used twice."""

    def __init__(self):
        super().__init__()
        self.first, self.again, self.last = nn.Conv2d(2, 6, 3, padding=1), nn.Conv2d(6, 6, 1), nn.Linear(96, 5)

    def forward(self, x):
        z = torch.tanh(self.again(F.softplus(self.first(x), beta=2)))
        return self.last(torch.tanh(self.again(z)).flatten(1))


def smooth(dtype=torch.float64):
    """Weights for which each image's largest eigenvalue stands clear of the second, with either sign."""
    model = build(Smooth, 1, dtype)
    with torch.no_grad():
        for weight in model.parameters():
            weight.mul_(2)
    return model


def small(n=3, seed=0):
    return images(n, 4, 2, seed)


class Quadratic(nn.Module):
    """Logit k = x^T Q_k x / 2 + b_k^T x: its Hessian is Q_k everywhere."""

    def __init__(self, *matrices):
        super().__init__()
        self.matrices = nn.Parameter(torch.stack(matrices))
        self.slopes = nn.Parameter(torch.arange(len(matrices) * len(matrices[0])).double().sin()
                                   .view(len(matrices), -1))

    def forward(self, x):
        flat = x.flatten(1)
        return torch.einsum("ni,kij,nj->nk", flat, self.matrices, flat) / 2 + flat @ self.slopes.T


def with_spectrum(*eigenvalues, size=16, seed=0):
    """(Q, eigenvectors as columns) of these eigenvalues, the others of them 0."""
    generator = torch.Generator().manual_seed(seed)
    basis = torch.linalg.qr(torch.randn(size, size, generator=generator, dtype=torch.float64)).Q
    values = torch.zeros(size, dtype=torch.float64)
    values[:len(eigenvalues)] = torch.tensor(eigenvalues, dtype=torch.float64)
    return (basis * values) @ basis.T, basis


def hessians(model, x, labels):
    """The explicit Hessian (d, d) of each image's explained logit."""
    def logit(k, shape):
        return lambda flat: model(flat.view(1, *shape))[0, int(k)]
    return torch.stack([torch.autograd.functional.hessian(logit(k, image.shape), image.flatten())
                        for image, k in zip(x, labels)])


def times(matrices, v):
    return torch.einsum("nij,nj->ni", matrices, v.flatten(1)).view_as(v)


def close(actual, expected, tolerance=1e-9):
    scale = float(expected.detach().abs().max())
    assert scale > 0, "nothing compares with anything"
    torch.testing.assert_close(actual, expected, rtol=tolerance, atol=tolerance * scale)


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


# ------------------------------------------------------------------------------------------ the smooth twin
@pytest.mark.parametrize("beta", [0.7, 1.0, 20.0])
@pytest.mark.parametrize("net", SMALL)
def test_the_smooth_twin_is_the_net_with_softplus(net, beta):
    model, x = build(SMALL[net]), images()
    expected = build(lambda: SMALL[net](lambda: nn.Softplus(beta)))
    twin = curvature.smoothed(model, beta)
    assert isinstance(twin, nn.Module)
    close(twin(x).detach(), expected(x).detach(), 1e-12)
    assert not torch.allclose(twin(x), model(x), rtol=1e-4)
    close(attribution.gradient(twin, x, LABELS), attribution.gradient(expected, x, LABELS), 1e-10)


def test_softplus_has_sharpness_one_where_none_is_named():
    model, x = build(SMALL["plain"]), images()
    assert torch.equal(curvature.smoothed(model)(x), curvature.smoothed(model, beta=1.0)(x))


@pytest.mark.parametrize("style", networks.RELU_STYLES)
def test_relu_in_every_style_becomes_smooth(style):
    model, x = styled(networks.RELU_STYLES[style]), images()
    close(curvature.smoothed(model, 3.0)(x).detach(), styled(lambda z: F.softplus(z, 3.0))(x).detach(), 1e-12)


def test_a_sharp_twin_is_the_net_and_leaves_it_alone():
    model, x = build(SMALL["residual"]), images()
    before = networks.snapshot(model)
    close(curvature.smoothed(model, 1e5)(x).detach(), model(x).detach(), 1e-3)
    curvature.dominant_direction(curvature.smoothed(model), x, iterations=2, generator=seeded())
    networks.assert_same(before, networks.snapshot(model))
    networks.assert_torch_as_before()


# ------------------------------------------------------------------------------------------ Hessian products
@pytest.mark.parametrize("way", WAYS)
def test_products_are_the_explicit_hessian(way):
    model, x, v = smooth(), small(), small(seed=1) - 0.5
    product = curvature.hessian_product(model, x, v, LABELS, way=way)
    assert product.shape == x.shape and product.dtype == x.dtype and not product.requires_grad
    close(product, times(hessians(model, x, LABELS), v), 1e-9 if way == WAYS[0] else 1e-5)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("net", ["plain", "overlapping", "residual", "normalised"])
def test_products_of_a_smoothed_relu_net(net, way):
    model, x, v = build(SMALL[net]), images(), images(seed=1) - 0.5
    expected = times(hessians(build(lambda: SMALL[net](nn.Softplus)), x, LABELS), v)
    product = curvature.hessian_product(curvature.smoothed(model), x, v, LABELS, way=way, step=1e-5)
    close(product, expected, 1e-8 if way == WAYS[0] else 1e-5)


def test_the_first_way_is_the_default():
    model, x, v = smooth(), small(), small(seed=1)
    assert torch.equal(curvature.hessian_product(model, x, v, 1),
                       curvature.hessian_product(model, x, v, 1, way="forward-over-reverse"))
    assert torch.equal(curvature.hessian_product(model, x, v, 1, way="finite-difference"),
                       curvature.hessian_product(model, x, v, 1, way="finite-difference", step=1e-3))


@pytest.mark.parametrize("step", [1e-3, 0.3])
def test_the_difference_is_central_and_of_the_reach(step):
    """(grad S(x + h u) - grad S(x - h u)) |v|_max / 2h with u = v / |v|_max, image by image."""
    model, x = smooth(), small()
    v = (small(seed=1) - 0.5) * torch.tensor([1.0, 100.0, 1e-4]).double().view(3, 1, 1, 1)
    size = v.abs().flatten(1).amax(1).view(3, 1, 1, 1)
    ahead, behind = (attribution.gradient(model, x + side * step * v / size, LABELS) for side in (1, -1))
    product = curvature.hessian_product(model, x, v, LABELS, way="finite-difference", step=step)
    for one, other in zip(product, size * (ahead - behind) / (2 * step)):
        close(one, other, 1e-8)


def test_a_relu_net_bends_only_at_its_kinks():
    model, x, v = build(SMALL["unpooled"]), images(), images(seed=1)
    assert curvature.hessian_product(model, x, v, 1).abs().max() == 0
    assert curvature.hessian_product(model, x, v, 1, way="finite-difference", step=0.2).abs().max() > 0


@pytest.mark.parametrize("way", WAYS)
def test_no_direction_no_product(way):
    model, x, v = smooth(), small(), small(seed=1)
    v[1] = 0
    product = curvature.hessian_product(model, x, v, LABELS, way=way)
    assert product[1].abs().max() == 0
    close(product[[0, 2]], times(hessians(model, x, LABELS), v)[[0, 2]], 1e-5)


@pytest.mark.parametrize("way", WAYS)
def test_products_are_linear_and_symmetric(way):
    model, x = smooth(), small()
    u, v = small(seed=1) - 0.5, small(seed=2) - 0.5
    product = functools.partial(curvature.hessian_product, model, x, target=LABELS, way=way)
    close(product(v=2 * u - 3 * v), 2 * product(v=u) - 3 * product(v=v), 1e-5)
    close((u * product(v=v)).flatten(1).sum(1), (v * product(v=u)).flatten(1).sum(1), 1e-5)


@pytest.mark.parametrize("way", WAYS)
def test_a_batch_is_its_images(way):
    model, x, v = smooth(), small(), small(seed=1)
    whole = curvature.hessian_product(model, x, v, LABELS, way=way)
    for i in range(3):
        close(curvature.hessian_product(model, x[i:i + 1], v[i:i + 1], LABELS[i:i + 1], way=way), whole[i:i + 1], 1e-8)
    for chunk in (1, 2, 9):
        close(curvature.hessian_product(model, x, v, LABELS, way=way, chunk=chunk), whole, 1e-8)


@pytest.mark.parametrize("way", WAYS)
def test_the_explained_class_is_that_of_the_image_itself(way):
    """At the border of two classes a step to one side is predicted differently; the logit must not switch."""
    model, x, v = smooth(), small(1), small(1, seed=1) - 0.5
    best, second = model(x)[0].detach().sort(descending=True).indices[:2].tolist()
    with torch.no_grad():
        model.last.bias[second] += model(x)[0, best] - model(x)[0, second] - 1e-9
    labels = [int(model(x + side * 1e-3 * v).argmax()) for side in (1, 0, -1)]
    assert labels[1] == best and second in labels
    close(curvature.hessian_product(model, x, v, way=way), times(hessians(model, x, [best]), v), 1e-5)


@pytest.mark.parametrize("way", WAYS)
def test_products_without_gradients(way):
    model, x, v = smooth(), small(), small(seed=1)
    with torch.no_grad():
        still = curvature.hessian_product(model, x, v, LABELS, way=way)
    before = networks.snapshot(model)
    assert torch.equal(still, curvature.hessian_product(model, x, v, LABELS, way=way))
    networks.assert_same(before, networks.snapshot(model))
    single = curvature.hessian_product(smooth(torch.float32), x.float(), v.float(), LABELS, way=way)
    assert single.dtype == torch.float32
    close(single.double(), still, 1e-4 if way == WAYS[0] else 2e-2)


# ------------------------------------------------------------------------------------- the dominant direction
def assert_dominant(found, matrices, tolerance):
    """Against numpy.linalg.eigh: the line and the signed eigenvalue."""
    for direction, eigenvalue, matrix in zip(found.direction, found.eigenvalue, matrices):
        values, vectors = np.linalg.eigh(matrix.numpy())
        best = np.abs(values).argmax()
        assert float(eigenvalue) == pytest.approx(values[best], rel=tolerance)
        assert abs(float(direction.flatten() @ torch.from_numpy(vectors[:, best]))) > 1 - tolerance


@pytest.mark.parametrize("way", WAYS)
def test_the_dominant_direction_is_the_eigenvector(way):
    model, x = smooth(), small()
    found = curvature.dominant_direction(model, x, LABELS, iterations=50, way=way, generator=seeded())
    assert found._fields == ("direction", "eigenvalue")
    assert found.direction.shape == x.shape and found.eigenvalue.shape == (3,)
    assert not found.direction.requires_grad and not found.eigenvalue.requires_grad
    torch.testing.assert_close(found.direction.flatten(1).norm(dim=1), torch.ones(3).double())
    assert_dominant(found, hessians(model, x, LABELS), 1e-4)


SPECTRA = {
    "positive": (3.0, -1.0, 0.5),
    "negative": (-3.0, 1.0, 0.5),
    "alone": (-0.001,),
    "near pair, positive": (3.0, -2.6, 1.0),
    "near pair, negative": (-3.0, 2.6, 1.0),
    "large": (2e6, -1e6, 3.0),
}


@pytest.mark.parametrize("way", WAYS)
def test_spectra_of_every_kind(way):
    """One image a spectrum, each its own logit: the batch does not mix them."""
    matrices = [with_spectrum(*values, seed=seed)[0] for seed, values in enumerate(SPECTRA.values())]
    model, x = Quadratic(*matrices).eval(), images(len(matrices), 4, 1)
    found = curvature.dominant_direction(model, x, torch.arange(len(matrices)), iterations=60, way=way,
                                         generator=seeded())
    assert_dominant(found, torch.stack(matrices), 1e-5)


def test_thirty_iterations_are_enough_for_a_clear_winner():
    matrix = with_spectrum(-3.0, 2.0, 1.0, -1.0)[0]
    found = curvature.dominant_direction(Quadratic(matrix, matrix).eval(), images(2, 4, 1), 0, generator=seeded())
    assert_dominant(found, [matrix, matrix], 1e-6)


def test_an_exact_pair_does_not_oscillate():
    """Eigenvalues 3 and -3: the line is in their plane, whether the number of iterations is odd or even."""
    matrix, basis = with_spectrum(3.0, -3.0, 1.0)
    for iterations in (30, 31):
        model = Quadratic(matrix, matrix).eval()
        found = curvature.dominant_direction(model, images(2, 4, 1), 0, iterations=iterations,
                                             generator=seeded())
        assert ((found.direction.flatten(1) @ basis[:, :2]).norm(dim=1) > 1 - 1e-9).all()
        assert (found.eigenvalue.abs() <= 3 + 1e-9).all()


def test_the_generator_decides_the_start():
    model, x = smooth(), small()
    one, two, other = (curvature.dominant_direction(model, x, 1, iterations=1, generator=seeded(seed))
                       for seed in (0, 0, 1))
    assert torch.equal(one.direction, two.direction) and torch.equal(one.eigenvalue, two.eigenvalue)
    assert not torch.allclose(one.direction, other.direction, atol=1e-3)
    state = torch.random.get_rng_state()
    curvature.dominant_direction(model, x, 1, iterations=1, generator=seeded())
    assert torch.equal(state, torch.random.get_rng_state())


# -------------------------------------------------------------------------------------------------- angles
def test_angles_of_known_lines():
    degrees = torch.tensor([0.0, 30.0, 60.0, 89.0, 90.0, 91.0, 120.0, 180.0]).double()
    a = torch.tensor([1.0, 0.0]).double().expand(8, 2).view(8, 1, 1, 2)
    b = torch.stack([degrees.deg2rad().cos(), degrees.deg2rad().sin()], 1).view(8, 1, 1, 2)
    expected = torch.tensor([0.0, 30.0, 60.0, 89.0, 90.0, 89.0, 60.0, 0.0]).double()
    for scale in (1.0, -5.0, 1e-8, 1e8):
        result = curvature.angle(a, scale * b)
        assert result.shape == (8,)
        torch.testing.assert_close(result, expected, rtol=0, atol=2e-6)


def test_angles_are_those_of_numpy():
    a, b = images(20, seed=1) - 0.5, images(20, seed=2) - 0.5
    for one, other, degrees in zip(a.flatten(1).numpy(), b.flatten(1).numpy(), curvature.angle(a, b).tolist()):
        cosine = abs(one @ other) / (np.linalg.norm(one) * np.linalg.norm(other))
        assert degrees == pytest.approx(np.degrees(np.arccos(cosine)), abs=1e-9)
    assert torch.equal(curvature.angle(a, b), curvature.angle(b, a))
    assert curvature.angle(a, a).max() < 1e-5 and curvature.angle(a.float(), a.float()).max() < 0.05


def test_random_directions_in_many_dimensions_are_nearly_orthogonal():
    a, b = (torch.randn(500, 3, 32, 32, generator=seeded(seed)) for seed in (0, 1))
    assert float(curvature.angle(a, b).mean()) == pytest.approx(89.2, abs=0.1)


class TwoLayers(nn.Module):
    """Nets S = sum_j v_j softplus(w_j^T x) with normal weights: image k of the batch goes through net k."""

    def __init__(self, nets, hidden, size, generator):
        super().__init__()
        normal = functools.partial(torch.randn, generator=generator, dtype=torch.float64)
        self.inner, self.outer = normal(nets, hidden, size) / size ** 0.5, normal(nets, hidden, 1)

    def forward(self, x):
        return (F.softplus(self.inner @ x.flatten(1)[..., None]) * self.outer).sum(1)

    def angles(self, x):
        """By numpy.linalg.eigh: grad S = sum_j v_j g'_j w_j, H = sum_j v_j g''_j w_j w_j^T, in the span of the w_j."""
        for w, v, image in zip(self.inner.numpy(), self.outer[..., 0].numpy(), x.flatten(1).numpy()):
            s = 1 / (1 + np.exp(-w @ image))
            basis, shares = np.linalg.qr(w.T)
            values, vectors = np.linalg.eigh((shares * (v * s * (1 - s))) @ shares.T)
            line, slope = basis @ vectors[:, np.abs(values).argmax()], w.T @ (v * s)
            yield np.degrees(np.arccos(abs(line @ slope) / np.linalg.norm(slope)))


@pytest.mark.parametrize("hidden, nets, reported", [(10, 200, 57), (50, 100, 71), (200, 40, 79)])
@pytest.mark.parametrize("side", [10, 16])
def test_width_makes_directions_orthogonal(hidden, nets, reported, side):
    """The angle of the dominant direction to the gradient grows with the hidden units, not with the input's size."""
    generator = seeded(hidden + side)
    model = TwoLayers(nets, hidden, side * side, generator).eval()
    x = torch.randn(nets, 1, side, side, generator=generator, dtype=torch.float64)
    found = curvature.dominant_direction(model, x, 0, generator=generator, chunk=nets)     # a network an image
    angles = curvature.angle(found.direction, attribution.gradient(model, x, 0, chunk=nets)).numpy()
    assert np.median(angles) == pytest.approx(reported, abs=4)
    exact = np.array(list(model.angles(x)))
    assert np.median(exact) == pytest.approx(reported, abs=4)
    # Where the first two eigenvalues are close, thirty iterations do not tell them apart.
    assert (np.abs(angles - exact) < 1).mean() > 0.8


@pytest.mark.parametrize("hidden, reported", [(1000, 85), (3000, 87)])
def test_wide_networks_come_near_a_right_angle(hidden, reported):
    """Too wide for power iteration here, and few networks: angles by the span of the hidden weights alone."""
    generator = seeded(hidden)
    model = TwoLayers(8, hidden, 32 * 32, generator)
    angles = list(model.angles(torch.randn(8, 1, 32, 32, generator=generator, dtype=torch.float64)))
    assert np.mean(angles) == pytest.approx(reported, abs=2.5)


# ------------------------------------------------------------------------------------------------- refusals
def _nan():
    x = small()
    x[1, 0, 2, 3] = float("nan")
    return x


BAD_IMAGES = {"NaN": _nan(), "no batch axis": small()[0], "empty": small()[:0], "integers": small().long()}


@pytest.mark.parametrize("kind", BAD_IMAGES)
def test_bad_images_are_refused(kind):
    model, bad = smooth(), BAD_IMAGES[kind]
    calls = [functools.partial(curvature.hessian_product, model, bad, small()),
             functools.partial(curvature.hessian_product, model, small(), bad),
             functools.partial(curvature.dominant_direction, model, bad),
             functools.partial(curvature.angle, bad, small()), functools.partial(curvature.angle, small(), bad)]
    for call in calls:
        with pytest.raises(ValueError) as refusal:
            call()
        assert len(str(refusal.value)) >= 20


def _bad_arguments():
    model, x, v, twin = smooth(), small(), small(seed=1), build(SMALL["plain"])
    product, direction = (functools.partial(curvature.hessian_product, model, x),
                          functools.partial(curvature.dominant_direction, model, x))
    training = smooth().train()
    return {
        "fewer directions": lambda: product(v[:2]),
        "fewer channels": lambda: product(v[:, :1]),
        "one direction for all": lambda: product(v[:1]),
        "class too large": lambda: product(v, 5),
        "too few classes": lambda: product(v, torch.tensor([0, 1])),
        "unknown way": lambda: product(v, way="reverse"),
        "no step": lambda: product(v, way="finite-difference", step=0),
        "NaN step": lambda: product(v, way="finite-difference", step=float("nan")),
        "chunk 0": lambda: product(v, chunk=0),
        "product of a training model": lambda: curvature.hessian_product(training, x, v),
        "class too large for a direction": lambda: direction(5),
        "unknown way to a direction": lambda: direction(way="reverse"),
        "no iterations": lambda: direction(iterations=0),
        "half an iteration": lambda: direction(iterations=2.5),
        "direction of a training model": lambda: curvature.dominant_direction(training, x),
        "beta 0": lambda: curvature.smoothed(twin, 0),
        "negative beta": lambda: curvature.smoothed(twin, -1.0),
        "NaN beta": lambda: curvature.smoothed(twin, float("nan")),
        "fewer to compare": lambda: curvature.angle(x, v[:2]),
        "fewer channels to compare": lambda: curvature.angle(x, v[:, :1]),
        "first is zero": lambda: curvature.angle(0 * x, x),
        "second is zero": lambda: curvature.angle(x, 0 * x),
    }


@pytest.mark.parametrize("kind", _bad_arguments())
def test_bad_arguments_are_refused(kind):
    with pytest.raises(ValueError) as refusal:
        _bad_arguments()[kind]()
    assert len(str(refusal.value)) >= 20


def test_no_curvature_has_no_direction():
    """A net that is linear around x: its Hessian is zero, and no line stands out."""
    with pytest.raises(ValueError, match="(?i)zero|curv|linear"):
        curvature.dominant_direction(build(SMALL["unpooled"]), images(), 1, generator=seeded())
