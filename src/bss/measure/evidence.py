"""The outputs of a model for every sample, gathered in one clean pass."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from bss.errors import InputError
from bss.files import read_tensors, write_tensors
from bss.measure.numbers import real_numbers, whole_numbers
from bss.types import FUSED


@dataclass(frozen=True)
class Evidence:
    """Logits of every modality and of the fusion for N samples of C classes, with their labels.

    Labels may be of any integer type, also a list or an array. All is brought to the device of the fusion's logits,
    and half precision to float32.

    Raises:
        ValueError: fewer than two modalities, no fusion, lengths that differ, labels out of range, NaN or infinity,
            labels that are no whole numbers (N,), logits that are no floating point.
    """

    logits: Mapping[str, Tensor]
    """Output name (a modality or "fused") -> (N, C), float."""
    labels: Tensor
    """(N,), int64, in [0, C)."""
    features: Mapping[str, Tensor] | None = None
    """Modality -> (N, dim), the outputs of the encoders; needed by the criteria that say so."""
    gradients: Tensor | None = None
    """(N,), norms of each sample's gradient, where they were measured."""

    def __post_init__(self) -> None:
        if FUSED not in self.logits or len(self.logits) < 3:
            raise ValueError(
                f"logits of '{FUSED}' and of at least two modalities are needed; got {list(self.logits)}"
            )
        logits = {output: real_numbers(f"logits of '{output}'", values) for output, values in self.logits.items()}
        device = logits[FUSED].device
        labels = whole_numbers("labels", self.labels).to(device)
        if logits[FUSED].ndim != 2:
            raise ValueError(f"logits of '{FUSED}' have the shape {tuple(logits[FUSED].shape)}, expected (N, C)")
        shape = (len(labels), logits[FUSED].shape[1])
        for output, values in logits.items():
            if tuple(values.shape) != shape:
                raise ValueError(f"logits of '{output}' have the shape {tuple(values.shape)}, expected {shape}")
            if not bool(values.isfinite().all()):
                row = int((~values.isfinite()).any(dim=1).nonzero()[0])
                raise ValueError(f"logits of '{output}' are not finite, first in row {row}: {values[row].tolist()}")
        if len(labels) and not 0 <= int(labels.min()) <= int(labels.max()) < shape[1]:
            raise ValueError(
                f"labels lie in [{int(labels.min())}, {int(labels.max())}], expected [0, {shape[1] - 1}]"
            )
        features = {
            name: _rows(f"features of '{name}'", values, shape[0]).to(device)
            for name, values in (self.features or {}).items()
        }
        gradients = None if self.gradients is None else _rows("gradients", self.gradients, shape[0]).to(device)
        if gradients is not None and gradients.ndim != 1:
            raise ValueError(f"gradients have the shape {tuple(gradients.shape)}, expected ({shape[0]},)")
        checked = {
            "logits": {output: values.to(device) for output, values in logits.items()},
            "labels": labels,
            "features": features or None,
            "gradients": gradients,
        }
        for field, value in checked.items():
            object.__setattr__(self, field, value)

    @property
    def modalities(self) -> list[str]:
        """The output names without the fusion."""
        return [output for output in self.logits if output != FUSED]

    def needed_features(self, criterion: str) -> Mapping[str, Tensor]:
        """The features of every modality.

        Raises:
            ValueError: there are none; the message names the criterion that asks.
        """
        if self.features is None or not set(self.modalities) <= set(self.features):
            raise ValueError(
                f"{criterion} needs the features of {self.modalities}, and the evidence has "
                f"{sorted(self.features or [])}"
            )
        return self.features


def _rows(name: str, values: Tensor, num_samples: int) -> Tensor:
    values = real_numbers(name, values)
    if values.ndim == 0 or len(values) != num_samples:
        raise ValueError(f"{name} have the shape {tuple(values.shape)}, expected {num_samples} rows")
    if not bool(values.isfinite().all()):
        raise ValueError(f"{name} are not finite")
    return values


def collect(model: nn.Module, batches: Iterable[Sequence[Any]]) -> Evidence:
    """Evidence of all samples of the batches, in their order, float32, on the CPU.

    The model is in eval mode without gradients meanwhile, so that no statistic of it moves, and in its former
    mode afterwards.

    Args:
        model: inputs -> the logits of each output by its name, or an object with `logits` and `features`, as
            `bss.model.Outputs`.
        batches: inputs, labels and anything further, on the model's device.

    Raises:
        ValueError: the model returns something else, there is no batch, or what it returns does not fit together,
            see `Evidence`.
    """
    logits, features = _Rows(), _Rows()
    labels = []
    with in_eval_mode(model), torch.inference_mode():
        for inputs, batch_labels, *_ in batches:
            outputs = model(inputs)
            if hasattr(outputs, "logits") and hasattr(outputs, "features"):
                logits.add(outputs.logits)
                features.add(outputs.features)
            elif isinstance(outputs, Mapping):
                logits.add(outputs)
            else:
                raise ValueError(
                    f"the model returns a {type(outputs).__name__}, expected the logits of each output by its "
                    "name, or an object with `logits` and `features`"
                )
            labels.append(whole_numbers("labels", batch_labels).cpu())
    if not labels:
        raise ValueError("there is no batch to collect evidence of")
    return Evidence(logits.joined(), torch.cat(labels), features.joined())


@contextmanager
def in_eval_mode(network: nn.Module) -> Iterator[None]:
    """Eval mode inside the block; afterwards what was in train mode is again, and what rested still rests."""
    training = [part for part in network.modules() if part.training]
    network.eval()
    try:
        yield
    finally:
        for part in training:
            part.training = True


class _Rows:
    """Named tensors that grow by a batch at a time."""

    def __init__(self) -> None:
        self._parts: dict[str, list[Tensor]] = {}

    def add(self, batch: Mapping[str, Tensor]) -> None:
        for name, values in batch.items():
            self._parts.setdefault(name, []).append(real_numbers(f"outputs of '{name}'", values).float().cpu())

    def joined(self) -> dict[str, Tensor]:
        return {name: torch.cat(parts) for name, parts in self._parts.items()}


def write_evidence(evidence: Evidence, path: Path) -> None:
    """Write evidence as safetensors: `labels`, `logits.NAME` of each output, `features.NAME` of each modality."""
    logits = {f"logits.{output}": values for output, values in evidence.logits.items()}
    features = {f"features.{modality}": values for modality, values in (evidence.features or {}).items()}
    write_tensors({**logits, **features, "labels": evidence.labels}, path)


def read_evidence(path: Path, outputs: Iterable[str]) -> Evidence:
    """Evidence from safetensors, its outputs in the order given (the file keeps none).

    Raises:
        InputError: the file is missing, damaged, or holds other outputs.
    """
    tensors = read_tensors(path)
    named = {kind: _named(kind, tensors) for kind in ("logits", "features")}
    if set(named["logits"]) != set(outputs) or "labels" not in tensors:
        raise InputError(f"{path} holds {sorted(tensors)}, expected labels and logits of {list(outputs)}")
    logits = {output: named["logits"][output] for output in outputs}
    return Evidence(logits, tensors["labels"], named["features"] or None)


def _named(kind: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    prefix = f"{kind}."
    return {name.removeprefix(prefix): values for name, values in tensors.items() if name.startswith(prefix)}
