"""Copies of a model that learn beside it: of its branches, each alone, and of encoders and fusion together.

They are modules of the model, `copies_alone`, `copies_together` and `copies_fusion`, so checkpoints and processes
take care of them. The model gives what they say where the inputs name them, or within `copies_asked`.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from copy import deepcopy
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import nn

from bss.model import Outputs
from bss.training.losses import cross_entropy
from bss.types import FUSED, PRESENT

if TYPE_CHECKING:
    from torch import Tensor

    from bss.model import MultimodalModel
    from bss.training.loader import Batch
    from bss.training.trainer import Trainer

OF_COPY = "_of_copy"
"""What an input's name ends with that goes to the copies, and not to the branch."""


def add_copies(model: "MultimodalModel") -> None:
    """Give the model the copies; for `Method.prepare`."""
    model.copies_alone, model.copies_together = deepcopy(model.branches), deepcopy(model.branches)
    model.copies_fusion = deepcopy(cast(nn.Module, model.fusion))
    model.register_forward_hook(_with_copies)


def remove_copies(model: "MultimodalModel") -> None:
    """Leave the model without them; for `Method.export`."""
    del model.copies_alone, model.copies_together, model.copies_fusion


def restart_copies(trainer: "Trainer") -> None:
    """Take the copies, and what the optimizer remembers of their weights, to where the model is."""
    model, state = cast(Any, trainer.model), trainer.optimizer.state
    for copy, own in (
        (model.copies_alone, model.branches),
        (model.copies_together, model.branches),
        (model.copies_fusion, model.fusion),
    ):
        copy.load_state_dict(own.state_dict())
        for mine, theirs in zip(copy.parameters(), own.parameters(), strict=True):
            state.pop(mine, None)
            if theirs in state:
                state[mine] = {key: values.clone() for key, values in state[theirs].items()}


def train_copies(trainer: "Trainer", batch: "Batch") -> "tuple[Outputs, Tensor]":
    """One update of the copies, each by the cross-entropy of its output alone; their outputs, and the summed loss.

    Nothing else of the model is asked, so no weight and no batch statistic of it moves.
    """
    outputs = trainer.forward(_renamed(trainer.model, batch.inputs))
    loss = torch.stack([cross_entropy(values, batch.labels) for values in outputs.logits.values()]).sum()
    trainer.backward(loss)
    trainer.update()
    return outputs, loss


@contextmanager
def copies_asked(model: "MultimodalModel") -> Iterator[None]:
    """Have the copies answer inside, in place of the model."""
    handle = model.register_forward_pre_hook(lambda model, arguments: (_renamed(model, arguments[0]),))
    try:
        yield
    finally:
        handle.remove()


def _renamed(model: Any, inputs: "dict[str, Tensor]") -> "dict[str, Tensor]":
    return {f"{name}{OF_COPY}" if name in model.branches else name: values for name, values in inputs.items()}


def _with_copies(model: Any, arguments: Any, outputs: Outputs) -> Outputs:
    inputs = arguments[0]
    if not any(f"{name}{OF_COPY}" in inputs for name in model.branches):
        return outputs
    logits, features = {}, {}
    for name in model.branches:
        values, present = inputs[f"{name}{OF_COPY}"], inputs.get(f"{name}{PRESENT}")
        _, logits[name] = model.copies_alone[name](values, present)
        features[name], _ = model.copies_together[name](values, present)
    logits[FUSED] = model.copies_fusion(features)
    return Outputs(logits, features)
