"""Path methods and noise ensembles: against Captum, and against the bare cost of their gradients."""
import torch
from captum.attr import IntegratedGradients, NoiseTunnel, Saliency

from fragility import attribution

from .registry import Outcome, benchmark
from .setup import require_same
from .timing import clock, fastest, paired


def path_steps(setup):
    # 50 is usual; every point costs the same, so 10 give the same ratio in a fifth of the time.
    return 2 if setup.quick else 10


@benchmark("ig-captum", bar=2.0, description="integrated gradients, 10 steps: Captum (its fastest "
           "internal_batch_size) / ours")
def ig_captum(setup):
    x, steps = setup.batch(), path_steps(setup)
    target = setup.labels(x)

    def ours():
        return attribution.integrated_gradients(setup.model, x, target, steps=steps)

    def captum(size, x=x):
        return IntegratedGradients(setup.model).attribute(
            x, 0.0, target=target, n_steps=steps, method="riemann_middle", internal_batch_size=size)

    require_same(ours(), captum(8))
    size = fastest({size: lambda size=size: captum(size) for size in (8, 16, 32, None)})
    pair = paired(clock(ours), clock(lambda: captum(size)), setup.repeats)
    # What a reader who knows the trick would get from Captum: the same call on channels-last images.
    channels_last = x.contiguous(memory_format=torch.channels_last)
    informed = paired(clock(ours), clock(lambda: captum(size, channels_last)), 2)
    return Outcome(pair.ratio, pair.spread, pair.note(f"internal_batch_size={size}") +
                   f"; ratio {informed.ratio:.2f} where Captum is given channels-last images")


@benchmark("ig-bare", bar=0.9, description="integrated gradients: a plain loop of its forward and backward "
           "passes (best memory format and batch size) / ours")
def ig_bare(setup):
    x, steps = setup.batch(), path_steps(setup)
    target = setup.labels(x)
    # Built outside the clock: the loop is charged for its gradients only.
    shares = (torch.arange(steps).add(0.5) / steps).view(-1, 1, 1, 1, 1)
    points = (shares.to(x) * x).flatten(0, 1)
    labels = target.repeat(steps).unsqueeze(1)

    def loop(layout, size):
        for part, label in zip(points.split(size), labels.split(size)):
            part = part.contiguous(memory_format=layout).requires_grad_()
            torch.autograd.grad(setup.model(part).gather(1, label).sum(), part)

    def ours():
        attribution.integrated_gradients(setup.model, x, target, steps=steps)

    layouts = {"contiguous": torch.contiguous_format, "channels-last": torch.channels_last}
    choices = {(name, size): lambda layout=layout, size=size: loop(layout, size)
               for name, layout in layouts.items() for size in (2, 4, 8, 16)}
    best = fastest(choices)
    pair = paired(clock(ours), clock(choices[best]), setup.repeats)
    return Outcome(pair.ratio, pair.spread, pair.note(f"{best[0]}, {best[1]} at a time"))


@benchmark("noise-ensembles", bar=6.0, description="SmoothGrad, squared and VarGrad, 15 samples: Captum's "
           "NoiseTunnel three times (its fastest nt_samples_batch_size) / ours in one call")
def noise_ensembles(setup):
    # Half the usual batch: Captum makes 3 x 15 passes over it in every repeat.
    x, samples = setup.batch(4), 2 if setup.quick else 15
    target = setup.labels(x)
    tunnel = NoiseTunnel(Saliency(setup.model))

    def ours():
        attribution.noise_ensembles(setup.model, x, target, samples=samples,
                                    generator=torch.Generator().manual_seed(0))

    def captum(size, kinds=("smoothgrad", "smoothgrad_sq", "vargrad")):
        for kind in kinds:
            tunnel.attribute(x, nt_type=kind, nt_samples=samples, nt_samples_batch_size=size,
                             stdevs=0.15, target=target, abs=False)

    size = fastest({size: lambda size=size: captum(size, ["smoothgrad"]) for size in (2, 4, 8, None)})
    pair = paired(clock(ours), clock(lambda: captum(size)), setup.repeats)
    return Outcome(pair.ratio, pair.spread, pair.note(f"nt_samples_batch_size={size}"))
