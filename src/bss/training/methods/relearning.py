"""Diagnosing and re-learning: an encoder that does not generalise goes back towards its initial weights."""

from collections.abc import Callable, Mapping
from math import tanh
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from pydantic import Field

from bss.training.methods.fused_only import FusedOnly
from bss.training.methods.method import Record

if TYPE_CHECKING:
    from torch import Tensor

    from bss.measure.evidence import Evidence
    from bss.training.trainer import Trainer


class Relearning(FusedOnly):
    """The fused loss alone and, after some epochs, encoders that are taken back towards their initial weights.

    P_m(split) is the purity of k-means clusters of modality m's features, as many as classes: the share of the
    samples that belong to the class that their cluster has most of. With g_m = |P_m(training) - P_m(validation)| and
    w_m = tanh(strength g_m), each parameter of encoder m becomes (1 - w_m) theta + w_m theta_0, where theta_0 are the
    weights that the training began with. Heads, fusion, batch statistics and momentum stay.

    It starts anew, and not from the warm-up, whose weights would be no initial ones.
    Source: Diagnosing and Re-learning (ECCV 2024) and its code, which agree.
    """

    record: ClassVar[Record] = Record(
        paper="Diagnosing & Re-learning, ECCV 2024",
        families=("schedule",),
        extra="none; a pass and k-means a re-learning",
        benchmark={"CREMA-D": 71.02, "KS": 65.92, "VGGSound": 48.12},
    )
    from_warmup: ClassVar[bool] = False
    looks_at_validation: ClassVar[bool] = True
    grid: ClassVar[Mapping[str, tuple[object, ...]]] = {"strength": (1.0, 3.0, 10.0)}
    example: ClassVar[Mapping[str, Any]] = {"interval": 1, "times": 1}
    strength: Annotated[float, Field(ge=0)] = 3.0
    """How fast w grows with the gap of purity, lambda; 0 takes nothing back."""
    interval: Annotated[int, Field(ge=1)] = 2
    """Epochs from one re-learning to the next; the first comes after epoch number `interval`, counted from 0."""
    times: Annotated[int, Field(ge=0)] = 3
    """Most re-learnings of a training."""

    def begin_epoch(
        self,
        trainer: "Trainer",
        epoch: int,
        evidence: "Callable[[], Evidence]",
        validation: "Callable[[], Evidence]",
    ) -> None:
        """Keep the initial weights in `memory`, by name; take the encoders back where it is time."""
        from bss.training import weights

        names = {name: _parameters(trainer, name) for name in trainer.model.branches}
        if epoch == 0:
            own = weights.take(trainer.model)
            kept = [parameter for of_one in names.values() for parameter in of_one]
            trainer.memory.update({name: own[name].to(trainer.runtime.device) for name in kept})
        number, rest = divmod(epoch - 1, self.interval)
        if rest or not 0 < number <= self.times or self.strength == 0:
            return
        own, gaps = weights.take(trainer.model), purity_gaps(evidence(), validation())
        for modality, gap in trainer.runtime.agreed(gaps).items():
            share = tanh(self.strength * gap)
            mixed = {name: (1 - share) * own[name] + share * trainer.memory[name].cpu() for name in names[modality]}
            weights.give(trainer.model, mixed)


def purity_gaps(training: "Evidence", validation: "Evidence") -> dict[str, float]:
    """Modality -> by how much the purity of its clusters differs between two splits, in [0, 1).

    Samples that lack the modality are left out; where a split has none with it there is no gap.

    Args:
        training: with features.
        validation: the same.
    """
    found = {}
    for name in training.modalities:
        purities = []
        for part in (training, validation):
            features, num_classes = part.needed_features("relearning")[name], part.logits[name].shape[1]
            there = features.any(dim=1)
            purities.append(
                purity(part.labels[there], clusters(features[there], num_classes)) if there.any() else None
            )
        first, second = purities
        found[name] = 0.0 if first is None or second is None else abs(first - second)
    return found


def clusters(features: "Tensor", number: int) -> "Tensor":
    """The k-means cluster (N,) of each sample, each dimension of the features scaled to [-1, 1] before.

    As many clusters as asked for, or as there are samples where those are fewer. One thread, for several would add up
    in an order of their own.

    Args:
        features: (N, dim).
        number: of clusters.
    """
    import warnings

    import torch
    from sklearn.cluster import KMeans
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.preprocessing import minmax_scale
    from threadpoolctl import threadpool_limits

    scaled = minmax_scale(features.cpu().numpy(), feature_range=(-1, 1))
    with threadpool_limits(1), warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # fewer different samples than clusters: some stay empty
        return torch.from_numpy(KMeans(min(number, len(scaled)), random_state=0).fit_predict(scaled))


def purity(labels: "Tensor", clusters: "Tensor") -> float:
    """Share in (0, 1] of the samples that belong to the class that their cluster has most of.

    Args:
        labels: (N,), integers from 0.
        clusters: (N,), integers from 0.
    """
    import torch

    num_classes = int(labels.max()) + 1
    counts = torch.bincount(clusters.long() * num_classes + labels, minlength=num_classes * (int(clusters.max()) + 1))
    return float(counts.view(-1, num_classes).amax(dim=1).sum()) / len(labels)


def _parameters(trainer: "Trainer", modality: str) -> list[str]:
    """Names of an encoder's parameters in the model; buffers, such as batch statistics, are none."""
    encoder = trainer.model.branch(modality).encoder
    return [f"branches.{modality}.encoder.{name}" for name, _ in encoder.named_parameters()]
