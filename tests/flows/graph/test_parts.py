"""The parts of the flow that need no Prefect server."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import httpx
import pytest
from prefect.states import Completed

import tasks
from bss.errors import Busy
from bss.paths import HERE
from flows.commands import run as pipeline
from flows.commands import watch
from flows.commands.studies import ranks
from flows.graph import outcome
from flows.graph.machine import visible_gpus
from flows.graph.output import Progress, is_noise, reason, shortcut
from flows.graph.pace import Pace
from flows.graph.plan import plan
from flows.graph.stages import log_line
from flows.graph.terminal import Terminal
from flows.workspace import lock as workspace
from tests.helpers import ROOT

DVC_YAML = """
stages:
  prepare:
    cmd: cp raw.txt prepared.txt
    deps: [raw.txt]
    outs: [prepared.txt]
  train:
    matrix: {seed: [0, 1]}
    cmd: cp prepared.txt model-${item.seed}.txt
    deps: [prepared.txt]
    params: [lr]
    outs: ["model-${item.seed}.txt"]
  report:
    cmd: cat model-0.txt model-1.txt > report.txt
    deps: [model-0.txt, model-1.txt]
    outs: [report.txt]
"""


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    dvc("init", "--no-scm", "--quiet")
    Path("dvc.yaml").write_text(DVC_YAML)
    Path("params.yaml").write_text("lr: 1\n")
    Path("raw.txt").write_text("raw")
    dvc("repro", "--quiet")
    return tmp_path


def dvc(*arguments: str) -> None:
    subprocess.run([sys.executable, "-m", "dvc", *arguments], check=True, env=os.environ | {"DVC_NO_ANALYTICS": "1"})


def stale(*targets: str) -> set[str]:
    return {stage.name for stage in plan(targets) if stage.stale}


def test_plan_follows_what_changed(project: Path) -> None:
    assert stale() == set()
    Path("params.yaml").write_text("lr: 2\n")
    assert stale() == {"train@0", "train@1", "report"}
    Path("params.yaml").write_text("lr: 1\n")
    Path("raw.txt").write_text("other")
    assert stale() == {"prepare", "train@0", "train@1", "report"}
    Path("raw.txt").write_text("raw")
    Path("model-1.txt").unlink()
    assert stale() == {"train@1", "report"}


def test_plan_puts_each_stage_after_its_upstreams_and_takes_only_what_a_target_needs(project: Path) -> None:
    planned = plan()
    seen: set[str] = set()
    for stage in planned:
        assert set(stage.upstream) <= seen
        seen.add(stage.name)
    assert {stage.name: stage.upstream for stage in planned}["report"] == ("train@0", "train@1")
    assert [stage.name for stage in plan(["train@1"])] == ["prepare", "train@1"]
    assert [stage.name for stage in plan(["train"])] == ["prepare", "train@0", "train@1"]


def test_what_is_misspelt_or_missing_is_refused_before_anything_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(pipeline, "prepare_prefect", lambda verbose: pytest.fail("it went on"))
    with pytest.raises(ValueError, match=r"unknown stage 'trian'; did you mean 'train'\?"):
        pipeline.run(["trian"], verbose=False)
    shutil.copy("params.yaml", tmp_path)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(FileNotFoundError, match="data/sample, which params.yaml names, is missing"):
        pipeline.run([], verbose=False)
    with pytest.raises(ValueError, match="reports/compare holds no comparison yet"):
        ranks.run(["methods-avdigits"], Path("nowhere"), 0.95)


def test_plan_refuses_an_unknown_target_and_a_broken_graph(project: Path) -> None:
    with pytest.raises(ValueError, match=r"unknown stage 'trian'; did you mean 'train'\?"):
        plan(["trian"])
    Path("dvc.yaml").write_text("stages: 3\n")
    with pytest.raises(ValueError, match=r"dvc\.yaml"):
        plan()


def test_a_second_run_names_the_first(project: Path) -> None:
    with (
        workspace.occupied(),
        pytest.raises(Busy, match=f"process {os.getpid()} is at work"),
        workspace.occupied(),
    ):
        pass
    with workspace.occupied():
        pass


def test_a_running_dvc_is_noticed_and_a_dead_one_is_not(project: Path) -> None:
    with subprocess.Popen(["sleep", "60"]) as process:
        entry = f'{{"write": {{"x": {{"pid": {process.pid}, "cmd": "dvc repro"}}}}, "read": {{}}}}'
        Path(".dvc/tmp/rwlock").write_text(entry)
        with pytest.raises(Busy, match=f"process {process.pid} is at work"), workspace.occupied():
            pass
        process.kill()
    with workspace.occupied():
        pass


def test_a_folder_without_dvc_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(FileNotFoundError, match=r"no \.dvc folder"), workspace.occupied():
        pass


def test_a_progress_line_is_read() -> None:
    progress = Progress.parse("progress 3/12 loss=0.5312 validation_accuracy=0.8125")
    assert progress == Progress(3, 12, "loss=0.5312 validation_accuracy=0.8125")
    assert progress.percent == 25.0
    assert Progress.parse("progress 12/12") == Progress(12, 12, "")


@pytest.mark.parametrize("line", ["progress", "progress 3", "progress 3/0", "in progress 3/4", "progress 3/4 fine"])
def test_other_lines_are_no_progress(line: str) -> None:
    assert Progress.parse(line) is None


def test_a_warning_of_a_stage_reaches_the_terminal_once(capsys: pytest.CaptureFixture[str]) -> None:
    terminal = Terminal([], Pace([], 1))
    warning = "warning: flow.log: 'mlflow' shows this training no longer, which goes on; " + "word " * 20
    for seed in range(2):
        terminal.show(f"train@joint-random-{seed}", Completed(message=f"1.{seed} s\n{warning}"), {})
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 80
    assert [line.split()[-2:] for line in lines if "train@" in line] == [["1.0", "s"], ["1.1", "s"]]
    assert " ".join(line.strip() for line in lines if line.startswith("    ")) == warning.strip()


def test_lines_of_dvc_are_told_from_lines_of_the_stage() -> None:
    hints = [
        "",
        "To track the changes with git, run:",
        "\tgit add dvc.lock",
        "Use `dvc push` to send your updates",
    ]
    assert all(map(is_noise, hints))
    assert not is_noise("ValueError: boom")
    assert shortcut("Stage 'train@0' is cached - skipping run, checking out outputs") == "Restored"
    assert shortcut("Stage 'train@0' didn't change, skipping") == "Unchanged"
    assert shortcut("Running stage 'train@0':") is None
    assert reason("> python -m tasks.train") is None
    assert reason("ERROR: failed to reproduce 'a': failed to run: python x, exited with -9") == "exited with -9"
    assert reason("ValueError: boom") == "ValueError: boom"


@pytest.mark.parametrize(
    ("stage", "command"),
    [
        ("preprocess", "preprocess"),
        ("train@joint-self-paced-0", "train --method joint --scheduler self-paced --seed 0"),
        ("train-alone@unimodal-random-0", "train --method unimodal --scheduler random --seed 0"),
    ],
)
def test_the_log_of_a_stage_is_found_by_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stage: str, command: str
) -> None:
    monkeypatch.chdir(tmp_path)
    assert log_line(stage) == []
    name, *arguments = command.split()
    log = Path("logs") / f"{tasks.file_name(name, arguments)}.log"
    log.parent.mkdir()
    log.touch()
    assert log_line(stage) == [f"log: {log}"]


def test_gpus_are_those_of_the_machine_that_the_user_allows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert visible_gpus(tmp_path) == []
    for name in ("nvidia0", "nvidia1", "nvidiactl", "nvidia-uvm"):
        (tmp_path / name).touch()
    assert visible_gpus(tmp_path) == ["0", "1"]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1")
    assert visible_gpus(tmp_path) == ["1"]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert visible_gpus(tmp_path) == []


def test_a_gpu_that_a_container_holds_alone_is_the_first_of_cuda(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    (tmp_path / "nvidia3").touch()
    assert visible_gpus(tmp_path) == ["0"]


def test_wrong_input_is_refused_before_anything_heavy_is_loaded(tmp_path: Path) -> None:
    root = ROOT
    parameters = (root / "params.yaml").read_text()
    (tmp_path / "params.yaml").write_text(parameters.replace("max_parallel: auto", "max_parallel: none"))
    (tmp_path / "flows").symlink_to(root / "flows")
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "bss", "run"],
        check=False,
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": os.pathsep.join([str(root), str(root / "src")])},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2
    lines = done.stderr.splitlines()
    assert "flow.max_parallel: 'none'" in lines[-1]
    assert not {"prefect", "dvc", "torch"} & {line.rpartition("|")[2].strip() for line in lines}


def test_the_watch_misses_no_change_and_outlives_a_wrong_graph_and_a_server_that_is_away(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    sent: list[list[str]] = []

    def stale_stages() -> list[str]:
        if not sent:
            Path("raw.txt").write_text("changed while DVC looks")
        return ["report"]

    def away() -> None:
        raise RuntimeError("no server answers")

    def looks(seconds: float) -> None:
        next(actions)

    def script() -> Iterator[None]:
        for _ in range(3):  # the first look tells, the second sees the change, the third tells it
            yield
        assert sent == [[], ["raw.txt"]]
        Path("dvc.yaml").write_text("stages: [")
        yield from (None, None)
        Path("dvc.yaml").write_text(DVC_YAML)
        monkeypatch.setattr(watch, "check", away)
        yield from (None, None, None)
        assert len(sent) == 2
        monkeypatch.setattr(watch, "check", lambda: None)
        yield
        assert sent[2:] == [["dvc.yaml"]]
        raise KeyboardInterrupt

    actions = script()
    monkeypatch.setattr(watch, "check", lambda: None)
    monkeypatch.setattr(watch, "load", lambda path: None)  # of this toy's params.yaml
    monkeypatch.setattr(watch, "stale_stages", stale_stages)
    monkeypatch.setattr(watch, "tell", lambda changed, stages: sent.append(changed))
    monkeypatch.setattr("flows.commands.watch.time", SimpleNamespace(sleep=looks))
    with pytest.raises(KeyboardInterrupt):
        watch.watch(1)
    assert re.fullmatch(r".*dvc.yaml.*\nno server answers\n", capsys.readouterr().err)


def test_a_run_keeps_its_outcome_where_the_server_is_away(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def away(*_: object, **__: object) -> None:
        raise httpx.ConnectError("nobody answers")

    monkeypatch.setattr(outcome, "create_markdown_artifact", away)
    HERE.reports.mkdir()
    HERE.report.write_text("a page")
    HERE.summary("md").write_text("a table")
    outcome.keep_outcome()
    assert "warning: the server has no summary of this run (ConnectError: nobody answers)" in capsys.readouterr().out
