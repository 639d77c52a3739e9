"""The balance score as an acquisition (ours, not published): from criteria that need no label."""

from typing import Literal

import numpy as np
from pydantic import Field, field_validator

from bss.curriculum.acquisitions.acquisition import Acquisition, Pool
from bss.curriculum.order import largest, softmax
from bss.errors import InputError
from bss.measure.criteria.criterion import CRITERIA, Criteria
from bss.registry import Positive


class Balance(Acquisition):
    """The pairs of the largest balance score, or of the smallest."""

    criteria: Criteria = ("prediction_similarity", "entropy", "expected_loss")
    """Of the score; none of them may need labels."""
    prefer: Literal["balanced", "imbalanced"] = "balanced"
    """Which end of the score is labelled first."""
    diversity: Literal["none", "kmeans"] = "none"
    """`kmeans`: k-means++ on the features, with squared distances times exp(score / temperature)."""
    temperature: Positive = Field(default=1.0)
    """Of `diversity: kmeans`."""

    @field_validator("criteria")
    @classmethod
    def _needs_no_labels(cls, criteria: tuple[str, ...]) -> tuple[str, ...]:
        if needing := [name for name in criteria if CRITERIA[name].needs_labels]:
            raise InputError(f"{needing[0]} needs labels, and the pairs that are asked for have none")
        return criteria

    def choose(self, pool: Pool, num: int, generator: np.random.Generator) -> np.ndarray:
        """The first of the score, or draws that lie apart."""
        from bss.curriculum.acquisitions._diversity import Points, k_means_plus_plus
        from bss.measure.score import balance_score

        scores = balance_score(pool.evidence, self.criteria).numpy()[pool.unlabelled]
        scores = scores if self.prefer == "balanced" else -scores
        if self.diversity == "none":
            return pool.asked(largest(scores, num))
        points = Points([pool.features(pool.unlabelled)])
        return pool.asked(k_means_plus_plus(points, num, generator, softmax(scores, self.temperature)))
