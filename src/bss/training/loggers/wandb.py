"""Weights & Biases, offline: `wandb sync --append logs/wandb/TRAINING/wandb/offline-run-*` uploads what is there."""

import os
import secrets
import shutil
from pathlib import Path
from typing import Any, ClassVar

from pydantic import Field

from bss.training.loggers._histogram import histogram
from bss.training.loggers.logger import Logger, Measured, Writer


class WandB(Logger):
    """A run a training, in files; `WANDB_MODE=online` sends it to the server as it comes.

    A training that goes on writes a further file under the same id, which the server joins.
    """

    packages: ClassVar[tuple[str, ...]] = ("wandb",)

    project: str = Field(default="bss", min_length=1)
    """The project that the runs belong to."""

    def open(self, folder: Path, training: str, epoch: int) -> Writer:
        """The id of the run lies beside its files."""
        import wandb

        place = folder / training
        if epoch == 0:
            shutil.rmtree(place, ignore_errors=True)
        place.mkdir(parents=True, exist_ok=True)
        if not (named := place / "id").exists():
            named.write_text(secrets.token_hex(4), encoding="utf-8")
        run = wandb.init(
            dir=str(place), id=named.read_text(encoding="utf-8"), resume="allow", name=training,
            project=self.project, mode=_mode(), reinit="create_new",
            settings=wandb.Settings(console="off", silent=True, x_disable_stats=True, disable_git=True),
        )  # fmt: skip
        return _Run(run)


def _mode() -> Any:
    """What the user's environment says; wandb checks it."""
    return os.environ.get("WANDB_MODE", "offline")


class _Run(Writer):
    def __init__(self, run: Any) -> None:
        self._run = run

    def write(self, measured: Measured) -> None:
        import wandb

        shown = {
            name: wandb.Histogram(np_histogram=histogram(values)) for name, values in measured.distributions.items()
        }
        self._run.log({**measured.numbers, **shown}, step=measured.epoch, commit=True)

    def close(self, *, failed: bool) -> None:
        self._run.finish(exit_code=int(failed))
