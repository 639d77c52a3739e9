"""Splits that are drawn: stratified by class, whole groups, the same for the same rows and seed."""

import warnings
from collections import Counter
from typing import TYPE_CHECKING

from bss.errors import InputError
from bss.wording import counted

if TYPE_CHECKING:
    import numpy as np


def draw(labels: "np.ndarray", groups: "np.ndarray | None", share: float, seed: int) -> "np.ndarray":
    """Whether each row is held out, (N,) bool: about `share` of each class; whole groups, and at least one of them.

    Of the ways to hold groups out, the first with the most classes on both sides is taken: a class of few groups may
    be on one side alone in some of them, or in all.

    Args:
        labels: (N,).
        groups: (N,); rows of one group stay together. None where each row is its own.
        share: of the rows, in (0, 1).
        seed: of the draw.

    Raises:
        InputError: a class has too few rows, or too few groups, to be in both parts.
    """
    import numpy as np
    from sklearn.model_selection import StratifiedShuffleSplit

    if groups is not None:
        num_parts = min(max(2, round(1 / share)), len(set(groups)))
        part = parts(labels, groups, num_parts, seed)
        ways = [part == number for number in range(num_parts)]
        return max(ways, key=lambda way: len(set(labels[way]) & set(labels[~way])))
    held = np.zeros(len(labels), dtype=bool)
    try:
        rows = next(StratifiedShuffleSplit(1, test_size=share, random_state=seed).split(held, labels))[1]
    except ValueError as error:
        raise _too_few(labels, groups) from error
    held[rows] = True
    return held


def parts(labels: "np.ndarray", groups: "np.ndarray | None", num_parts: int, seed: int) -> "np.ndarray":
    """The part of each row, (N,) in [0, num_parts): equally large ones, with about as much of each class.

    Args:
        labels: (N,).
        groups: (N,); rows of one group stay together. None where each row is its own.
        num_parts: at least 2.
        seed: of the draw.

    Raises:
        InputError: there are fewer groups, or rows of every class, than parts.
    """
    import numpy as np
    from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold

    found = np.empty(len(labels), dtype=np.int64)
    drawn = StratifiedKFold if groups is None else StratifiedGroupKFold
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # of small classes, which `bss check` shows by split
            folds = drawn(num_parts, shuffle=True, random_state=seed).split(found, labels, groups)
            for number, (_, rows) in enumerate(folds):
                found[rows] = number
    except ValueError as error:
        raise _too_few(labels, groups) from error
    return found


def _too_few(labels: "np.ndarray", groups: "np.ndarray | None") -> InputError:
    members = list(labels) if groups is None else [label for label, _ in set(zip(labels, groups, strict=True))]
    name, count = Counter(members).most_common()[-1]
    what = counted(count, "row" if groups is None else "group")
    return InputError(f"no split can be drawn: the class '{name}' has {what}; give the file a column split")
