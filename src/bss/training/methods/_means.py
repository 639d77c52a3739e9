"""The mean over the modalities in place of a fusion."""

from math import log
from typing import TYPE_CHECKING, Any

from bss.types import FUSED

if TYPE_CHECKING:
    from bss.model import MultimodalModel, Outputs


def mean_of_logits(model: "MultimodalModel") -> None:
    """Have the model give the mean of the modalities' logits as "fused"; for `Method.prepare`."""
    model.fusion = None
    model.register_forward_hook(_averaged)


def mean_of_probabilities(model: "MultimodalModel") -> None:
    """Have the model give the logarithm of the mean of the modalities' softmax as "fused"; for `Method.prepare`.

    Its softmax is that mean.
    """
    model.fusion = None
    model.register_forward_hook(_pooled)


def _averaged(model: "MultimodalModel", inputs: Any, outputs: "Outputs") -> "Outputs":
    """The mean of the logits where the model has summed them."""
    logits = dict(outputs.logits)
    if FUSED in logits:
        logits[FUSED] = logits[FUSED] / len(model.branches)
    return outputs._replace(logits=logits)


def _pooled(model: "MultimodalModel", inputs: Any, outputs: "Outputs") -> "Outputs":
    """The logarithm of the mean of the probabilities where the model has summed the logits."""
    import torch

    logits = dict(outputs.logits)
    if FUSED in logits:
        each = torch.stack([logits[name].float().log_softmax(dim=1) for name in model.branches])
        logits[FUSED] = each.logsumexp(dim=0) - log(len(each))
    return outputs._replace(logits=logits)
