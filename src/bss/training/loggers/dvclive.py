"""DVCLive: `dvc plots show logs/dvclive`, and the extension of VS Code."""

from pathlib import Path
from typing import Any, ClassVar

from bss.training.loggers._histogram import histogram
from bss.training.loggers.logger import Logger, Measured, Writer


class DVCLive(Logger):
    """A folder a training: `metrics.json`, a table a curve, and a histogram of the last epoch of each distribution.

    It belongs to no stage: neither dvc.yaml nor an experiment knows of it.
    """

    packages: ClassVar[tuple[str, ...]] = ("dvclive",)

    def open(self, folder: Path, training: str, epoch: int) -> Writer:
        """DVCLive itself clears the folder where it does not go on."""
        from dvclive.live import Live

        # Not None for dvcyaml: that stands for the file of the workspace.
        return _Tables(Live(str(folder / training), resume=epoch > 0, save_dvc_exp=False, dvcyaml=False))


class _Tables(Writer):
    def __init__(self, live: Any) -> None:
        self._live = live

    def write(self, measured: Measured) -> None:
        self._live.step = measured.epoch
        for name, value in measured.numbers.items():
            self._live.log_metric(name, value)
        for name, values in measured.distributions.items():
            counts, edges = histogram(values)
            rows = [
                {"low": low, "count": count} for low, count in zip(edges[:-1].tolist(), counts.tolist(), strict=True)
            ]
            self._live.log_plot(name, rows, x="low", y="count", template="bar_horizontal", title=name)
        self._live.make_summary()

    def close(self, *, failed: bool) -> None:
        self._live.end()
