"""IPRM: features of two modalities are mixed on the sphere, by how far each is from what the mixture says."""

from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, cast

from pydantic import Field

from bss.training.methods.joint import Joint
from bss.training.methods.method import Record
from bss.types import FUSED

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from bss.model import MultimodalModel, Outputs
    from bss.training.loader import Batch
    from bss.training.trainer import Trainer

EDGE = 1e-6
"""By how much a cosine stays within -1 and 1, where the angle's gradient is not finite."""


class IPRM(Joint):
    """Each pair of modalities has a head on a mixture of their features, unit vectors at the angle theta,

        mix = sin(l theta) / sin(theta) x + sin((1 - l) theta) / sin(theta) y.

    Each step looks first, without gradient: l <- kept l + (1 - kept) l^ with the l^ of the step before, both one half
    at first; of the mixture by that l, KL_x = KL(p_x || p_mix) in the batch's mean, and the new
    l^ = KL_y / (KL_x + KL_y). Then it learns with l^: fused_weight CE of the mixtures, unimodal_weight CE of the
    modalities. The fused logits are the sum of the modalities' and the mean of the mixtures', by the last l. With
    `pairs: one` all pairs share a head, and a step takes one pair, drawn at random; the l of the others stays.

    Source: IPRM (IJCAI 2025) by its code, which has three modalities at most.
    """

    record: ClassVar[Record] = Record(
        paper="IPRM, IJCAI 2025", families=("fusion",), extra="heads twice, mixtures three times"
    )
    grid: ClassVar[Mapping[str, tuple[object, ...]]] = {"kept": (0.5, 0.8, 0.95)}
    strategies: ClassVar[tuple[str, ...]] = ("ddp",)
    weights_of_heads: ClassVar[tuple[str, ...]] = ("unimodal_weight",)
    kept: Annotated[float, Field(ge=0, le=1)] = 0.8
    """Share that l keeps from step to step; 1 mixes by half in the look ahead and in evaluation."""
    pairs: Literal["all", "one"] = "all"
    """Whether each pair of modalities has a head and a place in every step, or all share a head, and a step takes a
    random one; of two modalities there is one pair."""

    def prepare(self, model: "MultimodalModel") -> None:
        """The sum of all heads as the fusion."""
        import torch
        from torch import nn

        from bss.training.methods._late_fusion import LateFusion

        heads = {name: model.branch(name).head for name in model.branches}
        width, classes = max(head.in_features for head in heads.values()), next(iter(heads.values())).out_features
        pairs = list(combinations(heads, 2))
        number = len(pairs) if self.pairs == "all" else 1

        class Mixtures(nn.Module):
            """The heads of the pairs, and linear layers that bring narrower features to the width of the widest."""

            share: torch.Tensor
            newest: torch.Tensor

            def __init__(self) -> None:
                super().__init__()
                self.widened = nn.ModuleDict(
                    {
                        name: nn.Linear(head.in_features, width, bias=False)
                        for name, head in heads.items()
                        if head.in_features < width
                    }
                )
                self.mixed = nn.ModuleList([nn.Linear(width, classes) for _ in range(number)])
                self.register_buffer("share", torch.full((len(pairs),), 0.5))
                self.register_buffer("newest", torch.full((len(pairs),), 0.5))

            def mixtures(
                self, features: Mapping[str, torch.Tensor], shares: torch.Tensor, places: Sequence[int] | None = None
            ) -> torch.Tensor:
                """The logits (B, pairs, C), by the first ones' shares (pairs,); zeros where one is absent.

                Of all pairs, or of those at some places.
                """
                wide = {
                    name: self.widened[name](values).float() if name in self.widened else values.float()
                    for name, values in features.items()
                }
                found = []
                for place in range(len(pairs)) if places is None else places:
                    (one, other), share, head = pairs[place], shares[place], self.mixed[place % number]
                    there = features[one].any(dim=1) & features[other].any(dim=1)
                    found.append(head(slerp(wide[one], wide[other], share)) * there[:, None])
                return torch.stack(found, dim=1).float()

            def forward(
                self, logits: torch.Tensor, present: torch.Tensor, features: Mapping[str, torch.Tensor]
            ) -> torch.Tensor:
                mixed = self.mixtures(features, self.share)
                return logits.sum(dim=0) + mixed.sum(dim=1) / mixed.any(dim=2).sum(dim=1, keepdim=True).clamp(min=1)

        model.fusion = LateFusion(model, Mixtures())

    def step(self, trainer: "Trainer", batch: "Batch") -> "tuple[Outputs, Tensor]":
        """Look at the mixtures, then learn from those by the new shares."""
        import torch

        from bss.training.losses import cross_entropy
        from bss.training.methods._late_fusion import asked_apart

        rule = cast(Any, trainer.model.fusion).rule
        places = self._places(trainer)
        share, newest = rule.share.clone(), rule.newest.clone()
        rule.share[places] = self.kept * share[places] + (1 - self.kept) * newest[places]
        outputs = trainer.forward(batch.inputs)
        logits = [outputs.logits[name].detach() for name in trainer.model.branches]
        pairs = list(combinations(logits, 2))
        with torch.no_grad():
            seen = asked_apart(
                trainer, lambda features: rule.mixtures(features, rule.share, places), outputs.features
            )
        for place, mixed in zip(places, seen.unbind(dim=1), strict=True):
            newest[place] = new_share(*pairs[place], mixed)
        rule.newest = newest
        mixed = asked_apart(trainer, lambda features: rule.mixtures(features, newest, places), outputs.features)
        losses = [
            (cross_entropy(z, batch.labels, reduction="none") * z.any(dim=1)).mean() for z in mixed.unbind(dim=1)
        ]
        unimodal = {name: z for name, z in outputs.logits.items() if name != FUSED}
        loss = self.fused_weight * torch.stack(losses).sum() + self.loss(unimodal, batch.labels)
        return self.descend(trainer, batch, outputs, loss)

    def _places(self, trainer: "Trainer") -> list[int]:
        """Of the pairs that the step takes."""
        import torch

        number = len(cast(Any, trainer.model.fusion).rule.share)
        if self.pairs == "all":
            return list(range(number))
        generator = trainer.generator("pair")
        return [int(torch.randint(number, (), generator=generator, device=generator.device))]


