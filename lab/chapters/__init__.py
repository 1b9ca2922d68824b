"""One room a chapter: its experiments and its figures."""
