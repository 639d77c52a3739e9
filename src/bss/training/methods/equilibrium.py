"""Modality equilibrium: the modalities take turns in every step, the one that contributes least first."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Annotated, ClassVar

from pydantic import Field

from bss.training.methods.joint import Joint
from bss.training.methods.method import Record
from bss.types import FUSED

if TYPE_CHECKING:
    from torch import Tensor

    from bss.measure.evidence import Evidence
    from bss.model import Outputs
    from bss.training.loader import Batch
    from bss.training.trainer import Trainer


class Equilibrium(Joint):
    """Each step is one update a modality, the weakest first, and a second one of a modality that is very weak.

    Before every epoch v(S) is the mean probability of the true class that the fusion gives the features of S on the
    training split, all others being zeros. phi_m is the Shapley value of modality m, and its share
    s_m = max(phi_m, 0) / sum of max(phi_n, 0); all are 1/M where no phi is positive. In a step the modalities come in
    rising order of s, each with 1 + round(repeat M max(0, 1/M - s_m)) updates of encoder, head and fusion by

        unimodal_weight CE(z_m) + fused_weight CE(g(f_m, the others' features without gradient)).

    The others' features are those that they had when they were last asked in this step. The evidence is that of the
    model before the step.

    Source: the idea of Modality Equilibrium Matters (arXiv 2506.00030), of which the abstracts alone could be read:
    every formula but the Shapley value is our own reading.
    """

    record: ClassVar[Record] = Record(
        paper="Modality Equilibrium, 2025",
        families=("schedule", "gradient"),
        extra="M updates, M passes of the fusion; a pass an epoch",
    )
    grid: ClassVar[Mapping[str, tuple[object, ...]]] = {"repeat": (0.0, 1.0, 2.0)}
    strategies: ClassVar[tuple[str, ...]] = ("ddp",)
    repeat: Annotated[float, Field(ge=0)] = 1.0
    """How soon a weak modality has further updates; with 1 it has one more where its share is below 1 / (2 M)."""

    def begin_epoch(
        self,
        trainer: "Trainer",
        epoch: int,
        evidence: "Callable[[], Evidence]",
        validation: "Callable[[], Evidence]",
    ) -> None:
        """Measure the shares: `memory` has them as `shares` (M,), float64, in the model's order."""
        import torch

        from bss.measure.shapley import shapley_values
        from bss.training import shapley

        fusion, clean = shapley.fusion_of(trainer.model, trainer.runtime, self.name), evidence()
        features = {name: clean.needed_features(self.name)[name] for name in trainer.model.branches}
        values = shapley.mean_confidences(fusion, features, clean.labels, trainer.runtime)
        found = shapley.shares(shapley_values(values)) or dict.fromkeys(features, 1 / len(features))
        trainer.memory["shares"] = torch.tensor(
            [found[name] for name in features], dtype=torch.float64, device=trainer.runtime.device
        )

    def step(self, trainer: "Trainer", batch: "Batch") -> "tuple[Outputs, Tensor]":
        """The updates of all modalities; the sum of the losses that they minimised."""
        import torch

        from bss.model import Outputs

        first = trainer.forward(batch.inputs, apart=True)
        latest = {name: values.detach() for name, values in first.features.items()}
        shares = dict(zip(trainer.model.branches, trainer.memory["shares"].tolist(), strict=True))
        losses = []
        for name, number in self.turns(shares).items():
            outputs = first
            for repetition in range(number):
                if repetition:
                    outputs = trainer.forward(batch.of([name]), apart=True)
                losses.append(self._update(trainer, batch, name, outputs, latest))
            latest[name] = outputs.features[name].detach()
        logits = {output: values.detach() for output, values in first.logits.items()}
        return Outputs(logits, {name: values.detach() for name, values in first.features.items()}), torch.stack(
            losses
        ).sum()

    def turns(self, shares: Mapping[str, float]) -> dict[str, int]:
        """Modality -> the number of its updates in a step, in the order of the updates.

        Args:
            shares: modality -> its share of the contributions, in [0, 1].
        """
        number = len(shares)
        lacks = {name: max(0.0, 1 / number - shares[name]) for name in sorted(shares, key=shares.__getitem__)}
        return {name: 1 + round(self.repeat * number * lack) for name, lack in lacks.items()}

    def _update(
        self, trainer: "Trainer", batch: "Batch", modality: str, outputs: "Outputs", latest: "Mapping[str, Tensor]"
    ) -> "Tensor":
        """One update of a modality and the fusion; its loss."""
        fused = trainer.fuse({**latest, modality: outputs.features[modality]})
        loss = self.loss({modality: outputs.logits[modality], FUSED: fused}, batch.labels)
        model = trainer.model
        parts = (model.branch(modality), model.fusion) if model.fusion else (model.branch(modality),)
        weights = [weight for part in parts for weight in part.parameters() if weight.requires_grad]
        for weight, gradient in zip(weights, trainer.gradients(loss, weights), strict=True):
            weight.grad = gradient
        trainer.update()
        return loss.detach()
