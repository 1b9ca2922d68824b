"""Variants of the attack, with one thing changed at a time, and attacks that target a region [ghorbani2019]."""
