"""Contracts with the real libraries: Captum's methods here, ours in Captum and Quantus."""

import warnings

import numpy as np
import pytest
import torch
from torch import nn

from fragility import attribution, interop
from tests import networks

captum_attr = pytest.importorskip("captum.attr", reason="Captum is not installed")
CLASSES = torch.tensor([0, 1, 2, 3])


@pytest.fixture(scope="module")
def net():
    return networks.build(networks.plain, dtype=torch.float32)


@pytest.fixture(scope="module")
def x():
    return networks.images(4, dtype=torch.float32)


@pytest.mark.parametrize("name", ["Saliency", "Occlusion", "IntegratedGradients", "InputXGradient", "DeepLift",
                                  "GuidedBackprop", "FeatureAblation", "GradientShap"])
@pytest.mark.filterwarnings("ignore")      # Captum's remarks on hooks and on Python's own future
def test_methods_of_captum_by_name(name, net, x):
    maps = interop.captum_by_name(name)(net, x, CLASSES)
    assert maps.shape == x.shape and bool(maps.isfinite().all()) and not maps.requires_grad
    assert not any(part._forward_hooks or part._backward_hooks for part in net.modules())


def test_the_maps_are_those_of_captum(net, x):
    theirs = captum_attr.IntegratedGradients(net)
    method = interop.captum(theirs, n_steps=50, method="riemann_middle")
    torch.testing.assert_close(method(net, x, CLASSES), attribution.integrated_gradients(net, x, CLASSES), atol=1e-6,
                               rtol=1e-4)
    saliency = interop.captum(captum_attr.Saliency, abs=False)
    torch.testing.assert_close(saliency(net, x, CLASSES), attribution.gradient(net, x, CLASSES))


def test_an_object_of_captum_explains_other_models_too(net, x):
    method = interop.captum(captum_attr.Saliency(net), abs=False)
    other = networks.build(networks.plain, seed=1, dtype=torch.float32)
    torch.testing.assert_close(method(other, x, CLASSES), attribution.gradient(other, x, CLASSES))


def test_without_a_target_the_predicted_class_is_explained(net, x):
    method = interop.captum(captum_attr.Saliency, abs=False)
    torch.testing.assert_close(method(net, x), attribution.gradient(net, x))


def test_a_single_logit_and_an_output_with_logits(x):
    single = networks.build(lambda: nn.Sequential(nn.Flatten(), nn.Linear(192, 1)), dtype=torch.float32)
    method = interop.captum(captum_attr.Saliency, abs=False)
    torch.testing.assert_close(method(single, x), attribution.gradient(single, x))


def test_what_captum_cannot_be_given_is_refused(net, x):
    with pytest.raises(ValueError, match="'Salience' is unknown; choose one of: .*Saliency"):
        interop.captum_by_name("Salience")
    with pytest.raises(TypeError, match="takes a class or an object"):
        interop.captum(print)
    with pytest.raises(ValueError, match="LayerGradCam needs layer"):
        interop.captum(captum_attr.LayerGradCam)(net, x, CLASSES)


@pytest.mark.filterwarnings("ignore")
def test_ours_as_an_attribution_of_captum(net, x):
    from captum.metrics import infidelity, sensitivity_max

    ours = interop.for_captum(net, "deeplift", baseline=0.5)
    expected = attribution.deeplift(net, x, CLASSES, baseline=0.5)
    torch.testing.assert_close(ours.attribute(x, target=CLASSES), expected)
    assert sensitivity_max(ours.attribute, x, target=CLASSES).shape == (4,)
    noise = lambda inputs: (torch.zeros_like(inputs), inputs)       # no perturbation: nothing to be unfaithful about
    torch.testing.assert_close(infidelity(net, noise, x, expected, target=CLASSES), torch.zeros(4))
    tunnel = captum_attr.NoiseTunnel(ours)
    smooth = tunnel.attribute(x, nt_samples=3, stdevs=0.0, target=CLASSES)
    torch.testing.assert_close(smooth, expected)


def test_ours_as_an_explanation_of_quantus(net, x):
    explain = interop.explain_for_quantus("gradient")
    maps = explain(net, x.numpy(), CLASSES.numpy(), device="cpu")
    torch.testing.assert_close(torch.from_numpy(maps), attribution.gradient(net, x, CLASSES))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        quantus = pytest.importorskip("quantus", reason="Quantus is not installed")
        measure = quantus.MaxSensitivity(nr_samples=3, disable_warnings=True)
        scores = measure(model=net, x_batch=x.numpy(), y_batch=CLASSES.numpy(), a_batch=None, explain_func=explain,
                         device="cpu")
    assert np.isfinite(scores).all() and len(scores) == 4
