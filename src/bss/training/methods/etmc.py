"""Enhanced trusted multi-view classification: the fusion of features is one more view, with evidence of its own."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, cast

from bss.training.methods.method import Record
from bss.training.methods.tmc import TMC

if TYPE_CHECKING:
    from torch import Tensor

    from bss.model import MultimodalModel, Outputs
    from bss.training.trainer import Trainer


class ETMC(TMC):
    """TMC with a view more: what the model's fusion says of the features of all modalities.

    It has an opinion and a loss like every modality's (`unimodal_weight`), and is combined with them. Source: ETMC
    (TPAMI 2022) by its code, where the fusion is a linear layer on the features side by side.
    """

    record: ClassVar[Record] = Record(
        paper="ETMC, TPAMI 2022", families=("fusion", "loss"), extra="heads and fusion twice"
    )
    strategies: ClassVar[tuple[str, ...]] = ("ddp",)

    def prepare(self, model: "MultimodalModel") -> None:
        """The opinion combined of the modalities and the fusion, as the fusion."""
        import torch
        from torch import nn
        from torch.nn.functional import softplus

        from bss.training.methods._late_fusion import LateFusion
        from bss.training.methods._opinions import combined

        view = cast(nn.Module, model.fusion)

        class WithView(nn.Module):
            """Combines the opinions of the modalities and of `view`."""

            def __init__(self) -> None:
                super().__init__()
                self.view = view

            def forward(
                self, logits: torch.Tensor, present: torch.Tensor, features: Mapping[str, torch.Tensor]
            ) -> torch.Tensor:
                of_all: torch.Tensor = self.view(features).float()
                there = torch.cat([present, present.any(dim=0)[None]])
                return combined(softplus(torch.cat([logits, of_all[None]])) * there[..., None])

        model.fusion = LateFusion(model, WithView())

    def views(self, trainer: "Trainer", outputs: "Outputs") -> "list[Tensor]":
        """The logits (B, C) of the modalities, and of the view of all."""
        from bss.training.methods._late_fusion import asked_apart

        view = cast(Any, trainer.model.fusion).rule.view
        return [*super().views(trainer, outputs), asked_apart(trainer, view, outputs.features)]
