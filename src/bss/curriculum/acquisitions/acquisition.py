"""The contract of an acquisition: which pairs of a pool are labelled next."""

from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from bss.errors import InputError
from bss.registry import Component, Registry
from bss.seeds import generator
from bss.types import FUSED

if TYPE_CHECKING:
    from torch import Tensor

    from bss.measure.evidence import Evidence
    from bss.measure.shapley import Subset


@dataclass(frozen=True)
class Pool:
    """All training pairs, of which some are labelled, and what a model that was trained on those says of them."""

    evidence: "Evidence"
    """Of all N pairs. The label of a pair that is not labelled is a guess: what the fusion predicts."""
    is_labelled: np.ndarray
    """(N,), bool."""
    by_subset: "Callable[[], Mapping[Subset, Tensor]] | None" = None
    """Makes `confidences`; None where the model's fusion cannot be asked for sets of modalities."""

    @cached_property
    def unlabelled(self) -> NDArray[np.int64]:
        """The indices of the pairs that may be asked for, ascending, int64."""
        return np.flatnonzero(~self.is_labelled)

    def confidences(self) -> "Mapping[Subset, Tensor]":
        """Set of modalities -> the probability (N,) that the fusion gives its own prediction with those alone.

        The features of the others are zeros.

        Raises:
            InputError: the model has no fusion that can be asked so.
        """
        if self.by_subset is None:
            raise InputError("active.acquisitions: one asks a fusion of features, and the model has none")
        return self.by_subset()

    def asked(self, places: np.ndarray) -> NDArray[np.int64]:
        """The indices of unlabelled pairs, by their places among the unlabelled."""
        indices: NDArray[np.int64] = self.unlabelled[places]
        return indices

    def logits(self, output: str = FUSED) -> "Tensor":
        """Logits (U, C) of one output for the unlabelled pairs, float64."""
        import torch

        return self.evidence.logits[output][torch.from_numpy(self.unlabelled)].double()

    def features(
        self,
        rows: np.ndarray,
        modalities: Sequence[str] | None = None,
        scales: "Mapping[str, Tensor] | None" = None,
    ) -> "Tensor":
        """A copy of the features of modalities side by side, (len(rows), width of all), float32.

        Args:
            rows: indices of pairs.
            modalities: whose; all of them where left out.
            scales: modality -> a factor (N,) of its features.
        """
        import torch

        places = torch.from_numpy(rows)
        parts = []
        features = self.evidence.needed_features("an acquisition by distance")
        for name in modalities or self.evidence.modalities:
            part = features[name][places].flatten(1).float()
            parts.append(part.mul_(scales[name][places, None]) if scales else part)
        return torch.cat(parts, dim=1)


class Acquisition(Component):
    """From what a model says of a pool to the pairs that are labelled next; all chance comes from the generator."""

    @abstractmethod
    def choose(self, pool: Pool, num: int, generator: np.random.Generator) -> np.ndarray:
        """The indices (num,), int64, of different unlabelled pairs, in the order in which they were chosen.

        Args:
            pool: with at least `num` unlabelled pairs.
            num: at least 1.
            generator: of this round alone.
        """


def acquired(acquisition: Acquisition, pool: Pool, num: int, seed: int, round_number: int) -> np.ndarray:
    """The pairs that an acquisition asks for in a round, from that round's own generator.

    Raises:
        InputError: fewer pairs are left.
    """
    if num > len(pool.unlabelled):
        raise InputError(
            f"active.per_round: {num} labels are asked for in round {round_number}, and {len(pool.unlabelled)} of "
            f"{len(pool.is_labelled)} training pairs are left without one: fewer rounds, or fewer labels a round"
        )
    return acquisition.choose(pool, num, generator(seed, "acquisition", round_number))


ACQUISITIONS: Registry[Acquisition] = Registry("acquisition", "bss.curriculum.acquisitions", Acquisition)
