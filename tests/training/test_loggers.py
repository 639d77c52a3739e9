"""Live curves: what each logger has written, read back by its own library."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from bss.curriculum.sampler import CurriculumSampler
from bss.curriculum.schedulers.learned import Learned
from bss.errors import InputError
from bss.params import FlowSettings
from bss.parsing import checked
from bss.training import weights
from bss.training.checkpoint import Checkpoints
from bss.training.curves import LiveCurves, draws_by_class
from bss.training.loggers.logger import LOGGERS, Logger, Measured, Writer
from bss.training.loop import fit
from bss.training.methods.joint import Joint
from bss.training.methods.method import Method
from bss.training.methods.unimodal import Unimodal
from bss.training.runtime import Runtime
from bss.training.trainer import Trainer
from bss.types import Split
from tests.helpers import ROOT
from tests.helpers.killed import EPOCHS, Deadly, Killed, model_with_chance
from tests.helpers.steps import Splits
from tests.helpers.toy import SETTINGS, TRAIN, packed_toy

OUTPUTS = ("m0", "m1", "fused")
NAMES = {
    f"{name}/{output}" for name in ("train_loss", "validation_loss", "validation_accuracy") for output in OUTPUTS
}
NAMES |= {f"discrepancy_ratio/{name}" for name in ("m0", "m1")} | {"draws/left", "draws/right", "draws/none"}
NAMES |= {"lr", "samples_per_second"}
TRAINING = "joint-learned-0"


@pytest.fixture(scope="module")
def splits(tmp_path_factory: pytest.TempPathFactory) -> Splits:
    return packed_toy(tmp_path_factory.mktemp("toy"))


def trained(
    splits: Splits,
    loggers: Sequence[Logger],
    folder: Path,
    checkpoints: Checkpoints | None = None,
    method: Method | None = None,
) -> tuple[dict[str, bytes], pl.DataFrame]:
    """Weights and history of a training whose curves are shown."""
    train = splits[Split.TRAIN]
    trainer = Trainer(model_with_chance(splits), method or Joint(), TRAIN, Runtime.start(SETTINGS))
    sampler = CurriculumSampler(len(train), Learned(score_update="online"), scores=np.linspace(-1, 1, len(train)))
    with LiveCurves(loggers, folder, TRAINING) as curves:
        given = (trainer, sampler, train, splits[Split.VALIDATION], TRAIN, EPOCHS, None, checkpoints)
        history = fit(*given, curves=curves)
    return {name: values.numpy().tobytes() for name, values in weights.take(trainer.model).items()}, history


def shown(splits: Splits, name: str, folder: Path, *, twice: bool = False, **fields: Any) -> pl.DataFrame:
    """A training is shown that is killed in its last epoch and resumed, once, or once more over it; the history."""
    logger = LOGGERS.build({"name": name, **fields})
    logger.expect_packages()
    whole, history = trained(splits, [], folder)
    for number in range(2 if twice else 1):
        saved = folder / f"checkpoints {number}"
        with pytest.raises(Killed):
            trained(splits, [logger], folder, Deadly(saved, 3 * 6 - 2))
        assert trained(splits, [logger], folder, Checkpoints(saved, 10))[0] == whole, "it changes no result"
    return history


def expect_curves(curves: Mapping[str, list[tuple[int, float]]], history: pl.DataFrame) -> None:
    """Every number that an epoch has to show, once an epoch, as the history has it."""
    assert curves.keys() >= NAMES
    assert {len(curves[name]) for name in NAMES} == {EPOCHS}
    for name in sorted(NAMES):
        assert [epoch for epoch, _ in curves[name]] == [*range(EPOCHS)], name
        column, _, output = name.partition("/")
        values = [value for _, value in curves[name]]
        if column in history.columns:
            wanted = history.filter(output=output or "fused")[column].to_list()
            assert values == pytest.approx(wanted, rel=1e-6), name
    sure = [history.filter(output=name)["validation_confidence"] for name in ("m0", "m1")]
    for name, ratio in (("m0", sure[0] / sure[1]), ("m1", sure[1] / sure[0])):
        shown_ratio = [value for _, value in curves[f"discrepancy_ratio/{name}"]]
        assert shown_ratio == pytest.approx(ratio.to_list(), rel=1e-6)
    assert sum(curves[f"draws/{name}"][0][1] for name in ("left", "right", "none")) == 96
    assert min(value for _, value in curves["samples_per_second"]) > 0


def test_tensorboard(splits: Splits, tmp_path: Path) -> None:
    pytest.importorskip("tensorboard", reason="needs the extra tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    history = shown(splits, "tensorboard", tmp_path, twice=True)
    events = EventAccumulator(str(tmp_path / "tensorboard" / TRAINING), {"histograms": 0}).Reload()
    found = {name: [(event.step, event.value) for event in events.Scalars(name)] for name in events.Tags()["scalars"]}
    expect_curves(found, history)
    histograms = events.Histograms("balance_score")
    assert [event.step for event in histograms] == [*range(EPOCHS)]
    first = histograms[0].histogram_value
    assert (first.min, first.max, first.num) == (-1, 1, 96), "the scores that the first epoch was drawn by"


def test_dvclive(splits: Splits, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("dvclive", reason="needs the extra dvclive")
    monkeypatch.chdir(tmp_path)
    history = shown(splits, "dvclive", tmp_path, twice=True)
    folder = tmp_path / "dvclive" / TRAINING
    tables = {path: pl.read_csv(path, separator="\t") for path in (folder / "plots/metrics").rglob("*.tsv")}
    found = {
        path.relative_to(folder / "plots/metrics").with_suffix("").as_posix(): [*table.iter_rows()]
        for path, table in tables.items()
    }
    expect_curves({name: [(row[0], row[1]) for row in rows] for name, rows in found.items()}, history)
    assert json.loads((folder / "metrics.json").read_text())["step"] == EPOCHS - 1
    rows = json.loads((folder / "plots/custom/balance_score.json").read_text())
    assert sum(row["count"] for row in rows) == 96
    assert not (tmp_path / "dvc.yaml").exists()


@pytest.mark.parametrize("store", ["a server", pytest.param("a data base of its own", marks=pytest.mark.nightly)])
def test_mlflow(store: str, splits: Splits, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A store of files stands for a server: a data base takes MLflow seconds to make."""
    pytest.importorskip("mlflow", reason="needs the extra mlflow")
    from mlflow import MlflowClient

    if store == "a server":
        monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
        monkeypatch.setenv("MLFLOW_TRACKING_URI", uri := (tmp_path / "store").as_uri())
    else:
        monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
        uri = f"sqlite:///{tmp_path / 'mlflow/mlflow.db'}"
    monkeypatch.chdir(tmp_path)
    history = shown(splits, "mlflow", tmp_path, twice=True, experiment="mine")
    client = MlflowClient(uri)
    number = client.get_experiment_by_name("mine").experiment_id
    runs = client.search_runs([number])
    assert [(run.info.run_name, run.info.status) for run in runs] == [(TRAINING, "FINISHED")] * 2
    for run in runs:
        found = {
            name: [(metric.step, metric.value) for metric in client.get_metric_history(run.info.run_id, name)]
            for name in run.data.metrics
        }
        expect_curves(found, history)
        quantiles = [found[f"balance_score/{share}"][0] for share in ("p000", "p050", "p100")]
        assert quantiles == [(0, -1), (0, pytest.approx(0)), (0, 1)]
    assert {path.name for path in tmp_path.iterdir()} <= {"store", "mlflow", "checkpoints 0", "checkpoints 1"}


