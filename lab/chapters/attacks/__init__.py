"""The attack with one thing changed at a time, and attacks on a region [ghorbani2019]."""
