"""Small data of two modalities, and a model of them, for trainers that are not ours."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from bss.model import Outputs
from tests.helpers import ROOT

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


SNIPPET_EPOCHS = 30


class ByName(nn.Module):
    """The same model as the pages have it: a dictionary of logits."""

    def __init__(self, killed_at: int | None = None) -> None:
        super().__init__()
        self.network, self.killed_at, self.num_steps = TwoModalities(), killed_at, 0

    def forward(self, inputs: dict[str, Tensor]) -> dict[str, Tensor]:
        if self.num_steps == self.killed_at:
            raise Killed
        self.num_steps += 1
        outputs: Outputs = self.network(inputs)
        return dict(outputs.logits)


def run_snippet(heading: str, **names: Any) -> dict[str, Any]:
    """Run the code below a heading of docs/integrations.md; the names it knows, and those that it made."""
    page = (ROOT / "docs/integrations.md").read_text(encoding="utf-8")
    section = page.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    text = section.partition("```python\n")[2].partition("```")[0]
    network = ByName()
    dataset = [
        (index, {name: values[index] for name, values in INPUTS.items()}, int(LABELS[index]))
        for index in range(NUM_SAMPLES)
    ]
    known = {"dataset": dataset, "network": network, "num_epochs": SNIPPET_EPOCHS, **names}
    exec(text, known)
    return known


def accuracy(network: nn.Module) -> float:
    with torch.no_grad():
        return float((network(INPUTS)["fused"].argmax(dim=1) == LABELS).float().mean())
