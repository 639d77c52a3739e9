"""Small data of two modalities, and a model of them, for trainers that are not ours."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from bss.model import Outputs

NUM_SAMPLES, BATCH_SIZE, EPOCHS = 52, 8, 3
STEPS = 7
"""Of an epoch; the last batch is half a one."""
INPUTS = {
    name: torch.randn(NUM_SAMPLES, 4, generator=torch.Generator().manual_seed(number))
    for number, name in enumerate(("audio", "image"))
}
LABELS = (sum(INPUTS.values(), torch.zeros(())).sum(dim=1) > 0).long()


class Killed(Exception):
    """As a signal would."""


class TwoModalities(nn.Module):
    """A layer a modality, and one of both."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layers = nn.ModuleDict({name: nn.Linear(4, 2) for name in INPUTS} | {"fused": nn.Linear(8, 2)})
        self.drawn: list[int] = []

    def forward(self, inputs: dict[str, Tensor]) -> Outputs:
        features = {**inputs, "fused": torch.cat([*inputs.values()], dim=1)}
        return Outputs({name: layer(features[name]) for name, layer in self.layers.items()}, dict(inputs))


def loss_of(logits: dict[str, Tensor], labels: Tensor) -> Tensor:
    return torch.stack([cross_entropy(values, labels) for values in logits.values()]).sum()


def same(first: nn.Module, second: nn.Module) -> bool:
    pairs = zip(first.state_dict().values(), second.state_dict().values(), strict=True)
    return all(torch.equal(a, b) for a, b in pairs)


def samples() -> list[dict[str, Any]]:
    return [
        {"index": index, "labels": int(LABELS[index])} | {name: values[index] for name, values in INPUTS.items()}
        for index in range(NUM_SAMPLES)
    ]
