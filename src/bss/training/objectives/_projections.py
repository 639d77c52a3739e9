"""The networks and the loss of UmURL."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn.functional import mse_loss

from bss.types import PRESENT

if TYPE_CHECKING:
    from bss.model import MultimodalModel, Outputs

ALONE, SHARE = ".alone", ".share"
"""Endings of the names of z_m and u_m."""
SECOND = ".second"
"""Ending of the name of an input: the view of a modality in which it stands together with the others."""


class Projections(nn.Module):
    """Embeddings, a trunk that all share, and projectors.

    Args:
        widths: modality -> width of its features.
        width: of embeddings and trunk.
        projection: width of what the projectors give.
    """

    def __init__(self, widths: Mapping[str, int], width: int, projection: int) -> None:
        super().__init__()
        self.embed = nn.ModuleDict({name: _embedding(number, width) for name, number in widths.items()})
        self.fuse = nn.Linear(width, width, bias=False)
        self.trunk = nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, width))
        self.project = nn.ModuleDict({name: _projector(width, projection) for name in widths})

    def forward(
        self, model: "MultimodalModel", inputs: Mapping[str, Tensor], outputs: "Outputs"
    ) -> dict[str, Tensor]:
        """z_m and u_m of every modality m, (rows, projection), 0 for a sample without it."""
        there = {name: inputs.get(f"{name}{PRESENT}") for name in self.embed}
        single = {name: network(outputs.features[name]) for name, network in self.embed.items()}
        joint = dict(single)
        for name in [name for name in self.embed if f"{name}{SECOND}" in inputs]:
            joint[name] = self.embed[name](model.branch(name)(inputs[f"{name}{SECOND}"], there[name])[0])
        together = self.trunk(self.fuse(_mean(joint, there)))
        found = {}
        for name, network in self.project.items():
            found[f"{name}{ALONE}"] = _of_those(network, self.trunk(single[name]), there[name])
            found[f"{name}{SHARE}"] = _of_those(network, together, there[name])
        return found


def _embedding(number: int, width: int) -> nn.Module:
    return nn.Sequential(nn.Linear(number, width), nn.LayerNorm(width), nn.ReLU(), nn.Linear(width, width))


def _projector(width: int, projection: int) -> nn.Module:
    layers: list[nn.Module] = []
    for _ in range(2):
        layers += [nn.Linear(width, width), nn.BatchNorm1d(width), nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear(width, projection))


def _mean(values: Mapping[str, Tensor], there: Mapping[str, Tensor | None]) -> Tensor:
    """The mean over the modalities that a sample has, (rows, width)."""
    weights = {name: torch.ones(len(rows), 1).to(rows) for name, rows in values.items()}
    for name, mask in there.items():
        if mask is not None:
            weights[name] = mask[:, None].to(values[name])
    total: Tensor = torch.stack([weights[name] * rows for name, rows in values.items()]).sum(dim=0)
    return total / torch.stack([*weights.values()]).sum(dim=0).clamp(min=1)


def _of_those(network: nn.Module, values: Tensor, there: Tensor | None) -> Tensor:
    """The network of the rows that are there, whose statistics the others do not move; 0 for the others."""
    if there is None or bool(there.all()):
        return network(values)  # type: ignore[no-any-return]
    if int(there.sum()) < 2:  # too few for statistics
        return values.new_zeros(len(values), network[-1].out_features)  # type: ignore[index]
    found: Tensor = network(values[there])
    return found.new_zeros(len(values), found.shape[1]).index_put((there,), found)


def similarities(
    alone: Mapping[str, Tensor], share: Mapping[str, Tensor], there: Mapping[str, Tensor]
) -> tuple[Tensor, Tensor]:
    """sum_m MSE(z_m, u_m) and sum_m MSE(z_m, mean_k z_k), each mean over the samples that have m; scalars.

    Args:
        alone: modality -> z_m, (B, D).
        share: modality -> u_m, (B, D).
        there: modality -> (B,), bool, whether a sample has it.
    """
    centre = _mean(alone, there)
    intra = torch.stack([_mse(alone[name], share[name], there[name]) for name in alone]).sum()
    inter = torch.stack([_mse(alone[name], centre, there[name]) for name in alone]).sum()
    return intra, inter


def _mse(one: Tensor, other: Tensor, there: Tensor) -> Tensor:
    return mse_loss(one[there], other[there], reduction="sum") / (there.sum() * one.shape[1]).clamp(min=1)


def regularity(values: Tensor, variance: float, covariance: float) -> Tensor:
    """What keeps z from collapsing, a scalar: deviations below 1, and covariances; 0 for fewer than two samples.

    Args:
        values: (B, D).
        variance: weight of mean_d max(0, 1 - sqrt(var_d + 1e-4)).
        covariance: weight of sum_{d != e} cov_de^2 / D.
    """
    num_samples, width = values.shape
    if num_samples < 2:
        return values.new_zeros(())
    centred = values - values.mean(dim=0)
    cov = centred.T @ centred / (num_samples - 1)
    var = cov.diagonal()
    off = (cov - var.diag()).square().sum() / width
    return variance * (1 - (var + 1e-4).sqrt()).clamp(min=0).mean() + covariance * off
