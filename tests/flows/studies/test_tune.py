"""A search on validation: what it refuses, that it goes on after a kill, and that it never opens the test split."""

import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import yaml
from PIL import Image as Pictures
from typer.testing import CliRunner

from bss.__main__ import app
from bss.errors import Busy, InputError
from bss.params import load
from bss.parsing import read_mapping
from flows.studies.tuning import Tuning, stored
from tasks.curriculum import curriculum
from tests.helpers import ROOT, python_path
from tests.helpers.pairs import KINDS, make_pairs, rows, write
from tests.helpers.stages import FAST, run_to_curriculum
from tests.helpers.workspace import Workspace

pytestmark = pytest.mark.xdist_group("pipeline")  # one workspace for all, and another that is gone on from
pytest.importorskip("optuna", reason="bss tune needs the extra 'search'")

RAW = Path("data/sample")
RATES = {"train.lr": {"low": 0.0001, "high": 0.1, "log": True}, "train.batch_size": {"low": 4, "high": 14}}

CHILD = """
from pathlib import Path
from bss.parsing import read_mapping
from flows.studies.trials import Search
from flows.studies.tuning import Tuning
with Search.opened(Tuning.of(read_mapping(Path("params.yaml")), None, None, None)) as search:
    for ended in search.run(1000):
        print(ended.number, flush=True)
"""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace with everything that training reads, and no test split."""
    folder = tmp_path_factory.mktemp("tune")
    (folder / RAW).mkdir(parents=True)
    make_pairs(folder / RAW)
    generator = np.random.default_rng(0)
    for row, label in enumerate(rows()["label"]):  # something to learn
        shade = generator.integers(0, 40, (5, 6, 3), dtype=np.uint8) + np.uint8(200 if label == "happy" else 0)
        Pictures.fromarray(shade).save(folder / RAW / f"{row}.png")
    write(folder / RAW, rows())
    data = {"name": "manifest", "file": f"{RAW}/pairs.csv", "kinds": KINDS}
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        run_to_curriculum(folder, data, {"sound": FAST, "picture": FAST})
        raw = read_mapping(Path("params.yaml"))
        raw["train"] |= {"epochs": 3}
        raw["curriculum"]["epochs"] = 5
        Path("params.yaml").write_text(yaml.safe_dump(raw | {"search": RATES}))
        curriculum("random", 0)
    shutil.rmtree(folder / "data/packed/test")
    for code in ("src", "tasks"):
        (folder / code).symlink_to(ROOT / code)
    return folder


@pytest.fixture
def folder(made: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The same as the current folder, without trials."""
    monkeypatch.chdir(made)
    shutil.rmtree(".dvc", ignore_errors=True)
    return made


def tuning(search: dict[str, Any] | None = None, **row: Any) -> Tuning:
    raw = read_mapping(Path("params.yaml"))
    names = {"method": None, "scheduler": None, "num_seeds": None, **row}
    return Tuning.of(raw | ({"search": search} if search is not None else {}), **names)


