"""From easy over medium to hard pairs, by soft weights of how far each is learned."""

from collections.abc import Mapping
from math import pi
from typing import TYPE_CHECKING, Annotated, Literal, Self

import numpy as np
from pydantic import Field, NonNegativeInt, model_validator

from bss.curriculum.order import COUNTS, DRAWS
from bss.curriculum.schedulers._measuring import Measuring
from bss.curriculum.shares import Shares
from bss.errors import InputError
from bss.measure.criteria.criterion import Criteria

if TYPE_CHECKING:
    from torch import Tensor

    from bss.measure.score import Extents

EASY, MEDIUM, HARD = 0, 1, 2
HALF = 0.5
OWN: tuple[str, ...] = ("confidence",)


class Progressive(Measuring):
    """N draws with replacement, in proportion to the weights F of VL-Cogito (2025), stage by stage.

    a is the moving average of the fused probability of the true class, taken as it is and rounded to 16ths, as if it
    were the share of 16 answers that are right. With S(a) = sin(pi a):

        stage     a = 0          0 < a <= 1/2   a > 1/2
        easy      0              S(a)           1
        medium    0              S(a)           S(a)
        hard      zero_weight    1              S(a)

    `published` draws by F. In the published reinforcement learning a prompt that is always right, or never, has no
    gradient; cross-entropy has one. `effective` draws by F(a) 2 sqrt(a (1 - a)), the share that a prompt has in the
    published update (inferred). Drawing by a weight and weighing the loss by it have the same mean gradient up to the
    mean of the weights; drawing keeps the size of a step. Where all weights are 0, all are drawn alike.

    With other criteria than `confidence` a is their balance score, scaled to [0, 1]: from balanced over middling to
    imbalanced.
    """

    criteria: Criteria = OWN
    variant: Literal["published", "effective"] = "published"
    """Draws by F; `effective`: by F(a) 2 sqrt(a (1 - a)), the share of a prompt in the published update."""
    beta: Annotated[float, Field(ge=0, le=1)] = 0.6
    """Weight of the fresh value: (1 - beta) old + beta fresh; inferred, as in BSS."""
    stage_epochs: Annotated[tuple[NonNegativeInt, NonNegativeInt], Field(strict=False)] = (3, 3)
    """Epochs of the stages easy and medium; hard goes on to the end. Their published length is not known."""
    zero_weight: Annotated[float, Field(ge=0, le=1)] = 0.25
    """Weight in the stage hard of what is never right."""
    quantum: Annotated[int, Field(ge=0)] = 16
    """Parts of 1 that a is rounded to; 0 rounds nothing."""
    floor: Annotated[float, Field(ge=0, le=1)] = 0.0
    """The least weight. Without one a pair of weight 0 is not seen again where training alone measures."""
    draw: Literal["multinomial", "systematic"] = "multinomial"
    """Independent draws, or evenly spaced ones with the least variance."""

    @model_validator(mode="after")
    def _what_is_not_drawn_is_seen_again(self) -> Self:
        if self.score_update == "online" and self.floor == 0:
            raise InputError(
                "score_update: online measures what is drawn alone, and a pair of weight 0 would never be seen "
                "again: set a floor such as 0.02, or take pass or mixed"
            )
        return self

    def scored(
        self,
        values: "Mapping[str, Tensor]",
        over: "Extents | None" = None,
        held_out: "Mapping[str, Tensor] | None" = None,
    ) -> "Tensor":
        """The confidence as it is; of other criteria the balance score."""
        if self.criteria != OWN:
            return super().scored(values, over)
        return values[OWN[0]].double()

    def stage(self, epoch: int) -> int:
        """0 easy, 1 medium, 2 hard; with `anti` the other way round."""
        number = int(np.searchsorted(np.cumsum(self.stage_epochs), epoch, side="right"))
        return HARD - number if self.anti else number

    def weights(self, scores: np.ndarray, stage: int, low: float = 0.0, high: float = 1.0) -> np.ndarray:
        """The weight (N,), float64, in [floor, 1], of each sample.

        Args:
            scores: (N,).
            stage: 0 easy, 1 medium, 2 hard.
            low: the score that counts as 0.
            high: the score that counts as 1.
        """
        a = ((scores.astype(np.float64) - low) / ((high - low) or 1.0)).clip(0, 1)
        if self.quantum:
            a = np.rint(a * self.quantum) / self.quantum
        soft = np.sin(pi * a).clip(0)
        weights = np.where(a > HALF, 1.0 if stage == EASY else soft, 1.0 if stage == HARD else soft)
        weights[a == 0] = self.zero_weight if stage == HARD else 0.0
        if self.variant == "effective":
            weights *= 2 * np.sqrt(a * (1 - a))
        return weights.clip(self.floor)

    def probabilities(self, scores: np.ndarray) -> np.ndarray:
        """The weights of the first epoch divided by their sum."""
        return self._probabilities(scores, 0)

    def indices(self, scores: np.ndarray, epoch: int, generator: np.random.Generator) -> np.ndarray:
        """N draws."""
        return DRAWS[self.draw](self._probabilities(scores, epoch), len(scores), generator)

    def share(self, scores: np.ndarray, epoch: int, shares: Shares) -> np.ndarray:
        """The draws of N that fall on this rank's share, divided as those of `learned`."""
        extent, stage = self._extent(scores, shares), self.stage(epoch)
        total = shares.ranks.each(self.weights(scores, stage, *extent).sum()).sum()
        return shares.draws(
            lambda part: self.weights(scores[part], stage, *extent) if total > 0 else np.ones(len(scores[part])),
            len(scores),
            COUNTS[self.draw],
        )

    def update(self, scores: np.ndarray, fresh: np.ndarray, num_measured: np.ndarray) -> np.ndarray:
        """The moving average."""
        return (1 - self.beta) * scores + self.beta * fresh

    def _probabilities(self, scores: np.ndarray, epoch: int) -> np.ndarray:
        weights = self.weights(scores, self.stage(epoch), *self._extent(scores))
        total = weights.sum()
        return weights / total if total > 0 else np.full(len(weights), 1 / len(weights))

    def _extent(self, scores: np.ndarray, shares: Shares | None = None) -> tuple[float, float]:
        """What counts as 0 and as 1: probabilities are taken as they are."""
        if self.criteria == OWN:
            return 0.0, 1.0
        low, high = float(scores.min()), float(scores.max())
        return (low, high) if shares is None else shares.ranks.extent(low, high)
