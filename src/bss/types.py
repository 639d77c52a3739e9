"""Names and types that every folder shares.

Legend of all docstrings: B batch, N training samples, M modalities, C classes.
"""

from enum import StrEnum

FUSED = "fused"
"""The output of the fusion head, beside one output a modality."""
JUDGED = "judged"
"""The output of a rule other than the fusion's, see `evaluate.rule`, beside the outputs of the model."""
OWN = "own"
"""The output of a method's own rule, see `Method.decide`, beside the others."""
RESERVED = {FUSED: "an output", JUDGED: "an output", OWN: "an output", "prediction": "a metric", "seed": "a column"}
"""What no modality is called, and what stands under that name beside the modalities."""
PRESENT = "_present"
"""Ending, after a modality's name, of its mask: the column, or the model's input, that says which pairs have it."""
PROBABILITIES = "_probabilities"
"""Ending of an output's name in an exported program: in ONNX an output may not be called as an input is."""
BASELINE = "random"
"""The scheduler that every other is compared with."""
WARMUP = "warmup"
"""The training before the pairs are scored, where it stands beside the methods."""
ALONE = "unimodal"
"""The method that trains each modality by itself; stages of its own run it, in the baseline's order."""


class Split(StrEnum):
    """The three parts of a data set. Nothing but `evaluate` opens the test split."""

    TRAIN = "train"
    VALIDATION = "validation"
    TEST = "test"
