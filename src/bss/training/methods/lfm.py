"""Learning the modality gap: the modalities are aligned first, and the classes learned more and more."""

from collections.abc import Callable, Mapping
from itertools import combinations
from math import exp, isfinite
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

import numpy as np
from pydantic import Field

from bss.training.methods._means import mean_of_logits
from bss.training.methods.method import Method, Order, Record
from bss.types import FUSED

if TYPE_CHECKING:
    from torch import Tensor

    from bss.measure.evidence import Evidence
    from bss.model import MultimodalModel, Outputs
    from bss.training.loader import Batch
    from bss.training.trainer import Trainer

POLYNOMIAL = (2.04623704e-1, 3.35472727e-3, 1.22989557e-4, -2.92947416e-6, 2.23835486e-8, -5.39717505e-11)
"""Of the released CREMA-D script: coefficients of 1, e, e^2, ... for epoch e of `FITTED_EPOCHS`."""
FITTED_EPOCHS = 200
HALVED_EPOCHS = 20
"""Of those epochs: as many halve the released learning rate of alpha."""
RANGES = {"published": (0.0, 1.0), "released": (0.05, 0.95)}
"""What a learned alpha is kept in."""


class LFM(Method):
    """(1 - alpha) CE(z) + alpha G, where z is the mean of the modalities' logits and G the gap between them.

    `alignment: infonce` takes features: G is the mean over all pairs of modalities of the cross-entropy, both ways,
    of a sample's own partner among those of the batch, by cosine / `temperature`. `reverse_js` takes probabilities:
    G is the mean over the batch and the modalities of KL(p || p_m), with p the mean of the p_m. Both leave out what a
    sample lacks.

    alpha falls: `heuristic` has 1 - exp(-1 / t) in epoch t = 1, 2, ..., `fitted` one minus a polynomial of the part
    of `epochs` that is done, and `constant` stays at `weight`.

    `learned` begins at `start`. `held_back` training samples, drawn once, come in the first batch of each epoch, and
    only alpha learns from them: alpha <- clip(alpha - rate slope), in [0, 1]. The slope is that of their
    cross-entropy U by alpha: - grad U . grad(G - CE), with G and CE of the rest of the batch. `released` has in its
    place the mean of H grad U over the model's first tensor of weights, H the Hessian of their own loss, and stays in
    [0.05, 0.95].

    Source: LFM (NeurIPS 2024); that t counts epochs and that more than two modalities take all pairs is INFERRED. So
    is the slope: the paper's has the inverse of a Hessian, for which the identity stands here.
    `released` aligns by reverse_js, fitted, and its loss is twice as large.
    """

    record: ClassVar[Record] = Record(
        paper="LFM, NeurIPS 2024",
        families=("loss",),
        extra="B^2 cosines a pair",
        reported={"CREMA-D": 83.62, "KS": 72.53, "VGGSound": 52.74},
        benchmark={"CREMA-D": 70.02, "KS": 66.37, "VGGSound": 47.45},
    )
    grid: ClassVar[Mapping[str, tuple[object, ...]]] = {"schedule": ("heuristic", "fitted", "learned")}
    variant: Literal["published", "released"] = "published"
    schedule: Literal["heuristic", "fitted", "learned", "constant"] | None = None
    """How alpha changes; where left out `heuristic`, in `released` `fitted`."""
    alignment: Literal["infonce", "reverse_js"] | None = None
    """What aligns the modalities; where left out `infonce`, in `released` `reverse_js`."""
    temperature: Annotated[float, Field(gt=0)] = 0.5
    """Of the cosines, tau."""
    weight: Annotated[float, Field(ge=0, le=1)] = 0.5
    """alpha of `schedule: constant`."""
    epochs: Annotated[int, Field(ge=1)] = 10
    """Epochs of the training, over which the 200 of the released scripts are spread; what they gave last stays."""
    start: Annotated[float, Field(ge=0, le=1)] = 0.95
    """alpha that `schedule: learned` begins with."""
    rate: Annotated[float, Field(gt=0)] | None = None
    """Learning rate of alpha; where left out 0.5, in `released` 1e-4. There it is halved each tenth of `epochs`."""
    held_back: Annotated[int, Field(ge=0)] = 8
    """Training samples that alpha alone learns from; without any it stays at `start`."""

    def prepare(self, model: "MultimodalModel") -> None:
        """The mean of the logits in place of the fusion, and features of one width where they are compared."""
        from bss.training.methods._heads import widen

        mean_of_logits(model)
        if self._aligns_features:
            widen(model)

    def begin_epoch(
        self,
        trainer: "Trainer",
        epoch: int,
        evidence: "Callable[[], Evidence]",
        validation: "Callable[[], Evidence]",
    ) -> None:
        """Begin `learned`: `memory` has "alpha" () and what is held back for it.

        Raises:
            InputError: a batch has no room for that, or the weights are spread over the ranks.
        """
        import torch

        from bss.training.methods._bilevel import hold_back

        if self.schedule == "learned" and epoch == 0:
            trainer.memory["alpha"] = torch.tensor(self.start, dtype=torch.float64, device=trainer.runtime.device)
            if self.held_back:
                hold_back(trainer, self.held_back, len(evidence().labels))

    def order(self, sequence: np.ndarray, memory: "Mapping[str, Tensor]") -> Order:
        """The scheduler's, after what is held back."""
        from bss.training.methods._bilevel import held_back_first

        return Order(held_back_first(sequence, memory))

    def step(self, trainer: "Trainer", batch: "Batch") -> "tuple[Outputs, Tensor]":
        """One update by the two losses, as alpha weighs them; before it one of alpha, where the batch is for it."""
        from bss.training.methods._bilevel import held_back_rows

        held = held_back_rows(batch, trainer.memory)
        if held is not None:
            self._learn(trainer, batch, held)
        rows = slice(None) if held is None else ~held
        outputs = trainer.forward(batch.inputs)
        alpha = float(trainer.memory["alpha"]) if self.schedule == "learned" else self.alpha(trainer.epoch)
        loss = (1 - alpha) * self._classification(outputs, batch, rows)
        if alpha:
            loss = loss + alpha * self._gap(trainer, outputs, rows)
        return self.descend(trainer, batch, outputs, 2 * loss if self.variant == "released" else loss)

    def alpha(self, epoch: int) -> float:
        """The weight of the gap, in [0, 1], where it is not learned.

        Args:
            epoch: from 0.
        """
        schedule = self.schedule or ("fitted" if self.variant == "released" else "heuristic")
        if schedule == "constant":
            return self.weight
        if schedule == "heuristic":
            return 1 - exp(-1 / (epoch + 1))
        e = self._fitted(epoch)
        return 1.0 - sum(coefficient * e**power for power, coefficient in enumerate(POLYNOMIAL))

    def alpha_rate(self, epoch: int) -> float:
        """The learning rate of a learned alpha.

        Args:
            epoch: from 0.
        """
        if self.variant == "published":
            return 0.5 if self.rate is None else self.rate
        halvings = int(self._fitted(epoch) // HALVED_EPOCHS)
        return (1e-4 if self.rate is None else self.rate) * 0.5**halvings

    def _learn(self, trainer: "Trainer", batch: "Batch", held: "Tensor") -> None:
        """A step of alpha; none where the slope is not finite, as that of a saturated softmax may be."""
        import torch

        from bss.training.methods._bilevel import clean_outputs, mean_curvature, slope_after_a_step

        alpha = trainer.memory["alpha"]
        outputs = clean_outputs(trainer, batch.inputs)
        upper = self._classification(outputs, batch, held)
        if self.variant == "released":
            lower = (1 - float(alpha)) * upper + float(alpha) * self._gap(trainer, outputs, held)
            slope = mean_curvature(trainer, upper, lower)
        else:
            towards = self._gap(trainer, outputs, ~held) - self._classification(outputs, batch, ~held)
            slope = slope_after_a_step(trainer, upper, towards)
        if isfinite(slope):
            moved = alpha - self.alpha_rate(trainer.epoch) * slope
            trainer.memory["alpha"] = torch.clamp(moved, *RANGES[self.variant])

    def _classification(self, outputs: "Outputs", batch: "Batch", rows: "slice | Tensor") -> "Tensor":
        """The cross-entropy of the mean of the logits over some rows of the batch."""
        from bss.training.losses import cross_entropy

        return cross_entropy(outputs.logits[FUSED][rows], batch.labels[rows])

    def _gap(self, trainer: "Trainer", outputs: "Outputs", rows: "slice | Tensor") -> "Tensor":
        """G over some rows of the batch."""
        features = {name: trainer.whole(values).float()[rows] for name, values in outputs.features.items()}
        there = {name: values.detach().any(dim=1) for name, values in features.items()}
        if self._aligns_features:
            return partner_loss(features, there, self.temperature)
        return divergence_from_mean({name: outputs.logits[name][rows] for name in features}, there)

    def _fitted(self, epoch: int) -> float:
        """Which of the 200 epochs of the released script an epoch stands for."""
        return min(epoch * FITTED_EPOCHS / self.epochs, FITTED_EPOCHS - 1)

    @property
    def _aligns_features(self) -> bool:
        if self.schedule == "constant" and self.weight == 0:
            return False
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
