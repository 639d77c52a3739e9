"""Re-balancing by learning speed: the modality whose exchange with others learns fastest goes without it a while."""

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, cast

from pydantic import Field

from bss.training.methods.method import Method, Record
from bss.types import FUSED

if TYPE_CHECKING:
    from torch import Tensor, nn

    from bss.model import MultimodalModel, Outputs
    from bss.training.loader import Batch
    from bss.training.methods._mmtm import MMTM
    from bss.training.trainer import Trainer


class Greedy(Method):
    """Sum of the cross-entropies of the modalities, whose features a module (MMTM) scales by those of all.

    It is not the paper's network: there a module stands after each of three layers of convolutions, here one on the
    final features. "fused" is the mean of the logits. After each step's backward pass

        mu_exchange_m += |g|^2 / |w|^2    over the module's weights that m's scales depend on, shared ones for each,
        mu_own_m      += |g|^2 / |w|^2    over m's encoder and head,    speed_m = log10(mu_exchange_m / mu_own_m).

    From epoch `starts` on, where the speed of a modality is more than `threshold` above the mean of the others', the
    next `window` steps re-balance: the scales of the one that is furthest above are their running mean, so that it
    learns without the others. Sums and means stay in these steps. `chooses: random` is the code's control: after
    every step, for the next one alone, none or one of the modalities is drawn, each as likely.

    Source: Greedy (ICML 2022) and its code. More than two modalities are INFERRED; of two it is the difference.
    """

    record: ClassVar[Record] = Record(
        paper="Greedy, ICML 2022",
        families=("architecture", "schedule"),
        extra="sums over all weights",
        benchmark={"CREMA-D": 66.48, "KS": 66.82, "VGGSound": 48.65},
    )
    strategies: ClassVar[tuple[str, ...]] = ("ddp",)
    grid: ClassVar[Mapping[str, tuple[object, ...]]] = {"threshold": (0.001, 0.01, 0.1)}
    example: ClassVar[Mapping[str, Any]] = {"window": 2, "threshold": 0.0001}
    threshold: Annotated[float, Field(ge=0)] = 0.01
    """Least excess of a speed that is re-balanced, epsilon."""
    window: Annotated[int, Field(ge=0)] = 5
    """Steps of a re-balancing, Q, which are one with `chooses: random`; 0 never re-balances."""
    starts: Annotated[int, Field(ge=0)] = 1
    """First epoch that is re-balanced, from 0."""
    chooses: Literal["speed", "random"] = "speed"
    """What says whether the next steps re-balance, and whose: the speeds, or a draw."""

    def prepare(self, model: "MultimodalModel") -> None:
        """The module between encoders and heads, and the mean of the logits in place of the fusion."""
        from bss.training.methods._mmtm import add_mmtm

        add_mmtm(model)

    def step(self, trainer: "Trainer", batch: "Batch") -> "tuple[Outputs, Tensor]":
        """One update, of all modalities or with the scales of one held."""
        names, mmtm = list(trainer.model.branches), cast("MMTM", trainer.model.mmtm)
        left = int(trainer.memory.get("steps left", 0))
        with mmtm.holding(names[int(trainer.memory["cared for"])] if left else None):
            outputs = trainer.forward(batch.inputs)
        loss = self.loss(outputs.logits, batch.labels)
        trainer.backward(loss)
        if left:
            trainer.memory["steps left"] = trainer.memory["steps left"] - 1
        elif self.window:
            self._measure(trainer, outputs.features)
        if self.window and trainer.epoch >= self.starts and (not left or self.chooses == "random"):
            self._look_ahead(trainer)
        trainer.update()
        return outputs, loss

    def loss(self, logits: Mapping[str, "Tensor"], labels: "Tensor") -> "Tensor":
        """Sum over the modalities of the mean cross-entropy."""
        import torch

        from bss.training.losses import cross_entropy

        return torch.stack([cross_entropy(z, labels) for name, z in logits.items() if name != FUSED]).sum()

    def _measure(self, trainer: "Trainer", features: Mapping[str, "Tensor"]) -> None:
        """Count the scales and the speeds of a step."""
        import torch

        model, memory, mmtm = trainer.model, trainer.memory, cast("MMTM", trainer.model.mmtm)
        with torch.no_grad(), trainer.runtime.autocast():
            scales = {name: trainer.whole(values.float()) for name, values in mmtm(features).items()}
        there = {name: trainer.whole(values.detach()).any(dim=1) for name, values in features.items()}
        mmtm.add_to_means({name: scales[name][rows].mean(dim=0) for name, rows in there.items() if rows.any()})
        used = {
            "exchange": [mmtm.used_by(name) for name in model.branches],
            "own": [[*model.branch(name).parameters()] for name in model.branches],
        }
        for key, parts in used.items():
            now = torch.stack([relative_size(part) for part in parts])
            memory[key] = memory.get(key, torch.zeros_like(now)) + now

    def _look_ahead(self, trainer: "Trainer") -> None:
        """See whether the next steps re-balance."""
        import torch

        device, place = trainer.runtime.device, self._chosen(trainer)
        if place is not None:
            window = 1 if self.chooses == "random" else self.window
            trainer.memory["cared for"] = torch.tensor(place, device=device)
            trainer.memory["steps left"] = torch.tensor(window, device=device)

    def _chosen(self, trainer: "Trainer") -> int | None:
        """The place of the modality that the next steps care for; None for none."""
        import torch

        if self.chooses == "random":
            generator = trainer.generator("cared for")
            number = len(trainer.model.branches)
            drawn = int(torch.randint(number + 1, (), generator=generator, device=generator.device))
            return drawn if drawn < number else None
        place, excess = leader(trainer.memory["exchange"], trainer.memory["own"])
        return place if excess > self.threshold else None


def relative_size(weights: "Iterable[nn.Parameter]") -> "Tensor":
    """|g|^2 / |w|^2 over all weights together, a scalar, float64; a weight without gradient has one of 0."""
    import torch

    weights = list(weights)
    gradients = [weight.grad for weight in weights if weight.grad is not None]
    above, below = (
        torch.stack([values.detach().double().square().sum() for values in group] or [torch.zeros(()).double()]).sum()
        for group in (gradients, weights)
    )
    return above / below.clamp(min=1e-12)


def leader(exchange: "Tensor", own: "Tensor") -> tuple[int, float]:
    """The modality whose speed log10(exchange / own) is furthest above the mean of the others', and by how much.

    Without a speed of each, where a sum is 0, nobody is ahead.

    Args:
        exchange: (M,), at least 0.
        own: (M,), at least 0.
    """
    speed = (exchange / own).log10()
    if not bool(speed.isfinite().all()):
        return 0, 0.0
    excess = (speed - (speed.sum() - speed) / (len(speed) - 1)).cpu()
    return int(excess.argmax()), float(excess.max())
