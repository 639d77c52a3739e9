"""A fusion of what the modalities' own heads say, and what a part of a fusion says apart from the rest."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from bss.errors import InputError

if TYPE_CHECKING:
    from bss.model import MultimodalModel
    from bss.training.trainer import Trainer

Features = Mapping[str, Tensor]
"""Modality -> (B, width)."""
Rule = Callable[[Tensor, Tensor, Features], Tensor]
"""Logits (M, B, C), zeros of what a sample lacks; whether it has the modality, (M, B); features: to logits (B, C)."""


class LateFusion(nn.Module):
    """Features to logits by a rule on the logits of the modalities, for `Method.prepare` to put in as the fusion.

    The heads are those of the branches, which are asked once more.

    Args:
        model: whose heads are asked.
        rule: a function, or a module of which the weights are then the fusion's.
    """

    def __init__(self, model: "MultimodalModel", rule: Rule) -> None:
        super().__init__()
        # In a plain dict, so that they stay parts of the branches alone.
        self.heads = {name: model.branch(name).head for name in model.branches}
        self.rule = rule

    def forward(self, features: Features) -> Tensor:
        """Modality -> (B, width), to (B, C)."""
        present = torch.stack([features[name].any(dim=1) for name in self.heads])
        logits = torch.stack([head(features[name]).float() for name, head in self.heads.items()])
        return self.rule(logits * present[..., None], present, features)


def asked_apart(trainer: "Trainer", part: Callable[[Features], Tensor], features: Features) -> Tensor:
    """What a part of the fusion says of the whole batch, float32, from features of this rank's rows.

    Args:
        trainer: whose model has the part.
        part: features to (rows, any).
        features: modality -> (rows, width).

    Raises:
        InputError: the weights are spread over the ranks.
    """
    if trainer.runtime.is_sharded:
        raise InputError(f"spread.strategy: {trainer.method.name} asks the fusion apart, which needs ddp, not fsdp")
    with trainer.runtime.autocast():
        return trainer.whole(part(features).float())
