"""Schedulers, one a file: scores and epoch to the indices of that epoch."""
