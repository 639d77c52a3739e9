"""MLflow: `mlflow ui --backend-store-uri sqlite:///logs/mlflow/mlflow.db`."""

import os
import time
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from pydantic import Field

from bss.locks import held
from bss.training.loggers.logger import Logger, Measured, Writer

TAG = "bss.training"
QUANTILES = (0, 25, 50, 75, 100)
SECONDS_TO_MAKE = 120.0
"""How long trainings that begin together wait for the first of them to make the store."""


class MLflow(Logger):
    """A run a training, in a data base of this workspace or on the server of `MLFLOW_TRACKING_URI`.

    MLflow has no histograms: of a distribution the quantiles are curves.
    """

    packages: ClassVar[tuple[str, ...]] = ("mlflow", "sqlalchemy", "alembic")

    experiment: str = Field(default="bss", min_length=1)
    """The experiment that the runs belong to."""

    def open(self, folder: Path, training: str, epoch: int) -> Writer:
        """A training that goes on does so in the last run of its name."""
        from mlflow import MlflowClient
        from mlflow.utils.mlflow_tags import MLFLOW_RUN_NAME

        folder.mkdir(parents=True, exist_ok=True)
        busy = "process {pid} makes MLflow's store"
        with held(folder / "mlflow.lock", busy, SECONDS_TO_MAKE):
            uri = os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{folder.absolute() / 'mlflow.db'}"
            client = MlflowClient(uri)
            experiment = client.get_experiment_by_name(self.experiment)
            number = experiment.experiment_id if experiment else self._made(client, folder)
        last = client.search_runs([number], f"tags.`{TAG}` = '{training}'", max_results=1) if epoch else []
        tags = {TAG: training, MLFLOW_RUN_NAME: training}
        run = last[0] if last else client.create_run(number, tags=tags)
        client.update_run(run.info.run_id, "RUNNING")
        return _Run(client, run.info.run_id)

    def _made(self, client: Any, folder: Path) -> str:
        place = None if os.environ.get("MLFLOW_TRACKING_URI") else (folder.absolute() / "artifacts").as_uri()
        return str(client.create_experiment(self.experiment, place))


class _Run(Writer):
    def __init__(self, client: Any, run: str) -> None:
        self._client, self._run = client, run

    def write(self, measured: Measured) -> None:
        from mlflow.entities import Metric

        numbers = dict(measured.numbers)
        for name, values in measured.distributions.items():
            found = np.percentile(values, QUANTILES).tolist()
            numbers |= {f"{name}/p{share:03d}": value for share, value in zip(QUANTILES, found, strict=True)}
        now = int(1000 * time.time())
        self._client.log_batch(
            self._run, [Metric(_allowed(name), value, now, measured.epoch) for name, value in numbers.items()]
        )

    def close(self, *, failed: bool) -> None:
        self._client.set_terminated(self._run, "FAILED" if failed else "FINISHED")


def _allowed(name: str) -> str:
    """MLflow refuses all but letters, digits and a few signs."""
    return "".join(sign if sign.isalnum() or sign in "_-. /" else "_" for sign in name)
