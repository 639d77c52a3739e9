"""Balance at the decision: each modality's logits in one scale, weighed class by class by what it recognises."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, cast

from pydantic import Field

from bss.training.methods.joint import Joint
from bss.training.methods.method import Record

if TYPE_CHECKING:
    from torch import Tensor

    from bss.measure.evidence import Evidence
    from bss.model import MultimodalModel
    from bss.training.trainer import Trainer

LEAST_STD = 1e-6
"""Least deviation that logits are divided by; those of a smaller one are left in their scale."""


class DecisionBalance(Joint):
    """Joint training in which the fusion is a calibrated sum of the modalities' logits.

    z_c = M sum_m w_mc (z_mc - mu_m) / sigma_m, see `calibrated_sum`. mu_m and sigma_m are mean and deviation of
    modality m's logits over the training pairs and classes; w_mc is r_mc^gamma over its sum over the modalities, and
    r_mc the recall of m on class c over the sum of the modalities' recalls. All are measured by a clean pass before
    each epoch.

    Source: INFERRED. The note of Ma and Chen (2025) finds that the decision prefers a modality, and asks for weights
    by ability and class; it has no algorithm.
    """

    record: ClassVar[Record] = Record(
        paper="Decision-layer imbalance, 2025", families=("fusion",), extra="the heads twice; a pass an epoch"
    )
    grid: ClassVar[Mapping[str, tuple[object, ...]]] = {"gamma": (0.0, 1.0, 2.0)}
    gamma: Annotated[float, Field(ge=0)] = 1.0
    """Strength of the recalls; 0 is the plain sum of calibrated logits."""
    weighting: Literal["trained", "posthoc"] = "trained"
    """Whether the calibrated sum trains too, or replaces the plain sum of logits at evaluation alone."""

    def prepare(self, model: "MultimodalModel") -> None:
        """The calibrated sum in place of the fusion."""
        import torch
        from torch import nn

        gamma, always = self.gamma, self.weighting == "trained"
        heads = {name: model.branch(name).head for name in model.branches}
        num_classes = next(iter(heads.values())).out_features

        class CalibratedSum(nn.Module):
            """What is measured is of the modalities in the model's order; the heads are those of the branches."""

            mean: torch.Tensor
            std: torch.Tensor
            recall: torch.Tensor

            def __init__(self) -> None:
                super().__init__()
                self.register_buffer("mean", torch.zeros(len(heads)))
                self.register_buffer("std", torch.ones(len(heads)))
                self.register_buffer("recall", torch.ones(len(heads), num_classes))

            def forward(self, features: Mapping[str, torch.Tensor]) -> torch.Tensor:
                present = torch.stack([features[name].any(dim=1) for name in heads])
                logits = torch.stack([head(features[name]).float() for name, head in heads.items()])
                if self.training and not always:
                    return (logits * present[..., None]).sum(dim=0)
                return calibrated_sum(logits, present, self.mean, self.std, self.recall, gamma)

        model.fusion = CalibratedSum()

    def begin_epoch(
        self,
        trainer: "Trainer",
        epoch: int,
        evidence: "Callable[[], Evidence]",
        validation: "Callable[[], Evidence]",
    ) -> None:
        """Measure the logits of every modality."""
        fusion, clean = cast(Any, trainer.model.fusion), evidence()
        for place, name in enumerate(trainer.model.branches):
            there = clean.needed_features(self.name)[name].any(dim=1)
            logits, labels = clean.logits[name][there], clean.labels[there]
            if len(labels):
                fusion.mean[place], fusion.std[place] = logits.mean(), logits.std(correction=0)
                fusion.recall[place] = recalls(logits, labels)


def recalls(logits: "Tensor", labels: "Tensor") -> "Tensor":
    """The share of each class's samples that are recognised, (C,); 0 of a class without a sample.

    Args:
        logits: (N, C).
        labels: (N,), int64.
    """
    num_classes = logits.shape[1]
    right = labels[logits.argmax(dim=1) == labels]
    return right.bincount(minlength=num_classes) / labels.bincount(minlength=num_classes).clamp(min=1)


def calibrated_sum(
    logits: "Tensor", present: "Tensor", mean: "Tensor", std: "Tensor", recall: "Tensor", gamma: float
) -> "Tensor":
    """The logits (B, C) of the fusion: those of the modalities, each in units of its own deviation, by recall.

    Of a sample that lacks modalities the sum is over the others, and their number takes the place of M.

    Args:
        logits: (M, B, C).
        present: whether a sample has the modality, (M, B).
        mean: of a modality's logits, (M,).
        std: their deviation, (M,).
        recall: of each class, (M, C), in [0, 1]; where all are 0 the modalities weigh the same.
        gamma: exponent of the recalls' shares, at least 0.
    """
    scaled = (logits - mean[:, None, None]) / std.where(std > LEAST_STD, 1.0)[:, None, None]
    total = recall.sum(dim=0)
    shares = (recall / total.where(total > 0, 1.0)).where(total > 0, 1 / len(recall))
    there = present[..., None].float()
    powers = shares[:, None].pow(gamma) * there
    sums = powers.sum(dim=0)
    # Where no modality that is there has recognised the class, those weigh the same.
    weights = powers.where(sums > 0, there) / sums.where(sums > 0, there.sum(dim=0).clamp(min=1))
    return there.sum(dim=0) * (weights * scaled).sum(dim=0)
