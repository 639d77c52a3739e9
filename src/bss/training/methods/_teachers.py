"""Unimodal teachers: a second branch of each modality that trains alone first, and is asked afterwards.

They are modules of the model, `teachers`, so checkpoints and processes take care of them, and begin with the weights
of the branches that they teach. The model gives what they say where the inputs name them, and so in no evaluation.
"""

from copy import deepcopy
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import nn

from bss.training.losses import cross_entropy
from bss.types import FUSED, PRESENT

if TYPE_CHECKING:
    from torch import Tensor

    from bss.model import MultimodalModel, Outputs
    from bss.training.loader import Batch
    from bss.training.trainer import Trainer

OF_TEACHER = "_of_teacher"
"""What an input's name ends with that goes to a modality's teacher, and not to its branch."""


def add_teachers(model: "MultimodalModel") -> None:
    """Give the model a teacher of each modality, a copy of its branch; for `Method.prepare`, before its changes."""
    model.teachers = nn.ModuleDict({name: deepcopy(model.branch(name)) for name in model.branches})
    model.register_forward_hook(_with_teachers)


def remove_teachers(model: "MultimodalModel") -> None:
    """Leave the model without them; for `Method.export`."""
    del model.teachers


def teach(trainer: "Trainer", batch: "Batch") -> "tuple[Outputs, Tensor]":
    """One update of the teachers, each by the cross-entropy of its modality; their outputs, and the summed loss.

    Nothing else of the model is asked, so no weight and no batch statistic of it moves. As "fused" stands the mean of
    the teachers' logits.
    """
    outputs = _asked(trainer, batch)
    loss = torch.stack([cross_entropy(values, batch.labels) for values in outputs.logits.values()]).sum()
    trainer.backward(loss)
    trainer.update()
    logits = {name: values.detach() for name, values in outputs.logits.items()}
    logits[FUSED] = torch.stack([*logits.values()]).mean(dim=0)
    return outputs._replace(logits=logits), loss.detach()


def lesson(trainer: "Trainer", batch: "Batch") -> "Outputs":
    """What the teachers say of a batch as in evaluation: no gradient, and no move of a statistic.

    Ask before the pass whose gradients are taken.
    """
    _teachers(trainer.model).eval()
    with torch.no_grad():
        return _asked(trainer, batch)


def _teachers(model: "MultimodalModel") -> nn.ModuleDict:
    return cast(nn.ModuleDict, getattr(model, "teachers", nn.ModuleDict()))  # none once they are removed


def _asked(trainer: "Trainer", batch: "Batch") -> "Outputs":
    names = list(trainer.model.branches)
    inputs = batch.of(names)
    return trainer.forward({f"{name}{OF_TEACHER}" if name in names else name: inputs[name] for name in inputs})


def _with_teachers(model: "MultimodalModel", arguments: Any, outputs: "Outputs") -> "Outputs":
    inputs = arguments[0]
    logits, features = dict(outputs.logits), dict(outputs.features)
    for name, teacher in _teachers(model).items():
        if (values := inputs.get(f"{name}{OF_TEACHER}")) is not None:
            features[name], logits[name] = teacher(values, inputs.get(f"{name}{PRESENT}"))
    return outputs._replace(logits=logits, features=features)
