"""Data sets, networks and photographs by name."""
