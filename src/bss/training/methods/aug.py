"""AUG: classifiers are added to the weak modality, each boosted on the residual of those before it."""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

import numpy as np
from pydantic import Field

from bss.training.methods.method import Method, Record
from bss.types import FUSED, PRESENT

if TYPE_CHECKING:
    from torch import Tensor

    from bss.measure.evidence import Evidence
    from bss.model import MultimodalModel, Outputs
    from bss.training.loader import Batch
    from bss.training.trainer import Trainer

TWO = 2
MERGE = (0.4, 0.6)
"""The released weights of the first and the second modality."""


class AUG(Method):
    """Sustained boosting, and adaptive assignment of classifiers (NeurIPS 2025, equations 2 to 6).

    Classifier t of modality m gives the logits z_t = Layer2(relu(Layer1_t(f_m))); Layer2 is the same for all of all
    modalities. With p_t = softmax(z_t), the newest of n classifiers learns the residual label
    y_hat = max(0, y - rate sum_{t<n} y p_t), and the loss of a modality is
    CE(z_n, y_hat) + CE(sum_{t<=n} z_t, y) + CE(sum_{t<n} z_t, y); with one classifier it is CE(z_1, y).

    Every `interval` epochs the second of two modalities gets a classifier where s_1 - sigma s_2 > tau, and the first
    where it is < -tau; s_m is the mean over the last epoch of the true class's p, summed over the classifiers of m.
    Of several each is compared with the strongest, which gets none.

    `released` is what the code does: added Layer1's are not trained (they came after the optimizer), the residual and
    s take the softmax of the summed logits, the condition is on the ratio of the sums, the first assignment comes
    after the first epoch, and the prediction weighs the two modalities' logits 0.4 and 0.6.

    The evidence is each modality's sum of logits in its own turn, and their sum as the fused output.
    """

    record: ClassVar[Record] = Record(
        paper="AUG, NeurIPS 2025",
        families=("architecture", "schedule"),
        extra="M updates; small layers",
        reported={"CREMA-D": 85.15, "KS": 72.63, "VGGSound": 53.01},
    )
    grid: ClassVar[Mapping[str, tuple[object, ...]]] = {"rate": (0.2, 0.5, 1.0)}
    variant: Literal["published", "released"] = "published"
    interval: Annotated[int, Field(ge=1)] = 2
    """Epochs between two assignments; published 20 of 200 on CREMA-D, 10 or 5 elsewhere."""
    rate: Annotated[float, Field(ge=0, le=1)] = 0.5
    """Share of the earlier classifiers' confidence that leaves the residual label, lambda; published one of 0.1, 0.2,
    0.33, 0.5, 1."""
    sigma: Annotated[float, Field(gt=0)] = 1.0
    tau: Annotated[float, Field(ge=0)] = 0.01
    hidden: Annotated[int, Field(ge=1)] = 256
    """Width between the two layers."""
    max_classifiers: Annotated[int, Field(ge=1)] = 12
    """Most classifiers of a modality; the published runs end with 10."""
    alternating: bool = True
    """Whether each modality takes a step of its own, as published, or all take one together."""

    def prepare(self, model: "MultimodalModel") -> None:
        """Classifiers in place of the heads, and a sum in place of the fusion."""
        import torch
        from torch import nn

        class Classifiers(nn.Module):
            """The classifiers of one modality, `max_classifiers` of them, of which the first `count` are in use."""

            count: torch.Tensor

            # What `count` was when it was last read: a read waits for all that the device has to do.
            last_read: tuple[torch.Tensor | None, int, int] = (None, 0, 0)

            def __init__(self, width: int, hidden: int, number: int, shared: nn.Module) -> None:
                super().__init__()
                layers = [nn.Linear(width, hidden) for _ in range(number)]
                nn.init.xavier_uniform_(layers[0].weight)
                for layer in layers[1:]:
                    nn.init.xavier_normal_(layer.weight)
                    nn.init.zeros_(layer.bias)
                self.first = nn.ModuleList(layers)
                self.shared = shared
                self.register_buffer("count", torch.tensor(1))

            @property
            def num_used(self) -> int:
                """`count` on the host, read again where the tensor is another or was written to."""
                if self.last_read[0] is not self.count or self.last_read[1] != self.count._version:
                    self.last_read = (self.count, self.count._version, int(self.count))
                return self.last_read[2]

            def each(self, features: torch.Tensor) -> torch.Tensor:
                """The logits of each classifier in use, (n, B, C)."""
                used = self.first[: self.num_used]
                return torch.stack([self.shared(layer(features).relu()) for layer in used])

            def forward(self, features: torch.Tensor) -> torch.Tensor:
                return self.each(features).sum(dim=0)

        heads = {name: model.branch(name).head for name in model.branches}
        shared = nn.Linear(self.hidden, next(iter(heads.values())).out_features)
        for name, head in heads.items():
            classifiers = Classifiers(head.in_features, self.hidden, self.max_classifiers, shared)
            classifiers.first[1:].requires_grad_(self.variant == "published")
            model.branch(name).head = classifiers
        model.fusion = None

    def begin_epoch(
        self,
        trainer: "Trainer",
        epoch: int,
        evidence: "Callable[[], Evidence]",
        validation: "Callable[[], Evidence]",
    ) -> None:
        """Assign classifiers where it is time, by what the epoch before has summed up."""
        import torch

        names = list(trainer.model.branches)
        is_first = self.variant == "released" and epoch == 1
        if epoch > 0 and (epoch % self.interval == 0 or is_first):
            scores = (trainer.memory["sums"] / trainer.memory["num_samples"]).tolist()
            for place in self.weak(scores):
                head = trainer.model.branch(names[place]).head
                if head.num_used < self.max_classifiers:
                    head.count += 1
        trainer.memory["sums"] = torch.zeros(len(names), dtype=torch.float64, device=trainer.runtime.device)
        trainer.memory["num_samples"] = torch.zeros((), dtype=torch.int64, device=trainer.runtime.device)

    def step(self, trainer: "Trainer", batch: "Batch") -> "tuple[Outputs, Tensor]":
        """A step for each modality in turn, or one for all."""
        import torch

        from bss.model import Outputs

        names = list(trainer.model.branches)
        logits, features, losses = {}, {}, []
        for turn in [[name] for name in names] if self.alternating else [names]:
            outputs = trainer.forward(batch.of(turn))
            each = {name: self._each(trainer, batch, name, outputs.features[name]) for name in turn}
            loss = torch.stack([self.boosting_loss(z, batch.labels) for z in each.values()]).sum()
            trainer.backward(loss)
            trainer.update()
            features.update(outputs.features)
            logits.update({name: z.detach().sum(dim=0) for name, z in each.items()})
            losses.append(loss)
            for name, z in each.items():
                trainer.memory["sums"][names.index(name)] += self._confidence(z.detach(), batch.labels).sum()
        trainer.memory["num_samples"] += len(batch.labels)
        logits[FUSED] = torch.stack(list(logits.values())).sum(dim=0)
        return Outputs(logits, features), torch.stack(losses).sum()

    def boosting_loss(self, each: "Tensor", labels: "Tensor") -> "Tensor":
        """The loss of one modality.

        Args:
            each: logits of its classifiers, (n, B, C), the newest last.
            labels: (B,), int64.
        """
        from bss.training.losses import cross_entropy

        total = cross_entropy(each.sum(dim=0), labels)
        if len(each) == 1:
            return total
        left = (1 - self.rate * self._confidence(each[:-1].detach(), labels)).clamp(min=0)
        residual = (left * cross_entropy(each[-1], labels, reduction="none")).mean()
        return residual + total + cross_entropy(each[:-1].sum(dim=0), labels)

    def decide(self, probabilities: Mapping[str, np.ndarray], logits: Mapping[str, np.ndarray]) -> np.ndarray | None:
        """Released: the softmax of the two modalities' logits, weighted."""
        if self.variant == "published" or len(probabilities) != len(MERGE):
            return None
        from scipy.special import softmax

        parts = [values * part for values, part in zip(logits.values(), MERGE, strict=True)]
        return np.asarray(softmax(np.sum(parts, axis=0), axis=1))

    def _each(self, trainer: "Trainer", batch: "Batch", modality: str, features: "Tensor") -> "Tensor":
        """The logits of each classifier for the whole batch, (n, B, C); zero where a sample lacks the modality."""
        with trainer.runtime.autocast():
            each = trainer.model.branch(modality).head.each(features).float()
        if (present := batch.inputs.get(f"{modality}{PRESENT}")) is not None:
            each = each * present[:, None]
        return trainer.whole(each.transpose(0, 1)).transpose(0, 1)

    def weak(self, scores: Sequence[float]) -> list[int]:
        """The places of the modalities that get a classifier, by the scores of all; never that of the strongest.

        Args:
            scores: s_m, at least 0.
        """
        if len(scores) > TWO:
            strongest = scores.index(max(scores))
            return [
                place
                for place in range(len(scores))
                if place != strongest and self._exceeds(max(scores), scores[place])
            ]
        first, second = scores
        if self._exceeds(first, second):
            return [1]
        falls_short = (
            first < (self.sigma - self.tau) * second
            if self.variant == "released"
            else first - self.sigma * second < -self.tau
        )
        return [0] if falls_short else []

    def _exceeds(self, one: float, other: float) -> bool:
        if self.variant == "released":
            return one > (self.sigma + self.tau) * other
        return one - self.sigma * other > self.tau

    def _confidence(self, each: "Tensor", labels: "Tensor") -> "Tensor":
        """Confidence (B,) in the true class, of the classifiers (n, B, C) together."""
        released = self.variant == "released"
        sure = each.sum(dim=0).softmax(dim=1) if released else each.softmax(dim=2).sum(dim=0)
        return sure.gather(1, labels[:, None]).squeeze(1)
