"""The weights of every epoch of a training, for the one stage that judges each of them and removes them."""

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from bss.errors import MissingInput
from bss.files import checksum, write_json, write_tensors
from bss.training import weights
from bss.training.weights import WEIGHTS

if TYPE_CHECKING:
    from torch import nn

    from bss.training.runtime import Runtime

SEAL = "model.json"
"""Written last: the checksum of the model that the training ended with, and how many epochs there are."""


class EpochWeights:
    """The folder in which a training leaves the weights of each epoch, `00000/` the first.

    Args:
        folder: holds nothing else.
        runtime: of the training.
    """

    def __init__(self, folder: Path, runtime: "Runtime") -> None:
        self.folder, self.runtime = folder, runtime

    def keep(self, model: "nn.Module", epoch: int) -> None:
        """Write the weights at the end of an epoch; every rank has to call it. The first removes older ones."""
        taken = weights.take(model)
        if not self.runtime.is_first:
            return
        if epoch == 0:
            shutil.rmtree(self.folder, ignore_errors=True)
        write_tensors(taken, self.folder / f"{epoch:05d}" / WEIGHTS)

    def seal(self, model: Path, num_epochs: int) -> None:
        """Say which model, a file of weights, the epochs led to: the training has ended."""
        write_json({"model": checksum(model), "num_epochs": num_epochs}, self.folder / SEAL)


@contextmanager
def every_epoch(folder: Path, model: Path) -> Iterator[list[Path]]:
    """The folders of the epochs of a training, in their order, for a block; if it ends well, they are removed.

    Args:
        folder: in which the training left them.
        model: the file of weights that the training ended with.

    Raises:
        MissingInput: they are not those of this training, or were judged before and removed.
    """
    seal = folder / SEAL
    facts = json.loads(seal.read_text(encoding="utf-8")) if seal.is_file() else {}
    if facts.get("model") != checksum(model):
        raise MissingInput(
            f"{folder} has no weights of every epoch of {model}: they are removed once they are judged. Train again: "
            f"dvc repro --force --single-item train@{folder.name}, in {Path.cwd()}"
        )
    yield [folder / f"{epoch:05d}" for epoch in range(facts["num_epochs"])]
    shutil.rmtree(folder)
