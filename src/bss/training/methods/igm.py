"""Flat gradient modification: modalities in turns, each kept off the directions that the one before uses most."""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

import numpy as np
from pydantic import Field

from bss.errors import InputError
from bss.training.methods.method import Method, Record
from bss.types import FUSED, PRESENT

if TYPE_CHECKING:
    from torch import Tensor

    from bss.measure.evidence import Evidence
    from bss.model import MultimodalModel, Outputs
    from bss.training.loader import Batch
    from bss.training.trainer import Trainer

HIDDEN = (256, 64)
"""Widths of the heads' hidden layers."""


class IGM(Method):
    """The modalities take turns of `stage_epochs` epochs; in its turn one trains alone, with a head of its own.

    Where a turn begins, with u the mean input of a linear layer of the head of the modality before, over a batch:
    Y = sum over the batches of u u^T = V diag(l) V^T, and

        T = V diag(exp(-temperature (l - min l) / (max l - min l))) V^T.

    In the turn the gradient of the weights of the same layer, where it is as wide, becomes grad W T: it shrinks in
    the directions that the modality before uses most. The loss is the cross-entropy at the weights
    theta + rho g / ||g||, where g is its gradient at theta, over encoder and head together, so that flat minima are
    found.

    Source: IGM (IJCAI 2025; its preprint is called MIE). `released` mixes the inputs of two samples (mixup), moves
    each tensor by rho g / ||g|| of its own for good, and adds the loss of the same features by the moved head,
    (1 - flat_weight) L_mixed + flat_weight L_moved. The variants differ in `decide` too. The evidence is of samples
    as they are: what does not train, or trains on mixtures, is asked in a pass of its own.
    """

    record: ClassVar[Record] = Record(
        paper="IGM, IJCAI 2025",
        families=("schedule", "gradient"),
        extra="less, one modality trains (twice with `rho`); a pass a turn",
        reported={"CREMA-D": 81.05, "KS": 74.03},
    )
    grid: ClassVar[Mapping[str, tuple[object, ...]]] = {"temperature": (0.1, 0.4, 1.0)}
    strategies: ClassVar[tuple[str, ...]] = ("ddp",)
    variant: Literal["published", "released"] = "published"
    stage_epochs: Annotated[int, Field(ge=1)] = 1
    """Epochs of a turn."""
    temperature: Annotated[float, Field(ge=0)] = 0.4
    """Strength of the projection, tau: the strongest direction keeps exp(-temperature); 0 projects nothing."""
    rho: Annotated[float, Field(ge=0)] = 1e-10
    """How far the weights are moved; 0 leaves out the second pass of `published`."""
    flat_weight: Annotated[float, Field(ge=0, le=1)] = 0.3
    """`released`: weight of the loss by the moved head, phi."""
    mixup: Annotated[float, Field(ge=0)] = 1.0
    """`released`: both parameters of the beta distribution that the mixture is drawn from; 0 mixes nothing."""

    def prepare(self, model: "MultimodalModel") -> None:
        """Heads of three layers, and no fusion of features."""
        from torch import nn

        model.fusion = None
        first, second = HIDDEN
        for name in model.branches:
            head = model.branch(name).head
            model.branch(name).head = nn.Sequential(
                nn.Linear(head.in_features, first), nn.ReLU(), nn.Linear(first, second),
                nn.Linear(second, head.out_features),
            )  # fmt: skip

    def trains(self, modalities: Sequence[str], epoch: int) -> Sequence[str]:
        """The one whose turn it is."""
        return [modalities[epoch // self.stage_epochs % len(modalities)]]

    def begin_epoch(
        self,
        trainer: "Trainer",
        epoch: int,
        evidence: "Callable[[], Evidence]",
        validation: "Callable[[], Evidence]",
    ) -> None:
        """Where a turn begins, forget the momentum and measure the modality before: `memory` has T by layer."""
        import torch

        from bss.training.methods._layer_uses import flattening, layer_uses

        if trainer.runtime.is_sharded:
            raise InputError(f"spread.strategy: {self.name} asks the heads apart, which needs ddp, not fsdp")
        if epoch == 0 or epoch % self.stage_epochs:
            return
        trainer.forget_momentum()
        if self.temperature == 0:
            return
        [before] = self.trains(list(trainer.model.branches), epoch - 1)
        features = evidence().needed_features(self.name)[before]
        features = features[features.any(dim=1)]
        features = features.to(device := trainer.runtime.device)
        draws = trainer.generator("batches of the projection")
        shuffled = features[torch.randperm(len(features), generator=draws, device=device)]
        size = trainer.settings.batch_size
        batches = [shuffled[first : first + size] for first in range(0, len(shuffled), size)]
        for place, uses in layer_uses(trainer.model.branch(before).head, batches).items():
            trainer.memory[place] = flattening(uses, self.temperature).to(device)

    def step(self, trainer: "Trainer", batch: "Batch") -> "tuple[Outputs, Tensor]":
        """One update of the modality whose turn it is."""
        import torch

        from bss.model import Outputs
        from bss.training.methods._layer_uses import linear_layers

        names = list(trainer.model.branches)
        [turn] = self.trains(names, trainer.epoch)
        mixes = self.variant == "released" and self.mixup > 0
        seen = _clean_pass(trainer, batch, [name for name in names if name != turn or mixes])
        trained, loss = (self._released if self.variant == "released" else self._published)(trainer, batch, turn)
        for place, layer in linear_layers(trainer.model.branch(turn).head).items():
            gradient, t = layer.weight.grad, trainer.memory.get(place)
            if gradient is not None and t is not None and len(t) == gradient.shape[1]:
                gradient.copy_(gradient @ t)
        trainer.update()
        logits, features = (
            {name: {**one, **two}[name].detach() for name in names} for one, two in zip(trained, seen, strict=True)
        )
        return Outputs({**logits, FUSED: torch.stack([*logits.values()]).sum(dim=0)}, features), loss.detach()

    def decide(self, probabilities: Mapping[str, np.ndarray], logits: Mapping[str, np.ndarray]) -> np.ndarray:
        """`released`: the mean of the modalities' probabilities. `published`: as MLA, surer ones weigh more."""
        from bss.training.methods.mla import MLA

        if self.variant == "released":
            return np.asarray(np.mean(list(probabilities.values()), axis=0))
        return MLA().decide(probabilities, logits)

    def _published(self, trainer: "Trainer", batch: "Batch", turn: str) -> "tuple[Outputs, Tensor]":
        """The gradient at the moved weights, left in the weights' `grad`; the weights are where they were."""
        import torch

        from bss.training.losses import cross_entropy

        branch = trainer.model.branch(turn)
        outputs = trainer.forward(batch.of([turn]))
        loss = cross_entropy(outputs.logits[turn], batch.labels)
        trainer.backward(loss)
        if self.rho == 0:
            return outputs, loss
        gradients = [(weight, weight.grad.double()) for weight in branch.parameters() if weight.grad is not None]
        norm = torch.stack([gradient.square().sum() for _, gradient in gradients]).sum().sqrt()
        scale = torch.where(norm > 0, self.rho / norm, 0.0)
        before = [(values, values.detach().clone()) for values in (*branch.parameters(), *branch.buffers())]
        with torch.no_grad():
            for weight, gradient in gradients:
                weight.add_((gradient * scale).to(weight.dtype))
                weight.grad = None
        trainer.backward(cross_entropy(trainer.forward(batch.of([turn])).logits[turn], batch.labels))
        with torch.no_grad():
            for values, old in before:
                values.copy_(old)
        return outputs, loss

    def _released(self, trainer: "Trainer", batch: "Batch", turn: str) -> "tuple[Outputs, Tensor]":
        """The gradient of the two losses, left in the weights' `grad`; the weights are moved."""
        from bss.training.losses import cross_entropy

        branch = trainer.model.branch(turn)
        inputs, partners, share = self._mixed(trainer, batch, turn)
        outputs = trainer.forward(inputs, apart=True)
        logits = outputs.logits[turn]
        mixed = share * cross_entropy(logits, batch.labels)
        mixed = mixed + (1 - share) * cross_entropy(logits, batch.labels[partners])
        weights = [weight for weight in branch.parameters() if weight.requires_grad]
        for weight, gradient in zip(weights, trainer.gradients(mixed, weights), strict=True):
            norm = gradient.norm()
            if self.rho and norm > 0:
                # New storage: the graph of the first loss still needs the old values.
                weight.data = weight.detach() + self.rho * gradient / norm
        with trainer.runtime.autocast():
            moved = branch.head(outputs.features[turn]).float()
        if (present := inputs.get(f"{turn}{PRESENT}")) is not None:
            moved = moved * present[:, None]
        flat = cross_entropy(trainer.whole(moved), batch.labels)
        loss = (1 - self.flat_weight) * mixed + self.flat_weight * flat
        for weight, gradient in zip(weights, trainer.gradients(loss, weights), strict=True):
            weight.grad = gradient
        return outputs, loss

    def _mixed(self, trainer: "Trainer", batch: "Batch", turn: str) -> "tuple[dict[str, Tensor], Tensor, float]":
        """Inputs with each sample mixed with another of the batch, the places (B,) of those, and the sample's share.

        Tokens are not mixed, nor is a sample that lacks the modality.
        """
        import torch

        inputs, device = batch.of([turn]), batch.labels.device
        values, own = inputs[turn], torch.arange(len(batch.labels), device=device)
        if self.mixup == 0 or not (values.is_floating_point() or values.dtype == torch.uint8):
            return inputs, own, 1.0
        partners = torch.randperm(len(own), generator=trainer.generator("partners of a mixture"), device=device)
        if (present := inputs.get(f"{turn}{PRESENT}")) is not None:
            there = trainer.whole(present.float()) > 0
            partners = torch.where(there & there[partners], partners, own)
        seed = trainer.generator("share of a mixture").initial_seed()  # torch draws no beta from a generator
        share = float(np.random.default_rng(seed).beta(self.mixup, self.mixup))
        whole = trainer.whole(values.float())
        other = whole[partners]
        # Where one sequence has ended, in NaN, the other one goes on.
        both = share * whole + (1 - share) * other
        mixed = torch.where(whole.isnan(), other, torch.where(other.isnan(), whole, both))
        rows = torch.from_numpy(trainer.runtime.share(np.arange(len(own)))).to(device)
        return {**inputs, turn: mixed[rows]}, partners, share


def _clean_pass(trainer: "Trainer", batch: "Batch", modalities: "Sequence[str]") -> "Outputs":
    """What some modalities say, as evidence: without gradients, and without a move of their batch statistics."""
    import torch

    from bss.measure.evidence import in_eval_mode

    branches = torch.nn.ModuleList([trainer.model.branch(name) for name in modalities])
    with in_eval_mode(branches), torch.no_grad():
        return trainer.forward(batch.of(modalities))
