"""Prototypical modal rebalance: the modality that lags is drawn to the prototypes of its classes."""

from collections.abc import Callable, Mapping
from math import ceil
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import Field

from bss.training.methods.joint import Joint
from bss.training.methods.method import Record

if TYPE_CHECKING:
    from torch import Tensor

    from bss.measure.evidence import Evidence
    from bss.model import Outputs
    from bss.training.loader import Batch
    from bss.training.trainer import Trainer


class PMR(Joint):
    """The joint loss plus, for each modality m, alpha beta_m PCE_m - mu gamma_m H_m.

    Before each epoch the prototype c_k of class k is the mean of m's features over its samples in a random part of
    the training split, mixed with the one before. p = softmax over k of -||f_m - c_k||; PCE_m is the batch mean of
    -log p[y], H_m that of p's entropy, s_m that of p[y]. Without gradients, and both limited to [0, 1],

        beta_m = max_o s_o / s_m - 1,    gamma_m = s_m / min_o s_o - 1.

    Of two modalities that is the paper's. A sample counts where it has the modality, and its class a prototype.
    Source: PMR (CVPR 2023) and its code, which train with the fused loss beside: `unimodal_weight: 0`. `released` has
    no entropy, and a modality that lags at all has beta 1. Its prototypes are of whole batches of a shuffled epoch,
    and those before the second epoch keep nothing of the first ones.
    """

    record: ClassVar[Record] = Record(
        paper="PMR, CVPR 2023",
        families=("loss",),
        extra="distances; a pass an epoch",
        reported={"CREMA-D": 65.3},
        benchmark={"CREMA-D": 67.19, "KS": 67.11, "VGGSound": 50.38},
    )
    grid: ClassVar[Mapping[str, tuple[object, ...]]] = {"alpha": (0.5, 1.0, 2.0)}
    variant: Literal["published", "released"] = "published"
    alpha: Annotated[float, Field(ge=0)] = 1.0
    """Weight of the pull to the prototypes."""
    mu: Annotated[float, Field(ge=0)] = 0.01
    """Weight of the entropy of the modality that leads."""
    entropy_epochs: Annotated[int, Field(ge=0)] = 3
    """Number of epochs, from `starts` on, with the entropy term."""
    momentum: Annotated[float, Field(ge=0, lt=1)] | None = None
    """Share that a prototype keeps from epoch to epoch; where left out 0.9, in `released` 0."""
    subset: Annotated[float, Field(gt=0, le=1)] = 0.1
    """Part of the training split that prototypes are made of."""
    starts: Annotated[int, Field(ge=0)] = 0
    """First epoch that is rebalanced, from 0."""
    ends: Annotated[int, Field(ge=0)] | None = None
    """The epoch after the last one; all where left out."""

    def begin_epoch(
        self,
        trainer: "Trainer",
        epoch: int,
        evidence: "Callable[[], Evidence]",
        validation: "Callable[[], Evidence]",
    ) -> None:
        """Renew the prototypes: `memory` has them as "prototypes of M" (K, width), and "has prototype of M" (K,)."""
        import torch

        if not self._rebalances(epoch):
            return
        clean, device = evidence(), trainer.runtime.device
        order = torch.randperm(len(clean.labels), generator=trainer.generator("prototypes"), device=device)
        rows = order[: self.num_drawn(len(order), trainer.settings.batch_size)].to(clean.labels.device)
        for name in trainer.model.branches:
            features = clean.needed_features(self.name)[name][rows].float()
            there = features.any(dim=1)
            new, has = class_means(features[there], clean.labels[rows][there], clean.logits[name].shape[1])
            new, has = new.to(device), has.to(device)
            old = trainer.memory.get(f"prototypes of {name}", torch.zeros_like(new))
            had = trainer.memory.get(f"has prototype of {name}", torch.zeros_like(has))
            kept = self._kept(epoch)
            mixed = torch.where(had[:, None], kept * old + (1 - kept) * new, new)
            trainer.memory[f"prototypes of {name}"] = torch.where(has[:, None], mixed, old)
            trainer.memory[f"has prototype of {name}"] = has | had

    def num_drawn(self, num_samples: int, batch_size: int) -> int:
        """How many samples of the training split prototypes are made of; at most all.

        Args:
            num_samples: N.
            batch_size: B.
        """
        if self.variant == "published":
            return ceil(self.subset * num_samples)
        batches = int(self.subset * ceil(num_samples / batch_size) + 1e-9)  # rounding makes less of a whole number
        return min(max(1, batches) * batch_size, num_samples)

    def step(self, trainer: "Trainer", batch: "Batch") -> "tuple[Outputs, Tensor]":
        """Joint's step, with the loss of the prototypes where the epoch has it."""
        outputs = trainer.forward(batch.inputs)
        loss = self.loss(outputs.logits, batch.labels)
        if self._rebalances(trainer.epoch):
            features = {name: trainer.whole(values).float() for name, values in outputs.features.items()}
            prototypes = {
                name: (trainer.memory[f"prototypes of {name}"], trainer.memory[f"has prototype of {name}"])
                for name in features
            }
            entropy = self.variant == "published" and trainer.epoch < self.starts + self.entropy_epochs
            loss = loss + self.rebalance(features, prototypes, batch.labels, self.mu if entropy else 0.0)
        return self.descend(trainer, batch, outputs, loss)

    def rebalance(
        self,
        features: Mapping[str, "Tensor"],
        prototypes: "Mapping[str, tuple[Tensor, Tensor]]",
        labels: "Tensor",
        mu: float,
    ) -> "Tensor":
        """What the prototypes add to the loss, a scalar.

        Args:
            features: modality -> (B, width).
            prototypes: modality -> (K, width), and whether a class has one, (K,).
            labels: (B,), int64.
            mu: weight of the entropy.
        """
        import torch

        pulls, entropies, sure = [], [], []
        for name, values in features.items():
            means, has = prototypes[name]
            counted = values.any(dim=1) & has[labels]
            distances = torch.linalg.vector_norm(values[:, None] - means, dim=2).masked_fill(~has, 1e9)
            logs = (-distances[counted]).log_softmax(dim=1)
            if not len(logs):  # nothing to compare
                continue
            of_true = logs.gather(1, labels[counted, None]).squeeze(1)
            pulls.append(-of_true.mean())
            entropies.append(-(logs.exp() * logs).sum(dim=1).mean())
            sure.append(of_true.detach().double().exp().mean().clamp(min=1e-300))
        if not pulls:
            return torch.zeros((), device=labels.device)
        beta, gamma = lags_and_leads(torch.stack(sure))
        if self.variant == "released":
            beta = (beta > 0).double()
        weights = self.alpha * beta.to(pulls[0].dtype), mu * gamma.to(pulls[0].dtype)
        return (weights[0] * torch.stack(pulls) - weights[1] * torch.stack(entropies)).sum()

    def _kept(self, epoch: int) -> float:
        """The share of the old prototypes in those before an epoch."""
        if self.variant == "released":
            return self.momentum or 0.0 if epoch > 1 else 0.0
        return 0.9 if self.momentum is None else self.momentum

    def _rebalances(self, epoch: int) -> bool:
        return bool(self.alpha or self.mu) and self.starts <= epoch and (self.ends is None or epoch < self.ends)


def lags_and_leads(sure: "Tensor") -> "tuple[Tensor, Tensor]":
    """By how much each modality lags the first, beta, and leads the last, gamma; both (M,), in [0, 1].

    Args:
        sure: mean probabilities of the true class, (M,), above 0.
    """
    return (sure.amax() / sure - 1).clamp(0, 1), (sure / sure.amin() - 1).clamp(0, 1)


def class_means(features: "Tensor", labels: "Tensor", num_classes: int) -> "tuple[Tensor, Tensor]":
    """The mean features of each class, (K, width), zeros for one without samples, and which have one, (K,).

    Args:
        features: (n, width).
        labels: (n,), int64.
        num_classes: K.
    """
    from torch.nn.functional import one_hot

    members = one_hot(labels, num_classes).to(features.dtype)
    counts = members.sum(dim=0)
    return members.T @ features / counts.clamp(min=1)[:, None], counts > 0
