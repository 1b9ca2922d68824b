"""Back-propagation rules: the function mode against Captum's module hooks."""
from captum.attr import GuidedBackprop

from fragility import attribution

from .registry import Outcome, benchmark
from .setup import require_same
from .timing import clock, paired


@benchmark("guided-backprop", bar=1.0, description="guided backprop: Captum / ours")
def guided_backprop(setup):
    x = setup.batch()
    target = setup.labels(x)
    peer = GuidedBackprop(setup.model)

    def ours():
        return attribution.guided_backprop(setup.model, x, target)

    def captum():
        return peer.attribute(x, target=target)

    require_same(ours(), captum())
    # A single pass takes a fraction of a second, so more pairs are cheap, and needed on a busy machine.
    pair = paired(clock(ours), clock(captum), setup.repeats * (1 if setup.quick else 3))
    return Outcome(pair.ratio, pair.spread, pair.note())
