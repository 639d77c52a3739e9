"""Fusions, one a file: how the features of all modalities become one prediction."""
