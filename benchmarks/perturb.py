"""The attack on a gradient map: finite differences against the published double backprop."""
import numpy as np
import torch

from fragility import attacks, attribution, metrics
from fragility.training import fast_bf16

from .registry import Outcome, benchmark
from .timing import clock, paired, quartile_range

K, EPSILON = 1000, 8 / 255
PUBLISHED = attacks.DoubleBackprop()


def precision(setup):
    """Of the gradients that give a direction."""
    return torch.bfloat16 if fast_bf16(torch.device(setup.device)) else None


def attack(setup, x, steps, curvature):
    return attacks.attack(setup.model, x, method="gradient", objective=attacks.TopK(K), epsilon=EPSILON,
                          steps=steps, curvature=curvature)


@benchmark("attack-step", bar=3.5,
           description="one step of the top-1000 attack: double backprop / finite difference")
def attack_step(setup):
    x = setup.batch(4)
    few, many = (1, 3) if setup.quick else (1, 5)

    def step(curvature):
        # The difference of two step counts leaves out what happens once: the label, the clean map, the twin.
        short, long = (clock(lambda steps=steps: attack(setup, x, steps, curvature)) for steps in (few, many))
        return lambda: (long() - short()) / (many - few)

    ours = attacks.FiniteDifference(precision=precision(setup))
    pair = paired(step(ours), step(PUBLISHED), setup.repeats)
    setting = f"{len(x)} images, our directions in {'bfloat16' if ours.precision else 'float32'}"
    return Outcome(pair.ratio, pair.spread, pair.note(setting) + " a step")


@benchmark("attack-strength", bar=1.0, description="share of the top 1000 that left the map, 15 steps: "
           "finite difference / double backprop (1: equally strong)")
def attack_strength(setup):
    x = setup.batch()
    steps = 2 if setup.quick else 15
    clean = attribution.pixel_map(attribution.gradient(setup.model, x))

    def left(curvature):
        """Per image, the share displaced, and how many attacks found a valid image."""
        found = attack(setup, x, steps, curvature)
        after = attribution.pixel_map(attribution.gradient(setup.model, found.x))
        return 1 - metrics.topk_intersection(clean, after, K).double().cpu().numpy(), int(found.found.sum())

    (ours, n_ours), (peer, n_peer) = left(attacks.FiniteDifference(precision=precision(setup))), left(PUBLISHED)
    # One pixel is the resolution: it keeps an image that nothing moved from dividing by zero.
    ratio = max(ours.mean(), 1 / K) / max(peer.mean(), 1 / K)
    spread = quartile_range(np.maximum(ours, 1 / K) / np.maximum(peer, 1 / K))
    return Outcome(float(ratio), spread, f"overlap {1 - ours.mean():.3f} ({n_ours} of {len(x)} found), "
                   f"peer {1 - peer.mean():.3f} ({n_peer} of {len(x)} found)")
