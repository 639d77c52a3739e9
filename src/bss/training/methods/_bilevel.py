"""A weight alpha between two losses that is learned by training samples which are held back from all other weights.

They are drawn once, and come in the first batch of each epoch, whose other samples train the model.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel

from bss.errors import InputError
from bss.measure.evidence import in_eval_mode
from bss.model import Outputs

if TYPE_CHECKING:
    from torch import Tensor, nn

    from bss.training.loader import Batch
    from bss.training.trainer import Trainer


HELD_BACK = "held back"
"""In `Trainer.memory`: their indices."""


def hold_back(trainer: "Trainer", number: int, num_samples: int) -> None:
    """Draw the samples that are held back.

    Args:
        trainer: whose memory gets them.
        number: how many.
        num_samples: N.

    Raises:
        InputError: a batch has no room for them and two more, or the weights are spread over the ranks.
    """
    name, room = trainer.method.name, trainer.settings.batch_size - 2
    if trainer.runtime.is_sharded:
        raise InputError(f"spread.strategy: {name} learns alpha by gradients taken apart, which needs ddp, not fsdp")
    if number > room:
        raise InputError(f"held_back of {name}: {number} samples and two more do not fit into a batch of {room + 2}")
    order = torch.randperm(num_samples, generator=trainer.generator(HELD_BACK), device=trainer.runtime.device)
    trainer.memory[HELD_BACK] = order[:number]


def held_back_first(sequence: np.ndarray, memory: "Mapping[str, Tensor]") -> np.ndarray:
    """The samples of an epoch, those held back first; as they were where less than two others would be left.

    Args:
        sequence: indices, (n,).
        memory: `Trainer.memory`.
    """
    if HELD_BACK not in memory:
        return sequence
    held = memory[HELD_BACK].cpu().numpy()
    rest = sequence[~np.isin(sequence, held)]
    return np.concatenate([held, rest]) if len(rest) >= 2 else sequence


def held_back_rows(batch: "Batch", memory: "Mapping[str, Tensor]") -> "Tensor | None":
    """Which rows of a batch are held back, (B,), bool; None where none are, or less than two others are beside them.

    Then the whole batch trains the model, and alpha learns nothing.
    """
    if HELD_BACK not in memory:
        return None
    held = torch.isin(batch.indices, memory[HELD_BACK].cpu())
    return held.to(batch.labels.device) if held.any() and (~held).sum() >= 2 else None


def clean_outputs(trainer: "Trainer", inputs: "dict[str, Tensor]") -> Outputs:
    """What the model says in eval mode and float32, to be differentiated, twice too.

    Args:
        trainer: whose whole weights each rank has.
        inputs: of this rank's rows, see `Batch`.
    """
    # cuDNN's recurrent layers and fused attention have no second derivative.
    with in_eval_mode(trainer.model), torch.backends.cudnn.flags(enabled=False), sdpa_kernel(SDPBackend.MATH):
        outputs: Outputs = trainer.model(inputs)
    return Outputs({name: trainer.whole(values) for name, values in outputs.logits.items()}, outputs.features)


def slope_after_a_step(trainer: "Trainer", upper: "Tensor", towards: "Tensor") -> float:
    """d upper / d alpha where the weights take a step of (1 - alpha) first + alpha second, by unit of learning rate.

    It is - grad upper . grad (second - first), the implicit gradient with the identity for the inverse Hessian.

    Args:
        trainer: of the model that both losses are of.
        upper: what the held-back samples lose.
        towards: second - first, of the samples that the model trains by.
    """
    weights = _weights(trainer)
    ahead, turn = (_gradients(trainer, loss, weights) for loss in (upper, towards))
    return -float(torch.stack([(one * other).sum() for one, other in zip(ahead, turn, strict=True)]).sum())


def mean_curvature(trainer: "Trainer", upper: "Tensor", lower: "Tensor") -> float:
    """Mean over the model's first tensor of weights of H v: H the Hessian of `lower`, v the gradient of `upper`.

    Args:
        trainer: of the model that both losses are of.
        upper: what the held-back samples lose.
        lower: the loss of the training, of the same samples.
    """
    weights = _weights(trainer)
    ahead = _gradients(trainer, upper, weights)
    slopes = torch.autograd.grad(lower, weights, create_graph=True, allow_unused=True)
    curved = [(slope, v) for slope, v in zip(slopes, ahead, strict=True) if slope is not None and slope.requires_grad]
    if not curved:
        return 0.0
    along = torch.stack([(slope * v).sum() for slope, v in curved]).sum()
    (product,) = _gradients(trainer, along, weights[:1])
    return float(product.mean())


def _weights(trainer: "Trainer") -> "list[nn.Parameter]":
    return [weight for weight in trainer.model.parameters() if weight.requires_grad]


def _gradients(trainer: "Trainer", loss: "Tensor", weights: "Sequence[nn.Parameter]") -> "list[Tensor]":
    """Of the loss of the whole batch; the graph is kept. The model was asked apart, so Fabric refuses none of it."""
    options: dict[str, Any] = {"retain_graph": True, "allow_unused": True, "materialize_grads": True}
    return [trainer.runtime.summed(each) for each in torch.autograd.grad(loss, list(weights), **options)]
