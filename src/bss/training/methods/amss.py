"""Adaptive mask subnetworks: of the encoder that knows most of the label the fewest rows of weights are updated."""

from collections.abc import Mapping
from math import ceil
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal, Self

from pydantic import Field, model_validator

from bss.errors import InputError
from bss.training.methods.joint import Joint
from bss.training.methods.method import Record

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from bss.model import Outputs
    from bss.training.loader import Batch
    from bss.training.trainer import Trainer


class AMSS(Joint):
    """Of each weight of modality m's encoder with n rows (a row makes one channel) ceil(n share_m) are updated.

    z_m are the logits that the fusion owes to m (see `_contribution`), H_y the entropy of the labels of the batch,
    H_m the mean entropy of the softmax over m's features. Then

        I_m = (H_y - CE(z_m) + 0.5) / H_m,    share_m = M / 2 softmax over m of (-I_m / temperature),

    within [least, most]; 1/2 for all where an I is not above 0. Rows are drawn without replacement by the shares pi
    of the squared gradient that they have; the gradients of the others are zero. With `plus` those that are kept are
    times 1 / (pi + 1/n). Biases and other vectors are updated whole.

    Source: AMSS and AMSS+ (TPAMI), by the code, which trains with the fused loss alone: `unimodal_weight: 0`. Several
    modalities, the batch's labels and rows of weights that are no convolutions are INFERRED. `released` masks
    convolutions alone, and its H_y is the cross-entropy of the label shares with their own softmax.
    """

    record: ClassVar[Record] = Record(
        paper="AMSS, TPAMI 2025",
        families=("gradient",),
        extra="M + 1 passes of the fusion",
    )
    strategies: ClassVar[tuple[str, ...]] = ("ddp",)
    grid: ClassVar[Mapping[str, tuple[object, ...]]] = {"plus": (False, True), "temperature": (0.1, 0.2, 0.5)}
    variant: Literal["published", "released"] = "published"
    plus: bool = False
    """Whether rows that are seldom drawn count more where they are: AMSS+."""
    temperature: Annotated[float, Field(gt=0)] = 0.2
    """Of the softmax over the modalities, T: the lower, the more the shares differ."""
    least: Annotated[float, Field(gt=0, le=1)] = 0.1
    """Least share of the rows that is updated."""
    most: Annotated[float, Field(gt=0, le=1)] = 0.9
    """Largest share; `least: 1` with `most: 1` is joint."""

    @model_validator(mode="after")
    def _least_is_not_above_most(self) -> Self:
        if self.least > self.most:
            raise InputError(f"least is {self.least}, above most ({self.most})")
        return self

    def on_gradients(self, trainer: "Trainer", outputs: "Outputs", batch: "Batch") -> None:
        """Set the gradients of the rows that are not drawn to zero."""
        from bss.training.methods._contribution import contributions

        if self.least == 1:
            return
        features = {name: trainer.whole(values.detach()) for name, values in outputs.features.items()}
        logits = contributions(trainer, outputs.features)
        known = {name: self.information(logits[name], features[name], batch.labels) for name in features}
        generator = trainer.generator("rows")
        for name, share in self.shares(known).items():
            for weight in trainer.model.branch(name).encoder.parameters():
                fits = weight.ndim == 4 if self.variant == "released" else weight.ndim > 1
                if fits and weight.grad is not None:
                    self.mask(weight.grad, share, generator)

    def information(self, logits: "Tensor", features: "Tensor", labels: "Tensor") -> float:
        """I of a modality, over the samples that have it; 0 where none has.

        Args:
            logits: z (B, C).
            features: (B, width), zeros where a sample lacks the modality.
            labels: (B,), int64.
        """
        import torch
        from torch.nn.functional import cross_entropy

        there = features.any(dim=1)
        if not there.any():
            return 0.0
        counts = torch.bincount(labels[there], minlength=logits.shape[1]).double()
        shares = counts / counts.sum()
        seen = shares.log_softmax(dim=0) if self.variant == "released" else shares.clamp(min=1e-300).log()
        of_labels = -(shares * seen).sum()
        p = features[there].double().softmax(dim=1)
        of_features = torch.special.entr(p).sum(dim=1).mean().clamp(min=1e-8)
        lost = cross_entropy(logits[there].double(), labels[there])
        return float((of_labels - lost + 0.5) / of_features)

    def shares(self, known: Mapping[str, float]) -> dict[str, float]:
        """Modality -> the share of its encoder's rows that is updated.

        Args:
            known: modality -> I.
        """
        import torch

        values = torch.tensor([*known.values()], dtype=torch.float64)
        if bool((values <= 0).any()):
            return dict.fromkeys(known, min(max(0.5, self.least), self.most))
        found = (-values / self.temperature).softmax(dim=0) * len(known) / 2
        return dict(zip(known, found.clamp(self.least, self.most).tolist(), strict=True))

    def mask(self, gradient: "Tensor", share: float, generator: "torch.Generator") -> None:
        """Set all but ceil(n share) rows of a gradient (n, ...) to zero, in place; one of zeros stays.

        Args:
            gradient: of a weight.
            share: of the rows that stay, in (0, 1].
            generator: of the draw.
        """
        import torch

        sizes = gradient.flatten(1).double().square().sum(dim=1)
        total, number = sizes.sum(), len(sizes)
        if total == 0:
            return
        pi = sizes / total
        # The largest of pi / Exp(1) are draws one after the other without replacement, rows of zero gradient last.
        waits = torch.empty_like(pi).exponential_(generator=generator)
        chosen = (pi / waits).topk(ceil(number * share)).indices
        factor = torch.zeros_like(pi)
        factor[chosen] = 1 / (pi[chosen] + 1 / number) if self.plus else 1.0
        gradient.mul_(factor.to(gradient.dtype).view(-1, *[1] * (gradient.ndim - 1)))
