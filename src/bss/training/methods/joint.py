"""Joint training of the fusion and of every modality."""

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Annotated, ClassVar, Self

from pydantic import Field, model_validator

from bss.errors import InputError
from bss.training.methods.method import Method, Record
from bss.types import FUSED

if TYPE_CHECKING:
    from torch import Tensor


class Joint(Method):
    """Weighted sum of the cross-entropies of the fusion and of every modality.

    Source: BSS (IJCAI 2025) trains so; its released code weighs 1 : 1, and 0.1 : 0.9 on CREMA-D.
    """

    record: ClassVar[Record] = Record(paper="-", families=("baseline",), extra="-")
    grid: ClassVar[Mapping[str, tuple[object, ...]]] = {"unimodal_weight": (0.5, 1.0, 2.0)}
    weights_of_heads: ClassVar[tuple[str, ...]] = ()
    """The weights of which one has to be above 0, of a method that goes by what the modalities' own heads say."""
    fused_weight: Annotated[float, Field(ge=0)] = 1.0
    """Weight of the cross-entropy of the fusion."""
    unimodal_weight: Annotated[float, Field(ge=0)] = 1.0
    """Weight of that of each modality's own output."""

    @model_validator(mode="after")
    def _something_is_trained(self) -> Self:
        if self.fused_weight == self.unimodal_weight == 0:
            raise InputError("fused_weight and unimodal_weight are both 0, and nothing would be trained")
        return self

    @model_validator(mode="after")
    def _heads_that_are_asked_are_trained(self) -> Self:
        if self.asks_heads() and not any(getattr(self, field) for field in self.weights_of_heads):
            fields = " and ".join(self.weights_of_heads)
            raise InputError(
                f"{fields} {'are' if len(self.weights_of_heads) > 1 else 'is'} 0: {self.name} goes by what each "
                f"modality's own head says, and no loss would train the heads; give a weight above 0"
            )
        return self

    def asks_heads(self) -> bool:
        """Whether it goes by what the modalities' own heads say, as it is set."""
        return bool(self.weights_of_heads)

    def output_weights(self, outputs: Iterable[str]) -> dict[str, float]:
        """Output -> its weight in the loss."""
        return {output: self.fused_weight if output == FUSED else self.unimodal_weight for output in outputs}

    def loss(self, logits: Mapping[str, "Tensor"], labels: "Tensor") -> "Tensor":
        """Mean over the batch, summed over the outputs by weight."""
        import torch

        from bss.training.losses import cross_entropy

        weights = self.output_weights(logits)
        return torch.stack([weights[output] * cross_entropy(logits[output], labels) for output in logits]).sum()
