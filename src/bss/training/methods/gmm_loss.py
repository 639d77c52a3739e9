"""Probabilistic sample separation: a mixture of two Gaussians tells the samples whose modalities differ."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Self

import numpy as np
from pydantic import Field, model_validator

from bss.errors import InputError
from bss.training.methods.joint import Joint
from bss.training.methods.method import Order, Record
from bss.types import FUSED

if TYPE_CHECKING:
    from torch import Tensor

    from bss.measure.evidence import Evidence
    from bss.model import Outputs
    from bss.training.loader import Batch
    from bss.training.trainer import Trainer


class GMMLoss(Joint):
    """Joint training until `starts`; then samples whose modalities agree train the fusion more, and the gap closes.

    The gap of a sample is G = max_m p_m[y] - min_m p_m[y]. Before each epoch a mixture of two Gaussians is fitted to
    the gaps of the training split, and pi is the posterior of the one with the larger mean: the sample is imbalanced.
    Its loss is

        fused_weight (1 + balance_weight (1 - pi)) CE(fused) + unimodal_weight sum_m CE(m) + gap_weight (1 + pi) G
        + pull_weight pi max(0, G - mu)^2,

    where mu is the other component's mean: the last term pulls imbalanced samples to where the balanced ones are.
    From epoch `balanced_from` on the samples with pi of at least one half are left out.

    Source: INFERRED. Of the paper (arXiv 2510.21797) the parts are known to us, and no equation and no code.
    """

    record: ClassVar[Record] = Record(
        paper="Probabilistic Sample Separation, 2025",
        families=("loss",),
        extra="a pass an epoch",
        reported={"CREMA-D": 80.65, "KS": 72.42},
    )
    grid: ClassVar[Mapping[str, tuple[object, ...]]] = {"gap_weight": (0.3, 1.0, 3.0), "pull_weight": (0.0, 1.0)}
    example: ClassVar[Mapping[str, Any]] = {"balanced_from": 2, "pull_weight": 1.0}
    weights_of_heads: ClassVar[tuple[str, ...]] = ("unimodal_weight", "gap_weight", "pull_weight")
    balance_weight: Annotated[float, Field(ge=0)] = 1.0
    """What the fused loss of a balanced sample counts more than that of an imbalanced one."""
    gap_weight: Annotated[float, Field(ge=0)] = 1.0
    """Weight of the gap."""
    pull_weight: Annotated[float, Field(ge=0)] = 0.0
    """Weight of the pull of imbalanced samples to the mean gap of balanced ones."""
    starts: Annotated[int, Field(ge=0)] = 2
    """First epoch that separates the samples, from 0; those before are joint training."""
    balanced_from: Annotated[int, Field(ge=0)] | None = None
    """First epoch of the fine-tuning by balanced samples alone, not before `starts`; none where left out."""

    @model_validator(mode="after")
    def _samples_are_separated_before_some_are_left_out(self) -> Self:
        if self.balanced_from is not None and self.balanced_from < self.starts:
            raise InputError(
                f"balanced_from is {self.balanced_from}, before starts ({self.starts}), from where on it is known "
                "which samples are balanced"
            )
        return self

    def begin_epoch(
        self,
        trainer: "Trainer",
        epoch: int,
        evidence: "Callable[[], Evidence]",
        validation: "Callable[[], Evidence]",
    ) -> None:
        """Separate the samples.

        `memory` has "imbalanced" (N,), pi, "balanced gap" (), mu, and "left_out" (N,) where some are.
        """
        if epoch < self.starts or not (self._weighs or self.balanced_from is not None):
            return
        import torch

        clean = evidence()
        gaps, compared = sample_gaps({name: clean.logits[name] for name in clean.modalities}, clean.labels)
        posterior, mean = trainer.runtime.agreed(imbalance(gaps.double().numpy(), compared.numpy()))
        trainer.memory["imbalanced"] = torch.from_numpy(posterior).float().to(trainer.runtime.device)
        trainer.memory["balanced gap"] = torch.tensor(mean, device=trainer.runtime.device)
        if self.balanced_from is not None and epoch >= self.balanced_from:
            trainer.memory["left_out"] = trainer.memory["imbalanced"] >= 0.5

    def order(self, sequence: np.ndarray, memory: "Mapping[str, Tensor]") -> Order:
        """The scheduler's, without what fine-tuning leaves out; whole where that would leave less than two."""
        if "left_out" not in memory:
            return Order(sequence)
        kept = sequence[~memory["left_out"].cpu().numpy()[sequence]]
        return Order(kept if len(kept) >= 2 else sequence)

    def step(self, trainer: "Trainer", batch: "Batch") -> "tuple[Outputs, Tensor]":
        """Joint's step, its samples weighed once they are separated."""
        outputs = trainer.forward(batch.inputs)
        posterior = trainer.memory.get("imbalanced")
        if posterior is None or not self._weighs:
            return self.descend(trainer, batch, outputs, self.loss(outputs.logits, batch.labels))
        pi = posterior[batch.indices.to(posterior.device)]
        mean = trainer.memory["balanced gap"]
        return self.descend(trainer, batch, outputs, self.separated_loss(outputs.logits, batch.labels, pi, mean))

    def separated_loss(
        self, logits: "Mapping[str, Tensor]", labels: "Tensor", posterior: "Tensor", balanced_gap: "Tensor"
    ) -> "Tensor":
        """The loss of a batch, a scalar.

        Args:
            logits: output name -> (B, C).
            labels: (B,), int64.
            posterior: pi, (B,), in [0, 1].
            balanced_gap: mu, (), in [0, 1].
        """
        from bss.training.losses import cross_entropy

        unimodal = {name: z for name, z in logits.items() if name != FUSED}
        fused = cross_entropy(logits[FUSED], labels, reduction="none")
        weighed = self.fused_weight * (1 + self.balance_weight * (1 - posterior)) * fused
        gaps, _ = sample_gaps(unimodal, labels)
        each = weighed + self.gap_weight * (1 + posterior) * gaps
        if self.pull_weight:
            each = each + self.pull_weight * pull(gaps, posterior, balanced_gap)
        return each.mean() + self.loss(unimodal, labels)

    @property
    def _weighs(self) -> bool:
        """Whether the loss of a separated sample is another than joint's."""
        return bool(self.balance_weight or self.gap_weight or self.pull_weight)


