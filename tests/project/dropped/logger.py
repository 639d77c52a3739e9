"""A line an epoch."""

from pathlib import Path

from bss.training.loggers.logger import Logger, Measured, Writer


class Dropped(Logger):
    """The accuracy of the fusion, where there is one, in a file of text."""

    def open(self, folder: Path, training: str, epoch: int) -> Writer:
        """A file a training."""
        folder.mkdir(parents=True, exist_ok=True)
        return _Lines(folder / f"{training}.txt")


class _Lines(Writer):
    def __init__(self, path: Path) -> None:
        self._path = path

    def write(self, measured: Measured) -> None:
        with self._path.open("a", encoding="utf-8") as file:
            print(measured.epoch, measured.numbers.get("validation_accuracy/fused"), file=file)

    def close(self, *, failed: bool) -> None:
        pass
