"""Curves of active learning: accuracy against labels, and which pairs were asked for."""
