"""Modality-specific learning rates: each modality has its own, which follows its accuracy on validation."""

from collections.abc import Callable, Collection, Mapping
from statistics import geometric_mean
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import Field

from bss.errors import InputError
from bss.training.methods.method import Method, Record
from bss.types import FUSED

if TYPE_CHECKING:
    from torch import Tensor

    from bss.measure.evidence import Evidence
    from bss.model import MultimodalModel, Outputs
    from bss.training.loader import Batch
    from bss.training.trainer import Trainer


class MSLR(Method):
    """The cross-entropy of the sum of the modalities' logits, where encoder and head of modality m learn at the rate
    r_m lr, with r_m = rates[m] times accuracy now / mean of the last accuracies.

    The accuracies are those of m's logits on validation, one an epoch, the first before any training. Until there are
    `window` of them the quotient is 1; `strategy: keep` leaves it at 1. `smooth` does so too, and draws the rates
    together: r_m = rates[m]^(1 - smoothing) g^smoothing, with g the geometric mean of all.

    Source: MSLR (Findings of ACL 2022), of which the abstract could be read; the rule is that of AGM's code, which
    has no `smooth`: of that only the name is known, and what it does here is INFERRED. Its
    `released` form multiplies the gradients, of which adamw sees no constant factor; `published` multiplies what an
    update changes, which is a learning rate with every optimizer.
    """

    record: ClassVar[Record] = Record(
        paper="MSLR, ACL Findings 2022",
        families=("gradient",),
        extra="a copy of the weights; a pass of validation an epoch",
    )
    strategies: ClassVar[tuple[str, ...]] = ("ddp",)
    looks_at_validation: ClassVar[bool] = True
    grid: ClassVar[Mapping[str, tuple[object, ...]]] = {"strategy": ("keep", "dynamic"), "window": (3, 5)}
    variant: Literal["published", "released"] = "published"
    strategy: Literal["keep", "smooth", "dynamic"] = "dynamic"
    """Whether the rates stay, stay and are drawn together, or follow the accuracies."""
    rates: Mapping[str, Annotated[float, Field(gt=0)]] = {}
    """Modality -> factor on its learning rate; 1 where it is left out."""
    window: Annotated[int, Field(ge=1)] = 3
    """Number of accuracies whose mean the current one is compared with."""
    smoothing: Annotated[float, Field(ge=0, le=1)] = 0.5
    """Share of the common rate in those of `strategy: smooth`, on a logarithmic scale; with 1 all are alike."""

    def check_shapes(self, shapes: Mapping[str, tuple[int, ...]], words: Collection[str] = ()) -> None:
        """Refuse names that are no modalities."""
        for name in self.rates:
            if name not in shapes:
                raise InputError(f"rates: '{name}' is none of {', '.join(shapes)}")

    def prepare(self, model: "MultimodalModel") -> None:
        """The sum of the modalities' logits in place of the fusion."""
        model.fusion = None

    def begin_epoch(
        self,
        trainer: "Trainer",
        epoch: int,
        evidence: "Callable[[], Evidence]",
        validation: "Callable[[], Evidence]",
    ) -> None:
        """Renew the quotients: `memory` has "ratios" (M,), and the last "accuracies" (at most `window`, M)."""
        import torch

        from bss.training.methods._measured import accuracies

        if self.strategy != "dynamic":
            return
        now = accuracies(validation(), list(trainer.model.branches)).to(trainer.runtime.device)
        before = trainer.memory.get("accuracies", now.new_zeros((0, len(now))))
        trainer.memory["ratios"] = ratios(now, before) if len(before) == self.window else torch.ones_like(now)
        trainer.memory["accuracies"] = torch.cat([before, now[None]])[-self.window :]

    def step(self, trainer: "Trainer", batch: "Batch") -> "tuple[Outputs, Tensor]":
        """One update by the summed logits, of each modality at its own rate."""
        import torch

        scaled = self._factors(trainer) if self.variant == "published" else {}
        before = [
            (factor, weight, weight.detach().clone())
            for name, factor in scaled.items()
            for weight in (trainer.model.branch(name).parameters() if factor != 1 else ())
        ]
        done = super().step(trainer, batch)
        with torch.no_grad():
            for factor, weight, old in before:
                weight.copy_(old + factor * (weight - old))
        return done

    def loss(self, logits: Mapping[str, "Tensor"], labels: "Tensor") -> "Tensor":
        """The cross-entropy of the sum of the logits."""
        from bss.training.losses import cross_entropy

        return cross_entropy(logits[FUSED], labels)

    def on_gradients(self, trainer: "Trainer", outputs: "Outputs", batch: "Batch") -> None:
        """`released`: scale those of each modality."""
        for name, factor in self._factors(trainer).items() if self.variant == "released" else ():
            for weight in trainer.model.branch(name).parameters():
                if weight.grad is not None and factor != 1:
                    weight.grad.mul_(factor)

    def _factors(self, trainer: "Trainer") -> dict[str, float]:
        """Modality -> r."""
        names = list(trainer.model.branches)
        current = trainer.memory["ratios"].tolist() if "ratios" in trainer.memory else [1.0] * len(names)
        rates = {name: self.rates.get(name, 1.0) for name in names}
        if self.strategy == "smooth":
            rates = drawn_together(rates, self.smoothing)
        return {name: rate * ratio for (name, rate), ratio in zip(rates.items(), current, strict=True)}


def drawn_together(rates: Mapping[str, float], smoothing: float) -> dict[str, float]:
    """Modality -> its rate, by a share of the way to the geometric mean of all, on a logarithmic scale.

    Args:
        rates: modality -> rate, above 0.
        smoothing: that share, in [0, 1].
    """
    common = geometric_mean(rates.values())
    return {name: rate ** (1 - smoothing) * common**smoothing for name, rate in rates.items()}


def ratios(now: "Tensor", before: "Tensor") -> "Tensor":
    """Accuracy now by the mean of those before, (M,); 1 where that is 0, or no sample has the modality.

    Args:
        now: (M,), in [0, 1].
        before: (epochs, M).
    """
    mean = before.mean(dim=0)
    return (now / mean).where(mean > 0, 1.0).nan_to_num(1.0)
