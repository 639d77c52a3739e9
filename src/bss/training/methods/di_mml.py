"""Detached and interactive learning: each modality alone, then a classifier of all on encoders that rest."""

from collections.abc import Callable, Mapping
from itertools import permutations
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from pydantic import Field

from bss.training.methods.method import Method, Record
from bss.types import FUSED, PRESENT

if TYPE_CHECKING:
    from torch import Tensor

    from bss.measure.evidence import Evidence
    from bss.model import MultimodalModel, Outputs
    from bss.training.loader import Batch
    from bss.training.trainer import Trainer

BY_SHARED = "_by_shared"
"""What the name of an output ends with that the shared classifier gives, in training alone."""


class DIMML(Method):
    """For `alone_epochs` no loss joins the modalities but a contrast. Then the fusion trains, and all else rests.

    In the first phase the loss is the sum over the modalities of CE by its own head and `shared_weight` CE by one
    classifier that all share and, from epoch `starts` on, `contrast_weight` times the contrast. A dimension of m's
    features is effective where the nearest mean of a class in it alone is right more often than in the mean one.
    For each ordered pair m, n the dimensions effective in m and not in n give the cross-entropy of a sample's own
    partner by f_n . f_m / temperature among those of the batch, where f_m has no gradient: n learns there from m.

    In the second phase heads and encoders rest in eval mode, and a concatenation of the features trains. "fused" in
    evaluation is the sum of the logits z_k of modalities and fusion by w = softmax over k of (max p_k / sharpness).

    Effective dimensions are measured once, before epoch `starts`, on the training split.

    Source: DI-MML (ACM MM 2024), by its code. Ordered pairs of several modalities are INFERRED.
    """

    record: ClassVar[Record] = Record(
        paper="DI-MML, ACM MM 2024",
        families=("loss", "schedule"),
        extra="B^2 products an ordered pair; a pass",
    )
    from_warmup: ClassVar[bool] = False
    strategies: ClassVar[tuple[str, ...]] = ("ddp",)
    grid: ClassVar[Mapping[str, tuple[object, ...]]] = {"temperature": (1.0, 10.0, 50.0)}
    example: ClassVar[Mapping[str, Any]] = {"alone_epochs": 2}
    alone_epochs: Annotated[int, Field(ge=1)] = 8
    """Epochs of the first phase; the rest is the second one."""
    starts: Annotated[int, Field(ge=0)] = 2
    """First epoch with the contrast, from 0."""
    shared_weight: Annotated[float, Field(ge=0)] = 1.0
    """Weight of the shared classifier's loss."""
    contrast_weight: Annotated[float, Field(ge=0)] = 1.0
    """Weight of the contrast; 0 with `shared_weight: 0` is unimodal in the first phase."""
    temperature: Annotated[float, Field(gt=0)] = 50.0
    """Of the dot products, T."""
    sharpness: Annotated[float, Field(gt=0)] = 1.0
    """Temperature of the weights of the prediction, T2: the lower, the more the surest output decides."""

    @property
    def least_epochs(self) -> int:
        """One of the fusion."""
        return self.alone_epochs + 1

    def prepare(self, model: "MultimodalModel") -> None:
        """Features of one width, a concatenation, a classifier that all share, and the weighted prediction."""
        from torch import nn

        self.prepare_exported(model)
        head = model.branch(next(iter(model.branches))).head
        model.shared = nn.Linear(head.in_features, head.out_features)
        model.register_forward_hook(_with_shared)

    def export(self, model: "MultimodalModel") -> None:
        """Leave the shared classifier out."""
        del model.shared

    def prepare_exported(self, model: "MultimodalModel") -> None:
        """Features of one width, a concatenation and the weighted prediction."""
        from bss.encoders.fusions.concat import Concat
        from bss.training.methods._heads import widen

        width = widen(model)
        num_classes = model.branch(next(iter(model.branches))).head.out_features
        model.fusion = Concat().build(dict.fromkeys(model.branches, width), num_classes)
        model.register_forward_hook(self._predict)

    def begin_epoch(
        self,
        trainer: "Trainer",
        epoch: int,
        evidence: "Callable[[], Evidence]",
        validation: "Callable[[], Evidence]",
    ) -> None:
        """Where the contrast starts, measure "effective in M" (width,), bool; the second phase has a new momentum."""
        if epoch == self.alone_epochs:
            trainer.forget_momentum()
        if epoch != self.starts or epoch >= self.alone_epochs or self.contrast_weight == 0:
            return
        clean = evidence()
        for name, features in clean.needed_features(self.name).items():
            there = features.any(dim=1)
            found = effective(features[there].float(), clean.labels[there], clean.logits[name].shape[1])
            trainer.memory[f"effective in {name}"] = found.to(trainer.runtime.device)

    def step(self, trainer: "Trainer", batch: "Batch") -> "tuple[Outputs, Tensor]":
        """One update of the modalities or, afterwards, of the fusion."""
        alone, names = trainer.epoch < self.alone_epochs, list(trainer.model.branches)
        if not alone:
            trainer.model.branches.eval()
        outputs = trainer.forward(batch.inputs)
        loss = self.loss(outputs.logits if alone else {FUSED: outputs.logits[FUSED]}, batch.labels)
        if alone and self.contrast_weight and trainer.epoch >= self.starts:
            features = {name: trainer.whole(values).float() for name, values in outputs.features.items()}
            marks = {name: trainer.memory[f"effective in {name}"] for name in names}
            loss = loss + self.contrast_weight * contrast(features, marks, self.temperature)
        kept = outputs._replace(logits={name: outputs.logits[name] for name in (*names, FUSED)})
        return self.descend(trainer, batch, kept, loss)

    def loss(self, logits: Mapping[str, "Tensor"], labels: "Tensor") -> "Tensor":
        """The cross-entropies of the first phase, or that of the fusion where it is given alone."""
        import torch

        from bss.training.losses import cross_entropy

        weights = {name: self.shared_weight if name.endswith(BY_SHARED) else 1.0 for name in logits}
        trained = [name for name in logits if len(logits) == 1 or (name != FUSED and weights[name])]
        return torch.stack([weights[name] * cross_entropy(logits[name], labels) for name in trained]).sum()

    def on_gradients(self, trainer: "Trainer", outputs: "Outputs", batch: "Batch") -> None:
        """Drop those of heads and encoders in the second phase."""
        for weight in trainer.model.branches.parameters() if trainer.epoch >= self.alone_epochs else ():
            weight.grad = None

    def _predict(self, model: "MultimodalModel", arguments: Any, outputs: "Outputs") -> "Outputs":
        """The weighted sum of the logits as "fused", in eval mode."""
        if model.training or FUSED not in outputs.logits:
            return outputs
        return outputs._replace(logits={**outputs.logits, FUSED: weighted_sum(outputs.logits, self.sharpness)})