def new_share(one: "Tensor", other: "Tensor", mixed: "Tensor") -> "torch.Tensor":
    """l^ of the first modality, in [0, 1]: large where the mixture says what it says, one half where both do.

    Args:
        one: logits of the first modality, (B, C).
        other: of the second one.
        mixed: of their mixture; zeros of a sample that lacks one, which does not count.
    """
    import torch
    from torch.nn.functional import kl_div

    logs = mixed.log_softmax(dim=1)
    first, second = (
        (kl_div(logs, z.log_softmax(dim=1), reduction="none", log_target=True).sum(dim=1) * mixed.any(dim=1)).mean()
        for z in (one, other)
    )
    total = first + second
    return torch.where(total > 0, second / total.where(total > 0, 1.0), 0.5).clamp(0, 1)


def slerp(one: "Tensor", other: "Tensor", share: "Tensor | float") -> "Tensor":
    """The mixture (B, width) of the directions of two features, on the arc between them.

    Args:
        one: (B, width).
        other: (B, width).
        share: of the first one, in [0, 1].
    """
    from bss.training.methods.mmcosine import unit

    one, other = unit(one), unit(other)
    angle = (one * other).sum(dim=1, keepdim=True).clamp(EDGE - 1, 1 - EDGE).acos()
    first, second = ((part * angle).sin() / angle.sin() for part in (share, 1 - share))
    mixture: Tensor = first * one + second * other
    return mixture
