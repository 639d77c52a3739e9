"""A gated recurrent network for sequences."""

from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from bss.encoders.encoder import Encoder
from bss.errors import InputError

if TYPE_CHECKING:
    from torch import Tensor, nn

    from bss.data.packed import ModalityMeta


class GRU(Encoder):
    """The last state of a GRU that reads from the first step to the last one that is there.

    A step of nothing but NaN after all others is padding and changes nothing; a NaN elsewhere counts as 0. A sequence
    without any step gives zeros.
    """

    width: Annotated[int, Field(ge=1)] = 64
    """Size of the state, which the features have."""
    num_layers: Annotated[int, Field(ge=1)] = 1
    """Recurrent layers, one above the other."""

    def build(self, modality: "ModalityMeta") -> "nn.Module":
        """(B, length, size) -> (B, width)."""
        import torch
        from torch import nn

        if len(modality.shape) != 2 or modality.tokens is not None:
            raise InputError(f"gru takes samples of the shape (length, size), got {modality.shape}")

        class Last(nn.GRU):
            def forward(self, steps: "Tensor") -> "Tensor":  # type: ignore[override]
                there = ~steps.isnan().all(dim=2)
                number = torch.arange(1, steps.shape[1] + 1, device=steps.device)
                lengths = (there * number).amax(dim=1, keepdim=True)
                states, _ = super().forward(steps.nan_to_num())
                # A product, because picking a row has no deterministic gradient on CUDA.
                return (states * (number == lengths)[..., None]).sum(dim=1)

        network = Last(modality.shape[1], self.width, self.num_layers, batch_first=True)
        network.dim = self.width
        return network
