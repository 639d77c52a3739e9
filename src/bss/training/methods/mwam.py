"""MWAM: a modality whose spectrum shows that the network prefers it weighs less in training."""

from collections.abc import Collection, Mapping
from math import exp
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Self

from pydantic import Field, model_validator

from bss.errors import InputError
from bss.training.methods.joint import Joint
from bss.training.methods.method import Record
from bss.types import FUSED, PRESENT

if TYPE_CHECKING:
    from torch import Tensor

    from bss.model import Outputs
    from bss.training.loader import Batch
    from bss.training.trainer import Trainer

DELTA = 1e-6
"""Added to both denominators."""
LEAST = 1e-12
"""Least size of a denominator, so that no ratio is infinite."""
BEFORE = 0.5
"""Weight of what the bank has before the batch."""
MAPS = (3, 4)
"""Axes of one sample that has spectra: channels, frames where there are some, height, width."""


class MWAM(Joint):
    """Joint training in which modality m counts K_m = alpha - beta / (1 + exp(-slope (T_m - gamma))).

    T_m = B_m / mean_n B_n, where B_m is a moving mean over the batches of the frequency ratio of m, see
    `frequency_ratios`: networks learn low frequencies first, so a modality with a large ratio is preferred, and gets
    a small K. A modality without a spectrum counts 1 and is left out of the mean.

    Source: MWAM (ICLR 2026), equations 2 and 6. `released` puts the batch's own ratio over the mean of the banks,
    starts each bank at half of its first ratio, and weighs gradients alone, with gamma 1 and slope 10.
    """

    record: ClassVar[Record] = Record(
        paper="MWAM, ICLR 2026", families=("loss", "gradient"), extra="a transform of the inputs"
    )
    grid: ClassVar[Mapping[str, tuple[object, ...]]] = {"modulates": ("gradients", "loss", "both")}
    example: ClassVar[Mapping[str, Any]] = {"patch": 4, "block": 1}
    variant: Literal["published", "released"] = "published"
    modulates: Literal["gradients", "loss", "both"] | None = None
    """What K weighs: the gradients of the encoder, the loss of the modality's own output, or both; where left out
    both, and `released` gradients."""
    alpha: Annotated[float, Field(gt=0)] = 1.5
    """K of a modality that is not preferred at all."""
    beta: Annotated[float, Field(ge=0)] = 1.0
    """What K loses in all; 0 gives every modality the same."""
    gamma: Annotated[float, Field(ge=0)] | None = None
    """T at which K has lost half of it; where left out 0.7, and `released` 1."""
    slope: Annotated[float, Field(ge=0)] | None = None
    """Steepness of K there, lambda; where left out 6, and `released` 10."""
    patch: Annotated[int, Field(ge=2)] = 8
    """Side of the squares that are transformed."""
    block: Annotated[int, Field(ge=1)] = 2
    """Side of the corners of a transformed square that count as low and as high."""

    @model_validator(mode="after")
    def _corners_and_weights_are_possible(self) -> Self:
        if 2 * self.block > self.patch:
            raise InputError(f"block is {self.block}, and two corners do not fit a patch of {self.patch}")
        if self.beta > self.alpha:
            raise InputError(f"beta is {self.beta}, above alpha, {self.alpha}: weights would be negative")
        return self

    def check_shapes(self, shapes: Mapping[str, tuple[int, ...]], words: Collection[str] = ()) -> None:
        """Refuse what has no two spectra to compare.

        Args:
            shapes: modality -> shape of one sample.
            words: as of the base.
        """
        if len(self._maps(shapes)) < 2:
            listed = ", ".join(f"{name} {shape}" for name, shape in shapes.items())
            raise InputError(
                f"mwam compares the spectra of two modalities or more: pictures, spectrograms or other maps "
                f"(channels, height, width) of at least {self.patch} x {self.patch} (its patch); here are {listed}"
            )

    def step(self, trainer: "Trainer", batch: "Batch") -> "tuple[Outputs, Tensor]":
        """Joint's step, weighted by modality."""
        import torch

        from bss.training.losses import cross_entropy

        weights = self._weights(trainer, batch)
        of_loss = {} if self._modulates == "gradients" else weights
        outputs = trainer.forward(batch.inputs)
        factors = {
            name: self.fused_weight if name == FUSED else self.unimodal_weight * of_loss.get(name, 1.0)
            for name in outputs.logits
        }
        losses = [factors[name] * cross_entropy(logits, batch.labels) for name, logits in outputs.logits.items()]
        loss = torch.stack(losses).sum()
        trainer.backward(loss)
        for name, factor in {} if self._modulates == "loss" else weights.items():
            for weight in trainer.model.branch(name).encoder.parameters():
                if weight.grad is not None:
                    weight.grad.mul_(factor)
        trainer.update()
        return outputs, loss

    def weights(self, ratios: Mapping[str, float], banks: Mapping[str, float]) -> dict[str, float]:
        """Modality -> K_m.

        Args:
            ratios: modality -> frequency ratio of the batch, at least 0; without those that no sample of it has.
            banks: modality -> moving mean of its ratio, at least 0.
        """
        gamma = self.gamma if self.gamma is not None else 1.0 if self.variant == "released" else 0.7
        slope = self.slope if self.slope is not None else 10.0 if self.variant == "released" else 6.0
        mean = sum(banks.values()) / len(banks) + DELTA
        own = {**banks, **ratios} if self.variant == "released" else banks
        # No exponent beyond 700: there the weight has reached its end.
        return {
            name: self.alpha - self.beta / (1 + exp(min(-slope * (value / mean - gamma), 700.0)))
            for name, value in own.items()
        }

    def _weights(self, trainer: "Trainer", batch: "Batch") -> dict[str, float]:
        """The weights of a batch, whose ratios go into the banks."""
        branches = {name: trainer.model.branch(name) for name in trainer.model.branches}
        shapes = {name: tuple(batch.inputs[name].shape[1:]) for name in branches}
        self.check_shapes(shapes)
        ratios: dict[str, float] = {}
        banks: dict[str, float] = {}
        for name in self._maps(shapes):
            values = (batch.inputs[name].float() - branches[name].mean) / branches[name].std
            each = trainer.whole(frequency_ratios(values, self.patch, self.block))
            if (present := batch.inputs.get(f"{name}{PRESENT}")) is not None:
                each = each[trainer.whole(present.float()) > 0]
            bank = trainer.memory.get(f"bank of {name}")
            if len(each):
                ratio = each.mean()
                start = BEFORE * ratio if self.variant == "released" else ratio
                bank = start if bank is None else BEFORE * bank + (1 - BEFORE) * ratio
                trainer.memory[f"bank of {name}"] = bank
                ratios[name] = float(ratio)
            if bank is not None:
                banks[name] = float(bank)
        return self.weights(ratios, banks) if banks else {}

    @property
    def _modulates(self) -> str:
        return self.modulates or ("gradients" if self.variant == "released" else "both")

    def _maps(self, shapes: Mapping[str, tuple[int, ...]]) -> list[str]:
        return [name for name, shape in shapes.items() if len(shape) in MAPS and min(shape[-2:]) >= self.patch]


