"""What a model says of every sample, gathered in one clean pass."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from bss.files import read_tensors, write_tensors
from bss.types import FUSED


@dataclass(frozen=True)
class Evidence:
    """Logits of every modality and of the fusion for N samples of C classes, with their labels.

    Raises:
        ValueError: fewer than two modalities, no fusion, lengths that differ, labels out of range, NaN or infinity.
    """

    logits: Mapping[str, Tensor]
    """Output name (a modality or "fused") -> (N, C), float."""
    labels: Tensor
    """(N,), int64, in [0, C)."""

    def __post_init__(self) -> None:
        if FUSED not in self.logits or len(self.logits) < 3:
            raise ValueError(
                f"logits of '{FUSED}' and of at least two modalities are needed; got {list(self.logits)}"
            )
        shape = (len(self.labels), self.logits[FUSED].shape[-1])
        for output, logits in self.logits.items():
            if tuple(logits.shape) != shape:
                raise ValueError(f"logits of '{output}' have the shape {tuple(logits.shape)}, expected {shape}")
            if not bool(logits.isfinite().all()):
                row = int((~logits.isfinite()).any(dim=1).nonzero()[0])
                raise ValueError(f"logits of '{output}' are not finite, first in row {row}: {logits[row].tolist()}")
        if len(self.labels) and not 0 <= int(self.labels.min()) <= int(self.labels.max()) < shape[1]:
            raise ValueError(
                f"labels lie in [{int(self.labels.min())}, {int(self.labels.max())}], expected [0, {shape[1] - 1}]"
            )

    @property
    def modalities(self) -> list[str]:
        """The output names without the fusion."""
        return [output for output in self.logits if output != FUSED]


def collect(model: nn.Module, batches: Iterable[tuple[Mapping[str, Tensor], Tensor]]) -> Evidence:
    """Evidence of all samples of the batches, in their order, float32, on the CPU.

    The model is in eval mode without gradients meanwhile, so that no statistic of it moves, and in its former
    mode afterwards.
    """
    was_training = model.training
    model.eval()
    rows: dict[str, list[Tensor]] = {}
    labels = []
    with torch.inference_mode():
        for inputs, batch_labels in batches:
            for output, logits in model(inputs).items():
                rows.setdefault(output, []).append(logits.float().cpu())
            labels.append(batch_labels.cpu())
    model.train(was_training)
    return Evidence({output: torch.cat(parts) for output, parts in rows.items()}, torch.cat(labels))


def write_evidence(evidence: Evidence, path: Path) -> None:
    """Write evidence as safetensors: `labels`, and `logits.NAME` for each output."""
    logits = {f"logits.{output}": values for output, values in evidence.logits.items()}
    write_tensors({**logits, "labels": evidence.labels}, path)


def read_evidence(path: Path, outputs: Iterable[str]) -> Evidence:
    """Evidence from safetensors, its outputs in the order given (the file keeps none).

    Raises:
        ValueError: the file is missing, damaged, or holds other outputs.
    """
    tensors = read_tensors(path)
    expected = {"labels", *(f"logits.{output}" for output in outputs)}
    if set(tensors) != expected:
        raise ValueError(f"{path} holds {sorted(tensors)}, expected {sorted(expected)}")
    return Evidence({output: tensors[f"logits.{output}"] for output in outputs}, tensors["labels"])
