"""Grids in workspaces of their own: a study that compares many, and an experiment with other values."""
