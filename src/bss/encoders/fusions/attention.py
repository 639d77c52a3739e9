"""The modalities look at each other."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Self

from pydantic import Field, model_validator

from bss.encoders.fusions.fusion import Fusion
from bss.errors import InputError

if TYPE_CHECKING:
    from torch import Tensor, nn


class Attention(Fusion):
    """One layer of self-attention over a token a modality; the mean of the tokens is classified.

    Token m is x_m = P_m f_m; queries also see a learned vector e_m, which marks the modality. With
    A = softmax(Q K^T / sqrt(d)) in each head, the tokens become x + O A V. Neither P, K, V nor O has a bias, so a
    missing modality takes a share of the attention and says nothing.
    """

    width: Annotated[int, Field(ge=1)] = 64
    """Width of a token."""
    num_heads: Annotated[int, Field(ge=1)] = 4
    """Heads of the layer; `width` is a multiple of it."""

    @model_validator(mode="after")
    def _heads_share_the_width(self) -> Self:
        if self.width % self.num_heads:
            raise InputError(f"width {self.width} is not a multiple of num_heads {self.num_heads}")
        return self

    def build(self, widths: Mapping[str, int], num_classes: int) -> "nn.Module":
        """Modality -> (B, width), to (B, C)."""
        import torch
        from torch import nn

        class Attended(nn.Module):
            def __init__(self, width: int, num_heads: int) -> None:
                super().__init__()
                self.num_heads = num_heads
                self.projections = nn.ModuleDict(
                    {name: nn.Linear(inner, width, bias=False) for name, inner in widths.items()}
                )
                self.kinds = nn.Parameter(torch.randn(len(widths), width) * width**-0.5)
                self.query, self.key, self.value, self.out = (nn.Linear(width, width, bias=False) for _ in range(4))
                self.head = nn.Linear(width, num_classes)

            def forward(self, features: "Mapping[str, Tensor]") -> "Tensor":
                tokens = torch.stack([project(features[name]) for name, project in self.projections.items()], dim=1)
                marked = tokens + self.kinds
                query, key, value = map(self._split, (self.query(marked), self.key(tokens), self.value(tokens)))
                # Written out: a handful of tokens gains nothing from a fused kernel, and this one repeats on CUDA.
                shares = (query @ key.transpose(-1, -2) * query.shape[-1] ** -0.5).softmax(dim=-1)
                seen = (shares @ value).transpose(1, 2).flatten(2)
                logits: Tensor = self.head((tokens + self.out(seen)).mean(dim=1))
                return logits

            def _split(self, tokens: "Tensor") -> "Tensor":
                """(B, M, width) -> (B, heads, M, width / heads)."""
                return tokens.view(*tokens.shape[:2], self.num_heads, -1).transpose(1, 2)

        return Attended(self.width, self.num_heads)
