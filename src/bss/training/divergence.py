"""A training that meets NaN or infinity: the message, and the batch for a look at it."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from bss.data.packed import PackedSplit
from bss.errors import InputError
from bss.files import write_tensors
from bss.training.trainer import NotFinite, StepRecord

NUM_IDS = 5


@contextmanager
def explained(key: str, split: PackedSplit, folder: Path | None) -> Iterator[None]:
    """Say of a loss that is not finite which modality and samples it comes from, and keep the batch.

    Args:
        key: name of the section of params.yaml with the learning rate.
        split: that the samples belong to.
        folder: the batch goes there as `not-finite.safetensors`: `inputs.NAME`, `logits.NAME`, `labels`, `indices`,
            on several ranks `rows`, which of the batch the inputs are of; the ids in its header. It is not written
            where left out.

    Raises:
        InputError: in place of `NotFinite`.
    """
    try:
        yield
    except NotFinite as error:
        step = error.step
        ids = [split.ids[index] for index in step.batch.indices.tolist()]
        message = [f"{error}: {_culprit(step, ids)}"]
        if folder is not None:
            path = folder / "not-finite.safetensors"
            of_rank = {"rows": torch.from_numpy(step.rows)} if len(step.rows) != len(ids) else {}
            inputs = {f"inputs.{name}": values for name, values in step.batch.inputs.items()}
            logits = {f"logits.{name}": values for name, values in step.logits.items()}
            rows = {"labels": step.batch.labels, "indices": step.batch.indices}
            write_tensors({**inputs, **logits, **rows, **of_rank}, path, {"ids": json.dumps(ids)})
            message.append(f"the batch is in {path}, the last good checkpoint beside it")
        message.append(f"lower {key}.lr, or look at these samples")
        raise InputError("; ".join(message)) from error


def _culprit(step: StepRecord, ids: list[str]) -> str:
    """The first of: values of a modality, an output, a loss that are not finite; with the samples."""
    own = [ids[row] for row in step.rows]
    for what, tensors, of in (("the values of", step.batch.inputs, own), ("the logits of", step.logits, ids)):
        for name, values in tensors.items():
            bad = ~torch.isfinite(values.float()).reshape(len(values), -1).all(dim=1)
            if bad.any():
                return f"{what} '{name}' are not finite for {_named(bad.nonzero().flatten().tolist(), of)}"
    return f"the logits are finite, and too large for their loss, in the batch of {_named(range(len(ids)), ids)}"


def _named(rows: list[int] | range, ids: list[str]) -> str:
    shown = ", ".join(f"'{ids[row]}'" for row in rows[:NUM_IDS])
    return f"{len(rows)} of {len(ids)} samples ({shown}{', ...' if len(rows) > NUM_IDS else ''})"
