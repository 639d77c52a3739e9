"""AIM: where one modality leads at a depth, it trains by a weaker block that shares its least changed weights."""

from collections.abc import Callable, Collection, Mapping
from math import tanh
from typing import TYPE_CHECKING, Annotated, ClassVar

from pydantic import Field

from bss.errors import InputError
from bss.training.methods.joint import Joint
from bss.training.methods.method import Record
from bss.types import FUSED, PRESENT

if TYPE_CHECKING:
    from torch import Tensor

    from bss.measure.evidence import Evidence
    from bss.model import Branch, Outputs
    from bss.training.loader import Batch
    from bss.training.trainer import Trainer

LEAST = 1e-6
"""Least score and least length that something is divided by."""


class AIM(Joint):
    """INFERRED from abstracts: encoders are cut into depths, and in a step an auxiliary block may stand for a block.

    At depth d, s_m = mean_i softmax_k(-|h_d(x_i) - P_dk|^2)[y_i] by the prototypes P of modality m, and
    r_d = max s / mean of the others. With the probability tanh(alpha max(0, r_d - 1)) the leader's block is the
    auxiliary one: the rows of each weight that changed least since the last interval are its own, the others are
    as they were after `warm` epochs, and have no gradient. Evaluation has the main blocks alone.

    P_dk is what comes out at depth d of a learned input that the model takes for class k, made anew every interval.
    """

    record: ClassVar[Record] = Record(
        paper="AIM, 2025",
        families=("architecture", "gradient"),
        extra="a pass without gradients; prototypes an interval",
    )
    grid: ClassVar[Mapping[str, tuple[object, ...]]] = {"alpha": (0.3, 1.0, 3.0)}
    strategies: ClassVar[tuple[str, ...]] = ("ddp",)
    alpha: Annotated[float, Field(ge=0)] = 1.0
    """Growth of the probability with the imbalance; 0 is joint."""
    warm: Annotated[int, Field(ge=1)] = 1
    """Epochs of joint training before the first prototypes."""
    interval: Annotated[int, Field(ge=1)] = 2
    """Epochs between two makings of prototypes."""
    most_depths: Annotated[int, Field(ge=1)] = 4
    """Most parts of an encoder; of several encoders the one of fewest blocks decides."""
    share: Annotated[float, Field(ge=0, le=1)] = 0.5
    """Share of a weight's rows that count as under-optimised."""
    num_steps: Annotated[int, Field(ge=1)] = 100
    """Steps of Adam that a making of prototypes takes."""
    prototype_lr: Annotated[float, Field(gt=0)] = 0.1
    """Its learning rate, in deviations of the inputs."""

    def check_shapes(self, shapes: Mapping[str, tuple[int, ...]], words: Collection[str] = ()) -> None:
        """Refuse data of which fewer than two modalities are quantities."""
        if len(shapes) - len(words) < 2:
            raise InputError(
                f"aim learns inputs of two modalities or more, and words ({', '.join(words)}) are no quantities that "
                f"can be learned; here are {', '.join(shapes)}"
            )

    def begin_epoch(
        self,
        trainer: "Trainer",
        epoch: int,
        evidence: "Callable[[], Evidence]",
        validation: "Callable[[], Evidence]",
    ) -> None:
        """Every interval: which rows have changed least since the last."""
        if trainer.runtime.is_sharded:
            raise InputError("spread.strategy: aim changes weights row by row, which needs ddp, not fsdp")
        is_due = self._is_due(epoch)
        if self.alpha == 0 or not (epoch == 0 or is_due):
            return
        memory = trainer.memory
        for name in trainer.model.branches:
            for key, weight in trainer.model.branch(name).encoder.named_parameters():
                place = f"{name}.{key}"
                now = weight.detach().clone()
                if epoch == self.warm:
                    memory[f"start {place}"] = now
                if is_due:
                    memory[f"slow {place}"] = slow_rows(memory[f"before {place}"], now, self.share)
                memory[f"before {place}"] = now

    def step(self, trainer: "Trainer", batch: "Batch") -> "tuple[Outputs, Tensor]":
        """Joint's step, with the auxiliary blocks that are drawn in the place of the main ones."""
        if self.alpha > 0 and self._is_due(trainer.epoch) and int(trainer.memory.get("made", -1)) != trainer.epoch:
            self._make_prototypes(trainer, batch)
        replaced = self._replaced(trainer, batch)
        main = {place: weight.detach().clone() for place, weight in replaced.items()}
        for place, weight in replaced.items():
            slow, start = (trainer.memory[f"{kind} {place}"] for kind in ("slow", "start"))
            weight.data.copy_(main[place].where(slow, start))
        outputs = trainer.forward(batch.inputs)
        loss = self.loss(outputs.logits, batch.labels)
        trainer.backward(loss)
        for place, weight in replaced.items():
            weight.data.copy_(main[place])
            if weight.grad is not None:
                weight.grad.mul_(trainer.memory[f"slow {place}"])
        trainer.update()
        return outputs, loss

    def probabilities(self, scores: Mapping[str, list[float]]) -> list[tuple[str, float]]:
        """For each depth the leader, and the probability of its auxiliary block.

        Args:
            scores: modality -> s at each depth, in [0, 1].
        """
        found = []
        for d in range(len(next(iter(scores.values())))):
            at_depth = {name: values[d] for name, values in scores.items()}
            leader = max(at_depth, key=lambda name: at_depth[name])
            others = [value for name, value in at_depth.items() if name != leader]
            ratio = at_depth[leader] / max(sum(others) / len(others), LEAST)
            found.append((leader, tanh(self.alpha * max(0.0, ratio - 1))))
        return found

    def _replaced(self, trainer: "Trainer", batch: "Batch") -> "dict[str, Tensor]":
        """The weights of the main blocks whose place is taken in this step, by modality and name."""
        import torch

        from bss.measure.evidence import in_eval_mode
        from bss.training.methods._depths import depths, watched, weights_at

        compared = [name for name in trainer.model.branches if f"prototypes {name} 0" in trainer.memory]
        if self.alpha == 0 or not compared:
            return {}
        model = trainer.model
        cut = depths(model, self.most_depths)
        num_rows = len(next(iter(batch.inputs.values())))
        with in_eval_mode(model), torch.no_grad(), trainer.runtime.autocast(), watched(cut, num_rows) as outputs:
            model(batch.inputs)
        scores: dict[str, list[float]] = {}
        for name in compared:
            mask = batch.inputs.get(f"{name}{PRESENT}")
            there = torch.ones(len(batch.labels), dtype=torch.bool, device=batch.labels.device)
            there = there if mask is None else trainer.whole(mask.float()) > 0
            if bool(there.any()):
                labels, prototypes = batch.labels[there], f"prototypes {name}"
                scores[name] = [
                    float(confidence(trainer.whole(h)[there], trainer.memory[f"{prototypes} {d}"], labels))
                    for d, h in enumerate(outputs[name])
                ]
        if len(scores) < 2:
            return {}
        chances = self.probabilities(scores)
        draws = torch.rand(len(chances), generator=trainer.generator("auxiliary blocks"), device=batch.labels.device)
        return {
            f"{name}.{key}": weight
            for (name, chance), draw, d in zip(chances, draws.tolist(), range(len(chances)), strict=True)
            if draw < chance
            for key, weight in weights_at(model.branch(name).encoder, cut[name][d]).items()
        }

    def _make_prototypes(self, trainer: "Trainer", batch: "Batch") -> None:
        """Learn an input of each class, and remember what comes out of it at each depth."""
        import torch
        from torch.nn.functional import cross_entropy

        from bss.measure.evidence import in_eval_mode
        from bss.training.methods._depths import depths, watched

        model, device, generator = trainer.model, trainer.runtime.device, trainer.generator("prototypes")
        branches = {name: model.branch(name) for name in model.branches}
        num_classes = next(iter(branches.values())).head.out_features
        classes = torch.arange(num_classes, device=device)
        shapes = {name: (num_classes, *batch.inputs[name].shape[1:]) for name in branches}
        words = [name for name in branches if _is_of_words(batch.inputs[name], branches[name])]
        self.check_shapes({name: shape[1:] for name, shape in shapes.items()}, words)
        learned = {
            name: torch.randn(shape, generator=generator, device=device).requires_grad_()
            for name, shape in shapes.items()
            if name not in words
        }
        absent = {}
        for name in words:
            absent[name] = torch.zeros(shapes[name], dtype=batch.inputs[name].dtype, device=device)
            absent[f"{name}{PRESENT}"] = torch.zeros(num_classes, dtype=torch.bool, device=device)
        optimizer = torch.optim.Adam(list(learned.values()), lr=self.prototype_lr)
        cut = {name: parts for name, parts in depths(model, self.most_depths).items() if name in learned}
        with in_eval_mode(model), trainer.runtime.autocast():
            for step in range(self.num_steps + 1):
                inputs = {name: values * branches[name].std + branches[name].mean for name, values in learned.items()}
                with torch.set_grad_enabled(step < self.num_steps), watched(cut, num_classes) as outputs:
                    logits = model({**inputs, **absent}).logits[FUSED]
                if step < self.num_steps:
                    taken = torch.autograd.grad(cross_entropy(logits.float(), classes), list(learned.values()))
                    for values, gradient in zip(learned.values(), taken, strict=True):
                        values.grad = gradient
                    optimizer.step()
        for name, parts in outputs.items():
            trainer.memory |= {f"prototypes {name} {d}": values for d, values in enumerate(parts)}
        trainer.memory["made"] = torch.tensor(trainer.epoch, device=device)

    def _is_due(self, epoch: int) -> bool:
        return epoch >= self.warm and (epoch - self.warm) % self.interval == 0