def pull(gaps: "Tensor", posterior: "Tensor", balanced_gap: "Tensor") -> "Tensor":
    """pi max(0, G - mu)^2 (B,): what an imbalanced sample's gap is beyond that of balanced ones, squared.

    Args:
        gaps: G, (B,).
        posterior: pi, (B,).
        balanced_gap: mu, ().
    """
    return posterior * (gaps - balanced_gap).clamp(min=0).square()


def sample_gaps(logits: "Mapping[str, Tensor]", labels: "Tensor") -> "tuple[Tensor, Tensor]":
    """G (B,), in [0, 1], over the modalities that a sample has, and whether it has two to compare, (B,).

    Args:
        logits: modality -> (B, C).
        labels: (B,), int64.
    """

    import torch

    z = torch.stack(list(logits.values()))
    there = z.any(dim=2)
    sure = z.softmax(dim=2).gather(2, labels.expand(len(z), -1)[..., None]).squeeze(2)
    compared = there.sum(dim=0) >= 2
    most, least = sure.masked_fill(~there, 0).amax(dim=0), sure.masked_fill(~there, 1).amin(dim=0)
    return torch.where(compared, most - least, 0.0), compared


def imbalance(gaps: np.ndarray, compared: np.ndarray) -> tuple[np.ndarray, float]:
    """pi (N,), the posterior of the component with the larger mean, and mu, the smaller mean.

    pi is 0 of a sample that is not compared. Where the gaps are all alike there are no two components: pi is 0 of
    all, and mu the largest gap there can be, 1.

    Args:
        gaps: G, (N,).
        compared: whether a sample has two modalities, (N,).
    """
    import warnings

    from sklearn.exceptions import ConvergenceWarning
    from sklearn.mixture import GaussianMixture
    from threadpoolctl import threadpool_limits

    posterior = np.zeros(len(gaps))
    values = gaps[compared, None]
    if len(values) < 2 or np.ptp(values) == 0:
        return posterior, 1.0
    mixture = GaussianMixture(2, means_init=np.quantile(values, [0.25, 0.75])[:, None], random_state=0)
    with threadpool_limits(1), warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        mixture.fit(values)
    posterior[compared] = of_larger_mean(
        values[:, 0], mixture.weights_, mixture.means_[:, 0], mixture.covariances_[:, 0, 0] ** 0.5
    )
    return posterior, float(mixture.means_.min())


def of_larger_mean(values: np.ndarray, weights: np.ndarray, means: np.ndarray, deviations: np.ndarray) -> np.ndarray:
    """The posterior (n,) of the component with the larger mean.

    Args:
        values: (n,).
        weights: of the components, (2,), with the sum 1.
        means: (2,).
        deviations: (2,), above 0.
    """
    from scipy.special import softmax

    logs = np.log(weights / deviations) - ((values[:, None] - means) / deviations) ** 2 / 2  # less what both share
    return np.asarray(softmax(logs, axis=1)[:, int(np.argmax(means))])
