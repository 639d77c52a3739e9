"""A multimodal transfer module: each modality's features are scaled by what all modalities say."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor, nn

from bss.types import FUSED, PRESENT

if TYPE_CHECKING:
    from bss.model import MultimodalModel, Outputs


class MMTM(nn.Module):
    """Features (B, width) of all modalities -> scales of the same shapes, in (0, 1).

    s_m = sigmoid(E_m relu(S [f_1, ..., f_M])), where S goes to a quarter of all widths.

    Args:
        widths: modality -> width.
    """

    def __init__(self, widths: Mapping[str, int]) -> None:
        super().__init__()
        total = sum(widths.values())
        hidden = max(1, total // 4)
        self.squeeze = nn.Linear(total, hidden)
        self.excite = nn.ModuleDict({name: nn.Linear(hidden, width) for name, width in widths.items()})
        for name, width in widths.items():
            self.register_buffer(f"mean_{name}", torch.full((width,), 0.5))
            self.register_buffer(f"num_means_{name}", torch.zeros((), dtype=torch.int64))
        self._held: str | None = None

    def forward(self, features: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Modality -> its scales; of the one that is held, and where some are left out, the running mean."""
        if len(features) < len(self.excite):
            return {name: self.mean(name).expand_as(values) for name, values in features.items()}
        hidden = self.squeeze(torch.cat([features[name] for name in self.excite], dim=1)).relu()
        return {
            name: self.mean(name).expand_as(features[name]) if name == self._held else layer(hidden).sigmoid()
            for name, layer in self.excite.items()
        }

    def mean(self, name: str) -> Tensor:
        """The mean of a modality's scales over the batches that have it, (width,); 0.5 before the first."""
        return cast(Tensor, getattr(self, f"mean_{name}"))

    def add_to_means(self, means: Mapping[str, Tensor]) -> None:
        """Count the mean scales (width,) of one more batch, each modality by itself: the batch may lack some."""
        for name, values in means.items():
            number = cast(Tensor, getattr(self, f"num_means_{name}")).add_(1)
            self.mean(name).add_((values - self.mean(name)) / number)

    @contextmanager
    def holding(self, name: str | None) -> Iterator[None]:
        """Have a modality's scales be their running mean inside; None holds none."""
        self._held = name
        try:
            yield
        finally:
            self._held = None

    def used_by(self, name: str) -> list[nn.Parameter]:
        """The weights that a modality's scales depend on."""
        return [*self.squeeze.parameters(), *self.excite[name].parameters()]


def add_mmtm(model: "MultimodalModel") -> None:
    """Scale the features before the heads, with the mean of the logits as "fused"; for `Method.prepare`."""
    model.fusion = None
    model.mmtm = MMTM({name: model.branch(name).head.in_features for name in model.branches})
    model.register_forward_hook(_rescaled)


def _rescaled(model: "MultimodalModel", arguments: Any, outputs: "Outputs") -> "Outputs":
    """The logits of the scaled features; the features are those of the encoders."""
    scales = cast(MMTM, model.mmtm)(outputs.features)
    logits = {}
    for name, values in outputs.features.items():
        present = arguments[0].get(f"{name}{PRESENT}")
        own = model.branch(name).head(values * scales[name])
        logits[name] = own if present is None else own * present[:, None]
    if FUSED in outputs.logits:
        logits[FUSED] = torch.stack([*logits.values()]).mean(dim=0)
    return outputs._replace(logits=logits)