@pytest.mark.nightly
def test_wandb(splits: Splits, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wandb = pytest.importorskip("wandb", reason="needs the extra wandb")
    monkeypatch.delenv("WANDB_MODE", raising=False)
    history = shown(splits, "wandb", tmp_path)
    wandb.teardown()  # a process of its own writes the files, and ends with the process of the training
    folder = tmp_path / "wandb" / TRAINING
    files = sorted((folder / "wandb").glob("offline-run-*/*.wandb"))
    assert [path.stem for path in files] == [f"run-{(folder / 'id').read_text()}"] * 2
    rows = [row for path in files for row in read_wandb(path)]
    found = {name: [(row["_step"], row[name]) for row in rows if name in row] for name in NAMES}
    expect_curves(found, history)
    assert [sum(row["balance_score/values"]) for row in rows] == [96] * EPOCHS


def read_wandb(path: Path) -> list[dict[str, Any]]:
    """The history in a file of an offline run: a log of LevelDB, with a header of 7 bytes, of W&B's own messages."""
    from wandb.proto import wandb_internal_pb2 as messages

    content, place, rows, message = path.read_bytes(), 7, [], b""
    while place + 7 <= len(content):
        if (left := 2**15 - place % 2**15) < 7:
            place += left
            continue
        size, kind = int.from_bytes(content[place + 4 : place + 6], "little"), content[place + 6]
        message += content[place + 7 : place + 7 + size]
        place += 7 + size
        if kind in {1, 4}:  # whole, or the last part
            record = messages.Record.FromString(message)  # type: ignore[attr-defined, unused-ignore]
            message = b""
            items = record.history.item
            if items:
                rows.append({item.key or "/".join(item.nested_key): json.loads(item.value_json) for item in items})
    return rows


def test_a_method_without_a_fusion_has_curves(splits: Splits, tmp_path: Path) -> None:
    pytest.importorskip("dvclive", reason="needs the extra dvclive")
    trained(splits, [LOGGERS.build("dvclive")], tmp_path, method=Unimodal())
    folder = tmp_path / "dvclive" / TRAINING / "plots/metrics/train_loss"
    assert {path.stem for path in folder.iterdir()} == {"m0", "m1"}


class Noting(Logger):
    """Notes its epochs, and how it ended."""

    def open(self, folder: Path, training: str, epoch: int) -> Writer:
        return _Notes(folder)


class Failing(Noting):
    """Fails when it is opened, from its second epoch on, or when it is closed."""

    at: str
    error: Any

    @property
    def name(self) -> str:
        return "failing"

    def open(self, folder: Path, training: str, epoch: int) -> Writer:
        self.fail("open")
        return _Fails(folder, self)

    def fail(self, at: str) -> None:
        if self.at == at:
            raise self.error


class _Notes(Writer):
    def __init__(self, folder: Path) -> None:
        self._path, self.shown = folder.with_suffix(".txt"), list[int]()

    def write(self, measured: Measured) -> None:
        self.shown.append(measured.epoch)

    def close(self, *, failed: bool) -> None:
        self._path.write_text(f"{self.shown} {failed}")


class _Fails(_Notes):
    def __init__(self, folder: Path, logger: Failing) -> None:
        super().__init__(folder)
        self._logger = logger

    def write(self, measured: Measured) -> None:
        if self.shown:
            self._logger.fail("write")
        super().write(measured)

    def close(self, *, failed: bool) -> None:
        self._logger.fail("close")
        super().close(failed=failed)


@pytest.mark.parametrize("at", ["open", "write", "close"])
@pytest.mark.parametrize("error", [OSError(28, "No space left"), RuntimeError("500 Server\nError")], ids=repr)
def test_a_logger_that_fails_is_left_out_and_nothing_else_changes(
    at: str, error: Exception, splits: Splits, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    whole, history = trained(splits, [], tmp_path)
    model, found = trained(splits, [Failing(at=at, error=error), Noting()], tmp_path)
    assert model == whole
    assert found.equals(history)
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {
        "test_loggers.txt": f"{[*range(EPOCHS)]} False"
    }
    (record,) = caplog.records
    message = record.getMessage()
    assert message.startswith(
        f"warning: flow.log: 'failing' shows this training no longer, which goes on ({type(error).__name__}"
    )
    assert " ".join(str(error).split()) in message
    assert (record.exc_info is None) == isinstance(error, OSError)


def test_a_fault_in_what_is_shown_is_no_fault_of_a_logger(splits: Splits, tmp_path: Path) -> None:
    train = splits[Split.TRAIN]
    rows = [{"epoch": 0}]
    with pytest.raises(KeyError, match="output"), LiveCurves([Noting()], tmp_path, TRAINING) as curves:
        curves.write(rows, CurriculumSampler(len(train), Learned(score_update="online")), train, np.arange(9), 1.0)


def test_a_training_that_fails_closes_its_loggers(splits: Splits, tmp_path: Path) -> None:
    with pytest.raises(Killed):
        trained(splits, [Noting()], tmp_path, Deadly(tmp_path / "checkpoints", 3 * 6 - 2))
    assert (tmp_path / "test_loggers.txt").read_text() == "[0, 1] True"


def test_classes_that_a_name_cannot_tell_apart_are_numbered() -> None:
    labels = np.array([0, 0, 2])
    assert draws_by_class(labels, ["a/b", "c", "d"]) == {"draws/a_b": 2, "draws/c": 0, "draws/d": 1}
    assert draws_by_class(labels, ["a/b", "a:b", "d"]) == {"draws/0 a_b": 2, "draws/1 a_b": 0, "draws/2 d": 1}


FLOW: dict[str, Any] = {"max_parallel": "auto", "cache": "auto", "checkpoint_minutes": 1.0, "num_workers": 0}


def test_no_logger_is_the_default() -> None:
    assert FlowSettings(**FLOW).log == []


@pytest.mark.parametrize("name", list(LOGGERS))
def test_a_logger_whose_package_is_missing_is_refused_with_its_extra(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with pytest.raises(InputError, match=rf"log: '{name}' needs [a-z-]+, which is not installed.*'bss\[{name}\]'"):
        checked({**FLOW, "log": [name]}, FlowSettings, Path("params.yaml"))


@pytest.mark.parametrize(
    ("log", "message"),
    [
        (["tensorbord"], "unknown logger 'tensorbord'; did you mean 'tensorboard'"),
        (["dvclive", {"name": "dvclive"}], "'dvclive' stands there twice"),
        ([{"name": "mlflow", "experiment": ""}], "experiment"),
    ],
    ids=str,
)
def test_a_wrong_logger_is_refused(log: list[Any], message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _: object())
    with pytest.raises(InputError, match=message):
        checked({**FLOW, "log": log}, FlowSettings, Path("params.yaml"))


def test_the_logger_of_the_page_is_the_one_that_is_tried() -> None:
    text = (ROOT / "tests/project/dropped/logger.py").read_text().replace("class Dropped", "class Lines")
    assert f"```python\n{text}```" in (ROOT / "docs/integrations.md").read_text()
