"""Heads that learn from the features as they are: no gradient of theirs reaches an encoder."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bss.model import MultimodalModel


def detach_heads(model: "MultimodalModel") -> None:
    """Cut the modalities' heads off from the encoders; for `Method.prepare`."""
    for modality in model.branches:
        model.branch(modality).head.register_forward_pre_hook(lambda head, inputs: (inputs[0].detach(),))
