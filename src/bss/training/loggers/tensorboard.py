"""TensorBoard: `tensorboard --logdir logs/tensorboard`."""

import shutil
from pathlib import Path
from typing import Any, ClassVar

from bss.training.loggers.logger import Logger, Measured, Writer


class TensorBoard(Logger):
    """A folder of event files a training: curves by name, and a histogram an epoch of each distribution."""

    packages: ClassVar[tuple[str, ...]] = ("tensorboard",)

    def open(self, folder: Path, training: str, epoch: int) -> Writer:
        """What a killed training has shown of this epoch and later ones counts no longer."""
        from torch.utils.tensorboard import SummaryWriter

        if epoch == 0:
            shutil.rmtree(folder / training, ignore_errors=True)
        return _Events(SummaryWriter(str(folder / training), purge_step=epoch))


class _Events(Writer):
    def __init__(self, writer: Any) -> None:
        self._writer = writer

    def write(self, measured: Measured) -> None:
        for name, value in measured.numbers.items():
            self._writer.add_scalar(name, value, measured.epoch)
        for name, values in measured.distributions.items():
            self._writer.add_histogram(name, values, measured.epoch)
        self._writer.flush()

    def close(self, *, failed: bool) -> None:
        self._writer.close()
