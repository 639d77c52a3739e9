"""Warm-up objectives: what the encoders learn by before the pairs are scored, one a file."""