def weighted_sum(logits: Mapping[str, "Tensor"], sharpness: float) -> "Tensor":
    """The sum of the logits (B, C) by the softmax over the outputs of their largest probability / sharpness.

    Args:
        logits: output -> (B, C).
        sharpness: T2.
    """
    import torch

    stacked = torch.stack([values.float() for values in logits.values()])
    sure = stacked.softmax(dim=2).amax(dim=2, keepdim=True)
    return ((sure / sharpness).softmax(dim=0) * stacked).sum(dim=0)


def effective(features: "Tensor", labels: "Tensor", num_classes: int) -> "Tensor":
    """Which dimensions tell the classes better than the mean dimension, (width,), bool.

    Args:
        features: (N, width).
        labels: (N,), int64.
        num_classes: C.
    """
    import torch

    from bss.training.methods.pmr import class_means

    means, has = class_means(features, labels, num_classes)
    nearest = torch.full_like(features, float("inf"))
    found = torch.zeros(features.shape, dtype=torch.int64, device=features.device)
    for k in has.nonzero().flatten().tolist():
        distance = (features - means[k]).abs()
        found[distance < nearest] = k
        nearest = torch.minimum(nearest, distance)
    hits = (found == labels[:, None]).sum(dim=0)
    return hits * len(hits) > hits.sum()


def contrast(features: Mapping[str, "Tensor"], marks: Mapping[str, "Tensor"], temperature: float) -> "Tensor":
    """The sum over the ordered pairs m, n of what n learns from m, a scalar in nats.

    Args:
        features: modality -> (B, width), zeros where a sample lacks it; a pair takes the samples that have both.
        marks: modality -> (width,), bool, which dimensions are effective.
        temperature: T.
    """
    import torch
    from torch.nn.functional import cross_entropy

    losses = [torch.zeros((), device=values.device) for values in features.values()][:1]
    for m, n in permutations(features, 2):
        rows, dims = features[m].any(dim=1) & features[n].any(dim=1), marks[m] & ~marks[n]
        if rows.any() and dims.any():
            teacher, learner = features[m].detach()[rows][:, dims], features[n][rows][:, dims]
            # Of torch: the labels are places in the batch, which no class weighs.
            losses.append(
                cross_entropy(learner @ teacher.T / temperature, torch.arange(len(teacher), device=teacher.device))
            )
    return torch.stack(losses).sum()


def _with_shared(model: "MultimodalModel", arguments: Any, outputs: "Outputs") -> "Outputs":
    """What the shared classifier says of each modality, in train mode."""
    if not model.training:
        return outputs
    logits, shared = dict(outputs.logits), model.shared
    for name, values in outputs.features.items():
        present = arguments[0].get(f"{name}{PRESENT}")
        found = shared(values)  # type: ignore[operator]
        logits[f"{name}{BY_SHARED}"] = found if present is None else found * present[:, None]
    return outputs._replace(logits=logits)