@pytest.mark.parametrize(
    ("search", "message"),
    [
        ("{train.lrr: {low: 1.0, high: 2.0}}", "search.train.lrr: train: unknown key 'lrr'; did you mean 'lr'?"),
        ("{trian.lr: {low: 1.0, high: 2.0}}", "search.trian.lr: unknown key 'trian'; did you mean 'train'?"),
        ("{train.lr: {low: 0.2, high: 0.1}}", "search.train.lr: low: 0.2 is not below high: 0.1"),
        ("{train.lr: {low: 0, high: 0.1, log: true}}", "search.train.lr: low: 0: log: true needs a low above 0"),
        ("{train.lr: {low: 0.1}}", "search.train.lr: expected {low: 0.001, high: 0.1}, also with log"),
        ("{train.lr: {lo: 0.1}}", "search.train.lr: unknown key 'lo'; did you mean 'low'?"),
        ("{train.lr: {low: -0.1, high: 0.1}}", "search.train.lr: train.lr: -0.1: Input should be greater than 0"),
        ("{train.optimizer: {choices: [adamw, adma]}}", "train.optimizer: 'adma': Input should be 'adamw' or 'sgd'"),
        ("{train.optimizer: {choices: [sgd, sgd]}}", "choices: ['sgd', 'sgd']: expected two or more, none twice"),
        ("{train.batch_size: {low: 8.5, high: 64}}", "search.train.batch_size: train.batch_size: 8.5"),
        ("{train.epochs: {low: 5, high: 500}}", "search.train.epochs: curriculum.epochs: 100 epochs of sequences"),
        ("{warmup.lr: {low: 0.1, high: 0.2}}", "search.warmup.lr: trials share the data, the encoders, the warm-up"),
        ("{methods.ogm.alpha: {low: 0.1, high: 0.2}}", "nothing to search for fused_only in the order of random"),
    ],
)
def test_a_wrong_range_is_refused_at_once(search: str, message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    done = CliRunner().invoke(app, ["tune", f"search={search}", "--method", "fused_only"])
    assert (done.exit_code, done.stdout) == (2, ""), done.output
    assert message in done.stderr


def test_a_row_is_one_of_the_grid(folder: Path) -> None:
    for row, message in (
        ({"method": "jont"}, "unknown training method 'jont'; did you mean 'joint'?"),
        ({"scheduler": "heuristic"}, "unknown scheduler 'heuristic'"),
        ({"num_seeds": 2}, "--seeds 2: grid.seeds has 1"),
    ):
        with pytest.raises(InputError, match=message.replace("?", r"\?")):
            tuning(**row)
    declared = tuning({}, method="joint")
    assert declared.ranges["methods.joint.unimodal_weight"].choices == [
        *load(Path("params.yaml")).methods["joint"].grid["unimodal_weight"]
    ]
    other = {"methods.ogm.alpha": {"low": 0.1, "high": 0.2}, **RATES}
    assert set(tuning(other, method="fused_only").ranges) == set(RATES), "that of another method waits"


def test_another_value_that_training_reads_is_of_another_search(folder: Path) -> None:
    from flows.studies.trials import Search

    raw = read_mapping(Path("params.yaml"))
    assert raw["runtime"]["precision"] == "float32"
    with Search.opened(Tuning.of(raw, None, None, None)) as search:
        first = search._study.study_name
    for section, key, value in (("runtime", "precision", "bfloat16"), ("train", "keep", "last"), ("flow", "log", [])):
        other = raw | {section: raw[section] | {key: value}}
        with Search.opened(Tuning.of(other, None, None, None)) as search:
            assert (search._study.study_name == first) == (section == "flow"), section


def test_trials_go_on_where_they_were_and_repeat(folder: Path) -> None:
    from flows.studies.trials import FOLDER, Search

    with Search.opened(tuning()) as search:
        first = [*search.run(3)]
        before, best = search.current(), search.best
        with pytest.raises(Busy, match=f"process {os.getpid()} is at work"), Search.opened(tuning()):
            pass
    assert [ended.number for ended in first] == [1, 2, 3]
    assert best is not None
    assert best[1] == max(ended.accuracy or 0.0 for ended in first)
    assert 0 < before <= 1
    for ended in first:
        assert 0.0001 <= ended.values["train.lr"] <= 0.1
        assert ended.values["train.lr"] == float(f"{ended.values['train.lr']:.3g}")
        assert isinstance(ended.values["train.batch_size"], int)
    with Search.opened(tuning()) as search:
        assert [ended.number for ended in search.run(5)] == [4, 5]
        assert [*search.run(5)] == []
    with Search.opened(tuning({"train.lr": RATES["train.lr"]})) as search:
        assert search.num_ended == 0, "another search has trials of its own"
    shutil.rmtree(FOLDER)
    with Search.opened(tuning()) as search:
        again = [*search.run(3)]
    assert [(ended.values, ended.accuracy) for ended in again] == [(ended.values, ended.accuracy) for ended in first]


def test_poor_trials_are_stopped_early(folder: Path) -> None:
    from flows.studies.trials import Search

    decays = {"choices": [0.0001, 0.0002, 0.0003, 480.0]}  # the last one takes nearly all of the weights in each step
    with Search.opened(tuning({"train.weight_decay": decays}, method="fused_only")) as search:
        stopped = [ended for ended in search.run(12) if ended.accuracy is None]
        assert {(ended.values["train.weight_decay"], ended.reason) for ended in stopped} == {
            (480.0, "worse than half of the others")
        }
        assert min(ended.number for ended in stopped) > 5
        trials = search._study.get_trials()
        assert min(len(trial.intermediate_values) for trial in trials) < 3
        assert not Path(".dvc/tmp/tune/workspace/models/checkpoints").exists()


def test_a_trial_that_diverges_or_does_not_hold_together_ends_no_search(folder: Path) -> None:
    from flows.studies.trials import Search

    reasons = set[str]()
    with Search.opened(tuning({"train.lr": {"low": 1e35, "high": 1e38}}, method="fused_only")) as search:
        assert {ended.reason for ended in search.run(2)} == {"diverged"}
        assert search.best is None
    raw = read_mapping(Path("params.yaml"))
    raw["methods"] = {"umt": {"name": "umt", "teacher_epochs": 1}}
    raw["search"] = {"train.epochs": {"choices": [2, 3]}, "methods.umt.teacher_epochs": {"choices": [1, 3]}}
    with Search.opened(Tuning.of(raw, "umt", None, None)) as search:
        for ended in search.run(6):
            fits = ended.values["methods.umt.teacher_epochs"] <= ended.values["train.epochs"]
            assert ended.reason in (
                ("", "worse than half of the others") if fits else ("its values do not go together",)
            )
            reasons.add(ended.reason)
    assert reasons >= {"", "its values do not go together"}


def test_a_killed_trial_is_not_counted(folder: Path) -> None:
    import optuna

    from flows.studies.trials import FOLDER, Search

    environment = os.environ | {"PYTHONPATH": python_path(ROOT / "src", ROOT)}
    with subprocess.Popen(
        [sys.executable, "-c", CHILD], cwd=folder, env=environment, stdout=subprocess.PIPE, text=True
    ) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "1\n"
        time.sleep(0.05)
        child.kill()
        ended = 1 + len(child.stdout.read().split())
    storage = f"sqlite:///{FOLDER.absolute() / 'trials.db'}"
    (name,) = optuna.get_all_study_names(storage)
    states = [trial.state.name for trial in optuna.load_study(study_name=name, storage=storage).trials]
    assert states == ["COMPLETE"] * ended + ["RUNNING"]
    with Search.opened(tuning()) as search:
        assert search.num_ended == ended
        assert [one.number for one in search.run(ended + 1)] == [ended + 1]


def test_the_fields_of_a_scheduler_are_searched_too(folder: Path) -> None:
    from flows.studies.trials import Search

    raw = read_mapping(Path("params.yaml"))
    raw["grid"] |= {"schedulers": ["random", "heuristic"]}
    raw["search"] = {"curriculum.schedulers.heuristic.pacing.start": {"choices": [0.35, 0.65]}}
    found = Tuning.of(raw, "fused_only", "heuristic", None)
    with Search.opened(found) as search:
        (ended,) = search.run(1)
    place = Path(".dvc/tmp/tune/workspace/data/curricula/heuristic-0/sequence.parquet")
    assert pl.read_parquet(place)["fraction"][0] == next(iter(ended.values.values()))


def test_what_is_written_names_a_method_that_the_file_does_not() -> None:
    raw = {"methods": {"aug_released": {"name": "aug"}}}
    values = {"train.lr": 0.1, "methods.ogm.alpha": 0.3, "methods.ogm.start": 1, "methods.aug_released.merge": 0.5}
    assert stored(raw, values) == {
        "train.lr": 0.1,
        "methods.ogm": {"name": "ogm", "alpha": 0.3, "start": 1},
        "methods.aug_released.merge": 0.5,
    }


def test_the_best_values_are_written_to_params_yaml(tmp_path: Path, finished: tuple[Workspace, set[str]]) -> None:
    workspace = finished[0].copied(tmp_path / "workspace")
    workspace.set(
        train__lr=1e-7, train__epochs=3, train__batch_size=4, search={"train.lr": {"low": 0.01, "high": 0.02}}
    )
    path = workspace.folder / "params.yaml"
    path.write_text(path.read_text().replace("  lr: 1.0e-07", "  lr: 1.0e-07  # of the optimizer"))
    command = ["python", "-m", "bss", "tune", "--trials", "2", "--method", "fused_only"]
    lines = workspace.run(*command).stdout.splitlines()
    assert max(map(len, lines)) <= 80
    assert lines[0] == "stages: 0 to run, 5 up to date"
    assert [line.split()[0] for line in lines if " lr=" in line] == ["now", "1/2", "2/2"]
    assert lines[-3].startswith("The best of many trials on validation is optimistic")
    assert "lr: 1.0e-07" in path.read_text()
    done = workspace.run(*command, "--apply").stdout
    assert "2 trials, 2 are there" in done
    (change,) = re.findall(r"^params.yaml: train.lr: 1e-07 -> (.*)", done, flags=re.MULTILINE)
    assert 0.01 <= float(change) <= 0.02
    assert yaml.safe_load(path.read_text())["train"]["lr"] == float(change)
    assert "# of the optimizer" in path.read_text()
