"""The weights that are kept: those of the best epoch on validation."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from bss.measure.evidence import Evidence
from bss.training import weights


class Selection:
    """The best epoch on validation, kept for each part of the model that the method selects by an output.

    Args:
        model: the whole.
        parts: output -> the part of the model that is kept by it.
    """

    def __init__(self, model: nn.Module, parts: Mapping[str, nn.Module]) -> None:
        self.model = model
        names = {id(part): name for name, part in model.named_modules()}
        self._prefixes = {output: f"{names[id(part)]}.".lstrip(".") for output, part in parts.items()}
        self._best = {output: [float("-inf"), float("-inf")] for output in parts}
        self._kept: dict[str, dict[str, Tensor]] = {}

    def consider(self, validation: Evidence) -> None:
        """Keep each part whose output is more accurate than before, or as accurate with a lower loss."""
        better = []
        for output in self._prefixes:
            loss, accuracy = loss_and_accuracy(validation, output)
            if [accuracy, -loss] > self._best[output]:
                self._best[output] = [accuracy, -loss]
                better.append(output)
        taken = weights.take(self.model) if better else {}
        for output in better:
            prefix = self._prefixes[output]
            self._kept[output] = {name: values for name, values in taken.items() if name.startswith(prefix)}

    def restore(self) -> None:
        """Put the kept weights back."""
        weights.give(self.model, {name: values for part in self._kept.values() for name, values in part.items()})

    def state_dict(self) -> dict[str, Any]:
        """The weights that were kept, and their accuracy and loss."""
        return {"best": dict(self._best), "kept": dict(self._kept)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on where `state_dict` was taken."""
        self._best, self._kept = dict(state["best"]), dict(state["kept"])


def loss_and_accuracy(evidence: Evidence, output: str) -> tuple[float, float]:
    """Mean cross-entropy in nats, and accuracy in [0, 1], of one output."""
    logits = evidence.logits[output]
    hits = logits.argmax(dim=1) == evidence.labels
    return float(cross_entropy(logits, evidence.labels)), float(hits.double().mean())


def confidence(evidence: Evidence, output: str) -> float:
    """Mean probability, in [0, 1], that one output gives to the true class."""
    probabilities = evidence.logits[output].double().softmax(dim=1)
    return float(probabilities.gather(1, evidence.labels[:, None]).mean())
