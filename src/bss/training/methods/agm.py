"""Adaptive gradient modulation: what the fused prediction owes to a modality has its gradient scaled."""

from collections.abc import Mapping
from itertools import combinations
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import Field

from bss.errors import InputError
from bss.training.methods.joint import Joint
from bss.training.methods.method import Record
from bss.types import FUSED

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from bss.model import MultimodalModel, Outputs
    from bss.training.loader import Batch
    from bss.training.trainer import Trainer

MOST = 4
"""Most modalities where the parts of a linear fusion do not do: the fusion is asked for all 2^M - 1 sets of them."""


class AGM(Joint):
    """The fused logits are split by modality, z = sum_m z_m, and the gradient that arrives at z_m is times kappa_m.

    z_m is the Shapley value of the fusion's logits, features of a modality that is away being zeros, and the logits
    of no modality 0; of a linear fusion that is W_m f_m + b / M. With s_m the batch mean of
    -log max(softmax(z_m)[y], 1e-8), and r_m = exp((mean of s - s_m) M / (M - 1)), which is large where m is ahead,

        kappa_m = exp(alpha min(r^_m - r_m, cap)),

    where r^_m is the same of the mean of s over all steps before. With `padding: inputs` a modality that is away has
    the features of an input of zeros, and a set that lacks one has the features of eval mode. Source: AGM (ICCV 2023)
    and its code, which has `padding: inputs`, and trains with the fused loss alone: `unimodal_weight: 0`.
    """

    record: ClassVar[Record] = Record(
        paper="AGM, ICCV 2023",
        families=("gradient",),
        extra="M + 1 passes of a linear fusion, else 2^M - 2",
        benchmark={"CREMA-D": 71.59, "KS": 66.62, "VGGSound": 49.06},
    )
    grid: ClassVar[Mapping[str, tuple[object, ...]]] = {"alpha": (0.1, 0.5, 1.0)}
    strategies: ClassVar[tuple[str, ...]] = ("ddp",)
    alpha: Annotated[float, Field(ge=0)] = 1.0
    """Strength of the modulation; 0 modulates nothing."""
    padding: Literal["features", "inputs"] = "features"
    """What is zeros of a modality that is away."""
    cap: Annotated[float, Field(gt=0, le=80)] = 10.0
    """Most that r may have fallen, so that kappa is a number."""
    clip: Annotated[float, Field(gt=0)] | None = 1.0
    """Norm that all gradients are clipped to where one of a weight of the fusion is above 1 in size; never where
    left out."""
    starts: Annotated[int, Field(ge=0)] = 0
    """First epoch that is modulated, from 0."""
    ends: Annotated[int, Field(ge=0)] | None = None
    """The epoch after the last one; all where left out."""

    def prepare(self, model: "MultimodalModel") -> None:
        """Refuse more modalities than a fusion can be asked for."""
        from torch import nn

        linear = isinstance(model.fusion, nn.Linear) and self.padding == "features"
        if not linear and len(model.branches) > MOST:
            raise InputError(
                f"agm asks a fusion that is not linear, and with padding: inputs any, for all sets of {MOST} "
                f"modalities at most; here are {len(model.branches)}. The fusion 'concat' with padding: features has "
                "no limit"
            )

    def step(self, trainer: "Trainer", batch: "Batch") -> "tuple[Outputs, Tensor]":
        """Joint's step, with the gradients of the fused loss modulated."""
        import torch

        if self.alpha == 0 or (self.ends is not None and trainer.epoch >= self.ends):
            return super().step(trainer, batch)
        outputs = trainer.forward(batch.inputs)
        if self.padding == "inputs":
            parts = split_by_sets(trainer, *padded(trainer, batch.inputs), outputs.logits[FUSED])
        else:
            parts = split(trainer, outputs.features, outputs.logits[FUSED])
        kappa = self.coefficients(trainer.memory, scores([*parts.values()], batch.labels))
        if trainer.epoch < self.starts:  # the mean is over all steps since the start
            return self.descend(trainer, batch, outputs, self.loss(outputs.logits, batch.labels))
        modulated = [
            factor * values + (1 - factor) * values.detach()
            for factor, values in zip(kappa.float(), parts.values(), strict=True)
        ]
        loss = self.loss({**outputs.logits, FUSED: torch.stack(modulated).sum(dim=0)}, batch.labels)
        return self.descend(trainer, batch, outputs, loss)

    def on_gradients(self, trainer: "Trainer", outputs: "Outputs", batch: "Batch") -> None:
        """Clip all gradients where one of the fusion's weights is large."""
        from torch.nn.utils import clip_grad_norm_

        if self.clip is None or trainer.model.fusion is None:
            return
        gradients = [weight.grad for weight in trainer.model.fusion.parameters() if weight.grad is not None]
        if any(float(gradient.abs().amax()) > 1 for gradient in gradients if gradient.ndim > 1):
            clip_grad_norm_(trainer.model.parameters(), self.clip)

    def coefficients(self, memory: "dict[str, Tensor]", current: "Tensor") -> "torch.Tensor":
        """kappa (M,), from the scores of a batch, which go into the running mean afterwards.

        Args:
            memory: `Trainer.memory`, with "scores" (M,) and "steps".
            current: s (M,), float64.
        """
        import torch

        mean = memory.get("scores", torch.zeros_like(current))
        steps = memory.get("steps", torch.zeros((), dtype=torch.int64, device=current.device)) + 1
        memory["scores"], memory["steps"] = mean + (current - mean) / steps, steps
        return (self.alpha * (leads(mean) - leads(current)).clamp(max=self.cap)).exp()


