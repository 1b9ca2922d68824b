"""How far small perturbations move maps [ghorbani2019, figures 1 to 3]."""
