"""Back-propagation rules: the function mode against Captum's module hooks."""
from copy import deepcopy

import torch
from captum.attr import DeepLift, GuidedBackprop
from torch import nn

from fragility import attribution

from .registry import Outcome, benchmark
from .setup import require_same
from .timing import clock, fastest, paired


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


def averaging(model):
    """A copy that averages where the model takes a maximum: Captum's rule loses overlapping windows, ours does not."""
    model = deepcopy(model)
    for parent in list(model.modules()):
        for name, part in parent.named_children():
            if isinstance(part, nn.MaxPool2d):
                average = nn.AvgPool2d(part.kernel_size, part.stride, part.padding, part.ceil_mode)
                setattr(parent, name, average.train(part.training))
    return model


@benchmark("deeplift", bar=0.9, description="DeepLIFT, rescale rule, SqueezeNet with average pooling: Captum (its "
           "faster memory format) / ours")
def deeplift(setup):
    x = setup.batch()
    target = setup.labels(x)
    model = averaging(setup.model)
    peer = DeepLift(averaging(setup.model))

    def ours():
        return attribution.deeplift(model, x, target)

    def captum(layout):
        return peer.attribute(x.contiguous(memory_format=layout), 0.0, target=target).detach()

    layouts = {"contiguous": torch.contiguous_format, "channels-last": torch.channels_last}
    require_same(ours(), captum(torch.contiguous_format))
    best = fastest({name: lambda layout=layout: captum(layout) for name, layout in layouts.items()})
    pair = paired(clock(ours), clock(lambda: captum(layouts[best])), setup.repeats)
    return Outcome(pair.ratio, pair.spread, pair.note(best))
