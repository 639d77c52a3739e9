"""What each modality contributes to the fused prediction: Shapley values over all sets of modalities."""

from collections.abc import Callable, Mapping
from itertools import combinations

import torch
from torch import Tensor, nn

from bss.errors import InputError
from bss.measure.evidence import in_eval_mode
from bss.measure.shapley import Subset
from bss.model import MultimodalModel
from bss.training.runtime import Runtime

MOST = 8
"""Most modalities: the fusion is asked for all 2^M sets of them."""
ROWS = 4096
"""Samples that the fusion is asked for at a time."""


def fusion_of(model: MultimodalModel, runtime: Runtime, method: str) -> nn.Module:
    """The fusion, where it may be asked for sets of modalities.

    Args:
        model: whose fusion it is.
        runtime: where it runs.
        method: the name of who asks.

    Raises:
        InputError: there is none, its weights are spread over the ranks, or the modalities have too many sets.
    """
    if model.fusion is None or runtime.is_sharded:
        raise InputError(f"spread.strategy: {method} asks the fusion alone, which needs ddp, not fsdp")
    if len(model.branches) > MOST:
        raise InputError(f"{method} values all sets of {MOST} modalities at most; here are {len(model.branches)}")
    return model.fusion


def by_subset(
    fusion: nn.Module,
    features: Mapping[str, Tensor],
    value: Callable[[Tensor, slice], Tensor],
    runtime: Runtime,
) -> dict[Subset, Tensor]:
    """Set of modalities, the empty one first -> the value (N,) of what the fusion says of them, others being zeros.

    Args:
        fusion: in eval mode meanwhile.
        features: modality -> (N, width), as the fusion takes them.
        value: logits (B, C) on the device and their rows of the features, to their values (B,).
        runtime: where it runs.
    """
    num_samples = len(next(iter(features.values())))
    subsets = [frozenset(some) for size in range(len(features) + 1) for some in combinations(features, size)]
    found: dict[Subset, list[Tensor]] = {some: [] for some in subsets}
    with in_eval_mode(fusion), torch.no_grad(), runtime.autocast():
        for rows in (slice(first, first + ROWS) for first in range(0, num_samples, ROWS)):
            block = {name: values[rows].to(runtime.device) for name, values in features.items()}
            nothing = {name: torch.zeros_like(values) for name, values in block.items()}
            for some in subsets:
                logits = fusion({name: (block if name in some else nothing)[name] for name in features})
                found[some].append(value(logits.float(), rows).cpu())
    return {some: torch.cat(parts) for some, parts in found.items()}


def confidences(
    fusion: nn.Module, features: Mapping[str, Tensor], labels: Tensor, runtime: Runtime
) -> dict[Subset, Tensor]:
    """Set of modalities -> the probability (N,) in [0, 1] of a class of each sample that the fusion gives them.

    Args:
        fusion: in eval mode meanwhile.
        features: modality -> (N, width), as the fusion takes them.
        labels: the classes (N,), int64.
        runtime: where it runs.
    """

    def of_label(logits: Tensor, rows: slice) -> Tensor:
        return logits.softmax(dim=1).gather(1, labels[rows].to(logits.device)[:, None]).squeeze(1)

    return by_subset(fusion, features, of_label, runtime)


def mean_confidences(
    fusion: nn.Module, features: Mapping[str, Tensor], labels: Tensor, runtime: Runtime
) -> dict[Subset, Tensor]:
    """The means () over the samples of `confidences`, float64."""
    return {some: each.double().mean() for some, each in confidences(fusion, features, labels, runtime).items()}


def shares(contributions: Mapping[str, Tensor]) -> dict[str, float] | None:
    """Modality -> its share in [0, 1] of all positive contributions; None where no contribution is positive."""
    positive = {name: max(float(value), 0.0) for name, value in contributions.items()}
    total = sum(positive.values())
    return {name: value / total for name, value in positive.items()} if total > 0 else None


def equilibrium_deviation(shares: Mapping[str, float]) -> float:
    """Mean distance of the shares from 1 / M: 0 where all contribute alike, 2 (M - 1) / M^2 where one does alone."""
    return sum(abs(share - 1 / len(shares)) for share in shares.values()) / len(shares)
