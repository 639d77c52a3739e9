"""Differences between two states of a workspace, in meaning and not in bytes: comparisons, their texts and page."""