def confidence(outputs: "Tensor", prototypes: "Tensor", labels: "Tensor") -> "Tensor":
    """The mean over samples of softmax_k(-|h - P_k|^2) at the label, in [0, 1].

    Args:
        outputs: h, (B, width).
        prototypes: P, (C, width).
        labels: (B,), int64.
    """
    distances = (outputs[:, None] - prototypes[None]).square().sum(dim=2)
    return distances.neg().softmax(dim=1).gather(1, labels[:, None]).mean()


def slow_rows(before: "Tensor", now: "Tensor", share: float) -> "Tensor":
    """Whether a row has changed little, |now - before| / |before|: that share of rows, least first, as `now`, bool.

    Args:
        before: (rows, ...), or one number.
        now: likewise.
        share: of the rows, in [0, 1].
    """
    import torch

    rows, flat = (values.reshape(len(values) if values.ndim else 1, -1) for values in (before, now))
    change = (flat - rows).norm(dim=1) / rows.norm(dim=1).clamp(min=LEAST)
    order = change.argsort(stable=True)
    slow = torch.zeros(len(order), dtype=torch.bool, device=now.device)
    slow[order[: round(share * len(order))]] = True
    return slow.view(-1, *[1] * (now.ndim - 1)).expand_as(now).clone() if now.ndim else slow[0]


def _is_of_words(values: "Tensor", branch: "Branch") -> bool:
    """Whether a modality is of ids: whole numbers that the model takes as they are."""
    return not values.is_floating_point() and bool((branch.mean == 0).all() and (branch.std == 1).all())
