"""Noise that the kinds add to their values."""

import numpy as np


def with_noise(signal: np.ndarray, deviation: np.ndarray | float, draw: np.random.Generator) -> np.ndarray:
    """A signal plus white Gaussian noise of the mean 0, in the type of the signal.

    Args:
        signal: of any shape, floating.
        deviation: of the noise, >= 0; it is 0 dB where this is the root of the signal's power.
        draw: what the noise is drawn from.
    """
    return np.asarray(signal + deviation * draw.standard_normal(signal.shape), signal.dtype)
