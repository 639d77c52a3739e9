"""What series of any kind share: another number of steps, and the axis of the time."""

import numpy as np


def resized(steps: np.ndarray, length: int) -> np.ndarray:
    """A series (T, ...) of T >= 1 steps as one of `length`, interpolated linearly between the middles of the steps.

    Before the first middle and after the last one nothing changes. Source: `interpolate` of torch, linear, with
    `align_corners=False`.
    """
    places = ((np.arange(length) + 0.5) * len(steps) / length - 0.5).clip(0, len(steps) - 1)
    before = np.floor(places).astype(int)
    after = np.minimum(before + 1, len(steps) - 1)
    share = (places - before).reshape(-1, *[1] * (steps.ndim - 1))
    return np.asarray((1 - share) * steps[before] + share * steps[after])
