"""On-the-fly prediction modulation: the features of a modality that leads are dropped before the fusion."""

from collections.abc import Mapping
from math import tanh
from typing import TYPE_CHECKING, Annotated, ClassVar

from pydantic import Field

from bss.training.methods.joint import Joint
from bss.training.methods.method import Record
from bss.types import FUSED

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor

    from bss.model import Outputs
    from bss.training.loader import Batch
    from bss.training.trainer import Trainer


class OPM(Joint):
    """The fusion learns from features that are missing with the probability q_m, sample by sample.

    q_m = q_base (1 + scale tanh(rho_m - 1)), at most 1, where the discrepancy ratio rho_m of the batch is above 1,
    else 0; see `_contribution.leads`, which compares each of several modalities with the mean of the others. All that
    lead are dropped. What stays is scaled by 1 / (1 - theta), theta = sum_m d_m q_m / sum_m d_m with the widths d_m.
    A sample of which nothing stays is left out of the fused loss. The unimodal losses are joint's, on all features.

    The evidence is that of the features before the drop. Source: OPM (TPAMI 2024), and its released code, which
    trains with the fused loss alone: `unimodal_weight: 0`.
    """

    record: ClassVar[Record] = Record(
        paper="OPM, TPAMI 2024",
        families=("data",),
        extra="M + 2 passes of the fusion",
        benchmark={"CREMA-D": 68.75, "KS": 66.89, "VGGSound": 49.12},
    )
    grid: ClassVar[Mapping[str, tuple[object, ...]]] = {"q_base": (0.25, 0.5)}
    strategies: ClassVar[tuple[str, ...]] = ("ddp",)
    q_base: Annotated[float, Field(ge=0, le=1)] = 0.5
    """Probability of a drop where a modality barely leads; 0 drops nothing."""
    scale: Annotated[float, Field(ge=0)] = 0.5
    """Growth of the probability with the lead."""
    p_exe: Annotated[float, Field(ge=0, le=1)] = 0.7
    """Probability that a batch is modulated at all."""
    starts: Annotated[int, Field(ge=0)] = 0
    """First epoch that is modulated, from 0."""
    ends: Annotated[int, Field(ge=0)] | None = None
    """The epoch after the last one; all where left out."""

    def step(self, trainer: "Trainer", batch: "Batch") -> "tuple[Outputs, Tensor]":
        """Joint's step, with the fused loss of the features that are not dropped."""
        outputs = trainer.forward(batch.inputs)
        loss = self._dropped_loss(trainer, outputs, batch.labels)
        if loss is None:
            loss = self.loss(outputs.logits, batch.labels)
        trainer.backward(loss)
        trainer.update()
        return outputs, loss

    def probabilities(self, leads: "Mapping[str, float]") -> dict[str, float]:
        """Modality -> q_m, from its discrepancy ratio."""
        return {
            name: min(self.q_base * (1 + self.scale * tanh(lead - 1)), 1.0) if lead > 1 else 0.0
            for name, lead in leads.items()
        }

    def _dropped_loss(self, trainer: "Trainer", outputs: "Outputs", labels: "Tensor") -> "Tensor | None":
        """The loss with dropped features; None where nothing is dropped."""
        import numpy as np
        import torch

        from bss.training.losses import cross_entropy
        from bss.training.methods._contribution import contributions, leads

        if trainer.epoch < self.starts or (self.ends is not None and trainer.epoch >= self.ends):
            return None
        features, device = outputs.features, labels.device
        generator = trainer.generator("dropped features")
        if self.q_base == 0 or float(torch.rand((), generator=generator, device=device)) >= self.p_exe:
            return None
        q = self.probabilities(leads(contributions(trainer, features), labels))
        theta = sum(values.shape[1] * q[name] for name, values in features.items())
        theta /= sum(values.shape[1] for values in features.values())
        if not 0 < theta < 1:
            return None
        # Drawn for the whole batch on every rank: the samples that are dropped do not depend on the number of ranks.
        kept = {name: torch.rand(len(labels), generator=generator, device=device) >= q[name] for name in features}
        rows = torch.from_numpy(trainer.runtime.share(np.arange(len(labels)))).to(device)
        fused = trainer.fuse(
            {name: values * kept[name][rows, None] / (1 - theta) for name, values in features.items()}
        )
        there = {name: trainer.whole(values.detach().any(dim=1).float()) > 0 for name, values in features.items()}
        counted = torch.stack([kept[name] & there[name] for name in features]).any(dim=0)
        loss = (cross_entropy(fused, labels, reduction="none") * counted).sum() / counted.sum().clamp(min=1)
        unimodal = {name: logits for name, logits in outputs.logits.items() if name != FUSED}
        return self.fused_weight * loss + self.loss(unimodal, labels)
