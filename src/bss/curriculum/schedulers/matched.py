"""Training samples drawn so that their scores look like those of held-out samples."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

import numpy as np
from pydantic import Field

from bss.curriculum.order import DRAWS, relative_rarity
from bss.curriculum.schedulers._measuring import Measuring

if TYPE_CHECKING:
    from torch import Tensor

    from bss.measure.score import Extents

LEAST = 1e-3
"""The least weight of one measurement, so that a later one can make up for it."""


class Matched(Measuring):
    """N draws in proportion to how much rarer scores as low as a sample's are among held-out samples.

    Of a measurement with F the cumulative distributions of the balance score, both in the extents of training,

        w(s) = min(1, F_held_out(s) / F_train(s))^power,

    made to rise with s: no sample weighs more than one with a higher score. A sample is drawn by the geometric mean
    of its weights over all measurements, the first one's included, but not less than `floor`. Where training and
    held-out samples are alike, as good or as bad, all weights are near 1 and the order is random; samples that are
    worse than held-out ones, such as damaged pairs, come less often. No other scheduler looks at held-out samples:
    it is the validation split here, which then is no longer unseen by training.

    Its scores are the means of log w over the measurements, in (-inf, 0]. With `anti` samples come less often that
    are more balanced than held-out ones. Source: of this project; no paper has it.
    """

    held_out: ClassVar[bool] = True
    power: Annotated[float, Field(ge=0)] = 2.0
    """How sharply it draws; 0 is random order."""
    floor: Annotated[float, Field(gt=0, le=1)] = 0.02
    """The least weight that a sample is drawn by."""
    draw: Literal["multinomial", "systematic"] = "systematic"
    """Independent draws, or evenly spaced ones with the least variance."""

    def scored(
        self,
        values: "Mapping[str, Tensor]",
        over: "Extents | None" = None,
        held_out: "Mapping[str, Tensor] | None" = None,
    ) -> "Tensor":
        """log w (N,), float64, of one measurement.

        Raises:
            ValueError: there are no held-out samples.
        """
        import torch

        from bss.measure.score import combined

        if not held_out or not len(next(iter(held_out.values()))):
            raise ValueError(
                f"the scheduler '{self.name}' compares with held-out samples, and none were observed; call "
                "`observe_held_out` with the model's logits before `end_epoch`"
            )
        extents = over or {name: (float(of_all.min()), float(of_all.max())) for name, of_all in values.items()}
        sign = -1 if self.anti else 1
        train, others = (sign * combined(part, extents).cpu().numpy() for part in (values, held_out))
        return torch.from_numpy(np.log(self.weights(train, others)))

    def weights(self, train: np.ndarray, held_out: np.ndarray) -> np.ndarray:
        """w (N,), in [0.001, 1], of one measurement.

        Args:
            train: scores (N,) of the training samples.
            held_out: scores (M,) of held-out samples, in the same scale.
        """
        return np.maximum(relative_rarity(train, held_out) ** self.power, LEAST)

    def probabilities(self, scores: np.ndarray) -> np.ndarray:
        """The weights divided by their sum, (N,)."""
        weights = np.maximum(np.exp(np.minimum(scores, 0)), self.floor)
        return np.asarray(weights / weights.sum())

    def indices(self, scores: np.ndarray, epoch: int, generator: np.random.Generator) -> np.ndarray:
        """N draws."""
        return DRAWS[self.draw](self.probabilities(scores), len(scores), generator)

    def update(self, scores: np.ndarray, fresh: np.ndarray, num_measured: np.ndarray) -> np.ndarray:
        """The mean of all measurements."""
        return np.asarray(scores + (fresh - scores) / (num_measured + 1))
