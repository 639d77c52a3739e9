"""Data remixing: each sample trains the modality that is least sure of it, in batches of that modality alone."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Annotated, ClassVar

import numpy as np
from pydantic import Field

from bss.training.methods.joint import Joint
from bss.training.methods.method import Order, Record
from bss.types import FUSED

if TYPE_CHECKING:
    from torch import Tensor

    from bss.measure.evidence import Evidence
    from bss.model import Outputs
    from bss.training.loader import Batch
    from bss.training.trainer import Trainer


class DataRemixing(Joint):
    """Joint training until `starts`; from then on a sample shows one modality an epoch, all others being hidden.

    That is the one with the smallest KL(p_m || uniform) = log C + sum_c p_mc log p_mc before the epoch, of those that
    the sample has. First come all samples of the last modality of the data set, then those of the one before, and so
    on, each group in the scheduler's order; no batch crosses from one to the next, but for a single sample that would
    be alone. A sample's loss is fused_weight CE(fused) + own_weight CE(its modality), in the mean over the batch.

    No sample is seen whole then: online scores are of the clean pass before each epoch.

    Source: Ma et al. (ICML 2025) and its released code, which takes video before audio and gives ties to video.
    """

    record: ClassVar[Record] = Record(
        paper="Data Remixing, ICML 2025", families=("data",), extra="none; a pass an epoch"
    )
    grid: ClassVar[Mapping[str, tuple[object, ...]]] = {"starts": (2, 5)}
    weights_of_heads: ClassVar[tuple[str, ...]] = ("unimodal_weight", "own_weight")
    unimodal_weight: Annotated[float, Field(ge=0)] = 0.5
    """Weight of every modality's loss in joint training."""
    own_weight: Annotated[float, Field(ge=0)] = 1.0
    """Weight of the loss of the one modality that is shown, from `starts` on."""
    starts: Annotated[int, Field(ge=0)] = 2
    """First epoch that is remixed, from 0; those before are joint training, without which noise would sort."""

    def begin_epoch(
        self,
        trainer: "Trainer",
        epoch: int,
        evidence: "Callable[[], Evidence]",
        validation: "Callable[[], Evidence]",
    ) -> None:
        """Give each sample to a modality: `memory` has modality -> (N,), bool, in the order of training."""
        import torch

        if epoch < self.starts:
            return
        clean = evidence()
        features, names = clean.needed_features(self.name), clean.modalities[::-1]
        log_p = torch.stack([clean.logits[name].double().log_softmax(dim=1) for name in names])
        certainty = (log_p.exp() * log_p).sum(dim=2)  # log C is the same for all
        certainty[~torch.stack([features[name].any(dim=1) for name in names])] = torch.inf
        least = certainty.argmin(dim=0).to(trainer.runtime.device)
        trainer.memory.update({name: least == place for place, name in enumerate(names)})

    def order(self, sequence: np.ndarray, memory: "Mapping[str, Tensor]") -> Order:
        """One group of samples after the other."""
        if not memory:
            return Order(sequence)
        groups = [sequence[members.cpu().numpy()[sequence]] for members in memory.values()]
        sizes = [len(group) for group in groups]
        shown = np.repeat(np.arange(len(groups)), sizes)
        hidden = {name: shown != place for place, name in enumerate(memory)}
        return Order(np.concatenate(groups), hidden, np.cumsum(sizes)[:-1].tolist())

    def step(self, trainer: "Trainer", batch: "Batch") -> "tuple[Outputs, Tensor]":
        """Train the fusion and the modality that is shown."""
        import torch

        from bss.training.losses import cross_entropy

        if not batch.hidden:
            return super().step(trainer, batch)
        outputs = trainer.forward(batch.inputs)
        # What is hidden has zeros as its logits, so that the sum over the modalities is what the shown one says.
        shown = torch.stack([outputs.logits[name] for name in batch.hidden]).sum(dim=0)
        fused = cross_entropy(outputs.logits[FUSED], batch.labels)
        loss = self.fused_weight * fused + self.own_weight * cross_entropy(shown, batch.labels)
        trainer.backward(loss)
        trainer.update()
        return outputs, loss
