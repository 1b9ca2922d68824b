"""Constant shifts that no network notices [kindermans2019]."""
