"""How evenly the modalities contribute to a fused prediction."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from bss.measure.evidence import Evidence
from bss.measure.shapley import shapley_values
from bss.model import MultimodalModel
from bss.training import shapley
from bss.training.runtime import Runtime


class Summed(nn.Module):
    """What a model without a fusion of features does: the sum of the modalities' logits."""

    def forward(self, logits: Mapping[str, Tensor]) -> Tensor:
        """Modality -> (B, C), to (B, C)."""
        return torch.stack(list(logits.values())).sum(dim=0)


def equilibrium(model: MultimodalModel, evidence: Evidence, runtime: Runtime) -> dict[str, Any]:
    """The equilibrium deviation metric, and the shares of the modalities that it is of.

    The contribution of a modality is its Shapley value, where a set of modalities is worth the mean probability of
    the true class that the fusion gives the features of the set, all others being zeros; of a model that fuses no
    features the softmax of the sum of the set's logits. Source: named by Modality Equilibrium Matters (arXiv
    2506.00030); the formula is inferred.

    Args:
        model: whose fusion is asked.
        evidence: of the samples.
        runtime: where it runs.

    Returns:
        `equilibrium_deviation` in [0, 2 (M - 1) / M^2], 0 where all contribute alike, and `shares`, modality -> its
        share in [0, 1]; nothing where no modality contributes, or there are too many for all their sets.
    """
    if len(evidence.modalities) > shapley.MOST:
        return {}
    fusion: nn.Module = Summed() if model.fusion is None else model.fusion
    parts = evidence.logits if model.fusion is None else evidence.needed_features("the equilibrium deviation")
    given = {name: parts[name] for name in model.branches}
    values = shapley.mean_confidences(fusion, given, evidence.labels, runtime)
    shares = shapley.shares(shapley_values(values))
    return {"equilibrium_deviation": shapley.equilibrium_deviation(shares), "shares": shares} if shares else {}