def leads(values: "Tensor") -> "torch.Tensor":
    """r (M,) of the scores s (M,): above 1 where a modality is ahead of the mean."""
    return ((values.mean() - values) * len(values) / (len(values) - 1)).exp()


def scores(parts: "list[Tensor]", labels: "Tensor") -> "torch.Tensor":
    """s (M,), float64: the mean of -log p[y], each at most -log 1e-8.

    Args:
        parts: the logits (B, C) of each modality.
        labels: (B,), int64.
    """
    import torch
    from torch.nn.functional import cross_entropy

    most = -torch.log(torch.tensor(1e-8, dtype=torch.float64)).item()
    each = [cross_entropy(values.detach().double(), labels, reduction="none") for values in parts]
    return torch.stack([values.clamp(max=most).mean() for values in each])


def padded(trainer: "Trainer", inputs: "Mapping[str, Tensor]") -> "tuple[dict[str, Tensor], dict[str, Tensor]]":
    """The features of the inputs and of inputs of zeros, both in eval mode: modality -> (rows of this rank, width).

    Zeros are those of normalised values. A sample that lacks a modality has features of zeros in both.

    Args:
        trainer: of the model.
        inputs: see `Batch`.
    """
    import torch

    from bss.measure.evidence import in_eval_mode
    from bss.types import PRESENT

    features, nothing = {}, {}
    with in_eval_mode(trainer.model.branches), trainer.runtime.autocast():
        for name in trainer.model.branches:
            branch, present = trainer.model.branch(name), inputs.get(f"{name}{PRESENT}")
            features[name], _ = branch(inputs[name], present)
            blank = branch.encode(torch.zeros_like(inputs[name], dtype=torch.float32))
            nothing[name] = blank if present is None else blank * present[:, None]
    return features, nothing


def split(trainer: "Trainer", features: "Mapping[str, Tensor]", fused: "Tensor") -> "dict[str, Tensor]":
    """Modality -> the part (B, C) of the fused logits that it brings; they add up to them.

    Args:
        trainer: whose model fuses.
        features: modality -> (rows of this rank, width).
        fused: the logits of all modalities, (B, C).
    """
    import torch
    from torch import nn

    nothing = {name: torch.zeros_like(values) for name, values in features.items()}
    if isinstance(trainer.model.fusion, nn.Linear):
        none = trainer.fuse(nothing) * (1 - 1 / len(features))
        return {name: trainer.fuse({**nothing, name: values}) - none for name, values in features.items()}
    return split_by_sets(trainer, features, nothing, fused)


def split_by_sets(
    trainer: "Trainer", features: "Mapping[str, Tensor]", nothing: "Mapping[str, Tensor]", fused: "Tensor"
) -> "dict[str, Tensor]":
    """As `split`, by Shapley values over all sets of modalities.

    Args:
        trainer: whose model fuses.
        features: modality -> (rows of this rank, width), where it is in a set that lacks another.
        nothing: the same where it is away.
        fused: the logits of all modalities, (B, C); those of none count as 0.
    """
    import torch

    from bss.measure.shapley import Subset, shapley_values

    values: dict[Subset, Tensor] = {frozenset(): torch.zeros_like(fused), frozenset(features): fused}
    for size in range(1, len(features)):
        for some in combinations(features, size):
            values[frozenset(some)] = trainer.fuse({**nothing, **{name: features[name] for name in some}})
    found = shapley_values(values)
    return {name: found[name].float() for name in features}
