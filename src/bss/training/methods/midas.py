"""MIDAS: pairs put together from two classes, labelled by how sure each modality is of its own."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, ClassVar, NamedTuple

from pydantic import Field

from bss.training.methods.joint import Joint
from bss.training.methods.method import Record
from bss.types import FUSED, PRESENT

if TYPE_CHECKING:
    import torch
    from torch import Generator, Tensor

    from bss.model import Outputs
    from bss.training.loader import Batch
    from bss.training.trainer import Trainer


class Swap(NamedTuple):
    """One modality of each sample is to be that of another sample."""

    modality: str
    partners: "Tensor"
    """Places in the batch, (B,)."""
    made: "Tensor"
    """Whether a sample has such a partner, of another class, (B,)."""


class MIDAS(Joint):
    """The joint loss, and misaligned_weight times that of misaligned samples.

    Each step draws a modality s, and for each sample i a partner j of another class, whose modality s takes the place
    of i's. With C_m = p_m[y] of the aligned sample that modality m comes from, as shares c_m of their sum over m, the
    fused logits of the misaligned sample cost

        v_i (sum_{m != s} a_m c_m CE(y_i) + a_s c_s CE(y_j)),    v_i = 1 + (cos + 1) / 2,

    where cos is of the features of all modalities side by side, misaligned and aligned: what looks alike is hard, and
    counts more. The weight a_m begins at 1 and follows max(1, a_m + rate sign(mean_o C_o - C_m)) by the batch's means
    C over the other modalities o, so that of the least sure modality grows. C, c, v and a have no gradient.

    Source: INFERRED in good part; MIDAS (NeurIPS 2025) is known to us by a summary, without code.
    """

    record: ClassVar[Record] = Record(
        paper="MIDAS, NeurIPS 2025", families=("data", "loss"), extra="a pass, forward and backward"
    )
    grid: ClassVar[Mapping[str, tuple[object, ...]]] = {"misaligned_weight": (0.3, 1.0, 3.0)}
    weights_of_heads: ClassVar[tuple[str, ...]] = ("unimodal_weight",)
    misaligned_weight: Annotated[float, Field(ge=0)] = 1.0
    """Weight of the misaligned samples, lambda; 0 makes none, and is joint."""
    rate: Annotated[float, Field(ge=0)] = 0.01
    """By how much a modality's weight changes a step, eta."""

    def step(self, trainer: "Trainer", batch: "Batch") -> "tuple[Outputs, Tensor]":
        """One update by the batch as it is, and by what is put together from it."""
        outputs = trainer.forward(batch.inputs)
        loss = self.loss(outputs.logits, batch.labels)
        if self.misaligned_weight == 0:
            return self.descend(trainer, batch, outputs, loss)
        trainer.backward(loss)
        features = {name: trainer.whole(values.detach()).float() for name, values in outputs.features.items()}
        there = {name: values.any(dim=1) for name, values in features.items()}
        swap = drawn_swap(batch.labels, there, trainer.generator("swapped modality"))
        sure = _confidences(outputs.logits, batch.labels)
        weights = self.modality_weights(trainer.memory, sure, there)
        if bool(swap.made.any()):
            fused = trainer.forward(swapped(trainer, batch, swap)).logits[FUSED]
            each = misaligned_loss(fused, batch.labels, swap, sure, weights, hardness(features, swap))
            added = self.misaligned_weight * (each * swap.made).sum() / swap.made.sum()
            trainer.backward(added)
            loss = loss + added
        trainer.update()
        return outputs, loss.detach()

    def modality_weights(
        self, memory: "dict[str, Tensor]", sure: "Mapping[str, Tensor]", there: "Mapping[str, Tensor]"
    ) -> "dict[str, Tensor]":
        """Modality -> a_m after this batch; `memory` has them as "weights" (M,).

        Args:
            memory: `Trainer.memory`.
            sure: modality -> C, (B,).
            there: modality -> whether a sample has it, (B,).
        """
        import torch

        means = torch.stack([(sure[name] * there[name]).sum() / there[name].sum().clamp(min=1) for name in sure])
        others = (means.sum() - means) / (len(means) - 1)
        before = memory.get("weights", torch.ones_like(means))
        memory["weights"] = weights = (before + self.rate * (others - means).sign()).clamp(min=1)
        return dict(zip(sure, weights.unbind(), strict=True))


