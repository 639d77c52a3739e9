"""MMPareto: each encoder steps where neither the fusion's loss nor its own grows."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import Field

from bss.training.methods.method import Method, Record
from bss.types import FUSED

if TYPE_CHECKING:
    from torch import Tensor, nn

    from bss.model import Outputs
    from bss.training.loader import Batch
    from bss.training.trainer import Trainer


class MMPareto(Method):
    """The encoder of modality m follows h = 2 k g_fused + 2 (1 - k) g_m of the gradients of two losses.

    Where they agree, g_fused . g_m >= 0, k is 1/2; else k gives the shortest k g_fused + (1 - k) g_m, which is
    k = (|g_m|^2 - g_fused . g_m) / |g_fused - g_m|^2. Where h is shorter than the plain sum g_fused + g_m it is
    brought to its length, and in every case it is scaled by gamma. Heads and fusion follow the sum of all losses.
    Each encoder weighs its own two gradients, however many modalities there are.

    The evidence is that of the step's one forward pass. Source: MMPareto (ICML 2024), and its released code.
    `published` compares the lengths over a whole encoder, `released` weight by weight; and at a product of exactly 0
    the code takes the shortest combination, where the paper's case could not be seen.
    """

    record: ClassVar[Record] = Record(
        paper="MMPareto, ICML 2024",
        families=("gradient",),
        extra="about one more backward pass",
        benchmark={"CREMA-D": 79.97, "KS": 74.55, "VGGSound": 49.35},
    )
    grid: ClassVar[Mapping[str, tuple[object, ...]]] = {"gamma": (1.0, 1.5)}
    strategies: ClassVar[tuple[str, ...]] = ("ddp",)
    variant: Literal["published", "released"] = "published"
    gamma: Annotated[float, Field(gt=0)] = 1.5
    """Scale of the encoders' gradients."""

    def step(self, trainer: "Trainer", batch: "Batch") -> "tuple[Outputs, Tensor]":
        """One step along the combined gradients of the losses."""
        import torch

        from bss.training.losses import cross_entropy

        def trained(part: "nn.Module") -> "list[nn.Parameter]":
            return [weight for weight in part.parameters() if weight.requires_grad]

        outputs = trainer.forward(batch.inputs, apart=True)
        losses = {output: cross_entropy(logits, batch.labels) for output, logits in outputs.logits.items()}
        weights = trained(trainer.model)
        followed = dict(zip(weights, trainer.gradients(losses[FUSED], weights), strict=True))
        for name in trainer.model.branches:
            branch = trainer.model.branch(name)
            encoder, head = trained(branch.encoder), trained(branch.head)
            unimodal = trainer.gradients(losses[name], [*encoder, *head])
            mixed = self.combined([followed[weight] for weight in encoder], unimodal[: len(encoder)])
            followed |= zip(encoder, mixed, strict=True)
            followed |= {
                weight: followed[weight] + g for weight, g in zip(head, unimodal[len(encoder) :], strict=True)
            }
        for weight, gradient in followed.items():
            weight.grad = gradient
        trainer.update()
        return outputs, torch.stack(list(losses.values())).sum()

    def combined(self, fused: "list[Tensor]", unimodal: "list[Tensor]") -> "list[Tensor]":
        """The gradient that an encoder follows, weight by weight.

        Args:
            fused: gradient of the fused loss, weight by weight.
            unimodal: gradient of the modality's own loss, likewise.
        """
        import torch

        if not unimodal:
            return []
        sizes = [gradient.numel() for gradient in fused]

        def stretched(values: "Tensor", plain: "Tensor") -> "Tensor":
            length, wanted = values.norm(), plain.norm()
            factor = torch.where((wanted > length) & (length > 0), wanted / length, 1.0)
            return self.gamma * factor * values

        # As one vector each: sums weight by weight take longer than the backward pass of a small encoder.
        first, second = (torch.cat([gradient.flatten() for gradient in several]) for several in (fused, unimodal))
        product, square = (first * second).sum(), (second * second).sum()
        apart = (first * first).sum() + square - 2 * product
        # Where the gradients agree, or both are 0, the fraction may be 0 / 0, and is not taken.
        agree = (product > 0) | (apart == 0) if self.variant == "released" else product >= 0
        k = torch.where(agree, 0.5, (square - product) / apart)
        if self.variant == "released":  # the solver's bounds, which leave a direction where one gradient is 0
            k = k.clamp(0.001, 0.999)
        mixed, plain = 2 * (k * first + (1 - k) * second), first + second
        if self.variant == "released":
            parts = [
                stretched(h, g) for h, g in zip(torch.split(mixed, sizes), torch.split(plain, sizes), strict=True)
            ]
        else:
            parts = list(torch.split(stretched(mixed, plain), sizes))
        return [part.view_as(gradient) for part, gradient in zip(parts, fused, strict=True)]