def frequency_ratios(maps: "Tensor", patch: int, block: int) -> "Tensor":
    """By how much low frequencies outweigh high ones, (B,) float64, at least 0: the mean of |low / (high + 1e-6)|.

    Each channel is cut into squares, what is left at the right and below is dropped, and each square has an
    orthonormal discrete cosine transform. Low is the block of the lowest frequencies, high that of the highest,
    turned around, so that the lowest meets the highest.

    Args:
        maps: (B, ..., height, width), both at least `patch`.
        patch: side of a square.
        block: side of the corners that are compared.
    """
    import torch

    rows, columns = (side // patch for side in maps.shape[-2:])
    cropped = maps[..., : rows * patch, : columns * patch].double()
    squares = cropped.reshape(len(maps), -1, rows, patch, columns, patch)
    places = torch.arange(patch, dtype=torch.float64, device=maps.device)
    waves = (torch.pi / patch * places[:, None] * (places + 0.5)).cos() * (2 / patch) ** 0.5
    waves[0] /= 2**0.5
    ends = waves[:block], waves[-block:].flip(0)
    low, high = (torch.einsum("kp,bcrpsq,lq->bcrskl", side, squares, side) for side in ends)
    below = high + DELTA
    below = torch.where(below.abs() < LEAST, LEAST, below)
    return (low / below).abs().flatten(1).mean(dim=1)
