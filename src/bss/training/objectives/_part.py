"""A network that an objective adds to a model for as long as it trains."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn

from bss.types import PRESENT

if TYPE_CHECKING:
    from bss.model import MultimodalModel, Outputs
    from bss.training.loader import Batch
    from bss.training.trainer import Trainer

PART = "objective"


def attach(model: "MultimodalModel", part: nn.Module) -> None:
    """Have a part compute in the model's own forward pass, where ddp and fsdp look for the weights in use.

    Args:
        model: gets the part as a module; its outputs have the values of the part among the features.
        part: (model, inputs, outputs) -> name -> (rows, ...). A name holds a dot, so that no modality has it.
    """
    part.hook = model.register_forward_hook(_with_part)  # type: ignore[assignment]
    setattr(model, PART, part)


def detach(model: "MultimodalModel") -> None:
    """Take the part out again."""
    part: Any = getattr(model, PART)
    part.hook.remove()
    delattr(model, PART)


def _with_part(model: "MultimodalModel", inputs: tuple[Mapping[str, Tensor]], outputs: "Outputs") -> "Outputs":
    found = getattr(model, PART)(model, inputs[0], outputs)
    return outputs._replace(features={**outputs.features, **found})


def without_part(outputs: "Outputs") -> "Outputs":
    """The outputs of the model alone."""
    return outputs._replace(features={name: values for name, values in outputs.features.items() if "." not in name})


def presence(trainer: "Trainer", batch: "Batch") -> dict[str, Tensor]:
    """Modality -> (B,), bool, whether a sample of the whole batch has it."""
    import torch

    everywhere = torch.ones(len(batch.labels), dtype=torch.bool, device=batch.labels.device)
    own = {name: batch.inputs.get(f"{name}{PRESENT}") for name in trainer.model.branches}
    return {name: everywhere if mask is None else trainer.whole(mask) for name, mask in own.items()}
