"""On-the-fly gradient modulation: the encoder of a modality that leads learns more slowly."""

from collections.abc import Mapping
from math import tanh
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import Field

from bss.training.methods.joint import Joint
from bss.training.methods.method import Record

if TYPE_CHECKING:
    from bss.model import Outputs
    from bss.training.loader import Batch
    from bss.training.trainer import Trainer


class OGM(Joint):
    """The gradients of modality m's encoder are scaled by k_m = 1 - tanh(alpha rho_m) where rho_m > 1, else by 1.

    rho_m is the discrepancy ratio of the batch, see `_contribution.leads`, which compares each of several modalities
    with the mean of the others. Source: OGM-GE (CVPR 2022), equations 9 to 11. `released` scales the weights of
    convolutions alone, and the first modality's at a tie.
    """

    record: ClassVar[Record] = Record(
        paper="OGM-GE, CVPR 2022",
        families=("gradient",),
        extra="M + 1 passes of the fusion",
        benchmark={"CREMA-D": 67.76, "KS": 67.04, "VGGSound": 48.25},
    )
    grid: ClassVar[Mapping[str, tuple[object, ...]]] = {"alpha": (0.1, 0.3, 0.8)}
    strategies: ClassVar[tuple[str, ...]] = ("ddp",)
    variant: Literal["published", "released"] = "published"
    alpha: Annotated[float, Field(ge=0)] = 0.3
    """Strength of the scaling; 0 scales nothing."""
    ge: bool = True
    """Whether noise of the gradients' own standard deviation is added, to every modality."""
    starts: Annotated[int, Field(ge=0)] = 0
    """First epoch that is modulated, from 0."""
    ends: Annotated[int, Field(ge=0)] | None = None
    """The epoch after the last one; all where left out."""

    def on_gradients(self, trainer: "Trainer", outputs: "Outputs", batch: "Batch") -> None:
        """Scale the gradients of each encoder, and add the noise."""
        import torch

        from bss.training.methods._contribution import contributions, leads

        if trainer.epoch < self.starts or (self.ends is not None and trainer.epoch >= self.ends):
            return
        generator = trainer.generator("noise on gradients")
        ratios = leads(contributions(trainer, outputs.features), batch.labels)
        # The code asks whether the second leads, and else scales the first, also where none leads.
        tied = next(iter(ratios)) if self.variant == "released" and set(ratios.values()) == {1.0} else None
        for name, lead in ratios.items():
            factor = 1 - tanh(self.alpha * lead) if lead > 1 or name == tied else 1.0
            for weight in trainer.model.branch(name).encoder.parameters():
                gradient = weight.grad
                if gradient is None or (self.variant == "released" and weight.ndim != 4):
                    continue
                deviation = gradient.std() if self.ge and gradient.numel() > 1 else None
                gradient.mul_(factor)
                if deviation is not None:
                    gradient.add_(
                        deviation * torch.randn(gradient.shape, generator=generator, device=gradient.device)
                    )
