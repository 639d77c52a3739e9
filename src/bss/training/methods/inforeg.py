"""InfoReg: while an encoder still gains information fast, that of the modality that leads is held near its start."""

from collections.abc import Callable, Mapping
from math import exp, tanh
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import Field

from bss.errors import InputError
from bss.registry import Count
from bss.training.methods.joint import Joint
from bss.training.methods.method import Record

if TYPE_CHECKING:
    from torch import Tensor

    from bss.measure.evidence import Evidence
    from bss.model import MultimodalModel, Outputs
    from bss.training.loader import Batch
    from bss.training.trainer import Trainer

OTHERS = 0.1 / 0.95
"""Strength of the other modalities than the first in `released`, where that of the first is 1."""


class InfoReg(Joint):
    """The gradients of the encoder of a modality that leads get beta (theta - theta_0), in its prime learning window.

    theta_0 are its weights before the epoch. With s_m the sum over the batch of the true class's probability by
    modality m's part of the fusion (`_contribution`), and gap_m what s_m is above the mean of the others,

        beta_m = strength exp(tanh(gap_m)) where gap_m > 0, else 0.

    Tr is an epoch's sum, over batches and over the encoder's weights of two axes or more, of the mean squared
    gradient: the trace of its Fisher information. A is the mean of the last `window` traces, zeros before the first,
    and A' that of an epoch before. The window is open in the first epoch, and later while (A - A') / A > closes.

    Source: InfoReg (CVPR 2025) by its code, which has two modalities; several are inferred. `published` has one
    strength and a trace of each modality's own. `released`: the first modality's trace opens the window for all, the
    others have 0.1 / 0.95 of its strength, a trace has the pull in it, and the parts are the modalities' logits, of
    which the fusion is the sum.
    """

    record: ClassVar[Record] = Record(
        paper="InfoReg, CVPR 2025", families=("gradient",), extra="M + 1 passes of the fusion"
    )
    grid: ClassVar[Mapping[str, tuple[object, ...]]] = {"strength": (0.1, 0.3, 0.95)}
    strategies: ClassVar[tuple[str, ...]] = ("ddp",)
    variant: Literal["published", "released"] = "published"
    strength: Annotated[float, Field(ge=0)] = 0.95
    """How strongly the encoder is held, beta_0; 0 holds nothing."""
    window: Count = 4
    """Epochs that the trace is averaged over."""
    closes: float = 0.05
    """Relative growth of the mean trace at which an encoder's window closes."""

    def prepare(self, model: "MultimodalModel") -> None:
        """In `released` the modalities' logits are the parts of the fused ones."""
        if self.variant == "released":
            model.fusion = None

    def begin_epoch(
        self,
        trainer: "Trainer",
        epoch: int,
        evidence: "Callable[[], Evidence]",
        validation: "Callable[[], Evidence]",
    ) -> None:
        """Keep the encoders as they are; `memory` has "traces" (M, window + 1), the newest last, and "trace" (M,)."""
        import torch

        if self.strength == 0:
            return
        if trainer.runtime.is_sharded:
            raise InputError(f"spread.strategy: {self.name} asks the fusion apart, which needs ddp, not fsdp")
        memory, names, device = trainer.memory, list(trainer.model.branches), trainer.runtime.device
        if epoch:
            memory["traces"] = torch.cat([memory["traces"][:, 1:], memory["trace"][:, None]], dim=1)
        else:
            memory["traces"] = torch.zeros(len(names), self.window + 1, dtype=torch.float64, device=device)
        memory["trace"] = torch.zeros(len(names), dtype=torch.float64, device=device)
        memory["open"] = self.open_windows(memory["traces"])
        for name in names:
            for part, weight in trainer.model.branch(name).encoder.named_parameters():
                memory[f"start of {name}.{part}"] = weight.detach().clone()

    def open_windows(self, traces: "Tensor") -> "Tensor":
        """Whether the window of each modality is open, (M,).

        Args:
            traces: of the last `window` + 1 epochs, (M, window + 1), the newest last; zeros before there was one.
        """
        import torch

        now, before = traces[:, 1:].mean(dim=1), traces[:, :-1].mean(dim=1)
        growth = (now - before) / now.where(now > 0, 1.0)
        is_open = (growth > self.closes) | ~traces.any(dim=1)
        return torch.full_like(is_open, bool(is_open[0])) if self.variant == "released" else is_open

    def on_gradients(self, trainer: "Trainer", outputs: "Outputs", batch: "Batch") -> None:
        """Add to the trace, and hold the encoders that lead."""
        if self.strength == 0:
            return
        names, memory = list(trainer.model.branches), trainer.memory
        if self.variant == "published":
            _add_traces(trainer)
        held = memory["open"].tolist()
        betas = self.betas(confidences(trainer, outputs, batch.labels)) if any(held) else [0.0] * len(names)
        for name, beta, is_open in zip(names, betas, held, strict=True):
            for part, weight in trainer.model.branch(name).encoder.named_parameters() if beta and is_open else ():
                if weight.grad is not None:
                    weight.grad.add_(weight.detach() - memory[f"start of {name}.{part}"], alpha=beta)
        if self.variant == "released":
            _add_traces(trainer)

    def betas(self, sure: "list[float]") -> "list[float]":
        """beta of each modality.

        Args:
            sure: s of each, sums over the batch.
        """
        found = []
        for place, own in enumerate(sure):
            gap = own - (sum(sure) - own) / (len(sure) - 1)
            share = OTHERS if self.variant == "released" and place else 1.0
            found.append(share * self.strength * exp(tanh(gap)) if gap > 0 else 0.0)
        return found


def _add_traces(trainer: "Trainer") -> None:
    """Add the mean squared gradients of a step to the epoch's "trace"."""
    for place, name in enumerate(trainer.model.branches):
        for weight in trainer.model.branch(name).encoder.parameters():
            if weight.grad is not None and weight.ndim > 1:
                trainer.memory["trace"][place] += weight.grad.double().square().mean()


def confidences(trainer: "Trainer", outputs: "Outputs", labels: "Tensor") -> "list[float]":
    """s of each modality: the sum of the true class's probabilities by its part, over the samples that have it."""
    from bss.training.methods._contribution import contributions

    names, features = list(trainer.model.branches), outputs.features
    parts = contributions(trainer, features) if trainer.model.fusion is not None else outputs.logits
    found = []
    for name in names:
        there = trainer.whole(features[name].detach().any(dim=1).float())
        sure = parts[name].detach().softmax(dim=1).gather(1, labels[:, None]).squeeze(1)
        found.append(float((sure * there).sum()))
    return found
