"""A distribution in few numbers."""

import numpy as np

NUM_BINS = 30


def histogram(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Counts of equally wide bins, and their edges: one more."""
    return np.histogram(values, bins=NUM_BINS)
