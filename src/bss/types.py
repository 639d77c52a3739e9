"""Names and types that every folder shares.

Legend of all docstrings: B batch, N training samples, M modalities, C classes.
"""

from enum import StrEnum

FUSED = "fused"
"""The output of the fusion head, beside one output a modality."""


class Split(StrEnum):
    """The three parts of a data set. Nothing but `evaluate` opens the test split."""

    TRAIN = "train"
    VALIDATION = "validation"
    TEST = "test"
