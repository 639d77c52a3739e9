"""CALM: one modality's probabilities of anchor classes are generated from another's."""

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from bss.errors import InputError
from bss.registry import Count, Name, Positive
from bss.training.objectives.objective import Objective

if TYPE_CHECKING:
    from torch import Tensor

    from bss.model import MultimodalModel, Outputs
    from bss.training.loader import Batch
    from bss.training.trainer import Trainer

LEARNED = "learned"


class CALM(Objective):
    """A task loss, and the alignment of modalities through their relations to anchors.

    With features f_m, linear maps A_m and K anchors P, Q_m = softmax(tau cos(A_m f_m, P)). For a pair s -> t an
    autoencoder of its own encodes Q_s as mu and sigma, draws z = mu + sigma eps, and decodes R = softmax(dec(z)):

        loss = task + weight * mean over pairs and samples of
            [ -sum_k Q_t,k log R_k + alpha / 2 sum (mu^2 + sigma^2 - log sigma^2 - 1) ].

    The task is joint's loss (`label`), or a symmetric contrastive loss of A_m f_m over all pairs of modalities
    (`contrast`), of which probing is what trains the heads. A pair leaves out the samples that lack one of the two.
    Source: CALM (CVPR 2025), of video and text with the features of CLIP; any other modalities, linear maps, learned
    anchors and the task `label` are inferred, and so are the hidden layers and the target without gradient.
    """

    anchors: Annotated[str, Field(min_length=1)] = LEARNED
    """`learned`, or a file .safetensors with `anchors` (K, width), the names of other classes as a text encoder has
    them; to each a learned vector is added."""
    num_anchors: Count = 64
    """K, of learned anchors; published are the 157 classes of Charades."""
    width: Count = 128
    """Of the space of learned anchors; published 512."""
    generated: Name | None = None
    """The modality that all others generate, published the text; None: every modality generates every other."""
    hidden: Count = 64
    """Width of the one layer between; 384 fits the published number of weights."""
    latent: Count = 32
    """Width of z; published 256."""
    tau: Positive = 1 / 0.07
    """Sharpness of Q."""
    alpha: Annotated[float, Field(ge=0)] = 0.1
    """Weight of the divergence of z from a standard normal."""
    weight: Annotated[float, Field(ge=0)] = 1.0
    """Weight of the generation; 0 with the task `label` is joint."""
    target: Literal["fixed", "free"] = "fixed"
    """Whether Q_t is a constant in the loss, or may flatten to be easier to generate."""
    task: Literal["label", "contrast"] = "label"
    """The task loss: the cross-entropy of the labels, or a contrastive loss without labels."""
    temperature: Positive = 0.07
    """Of the contrastive loss."""

    @property
    def trains_heads(self) -> bool:
        """The labels do."""
        return self.task == "label"

    def check_shapes(self, shapes: Mapping[str, tuple[int, ...]], words: Collection[str] = ()) -> None:
        """Refuse a generated modality that is not there."""
        if self.generated is not None and self.generated not in shapes:
            raise InputError(f"generated: '{self.generated}' is no modality (known: {', '.join(sorted(shapes))})")

    @property
    def _has_part(self) -> bool:
        return self.task == "contrast" or self.weight > 0

    def prepare(self, model: "MultimodalModel") -> None:
        """Maps, anchors and autoencoders beside the model."""
        if not self._has_part:
            return
        from bss.training.objectives._anchors import Relations, read_anchors
        from bss.training.objectives._part import attach

        widths = {name: model.branch(name).head.in_features for name in model.branches}
        fixed = None if self.anchors == LEARNED else read_anchors(Path(self.anchors))
        shape = (self.num_anchors, self.width) if fixed is None else (fixed.shape[0], fixed.shape[1])
        attach(model, Relations(widths, self._pairs(list(widths)), shape, fixed, self))

    def finish(self, model: "MultimodalModel") -> None:
        """The encoders stay, and the heads; the rest goes."""
        from bss.training.objectives._part import detach

        if self._has_part:
            detach(model)

    def step(self, trainer: "Trainer", batch: "Batch") -> "tuple[Outputs, Tensor]":
        """One update by the task and the generation; one pass of every encoder."""
        if not self._has_part:
            return super().step(trainer, batch)
        import torch

        from bss.training.objectives._anchors import EMBEDDED, LOSSES, NOISE, contrast, mean_over
        from bss.training.objectives._part import presence, without_part

        names = list(trainer.model.branches)
        pairs = self._pairs(names)
        generator, device = trainer.generator("noise of calm"), batch.labels.device
        noise = torch.randn(len(batch.labels), len(pairs), self.latent, generator=generator, device=device)
        outputs = trainer.forward({**batch.inputs, NOISE: trainer.own_rows(noise)})
        there = presence(trainer, batch)
        losses = trainer.whole(outputs.features[LOSSES].float())
        both = torch.stack([there[source] & there[target] for source, target in pairs], dim=1)
        generation = self.weight * mean_over(losses, both)
        if self.task == "label":
            task = self.loss(outputs.logits, batch.labels)
        else:
            embedded = {name: trainer.whole(outputs.features[f"{name}{EMBEDDED}"].float()) for name in names}
            task = contrast(embedded, there, self.temperature)
        return self.descend(trainer, batch, without_part(outputs), task + generation)

    def _pairs(self, names: list[str]) -> list[tuple[str, str]]:
        """(source, target), each modality that generates another."""
        targets = names if self.generated is None else [self.generated]
        return [(source, target) for target in targets for source in names if source != target]
