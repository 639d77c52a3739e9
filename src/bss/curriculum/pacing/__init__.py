"""Pacing functions, one a file: progress in [0, 1] to the fraction of ordered data in play."""
