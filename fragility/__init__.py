"""Saliency maps under test: batched maps, attacks, metrics and experiments in PyTorch."""

__version__ = "0.1.0"