def drawn_swap(labels: "Tensor", there: "Mapping[str, Tensor]", generator: "Generator") -> Swap:
    """A modality, and for each sample a partner of another class; both have the modality.

    Args:
        labels: (B,), int64.
        there: modality -> whether a sample has it, (B,).
        generator: of the draws.
    """
    import torch

    names, device = list(there), labels.device
    name = names[int(torch.randint(len(names), (), generator=generator, device=device))]
    possible = (labels[:, None] != labels) & there[name][:, None] & there[name]
    order = torch.rand(possible.shape, generator=generator, device=device).masked_fill(~possible, -1)
    return Swap(name, order.argmax(dim=1), possible.any(dim=1))


def swapped(trainer: "Trainer", batch: "Batch", swap: Swap) -> "dict[str, Tensor]":
    """The inputs of this rank's rows, one modality of them of their partners."""
    import torch

    inputs, rows = dict(batch.inputs), torch.arange(len(batch.labels), device=batch.labels.device)
    wanted = trainer.own_rows(torch.where(swap.made, swap.partners, rows))
    inputs[swap.modality] = trainer.whole(inputs[swap.modality])[wanted]
    if (present := inputs.get(f"{swap.modality}{PRESENT}")) is not None:
        inputs[f"{swap.modality}{PRESENT}"] = trainer.whole(present.float())[wanted] > 0
    return inputs


def hardness(features: "Mapping[str, Tensor]", swap: Swap) -> "Tensor":
    """v (B,), in [1, 2].

    Args:
        features: modality -> (B, width), of the aligned samples.
        swap: that misaligns them.
    """
    import torch
    from torch.nn.functional import cosine_similarity

    aligned = torch.cat(list(features.values()), dim=1)
    other = {**features, swap.modality: features[swap.modality][swap.partners]}
    return 1 + (cosine_similarity(aligned, torch.cat(list(other.values()), dim=1), dim=1) + 1) / 2


def misaligned_loss(
    fused: "Tensor",
    labels: "Tensor",
    swap: Swap,
    sure: "Mapping[str, Tensor]",
    weights: "Mapping[str, Tensor]",
    hard: "Tensor",
) -> "torch.Tensor":
    """The loss of each misaligned sample, (B,).

    Args:
        fused: logits of the misaligned samples, (B, C).
        labels: of the aligned ones, (B,), int64.
        swap: that made them.
        sure: modality -> C of the aligned samples, (B,); 0 of what a sample lacks.
        weights: modality -> a.
        hard: v, (B,).
    """
    import torch

    from bss.training.losses import cross_entropy

    come = {name: values[swap.partners] if name == swap.modality else values for name, values in sure.items()}
    total = torch.stack(list(come.values())).sum(dim=0).clamp(min=1e-12)
    of_own = cross_entropy(fused, labels, reduction="none")
    of_partner = cross_entropy(fused, labels[swap.partners], reduction="none")
    terms = [
        weights[name] * values / total * (of_partner if name == swap.modality else of_own)
        for name, values in come.items()
    ]
    return hard * torch.stack(terms).sum(dim=0)


def _confidences(logits: "Mapping[str, Tensor]", labels: "Tensor") -> "dict[str, Tensor]":
    """Modality -> C (B,), the probability of the true class; 0 of what a sample lacks."""
    return {
        name: z.detach().softmax(dim=1).gather(1, labels[:, None]).squeeze(1) * z.any(dim=1)
        for name, z in logits.items()
        if name != FUSED
    }
