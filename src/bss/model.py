"""The model: a dictionary of encoders in, a dictionary of logits out."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor, nn

from bss import seeds
from bss.data.packed import Meta, ModalityMeta, Scale
from bss.encoders.encoder import ENCODERS, Encoder
from bss.encoders.fusions.concat import Concat
from bss.encoders.fusions.fusion import Fusion
from bss.errors import InputError
from bss.types import FUSED, PRESENT


class Outputs(NamedTuple):
    """Logits and features of a batch."""

    logits: dict[str, Tensor]
    """Output (a modality or "fused") -> (B, C)."""
    features: dict[str, Tensor]
    """Modality -> (B, dim)."""


class Branch(nn.Module):
    """One modality: normalisation with the training split's mean and deviation, encoder, classifier."""

    mean: Tensor
    std: Tensor
    encoder: nn.Module
    head: Any
    """Features (B, dim) -> logits (B, C); linear, unless a method puts another in its place."""

    def __init__(self, encoder: nn.Module, num_classes: int, mean: Scale, std: Scale) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(mean))
        self.register_buffer("std", torch.tensor(std))
        self.encoder = encoder
        self.head = nn.Linear(encoder.dim, num_classes)  # type: ignore[arg-type]

    def forward(self, values: Tensor, present: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Packed values (B, *shape) -> features (B, dim) and logits (B, C).

        Both are zero for a sample that lacks the modality, where `present` (B,) is False.
        """
        features = self.encode((values.float() - self.mean) / self.std)
        logits = self.head(features)
        if present is None:
            return features, logits
        return features * present[:, None], logits * present[:, None]

    def encode(self, values: Tensor) -> Tensor:
        """Normalised values (B, *shape) -> features (B, dim), which can be differentiated in eval mode too."""
        in_eval = not self.encoder.training and torch.is_grad_enabled() and not torch.compiler.is_compiling()
        if in_eval and any(isinstance(part, nn.RNNBase) for part in self.encoder.modules()):
            # cuDNN has no backward pass of a recurrent network in eval mode.
            with torch.backends.cudnn.flags(enabled=False):
                return cast(Tensor, self.encoder(values))
        return cast(Tensor, self.encoder(values))


class MultimodalModel(nn.Module):
    """Late fusion: one branch a modality, and a fusion of their features.

    Attributes:
        branches: modality -> its `Branch`.
        fusion: features -> logits; None, and the modalities' logits are summed.
    """

    fusion: nn.Module | None

    def __init__(self, branches: Mapping[str, Branch], num_classes: int, fusion: Fusion | None = None) -> None:
        super().__init__()
        self.branches = nn.ModuleDict(branches)
        widths = {name: branch.head.in_features for name, branch in branches.items()}
        self.fusion = (fusion or Concat()).build(widths, num_classes)

    def branch(self, modality: str) -> Branch:
        """The branch of one modality."""
        return cast(Branch, self.branches[modality])

    def forward(self, inputs: Mapping[str, Tensor]) -> Outputs:
        """Modality -> packed values (B, *shape), to the logits and features of all branches and of the fusion.

        Where some modalities are left out there is no fusion.
        """
        outputs = {
            name: branch(inputs[name], inputs.get(f"{name}{PRESENT}"))
            for name, branch in self.branches.items()
            if name in inputs
        }
        features = {name: values for name, (values, _) in outputs.items()}
        logits = {name: values for name, (_, values) in outputs.items()}
        if len(outputs) == len(self.branches):
            logits[FUSED] = self.fusion(features) if self.fusion else torch.stack([*logits.values()]).sum(dim=0)
        return Outputs(logits, features)


def build_model(
    meta: Meta, encoders: Mapping[str, Encoder], seed: int, fusion: Fusion | None = None
) -> MultimodalModel:
    """The model for a packed data set; a modality without an encoder of its own gets that of its kind.

    Without a `fusion` the features are concatenated.

    Each part draws its initial weights from its own generator, so a branch starts alike whatever stands beside it.
    """
    num_classes = len(meta.classes)
    branches = {}
    for name, modality in meta.modalities.items():
        encoder = encoders.get(name) or ENCODERS.build(modality.encoder)
        with seeded(seed, f"weights of {name}"):
            branches[name] = _branch(name, encoder, modality, num_classes)
    with seeded(seed, "weights of the fusion"):
        return MultimodalModel(branches, num_classes, fusion)


def _branch(name: str, encoder: Encoder, modality: ModalityMeta, num_classes: int) -> Branch:
    try:
        network = encoder.build(modality)
    except InputError as error:
        raise InputError(f"modality '{name}': {error}") from error
    return Branch(network, num_classes, modality.mean, modality.std)


@contextmanager
def seeded(seed: int, purpose: str) -> Iterator[None]:
    """Have torch draw what the block asks for from a generator of its own."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seeds.integer(seed, purpose))
        yield
