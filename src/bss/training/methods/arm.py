"""ARM: the features of the modality that adds less to the fused feature are scaled up before the fusion."""

from collections.abc import Mapping
from math import copysign, prod
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, cast

from pydantic import Field

from bss.errors import InputError
from bss.training.methods.joint import Joint
from bss.training.methods.method import Record
from bss.types import FUSED, PRESENT

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from bss.model import MultimodalModel, Outputs
    from bss.training.loader import Batch
    from bss.training.trainer import Trainer

KEPT = 0.9
"""Share that the running mean of the scales keeps at each step."""
LEAST = 1e-6
"""Least contribution, so that a ratio of two is a number."""
LIMIT = 1e3
"""Largest size of a scale of `released`, which has no limit of its own."""


class ARM(Joint):
    """Fusion by scaled features, s_m = (geometric mean of the other q_n) / q_m, and one classifier for all outputs.

    q_m = P_f NMI_m + mean_{n != m} P_n (NMI_m - NCMI_m), where P is the batch's mean probability of the true class,
    of the fused feature h (f) or of a modality; NMI_m is the normalised mutual information of f_m and h, and NCMI_m
    that given the other modalities, see `_information`. Evaluation takes a running mean of the scales of training.

    Source: ARM (AAAI 2025) as far as it is known, and its released code, which trains with the fused loss alone:
    `unimodal_weight: 0`. `published` has the right NCMI and limits the scales; of the paper's balance loss and
    re-sampling no equation is known. `released` has the code's formulas.
    """

    record: ClassVar[Record] = Record(
        paper="ARM, AAAI 2025", families=("fusion",), extra="the fusion once more; 2M histograms"
    )
    grid: ClassVar[Mapping[str, tuple[object, ...]]] = {"bound": (1.5, 3.0, 10.0)}
    strategies: ClassVar[tuple[str, ...]] = ("ddp",)
    variant: Literal["published", "released"] = "published"
    bound: Annotated[float, Field(ge=1)] = 10.0
    """Scales of `published` lie between 1 / bound and bound; 1 scales nothing."""
    gap_weight: Annotated[float, Field(ge=0)] = 0.0
    """Weight of the largest less the smallest of the losses without a modality: a guess at the balance loss."""

    def prepare(self, model: "MultimodalModel") -> None:
        """One classifier for all, and a fusion that scales features."""
        import torch
        from torch import nn

        from bss.training.methods._heads import share_head

        heads, shared = list(model.branches), share_head(model)
        width = shared.in_features

        class Scaled(nn.Module):
            """The logits of features, each scaled by a number, joined by a linear layer."""

            scales: torch.Tensor
            first_weight: torch.Tensor
            first_bias: torch.Tensor

            def __init__(self, released: bool) -> None:
                super().__init__()
                self.joined = nn.Linear(len(heads) * width, width)
                self.register_buffer("scales", torch.ones(len(heads)))
                self.released = released
                if released:  # no gradient ever reaches the layer in the code
                    first = nn.Linear(len(heads) * width, width)
                    self.register_buffer("first_weight", first.weight.detach())
                    self.register_buffer("first_bias", first.bias.detach())

            def first(self, features: Mapping[str, torch.Tensor]) -> torch.Tensor:
                """The fused feature h, (B, width), of features as they are."""
                values = torch.cat([features[name] for name in heads], dim=1)
                if self.released:
                    return nn.functional.linear(values, self.first_weight, self.first_bias)
                return self.joined(values)  # type: ignore[no-any-return]

            def fused(self, features: Mapping[str, torch.Tensor], scales: torch.Tensor) -> torch.Tensor:
                """The logits, (B, C), by scales (M,)."""
                scaled = [scale * features[name] for name, scale in zip(heads, scales, strict=True)]
                return shared(self.joined(torch.cat(scaled, dim=1)))  # type: ignore[no-any-return]

            def forward(self, features: Mapping[str, torch.Tensor]) -> torch.Tensor:
                return self.fused(features, self.scales)

        model.fusion = Scaled(self.variant == "released")

    def step(self, trainer: "Trainer", batch: "Batch") -> "tuple[Outputs, Tensor]":
        """Joint's step, its fusion by the scales of the batch."""
        import torch

        from bss.model import Outputs
        from bss.training.losses import cross_entropy

        if trainer.runtime.is_sharded:
            raise InputError("spread.strategy: arm asks the fusion apart, which needs ddp, not fsdp")
        outputs = trainer.forward(batch.inputs)
        fusion = cast(Any, trainer.model.fusion)
        scales = self._scales(trainer, outputs, batch)

        def fused(features: Mapping[str, "Tensor"]) -> "Tensor":
            with trainer.runtime.autocast():
                return trainer.whole(fusion.fused(features, scales).float())

        logits = {**outputs.logits, FUSED: fused(outputs.features)}
        loss = self.loss(logits, batch.labels)
        if self.gap_weight:
            features = outputs.features
            without = [
                cross_entropy(fused({**features, name: torch.zeros_like(values)}), batch.labels)
                for name, values in features.items()
            ]
            loss = loss + self.gap_weight * (torch.stack(without).amax() - torch.stack(without).amin())
        return self.descend(trainer, batch, Outputs(logits, outputs.features), loss)

    def scales(self, contributions: Mapping[str, float]) -> dict[str, float]:
        """Modality -> s_m, from its q_m.

        Args:
            contributions: modality -> q_m.
        """
        published = self.variant == "published"
        q = {name: max(value, LEAST) if published else value for name, value in contributions.items()}
        found = {}
        for name, own in q.items():
            others = prod(value for other, value in q.items() if other != name)
            mean = copysign(abs(others) ** (1 / (len(q) - 1)), others)
            scale = mean / (own if abs(own) > LEAST**2 else copysign(LEAST**2, own))
            low, high = (1 / self.bound, self.bound) if published else (-LIMIT, LIMIT)
            found[name] = min(max(scale, low), high)
        return found

    def contributions(
        self, probabilities: Mapping[str, float], features: Mapping[str, "Tensor"], fused: "Tensor"
    ) -> dict[str, float]:
        """Modality -> q_m.

        Args:
            probabilities: modality or "fused" -> P, in [0, 1].
            features: modality -> (n, width).
            fused: h, (n, width).
        """
        import torch

        from bss.training.methods import _information as information

        conditional = (
            information.released_conditional_information
            if self.variant == "released"
            else information.normalised_conditional_information
        )
        found = {}
        for name, values in features.items():
            others = [name_ for name_ in features if name_ != name]
            rest = torch.stack([features[other] for other in others]).mean(dim=0)
            x, h, z = values.flatten(), fused.flatten(), rest.flatten()
            own = information.normalised_information(x, h)
            synergy = own - conditional(x, h, z)
            of_others = sum(probabilities[other] for other in others) / len(others)
            found[name] = probabilities[FUSED] * own + of_others * synergy
        return found

    def _scales(self, trainer: "Trainer", outputs: "Outputs", batch: "Batch") -> "torch.Tensor":
        """The scales of a batch, (M,), which go into the running mean; it, where no pair has all modalities."""
        import torch

        fusion, names = cast(Any, trainer.model.fusion), list(trainer.model.branches)
        masks = [batch.inputs[f"{name}{PRESENT}"] for name in names if f"{name}{PRESENT}" in batch.inputs]
        whole = torch.ones(len(batch.labels), dtype=torch.bool, device=batch.labels.device)
        for mask in masks:
            whole = whole & (trainer.whole(mask.float()) > 0)
        if not bool(whole.any()):
            return cast("Tensor", fusion.scales.clone())
        with torch.no_grad():
            h = fusion.first({name: values.float() for name, values in outputs.features.items()})
            logits = {**outputs.logits, FUSED: trainer.whole(trainer.model.branch(names[0]).head(h).float())}
            features = {name: trainer.whole(outputs.features[name].float())[whole] for name in names}
            labels = batch.labels[whole, None]
            sure = {name: float(z[whole].softmax(dim=1).gather(1, labels).mean()) for name, z in logits.items()}
            found = self.scales(self.contributions(sure, features, trainer.whole(h)[whole]))
        scales = torch.tensor([found[name] for name in names], device=fusion.scales.device)
        fusion.scales = KEPT * fusion.scales + (1 - KEPT) * scales
        return scales
