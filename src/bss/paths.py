"""Where each artifact of a workspace lies. dvc.yaml names the same places."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Self

from bss.types import Split

PARAMS = "params.yaml"


def absolute(path: Path) -> Path:
    """A path without `..` from the root on, so that two of them can be compared; no link is followed."""
    return Path(os.path.abspath(path))  # noqa: PTH100 - the other two keep `..`, or follow links


class Cell(NamedTuple):
    """One training of the grid. As text METHOD-SCHEDULER-SEED; a method's name has no hyphen."""

    method: str
    scheduler: str
    seed: int

    def __str__(self) -> str:
        return f"{self.method}-{self.scheduler}-{self.seed}"

    @classmethod
    def parse(cls, text: str) -> Self:
        """The cell that a text names.

        Raises:
            ValueError: it names none.
        """
        method, _, rest = text.partition("-")
        scheduler, _, seed = rest.rpartition("-")
        return cls(method, scheduler, int(seed))


class Round(NamedTuple):
    """One round of active learning; the labels of round 0 are random, and the same for all acquisitions."""

    acquisition: str
    seed: int
    number: int

    def __str__(self) -> str:
        return f"{self.acquisition}-{self.seed}-{self.number}"

    @property
    def before(self) -> "Round":
        """The round before."""
        return self._replace(number=self.number - 1)


@dataclass(frozen=True)
class Workspace:
    """A folder with params.yaml, and the places of what the stages read and write in it."""

    folder: Path = Path()

    @property
    def params(self) -> Path:
        """The parameters."""
        return self.folder / PARAMS

    @property
    def lock(self) -> Path:
        """What DVC knows of the last run of each stage."""
        return self.folder / "dvc.lock"

    @property
    def temporary(self) -> Path:
        """The folder of DVC for what lasts as long as a run: locks, and the workspaces of a study."""
        return self.folder / ".dvc/tmp"

    @property
    def logs(self) -> Path:
        """The folder of what each stage has printed."""
        return self.folder / "logs"

    @property
    def sample(self) -> Path:
        """The raw data that come with the project."""
        return self.folder / "data/sample"

    @property
    def raw(self) -> Path:
        """Where raw data lie that were fetched, unless BSS_DATA says otherwise."""
        return self.folder / "data/raw"

    @property
    def packed(self) -> Path:
        """The data set as the stages read it."""
        return self.folder / "data/packed"

    @property
    def all_scores(self) -> Path:
        """The folder of the scores of all seeds."""
        return self.folder / "data/scores"

    @property
    def all_held_out(self) -> Path:
        """The folder of the scores of the validation samples, of all seeds."""
        return self.folder / "data/held_out"

    @property
    def all_warmups(self) -> Path:
        """The folder of the warm-ups of all seeds."""
        return self.folder / "models/warmup"

    @property
    def curricula(self) -> Path:
        """The folder of the curricula of all schedulers and seeds."""
        return self.folder / "data/curricula"

    @property
    def runs(self) -> Path:
        """The folder of the trainings of all cells."""
        return self.folder / "models/runs"

    @property
    def all_metrics(self) -> Path:
        """The folder of the metrics of all cells."""
        return self.folder / "reports/metrics"

    @property
    def all_predictions(self) -> Path:
        """The folder of the predictions of all cells."""
        return self.folder / "reports/predictions"

    @property
    def checkpoints(self) -> Path:
        """Of interrupted trainings. DVC does not know them, and a training that ends removes its own."""
        return self.folder / "models/checkpoints"

    @property
    def best(self) -> Path:
        """The registered model."""
        return self.folder / "models/best"

    @property
    def reports(self) -> Path:
        """The folder of all that people read."""
        return self.folder / "reports"

    @property
    def report(self) -> Path:
        """The page of the grid."""
        return self.reports / "report.html"

    @property
    def studies(self) -> Path:
        """The folder of the results of all studies, a folder each."""
        return self.reports / "compare"

    @property
    def retraining(self) -> Path:
        """What the last retraining has changed."""
        return self.reports / "retrain.md"

    @property
    def plots(self) -> Path:
        """The folder of the tables for DVC's plots."""
        return self.folder / "reports/plots"

    @property
    def validation(self) -> Path:
        """The validation accuracies of the grid."""
        return self.folder / "reports/validation.json"

    def summary(self, suffix: str) -> Path:
        """The table of the report: `txt` for a terminal, `md` for Markdown, `json` for a program."""
        return self.folder / f"reports/summary.{suffix}"

    def method(self, name: str) -> Path:
        """The checksums of the code of training with a method."""
        return self.folder / f"data/methods/{name}.json"

    def warmup(self, seed: int) -> Path:
        """The folder of the weights and the evidence of the warm-up."""
        return self.all_warmups / str(seed)

    def evidence(self, seed: int, split: Split) -> Path:
        """What the warmed-up model says of every training or validation sample."""
        return self.warmup(seed) / f"evidence_{split}.safetensors"

    def scores(self, seed: int) -> Path:
        """Criteria and balance score of every training sample."""
        return self.all_scores / f"{seed}.parquet"

    def held_out(self, seed: int) -> Path:
        """The same of every validation sample, in the scale of the training samples."""
        return self.all_held_out / f"{seed}.parquet"

    def advice(self, suffix: str) -> Path:
        """What to expect of an order: `md` in words, `csv` the pairs that stand out, `html` both as a page."""
        return self.folder / f"reports/advice.{suffix}"

    def curriculum(self, scheduler: str, seed: int) -> Path:
        """The folder of the order, the pacing curve and the index sequences."""
        return self.curricula / f"{scheduler}-{seed}"

    def run(self, cell: Cell) -> Path:
        """The folder of the weights, the history and the draws of one training."""
        return self.runs / str(cell)

    def epochs(self, cell: Cell) -> Path:
        """The weights of every epoch of a training. DVC does not know them; who has judged them removes them."""
        return self.folder / f"models/epochs/{cell}"

    def runtime(self, cell: Cell) -> Path:
        """What one training ran on: device, precision and threads."""
        return self.run(cell) / "runtime.json"

    def acquisition(self, name: str) -> Path:
        """The fields of an acquisition, and the checksums of its code."""
        return self.folder / f"data/acquisitions/{name}.json"

    def round(self, round_: Round) -> Path:
        """The folder of the labelled pairs, the weights and the evidence of one round."""
        return self.folder / f"models/active/{round_.acquisition}-{round_.seed}/{round_.number}"

    def curve(self, acquisition: str, seed: int) -> Path:
        """The metrics of all rounds of an acquisition on the test split."""
        return self.folder / f"reports/active/{acquisition}-{seed}.json"

    def seconds(self, cell: Cell | Round) -> Path:
        """How long one training took. DVC does not know it, for it is another number every time."""
        return self.folder / f"models/times/{cell}.json"

    def metrics(self, cell: Cell) -> Path:
        """The metrics of one cell on the test split."""
        return self.all_metrics / f"{cell}.json"

    def by_test(self, cell: Cell) -> Path:
        """The metrics of every epoch of one cell on the test split; only `bss reproduce` reads them."""
        return self.folder / f"reports/by_test/{cell}.json"

    def predictions(self, cell: Cell) -> Path:
        """The folder of the predictions and the confusion matrices on the test split."""
        return self.all_predictions / str(cell)


HERE = Workspace()
"""The current folder."""
