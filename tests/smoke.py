"""Every public kernel once, on a network of a few layers; run as a program where nothing but the instrument is."""

import torch
from torch import nn

import fragility
from fragility import attacks, attribution, curvature, influence, metrics, removal, shift, training


def seeded():
    return torch.Generator().manual_seed(0)


with torch.random.fork_rng():
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(64, 5))
model = fragility.Normalised(network, (0.5, 0.5, 0.5), (0.2, 0.2, 0.2)).eval()
x = torch.rand(3, 3, 8, 8, generator=seeded())


class Attentive(nn.Module):
    """Patches of two pixels that attend to one another."""

    def __init__(self):
        super().__init__()
        self.patches, self.head = nn.Conv2d(3, 8, 2, stride=2), nn.Linear(8, 5)
        self.layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)

    def forward(self, x):
        return self.head(self.layer(self.patches(x).flatten(2).transpose(1, 2)).mean(1))


models = {name: Attentive().eval() if "rollout" in name else model for name in attribution.METHODS}
maps = {name: method(models[name], x) for name, method in attribution.METHODS.items()}
patterns = attribution.fit_patterns(network.eval(), x)
maps["pattern_net"] = attribution.pattern_net(network, x, patterns=patterns)
maps["pattern_attribution"] = attribution.pattern_attribution(network, x, patterns=patterns)
assert all(one.shape == x.shape and one.isfinite().all() for one in maps.values())
a, b = (attribution.pixel_map(maps[name]) for name in ("gradient", "sobel"))
for score in (metrics.spearman, metrics.kendall, metrics.center_shift):
    assert score(a, b).shape == (3,)
for score in (metrics.topk_intersection, lambda a, b, k: metrics.lens_recall(a, b, k, 1)):
    assert score(a, b, 5).shape == (3,)
for objective in (attacks.TopK(5), attacks.MassCenter(), attacks.LensTopK(5, 1),
                  attacks.Target(attacks.rectangle((8, 8), 0, 0, 4, 4))):
    assert attacks.attack(model, x, objective=objective, epsilon=0.1, steps=2, generator=seeded()).x.shape == x.shape
noisy = attacks.random_sign(x, epsilon=0.1, generator=seeded())
attacks.random_walk(model, x, epsilon=0.1, steps=2, score=metrics.center_shift, generator=seeded())
for fill in ("mean", "noisy-linear"):
    assert removal.degrade(x, a, 0.5, fill=fill, generator=seeded()).shape == x.shape
twin = shift.compensate(network, 0.5)
assert shift.agreement(network, twin, x, 0.5).max() < 1e-4
smooth = curvature.smoothed(network)
curvature.dominant_direction(smooth, x, iterations=2, generator=seeded())
labels = torch.tensor([0, 1, 1])
features = x.flatten(1)[:, :5]
head = influence.fit_head(features, labels)
influence.influences(head, features, labels, features, labels)
influence.influence_sign(lambda images: images.flatten(1)[:, :5], head, (features, labels), x, epsilon=0.1, top=1)
training.train(network, x, labels, epochs=1, batch_size=3, generator=seeded(), augment=training.FlipShift(shift=1))
training.withstands(network, x, labels, training.Ball(0.1, 1, 0.1), seeded())
print("every kernel ran")
