"""Learning the modality gap: the modalities are aligned first, and the classes learned more and more."""

from collections.abc import Mapping
from itertools import combinations
from math import exp
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import Field

from bss.training.methods._means import mean_of_logits
from bss.training.methods.method import Method, Record
from bss.types import FUSED

if TYPE_CHECKING:
    from torch import Tensor

    from bss.model import MultimodalModel, Outputs
    from bss.training.loader import Batch
    from bss.training.trainer import Trainer

POLYNOMIAL = (2.04623704e-1, 3.35472727e-3, 1.22989557e-4, -2.92947416e-6, 2.23835486e-8, -5.39717505e-11)
"""Of the released CREMA-D script: coefficients of 1, e, e^2, ... for epoch e of `FITTED_EPOCHS`."""
FITTED_EPOCHS = 200


class LFM(Method):
    """(1 - alpha) CE(z) + alpha G, where z is the mean of the modalities' logits and G the gap between them.

    `alignment: infonce` takes features: G is the mean over all pairs of modalities of the cross-entropy, both ways,
    of a sample's own partner among those of the batch, by cosine / `temperature`. `reverse_js` takes probabilities:
    G is the mean over the batch and the modalities of KL(p || p_m), with p the mean of the p_m. Both leave out what a
    sample lacks.

    alpha falls: `heuristic` has 1 - exp(-1 / t) in epoch t = 1, 2, ..., `fitted` one minus a polynomial of the part
    of `epochs` that is done, and `constant` stays at `weight`.

    Source: LFM (NeurIPS 2024); that t counts epochs and that more than two modalities take all pairs is INFERRED.
    `released` aligns by reverse_js, fitted, and its loss is twice as large.
    """

    record: ClassVar[Record] = Record(
        paper="LFM, NeurIPS 2024",
        families=("loss",),
        extra="B^2 cosines a pair",
        reported={"CREMA-D": 83.62, "KS": 72.53, "VGGSound": 52.74},
        benchmark={"CREMA-D": 70.02, "KS": 66.37, "VGGSound": 47.45},
    )
    grid: ClassVar[Mapping[str, tuple[object, ...]]] = {"schedule": ("heuristic", "fitted")}
    variant: Literal["published", "released"] = "published"
    schedule: Literal["heuristic", "fitted", "constant"] | None = None
    """How alpha falls; where left out `heuristic`, in `released` `fitted`."""
    alignment: Literal["infonce", "reverse_js"] | None = None
    """What aligns the modalities; where left out `infonce`, in `released` `reverse_js`."""
    temperature: Annotated[float, Field(gt=0)] = 0.5
    """Of the cosines, tau."""
    weight: Annotated[float, Field(ge=0, le=1)] = 0.5
    """alpha of `schedule: constant`."""
    epochs: Annotated[int, Field(ge=1)] = 10
    """Epochs of the training, over which the fitted polynomial's 200 are spread; it stays at its end afterwards."""

    def prepare(self, model: "MultimodalModel") -> None:
        """The mean of the logits in place of the fusion, and features of one width where they are compared."""
        from bss.training.methods._heads import widen

        mean_of_logits(model)
        if self._aligns_features:
            widen(model)

    def step(self, trainer: "Trainer", batch: "Batch") -> "tuple[Outputs, Tensor]":
        """One update by the two losses, as the epoch weighs them."""
        from bss.training.losses import cross_entropy

        outputs = trainer.forward(batch.inputs)
        alpha = self.alpha(trainer.epoch)
        loss = (1 - alpha) * cross_entropy(outputs.logits[FUSED], batch.labels)
        if alpha:
            features = {name: trainer.whole(values).float() for name, values in outputs.features.items()}
            there = {name: values.detach().any(dim=1) for name, values in features.items()}
            if self._aligns_features:
                loss = loss + alpha * partner_loss(features, there, self.temperature)
            else:
                loss = loss + alpha * divergence_from_mean({name: outputs.logits[name] for name in features}, there)
        return self.descend(trainer, batch, outputs, 2 * loss if self.variant == "released" else loss)

    def alpha(self, epoch: int) -> float:
        """The weight of the gap, in [0, 1].

        Args:
            epoch: from 0.
        """
        schedule = self.schedule or ("fitted" if self.variant == "released" else "heuristic")
        if schedule == "constant":
            return self.weight
        if schedule == "heuristic":
            return 1 - exp(-1 / (epoch + 1))
        e = min(epoch * FITTED_EPOCHS / self.epochs, FITTED_EPOCHS - 1)
        return 1 - sum(coefficient * e**power for power, coefficient in enumerate(POLYNOMIAL))

    @property
    def _aligns_features(self) -> bool:
        return (self.alignment or ("reverse_js" if self.variant == "released" else "infonce")) == "infonce"


def partner_loss(features: Mapping[str, "Tensor"], there: Mapping[str, "Tensor"], temperature: float) -> "Tensor":
    """InfoNCE by cosine, the mean of both directions and over all pairs of modalities, a scalar in nats.

    Args:
        features: modality -> (B, width), of one width.
        there: modality -> (B,), bool, whether a sample has it; a pair takes the samples that have both.
        temperature: tau.
    """
    import torch
    from torch.nn.functional import cross_entropy, normalize

    losses = []
    for one, other in combinations(features, 2):
        rows = there[one] & there[other]
        if rows.any():
            a, v = (normalize(features[name][rows], dim=1) for name in (one, other))
            # Of torch: the labels are places in the batch, which no class weighs.
            alike, own = a @ v.T / temperature, torch.arange(len(a), device=a.device)
            losses.append((cross_entropy(alike, own) + cross_entropy(alike.T, own)) / 2)
    return torch.stack(losses).mean() if losses else torch.zeros((), device=next(iter(there.values())).device)


def divergence_from_mean(logits: Mapping[str, "Tensor"], there: Mapping[str, "Tensor"]) -> "Tensor":
    """The mean over the batch and its modalities of KL(mean of all p || p_m), a scalar in nats.

    A Jensen-Shannon divergence has the arguments the other way round.

    Args:
        logits: modality -> (B, C).
        there: modality -> (B,), bool, whether a sample has it; those that it lacks are in no mean.
    """
    import torch

    logs = torch.stack([values.log_softmax(dim=1) for values in logits.values()])
    has = torch.stack([there[name] for name in logits])[:, :, None].to(logs.dtype)
    number = has.sum(dim=0).clamp(min=1)
    mean = (logs.exp() * has).sum(dim=0) / number
    each = mean * (mean.clamp(min=torch.finfo(mean.dtype).tiny).log() - logs)
    return ((each * has).sum(dim=0) / number).sum(dim=1).mean()
