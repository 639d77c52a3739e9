"""The networks and the losses of CALM."""

from collections.abc import Mapping, Sequence
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, normalize

from bss.errors import InputError
from bss.files import read_tensors

if TYPE_CHECKING:
    from bss.model import MultimodalModel, Outputs
    from bss.training.objectives.calm import CALM

NOISE = "calm.noise"
"""The input with the draws of eps, (rows, pairs, latent)."""
LOSSES = "calm.losses"
"""The loss of each sample and pair, (rows, pairs)."""
EMBEDDED = ".embedded"
"""Ending of the name of A_m f_m in unit length, (rows, width)."""


def read_anchors(path: Path) -> Tensor:
    """Anchors (K, width), float32, from a file.

    Raises:
        InputError: there is no such file, or it holds no matrix `anchors` of finite numbers.
    """
    tensors = read_tensors(path)
    found = tensors.get("anchors")
    if found is None or found.ndim != 2 or len(found) < 2 or not bool(found.float().isfinite().all()):
        shapes = {name: tuple(values.shape) for name, values in tensors.items()}
        raise InputError(
            f"{path} holds {shapes}, expected `anchors` (K, width) with two of them at least, all finite"
        )
    return found.float()


class Relations(nn.Module):
    """Maps into the space of the anchors, the anchors, and an autoencoder a pair.

    Args:
        widths: modality -> width of its features.
        pairs: (source, target), which of them generates which.
        shape: (K, width) of the anchors.
        fixed: (K, width), the part of the anchors that is not learned; None for 0.
        settings: the fields of the objective.
    """

    def __init__(
        self,
        widths: Mapping[str, int],
        pairs: Sequence[tuple[str, str]],
        shape: tuple[int, int],
        fixed: Tensor | None,
        settings: "CALM",
    ) -> None:
        super().__init__()
        num_anchors, width = shape
        self.pairs, self.settings = pairs, settings
        self.maps = nn.ModuleDict({name: nn.Linear(number, width) for name, number in widths.items()})
        self.fixed: Tensor
        self.register_buffer("fixed", torch.zeros(shape) if fixed is None else fixed)
        self.places = nn.Parameter(torch.randn(shape) / width**0.5 if fixed is None else torch.zeros(shape))
        hidden, latent = settings.hidden, settings.latent
        self.encoders = nn.ModuleList(_two_layers(num_anchors, hidden, 2 * latent) for _ in pairs)
        self.decoders = nn.ModuleList(_two_layers(latent, hidden, num_anchors) for _ in pairs)

    def forward(
        self, model: "MultimodalModel", inputs: Mapping[str, Tensor], outputs: "Outputs"
    ) -> dict[str, Tensor]:
        """A_m f_m in unit length, and the loss of each sample and pair."""
        anchors = normalize(self.fixed + self.places, dim=1)
        embedded = {name: normalize(network(outputs.features[name]), dim=1) for name, network in self.maps.items()}
        relations = {name: log_relations(values, anchors, self.settings.tau) for name, values in embedded.items()}
        losses = []
        for place, (source, target) in enumerate(self.pairs):
            mean, log_variance = self.encoders[place](relations[source].exp()).chunk(2, dim=1)
            decoded = self.decoders[place](mean + (log_variance / 2).exp() * inputs[NOISE][:, place])
            wanted = relations[target].exp()
            wanted = wanted.detach() if self.settings.target == "fixed" else wanted
            losses.append(cross_entropy(decoded, wanted, reduction="none")
                          + self.settings.alpha * divergence(mean, log_variance))  # fmt: skip
        return {f"{name}{EMBEDDED}": values for name, values in embedded.items()} | {
            LOSSES: torch.stack(losses, dim=1)
        }


def _two_layers(number: int, hidden: int, width: int) -> nn.Module:
    return nn.Sequential(nn.Linear(number, hidden), nn.ReLU(), nn.Linear(hidden, width))


def log_relations(embedded: Tensor, anchors: Tensor, tau: float) -> Tensor:
    """log softmax(tau cos), (B, K).

    Args:
        embedded: (B, width), of unit length.
        anchors: (K, width), of unit length.
        tau: sharpness.
    """
    return (tau * embedded @ anchors.T).float().log_softmax(dim=1)


def divergence(mean: Tensor, log_variance: Tensor) -> Tensor:
    """Kullback-Leibler divergence from a standard normal, (B,), in nats, at least 0.

    Args:
        mean: (B, latent).
        log_variance: (B, latent).
    """
    mean, log_variance = mean.float(), log_variance.float()
    return (mean.square() + log_variance.exp() - log_variance - 1).sum(dim=1) / 2


def mean_over(losses: Tensor, there: Tensor) -> Tensor:
    """The mean over the pairs of the mean over the samples that have both modalities, a scalar.

    Args:
        losses: (B, pairs).
        there: (B, pairs), bool; a pair without a sample counts as 0.
    """
    each = losses.where(there, 0.0).sum(dim=0) / there.sum(dim=0).clamp(min=1)
    return each.mean()


def contrast(embedded: Mapping[str, Tensor], there: Mapping[str, Tensor], temperature: float) -> Tensor:
    """The mean over all pairs of modalities of `info_nce`, among the samples that have both; a scalar.

    Args:
        embedded: modality -> (B, width), of unit length.
        there: modality -> (B,), bool, whether a sample has it.
        temperature: of the similarities.
    """
    losses = []
    for one, other in combinations(embedded, 2):
        rows = there[one] & there[other]
        similarity = embedded[one][rows] @ embedded[other][rows].T / temperature
        losses.append(info_nce(similarity) if len(similarity) else similarity.sum())
    return torch.stack(losses).mean()


def info_nce(similarity: Tensor) -> Tensor:
    """Mean of the two cross-entropies that ask, of each row and of each column, for the diagonal.

    Args:
        similarity: (B, B), divided by the temperature.
    """
    wanted = torch.arange(len(similarity), device=similarity.device)
    return (cross_entropy(similarity, wanted) + cross_entropy(similarity.T, wanted)) / 2
