"""Influence of training images, and curvature [ghorbani2019, figures 4 and 5]."""
