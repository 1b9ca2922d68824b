"""Maps of transformers and of today's convolutions: against the bare cost of passes, and against Captum."""
import torch
from captum.attr import Occlusion

from fragility import attribution

from .registry import Outcome, benchmark
from .setup import require_same
from .timing import clock, fastest, paired


def vit(setup):
    """torchvision's ViT-B/16 with seeded random weights, one block and small images when quick."""
    from torchvision.models import VisionTransformer
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = VisionTransformer(setup.size // 16 * 16, 16, 1 if setup.quick else 12, 12, 768, 3072)
        torch.nn.init.normal_(model.heads.head.weight, std=0.02)       # it starts at zero
    return model.eval().to(setup.device)


def passes(model, x, target):
    """A plain forward and backward pass to the images."""
    leaf = x.clone().requires_grad_()
    return torch.autograd.grad(model(leaf).gather(1, target[:, None]).sum(), leaf)[0]


def against_passes(setup, method):
    model = vit(setup)
    x = setup.batch()[..., :setup.size // 16 * 16, :setup.size // 16 * 16].contiguous()
    with torch.no_grad():
        target = model(x).argmax(1)
    pair = paired(clock(lambda: method(model, x, target)), clock(lambda: passes(model, x, target)), setup.repeats)
    return Outcome(1 / pair.ratio, pair.spread / pair.ratio**2, pair.note(f"{len(x)} images"))


@benchmark("attn-lrp", bar=2.0, at_most=True, description="AttnLRP on ViT-B/16: ours / a plain forward and backward "
           "pass")
def attn_lrp(setup):
    return against_passes(setup, attribution.attn_lrp)


@benchmark("grad-cam", bar=1.15, at_most=True, description="Grad-CAM on ViT-B/16: ours / a plain forward and backward "
           "pass")
def grad_cam(setup):
    return against_passes(setup, attribution.grad_cam)


@benchmark("occlusion-captum", bar=1.0, description="occlusion, windows of an eighth of the side: Captum (its fastest "
           "perturbations_per_eval) / ours")
def occlusion(setup):
    # A quarter of the usual batch: both sides make 225 passes over it in every repeat.
    x = setup.batch(2)
    target, window = setup.labels(x), max(1, setup.size // 8)
    stride = window if setup.quick else max(1, window // 2)

    def ours():
        return attribution.occlusion(setup.model, x, target, window=window, stride=stride)

    @torch.no_grad()
    def captum(size):
        return Occlusion(setup.model).attribute(x, (3, window, window), (3, stride, stride), target=target,
                                                perturbations_per_eval=size)

    require_same(3 * ours(), captum(4))
    size = fastest({size: lambda size=size: captum(size) for size in (1, 2, 4, 8, 16)}, rounds=1)
    pair = paired(clock(ours), clock(lambda: captum(size)), 2 if setup.quick else 3)
    return Outcome(pair.ratio, pair.spread, pair.note(f"perturbations_per_eval={size}"))
