"""The most balanced part, which grows by a pacing that has to be chosen."""

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar

import numpy as np
from pydantic import BeforeValidator

from bss.curriculum.order import ranking
from bss.curriculum.pacing.pacing import PACINGS, Pacing
from bss.curriculum.schedulers.scheduler import Scheduler


class Dropped(Scheduler):
    """The first floor(N * pacing) samples of the ranking, shuffled; all from the third epoch on."""

    example: ClassVar[Mapping[str, Any]] = {"pacing": "linear"}

    pacing: Annotated[Pacing, BeforeValidator(PACINGS.build)]

    def fraction(self, epoch: int) -> float:
        """The pacing at progress epoch / 2."""
        return self.pacing(min(1.0, epoch / 2))

    def indices(self, scores: np.ndarray, epoch: int, generator: np.random.Generator) -> np.ndarray:
        """The samples in play."""
        return generator.permutation(ranking(scores, anti=self.anti)[: self.num_in_play(len(scores), epoch)])
