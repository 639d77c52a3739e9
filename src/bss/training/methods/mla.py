"""Multimodal learning with alternating unimodal adaptation: the modalities take turns at one shared head."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar, Literal, Self, cast

import numpy as np
from pydantic import model_validator

from bss.errors import InputError
from bss.training.methods.method import Method, Record
from bss.types import FUSED

if TYPE_CHECKING:
    from torch import Tensor, nn

    from bss.model import MultimodalModel, Outputs
    from bss.training.loader import Batch
    from bss.training.trainer import Trainer


class MLA(Method):
    """Each step is one update a modality, in the model's order, with the cross-entropy of that modality alone.

    All modalities share one head with the weights W. So that a turn does not undo what the turns before it taught the
    head, its gradient is turned away from the features that the head has met: grad W <- grad W P^T, where P starts as
    the identity and each turn, with r the mean feature of the batch, first becomes

        k = P r;  P <- P - k k^T / (alpha + r . k);  P <- P / ||P||_F;  alpha = 0.1^(1 + part of the epoch done).

    The very first turn of a training leaves P and the gradient as they are, as the code does.

    Any number of modalities takes turns; features narrower than the widest are brought to its width by a linear layer
    without bias. The evidence is the logits that each modality gave in its own turn, and their sum as "fused".
    Source: MLA (CVPR 2024). `released` never projects: the code looks for the head's weights under a name
    that they do not have. The variants differ in `decide` too.
    """

    record: ClassVar[Record] = Record(
        paper="MLA, CVPR 2024",
        families=("schedule", "gradient", "fusion"),
        extra="M updates; a projection",
        benchmark={"CREMA-D": 72.3, "KS": 69.05, "VGGSound": 49.99},
    )
    variant: Literal["published", "released"] = "published"
    shared_head: bool = True
    """Whether the modalities share a head; with heads of their own nothing is projected, and each trains as in
    `unimodal`."""

    @model_validator(mode="after")
    def _there_is_something_to_project(self) -> Self:
        if self.variant == "published" and not self.shared_head:
            raise InputError("variant: published projects the gradient of the shared head; shared_head: false needs "
                             "variant: released")  # fmt: skip
        return self

    def prepare(self, model: "MultimodalModel") -> None:
        """One head for all modalities, and no fusion of features."""
        from bss.training.methods._heads import share_head

        model.fusion = None
        if self.shared_head:
            share_head(model)

    def step(self, trainer: "Trainer", batch: "Batch") -> "tuple[Outputs, Tensor]":
        """One update a modality; the sum of their losses."""
        import torch

        from bss.model import Outputs
        from bss.training.losses import cross_entropy

        logits, features = {}, {}
        losses = []
        for name in trainer.model.branches:
            outputs = trainer.forward(batch.of([name]))
            loss = cross_entropy(outputs.logits[name], batch.labels)
            trainer.backward(loss)
            if self.variant == "published":
                _project(trainer, trainer.model.branch(name).head, outputs.features[name])
            trainer.update()
            losses.append(loss.detach())
            logits[name], features[name] = outputs.logits[name].detach(), outputs.features[name].detach()
        logits[FUSED] = torch.stack([*logits.values()]).sum(dim=0)
        return Outputs(logits, features), torch.stack(losses).sum()

    def decide(self, probabilities: Mapping[str, np.ndarray], logits: Mapping[str, np.ndarray]) -> np.ndarray:
        """The softmax of the modalities' logits, weighted by exp(max H - H_m) over its sum over the modalities.

        `published`: H_m is the entropy of modality m's prediction of a sample, so each sample has weights of its own.
        `released`: the softmax runs over the samples instead of the classes, and H_m is the sum of the entropies of
        all classes: one weight a modality, which depends on the samples that are judged together (there a batch of
        64, here all that are given). The released default is a fixed half each; this is its `--dynamic`.
        """
        from scipy.special import softmax

        stacked = np.stack(list(probabilities.values()))
        tiny = np.finfo(stacked.dtype).tiny
        logs = np.log(stacked.clip(tiny))
        if self.variant == "published":
            entropies = -(stacked * logs).sum(axis=2, keepdims=True)
        else:
            over_samples = softmax(np.stack(list(logits.values())), axis=1)
            surprise = np.log(over_samples.clip(tiny))
            entropies = -(over_samples * surprise).sum(axis=(1, 2), keepdims=True)
        return np.asarray(softmax((softmax(-entropies, axis=0) * logs).sum(axis=0), axis=1))


def _project(trainer: "Trainer", head: "nn.Linear", features: "Tensor") -> None:
    """Take a turn's features into the projection, and project the gradient of the head's weights."""
    import torch

    r = trainer.whole(features.detach().float()).mean(dim=0)
    if (p := trainer.memory.get("projection")) is None:  # the first turn: the head has met no other features yet
        trainer.memory["projection"] = torch.eye(len(r), device=r.device)
        return
    k = p @ r
    p = p - torch.outer(k, k) / (0.1 ** (1 + trainer.progress) + r @ k)
    trainer.memory["projection"] = p = p / p.norm()
    gradient = cast("Tensor", head.weight.grad)
    # Where the weights are spread over ranks each holds some rows, and a row is projected by itself.
    rows = gradient.to_local() if hasattr(gradient, "to_local") else gradient
    rows.copy_(rows @ p.T)
