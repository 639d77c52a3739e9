"""One-step group-relative policy optimisation: classes are actions, and the right one is rewarded."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Annotated, ClassVar, Self

from pydantic import Field, NonNegativeInt, model_validator

from bss.errors import InputError
from bss.training.methods._probes import detach_heads
from bss.training.methods.method import Method, Record
from bss.types import FUSED

if TYPE_CHECKING:
    from torch import Generator, Tensor

    from bss.measure.evidence import Evidence
    from bss.model import MultimodalModel, Outputs
    from bss.training.loader import Batch
    from bss.training.trainer import Trainer

SMALL = 1e-6
"""Added to the deviation of the rewards, as published."""


class GRPO(Method):
    """The update of VL-Cogito (2025) where an answer is a class: the fused prediction learns from trial and reward.

    Of each sample the fused prediction pi draws `group` classes; r = 1 where one is right, and over the group A =
    (r - mean) / (std + 1e-6), std with G - 1. With a the share that is right and F the weights of the stage, as of
    the scheduler `progressive`, the loss is the mean over the group and the batch of

        max(-F(a) A rho, -F(a) A clip(rho, 1 - clip, 1 + clip)) + kl (e^d - d - 1),

    rho = pi / pi_old of the class drawn, d = log pi_ref - log pi, pi_ref the prediction before training. The
    gradient is that of all draws at once: a class counts as often as it was drawn. A batch is updated on `inner`
    times. The heads of the modalities are probes, as those of `fused_only`.

    It learns from one bit a draw where cross-entropy is told the class, so it is no competitor: here the published
    advantages, weights, clip and penalty are exact, in their own setting. The length reward has no counterpart.
    """

    record: ClassVar[Record] = Record(
        paper="VL-Cogito, 2025", families=("loss",), extra="4 times; a pass before training"
    )
    grid: ClassVar[Mapping[str, tuple[object, ...]]] = {"kl": (0.0, 1e-3, 1e-2)}
    group: Annotated[int, Field(ge=0)] = 16
    """Classes drawn of each sample, two or more; 0 takes the expectation over infinitely many."""
    clip: Annotated[float, Field(gt=0, lt=1)] = 0.2
    kl: Annotated[float, Field(ge=0)] = 1e-3
    inner: Annotated[int, Field(ge=1)] = 4
    """Updates on a batch; inferred from the published batches, 512 prompts drawn and 128 an update."""
    temperature: Annotated[float, Field(gt=0)] = 1.0
    stage_epochs: Annotated[tuple[NonNegativeInt, NonNegativeInt], Field(strict=False)] = (3, 3)
    """Epochs of the stages easy and medium; hard goes on to the end."""
    zero_weight: Annotated[float, Field(ge=0, le=1)] = 0.25
    """Weight in the stage hard of a sample of which no draw was right; it has no advantage, so nothing changes."""

    @model_validator(mode="after")
    def _a_group_has_a_deviation(self) -> Self:
        if self.group == 1:
            raise InputError("group is 1, and a single draw has no deviation: take 2 or more, or 0")
        return self

    def prepare(self, model: "MultimodalModel") -> None:
        """Make the heads probes."""
        detach_heads(model)

    def begin_epoch(
        self,
        trainer: "Trainer",
        epoch: int,
        evidence: "Callable[[], Evidence]",
        validation: "Callable[[], Evidence]",
    ) -> None:
        """Keep the predictions before training: `memory` has reference (N, C), their logarithms."""
        if epoch == 0 and self.kl:
            reference = (evidence().logits[FUSED] / self.temperature).log_softmax(dim=1)
            trainer.memory["reference"] = reference.to(trainer.runtime.device)

    def step(self, trainer: "Trainer", batch: "Batch") -> "tuple[Outputs, Tensor]":
        """Draw, then update `inner` times."""
        import torch

        from bss.training.losses import cross_entropy, sample_weights

        weights = sample_weights(batch.labels)
        first = outputs = trainer.forward(batch.inputs)
        old = self._log_policy(outputs).detach()
        share = self.drawn(old, trainer.generator("classes drawn"))
        advantages = self.advantages(share, batch.labels, trainer.epoch)
        reference = trainer.memory["reference"][batch.indices.to(old.device)] if self.kl else None
        losses = []
        for number in range(self.inner):
            if number:
                outputs = trainer.forward(batch.inputs)
            each = self.surrogate(self._log_policy(outputs), old, advantages, reference)
            probes = [cross_entropy(logits, batch.labels) for name, logits in outputs.logits.items() if name != FUSED]
            loss = torch.stack([(weights * (share * each).sum(dim=1)).mean(), *probes]).sum()
            trainer.backward(loss)
            trainer.update()
            losses.append(loss.detach())
        return first._replace(logits={name: values.detach() for name, values in first.logits.items()}), losses[0]

    def drawn(self, log_policy: "Tensor", generator: "Generator") -> "Tensor":
        """The share (B, C) of the draws that fell on each class; of infinitely many the policy itself."""
        import torch

        policy = log_policy.exp()
        if not self.group:
            return policy
        classes = torch.multinomial(policy, self.group, replacement=True, generator=generator)
        each = torch.full_like(policy[:, :1], 1 / self.group).expand(classes.shape)
        return torch.zeros_like(policy).scatter_add_(1, classes, each)

    def advantages(self, share: "Tensor", labels: "Tensor", epoch: int) -> "Tensor":
        """The weighted advantage F(a) A (B, C) of a draw of each class, from the shares of the draws (B, C)."""
        import torch

        from bss.curriculum.schedulers.progressive import Progressive

        right = torch.nn.functional.one_hot(labels, share.shape[1])
        a = (share * right).sum(dim=1, keepdim=True).clamp(0, 1)
        correction = self.group / (self.group - 1) if self.group else 1.0
        deviation = (a * (1 - a) * correction).sqrt() + SMALL
        stages = Progressive(stage_epochs=self.stage_epochs, zero_weight=self.zero_weight, quantum=0)
        weights = stages.weights(a.cpu().numpy(), stages.stage(epoch))
        return torch.from_numpy(weights).to(a) * (right - a) / deviation

    def surrogate(
        self, log_policy: "Tensor", old: "Tensor", advantages: "Tensor", reference: "Tensor | None"
    ) -> "Tensor":
        """The loss (B, C) of a draw of each class: the clipped surrogate and the penalty.

        Args:
            log_policy: log-probabilities (B, C) of now.
            old: those that were drawn from.
            advantages: weighted, (B, C).
            reference: log-probabilities before training, where there is a penalty.
        """
        import torch

        ratio = (log_policy - old).exp()
        clipped = ratio.clamp(1 - self.clip, 1 + self.clip)
        loss = torch.maximum(-advantages * ratio, -advantages * clipped)
        if reference is None:
            return loss
        distance = reference - log_policy
        return loss + self.kl * (distance.exp() - distance - 1)

    def _log_policy(self, outputs: "Outputs") -> "Tensor":
        return (outputs.logits[FUSED] / self.temperature).log_softmax(dim=1)
