"""A small grid of trainings, run as a process of its own so that a test can kill it."""

import sys

from lab import catalogue
from lab.core.running import collect
from lab.core.store import Store

SMALL = {"data_set": "mnist-5k", "network": "mnist-cnn", "train_images": 256, "test_images": 128, "epochs": 1,
         "batch_size": 16, "learning_rate": 1e-2, "recipe": "one-cycle", "augmentation": "none", "unit": "pixel",
         "estimators": ["GRAD", "Random"], "path_steps": 4, "ensemble_path_steps": 2, "samples": 2,
         "fractions": [0.5, 0.9], "kept": [0.1], "seeds": [0, 1], "explained": 0, "filtered": ["GRAD"],
         "mask_estimators": ["GRAD"], "compared_images": 2, "toy_seeds": 2, "toy_samples": 100}

if __name__ == "__main__":
    print("ready", flush=True)
    table = collect(catalogue.experiment("roar"), SMALL, Store(sys.argv[1]), progress=False)
    print(len(table), flush=True)
