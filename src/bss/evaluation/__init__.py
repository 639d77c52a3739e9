"""Judging a model on data it never saw, and comparing runs fairly."""
