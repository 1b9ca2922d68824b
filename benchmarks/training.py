"""One cell of remove-and-retrain: against the same written with a DataLoader, and what it does beside training."""
import tempfile
from time import perf_counter
from unittest.mock import patch

import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset
from torchvision.transforms import v2

from fragility import attribution, removal, training
from lab.chapters.roar import retraining
from lab.core import profiles
from lab.core.store import Store
from lab.material import data, networks

from .registry import Outcome, benchmark
from .timing import clock, fastest, paired, quartile_range

EPOCHS, BATCH, RATE, FRACTION, SEEDS = 2, 64, 8e-3, 0.5, 5
PAIRS = 3       # times as many as usual: a cell takes half a second, in which any other process counts
WORKERS = (0, 2)


class Degraded(Dataset):
    """Images that are ranked, degraded and augmented one by one when they are asked for, as the published code does."""

    def __init__(self, images, scores, labels, fill, fraction, transform):
        self.images, self.scores, self.labels = images.numpy(), scores.numpy(), labels
        self.fill, self.transform = fill, transform
        self.k = int(fraction * scores[0].numel() + 0.5)

    def __len__(self):
        return len(self.images)

    def __getitem__(self, place):
        image = self.images[place].copy()
        image.reshape(-1)[np.argsort(-self.scores[place], axis=None, kind="stable")[:self.k]] = self.fill
        return self.transform(torch.from_numpy(image)), self.labels[place]


def fresh(seed):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return networks.load("mnist-cnn")


class Cell:
    """The same work twice: degrade, train with shifts of two pixels, test."""

    def __init__(self, images, fraction=FRACTION):
        self.fraction = fraction
        self.train, self.test = data.load("mnist-5k", "train"), data.load("mnist-5k", "test")
        self.train, self.test = (part._replace(images=part.images[:images], labels=part.labels[:images])
                                 for part in (self.train, self.test))
        # Edges rank the pixels without a network; the cost of rankings is no part of a cell.
        self.scores = {split: attribution.sobel(training.as_float(part.images)) for split, part in
                       (("train", self.train), ("test", self.test))}
        self.fill = round(255 * training.as_float(self.train.images).mean().item())

    def ours(self, seed=0):
        images = {split: (255 * removal.degrade(training.as_float(getattr(self, split).images), scores, self.fraction,
                                                fill=self.fill / 255)).round().to(torch.uint8)
                  for split, scores in self.scores.items()}
        model = training.train(fresh(seed), images["train"], self.train.labels, epochs=EPOCHS, batch_size=BATCH,
                               learning_rate=RATE, augment=training.FlipShift(flip=False, shift=2),
                               generator=torch.Generator().manual_seed(seed))
        return training.accuracy(model, images["test"], self.test.labels)

    def usual(self, workers, seed=0):
        scale = v2.ToDtype(torch.float32, scale=True)
        shifted = v2.Compose([v2.RandomCrop(28, padding=2, padding_mode="reflect"), scale])
        train, test = (Degraded(part.images, self.scores[split], part.labels, self.fill, self.fraction, transform)
                       for split, part, transform in (("train", self.train, shifted), ("test", self.test, scale)))
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            loader = DataLoader(train, BATCH, shuffle=True, drop_last=True, num_workers=workers)
            model = self.fit(fresh(seed).train(), loader).eval()
        with torch.no_grad():
            right = [model(x).argmax(1) == y for x, y in DataLoader(test, 256, num_workers=workers)]
        return torch.cat(right).float().mean().item()

    @staticmethod
    def fit(model, loader):
        optimiser = torch.optim.AdamW(model.parameters(), lr=RATE, weight_decay=1e-2)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, RATE, total_steps=EPOCHS * len(loader))
        loss = nn.CrossEntropyLoss(label_smoothing=0.1)
        for _ in range(EPOCHS):
            for x, y in loader:
                optimiser.zero_grad()
                loss(model(x), y).backward()
                optimiser.step()
                schedule.step()
        return model


@benchmark("roar-cell", bar=3.0, description="one cell of remove-and-retrain, 4,000 digits, two epochs with random "
           "shifts: a DataLoader (its faster number of workers), float32, augmentation image by image / ours")
def roar_cell(setup):
    cell = Cell(256 if setup.quick else 4000)
    best = fastest({workers: lambda workers=workers: cell.usual(workers) for workers in WORKERS}, rounds=1)
    pair = paired(clock(cell.ours), clock(lambda: cell.usual(best)), PAIRS * setup.repeats)
    seeds = range(2 if setup.quick else SEEDS)
    clean = Cell(len(cell.train.images), fraction=0.0)
    return Outcome(pair.ratio, pair.spread, f"{pair.note(f'{best} workers')}; accuracy {reached(cell, best, seeds)}; "
                   f"with nothing removed {reached(clean, best, seeds)}")


def reached(cell, workers, seeds):
    """Accuracies of both sides, mean and standard deviation over seeds."""
    sides = (100 * torch.tensor([run(seed) for seed in seeds])
             for run in (cell.ours, lambda seed: cell.usual(workers, seed)))
    mine, theirs = (f"{side.mean():.1f} ± {side.std():.1f}" for side in sides)
    return f"{mine} against {theirs} %"


@benchmark("roar-overhead", bar=0.05, at_most=True, description="share of a remove-and-retrain cell's time, from its "
           "parameters to its record on disk, in which no network is trained or tested; maps are ranked already")
def roar_overhead(setup):
    values = profiles.parameters("roar", "quick") | {"estimators": ["GRAD"], "seeds": list(range(setup.repeats + 1))}
    values |= {"train_images": 256, "test_images": 128, "epochs": 1} if setup.quick else {}
    wanted = {"kind": "retrain", "filter": "none", "mode": "remove", "fraction": FRACTION}
    cells = [cell for cell in retraining.cells(retraining.EXPERIMENT.pick(values)) if wanted.items() <= cell.items()]
    with tempfile.TemporaryDirectory() as folder:
        store = Store(folder)
        _, *measured = [beside_training(cell, store) for cell in cells]     # the first also trains, maps, ranks
    shares = [beside / total for beside, total in measured]
    beside, total = np.median(measured, axis=0)
    return Outcome(float(np.median(shares)), quartile_range(shares), f"{beside:.3f} of {total:.2f} s")


def beside_training(cell, store):
    """Seconds of a cell outside training and testing, and all of them."""
    inside = []

    def timed(function):
        def call(*arguments, **options):
            start = perf_counter()      # not `clock`: its clearing of garbage would count as the grid's
            result = function(*arguments, **options)
            inside.append(perf_counter() - start)
            return result
        return call

    with patch.object(training, "train", timed(training.train)), \
            patch.object(training, "accuracy", timed(training.accuracy)):
        total = clock(lambda: retraining.EXPERIMENT.record(cell, store))()
    return total - sum(inside), total
